"""The exception tree of the header service.

::

    HeaderServiceError            (ArrieroError)
    ├── JournalError              the journal is damaged, or of a newer version
    └── PublicationConflictError  the object store holds another object under the key

Keyword definitions that cannot be used are a `SettingsError` with file and line.
What is wrong with one message or one exposure is no exception: it is a
`Finding`, which is logged, counted, and kept beside the header.
"""

from __future__ import annotations

from daemons.runtime.errors import ArrieroError


class HeaderServiceError(ArrieroError):
    """Root of what the header service raises."""

    code = "headerservice.error"


class JournalError(HeaderServiceError):
    """The journal is damaged, or was written by a newer version."""

    code = "headerservice.journal"


class PublicationConflictError(HeaderServiceError):
    """The object store holds another object under the key; it is never overwritten."""

    code = "headerservice.conflict"
