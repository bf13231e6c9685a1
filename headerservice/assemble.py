"""Puts a header together: HDUs of keyword, value and comment, and its provenance: pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from daemons.runtime.clock import UtcSeconds
from headerservice.crosschecks import Verdict, cross_check
from headerservice.exposure import Exposure, Status
from headerservice.quality import Method, Quality, Resolved, fixed, missing
from headerservice.reading import iso_text
from headerservice.resolve import Resolution
from headerservice.rules import Definitions, KeywordRule, Value
from headerservice.sensors import Card, Hdu
from headerservice.soundness import flaw_of
from headerservice.wcs import boresight_of, with_wcs
from translators.findings import Finding, Severity

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
    wcs: bool = False
    """Whether nominal world coordinates of the sensors are wanted."""


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
    findings: tuple[Finding, ...] = ()
    """What was found while it was put together: failed cross-checks, values that cannot be."""


_NO_FAILURE = "none"
"""Value of a list of failed checks that is empty: a text without characters is no value."""


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
    found = {
        rule.keyword: _sound(rule.keyword, _value(rule, resolution.keywords))
        for rule in definitions.rules
        if rule.compute is None
    }
    report = cross_check(
        definitions.crosschecks,
        {**found, **resolution.witnesses},
        resolution.instants,
        instrument=definitions.instrument,
    )
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
        "failed_checks": ",".join(report.failed) or _NO_FAILURE,
        "failed_check_count": len(report.with_verdict(Verdict.FAILED)),
        "unmade_check_count": len(report.with_verdict(Verdict.NOT_CHECKED)),
    }
    values = {
        rule.keyword: found[rule.keyword] if rule.compute is None else _computed(rule, known)
        for rule in definitions.rules
    }
    hdus, coordinates, unknown = _sensor_hdus(resolution, values, definitions, site)
    noticed = (*report.findings, *unknown, *_unsound(found, resolution.keywords))
    return Header(
        obs_id=exposure.obs_id,
        day_obs=day_obs(exposure, resolution, definitions, now),
        revision=revision,
        status=status,
        made_at=now,
        missing=resolution.missing,
        hdus=(Hdu(PRIMARY, tuple(_cards(definitions, values))), *hdus),
        provenance={
            **_provenance(exposure, resolution, values, known),
            "coordinates": coordinates,
            "crosschecks": [each.to_json() for each in report.outcomes],
            "findings": [
                {"code": each.code, "severity": each.severity.value, "sentence": each.sentence}
                for each in dict.fromkeys((*findings, *resolution.findings, *noticed))
            ],
        },
        findings=noticed,
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


def _value(rule: KeywordRule, found: Mapping[str, Resolved]) -> Resolved:
    return found[rule.keyword] if rule.fixed is None else fixed(rule.fixed)


def _computed(rule: KeywordRule, known: Mapping[str, Value]) -> Resolved:
    value = known[rule.compute or ""]
    if value == "":
        return missing(f"no {rule.compute} is configured", method=Method.COMPUTED)
    return fixed(value, Method.COMPUTED)


def _sound(keyword: str, resolved: Resolved) -> Resolved:
    """Return a value as it may be written: one that no header can hold is none."""
    flaw = "" if resolved.value is None else flaw_of(resolved.value)
    if not flaw:
        return resolved
    return replace(
        resolved, value=None, quality=Quality.INVALID, reason=f"{keyword} is {flaw}", seen=None
    )


def _unsound(found: Mapping[str, Resolved], before: Mapping[str, Resolved]) -> list[Finding]:
    return [
        Finding("header.impossible_value", Severity.ERROR, f"{each.reason}: it is not written")
        for keyword, each in found.items()
        if keyword in before and before[keyword].good and not each.good
    ]


def _sensor_hdus(
    resolution: Resolution, values: Mapping[str, Resolved], definitions: Definitions, site: Site
) -> tuple[tuple[Hdu, ...], str, tuple[Finding, ...]]:
    """Return the headers of the sensors, what was done about coordinates, and what is wrong."""
    table = resolution.sensors
    if table is None:
        return (), "there are no sensors", ()
    table = replace(table, hdus=tuple(_sound_hdu(hdu) for hdu in table.hdus))
    if not site.wcs or definitions.wcs is None:
        reason = "not asked for" if not site.wcs else "none are defined for the instrument"
        return table.hdus, reason, ()
    boresight = boresight_of(definitions.wcs, values)
    if isinstance(boresight, str):
        return table.hdus, boresight, ()
    hdus, findings = with_wcs(table, definitions.wcs, boresight, instrument=definitions.instrument)
    return hdus, "nominal", findings


def _sound_hdu(hdu: Hdu) -> Hdu:
    """Return a header without values that no header can hold; mostly the same object."""
    if not any(card.value is not None and flaw_of(card.value) for card in hdu.cards):
        return hdu
    return replace(
        hdu,
        cards=tuple(
            card._replace(value=None) if card.value is not None and flaw_of(card.value) else card
            for card in hdu.cards
        ),
    )


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
        "witnesses": {name: _witnessed(each) for name, each in resolution.witnesses.items()},
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
        told["seen"] = _json_value(resolved.seen)
    return told


def _witnessed(resolved: Resolved) -> dict[str, Any]:
    return {**_told(resolved), "value": _json_value(resolved.value)}


def _json_value(value: Value | None) -> Value | None:
    """Return a value as JSON can hold it: what is no finite number as a text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
