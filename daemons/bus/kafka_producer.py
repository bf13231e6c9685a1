"""A Kafka producer that outlives its broker and its own client."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from daemons.bus.interface import BusDeniedError, BusError, BusUnavailableError
from daemons.bus.kafka_client import (
    REFUSED,
    KafkaCluster,
    KafkaError,
    TopicPlan,
    ensure_topics,
    explain,
)
from daemons.bus.kafka_guard import uncancelled
from daemons.bus.report import Cause, ConnectionReport
from daemons.bus.under_way import UnderWay
from daemons.runtime.errors import ArrieroError

_log = structlog.get_logger(__name__)


class _TopicDeniedError(BusDeniedError):
    """We may connect but not write: a new connection is no sign that this is mended."""


class _Life:
    """One life of an aiokafka producer, from its start to its loss."""

    __slots__ = ("client", "lost")

    def __init__(self, client: AIOKafkaProducer) -> None:
        self.client = client
        self.lost: asyncio.Future[BusUnavailableError] = asyncio.get_running_loop().create_future()

    async def send(self, topic: str, value: bytes | None, **rest: Any) -> Any:
        """Return aiokafka's record metadata once the broker has it; raise what it is lost for."""
        sent = await self.client.send(topic, value, **rest)
        try:
            await asyncio.wait({sent, self.lost}, return_when=asyncio.FIRST_COMPLETED)
            if not sent.done():
                raise self.lost.result()
            return sent.result()
        finally:
            sent.cancel()


class KafkaProducer:
    """A producer that outlives its broker and its own client.

    It connects at `start` or the first `send`, and keeps trying from then on. What is not
    confirmed in time is given up together with the client that holds it:
    aiokafka would retry an idempotent batch for ever, and a caller who repeats
    a publication through a long outage would find every attempt delivered.

    Parameters
    ----------
    cluster
        Where to.
    topics
        Created, where absent, at each connection.
    report
        Told how the broker is.
    """

    def __init__(
        self,
        cluster: KafkaCluster,
        *,
        topics: Collection[TopicPlan] = (),
        report: ConnectionReport,
    ) -> None:
        self._cluster = cluster
        self._topics = tuple(topics)
        self._report = report
        self._life: _Life | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._trouble = BusUnavailableError(f"not connected to {cluster.address} yet")
        self._under_way = UnderWay()
        self._closed = False

    def start(self) -> None:
        """Begin to connect, in the background. Idempotent; `send` does it, too."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(
                self._keep(), name=f"{self._report.dependency} producer"
            )

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Collection[tuple[str, bytes]] = (),
        timeout_s: float,
    ) -> Any:
        """Return aiokafka's record metadata once every in-sync replica has the message.

        Raises
        ------
        BusUnavailableError
            Not confirmed in time; the message may or may not arrive later.
        BusDeniedError
            The broker refuses our credentials or our rights.
        BusError
            The broker will never take this message.
        """
        if self._closed:
            raise BusUnavailableError(f"the connection to {self._cluster.address} is closed")
        self.start()
        life: _Life | None = None
        try:
            with self._under_way:
                async with asyncio.timeout(timeout_s):
                    while True:
                        life = await self._current()
                        try:
                            sent = await uncancelled(
                                life.send(topic, value, key=key, headers=list(headers))
                            )
                        except BusUnavailableError:
                            continue  # lost by another publication; the next client has its turn
                        except KafkaError as error:
                            self._judge(life, error)
                        else:
                            self._confirmed()
                            return sent
        except TimeoutError as error:
            self._lose(life, "timeout", self._silent)
            raise type(self._trouble)(
                f"a message to {topic} was not confirmed within {timeout_s:g} s: {self._trouble}"
            ) from error

    async def close(self) -> None:
        """Finish what is under way, within `stop_timeout_s`, and disconnect. Idempotent."""
        self._closed = True
        timing = self._cluster.timing
        if self._life is not None:
            await self._under_way.finished(timing.stop_timeout_s)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        life, self._life = self._life, None
        self._ready.set()  # who still waits learns that it is over
        if life is not None:
            life.lost.set_result(BusUnavailableError("closed before the broker confirmed"))
            self._retire(life.client)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=2 * timing.stop_timeout_s)

    async def _current(self) -> _Life:
        while True:
            await self._ready.wait()
            if self._life is not None:
                return self._life
            if self._closed:
                raise BusUnavailableError(f"the connection to {self._cluster.address} is closed")

    async def _keep(self) -> None:
        backoff = self._cluster.timing.backoff()
        while True:
            try:
                life = await uncancelled(self._connect())
            except (KafkaError, OSError, TimeoutError, ArrieroError) as error:
                self._away(await self._cluster.explain(error))
            except Exception:  # noqa: BLE001 - one attempt ends here, whatever ended it
                _log.exception("kafka_producer_failed", dependency=self._report.dependency)
                self._away(BusUnavailableError("a fault in our Kafka producer; see the log"))
            else:
                backoff.reset()
                await asyncio.wait({life.lost})
            await asyncio.sleep(backoff.next_s())

    async def _connect(self) -> _Life:
        await ensure_topics(self._cluster, self._topics)
        life = self._life = _Life(await self._start())
        if not isinstance(self._trouble, _TopicDeniedError):
            self._report.up(f"connected to {self._cluster.address}")
        self._ready.set()
        return life

    async def _start(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            **self._cluster.options(), acks="all", enable_idempotence=True, linger_ms=0
        )
        try:
            # `start` asks for a producer id again and again while the broker is away.
            async with asyncio.timeout(self._cluster.timing.request_timeout_s * 2):
                await client.start()
        except BaseException:
            await _retire(client, self._cluster.timing.stop_timeout_s)
            raise
        return client

    def _judge(self, life: _Life, error: Exception) -> None:
        """Raise what the caller must know; otherwise give the client up, so that it is retried."""
        explained = explain(error, str(self._cluster.address), self._cluster.security)
        if isinstance(explained, BusDeniedError):
            self._away(_TopicDeniedError(str(explained)))
            raise explained from error
        self._lose(life, "error", explained)
        if isinstance(error, REFUSED):
            raise BusError(
                f"{self._cluster.address} will never take this message: {error}"
            ) from error

    def _confirmed(self) -> None:
        if isinstance(self._trouble, _TopicDeniedError):
            self._trouble = self._silent
            self._report.up(f"connected to {self._cluster.address}")

    @property
    def _silent(self) -> BusUnavailableError:
        return BusUnavailableError(f"{self._cluster.address} does not answer")

    def _lose(self, life: _Life | None, cause: Cause, trouble: BusUnavailableError) -> None:
        if life is None or self._life is not life:
            return
        self._life = None
        self._ready.clear()
        self._trouble = trouble
        self._report.given_up(cause, str(trouble))
        life.lost.set_result(trouble)
        self._retire(life.client)

    def _retire(self, client: AIOKafkaProducer) -> None:
        task = asyncio.create_task(
            _retire(client, self._cluster.timing.stop_timeout_s),
            name=f"{self._report.dependency} producer retiring",
        )
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _away(self, trouble: BusUnavailableError) -> None:
        self._trouble = trouble
        self._report.down(str(trouble))


async def _retire(client: AIOKafkaProducer, timeout_s: float) -> None:
    """End a producer without waiting for what it still holds.

    `stop` waits until every batch is delivered, which for an idempotent
    producer without a broker is never. So its parts are ended one by one, which
    only private names reach; nothing else in this package touches them.
    """
    client._closed = True  # noqa: SLF001 - else its finalizer warns of a client not closed
    try:
        async with asyncio.timeout(timeout_s):
            await client._sender.close()  # noqa: SLF001 - see above
    except (KafkaError, TimeoutError) as error:
        _log.debug("kafka_producer_sender_ended", error=repr(error))
    try:
        async with asyncio.timeout(timeout_s):
            await client.client.close()
    except TimeoutError:
        _log.warning("kafka_connection_not_closed", timeout_s=timeout_s)
