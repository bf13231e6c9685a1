"""The values of all keywords for one exposure, out of its events and the samples: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from daemons.bus import ControlMessage, Topic
from headerservice.definitions import InstantName
from headerservice.keyword_findings import keyword_findings
from headerservice.quality import Method, Quality, Resolved, missing
from headerservice.reading import read_and_finish
from headerservice.rules import Definitions, KeywordRule, Role, SensorPlan, Source
from headerservice.sampling import sample_at, sample_over
from headerservice.sensors import SensorTable, build_table
from headerservice.series import Sample, SampleStore
from headerservice.soundness import number_of
from translators.findings import Finding, Severity

OWN_EVENT_S = 120.0
"""An event's time of its own happening may be so far from its time of sending."""
EARLIER_S = 4 * 3600.0
"""An event's time of something earlier may be so long before its time of sending."""

_OWN: Mapping[str, Role] = MappingProxyType(
    {"start_of_integration": Role.START, "start_of_readout": Role.READOUT, "end": Role.END}
)
"""The event that tells of each instant when it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What is known of one exposure at one moment."""

    instants: Mapping[InstantName, float]
    """TAI seconds."""
    keywords: Mapping[str, Resolved]
    """Every keyword of the primary header that comes from the bus."""
    sensors: SensorTable | None
    image_type: str | None
    missing: tuple[str, ...]
    """Required keywords without a value, in header order."""
    settled: bool
    """True when every required value is there, and no sample to come can change it."""
    waits_for: frozenset[Topic]
    """Topics of which a message could make it better."""
    findings: tuple[Finding, ...]
    witnesses: Mapping[str, Resolved] = field(default_factory=dict)
    """Values for the cross-checks only."""

    def with_quality(self, quality: Quality) -> tuple[str, ...]:
        """Return the keywords of one quality, in header order."""
        return tuple(name for name, each in self.keywords.items() if each.quality is quality)

    def better_than(self, other: Resolution) -> bool:
        """Return whether a keyword has a value here that it did not have there."""
        gained = any(
            each.good and not other.keywords[name].good for name, each in self.keywords.items()
        )
        return gained or (self.sensors is not None and other.sensors is None)


class Resolver:
    """Looks every keyword up.

    Parameters
    ----------
    definitions
        The keywords.
    samples
        The memory of the bus.
    """

    def __init__(self, definitions: Definitions, samples: SampleStore) -> None:
        self._definitions = definitions
        self._samples = samples
        roles = definitions.events.roles
        self._order = tuple(topic for role in Role for topic in roles if roles[topic] is role)
        self._tables: dict[tuple[Any, ...], SensorTable | None] = {}

    def resolve(
        self, messages: Mapping[Topic, ControlMessage], sampled: Mapping[str, Resolved]
    ) -> Resolution:
        """Return what is known now.

        Parameters
        ----------
        messages
            The exposure's events.
        sampled
            Values that were sampled before, when more was remembered.
        """
        instants, findings = self.instants(messages)
        rules = [rule for rule in self._definitions.rules if rule.sources]
        found = {rule.keyword: self._value(rule, messages, instants, sampled) for rule in rules}
        plan = self._definitions.events
        kind = found.get(plan.image_type_keyword)
        image_type = str(kind.value) if kind is not None and kind.good else None
        sensors, no_sensors = self._sensors(instants, messages)
        required = [rule for rule in rules if rule.is_required(image_type)]
        absent = [rule.keyword for rule in required if not found[rule.keyword].good]
        return Resolution(
            instants=instants,
            keywords=found,
            sensors=sensors,
            image_type=image_type,
            missing=(*absent, *self._missing_of_sensors(sensors)),
            settled=not absent
            and not no_sensors
            and all(found[rule.keyword].settled for rule in required),
            waits_for=self._waits_for(rules, required, found, no_sensors=no_sensors),
            findings=(*findings, *keyword_findings(found, {rule.keyword for rule in required})),
            witnesses={
                rule.keyword: self._value(rule, messages, instants, sampled)
                for rule in self._definitions.witnesses
            },
        )

    def sampled(self, resolution: Resolution) -> dict[str, Resolved]:
        """Return the values that come from samples, which may be forgotten before the end."""
        known = {**resolution.keywords, **resolution.witnesses}
        return {
            rule.keyword: known[rule.keyword]
            for rule in (*self._definitions.rules, *self._definitions.witnesses)
            if any(source.role is None for source in rule.sources)
        }

    def instants(
        self, messages: Mapping[Topic, ControlMessage]
    ) -> tuple[Mapping[InstantName, float], tuple[Finding, ...]]:
        """Return the instants that are known, TAI seconds, and what is wrong with them."""
        known: dict[InstantName, float] = {}
        findings: list[Finding] = []
        for name, sources in self._definitions.instants.items():
            for source in sources:
                message = messages.get(source.topic)
                if message is None:
                    continue
                instant, finding = _instant(message, source, own=self._tells(name) is source.role)
                if finding is not None:
                    findings.append(finding)
                if instant is not None:
                    known[name] = instant
                    break
        return MappingProxyType(known), tuple(findings)

    def _tells(self, name: InstantName) -> Role | None:
        """Return the event that comes at an instant; the end, where the readout has none."""
        role = _OWN.get(name)
        if role is Role.READOUT and role not in self._definitions.events.roles.values():
            return Role.END
        return role

    def _value(
        self,
        rule: KeywordRule,
        messages: Mapping[Topic, ControlMessage],
        instants: Mapping[InstantName, float],
        sampled: Mapping[str, Resolved],
    ) -> Resolved:
        before = sampled.get(rule.keyword)
        whole = before is not None and before.quality is Quality.GOOD and before.settled
        if before is not None and whole and rule.pick is None:
            return before
        best: Resolved | None = None
        for source in rule.sources:
            found = (
                self._from_samples(rule, source, instants)
                if source.role is None
                else self._from_events(rule, source, messages)
            )
            if found.good:
                best = found
                break
            if best is None or found.better_than(best):
                best = found
        if best is None:
            return missing(f"{rule.keyword} has no source")
        return before if before is not None and before.better_than(best) else best

    def _from_samples(
        self, rule: KeywordRule, source: Source, instants: Mapping[InstantName, float]
    ) -> Resolved:
        name = str(source)
        series = self._samples.series(source.topic, source.dating)
        if series is None:
            return missing(f"{source.topic} is not read", source=name)
        if rule.at == "over_exposure":
            begin = instants.get("start_of_integration")
            end = instants.get("start_of_readout", instants.get("end"))
            if begin is None or end is None:
                return missing("begin and end of the exposure are not known", source=name)
            return sample_over(rule, source, series, begin, end)
        instant = None if rule.at is None else instants.get(rule.at)
        if instant is None:
            return missing(f"the instant {rule.at} is not known", source=name)
        return sample_at(rule, source, series, instant)

    def _from_events(
        self, rule: KeywordRule, source: Source, messages: Mapping[Topic, ControlMessage]
    ) -> Resolved:
        """Read an event of the exposure; where it was lost, the same field of another one."""
        message = messages.get(source.topic)
        if message is None:
            message = next(
                (
                    messages[topic]
                    for topic in self._order
                    if topic in messages and source.field in messages[topic].fields
                ),
                None,
            )
        if message is None:
            return missing(
                f"no {source.topic.name} has come", source=str(source), method=Method.EVENT
            )
        reading = read_and_finish(rule.reading, source.field, message.fields)
        return Resolved(
            value=reading.value if reading.good else None,
            seen=None if reading.good else reading.value,
            quality=reading.quality,
            reason=reading.reason,
            method=Method.EVENT,
            source=f"{message.topic}.{source.field}",
            time=float(message.sent),
        )

    def _sensors(
        self, instants: Mapping[InstantName, float], messages: Mapping[Topic, ControlMessage]
    ) -> tuple[SensorTable | None, bool]:
        """Return the sensors, and whether they are still missing."""
        plan = self._definitions.sensors
        if plan is None:
            return None, False
        series = self._samples.series(plan.source.topic, plan.source.dating)
        instant = instants.get(plan.at)
        sample = series.before(instant) if series is not None and instant is not None else None
        table = None if sample is None else self._table(plan, sample, messages)
        needed = any(rule.required for rule in plan.rules)
        return table, table is None and needed

    def _table(
        self, plan: SensorPlan, sample: Sample, messages: Mapping[Topic, ControlMessage]
    ) -> SensorTable | None:
        """Return the table of an event.

        Where nothing else goes into it, the same one serves all exposures until the next event.
        """
        others = {topic: messages[topic] for topic in plan.events if topic in messages}
        marks = (sample.mark, *(float(each.sent) for each in others.values()))
        if marks not in self._tables:
            while len(self._tables) > 1:
                self._tables.pop(next(iter(self._tables)))
            events = {topic: message.fields for topic, message in others.items()}
            self._tables[marks] = build_table(plan, sample.fields, events)
        return self._tables[marks]

    def _missing_of_sensors(self, table: SensorTable | None) -> Iterator[str]:
        plan = self._definitions.sensors
        if plan is None:
            return
        absent = {each.keyword for each in table.problems if each.required} if table else None
        for rule in plan.rules:
            if rule.required and (absent is None or rule.keyword in absent):
                yield rule.keyword

    def _waits_for(
        self,
        rules: list[KeywordRule],
        required: list[KeywordRule],
        found: Mapping[str, Resolved],
        *,
        no_sensors: bool,
    ) -> frozenset[Topic]:
        needed = {rule.keyword for rule in required}
        topics = {
            source.topic
            for rule in rules
            if (
                not found[rule.keyword].good
                and found[rule.keyword].quality is not Quality.NOT_APPLICABLE
            )
            or (rule.keyword in needed and not found[rule.keyword].settled)
            for source in rule.sources
            if source.role is None
        }
        if no_sensors and self._definitions.sensors is not None:
            topics.add(self._definitions.sensors.source.topic)
        return frozenset(topics)


def _instant(
    message: ControlMessage, source: Source, *, own: bool
) -> tuple[float | None, Finding | None]:
    """Return the instant that an event tells; its time of sending where its own makes no sense."""
    sent = float(message.sent)
    said = _seconds(message.fields.get(source.field))
    if said is None:
        return (sent if own else None), None
    earliest = -OWN_EVENT_S if own else -EARLIER_S
    if earliest <= said - sent <= OWN_EVENT_S:
        return said, None
    finding = Finding(
        code="time.implausible",
        severity=Severity.WARNING,
        sentence=(
            f"{source} is {said - sent:+.1f} s from the time of sending"
            f"{', which is used instead' if own else ''}: look at the clock of {message.identity}"
        ),
    )
    return (sent if own else None), finding


def _seconds(value: Any) -> float | None:
    number = number_of(value)
    return number if number is not None and number > 0 else None
