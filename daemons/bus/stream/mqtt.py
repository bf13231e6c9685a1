"""The event stream on MQTT.

An event is published to `TOPIC/EVENT_TYPE` with QoS 1 as structured JSON;
MQTT 3.1.1 has no properties, so nothing but the JSON says what it is.

A group is a persistent session at the broker, named after topic and group, and
has exactly one member: of two, the broker disconnects the older, again and
again. Shared subscriptions (`$share/GROUP/...`) are not used. They hand
messages round regardless of their key, which breaks the order that we promise,
and mosquitto goes on handing them to members that are away.

What the broker confirmed is as safe as the broker keeps it: mosquitto needs
`persistence true`, and a kill -9 loses what came since it last wrote its memory
(`autosave_interval`, half an hour by default; set it to 1 s). By default it also
drops what a group that is away has queued beyond 1000 events
(`max_queued_messages`; set it to 0).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

from daemons.bus.interface import PoisonMessage, Subscription
from daemons.bus.metrics import BusMetrics
from daemons.bus.mqtt_client import MqttBroker, MqttSession
from daemons.bus.report import ConnectionReport
from daemons.bus.stream.dead_letters import DeadLetters, wrapped
from daemons.bus.stream.publishing import BUS, counted
from daemons.bus.stream.subscription import EventSubscription, RawMessage
from daemons.events.envelope import Event, encode
from daemons.runtime.health import HealthBoard


class _MqttSource:
    """An `MqttSession` as a source of raw messages."""

    def __init__(self, session: MqttSession) -> None:
        self._session = session

    async def ready(self) -> None:
        await self._session.ready()

    async def next(self) -> RawMessage:
        message = await self._session.receive()
        return RawMessage(
            payload=message.payload,
            where=message.topic,
            acknowledge=message.ack,
            is_current=lambda: message.is_current,
        )


class MqttEventStream:
    """An `EventStream` on MQTT.

    How many deliveries can be unacknowledged at once is the broker's to say
    (mosquitto's `max_inflight_messages`, 20 by default): it sends no more until
    one is acknowledged.

    Parameters
    ----------
    broker
        Where it is.
    topic
        First level of the events' topics.
    dead_letters
        Topic of unreadable messages, as JSON with `where`, `reason`, `time` and
        `payload_base64`.
    client_id
        Begins the identifier of the publishing connection.
    publish_timeout_s
        How long a publication may take.
    health, metrics
        Told how it goes.
    """

    def __init__(
        self,
        broker: MqttBroker,
        topic: str,
        *,
        dead_letters: str,
        client_id: str,
        publish_timeout_s: float,
        health: HealthBoard,
        metrics: BusMetrics,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._dead_letters = dead_letters
        self._timeout_s = publish_timeout_s
        self._health = health
        self._metrics = metrics
        self._subscriptions: set[EventSubscription] = set()
        self._publisher = MqttSession(
            broker,
            identifier=f"{client_id}-{uuid4().hex[:8]}",
            persistent=False,
            report=self._report("publish"),
        )

    def start(self) -> None:
        """Begin to connect, so that the health board knows before the first publication."""
        self._publisher.start()

    async def publish(self, event: Event) -> None:
        """Return at PUBACK; see `EventStream.publish`."""
        with counted(self._metrics):
            await self._publisher.publish(
                f"{self._topic}/{event.type}", encode(event), timeout_s=self._timeout_s
            )

    def subscribe(
        self, group: str, *, types: Collection[str] | None = None
    ) -> AbstractAsyncContextManager[Subscription[Event]]:
        """Read as the one member of a group; see `EventStream.subscribe`."""
        return self._subscribe(group, types)

    @asynccontextmanager
    async def _subscribe(
        self, group: str, types: Collection[str] | None
    ) -> AsyncIterator[Subscription[Event]]:
        report = self._report(f"read.{group}")
        report.expect()
        self.start()  # for dead letters
        session = MqttSession(
            self._broker,
            identifier=f"{self._topic}-{group}",
            persistent=True,
            filters=(f"{self._topic}/+",),
            report=report,
        )
        dead_letters = DeadLetters(self._bury, self._metrics)
        subscription = EventSubscription(
            _MqttSource(session),
            group=group,
            types=types,
            dead_letters=dead_letters,
            metrics=self._metrics,
        )
        undertaker = asyncio.create_task(
            dead_letters.run(), name=f"{report.dependency} dead letters"
        )
        self._subscriptions.add(subscription)
        session.start()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.close()
            undertaker.cancel()
            await asyncio.wait({undertaker})
            await session.close()

    async def close(self) -> None:
        """End the subscriptions' iteration and disconnect."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        await self._publisher.close()

    async def _bury(self, poison: PoisonMessage) -> None:
        payload = json.dumps(wrapped(poison)).encode()
        await self._publisher.publish(self._dead_letters, payload, timeout_s=self._timeout_s)

    def _report(self, role: str) -> ConnectionReport:
        return ConnectionReport(self._health, f"{BUS}.{role}", self._metrics, BUS)
