"""What is known of a file on its way: states, allowed moves, identities. No I/O.

The life of a file::

    discovered → inspected → stored → announced → registered → released
        │            │
        ├────────────┴──→ quarantined   set aside with the reason beside it
        ├────────────┴──→ conflicted    the key holds other content
        └────────────┴──→ failed        gone, replaced before it was stored, refused, rejected

`inspected → discovered` is a file that changed under our hands and starts
again. `quarantined`, `conflicted` and `failed` lead back to `discovered` by an
operator's decision (`failed` also when a vanished file is there again).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from daemons.forwarder.errors import ForbiddenMoveError
from translators.findings import Finding, Severity
from translators.identity import ImageIdentity


class FileState(StrEnum):
    """Where a file is on its way."""

    DISCOVERED = "discovered"
    """Seen and quiet; to be inspected."""
    INSPECTED = "inspected"
    """Read once: digest, identity and key are known; to be stored."""
    STORED = "stored"
    """In the object store and verified; for an attachment the end of its way."""
    ANNOUNCED = "announced"
    """`image.stored` is on the event stream."""
    REGISTERED = "registered"
    """The Butler has it."""
    RELEASED = "released"
    """The retention policy let it go."""
    QUARANTINED = "quarantined"
    """Set aside; a person decides."""
    CONFLICTED = "conflicted"
    """The key holds other content; a person decides."""
    FAILED = "failed"
    """Not on its way any more, for the reason given."""


class FileKind(StrEnum):
    """What a file is to the forwarder."""

    IMAGE = "image"
    """A detector image."""
    ATTACHMENT = "attachment"
    """A list of expected sensors: stored with its exposure, not announced."""


class Reason(StrEnum):
    """Codes of the journal for a file that is not on its way any more, or waits."""

    GONE = "file.gone"
    REPLACED = "file.replaced"
    UNREADABLE = "file.unreadable"
    PLACEMENT = "placement.failed"
    CONFLICT = "store.conflict"
    REFUSED = "store.refused"
    DISK = "disk.trouble"
    HELD = "file.held"
    INTERNAL = "internal.error"
    REJECTED = "operator.rejected"
    REGISTRATION = "registration.failed"


S = FileState
TRANSITIONS: Mapping[FileState, frozenset[FileState]] = MappingProxyType(
    {
        S.DISCOVERED: frozenset({S.DISCOVERED, S.INSPECTED, S.QUARANTINED, S.CONFLICTED, S.FAILED}),
        S.INSPECTED: frozenset(
            {S.DISCOVERED, S.INSPECTED, S.STORED, S.QUARANTINED, S.CONFLICTED, S.FAILED}
        ),
        # The answer of the registrar may overtake the note of our own announcement.
        S.STORED: frozenset({S.ANNOUNCED, S.REGISTERED}),
        S.ANNOUNCED: frozenset({S.ANNOUNCED, S.REGISTERED}),
        S.REGISTERED: frozenset({S.RELEASED}),
        S.RELEASED: frozenset(),
        S.QUARANTINED: frozenset({S.DISCOVERED, S.FAILED}),
        S.CONFLICTED: frozenset({S.DISCOVERED, S.FAILED}),
        S.FAILED: frozenset({S.DISCOVERED}),
    }
)
"""The allowed moves."""
del S

WAITING = frozenset({FileState.DISCOVERED, FileState.INSPECTED})
"""States in which the forwarder still has work with a file before it is stored."""


ASIDE = frozenset({FileState.QUARANTINED, FileState.CONFLICTED, FileState.FAILED})
"""States in which a person may decide."""


def check_move(before: FileState, after: FileState) -> None:
    """Raise `ForbiddenMoveError` where the life cycle has no such step."""
    if after not in TRANSITIONS[before]:
        raise ForbiddenMoveError(f"a file cannot go from {before} to {after}")


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which content a path stands for, without reading it.

    Never the modification time: compression in place and copies keep it.
    """

    device: int
    inode: int
    size_bytes: int
    ctime_ns: int
    """Time of the last change of content or inode, ns since 1970."""

    @classmethod
    def from_stat(cls, status: os.stat_result) -> FileIdentity:
        """Take the identity from an `lstat`; 64-bit numbers are folded to signed ones."""
        return cls(
            device=_signed(status.st_dev),
            inode=_signed(status.st_ino),
            size_bytes=status.st_size,
            ctime_ns=status.st_ctime_ns,
        )

    def same_inode(self, other: FileIdentity) -> bool:
        """Return whether both are one file, perhaps written to in between."""
        return (self.device, self.inode) == (other.device, other.inode)


def _signed(number: int) -> int:
    """Fold an unsigned 64-bit number to what SQLite's INTEGER holds."""
    return number - (1 << 64) if number >= 1 << 63 else number


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One version of one file, as the journal knows it."""

    id: int
    revision: int
    """Counts changes of this entry, so that two hands do not write over each other."""
    path: bytes
    """Where it appeared; bytes, because names need not be UTF-8."""
    location: bytes
    """Where it is now: `path`, or its place in quarantine."""
    identity: FileIdentity
    kind: FileKind
    state: FileState
    seen_at: float
    """When it was first seen, UTC seconds."""
    changed_at: float
    """When this entry last changed, UTC seconds."""
    witnessed: bool = False
    """Its writer was seen to finish: a close, a rename into place, or an explicit hand-over."""
    reason: str | None = None
    """Code: why it is set aside, in conflict or failed, or what it waits for."""
    detail: str | None = None
    """The same as a sentence."""
    sha256: str | None = None
    crc64nvme: str | None = None
    image: ImageIdentity | None = None
    """Which image it is; known from `inspected` on."""
    object_key: str | None = None
    stored_at: float | None = None
    findings: tuple[Finding, ...] = ()
    waived: tuple[str, ...] = ()
    """Codes of findings that an operator decided to live with."""
    quarantine_path: bytes | None = None
    """Where it is set aside; with another state than `quarantined`: where it is being moved."""
    announcements: int = 0
    """How often `image.stored` was published."""
    exposure_at: float = 0.0
    """When its exposure began to appear, by the names of its files, UTC seconds."""
    rank: int = 0
    """Class of its detector; smaller goes first."""

    @property
    def file_name(self) -> bytes:
        """Name under which it appeared."""
        return self.path.rpartition(b"/")[2]


def shown(path: bytes) -> str:
    r"""Return a path or name as people may read it: bytes that are not UTF-8 as `\xNN`."""
    return path.decode("utf-8", "backslashreplace")


class Sighting(StrEnum):
    """What a file that was seen is to the journal."""

    NEW = "new"
    """A path that the journal does not know."""
    KNOWN = "known"
    """What the journal has already."""
    GREW = "grew"
    """The same file, not stored yet, was written to: it starts again."""
    REPLACED = "replaced"
    """Another file, before the former was stored: the former is given up for it."""
    NEW_VERSION = "new version"
    """The path's former content was dealt with; this is other content, or may be."""
    RETURNED = "returned"
    """A file that had vanished is there again."""


def judge_sighting(known: JournalEntry | None, seen: FileIdentity) -> Sighting:
    """Decide what a file that was seen at a path is, given the path's newest entry."""
    if known is None:
        return Sighting.NEW
    if known.identity == seen:
        vanished = known.state is FileState.FAILED and known.reason == Reason.GONE
        return Sighting.RETURNED if vanished else Sighting.KNOWN
    if known.state in WAITING:
        if known.location != known.path:
            return Sighting.NEW_VERSION  # the known one is processed from its quarantine place
        return Sighting.GREW if known.identity.same_inode(seen) else Sighting.REPLACED
    return Sighting.NEW_VERSION


def blocking(findings: tuple[Finding, ...], waived: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return the findings that set a file aside: errors that nobody waived."""
    return tuple(
        finding
        for finding in findings
        if finding.severity is Severity.ERROR and finding.code not in waived
    )
