"""What is wrong with the values of an exposure, as findings: pure.

Streams that stopped or have gaps are told by topic, values that cannot be used by keyword.
A keyword that an exposure does not need, and of which nothing was heard, is no finding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headerservice.quality import Quality, Resolved
from translators.findings import Finding, Severity

_BY_KEYWORD = {
    Quality.INVALID: ("keyword.invalid", "look at its sender and at its schema"),
    Quality.OUT_OF_RANGE: ("keyword.out_of_range", "look at its sender, or at the keyword's range"),
}
_BY_TOPIC = {
    Quality.STALE: ("telemetry.stopped", Severity.WARNING, "no value"),
    Quality.BRIDGED: ("telemetry.gap", Severity.INFO, "a value from around a gap"),
}


def keyword_findings(
    found: Mapping[str, Resolved], required: Collection[str]
) -> tuple[Finding, ...]:
    """Return what is wrong with the values of an exposure.

    Parameters
    ----------
    found
        Every keyword, in header order.
    required
        Keywords that the exposure needs.
    """
    findings: list[Finding] = []
    by_topic: dict[tuple[Quality, str], list[str]] = {}
    for keyword, resolved in found.items():
        quality = resolved.quality
        if quality in _BY_KEYWORD:
            code, hint = _BY_KEYWORD[quality]
            sentence = f"{keyword} has no value: {resolved.source}: {resolved.reason}; {hint}"
            findings.append(Finding(code, Severity.WARNING, sentence))
        elif quality in _BY_TOPIC or (quality is Quality.MISSING and keyword in required):
            topic = resolved.source.rpartition(".")[0]
            by_topic.setdefault((quality, topic), []).append(keyword)
    for (quality, topic), keywords in by_topic.items():
        findings.append(_of_topic(quality, topic, keywords, found[keywords[0]]))
    return tuple(findings)


def _of_topic(quality: Quality, topic: str, keywords: list[str], first: Resolved) -> Finding:
    names = ", ".join(keywords)
    if quality is Quality.MISSING:
        return Finding(
            "keyword.missing", Severity.WARNING, f"{names} of {topic} has no value: {first.reason}"
        )
    code, severity, what = _BY_TOPIC[quality]
    return Finding(code, severity, f"{names} of {topic} has {what}: {first.reason}")
