"""Time-indexed memory of the bus: the samples of each topic, by their own time."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daemons.bus import ControlMessage, Topic
from daemons.runtime.clock import UtcSeconds, utc_to_tai
from headerservice.rules import Dating, Definitions
from headerservice.soundness import number_of
from translators.findings import Finding, Severity

PLAUSIBLE_S = 120.0
"""A message whose own time is further than this from its time of sending is dated by the latter."""
EVENT_PLAUSIBLE_S = 3600.0
"""An event may tell of something that was so much earlier."""
KEPT_SAMPLES = 64
"""As many samples of a series are kept, however old they are."""
_CHUNK = 256
"""Samples are thrown away in chunks, so that it costs little."""
_AROUND = 8
"""Samples on each side of an instant that tell how far they usually are apart."""
_FEWEST_STEPS = 4
_TOLD = 1000
"""Senders with a wrong clock that are remembered."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of a topic, as far as it is used."""

    time: float
    """When it was true, TAI seconds."""
    expires: float | None
    """Until when it was true, TAI seconds."""
    fields: Mapping[str, Any]
    """The fields that some keyword needs."""
    mark: tuple[float, int, int]
    """Time of sending, number and process of the sender: tells a repetition from a new one."""


class Series:
    """The samples of one topic, dated in one way, in the order of their times.

    Parameters
    ----------
    capacity
        Oldest samples above this number are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self._times: list[float] = []
        self._samples: list[Sample] = []
        self._capacity = capacity
        self.dropped = 0
        """Samples that went because there were too many."""

    def __len__(self) -> int:
        return len(self._times)

    def insert(self, sample: Sample) -> bool:
        """Put a sample in its place; return False for one that is there already."""
        if not self._times or sample.time > self._times[-1]:
            self._times.append(sample.time)
            self._samples.append(sample)
        else:
            place = bisect_right(self._times, sample.time)
            known = range(bisect_left(self._times, sample.time), place)
            if any(self._samples[index].mark == sample.mark for index in known):
                return False
            while place and self._times[place - 1] == sample.time:
                if self._samples[place - 1].mark <= sample.mark:
                    break
                place -= 1
            self._times.insert(place, sample.time)
            self._samples.insert(place, sample)
        if len(self._times) > self._capacity + _CHUNK:
            self.dropped += _CHUNK
            self._cut(_CHUNK)
        return True

    def before(self, instant: float) -> Sample | None:
        """Return the newest sample at or before an instant."""
        place = bisect_right(self._times, instant)
        return self._samples[place - 1] if place else None

    def after(self, instant: float) -> Sample | None:
        """Return the oldest sample after an instant."""
        place = bisect_right(self._times, instant)
        return self._samples[place] if place < len(self._samples) else None

    def between(self, begin: float, end: float) -> Iterator[Sample]:
        """Yield the samples after `begin` up to and with `end`, oldest first."""
        first, last = bisect_right(self._times, begin), bisect_right(self._times, end)
        yield from self._samples[first:last]

    def usual_step(self, instant: float) -> float | None:
        """Return how far samples usually are apart around an instant; None for too few of them."""
        place = bisect_right(self._times, instant)
        times = self._times[max(0, place - _AROUND) : place + _AROUND]
        steps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
        return steps[len(steps) // 2] if len(steps) >= _FEWEST_STEPS else None

    @property
    def newest(self) -> Sample | None:
        """The sample with the latest time."""
        return self._samples[-1] if self._samples else None

    def prune(self, before: float) -> None:
        """Forget samples from before an instant, but never the last one before it."""
        place = min(bisect_right(self._times, before) - 1, len(self._times) - KEPT_SAMPLES)
        if place >= _CHUNK:
            self._cut(place)

    def _cut(self, number: int) -> None:
        del self._times[:number]
        del self._samples[:number]


class SampleStore:
    """The series of every topic that the keyword definitions need.

    Parameters
    ----------
    definitions
        What to keep of which topic.
    capacity
        Samples that are kept of one series at most.
    """

    def __init__(self, definitions: Definitions, *, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._needed: Mapping[Topic, frozenset[str]] = {}
        self._series: dict[Topic, dict[Dating, Series]] = {}
        self._told: set[tuple[Topic, str, str]] = set()
        self._absent: dict[Topic, frozenset[str]] = {}
        self.keep(definitions)

    def keep(self, *definitions: Definitions) -> None:
        """Keep what several definitions need; what none of them needs is forgotten."""
        needed: dict[Topic, frozenset[str]] = {}
        series: dict[Topic, dict[Dating, Series]] = {}
        for each in definitions:
            for topic, names in each.needed.items():
                needed[topic] = needed.get(topic, frozenset()) | names
            for topic, datings in each.datings.items():
                before = self._series.get(topic, {})
                series.setdefault(topic, {}).update(
                    (dating, before.get(dating) or Series(self._capacity)) for dating in datings
                )
        self._needed, self._series = needed, series
        self._absent = {}

    def insert(self, message: ControlMessage) -> tuple[Finding, ...]:
        """Keep what is needed of a message; return what is wrong with it.

        What is wrong with every message of a sender is told once, and again when it
        has been right in between.
        """
        of_topic = self._series.get(message.topic)
        if of_topic is None:
            return ()
        if not math.isfinite(message.sent):
            return (_undated(message),) if self._is_news(message, "") else ()
        names = self._needed[message.topic]
        said = message.fields
        fields = {name: said[name] for name in names if name in said}
        mark = (float(message.sent), message.sequence, message.origin)
        findings = self._compared(message, names, fields)
        for dating, series in of_topic.items():
            time, finding = time_of(dating, message)
            if finding is None:
                if self._told:
                    self._told.discard(_sender(message, dating.time_field or ""))
            elif self._is_news(message, dating.time_field or ""):
                findings.append(finding)
            expires = _field_time(dating, message.fields.get(dating.expires_field or ""))
            if dating.array_step_s is None:
                series.insert(Sample(time, expires, fields, mark))
                continue
            for place, element in enumerate(_elements(fields)):
                at = time + place * dating.array_step_s
                series.insert(Sample(at, expires, element, mark))
        return tuple(findings)

    def _is_news(self, message: ControlMessage, field: str) -> bool:
        """Note that a sender's times are wrong; return whether that was not known."""
        key = _sender(message, field)
        if key in self._told:
            return False
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add(key)
        return True

    def _compared(
        self, message: ControlMessage, names: frozenset[str], fields: Mapping[str, Any]
    ) -> list[Finding]:
        """Return what has changed in the fields of a topic since its last message."""
        absent = names - fields.keys() if len(fields) < len(names) else frozenset()
        before = self._absent.get(message.topic, frozenset())
        if absent == before:
            return []
        self._absent[message.topic] = absent
        return [_changed(message, before, absent)]

    def series(self, topic: Topic, dating: Dating) -> Series | None:
        """Return the samples of a topic dated in one way."""
        return self._series.get(topic, {}).get(dating)

    def newest_time(self, topic: Topic) -> float | None:
        """Return the time of the newest sample of a topic."""
        newest = [series.newest for series in self._series.get(topic, {}).values()]
        return max((sample.time for sample in newest if sample is not None), default=None)

    def prune(self, *, horizon_s: float, needed_from: float | None) -> None:
        """Forget what is old, except the last samples of each topic.

        How old a sample is counts from the newest of its topic, so that neither our clock nor
        that of another sender can take away what is needed.

        Parameters
        ----------
        horizon_s
            What is younger than this stays.
        needed_from
            What is later than this instant stays too, TAI seconds.
        """
        for of_topic in self._series.values():
            for series in of_topic.values():
                newest = series.newest
                if newest is not None:
                    old = newest.time - horizon_s
                    series.prune(old if needed_from is None else min(old, needed_from))

    @property
    def dropped(self) -> int:
        """Samples that went because there were too many."""
        return sum(each.dropped for of in self._series.values() for each in of.values())

    def __len__(self) -> int:
        return sum(len(each) for of in self._series.values() for each in of.values())


def time_of(dating: Dating, message: ControlMessage) -> tuple[float, Finding | None]:
    """Return when a message was true, TAI seconds, and what is wrong with what it says of that."""
    sent = float(message.sent)
    if dating.time_field is None:
        return sent, None
    said = _field_time(dating, message.fields.get(dating.time_field))
    if said is None:
        return sent, None
    oldest = EVENT_PLAUSIBLE_S if message.topic.is_event else PLAUSIBLE_S
    if not -oldest <= said - sent <= PLAUSIBLE_S:
        return sent, _implausible(message, dating.time_field, said - sent)
    return said, None


def _sender(message: ControlMessage, field: str) -> tuple[Topic, str, str]:
    return message.topic, message.identity, field


def _elements(fields: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the samples of a message whose arrays are samples; the other fields are in each."""
    arrays = {name: value for name, value in fields.items() if isinstance(value, (list, tuple))}
    longest = max((len(value) for value in arrays.values()), default=0)
    if not longest:
        yield fields
    for place in range(longest):
        element = dict(fields)
        for name, value in arrays.items():
            if place < len(value):
                element[name] = value[place]
            else:
                del element[name]
        yield element


def _changed(message: ControlMessage, before: frozenset[str], absent: frozenset[str]) -> Finding:
    if not absent:
        sentence = f"{message.topic} of {message.identity} has {', '.join(sorted(before))} again"
        return Finding(code="schema.changed", severity=Severity.INFO, sentence=sentence)
    sentence = (
        f"{message.topic} of {message.identity} has no {', '.join(sorted(absent))}: keywords that "
        "need it have no value; compare its schema with the keyword definitions, or run "
        "`arriero headers check-config`"
    )
    return Finding(code="schema.changed", severity=Severity.WARNING, sentence=sentence)


def _undated(message: ControlMessage) -> Finding:
    return Finding(
        code="time.missing",
        severity=Severity.WARNING,
        sentence=f"{message.topic} of {message.identity} has no time of sending: it is left out",
    )


def _implausible(message: ControlMessage, field: str, offset: float) -> Finding:
    return Finding(
        code="time.implausible",
        severity=Severity.WARNING,
        sentence=(
            f"{message.topic}.{field} is {offset:+.1f} s from the time of sending, which is used "
            f"instead: look at the clock of {message.identity}"
        ),
    )


def _field_time(dating: Dating, value: Any) -> float | None:
    """Return a time field as TAI seconds; None where it is not filled in or no time."""
    number = number_of(value)
    if number is None or number <= 0.0:
        return None
    seconds = number / 1000.0 if dating.scale == "utc_ms" else number
    if dating.scale == "tai":
        return seconds
    try:
        return float(utc_to_tai(UtcSeconds(seconds)))
    except ValueError:
        return None
