"""The envelope: CloudEvents 1.0 in structured JSON.

Extension attributes, named as their CloudEvents extensions are: `sequence`
(counts per `source`, so that a consumer notices a gap) and `partitionkey`.

Exceptions::

    InvalidEventError    bytes that are no CloudEvent of this catalogue
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from uuid import NAMESPACE_URL, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from daemons.events.catalogue import CATALOGUE, EventData

CONTENT_TYPE = "application/cloudevents+json"
"""Media type of an encoded event."""

DataT = TypeVar("DataT", bound=EventData)


class InvalidEventError(ValueError):
    """Bytes that are no CloudEvent of this catalogue. Sending them again does not help."""

    code = "event.invalid"


class Event(BaseModel):
    """One announced fact.

    `source` and `id` together identify it: a second delivery carries the same
    pair, so a consumer that remembers them handles each fact once.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: str
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: str
    sequence: str | None = None
    """Position in the stream of its source: a decimal number, zero-padded to twenty digits."""
    data: Mapping[str, Any]

    def read(self, model: builtins.type[DataT]) -> DataT:
        """Return the fact itself.

        Raises
        ------
        InvalidEventError
            The data do not fit the model.
        """
        if self.type != model.event_type:
            raise InvalidEventError(
                f"event {self.id} has the type {self.type}, not {model.event_type}"
            )
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise InvalidEventError(f"event {self.id} ({self.type}): {error}") from error


def new_event(
    data: EventData,
    *,
    source: str,
    key: str,
    time: datetime | None = None,
    sequence: int | None = None,
) -> Event:
    """Wrap a fact.

    Parameters
    ----------
    data
        The fact.
    source
        URI reference of who says so, such as `/arriero/forwarder/camera-host-1`.
    key
        Idempotency key: the same key always gives the same event id, so a fact
        that is announced twice is recognised as one.
    time
        When it happened, UTC; now by default.
    sequence
        Position in the stream of this source.
    """
    return Event(
        id=str(uuid5(NAMESPACE_URL, f"{source}#{data.event_type}#{key}")),
        source=source,
        type=data.event_type,
        subject=data.subject,
        time=time or datetime.now(tz=UTC),
        partitionkey=data.partition_key,
        sequence=None if sequence is None else f"{sequence:020d}",
        data=data.model_dump(mode="json"),
    )


def encode(event: Event) -> bytes:
    """Return the structured JSON form of an event."""
    return event.model_dump_json(exclude_none=True).encode()


def decode(payload: bytes) -> Event:
    """Read the structured JSON form of an event.

    A type that is not in the catalogue is no error: a newer sender may use it.

    Raises
    ------
    InvalidEventError
        Not JSON, not a CloudEvent, or data that do not fit the type's model.
    """
    try:
        event = Event.model_validate_json(payload)
    except ValidationError as error:
        raise InvalidEventError(f"not a CloudEvent: {error}") from error
    model = CATALOGUE.get(event.type)
    if model is not None:
        event.read(model)
    return event
