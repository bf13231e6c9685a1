"""The control bus on MQTT: SAL's components, topics and fields as JSON.

::

    topic      {prefix}/{component}[/{index}]/{sal_name}
    payload    one JSON object: the topic's fields and SAL's private fields

Events are retained, so that whoever comes later learns the last one of each; everything
goes with QoS 1. JSON has no NaN: a number that is none is written as null, and read back
as NaN where the dictionary says that the field is one. Payloads need no private fields:
a message without a time of sending counts as sent when it arrives.
"""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog

from daemons.bus.control.mailbox import Mailbox
from daemons.bus.control.private_fields import SAL_INDEX, Stamper, from_wire, private_values
from daemons.bus.control.reporting import BUS, ControlReporting
from daemons.bus.interface import BusError, ControlMessage, PoisonMessage, Topic
from daemons.bus.mqtt_client import MqttBroker, MqttMessage, MqttSession
from daemons.bus.report import ConnectionReport
from daemons.bus.sal.dictionary import SalDictionary
from daemons.runtime.clock import Clock, TaiSeconds

MAILBOX_SIZE = 500
"""Messages that wait for the subscriber here; as many again wait in the session."""
LARGEST_BYTES = 4 * 1024 * 1024
"""A larger payload is no message of the control bus; it is set aside unread."""
_RESERVED = frozenset("/+#\0")
_FLOATS = frozenset({"float", "double"})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttDialect:
    """How the control bus is laid on an MQTT broker."""

    prefix: str = "sal"
    """First part of every topic."""
    timeout_s: float = 10.0
    """How long a publication may take."""

    def name(self, topic: Topic) -> str:
        """Return the MQTT topic of a topic.

        Raises
        ------
        BusError
            Component or topic has a character that MQTT reserves.
        """
        if _RESERVED & set(topic.component + topic.name):
            raise BusError(f"{topic} cannot be an MQTT topic: / + # have a meaning there")
        index = f"/{topic.index}" if topic.index else ""
        return f"{self.prefix}/{topic.component}{index}/{topic.name}"

    def filters(self, topics: Collection[Topic]) -> list[str]:
        """Return what to subscribe to; index 0 reads a component with and without index."""
        names = {self.name(topic) for topic in topics}
        every = [topic for topic in topics if not topic.index]
        names |= {f"{self.prefix}/{topic.component}/+/{topic.name}" for topic in every}
        return sorted(names)

    def topic(self, name: str) -> Topic:
        """Return which topic an MQTT topic stands for.

        Raises
        ------
        ValueError
            None.
        """
        component, *index, sal_name = name.removeprefix(f"{self.prefix}/").split("/")
        if len(index) > 1:
            raise ValueError(f"{name} has more parts than component, index and topic")
        return Topic(component, sal_name, int(index[0]) if index else 0)


class MqttCodec:
    """Payloads from and to JSON.

    Parameters
    ----------
    dictionary
        Says which fields are numbers that JSON cannot write.
    clock
        Dates what comes without a time of sending.
    """

    def __init__(self, dictionary: SalDictionary, clock: Clock) -> None:
        self._dictionary = dictionary
        self._clock = clock

    def encode(self, message: ControlMessage) -> bytes:
        """Return a message's payload.

        Raises
        ------
        BusError
            A value that JSON cannot carry.
        """
        record = dict(message.fields) | private_values(message, revision="")
        if message.topic.index:
            record[SAL_INDEX] = message.topic.index
        try:
            return json.dumps(_without_nan(record), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise BusError(f"{message.topic} cannot be written as JSON: {error}") from error

    def decode(self, topic: Topic, payload: bytes) -> ControlMessage:
        """Return a payload's message.

        Raises
        ------
        ValueError, TypeError
            Not a JSON object, or a private field of the wrong type.
        """
        record = json.loads(payload)
        if not isinstance(record, dict):
            raise TypeError("the payload is JSON, but no object")
        record.setdefault("private_sndStamp", float(self._clock.tai()))
        message = from_wire(topic.component, topic.name, record)
        return replace(message, topic=topic, fields=self._with_floats(topic, message.fields))

    def _with_floats(self, topic: Topic, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        spec = self._dictionary.find(topic)
        if spec is None:
            return fields
        numbers = {
            field.name for field in spec.fields if field.avro_type in _FLOATS and not field.nullable
        }
        return {
            name: _as_float(value) if name in numbers else value for name, value in fields.items()
        }


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _without_nan(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return value


def _as_float(value: Any) -> Any:
    """Return what JSON wrote as null or without decimals as the number that it was."""
    if value is None:
        return math.nan
    if isinstance(value, list):
        return [_as_float(entry) for entry in value]
    return float(value) if type(value) is int else value


@dataclass(frozen=True, slots=True)
class MqttDelivery:
    """A message from MQTT."""

    message: ControlMessage
    _received: MqttMessage | None

    async def ack(self) -> None:
        """Say that the message is dealt with for good."""
        if self._received is not None:
            self._received.ack()


class MqttReader:
    """Reads the topics of one subscription into a mailbox."""

    def __init__(
        self,
        session: MqttSession,
        dialect: MqttDialect,
        codec: MqttCodec,
        *,
        opened: TaiSeconds,
        history: bool,
        durable: str | None,
        reporting: ControlReporting,
    ) -> None:
        self._session = session
        self._dialect = dialect
        self._codec = codec
        self._opened = opened
        self._history = history
        self._durable = durable
        self._reporting = reporting
        self._delivered = reporting.metrics.delivered.labels(bus=BUS, group=durable or "")
        self._mailbox: Mailbox[MqttDelivery] = Mailbox(MAILBOX_SIZE)
        self._last: dict[Topic, tuple[TaiSeconds, str, int, int]] = {}
        self._closed = asyncio.Event()

    async def ready(self) -> None:
        """Return once messages sent from now on will be delivered."""
        ready = asyncio.create_task(self._session.ready(), name="control-mqtt-ready")
        closed = asyncio.create_task(self._closed.wait(), name="control-mqtt-closed")
        try:
            await asyncio.wait({ready, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            closed.cancel()

    def __aiter__(self) -> AsyncIterator[MqttDelivery]:
        return self

    async def __anext__(self) -> MqttDelivery:
        delivery = await self._mailbox.get()
        self._delivered.inc()
        return delivery

    def close(self) -> None:
        """End the iteration."""
        self._mailbox.close()
        self._closed.set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            received = await self._session.receive()
            message = self._message(received)
            if message is None:
                received.ack()
                continue
            if self._durable is None:
                received.ack()
                await self._mailbox.put(MqttDelivery(message, None))
            else:
                await self._mailbox.put(MqttDelivery(message, received))

    def _message(self, received: MqttMessage) -> ControlMessage | None:
        """Return what is to be delivered of a message; nothing where it is not."""
        if not received.payload:
            return None  # a retained event was taken away
        try:
            if len(received.payload) > LARGEST_BYTES:
                raise ValueError(f"{len(received.payload)} bytes are no message")  # noqa: TRY301 - as any other payload that is none
            topic = self._dialect.topic(received.topic)
            message = self._codec.decode(topic, received.payload)
        except (ValueError, TypeError, RecursionError) as error:
            poison = PoisonMessage(received.topic, received.payload, str(error))
            self._reporting.poison(poison, source=received.topic)
            return None
        known = (message.sent, message.identity, message.origin, message.sequence)
        again = self._last.get(topic) == known
        self._last[topic] = known
        return self._kept(message, again=again) if received.retain else message

    def _kept(self, message: ControlMessage, *, again: bool) -> ControlMessage | None:
        """Return what is to be delivered of a message that the broker keeps for late joiners."""
        if again:
            return None  # the broker tells what it keeps at each connection
        if message.sent >= self._opened:
            return message
        if message.topic.is_command or not self._history:
            return None  # a command that the broker kept is an old one
        return replace(message, historical=True)


class MqttControlBus:
    """A service's access to the control bus on MQTT.

    Parameters
    ----------
    broker
        Where.
    dictionary
        What the topics carry. Payloads of known topics are completed with zeros and
        checked; those of other topics are sent as they are.
    stamper
        Numbers, dates and signs what we send.
    clock
        Tells what was sent before a subscription.
    reporting
        Told how broker and messages are.
    dialect
        Names and patience.
    """

    def __init__(
        self,
        broker: MqttBroker,
        dictionary: SalDictionary,
        stamper: Stamper,
        *,
        clock: Clock,
        reporting: ControlReporting,
        dialect: MqttDialect | None = None,
    ) -> None:
        self._broker = broker
        self._dictionary = dictionary
        self._stamper = stamper
        self._clock = clock
        self._reporting = reporting
        self._dialect = dialect or MqttDialect()
        self._codec = MqttCodec(dictionary, clock)
        self._sender = self._session(self._anonymous(), (), reporting.publisher(), keep=False)
        self._readers: set[MqttReader] = set()

    def _anonymous(self) -> str:
        return f"{self._stamper.identity}-{uuid.uuid4().hex[:12]}"

    def _session(
        self, identifier: str, filters: Collection[str], report: ConnectionReport, *, keep: bool
    ) -> MqttSession:
        return MqttSession(
            self._broker, identifier=identifier, persistent=keep, filters=filters, report=report
        )

    async def publish(
        self, topic: Topic, fields: Mapping[str, Any], *, sequence: int | None = None
    ) -> ControlMessage:
        """Send a message and return it as sent; see `ControlBus.publish`."""
        message = self._stamper.stamp(topic, self._dictionary.complete(topic, fields), sequence)
        await self.forward(message)
        return message

    async def forward(self, message: ControlMessage) -> None:
        """Send a message as it is; see `ForwardingBus.forward`."""
        topic, metrics = message.topic, self._reporting.metrics
        try:
            await self._sender.publish(
                self._dialect.name(topic),
                self._codec.encode(message),
                retain=topic.is_event,
                timeout_s=self._dialect.timeout_s,
            )
        except BusError as error:
            metrics.publish_failures.labels(bus=BUS, code=error.code).inc()
            raise
        metrics.published.labels(bus=BUS).inc()

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Collection[Topic],
        *,
        history: bool = True,
        durable: str | None = None,
        since: TaiSeconds | None = None,
    ) -> AsyncIterator[MqttReader]:
        """Read topics; see `ControlBus.subscribe`. MQTT keeps nothing to read again by time."""
        if since is not None:
            _log.info("control_bus_since_ignored", reason="MQTT keeps no past messages")
        filters = self._dialect.filters(topics)
        with self._reporting.subscriber() as report:
            session = self._session(
                durable or self._anonymous(), filters, report, keep=durable is not None
            )
            reader = MqttReader(
                session,
                self._dialect,
                self._codec,
                opened=self._clock.tai(),
                history=history,
                durable=durable,
                reporting=self._reporting,
            )
            self._readers.add(reader)
            async with session:
                task = asyncio.create_task(reader.run(), name=f"control-reader {durable or ''}")
                try:
                    yield reader
                finally:
                    self._readers.discard(reader)
                    reader.close()
                    task.cancel()
                    await asyncio.wait({task})

    async def close(self) -> None:
        """Give back the connections."""
        for reader in tuple(self._readers):
            reader.close()
        await self._sender.close()
        await asyncio.to_thread(self._reporting.close)
