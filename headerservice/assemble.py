"""Puts a header together: HDUs of keyword, value and comment, and its provenance: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from daemons.runtime.clock import UtcSeconds
from headerservice.exposure import Exposure, Status
from headerservice.quality import Method, Quality, Resolved, fixed, missing
from headerservice.reading import iso_text
from headerservice.resolve import Resolution
from headerservice.rules import Definitions, KeywordRule, Value
from headerservice.sensors import Card, Hdu
from translators.findings import Finding

PRIMARY = "PRIMARY"
"""Name of the first HDU."""

_DAY = re.compile(r"\d{8}")
_DAY_IN_NAME = re.compile(r"_(\d{8})_\d+$")
_NOON_S = 43200.0
"""An observing day begins at noon UTC, as good as noon TAI."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the service knows besides the bus."""

    software_version: str
    test_stand: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One revision of the header of one exposure."""

    obs_id: str
    day_obs: int
    """YYYYMMDD."""
    revision: int
    status: Status
    made_at: UtcSeconds
    missing: tuple[str, ...]
    """Required keywords without a value."""
    hdus: tuple[Hdu, ...]
    provenance: Mapping[str, Any]
    """Where each value came from and how good it is, as a JSON object."""


def assemble(
    exposure: Exposure,
    resolution: Resolution,
    *,
    definitions: Definitions,
    site: Site,
    revision: int,
    status: Status,
    now: UtcSeconds,
    findings: tuple[Finding, ...] = (),
) -> Header:
    """Return the header of an exposure as it is known now.

    Parameters
    ----------
    exposure
        The exposure.
    resolution
        Its values.
    definitions
        The keywords, in header order.
    site
        What the service knows besides the bus.
    revision
        Revision that this header is.
    status
        What this header is.
    now
        When it is made.
    findings
        What is wrong with the exposure.
    """
    known: dict[str, Value] = {
        "date_utc": iso_text(float(now)),
        "file_name": f"{exposure.obs_id}.fits",
        "software_version": site.software_version,
        "definitions_digest": definitions.digest[:16],
        "test_stand": site.test_stand,
        "revision": revision,
        "status": status.value,
        "missing_count": len(resolution.missing),
        "stale_count": len(resolution.with_quality(Quality.STALE)),
    }
    values = {rule.keyword: _value(rule, resolution.keywords, known) for rule in definitions.rules}
    sensors = () if resolution.sensors is None else resolution.sensors.hdus
    return Header(
        obs_id=exposure.obs_id,
        day_obs=day_obs(exposure, resolution, definitions, now),
        revision=revision,
        status=status,
        made_at=now,
        missing=resolution.missing,
        hdus=(Hdu(PRIMARY, tuple(_cards(definitions, values))), *sensors),
        provenance=_provenance(
            exposure, resolution, values, known, (*findings, *resolution.findings)
        ),
    )


def day_obs(
    exposure: Exposure, resolution: Resolution, definitions: Definitions, now: UtcSeconds
) -> int:
    """Return the observing day: as the camera says, else out of the name, else by the clock."""
    field = definitions.events.date_field
    for message in exposure.messages.values():
        said = message.fields.get(field)
        if isinstance(said, str) and _DAY.fullmatch(said) and _is_day(said):
            return int(said)
    named = _DAY_IN_NAME.search(exposure.obs_id)
    if named is not None and _is_day(named[1]):
        return int(named[1])
    instant = resolution.instants.get("start_of_integration", float(now))
    evening = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant - _NOON_S)
    return int(evening.strftime("%Y%m%d"))


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


def _value(
    rule: KeywordRule, found: Mapping[str, Resolved], known: Mapping[str, Value]
) -> Resolved:
    if rule.fixed is not None:
        return fixed(rule.fixed)
    if rule.compute is not None:
        value = known[rule.compute]
        if value == "":
            return missing(f"no {rule.compute} is configured", method=Method.COMPUTED)
        return fixed(value, Method.COMPUTED)
    return found[rule.keyword]


def _cards(definitions: Definitions, values: Mapping[str, Resolved]) -> list[Card]:
    cards: list[Card] = []
    for heading, rules in definitions.sections:
        if cards:
            cards.append(Card("COMMENT", f"---- {heading} ----", ""))
        cards += [Card(rule.keyword, values[rule.keyword].value, rule.comment) for rule in rules]
    return cards


def _provenance(
    exposure: Exposure,
    resolution: Resolution,
    values: Mapping[str, Resolved],
    known: Mapping[str, Value],
    findings: tuple[Finding, ...],
) -> dict[str, Any]:
    sensors = resolution.sensors
    return {
        "obs_id": exposure.obs_id,
        "revision": known["revision"],
        "status": known["status"],
        "made_at_utc": known["date_utc"],
        "software_version": known["software_version"],
        "definitions_digest": known["definitions_digest"],
        "instants_tai": {name: iso_text(at) for name, at in resolution.instants.items()},
        "image_type": resolution.image_type,
        "missing": list(resolution.missing),
        "keywords": {name: _told(each) for name, each in values.items()},
        "sensors": {
            "count": 0 if sensors is None else len(sensors.names),
            "problems": [
                {
                    "keyword": each.keyword,
                    "quality": each.quality.value,
                    "sensors": list(each.sensors),
                    "reason": each.reason,
                }
                for each in (() if sensors is None else sensors.problems)
            ],
        },
        "findings": [
            {"code": each.code, "severity": each.severity.value, "sentence": each.sentence}
            for each in findings
        ],
    }


def _told(resolved: Resolved) -> dict[str, Any]:
    told: dict[str, Any] = {"quality": resolved.quality.value, "method": resolved.method.value}
    if resolved.source:
        told["source"] = resolved.source
    if resolved.time is not None:
        told["message_time_tai"] = iso_text(resolved.time)
    if resolved.age_s is not None:
        told["age_s"] = round(resolved.age_s, 4)
    if resolved.reason:
        told["reason"] = resolved.reason
    if resolved.seen is not None:
        told["seen"] = resolved.seen
    return told
