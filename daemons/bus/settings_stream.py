"""Settings of the event stream."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from daemons.bus.address import BusAddress, BusKind, parse_address
from daemons.bus.security import BusSecurity

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=200)]
"""What both Kafka and MQTT take as a topic."""


class EventStreamSettings(BaseModel):
    """Where our own facts are announced and read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "memory:"
    """`memory:`, `kafka://HOST:PORT[,HOST:PORT]`, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`."""
    topic: TopicName = "arriero.events"
    """Kafka topic, or first level of the MQTT topics `TOPIC/EVENT_TYPE`."""
    dead_letter_topic: TopicName | None = None
    """Where unreadable messages go; the topic with `.dead` behind it by default."""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    """Partitions of the topic where we create it: how many members of a group can share it."""
    replication: Annotated[int, Field(ge=1, le=10)] | None = None
    """Copies of the topic where we create it; by default one per broker, at most three."""
    security: BusSecurity = BusSecurity()
    """How the broker knows us, and how we know the broker."""
    publish_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """How long a publication may take before the broker counts as away."""
    member: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    """Kafka only: name of this process among its group's members; killed, it resumes at once."""
    stall_after_s: Annotated[float, Field(ge=5)] = 30.0
    """A Kafka consumer that is behind and does not move for so long is made anew."""

    @field_validator("url")
    @classmethod
    def _url_is_known(cls, url: str) -> str:
        parse_address(url)
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.address.kind is BusKind.MQTT and self.security.protocol != "PLAINTEXT":
            raise ValueError("`security.protocol` is Kafka's; for TLS on MQTT write mqtts://")
        if self.dead_letters == self.topic:
            raise ValueError("`dead_letter_topic` must not be `topic`")
        return self

    @property
    def address(self) -> BusAddress:
        """The URL, taken apart."""
        return parse_address(self.url)

    @property
    def dead_letters(self) -> str:
        """Where unreadable messages go."""
        return self.dead_letter_topic or f"{self.topic}.dead"
