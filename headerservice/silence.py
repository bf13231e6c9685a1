"""Notices telemetry that stops, before an exposure needs it: pure."""

from __future__ import annotations

from collections.abc import Callable

from daemons.bus import Topic
from headerservice.rules import Definitions
from translators.findings import Finding, Severity

PATIENCE = 2.0
"""A topic is silent after so many times the age that its samples may have."""
SHORTEST_S = 10.0
"""It is not before this, however short that is."""
PAUSE_S = 60.0
"""When nobody has looked for so long, the watch begins anew: the service did not read."""


class SilenceWatch:
    """Tells once when a topic falls silent, and once when it is heard again."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._looked: float | None = None
        self._silent: set[Topic] = set()

    def look(
        self, definitions: Definitions, newest: Callable[[Topic], float | None], now: float
    ) -> tuple[Finding, ...]:
        """Return what changed.

        Parameters
        ----------
        definitions
            Which topics are sampled, and how old their samples may be.
        newest
            Tells the time of the newest sample of a topic, TAI seconds.
        now
            TAI seconds.
        """
        if self._began is None or self._looked is None or now - self._looked > PAUSE_S:
            self._began = now
        self._looked = now
        findings = []
        self._silent &= definitions.telemetry_topics
        for topic in sorted(definitions.telemetry_topics):
            ages = [each.max_age_s for each in definitions.datings.get(topic, ())]
            allowed = max((age for age in ages if age is not None), default=None)
            if allowed is None:
                continue
            heard = newest(topic)
            silent_s = now - (self._began if heard is None else max(heard, self._began))
            silent = silent_s > max(PATIENCE * allowed, SHORTEST_S)
            if silent and topic not in self._silent:
                self._silent.add(topic)
                findings.append(_fell_silent(topic, silent_s, never=heard is None))
            elif not silent and topic in self._silent:
                self._silent.discard(topic)
                sentence = f"{topic} is heard again"
                findings.append(Finding("telemetry.heard_again", Severity.INFO, sentence))
        return tuple(findings)

    @property
    def silent(self) -> tuple[Topic, ...]:
        """The topics that are silent now."""
        return tuple(sorted(self._silent))


def _fell_silent(topic: Topic, silent_s: float, *, never: bool) -> Finding:
    what = "was never heard" if never else "has stopped"
    return Finding(
        code="telemetry.silent",
        severity=Severity.WARNING,
        sentence=(
            f"{topic} {what}, for {silent_s:.0f} s: headers of exposures from now on will lack "
            f"its keywords; look at {topic.component}"
        ),
    )
