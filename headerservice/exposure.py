"""The life of one exposure, as a pure state machine.

::

    INTEGRATING ── startReadout ──▶ READING_OUT ── endOfImageTelemetry ──▶ ENDED ──▶ PUBLISHED
         │                               │                                  ▲           │
         └───────────── deadline ────────┴──────────────────────────────────┼───▶ (partial)
                                                                            └── late data

Events may come in any order, twice, or not at all: any of them opens the
exposure, and the deadline ends it. `heard` takes an event, `due` says what the
time demands, `next_wake` when to ask again, `may_publish` whether the final
header can go out, `published` notes that it did. Times are TAI seconds of a
clock that does not step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from daemons.bus import ControlMessage, Topic
from headerservice.rules import EventPlan, Role
from translators.findings import Finding, Severity

LONGEST_EXPOSURE_S = 7200.0
"""An exposure time or timeout above this is taken as this."""


class Phase(StrEnum):
    """Where an exposure is in its life."""

    INTEGRATING = "integrating"
    READING_OUT = "reading_out"
    ENDED = "ended"
    """The final header is due."""
    PUBLISHED = "published"
    """A final header exists; late data may still make a better one."""


class Status(StrEnum):
    """What a header is."""

    EARLY = "early"
    """Made when the readout began: the preliminary form of revision 1."""
    COMPLETE = "complete"
    """Every required keyword has a value."""
    PARTIAL = "partial"
    """Required keywords are missing; they are named."""


class Action(StrEnum):
    """What is to be done for an exposure."""

    SAMPLE = "sample"
    """Take the values at the instants so far, and record them."""
    EARLY = "early"
    """Publish the early header."""
    FINISH = "finish"
    """Make the final header, as soon as `may_publish` allows."""
    REVISE = "revise"
    """Make the next revision out of late data."""
    RETIRE = "retire"
    """Nothing more can come; the journal remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long to wait for what, seconds."""

    deadline_margin_s: float
    """Beyond exposure time and timeout, until an exposure without an end is ended."""
    settle_s: float
    """After an instant, until its samples are taken for good."""
    grace_s: float
    """After the end, as long as required values are missing that may still come."""
    revise_after_s: float
    """After late data, to collect more of them for one revision."""
    late_data_s: float
    """After publication, in which late data make a revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What is known of one exposure."""

    obs_id: str
    phase: Phase
    opened_at: float
    deadline: float
    messages: Mapping[Topic, ControlMessage]
    """Its events, the first of each topic."""
    sample_at: tuple[float, ...] = ()
    """When values are to be sampled for good, soonest first."""
    ended_at: float | None = None
    early: bool = False
    """True once the early header was made."""
    revision: int = 0
    """Of the last final header; 0: none yet."""
    status: Status | None = None
    """Of the last final header."""
    published_at: float | None = None
    improvable: bool = False
    """True where late data could make the published header better."""
    improved_at: float | None = None
    """Since when there are data for a revision."""

    def has(self, plan: EventPlan, role: Role) -> bool:
        """Return whether the event of a role was heard."""
        return any(plan.roles.get(topic) is role for topic in self.messages)


@dataclass(frozen=True, slots=True)
class Change:
    """What an event did to an exposure."""

    exposure: Exposure
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()


def opened(obs_id: str, *, now: float) -> Exposure:
    """Return an exposure of which nothing was heard yet."""
    return Exposure(
        obs_id=obs_id,
        phase=Phase.INTEGRATING,
        opened_at=now,
        deadline=now + 2 * LONGEST_EXPOSURE_S,
        messages=MappingProxyType({}),
    )


def heard(
    exposure: Exposure, message: ControlMessage, *, plan: EventPlan, timing: Timing, now: float
) -> Change:
    """Take an event of the exposure."""
    known = exposure.messages.get(message.topic)
    if known is not None:
        return Change(exposure, findings=_repeated(exposure, known, message))
    role = plan.roles[message.topic]
    findings = _unexpected(exposure, role, plan)
    if role is Role.START or not exposure.has(plan, Role.START):
        deadline = _deadline(message.fields, plan=plan, timing=timing, now=now)
        exposure = replace(exposure, deadline=deadline)
    messages = MappingProxyType({**exposure.messages, message.topic: message})
    exposure = replace(exposure, messages=messages)
    if role is Role.START:
        return _started(exposure, timing, now, findings)
    if role is Role.READOUT:
        return _reads_out(exposure, timing, now, findings)
    if role is Role.END:
        ended = replace(exposure, phase=Phase.ENDED, ended_at=now)
        return Change(ended, (Action.FINISH,), findings)
    return Change(exposure, (), findings)


def _started(
    exposure: Exposure, timing: Timing, now: float, findings: tuple[Finding, ...]
) -> Change:
    if exposure.phase is Phase.PUBLISHED:
        return Change(exposure, (), findings)
    return Change(_resample(exposure, now + timing.settle_s), (Action.SAMPLE,), findings)


def _reads_out(
    exposure: Exposure, timing: Timing, now: float, findings: tuple[Finding, ...]
) -> Change:
    if exposure.phase is not Phase.INTEGRATING:
        return Change(exposure, (), findings)
    reading = replace(exposure, phase=Phase.READING_OUT)
    actions = (Action.SAMPLE,) if exposure.early else (Action.SAMPLE, Action.EARLY)
    return Change(_resample(reading, now + timing.settle_s), actions, findings)


def _resample(exposure: Exposure, when: float) -> Exposure:
    return replace(exposure, sample_at=tuple(sorted((*exposure.sample_at, when))))


def sampled(exposure: Exposure, *, now: float) -> Exposure:
    """Note that the values were sampled."""
    return replace(exposure, sample_at=tuple(each for each in exposure.sample_at if each > now))


def early_published(exposure: Exposure) -> Exposure:
    """Note that the early header was made."""
    return replace(exposure, early=True)


def due(exposure: Exposure, *, timing: Timing, now: float) -> tuple[Action, ...]:
    """Return what the time demands."""
    if exposure.phase is Phase.PUBLISHED:
        if exposure.improved_at is not None:
            ready = now >= exposure.improved_at + timing.revise_after_s
            return (Action.REVISE,) if ready else ()
        return (Action.RETIRE,) if now >= _retires_at(exposure, timing) else ()
    if exposure.phase is Phase.ENDED:
        return (Action.FINISH,)
    if now >= exposure.deadline:
        return (Action.FINISH,)
    return (Action.SAMPLE,) if any(now >= each for each in exposure.sample_at) else ()


def next_wake(exposure: Exposure, *, timing: Timing) -> float:
    """Return when `due` must be asked again."""
    if exposure.phase is Phase.PUBLISHED:
        if exposure.improved_at is not None:
            return exposure.improved_at + timing.revise_after_s
        return _retires_at(exposure, timing)
    if exposure.phase is Phase.ENDED and exposure.ended_at is not None:
        return exposure.ended_at + timing.grace_s
    return min((exposure.deadline, *exposure.sample_at))


def may_publish(exposure: Exposure, *, settled: bool, timing: Timing, now: float) -> bool:
    """Return whether the final header can go out, or should wait for values that may come.

    Parameters
    ----------
    exposure
        The exposure, ended or past its deadline.
    settled
        True when every required value is there for good.
    timing
        The waiting times.
    now
        The time.
    """
    if settled or exposure.ended_at is None:
        return True
    return now >= exposure.ended_at + timing.grace_s


def published(exposure: Exposure, *, status: Status, improvable: bool, now: float) -> Exposure:
    """Note that a final header was made."""
    return replace(
        exposure,
        phase=Phase.PUBLISHED,
        revision=exposure.revision + 1,
        status=status,
        published_at=now,
        improvable=improvable,
        improved_at=None,
        sample_at=(),
    )


def improved(exposure: Exposure, *, now: float) -> Exposure:
    """Note that there are data for a better header."""
    if exposure.improved_at is not None:
        return exposure
    return replace(exposure, improved_at=now)


def resumed(exposure: Exposure, *, timing: Timing, now: float) -> Exposure:
    """Return an exposure as it goes on after a restart: there is time for what was missed."""
    earliest = now + timing.deadline_margin_s
    return replace(
        exposure,
        deadline=max(exposure.deadline, earliest),
        ended_at=now if exposure.phase is Phase.ENDED else exposure.ended_at,
        sample_at=(),
    )


def _retires_at(exposure: Exposure, timing: Timing) -> float:
    since = exposure.published_at or 0.0
    return since + (timing.late_data_s if exposure.improvable else 0.0)


def _deadline(fields: Mapping[str, Any], *, plan: EventPlan, timing: Timing, now: float) -> float:
    exposure_time = _duration(fields.get(plan.exposure_time_field))
    timeout = _duration(fields.get(plan.timeout_field))
    return now + exposure_time + timeout + timing.deadline_margin_s


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        return 0.0
    return float(min(max(value, 0.0), LONGEST_EXPOSURE_S))


def _repeated(
    exposure: Exposure, known: ControlMessage, message: ControlMessage
) -> tuple[Finding, ...]:
    if known.fields == message.fields:
        sentence = f"{message.topic} of {exposure.obs_id} came again; nothing changes"
        return (Finding("exposure.duplicate_event", Severity.INFO, sentence),)
    differing = sorted(
        name
        for name in known.fields.keys() | message.fields.keys()
        if known.fields.get(name) != message.fields.get(name)
    )
    sentence = (
        f"{message.topic} of {exposure.obs_id} came again with another {', '.join(differing)}; the "
        "first one counts: look whether two images have one name"
    )
    return (Finding("exposure.contradiction", Severity.WARNING, sentence),)


def _unexpected(exposure: Exposure, role: Role, plan: EventPlan) -> tuple[Finding, ...]:
    if role in (Role.READOUT, Role.END) and not exposure.has(plan, Role.START):
        sentence = (
            f"{role} of {exposure.obs_id} came without its start; the header is made from what is "
            "known"
        )
        return (Finding("exposure.no_start", Severity.WARNING, sentence),)
    told = Role.READOUT in plan.roles.values()
    if role is Role.END and told and not exposure.has(plan, Role.READOUT):
        sentence = f"{exposure.obs_id} ended without a start of readout"
        return (Finding("exposure.no_readout", Severity.INFO, sentence),)
    return ()
