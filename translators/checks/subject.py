"""One header to be checked, and what is known about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from translators.checks.keywords import KeywordRules
from translators.checks.policy import CheckPolicy
from translators.inspection import CardValue
from translators.instruments import Instrument

_MJD_OF_1970 = 40_587
_DAY_S = 86_400.0
SHOWN = 8
"""How many cards a sentence names."""


@dataclass(frozen=True, slots=True)
class HeaderSubject:
    """A header and what its checks need."""

    header: Mapping[str, CardValue]
    """Cards; undefined ones are None."""
    policy: CheckPolicy
    rules: KeywordRules
    instrument: Instrument | None
    path: PurePosixPath | None
    """Where the file lies; None where only a header is known."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units that the comments of cards state, by keyword; without cards that a correction
    has changed."""

    def text(self, keyword: str) -> str | None:
        """Return a card that holds a text; None where it holds none."""
        value = self.header.get(keyword)
        return value.strip() or None if isinstance(value, str) else None

    def number(self, keyword: str) -> float | None:
        """Return a card that holds a finite number; None where it holds none."""
        value = self.header.get(keyword)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def defined(self, keyword: str) -> bool:
        """Tell whether a card is present with a value; an empty text is none."""
        return self.header.get(keyword) not in {None, ""}

    def seconds(self, keyword: str) -> float | None:
        """Return a date as seconds since 1970 in its own scale; None where it is none."""
        value: Any = self.header.get(keyword)
        return iso_seconds(value) if isinstance(value, str) else None

    @property
    def image_type(self) -> str:
        """IMGTYPE in upper case, empty where it is not known."""
        return (self.text("IMGTYPE") or self.text("OBSTYPE") or "").upper()

    @property
    def begin(self) -> float | None:
        """Begin of the exposure in TAI seconds since 1970; None where no card says."""
        for name in ("BEG", "OBS"):
            mjd = self.number(f"MJD-{name}")
            begin = self.seconds(f"DATE-{name}") if mjd is None else mjd_seconds(mjd)
            if begin is not None:
                return begin
        return None

    @property
    def stamps(self) -> bool:
        """Whether it is the header of guider stamps, which describes no exposure."""
        card = self.instrument.files.stamps_card if self.instrument is not None else None
        return card is not None and card in self.header


def iso_seconds(text: str) -> float | None:
    """Return an ISO date as seconds since 1970 in its own scale, None where it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
        offset = moment.utcoffset()
        since = moment.replace(tzinfo=None) - datetime(1970, 1, 1)  # noqa: DTZ001 - any scale
    except ValueError:
        return None
    return since.total_seconds() - (0.0 if offset is None else offset.total_seconds())


def mjd_seconds(mjd: float) -> float:
    """Return an MJD as seconds since 1970 in its own scale."""
    return (mjd - _MJD_OF_1970) * _DAY_S


def seconds_mjd(seconds: float) -> float:
    """Return seconds since 1970 as MJD in the same scale."""
    return _MJD_OF_1970 + seconds / _DAY_S


def listed(parts: list[str]) -> str:
    """Return parts as one text: the first of them, and how many more."""
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return f"{', '.join(parts[:SHOWN])}{more}"
