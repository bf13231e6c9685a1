"""Asking an aiokafka consumer, and ending it, where the broker may be frozen."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka_errors
from aiokafka.errors import KafkaError

_POSITION_TIMEOUT_S = 1.0
"""A client that does not know its position for so long counts as not knowing it."""

_log = structlog.get_logger(__name__)


async def position_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """Return where a consumer is in a partition; None while it does not know."""
    try:
        async with asyncio.timeout(_POSITION_TIMEOUT_S):
            position: int = await consumer.position(partition)
            return position
    except (TimeoutError, kafka_errors.IllegalStateError):
        return None


async def stop_consumer(consumer: AIOKafkaConsumer, timeout_s: float) -> None:
    """End a consumer, in order if it can be done, else by cutting its connections.

    `stop` waits for answers of a broker that may be frozen, and where its
    coordination has failed it raises before it has closed anything.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({stopping}, timeout=timeout_s)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            await consumer._client.close()  # noqa: SLF001 - no public name reaches it
            if consumer._fetcher is not None:  # noqa: SLF001 - as above
                await consumer._fetcher.close()  # noqa: SLF001 - as above
    await asyncio.wait({stopping}, timeout=timeout_s)
    if not stopping.done():
        _log.warning("kafka_consumer_does_not_stop", timeout_s=timeout_s)
        stopping.cancel()
        await asyncio.wait({stopping}, timeout=timeout_s)
    if stopping.done() and not stopping.cancelled():
        _log.info("kafka_consumer_cut_off", error=repr(stopping.exception()))
