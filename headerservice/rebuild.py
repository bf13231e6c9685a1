"""Makes the header of an exposure again, from the journal or from a recording of the bus.

The same definitions, resolver and rendering as when it was made; nothing is written but
what the caller asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from daemons.bus import ControlMessage
from daemons.runtime.clock import TaiSeconds, UtcSeconds, tai_to_utc
from headerservice import exposure as life
from headerservice.assemble import Site
from headerservice.errors import HeaderServiceError
from headerservice.exposure import Exposure, Status, Timing
from headerservice.journal import Journal
from headerservice.making import Draft, Made, make
from headerservice.resolve import Resolution, Resolver
from headerservice.rules import Definitions, Role
from headerservice.series import SampleStore
from translators.findings import Finding, Severity

LEAD_S = 300.0
"""Telemetry from so long before an exposure is used, as the service remembers it."""
TAIL_S = 30.0
"""Telemetry from so long after its end."""
_NO_TIME = Timing(
    deadline_margin_s=0.0, settle_s=0.0, grace_s=0.0, revise_after_s=0.0, late_data_s=0.0
)


class NothingKnownError(HeaderServiceError):
    """Neither journal nor recording has heard of the exposure."""

    code = "headerservice.unknown_exposure"
    exit_code = 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A header that was made again."""

    made: Made
    exposure: Exposure
    basis: str
    """Where the values came from."""

    @property
    def revision(self) -> int:
        """Which revision it would be, were it published."""
        return self.made.header.revision


def from_journal(
    journal: Journal, obs_id: str, definitions: Definitions, *, site: Site, now: UtcSeconds
) -> Rebuilt:
    """Return the header of an exposure out of the events and the values in the journal.

    Parameters
    ----------
    journal
        The journal, if need be read-only.
    obs_id
        The exposure.
    definitions
        The keywords, as they are now.
    site
        What the service knows besides the bus.
    now
        When the header is made.

    Raises
    ------
    NothingKnownError
        The journal does not have the exposure, or has forgotten its events.
    """
    known = journal.exposure(obs_id)
    if known is None or not known[0].messages:
        raise NothingKnownError(
            f"the journal has no events of {obs_id}: look at the name, or name a recording"
        )
    exposure, sampled = known
    samples = SampleStore(definitions)
    first = min(float(message.sent) for message in exposure.messages.values())
    for message in journal.state_messages(first - LEAD_S):
        samples.insert(message)
    resolution = Resolver(definitions, samples).resolve(exposure.messages, sampled)
    draft = _draft(exposure, resolution, definitions, site, now)
    return Rebuilt(made=make(draft), exposure=exposure, basis="journal")


def from_recording(
    messages: Callable[[], Iterable[ControlMessage]],
    obs_id: str,
    definitions: Definitions,
    *,
    site: Site,
    revision: int = 1,
) -> Rebuilt:
    """Return the header of an exposure out of the messages of the bus.

    It is dated with the last of its events, so that the same messages always give the same
    bytes.

    Parameters
    ----------
    messages
        Gives the messages in the order of their arrival; called twice.
    obs_id
        The exposure.
    definitions
        The keywords.
    site
        What the service knows besides the bus.
    revision
        Which revision it is.

    Raises
    ------
    NothingKnownError
        There is no event of the exposure among the messages.
    """
    exposure, findings = _life_of(messages(), obs_id, definitions)
    times = [float(message.sent) for message in exposure.messages.values()]
    if not times:
        raise NothingKnownError(f"the recording has no event of {obs_id}: look at the name")
    samples = SampleStore(definitions)
    for message in messages():
        if _matters(message, min(times) - LEAD_S, max(times) + TAIL_S):
            samples.insert(message)
    resolution = Resolver(definitions, samples).resolve(exposure.messages, {})
    now = tai_to_utc(TaiSeconds(max(times)))
    draft = replace(
        _draft(exposure, resolution, definitions, site, now), findings=findings, revision=revision
    )
    return Rebuilt(made=make(draft), exposure=exposure, basis="recording")


def _draft(
    exposure: Exposure,
    resolution: Resolution,
    definitions: Definitions,
    site: Site,
    now: UtcSeconds,
) -> Draft:
    ended = exposure.has(definitions.events, Role.END)
    return Draft(
        exposure=exposure,
        resolution=resolution,
        definitions=definitions,
        site=site,
        revision=exposure.revision + 1,
        status=Status.COMPLETE if ended and not resolution.missing else Status.PARTIAL,
        now=now,
    )


def _life_of(
    messages: Iterable[ControlMessage], obs_id: str, definitions: Definitions
) -> tuple[Exposure, tuple[Finding, ...]]:
    """Return an exposure that has heard of every event that names it."""
    plan = definitions.events
    exposure = life.opened(obs_id, now=0.0)
    findings: list[Finding] = []
    for message in messages:
        if message.topic in plan.roles and message.fields.get(plan.name_field) == obs_id:
            change = life.heard(
                exposure, message, plan=plan, timing=_NO_TIME, now=float(message.sent)
            )
            exposure = change.exposure
            findings += [each for each in change.findings if each.severity is not Severity.INFO]
    return exposure, tuple(findings)


def _matters(message: ControlMessage, begin: float, end: float) -> bool:
    """Return whether a message can say something of an interval; an event lasts until the next."""
    sent = float(message.sent)
    return sent <= end and (message.topic.is_event or sent >= begin)
