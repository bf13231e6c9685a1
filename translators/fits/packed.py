"""Images that `fpack` packed: the header of the primary HDU that they were.

`fpack` of a file with one image writes a primary HDU without data, and behind it a
binary table of compressed tiles that carries the image's cards, the mandatory ones
under names with a Z (FITS standard 4.0, section 10.1). ZSIMPLE tells that the image
was the primary HDU; the amplifiers of a camera that compresses each extension have
ZTENSION, or nothing, instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from translators.inspection import CardValue, PackedImage

_OF_NO_IMAGE = frozenset(
    {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "BLOCKED", "LONGSTRN"}
    | {"CHECKSUM", "DATASUM", "DATE", "ORIGIN", "EXTNAME", "EXTVER", "INHERIT"}
)
"""What stands in the primary HDU that a packer puts before its table. A camera's own has
more, and is left as it is."""

_RESTORED: Mapping[str, str] = MappingProxyType(
    {f"Z{name}": name for name in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BLOCKED")}
    | {"ZPCOUNT": "PCOUNT", "ZGCOUNT": "GCOUNT", "ZHECKSUM": "CHECKSUM", "ZDATASUM": "DATASUM"}
)
_RESTORED_AXIS = re.compile(r"Z(NAXIS[1-9][0-9]{0,2})")
_FIRST = re.compile(r"SIMPLE|BITPIX|NAXIS[0-9]*")
_OF_THE_TABLE = re.compile(
    r"XTENSION|BITPIX|NAXIS[12]?|PCOUNT|GCOUNT|TFIELDS|THEAP|CHECKSUM|DATASUM"
    r"|(?:TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM)[1-9][0-9]*"
    r"|ZIMAGE|ZTENSION|ZCMPTYPE|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO"
    r"|(?:ZTILE|ZNAME|ZVAL)[1-9][0-9]*"
)
_NAME_OF_THE_TABLE = "COMPRESSED_IMAGE"
"""EXTNAME that `fpack` gives an image without one."""


def may_be_packed(header: bytes) -> bool:
    """Tell by a quick look whether the header of a second HDU is worth to be read."""
    return b"ZSIMPLE =" in header


def packed_image(
    first: Mapping[str, CardValue], second: Mapping[str, CardValue]
) -> PackedImage | None:
    """Return what is known of the packed image in a file, None where there is none.

    Parameters
    ----------
    first, second
        Cards of its first two HDUs.
    """
    if second.get("ZIMAGE") is not True or second.get("ZSIMPLE") is not True:
        return None
    if first.get("NAXIS") != 0 or not _OF_NO_IMAGE.issuperset(first):
        return None
    return PackedImage(
        hdu=1,
        compression=str(second.get("ZCMPTYPE") or "").strip(),
        checksum=second.get("ZHECKSUM"),
        datasum=second.get("ZDATASUM"),
    )


def unpacked_cards(table: Mapping[str, CardValue]) -> dict[str, CardValue]:
    """Return the cards of the primary HDU that was packed, as unpacking would restore them.

    Parameters
    ----------
    table
        Cards of the table that holds it.
    """
    first: dict[str, CardValue] = {}
    rest: dict[str, CardValue] = {}
    for keyword, value in table.items():
        axis = _RESTORED_AXIS.fullmatch(keyword)
        restored = axis[1] if axis else _RESTORED.get(keyword)
        if restored is None and _belongs_to_table(keyword, value):
            continue
        name = restored or keyword
        (first if _FIRST.fullmatch(name) else rest)[name] = value
    return {**dict(sorted(first.items(), key=_mandatory_order)), **rest}


def _belongs_to_table(keyword: str, value: CardValue) -> bool:
    if keyword == "EXTNAME":
        return value == _NAME_OF_THE_TABLE
    return _OF_THE_TABLE.fullmatch(keyword) is not None


def _mandatory_order(card: tuple[str, CardValue]) -> tuple[int, int]:
    """Return the place of a mandatory card: SIMPLE, BITPIX, NAXIS, then its lengths."""
    keyword = card[0]
    if keyword.startswith("NAXIS"):
        return 2, int(keyword[5:] or 0)
    return ("SIMPLE", "BITPIX").index(keyword), 0
