"""One MQTT connection: aiomqtt, mended where it would lose messages.

What aiomqtt keeps private and we need is in `Wire`, nowhere else.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from contextlib import suppress
from typing import Any, cast

import aiomqtt
import structlog

_log = structlog.get_logger(__name__)

QOS = 1
"""At least once; `ack` and `publish` rest on it."""
_NO_SUBSCRIPTION = "arriero/settled"
"""A filter that nobody subscribes to."""


class TidySocket(ssl.SSLSocket):
    """A TLS socket that paho need not close when the handshake fails, because it does not."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - Python's own
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class Inbox(asyncio.Queue[aiomqtt.Message]):
    """A bounded queue that takes nothing more once it had to refuse.

    What is refused stays unacknowledged at the broker; anything taken later
    would overtake it.
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.overflowed = False
        self.news = asyncio.Event()
        """Set when there is a message, or none will ever come."""

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Take a message; from the first overflow on, leave it to the broker."""
        self.overflowed = self.overflowed or self.full()
        if not self.overflowed:
            super().put_nowait(item)
            self.news.set()


class Wire:
    """The private parts of aiomqtt that we cannot do without.

    `manual_ack`: paho acknowledges at once what it hands to a callback, unless
    told otherwise, and aiomqtt offers no way to tell it. `lost`: aiomqtt knows
    that the connection is gone, but shows it only to who reads messages. `cut`:
    its own way to disconnect waits for a broker that may not answer. And it asks
    the loop to watch a socket by its number one step later, when the socket may
    be closed and the number another's.
    """

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        client._client.manual_ack_set(True)  # noqa: SLF001 - see the class
        client._client.on_socket_register_write = self._register_write  # noqa: SLF001

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection is gone."""
        return self._client._disconnected  # noqa: SLF001 - see the class

    def ack(self, message: aiomqtt.Message) -> None:
        """Send PUBACK."""
        self._client._client.ack(message.mid, message.qos)  # noqa: SLF001 - see the class

    def cut(self) -> None:
        """Say good-bye and close the socket, at once; harmless when it is closed."""
        paho = self._client._client  # noqa: SLF001 - see the class
        paho.disconnect()
        paho.loop_write()
        if paho.socket() is not None:
            paho._sock_close()  # noqa: SLF001 - a peer that is frozen takes no good-bye
        if not self.lost.done():
            self.lost.set_result(None)

    @property
    def inbox(self) -> Inbox:
        """The queue that we gave it."""
        return cast("Inbox", self._client._queue)  # noqa: SLF001 - see the class

    def _register_write(self, _paho: object, _userdata: object, sock: Any) -> None:
        # paho may call from the thread that connects.
        self._loop.call_soon_threadsafe(self._watch_writable, sock)

    def _watch_writable(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client._client.loop_write()  # noqa: SLF001 - see the class
        except OSError as error:
            if not self.lost.done():
                self.lost.set_exception(error)


class Link:
    """One connection, from its acceptance to its loss."""

    __slots__ = ("client", "gone", "renewing", "wire")

    def __init__(self, client: aiomqtt.Client, wire: Wire) -> None:
        self.client = client
        self.wire = wire
        self.gone = asyncio.Event()
        self.renewing = False
        wire.lost.add_done_callback(lambda _: wire.inbox.news.set())

    async def receive(self) -> aiomqtt.Message | None:
        """Return the next message, or None when none will come by this connection.

        aiomqtt's own iterator loses the message that arrives while its caller is
        being cancelled.
        """
        inbox = self.wire.inbox
        while not self.is_lost:
            if not inbox.empty():
                return inbox.get_nowait()
            if inbox.overflowed:
                await self._renew()
                return None
            inbox.news.clear()
            await inbox.news.wait()
        await self.gone.wait()
        return None

    async def _renew(self) -> None:
        """Close this connection: on the next one the broker sends again what did not fit."""
        _log.warning("mqtt_queue_overflowed", client=self.client.identifier)
        self.renewing = True
        await settle(self.client)
        self.wire.cut()
        await self.gone.wait()

    @property
    def is_lost(self) -> bool:
        """True once nothing sent here arrives."""
        return self.gone.is_set() or self.wire.lost.done()

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Return True at PUBACK, False when the connection is lost before.

        Raises
        ------
        ValueError
            MQTT cannot carry such a topic or payload.
        """
        call = asyncio.ensure_future(
            self.client.publish(topic, payload, qos=QOS, retain=retain, timeout=math.inf)
        )
        try:
            await asyncio.wait({call, self.wire.lost}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done() or isinstance(call.exception(), aiomqtt.MqttError):
                return False
            call.result()
            return True
        finally:
            call.cancel()


async def settle(client: aiomqtt.Client) -> None:
    """Return when the broker has dealt with everything that was sent before.

    Any question would do; this one changes nothing. Without it a connection
    that comes at once after this one overtakes its last acknowledgements.
    """
    with suppress(aiomqtt.MqttError):
        await client.unsubscribe(_NO_SUBSCRIPTION)


class MqttMessage:
    """A message that the broker keeps until it is acknowledged.

    Parameters
    ----------
    link
        The connection that it came by; only there does its packet id mean it.
    message
        What aiomqtt received.
    """

    __slots__ = ("_acked", "_link", "_message", "payload", "retain", "topic")

    def __init__(self, link: Link, message: aiomqtt.Message) -> None:
        self._link = link
        self._acked = False
        self._message = message
        self.topic = str(message.topic)
        self.payload = bytes(message.payload)
        self.retain = bool(message.retain)
        """True for a message from before the subscription, kept by the broker."""

    @property
    def is_current(self) -> bool:
        """False when the connection was lost since, so that the message comes again."""
        return not self._link.is_lost

    def ack(self) -> None:
        """Send PUBACK, once; nothing after a reconnect, because then the message comes again.

        MQTT 3.1.1 (4.6.0-2) asks for acknowledgements in the order of arrival.
        We send them in the order of completion: brokers find the message by its
        packet id, and one slow message must not hold back the others.
        """
        if not self._acked and self._message.qos == QOS and self.is_current:
            self._acked = True
            self._link.wire.ack(self._message)


async def connect(client: aiomqtt.Client, wire: Wire) -> None:
    """Connect; a cancellation waits for the attempt, because it runs in a thread."""
    attempt = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(attempt)
    except asyncio.CancelledError:
        await asyncio.wait({attempt})
        wire.cut()
        raise
    except BaseException:
        wire.cut()  # aiomqtt leaves the socket open when the broker does not answer
        raise
    finally:
        if attempt.done() and not attempt.cancelled():
            attempt.exception()  # it was seen; asyncio need not warn


async def disconnect(client: aiomqtt.Client, wire: Wire, timeout_s: float) -> None:
    """Disconnect in order if the broker answers in time; in any case close the socket."""
    try:
        async with asyncio.timeout(timeout_s):
            if not wire.lost.done():
                await settle(client)
            await client.__aexit__(None, None, None)
    except (aiomqtt.MqttError, TimeoutError) as error:
        _log.debug("mqtt_goodbye_not_answered", error=repr(error))
    finally:
        wire.cut()  # after some losses the socket is still open
        if not wire.lost.cancelled():
            wire.lost.exception()  # it was seen; asyncio need not warn
