"""What event stream and control bus share on MQTT: a session that outlives its broker.

aiomqtt has three habits that would lose messages. It acknowledges a message
when it is received, not when it is dealt with; it discards what does not fit
its queue; it does not reconnect. `daemons.bus.mqtt_link` mends the first two
for one connection, this module the third.

The protocol is MQTT 3.1.1, which every broker speaks. It cannot say that a
publication was denied: a broker that denies the topic acknowledges and drops.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Self, cast

import aiomqtt
import structlog
from paho.mqtt.reasoncodes import ReasonCode

from daemons.bus.address import BusAddress
from daemons.bus.interface import BusDeniedError, BusError, BusUnavailableError
from daemons.bus.mqtt_link import (
    QOS,
    Inbox,
    Link,
    MqttMessage,
    TidySocket,
    Wire,
    connect,
    disconnect,
)
from daemons.bus.report import ConnectionReport
from daemons.bus.security import BusSecurity
from daemons.bus.under_way import UnderWay
from daemons.runtime.errors import ArrieroError
from daemons.runtime.retry import Backoff

__all__ = ["MqttBroker", "MqttMessage", "MqttSession", "MqttTiming"]

_log = structlog.get_logger(__name__)

_REFUSED_FILTER = 0x80
"""In a SUBACK: the broker does not allow the subscription (MQTT 3.1.1, section 3.9.3)."""
_DENIED_CONNECTIONS = {"Bad user name or password", "Not authorized"}
"""paho's names of the CONNACK codes 4 and 5 (MQTT 3.1.1, section 3.2.2.3)."""


@dataclass(frozen=True, slots=True)
class MqttTiming:
    """Every waiting time of our MQTT clients."""

    keepalive_s: int = 10
    """A broker that is silent is noticed after 1.4 to 1.9 times this."""
    connect_timeout_s: float = 10.0
    """For the answer to CONNECT and to SUBSCRIBE."""
    stop_timeout_s: float = 5.0
    """For an orderly end."""
    retry_initial_s: float = 0.25
    """Bound of the first delay before another attempt to connect."""
    retry_cap_s: float = 15.0
    """Bound of every later delay; a connection that holds for so long counts as good."""

    def backoff(self) -> Backoff:
        """Return a fresh back-off."""
        return Backoff(base_s=self.retry_initial_s, cap_s=self.retry_cap_s, floor_s=0.0)


@dataclass(frozen=True, slots=True)
class MqttBroker:
    """How to reach a broker, and as whom."""

    address: BusAddress
    security: BusSecurity = field(default_factory=BusSecurity)
    timing: MqttTiming = field(default_factory=MqttTiming)

    def explain(self, error: BaseException) -> BusUnavailableError:
        """Return an error with a sentence for the operator."""
        user = f"user `{self.security.username}`" if self.security.username else "anonymous clients"
        if isinstance(error, ArrieroError):
            return error if isinstance(error, BusUnavailableError) else _unavailable(str(error))
        if isinstance(error, aiomqtt.MqttCodeError) and str(error.rc) in _DENIED_CONNECTIONS:
            return BusDeniedError(
                f"{self.address} refuses {user} ({error.rc}): correct `security` or the broker's"
                " access list"
            )
        return _unavailable(
            f"cannot reach the MQTT broker at {self.address}: {str(error) or repr(error)}"
        )


def _unavailable(sentence: str) -> BusUnavailableError:
    return BusUnavailableError(sentence)


class MqttSession:
    """A connection that is made again and again, with its subscriptions.

    Parameters
    ----------
    broker
        Where to.
    identifier
        Client identifier. Of two clients with the same one the broker
        disconnects the older.
    persistent
        Whether the broker keeps subscriptions and unacknowledged messages while
        we are away.
    filters
        Subscribed at each connection, with QoS 1.
    report
        Told how the broker is.
    queue_size
        Received messages that may wait here for `receive`.
    """

    def __init__(
        self,
        broker: MqttBroker,
        *,
        identifier: str,
        persistent: bool,
        filters: Collection[str] = (),
        report: ConnectionReport,
        queue_size: int = 1000,
    ) -> None:
        self._broker = broker
        self._identifier = identifier
        self._persistent = persistent
        self._filters = tuple(filters)
        self._report = report
        self._queue_size = queue_size
        self._link: Link | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._trouble = _unavailable(f"not connected to {broker.address} yet")
        self._closed = False
        self._under_way = UnderWay()

    def start(self) -> None:
        """Begin to connect, in the background. Idempotent."""
        if not self._closed and (self._keeper is None or self._keeper.done()):
            self._keeper = asyncio.create_task(
                self._keep(), name=f"{self._report.dependency} session"
            )

    async def close(self) -> None:
        """Finish publications, within `stop_timeout_s`, and disconnect. Idempotent.

        A persistent session stays at the broker.
        """
        self._closed = True
        if self._link is not None:
            await self._under_way.finished(self._broker.timing.stop_timeout_s)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def ready(self) -> None:
        """Return once connected and subscribed."""
        await self._ready.wait()

    async def receive(self) -> MqttMessage:
        """Return the next message; waits while the broker is away."""
        while True:
            link = await self._current()
            message = await link.receive()
            if message is not None:
                return MqttMessage(link, message)

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, timeout_s: float
    ) -> None:
        """Return once the broker has the message (PUBACK).

        Raises
        ------
        BusUnavailableError
            Not acknowledged in time; the message may or may not have arrived.
        BusError
            MQTT cannot carry such a topic or payload.
        """
        if self._closed:
            raise BusUnavailableError(f"the connection to {self._broker.address} is closed")
        self.start()
        link: Link | None = None
        try:
            with self._under_way:
                async with asyncio.timeout(timeout_s):
                    while True:
                        link = await self._current()
                        if await link.publish(topic, payload, retain=retain):
                            return
                        link.wire.cut()
                        await link.gone.wait()
        except ValueError as error:
            raise BusError(f"MQTT cannot carry this message to {topic}: {error}") from error
        except TimeoutError as error:
            if link is not None and not link.gone.is_set():
                # paho keeps what was not acknowledged; a caller who repeats would multiply it.
                self._trouble = _unavailable(f"{self._broker.address} does not answer")
                link.wire.cut()
            raise type(self._trouble)(
                f"a message to {topic} was not acknowledged within {timeout_s:g} s: {self._trouble}"
            ) from error

    async def _current(self) -> Link:
        while True:
            await self._ready.wait()
            if self._link is not None:
                return self._link

    async def _keep(self) -> None:
        backoff = self._broker.timing.backoff()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._live()
                continue
            except (aiomqtt.MqttError, OSError, ArrieroError) as error:
                self._away(self._broker.explain(error))
            except Exception:  # noqa: BLE001 - one life of a client ends here, whatever ended it
                _log.exception("mqtt_session_failed", dependency=self._report.dependency)
                self._away(_unavailable("a fault in our MQTT session; see the log"))
            if loop.time() - began > self._broker.timing.retry_cap_s:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _live(self) -> None:
        """Connect, subscribe, and wait for the loss of the connection, which is raised."""
        client = self._new_client()
        wire = Wire(client)
        await connect(client, wire)
        link = Link(client, wire)
        try:
            await self._subscribe(client)
            self._link = link
            self._report.up(f"connected to {self._broker.address} as {self._identifier}")
            self._ready.set()
            await asyncio.wait({wire.lost})
            if not link.renewing:
                reason = (
                    f"lost the connection to {self._broker.address}"
                    f" ({wire.lost.exception() or 'closed'}); if this repeats at once, another"
                    f" client uses the identifier `{self._identifier}`"
                )
                self._report.given_up("error", reason)
                raise BusUnavailableError(reason)
        finally:
            self._link = None
            self._ready.clear()
            link.gone.set()
            await disconnect(client, wire, self._broker.timing.stop_timeout_s)

    def _new_client(self) -> aiomqtt.Client:
        broker = self._broker
        endpoint = broker.address.endpoints[0]
        client = aiomqtt.Client(
            endpoint.host,
            endpoint.port,
            identifier=self._identifier,
            clean_session=not self._persistent,
            username=broker.security.username,
            password=broker.security.read_password(),
            tls_context=_tls_context(broker) if broker.address.tls else None,
            keepalive=broker.timing.keepalive_s,
            timeout=broker.timing.connect_timeout_s,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", Inbox),
            max_queued_incoming_messages=self._queue_size,
        )
        client.pending_calls_threshold = sys.maxsize  # it would log every publication beyond
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for name in self._filters:
            granted = await client.subscribe(name, qos=QOS)
            if any(_code(code) >= _REFUSED_FILTER for code in granted):
                raise BusDeniedError(
                    f"{self._broker.address} does not allow us to subscribe to {name}: ask for"
                    " the right to read it"
                )

    def _away(self, trouble: BusUnavailableError) -> None:
        self._trouble = trouble
        self._report.down(str(trouble))


def _tls_context(broker: MqttBroker) -> ssl.SSLContext:
    context = broker.security.tls_context()
    context.sslsocket_class = TidySocket
    return context


def _code(code: int | ReasonCode | Any) -> int:
    return code.value if isinstance(code, ReasonCode) else int(code)
