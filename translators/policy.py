"""What `inspect_file` asks of a file beyond the FITS standard."""

from __future__ import annotations

from dataclasses import dataclass

from translators.findings import Severity


@dataclass(frozen=True, slots=True)
class InspectionPolicy:
    """How strict an inspection is; the defaults suit a camera's drop directory."""

    expected_hdus: int | None = None
    """How many HDUs the file must have; None: what the instrument's data say
    (`files` in `config/instruments/<name>/instrument.yaml`)."""
    wrong_checksum: Severity | None = None
    """Severity of a DATASUM or CHECKSUM that does not fit; None: what the instrument's data
    say, an error where they say nothing."""
    absent_checksum: Severity | None = None
    """Severity of an HDU without them; None: a warning where the instrument's data
    say that it writes them, else an information."""
    gzip: Severity = Severity.WARNING
    """Severity of a file that is compressed with gzip as a whole though its name does
    not say so."""


DEFAULT_POLICY = InspectionPolicy()
"""What an inspection asks where nobody says otherwise."""
