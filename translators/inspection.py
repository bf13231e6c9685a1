"""What one read of a FITS file tells: the values that `inspect_file` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from translators.findings import Finding, Severity

CardValue = str | int | float | bool | None
"""Value of a header card; None is an undefined value (`KEY     =`)."""


class Verdict(StrEnum):
    """What a checksum card says of its HDU."""

    GOOD = "good"
    WRONG = "wrong"
    ABSENT = "absent"
    BORROWED = "borrowed"
    """It is that of the image before compression, carried along (the card equals ZDATASUM or
    ZHECKSUM) and never made for these bytes: it says nothing of them."""


@dataclass(frozen=True, slots=True)
class Hdu:
    """One header and data unit."""

    index: int
    name: str
    """EXTNAME; `PRIMARY` for the first, empty where there is none."""
    kind: str
    """`PRIMARY`, or the XTENSION value: `IMAGE`, `BINTABLE`, `TABLE`."""
    offset: int
    """Where the header begins, bytes from the start of the file."""
    header_bytes: int
    """Length of the header with its padding."""
    data_bytes: int
    """Length of the data with their padding."""
    datasum: Verdict
    checksum: Verdict


@dataclass(frozen=True, slots=True)
class PackedImage:
    """The image of a primary HDU that was packed into a table, as `fpack` does it."""

    hdu: int
    """Index of the table."""
    compression: str
    """ZCMPTYPE, such as `RICE_1`; empty where it is not said."""
    checksum: CardValue
    """ZHECKSUM: CHECKSUM of the HDU before; it can only be compared after unpacking."""
    datasum: CardValue
    """ZDATASUM: DATASUM of the HDU before."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file, read once."""

    size_bytes: int
    sha256: str
    """Of the whole file, hexadecimal."""
    crc64nvme: str
    """CRC-64/NVME of the whole file, 16 hexadecimal digits."""
    hdus: tuple[Hdu, ...]
    primary: Mapping[str, CardValue]
    """Cards of the primary header: keyword (HIERARCH without the prefix) to value,
    in file order; COMMENT, HISTORY and blank cards left out. Of a packed image it is
    the header from before it was packed."""
    findings: tuple[Finding, ...]
    packed: PackedImage | None = None
    """None where the file's primary HDU is what the camera wrote."""
    header_block: bytes = field(default=b"", repr=False, compare=False)
    """The cards as bytes that `primary` was read from, without END, for who needs their
    comments (`translators.fits.comments`); of a very long header only the beginning."""

    @property
    def whole(self) -> bool:
        """True when nothing was found that sets the file aside."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)
