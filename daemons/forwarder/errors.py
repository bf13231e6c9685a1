"""The exception tree of the forwarder.

::

    ForwarderError                (ArrieroError)
    ├── JournalError
    │   ├── JournalDamagedError       the file is no sound SQLite database; needs a person
    │   ├── JournalVersionError       a newer arriero wrote it; needs a person
    │   └── JournalUnavailableError   disk full or failing; retryable
    ├── EntryChangedError         somebody else changed the journal entry meanwhile
    ├── ForbiddenMoveError        the life cycle has no such step
    ├── UnknownFileError          the journal knows no such file
    ├── FileRefusedError          a path that must not be sent
    ├── DecisionRefusedError      an operator's decision that cannot be carried out
    ├── PlacementError            a header or name that the key template cannot place
    ├── FileChangedError          the file is another one than the one that was inspected
    │   └── FileGoneError         the file is no longer there
    ├── ConflictError             the key holds other content
    ├── DeliveryError             the store refuses the object for good
    └── DrainingError             the service takes no new work
"""

from __future__ import annotations

from daemons.runtime.errors import ArrieroError


class ForwarderError(ArrieroError):
    """Root of what the forwarder raises."""

    code = "forwarder.error"


class JournalError(ForwarderError):
    """Something is wrong with the journal."""

    code = "journal.error"


class JournalDamagedError(JournalError):
    """The journal is no sound SQLite database."""

    code = "journal.damaged"


class JournalVersionError(JournalError):
    """The journal was written by a newer version."""

    code = "journal.version"


class JournalUnavailableError(JournalError):
    """The journal cannot be written now: the disk is full or fails."""

    code = "journal.unavailable"
    retryable = True
    exit_code = 69


class EntryChangedError(ForwarderError):
    """The journal entry is no longer as it was read; read it again."""

    code = "journal.entry_changed"
    retryable = True


class ForbiddenMoveError(ForwarderError):
    """The life cycle of a file has no such step."""

    code = "journal.forbidden_move"


class UnknownFileError(ForwarderError):
    """The journal knows no such file."""

    code = "file.unknown"


class FileRefusedError(ForwarderError):
    """A path that the forwarder must not send."""

    code = "file.refused"


class DecisionRefusedError(ForwarderError):
    """An operator's decision that cannot be carried out."""

    code = "decision.refused"


class PlacementError(ForwarderError):
    """The key template cannot place a file with this header or name."""

    code = "placement.failed"


class FileChangedError(ForwarderError):
    """The file is another one than the one that was inspected."""

    code = "file.changed"
    retryable = True


class FileGoneError(FileChangedError):
    """The file is no longer there."""

    code = "file.gone"


class ConflictError(ForwarderError):
    """The key holds other content; nothing was overwritten."""

    code = "store.conflict"

    def __init__(self, message: str, *, key: str, stored_sha256: str | None) -> None:
        super().__init__(message)
        self.key = key
        self.stored_sha256 = stored_sha256


class DeliveryError(ForwarderError):
    """The store refuses the object for good."""

    code = "store.refused"


class DrainingError(ForwarderError):
    """The service takes no new work."""

    code = "forwarder.draining"
