"""Takes over changed keyword definitions while headers are made.

New definitions count for exposures that begin after them; an open exposure keeps those that
it began with. A file with mistakes changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from daemons.runtime.errors import SettingsError
from daemons.runtime.executors import BlockingExecutor
from headerservice.intake import Intake
from headerservice.rules import Definitions
from headerservice.worker import Desk

Compare = Callable[[Path, Definitions], Awaitable[tuple[str, ...]]]
"""Takes a file and its definitions; returns problems with file and line."""

_log = structlog.get_logger(__name__)


class Reading:
    """Reads the control bus, and begins anew when the definitions change.

    Parameters
    ----------
    make
        Returns what reads for a desk.
    desk
        The desk to begin with.
    """

    def __init__(self, make: Callable[[Desk], Intake], desk: Desk) -> None:
        self._make = make
        self._changed = asyncio.Event()
        self.intake = make(desk)
        """What reads now."""

    def change(self, desk: Desk) -> None:
        """Read for another desk from now on; what the old intake has not dealt with comes again."""
        draining, self.intake.draining = self.intake.draining, True
        self.intake = self._make(desk)
        self.intake.draining = draining
        self._changed.set()

    async def run(
        self, since: float, *, again_from: Callable[[], float], ready: Callable[[str], None]
    ) -> None:
        """Read until cancelled.

        Parameters
        ----------
        since
            From when on telemetry is needed, TAI seconds.
        again_from
            The same after a change.
        ready
            Called with `telemetry` and `events`, once each of them is read.

        Raises
        ------
        ExceptionGroup
            Somebody closed the bus.
        """
        while True:
            self._changed.clear()
            intake = self.intake
            async with asyncio.TaskGroup() as group:
                tasks = (
                    group.create_task(
                        intake.read_telemetry(since, lambda: ready("telemetry")),
                        name="headerservice-telemetry",
                    ),
                    group.create_task(
                        intake.read_events(lambda: ready("events")), name="headerservice-events"
                    ),
                )
                await self._changed.wait()
                for task in tasks:
                    task.cancel()
            since = again_from()


class DefinitionsKeeper:
    """Looks after the definitions in use.

    Parameters
    ----------
    definitions
        Those to begin with.
    path
        Their file.
    load
        Reads a file anew; may block.
    executor
        Where it does so.
    take_over
        Puts new definitions to use.
    compare
        Says what is wrong with the definitions by the schemas of a live registry; None: there
        is none. Definitions that disagree with it stay in use, for the registry may be behind.
    """

    def __init__(
        self,
        definitions: Definitions,
        path: Path,
        *,
        load: Callable[[Path], Definitions],
        executor: BlockingExecutor,
        take_over: Callable[[Definitions], None],
        compare: Compare | None = None,
    ) -> None:
        self.definitions = definitions
        """Those of exposures that begin now."""
        self._path = path
        self._load = load
        self._executor = executor
        self._take_over = take_over
        self._compare = compare
        self._disagreeing: tuple[str, ...] = ()
        self._asked = asyncio.Event()
        self._since = datetime.now(tz=UTC)
        self._refused: tuple[str, ...] = ()

    def request(self) -> None:
        """Ask for a look at the file; what comes of it is logged, and in the status."""
        self._asked.set()

    async def run(self) -> None:
        """Look at the file whenever that is asked for, until cancelled."""
        while True:
            await self._look_at_schemas()
            await self._asked.wait()
            self._asked.clear()
            await self._look()

    async def _look(self) -> None:
        try:
            new = await self._executor.run(self._load, self._path)
        except SettingsError as error:
            self._refuse(error.problems)
            return
        if new.digest == self.definitions.digest:
            self._refused = ()
            _log.info("definitions_unchanged", file=str(self._path))
            return
        fixed = _what_is_fixed(self.definitions, new)
        if fixed:
            what = f"{self._path}: another {fixed} needs a restart of the header service"
            self._refuse((what,))
            return
        self._take_over(new)
        before, self.definitions = self.definitions, new
        self._since, self._refused = datetime.now(tz=UTC), ()
        _log.info(
            "definitions_taken_over",
            file=str(self._path),
            digest=new.digest[:16],
            before=before.digest[:16],
            hint="exposures that are open keep the ones that they began with",
        )

    async def _look_at_schemas(self) -> None:
        """Say what the registry has otherwise than the definitions in use."""
        if self._compare is not None:
            self._disagreeing = await self._compare(self._path, self.definitions)

    def _refuse(self, problems: tuple[str, ...]) -> None:
        self._refused = problems
        _log.error("definitions_refused", problems=list(problems), hint="the old ones stay")

    def status(self) -> Mapping[str, Any]:
        """Return which definitions are in use, and why newer ones are not."""
        return {
            "file": str(self._path),
            "digest": self.definitions.digest[:16],
            "in_use_since": self._since.isoformat(timespec="seconds"),
            "refused": list(self._refused),
            "disagreeing_with_registry": list(self._disagreeing),
        }


def _what_is_fixed(old: Definitions, new: Definitions) -> str:
    """Return what differs that open exposures and the journal depend on; empty for nothing."""
    if old.instrument != new.instrument:
        return "instrument"
    if (old.events.roles, old.events.name_field) != (new.events.roles, new.events.name_field):
        return "set of exposure events"
    return ""
