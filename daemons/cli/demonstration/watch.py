"""Follow a night by its events: what is stored, registered, set aside, and how fast."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.table import Table

from daemons.bus import EventStream
from daemons.events import (
    Event,
    HeaderAvailable,
    ImageConflicted,
    ImageQuarantined,
    ImageRegistered,
    ImageRegistrationFailed,
    ImageStored,
)

_FOLLOWED = tuple(
    model.event_type
    for model in (
        HeaderAvailable,
        ImageConflicted,
        ImageQuarantined,
        ImageRegistered,
        ImageRegistrationFailed,
        ImageStored,
    )
)


@dataclass(slots=True)
class ExposureTally:
    """What is known of one exposure."""

    obs_id: str
    header: str = ""
    """Status of its latest header: early, complete or partial."""
    stored: set[str] = field(default_factory=set)
    registered: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Watch:
    """What the events of a night have said so far."""

    exposures: dict[str, ExposureTally] = field(default_factory=dict)
    stored_at: dict[str, datetime] = field(default_factory=dict)
    """File name to when it was stored."""
    registered_at: dict[str, datetime] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    """One sentence per image that was set aside, refused or in conflict."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def remember(self, obs_id: str, name: str) -> None:
        """Count a file that an earlier run saw registered: no event tells of it again."""
        tally = self._exposure(obs_id)
        tally.stored.add(name)
        tally.registered.add(name)

    async def until_registered(self, names: frozenset[str]) -> None:
        """Return once all of these files are registered, in this run or before."""
        while not names <= self._registered():
            self._news.clear()
            await self._news.wait()

    def take(self, event: Event) -> None:
        """Count an event; the same one again changes nothing."""
        if event.type == HeaderAvailable.event_type:
            header = event.read(HeaderAvailable)
            self._exposure(header.obs_id).header = header.status
        elif event.type == ImageStored.event_type:
            stored = event.read(ImageStored)
            self._exposure(stored.obs_id).stored.add(stored.file_name)
            self.stored_at.setdefault(stored.file_name, stored.stored_at)
        elif event.type == ImageRegistered.event_type:
            registered = event.read(ImageRegistered)
            self._exposure(registered.obs_id).registered.add(registered.file_name)
            self.registered_at.setdefault(registered.file_name, registered.registered_at)
        else:
            self._trouble(event)
        self._news.set()

    def _trouble(self, event: Event) -> None:
        name = event.data.get("file_name", event.subject)
        sentence = f"{event.type} {name}: {event.data.get('reason', '')}"
        if sentence not in self.troubles:
            self.troubles.append(sentence)

    def _registered(self) -> set[str]:
        return {name for tally in self.exposures.values() for name in tally.registered}

    def _exposure(self, obs_id: str) -> ExposureTally:
        return self.exposures.setdefault(obs_id, ExposureTally(obs_id))

    def table(self, made: Mapping[str, int], expected: int) -> Table:
        """Return the night so far, a line per exposure.

        Parameters
        ----------
        made
            Files that the camera has written, by obs_id.
        expected
            Files per exposure.
        """
        table = Table(box=None, header_style="bold", title_justify="left")
        for column in ("exposure", "header", "made", "stored", "registered"):
            table.add_column(
                column, justify="left" if column in {"exposure", "header"} else "right"
            )
        for obs_id in sorted({*made, *self.exposures}):
            tally = self.exposures.get(obs_id, ExposureTally(obs_id))
            table.add_row(
                obs_id,
                tally.header or "-",
                _of(made.get(obs_id, 0), expected),
                _of(len(tally.stored), expected),
                _of(len(tally.registered), expected),
            )
        return table


async def follow(stream: EventStream, watch: Watch, *, group: str) -> None:
    """Feed a watch until cancelled."""
    async with stream.subscribe(group, types=_FOLLOWED) as subscription:
        async for delivery in subscription:
            watch.take(delivery.message)
            await delivery.ack()


def _of(count: int, expected: int) -> str:
    return f"{count}/{expected}"


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which a share (0 to 1) of the values lies; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
