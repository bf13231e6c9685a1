"""Cards of a FITS header: 80 bytes to a keyword and a value.

Follows the FITS standard 4.0, sections 4.1 and 4.2: strings with doubled quotes,
long strings over CONTINUE cards, undefined values, exponents with D, and the
HIERARCH convention. What breaks the rules is read as well as it can be and
reported.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from translators.findings import Finding, Severity
from translators.inspection import CardValue

CARD_BYTES = 80
"""Length of a card."""

_KEYWORD_BYTES = 8
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "END"})
_KEYWORD = re.compile(r"[A-Z0-9_-]+")
_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d+)?")
_PRINTABLE = bytes(range(0x20, 0x7F))
_TO_TEXT = "".join(chr(byte) if byte in _PRINTABLE else "?" for byte in range(256))
_WORDS: Mapping[str, CardValue] = MappingProxyType({"": None, "T": True, "F": False})
_D_EXPONENT = str.maketrans("Dd", "EE")
_TOLD = 20
"""How many findings of one code a header gives; of the others only the number is told."""


@dataclass(frozen=True, slots=True)
class ParsedHeader:
    """The cards of one header."""

    cards: dict[str, CardValue]
    """Keyword (HIERARCH without the prefix) to value, in file order; of a keyword
    that stands twice, the first."""
    findings: tuple[Finding, ...]


def parse_header(raw: bytes, *, hdu: int = 0) -> ParsedHeader:
    """Read the cards of a header.

    Parameters
    ----------
    raw
        The header without its END card and padding; a whole number of cards.
    hdu
        Index of the HDU, for the findings.
    """
    non_ascii = _unprintable(raw, hdu)
    told = _Told(hdu)
    text = raw.decode("latin-1")
    cards: dict[str, CardValue] = {}
    for keyword, value, fault in _values(text.translate(_TO_TEXT) if non_ascii else text):
        if fault:
            told.bad_card(keyword, fault)
        if isinstance(value, _LeftOut):
            continue
        if keyword in cards:
            if cards[keyword] != value:
                told.duplicate(keyword, cards[keyword], value)
        else:
            cards[keyword] = value
    return ParsedHeader(cards, (*non_ascii, *told.findings, *told.more()))


@dataclass(slots=True)
class _Told:
    """What is wrong with the cards of a header: the first of each kind, and how many more."""

    hdu: int
    findings: list[Finding] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def bad_card(self, keyword: str, fault: str) -> None:
        """Tell of a card that breaks the rules."""
        sentence = f"HDU {self.hdu}, card {keyword or 'without a keyword'}: {fault}"
        self._add(Finding("header.bad_card", Severity.WARNING, sentence, self.hdu))

    def duplicate(self, keyword: str, first: CardValue, other: CardValue) -> None:
        """Tell of a keyword that stands twice."""
        sentence = (
            f"HDU {self.hdu}: {keyword} stands twice, with {first!r} and then {other!r}; the "
            "first is used"
        )
        self._add(Finding("header.duplicate_keyword", Severity.WARNING, sentence, self.hdu))

    def more(self) -> Iterator[Finding]:
        """Yield how many were left out."""
        for code, count in self._counts.items():
            if count > _TOLD:
                sentence = f"HDU {self.hdu}: the same is wrong with {count - _TOLD} more cards"
                yield Finding(code, Severity.WARNING, sentence, self.hdu)

    def _add(self, finding: Finding) -> None:
        self._counts[finding.code] += 1
        if self._counts[finding.code] <= _TOLD:
            self.findings.append(finding)


def _unprintable(raw: bytes, hdu: int) -> list[Finding]:
    bad = raw.translate(None, _PRINTABLE)
    if not bad:
        return []
    card = raw.index(bad[:1]) // CARD_BYTES
    keyword = (
        raw[card * CARD_BYTES :][:_KEYWORD_BYTES].decode("latin-1").translate(_TO_TEXT).strip()
    )
    sentence = (
        f"HDU {hdu}: {len(bad)} bytes of the header are not printable ASCII, the first in card "
        f"{card} ({keyword}); they are read as '?'. Correct the program that wrote them"
    )
    return [Finding("header.non_ascii", Severity.WARNING, sentence, hdu)]


class _LeftOut:
    """Stands for the value of a card that has none to read."""


def _values(text: str) -> Iterator[tuple[str, CardValue | _LeftOut, str]]:
    """Yield keyword, value and what is wrong with the card; commentary is passed over."""
    starts = iter(range(0, len(text), CARD_BYTES))
    for start in starts:
        card = text[start : start + CARD_BYTES]
        keyword, field, fault = split_card(card)
        if field is None:
            if fault:
                yield keyword, _LeftOut(), fault
            continue
        value, problem = parse_value(field)
        parts: list[str] = []
        while (
            isinstance(value, str)
            and value.endswith("&")
            and (rest := _continuation(text, start + CARD_BYTES)) is not None
        ):
            start = next(starts)  # noqa: PLW2901 - the long string takes the following card with it
            parts.append(value[:-1])
            value = rest
        if parts and isinstance(value, str):
            value = "".join((*parts, value))
        yield keyword, value, fault or problem


def _continuation(text: str, start: int) -> str | None:
    """Return the string of the CONTINUE card at `start`, None where there is none."""
    card = text[start : start + CARD_BYTES]
    if not card.startswith("CONTINUE"):
        return None
    value, problem = parse_value(card[10:])
    return value if isinstance(value, str) and not problem else None


def split_card(card: str) -> tuple[str, str | None, str]:
    """Split a card into keyword and value field.

    Returns
    -------
    tuple
        Keyword; the text after the value indicator, None for commentary; what is
        wrong, empty where nothing is.
    """
    keyword = card[:_KEYWORD_BYTES].rstrip()
    if keyword in _COMMENTARY:
        return keyword, None, ""
    if card[8:10] == "= ":
        fault = "" if _KEYWORD.fullmatch(keyword) else "its keyword has other than A-Z 0-9 - _"
        return keyword.upper(), card[10:], fault
    return _split_unusual(keyword, card)


def _split_unusual(keyword: str, card: str) -> tuple[str, str | None, str]:
    """Split a card without the standard's value indicator."""
    if keyword == "HIERARCH":
        name, equals, field = card[9:].partition("=")
        if equals and card[8] == " ":
            return name.strip().upper(), field, ""
        return keyword, None, "HIERARCH without an equals sign; the card is left out"
    if keyword == "CONTINUE":
        return keyword, None, "it continues no string that ends in '&'; the card is left out"
    if card[8:9] == "=":
        return keyword.upper(), card[9:], "no blank after the equals sign"
    return keyword, None, "neither a value indicator '= ' nor a commentary keyword; left out"


def parse_value(field: str) -> tuple[CardValue, str]:
    """Read the value of a value field (with its comment).

    Returns
    -------
    tuple
        The value, None where it is undefined, the text itself where it is no FITS
        value (complex numbers among them, which no instrument here uses); and
        what is wrong, empty where nothing is.
    """
    field = field.lstrip(" ")
    if field[:1] == "'":
        return _string(field)
    word = field.partition("/")[0].rstrip(" ")
    if word in _WORDS:
        return _WORDS[word], ""
    return _number(word)


def _number(word: str) -> tuple[CardValue, str]:
    if _INTEGER.fullmatch(word):
        return int(word), ""
    if _REAL.fullmatch(word):
        number = float(word.translate(_D_EXPONENT))
        if math.isfinite(number):
            return number, ""
        return word, f"{word} is too large for a double; it is kept as text"
    if word.startswith("(") and word.endswith(")"):
        return word, ""
    return word, f"{word!r} is no FITS value; it is kept as text"


def _string(field: str) -> tuple[str, str]:
    end = field.find("'", 1)
    while end >= 0 and field[end + 1 : end + 2] == "'":
        end = field.find("'", end + 2)
    if end < 0:
        return field[1:].replace("''", "'").rstrip(" "), "the string has no closing quote"
    return field[1:end].replace("''", "'").rstrip(" "), ""
