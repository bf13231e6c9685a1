"""The exception tree of `translators`.

::

    TranslatorsError            code
    ├── UnreadableFileError     the file cannot be opened or read (gone, permissions, device)
    └── TranslationError        the header does not tell what the image is
        └── UnknownInstrumentError

A bad file is no exception: `inspect_file` returns findings.
"""

from __future__ import annotations

from typing import ClassVar


class TranslatorsError(Exception):
    """Root of what this package raises; the message says what, of which file, and what to do."""

    code: ClassVar[str] = "translators.error"


class UnreadableFileError(TranslatorsError):
    """The file cannot be opened or read."""

    code = "file.unreadable"


class TranslationError(TranslatorsError):
    """The header does not tell what the image is."""

    code = "translation.failed"


class UnknownInstrumentError(TranslationError):
    """No translator knows this header."""

    code = "translation.unknown_instrument"
