"""Publishes a header that was made again, as the next revision of its exposure."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from daemons.runtime.clock import Clock
from headerservice import exposure as life
from headerservice.errors import HeaderServiceError
from headerservice.journal_records import StoredHeader
from headerservice.journal_thread import JournalThread
from headerservice.publish import Publisher
from headerservice.rebuild import Rebuilt

_LOOK_EVERY_S = 0.05


class StalePublicationError(HeaderServiceError):
    """Another revision was made meanwhile, or this one could not be published yet."""

    code = "headerservice.republish"
    exit_code = 75


async def republish(
    rebuilt: Rebuilt,
    *,
    journal: JournalThread,
    publisher: Publisher,
    clock: Clock,
    timeout_s: float = 60.0,
) -> StoredHeader:
    """Record a header and publish it; return it with its key.

    Parameters
    ----------
    rebuilt
        The header; its revision must be the one after the latest.
    journal
        The journal, open.
    publisher
        Not running; it also publishes what else waits in the journal.
    clock
        Says when the header was made.
    timeout_s
        How long store and buses may take.

    Raises
    ------
    StalePublicationError
        It was not published; where it is in the journal, the service does it later.
    """
    obs_id = rebuilt.exposure.obs_id
    known = await journal.run(lambda each: each.exposure(obs_id))
    latest = 0 if known is None else known[0].revision
    if rebuilt.revision != latest + 1:
        raise StalePublicationError(
            f"revision {latest} of {obs_id} was made meanwhile: rebuild the header again"
        )
    now = float(clock.tai())
    exposure = replace(rebuilt.exposure, revision=latest)
    if known is None:
        exposure = replace(exposure, opened_at=now, deadline=now)
    status = rebuilt.made.header.status
    exposure = life.published(exposure, status=status, improvable=False, now=now)
    stored = replace(rebuilt.made.stored, made_at=float(clock.utc()))
    number = await journal.run(lambda each: each.save_exposure(exposure, header=stored))
    running = asyncio.create_task(publisher.run(), name="headerservice-republish")
    try:
        async with asyncio.timeout(timeout_s):
            return await _published(number, journal, running)
    except TimeoutError as error:
        raise StalePublicationError(
            f"revision {rebuilt.revision} of {obs_id} is in the journal and was not published "
            f"within {timeout_s:g} s ({publisher.last_error or 'no answer'}): the service does it "
            "when it is enabled"
        ) from error
    finally:
        running.cancel()
        await asyncio.wait({running})


async def _published(
    number: int, journal: JournalThread, running: asyncio.Task[None]
) -> StoredHeader:
    while True:
        header = await journal.run(lambda each: each.header(number))
        if header is not None and not header.todo:
            return header
        if running.done():
            running.result()
        await asyncio.sleep(_LOOK_EVERY_S)  # the journal announces nothing
