"""Known faults of headers, as rules in `config/instruments/<name>/corrections.yaml`.

A rule names the exposures that it concerns, by night and sequence number or by
time, and what it looks for in them, and says what the cards should be. Rules
look at the values as the camera wrote them, never at what another rule made of
them, and the originals stay in the header; so applying the rules twice changes
nothing. Where two rules set the same card the later one in the file counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from translators.checks.yaml_lines import validated
from translators.errors import InstrumentDataError
from translators.generic.document import read_document
from translators.inspection import CardValue
from translators.instruments_folders import instrument_file
from translators.lsst.ids import parse_day_obs
from translators.resources import config_root

_HIERARCH = "HIERARCH "
"""Stands before a long keyword in a FITS header, and is not there any more once it is read."""

ORIGINAL_PREFIX = "HIERARCH ARRIERO ORIGINAL "
"""Before the name of a corrected card: its value before."""

RULES_CARD = "HIERARCH ARRIERO RULES"
"""Which rules have changed a header, separated by blanks."""

RULES_FILE = "corrections.yaml"
"""In the folder of an instrument."""

_PATH_VARIABLE = "METADATA_CORRECTIONS_PATH"
"""Name by which astro-metadata-translator finds corrections of single exposures."""

_MJD_OF_POSIX_EPOCH = 40_587
_SECONDS_PER_DAY = 86_400
_TAI_MINUS_UTC_S = 37
"""Since 2017, before the first header that a rule concerns."""

_UNSET_BEFORE_MJD = _MJD_OF_POSIX_EPOCH + 366
"""A begin in 1970 is a clock that was never set."""

_BEGIN_CARDS = ("MJD-BEG", "DATE-BEG", "MJD-OBS", "DATE-OBS")
_WRITTEN_CARDS = ("MJD", "DATE")


def _to_mjd(moment: datetime) -> float:
    """Return the MJD of a moment in its own scale."""
    seconds = moment.replace(tzinfo=UTC).timestamp()
    return _MJD_OF_POSIX_EPOCH + seconds / _SECONDS_PER_DAY


def _ordered(span: tuple[int, int]) -> tuple[int, int]:
    if span[0] > span[1]:
        raise ValueError(f"{span[0]} to {span[1]} is the wrong way round")
    return span


Span = Annotated[tuple[int, int], AfterValidator(_ordered)]
"""First and last, both included."""
Values = tuple[str | int | float | bool | None, ...]
"""Values of a card; null means undefined or absent."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Earlier(_Data):
    """A time before another."""

    than: str
    """Card with a time: an MJD or text such as 2026-03-14T02:15:03."""
    by: str
    """Card with the seconds between the two."""


class Rule(_Data):
    """One known fault and its correction."""

    id: str
    """Stable; named where the rule was applied."""
    reason: str
    """What went wrong, for a person."""

    nights: tuple[Span, ...] = ()
    """Observing days that it concerns; empty: all."""
    exposures: Mapping[int, tuple[Span, ...]] = Field(default_factory=dict)
    """Sequence numbers that it concerns, by observing day; empty: all."""
    detectors: tuple[str, ...] = ()
    """Full names, such as R22_S11, of the detectors that it concerns; empty: all."""
    begin_after: datetime | None = None
    """Exposures that began later, UTC."""
    begin_before: datetime | None = None
    """Exposures that began earlier, UTC."""
    when: Mapping[str, Values] = Field(default_factory=dict)
    """Every one of these cards has one of the values."""
    unless: Mapping[str, Values] = Field(default_factory=dict)
    """None of these cards has one of the values."""
    text: tuple[str, ...] = ()
    """Each of these cards holds text where there should be a number."""
    positive: tuple[str, ...] = ()
    """Each of these cards holds a number above zero."""
    equal: tuple[tuple[str, str], ...] = ()
    """In each of these pairs of cards both have the same value, and one."""
    begin_unset: bool = False
    """Only exposures whose begin is in 1970: a clock that was never set."""

    set: Mapping[str, CardValue] = Field(default_factory=dict)
    """New values."""
    copy_from: Mapping[str, str] = Field(default_factory=dict)
    """Cards that take the value of another."""
    lookup: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """Cards that take a value by that of CCDSLOT."""
    obs_id_part: Mapping[str, int] = Field(default_factory=dict)
    """Cards that take a number out of OBSID, by its place among the underscores."""
    strip_prefix: Mapping[str, str] = Field(default_factory=dict)
    """Text to be taken off the front."""
    scale: Mapping[str, float] = Field(default_factory=dict)
    """Factors."""
    add: Mapping[str, float] = Field(default_factory=dict)
    """Summands, after the factor."""
    earlier: Mapping[str, Earlier] = Field(default_factory=dict)
    """Cards that take a time some seconds before that of another card."""
    wrap_degrees: bool = False
    """Bring what was changed by a number to -180 up to 180."""

    def concerns(self, originals: _Originals) -> bool:
        """Tell whether an exposure is one that the rule is about."""
        return (
            self._concerns_number(originals)
            and self._concerns_time(originals)
            and all(originals.get(card) in values for card, values in self.when.items())
            and not any(originals.get(card) in values for card, values in self.unless.items())
            and (not self.detectors or originals.detector in self.detectors)
            and all(isinstance(originals.get(card), str) for card in self.text)
            and all(_same(originals.get(one), originals.get(two)) for one, two in self.equal)
            and all(_positive(originals.get(card)) for card in self.positive)
            and (originals.begin_unset or not self.begin_unset)
        )

    def _concerns_number(self, originals: _Originals) -> bool:
        if self.nights and not _within(originals.day_obs, self.nights):
            return False
        if not self.exposures:
            return True
        spans = self.exposures.get(originals.day_obs or 0, ())
        return _within(originals.seq_num, spans)

    def _concerns_time(self, originals: _Originals) -> bool:
        if self.begin_after is None and self.begin_before is None:
            return True
        begin = originals.begin_mjd
        if begin is None:
            return False
        tai = _TAI_MINUS_UTC_S / _SECONDS_PER_DAY
        if self.begin_after is not None and begin <= _to_mjd(self.begin_after) + tai:
            return False
        return self.begin_before is None or begin < _to_mjd(self.begin_before) + tai

    def new_values(self, originals: _Originals) -> Iterator[tuple[str, CardValue]]:
        """Yield what the cards should be."""
        yield from self.set.items()
        for card, source in self.copy_from.items():
            yield card, originals.get(source)
        for card, table in self.lookup.items():
            if (value := table.get(str(originals.get("CCDSLOT")))) is not None:
                yield card, value
        for card, place in self.obs_id_part.items():
            parts = str(originals.get("OBSID") or originals.get("IMGNAME")).split("_")
            if place < len(parts) and parts[place].isdecimal():
                yield card, int(parts[place])
        for card, prefix in self.strip_prefix.items():
            value = originals.get(card)
            if isinstance(value, str):
                yield card, value.removeprefix(prefix)
        yield from self._by_numbers(originals)

    def _by_numbers(self, originals: _Originals) -> Iterator[tuple[str, CardValue]]:
        """Yield what follows from times and numbers."""
        for card, earlier in self.earlier.items():
            moment = _earlier(originals.get(earlier.than), originals.get(earlier.by))
            if moment is not None:
                yield card, moment
        for card in {**self.scale, **self.add}:
            value = originals.get(card)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield card, self._by_number(card, value)

    def _by_number(self, card: str, value: float) -> float:
        value = value * self.scale.get(card, 1.0) + self.add.get(card, 0.0)
        return (value + 180.0) % 360.0 - 180.0 if self.wrap_degrees else value


def _within(number: int | None, spans: tuple[Span, ...]) -> bool:
    return number is not None and any(first <= number <= last for first, last in spans)


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _same(one: object, two: object) -> bool:
    return one is not None and one == two


def _earlier(moment: object, seconds: object) -> float | str | None:
    """Return a time before another in the form of that one, None where one is none."""
    try:
        duration_s = float(str(seconds))
        if isinstance(moment, str):
            begin = datetime.fromisoformat(moment) - timedelta(seconds=duration_s)
            return begin.isoformat(timespec="milliseconds")
        return float(str(moment)) - duration_s / _SECONDS_PER_DAY
    except (ValueError, OverflowError):
        return None


class _Originals:
    """The cards of a header as the camera wrote them, whatever was corrected since."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._header = header
        self.day_obs = self._day_obs()
        self.seq_num = self._seq_num()

    def get(self, card: str) -> Any:
        for key in (ORIGINAL_PREFIX + card, ORIGINAL_PREFIX.removeprefix(_HIERARCH) + card):
            if key in self._header:
                return _plain(self._header[key])
        return _plain(self._header.get(card))

    def _day_obs(self) -> int | None:
        try:
            return parse_day_obs(self.get("DAYOBS"))
        except ValueError:
            return None

    def _seq_num(self) -> int | None:
        try:
            return int(self.get("SEQNUM"))
        except (TypeError, ValueError, OverflowError):
            return None

    @property
    def detector(self) -> str:
        """Full name of the detector."""
        return f"{self.get('RAFTBAY')}_{self.get('CCDSLOT')}"

    @property
    def begin_unset(self) -> bool:
        """True where the begin is of a clock that was never set."""
        begin = self._first_mjd(_BEGIN_CARDS)
        return begin is not None and begin < _UNSET_BEFORE_MJD

    @property
    def begin_mjd(self) -> float | None:
        """Begin of the exposure, MJD TAI; the time of writing where the begin is unset."""
        return self._first_mjd(_WRITTEN_CARDS if self.begin_unset else _BEGIN_CARDS)

    def _first_mjd(self, cards: tuple[str, ...]) -> float | None:
        for card in cards:
            value = self.get(card)
            try:
                if card.startswith("MJD"):
                    return float(value)
                return _to_mjd(datetime.fromisoformat(str(value)))
            except (TypeError, ValueError):
                continue
        return None


def _plain(value: Any) -> Any:
    """Return None for astropy's undefined value too."""
    return None if type(value).__name__ == "Undefined" else value


class _Rules(_Data):
    rules: tuple[Rule, ...]


@lru_cache(maxsize=32)
def rules_of(instrument_name: str) -> tuple[Rule, ...]:
    """Return the rules of an instrument, in the order in which they count; none is fine.

    Raises
    ------
    InstrumentDataError
        The file is wrong.
    """
    path = instrument_file(instrument_name, RULES_FILE, config_root())
    return () if path is None else read_rules(path)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read a file of rules.

    Raises
    ------
    InstrumentDataError
        It is wrong; one line for each fault, with file and line.
    """
    rules = validated(read_document(path), _Rules).rules
    names = [rule.id for rule in rules]
    if len(set(names)) < len(names):
        raise InstrumentDataError(f"{path}: a rule's id stands twice; ids must be unique")
    return rules


def correct(
    header: MutableMapping[str, Any],
    instrument_name: str,
    *,
    untouchable: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """Correct the known faults of a header, in place.

    Parameters
    ----------
    header
        Cards; what is changed keeps its original under `ORIGINAL_PREFIX`.
    instrument_name
        Whose rules.
    untouchable
        Cards that a person has corrected for this exposure; they stay as they are.

    Returns
    -------
    tuple
        Ids of the rules that changed something.

    Raises
    ------
    InstrumentDataError
        The instrument's rules are wrong.
    """
    originals = _Originals(header)
    wanted: dict[str, tuple[CardValue, str]] = {}
    for rule in rules_of(instrument_name):
        if rule.concerns(originals):
            wanted |= {card: (value, rule.id) for card, value in rule.new_values(originals)}
    applied: dict[str, None] = {}
    for card, (value, rule_id) in wanted.items():
        if card in untouchable or (card in header and _plain(header[card]) == value):
            continue
        if card not in header and value is None:
            continue
        header.setdefault(ORIGINAL_PREFIX + card, originals.get(card))
        header[card] = value
        applied[rule_id] = None
    if applied:
        header[RULES_CARD] = " ".join({**dict.fromkeys(applied_rules(header)), **applied})
    return tuple(applied)


def applied_rules(header: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the rules that have changed a header."""
    noted = header.get(RULES_CARD) or header.get(RULES_CARD.removeprefix(_HIERARCH))
    return tuple(str(noted or "").split())


def manually_corrected(
    instrument_name: str, obs_id: str, *, folders: Iterable[Path] = ()
) -> frozenset[str]:
    """Return the cards that a person has corrected for one exposure.

    Such corrections are files `<instrument>-<obs_id>.yaml`;
    astro-metadata-translator applies the first that it finds before the rules.

    Parameters
    ----------
    instrument_name
        Butler name.
    obs_id
        Of the exposure.
    folders
        Where to look after the folders of `$METADATA_CORRECTIONS_PATH`.
    """
    named = filter(None, os.environ.get(_PATH_VARIABLE, "").split(os.pathsep))
    for folder in (*map(Path, named), *folders):
        path = folder / f"{instrument_name}-{obs_id}.yaml"
        try:
            content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, Mapping):
            return frozenset(str(card) for card in content)
    return frozenset()
