"""Writes cards of a FITS header as text: exact numbers, long texts in CONTINUE cards.

It is written here and not by astropy for two reasons: astropy cuts a number to twenty
characters, so that the text would not have the value of the YAML; and the header of a whole
focal plane takes it half a second, during which nothing else of this process gets on. astropy
reads every card back as what it was, which a test shows for any header.
"""

from __future__ import annotations

from collections.abc import Iterator

from headerservice.rules import Value
from headerservice.sensors import Card

CARD_LENGTH = 80
END = "END".ljust(CARD_LENGTH)

_VALUE_WIDTH = 20
"""A value of fixed format ends 20 characters behind the indicator."""
_TEXT_WIDTH = 8
"""A text has at least so many characters between its quotes."""
_COMMENTARY = "COMMENT "
_CONTINUE = "CONTINUE  "
_LONG_KEYWORD = "HIERARCH "
_MORE = "&"
"""Stands at the end of a text that goes on in the next card."""


def card_lines(card: Card) -> Iterator[str]:
    """Yield the lines of a card, 80 characters each."""
    if card.keyword == "COMMENT":
        yield from _commentary(str(card.value or ""))
        return
    long_keyword = card.keyword.startswith(_LONG_KEYWORD)
    name = f"{card.keyword} = " if long_keyword else f"{card.keyword:<8}= "
    if isinstance(card.value, str):
        quoted = _quoted(card.value)
        if len(name) + len(quoted) > CARD_LENGTH:
            yield from _long_text(name, card.value, card.comment)
            return
        text = quoted if long_keyword else quoted.ljust(_VALUE_WIDTH)
    else:
        text = _number(card.value)
        text = text if long_keyword and text else text.rjust(_VALUE_WIDTH)
    yield _with_comment(name + text, card.comment)


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped:<{_TEXT_WIDTH}}'"


def _number(value: Value | None) -> str:
    """Return a value that is no text; nothing at all for one that is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return repr(value).replace("e", "E")
    return str(value)


def _with_comment(line: str, comment: str) -> str:
    """Return a line of 80 characters with as much of its comment as there is room for."""
    room = CARD_LENGTH - len(line) - len(" / ")
    if comment and room > 0:
        line = f"{line} / {comment[:room]}"
    return line.ljust(CARD_LENGTH)


def _commentary(text: str) -> Iterator[str]:
    room = CARD_LENGTH - len(_COMMENTARY)
    for place in range(0, max(len(text), 1), room):
        yield (_COMMENTARY + text[place : place + room]).ljust(CARD_LENGTH)


def _long_text(name: str, text: str, comment: str) -> Iterator[str]:
    """Yield a text in pieces, none of which cuts through a doubled quote."""
    start, rest = name, text
    while rest:
        room = CARD_LENGTH - len(start) - len("'&'")
        piece = ""
        taken = 0
        for character in rest:
            escaped = "''" if character == "'" else character
            if len(piece) + len(escaped) > room:
                break
            piece += escaped
            taken += 1
        rest = rest[taken:]
        yield f"{start}'{piece}{_MORE}'".ljust(CARD_LENGTH)
        start = _CONTINUE
    yield _with_comment(f"{_CONTINUE}''", comment)
