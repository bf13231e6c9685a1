"""The interfaces of control bus and event stream.

Exceptions::

    BusError                    (ArrieroError) a message or topic that the bus refuses
    └── BusUnavailableError     broker or registry out of reach; retryable
        └── BusDeniedError      the broker refuses our credentials or our rights
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from daemons.events.envelope import Event
from daemons.runtime.clock import TaiSeconds
from daemons.runtime.errors import ArrieroError

MessageT_co = TypeVar("MessageT_co", covariant=True)


class BusError(ArrieroError):
    """A message or topic that the bus refuses; trying again does not help."""

    code = "bus.error"


class BusUnavailableError(BusError):
    """Broker or schema registry out of reach; it may come back."""

    code = "bus.unavailable"
    retryable = True
    exit_code = 69


class BusDeniedError(BusUnavailableError):
    """The broker refuses our credentials or our rights.

    It is retryable, because the mending happens at the broker, and until then
    nothing may be dropped.
    """

    code = "bus.denied"


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """A topic of the control bus, such as `MTCamera.logevent_startIntegration`."""

    component: str
    """Name of the component, such as `MTCamera`."""
    name: str
    """`command_X`, `logevent_X`, `ackcmd`, or a bare name for telemetry."""
    index: int = 0
    """`salIndex` of an indexed component; 0: not indexed, or every index (reading)."""

    @property
    def is_event(self) -> bool:
        """True for `logevent_*`: the last one is kept for those who come later."""
        return self.name.startswith("logevent_")

    @property
    def is_command(self) -> bool:
        """True for `command_*`."""
        return self.name.startswith("command_")

    def __str__(self) -> str:
        component = f"{self.component}:{self.index}" if self.index else self.component
        return f"{component}.{self.name}"


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One sample, event, command or acknowledgement of the control bus."""

    topic: Topic
    """With the sender's index."""
    fields: Mapping[str, Any]
    """The payload without private fields. A field that the writer's schema lacks is absent."""
    sent: TaiSeconds
    """`private_sndStamp`."""
    sequence: int
    """`private_seqNum`: counts per sender and topic."""
    identity: str
    """`private_identity` of the sender."""
    origin: int
    """`private_origin`: process id of the sender."""
    historical: bool = False
    """True for an event from before the subscription, kept for late joiners."""
    schema: str | None = field(default=None, compare=False, repr=False)
    """Avro schema that it was written with, where the transport has schemas."""


@dataclass(frozen=True, slots=True)
class PoisonMessage:
    """Bytes that are no message; counted, logged and set aside by the bus, never delivered."""

    where: str
    """Topic, partition and offset, or the like."""
    payload: bytes
    reason: str


class Delivery(Protocol[MessageT_co]):
    """A message that is redelivered until it is acknowledged."""

    @property
    def message(self) -> MessageT_co:
        """The message."""
        ...

    async def ack(self) -> None:
        """Say that the message is dealt with for good.

        Deliveries may be acknowledged in any order. What was delivered and not
        acknowledged comes again after a restart or a lost connection, together
        perhaps with later ones that were acknowledged (at least once).
        """
        ...


class Subscription(Protocol[MessageT_co]):
    """An open subscription: an asynchronous iterator of deliveries.

    It outlives its broker: while that is away the iterator waits, the health
    board says so, and delivery resumes. Iteration ends only when it is closed.
    """

    def __aiter__(self) -> AsyncIterator[Delivery[MessageT_co]]:
        """Iterate over the deliveries."""
        ...

    async def ready(self) -> None:
        """Return once messages sent from now on will be delivered."""
        ...


class EventStream(Protocol):
    """Our own facts.

    Guarantees: `publish` returns once the broker has the event for good (on
    Kafka `acks=all`, idempotent); delivery is at least once per group; events
    with the same `partitionkey` arrive in the order of publishing; a group
    resumes where it acknowledged, across restarts of consumer and broker.
    """

    async def publish(self, event: Event) -> None:
        """Announce a fact; raises `BusUnavailableError` when the broker is away."""
        ...

    def subscribe(
        self, group: str, *, types: Collection[str] | None = None
    ) -> AbstractAsyncContextManager[Subscription[Event]]:
        """Read facts as a member of a consumer group.

        Parameters
        ----------
        group
            Members share the events among them; a new group begins at the
            oldest event that the broker keeps (MQTT: at its first subscription).
        types
            Only these event types; others are acknowledged unseen.
        """
        ...

    async def close(self) -> None:
        """Give back connections; pending publications are finished first, within a bound."""
        ...


class ControlBus(Protocol):
    """The observatory's telemetry, events, commands and acknowledgements.

    The private fields (`private_sndStamp`, `private_seqNum`, identity, origin)
    are filled in by the bus when it sends and taken off when it delivers.
    """

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        """Send a message and return it as sent; raises `BusUnavailableError`.

        Parameters
        ----------
        topic
            Where; created with SAL's settings where the broker lets us.
        fields
            Payload; a field that is left out has its zero default.
        sequence
            `private_seqNum` to use instead of the counter (acknowledgements
            carry their command's).
        """
        ...

    def subscribe(
        self,
        topics: Collection[Topic],
        *,
        history: bool = True,
        durable: str | None = None,
        since: TaiSeconds | None = None,
    ) -> AbstractAsyncContextManager[Subscription[ControlMessage]]:
        """Read topics.

        Parameters
        ----------
        topics
            What; index 0 reads every index of the component.
        history
            Deliver the last message of each event topic (per index) first, as
            `historical`.
        durable
            Name under which the position is kept: what was not acknowledged, or
            sent while the reader was away, is delivered when it is back. Without
            a name the reader begins at the end and `ack` does nothing.
        since
            Where the transport keeps messages (Kafka, memory): read again from
            this instant on, by time of sending.
        """
        ...

    async def close(self) -> None:
        """Give back connections; pending publications are finished first, within a bound."""
        ...


class ForwardingBus(ControlBus, Protocol):
    """A control bus that also sends messages of others as they were."""

    async def forward(self, message: ControlMessage) -> None:
        """Send a message with the private fields that it has, and with its schema.

        For replays: `publish` is for what we have to say ourselves.

        Raises
        ------
        BusError
            The topic is in no dictionary and the message brings no schema, or the message
            does not fit.
        BusUnavailableError
            The broker is away.
        """
        ...
