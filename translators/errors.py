"""The exception tree of `translators`.

::

    TranslatorsError            code
    ├── UnreadableFileError     the file cannot be opened or read (gone, permissions, device)
    ├── InstrumentDataError     a file below config/instruments is absent or wrong
    ├── SidecarError            bytes that are no sidecar of a header
    └── TranslationError        the header does not tell what the image is
        ├── UnknownInstrumentError
        └── UnknownDetectorError

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


class InstrumentDataError(TranslatorsError):
    """A file below `config/instruments` is absent or wrong."""

    code = "instrument.data"


class SidecarError(TranslatorsError):
    """Bytes that are no sidecar of a header."""

    code = "sidecar.invalid"


class TranslationError(TranslatorsError):
    """The header does not tell what the image is."""

    code = "translation.failed"


class UnknownInstrumentError(TranslationError):
    """No translator knows this header."""

    code = "translation.unknown_instrument"


class UnknownDetectorError(TranslationError):
    """The instrument has no such detector."""

    code = "translation.unknown_detector"
