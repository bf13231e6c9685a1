"""Waiting until a file is quiet. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from daemons.forwarder.scan import Found


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file that may still be written to."""

    found: Found
    """As it was last looked at."""
    due: float
    """When to look again, monotonic seconds."""
    quiet_s: float
    """How long it must be unchanged."""
    witnessed: bool
    """Its writer was seen to finish."""
    seen_at: float
    """When it was first noticed, UTC seconds."""


@dataclass(slots=True)
class Settling:
    """The files that are watched until they are quiet, by path."""

    _files: dict[bytes, Unsettled] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: bytes) -> bool:
        return path in self._files

    @property
    def next_due(self) -> float | None:
        """When the next file is to be looked at, monotonic seconds."""
        return min((file.due for file in self._files.values()), default=None)

    def watch(
        self, found: Found, *, quiet_s: float, witnessed: bool, seen_at: float, now: float
    ) -> None:
        """Watch a file from now on; a file that is watched already keeps its first time."""
        before = self._files.get(found.path)
        self._files[found.path] = Unsettled(
            found=found,
            due=now + quiet_s,
            quiet_s=quiet_s,
            witnessed=witnessed or (before is not None and before.witnessed),
            seen_at=seen_at if before is None else before.seen_at,
        )

    def forget(self, path: bytes) -> Unsettled | None:
        """Watch a file no longer; return what was known of it."""
        return self._files.pop(path, None)

    def take_due(self, now: float) -> list[Unsettled]:
        """Return the files that are to be looked at; they are watched no longer."""
        due = [file for file in self._files.values() if file.due <= now]
        for file in due:
            del self._files[file.found.path]
        return due

    def look_again(self, file: Unsettled, found: Found, now: float) -> Unsettled | None:
        """Return a file that was quiet, or watch it on and return None."""
        if found.identity == file.found.identity:
            return file
        # A notice may have come in while it was looked at; what that knows is newer.
        if found.path not in self._files:
            self._files[found.path] = replace(file, found=found, due=now + file.quiet_s)
        return None
