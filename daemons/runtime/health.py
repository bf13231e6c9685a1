"""What a service depends on, and whether it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that a service needs: a broker, a store, a database, a folder."""

    name: str
    ok: bool
    reason: str
    """What is wrong and what to do, or what it is connected to."""
    since: datetime
    """When it became so, UTC."""


@dataclass(slots=True)
class HealthBoard:
    """The present state of the dependencies of one process.

    Whoever talks to a dependency reports here; `/readyz` and `/status` read it.
    A dependency that nobody has reported on yet is not ready.
    """

    _known: dict[str, Dependency] = field(default_factory=dict)
    _listeners: list[Callable[[Dependency], None]] = field(default_factory=list)

    def expect(self, name: str) -> None:
        """Name a dependency before it was ever reached."""
        if name not in self._known:
            self.report(name, ok=False, reason="not reached yet")

    def report(self, name: str, *, ok: bool, reason: str) -> None:
        """Say how a dependency is; `since` moves only when `ok` changes."""
        before = self._known.get(name)
        changed = before is None or before.ok != ok
        since = datetime.now(tz=UTC) if before is None or changed else before.since
        now = Dependency(name=name, ok=ok, reason=reason, since=since)
        self._known[name] = now
        if changed:
            for listener in self._listeners:
                listener(now)

    def on_change(self, listener: Callable[[Dependency], None]) -> None:
        """Call `listener` whenever a dependency comes or goes."""
        self._listeners.append(listener)

    @property
    def dependencies(self) -> Mapping[str, Dependency]:
        """Every known dependency by name."""
        return dict(self._known)

    @property
    def ready(self) -> bool:
        """True when every dependency is there."""
        return all(dependency.ok for dependency in self._known.values())
