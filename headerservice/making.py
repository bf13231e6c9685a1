"""Makes a header out of what is known: values, cross-checks, texts and digests; for a thread."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemons.runtime.clock import UtcSeconds
from headerservice import crosschecks_sky
from headerservice.assemble import Header, Site, assemble
from headerservice.exposure import Exposure, Status
from headerservice.journal_records import StoredHeader
from headerservice.publish import todo_of
from headerservice.render import to_yaml
from headerservice.resolve import Resolution
from headerservice.rules import Definitions
from translators.errors import InstrumentDataError
from translators.findings import Finding
from translators.focalplane import detectors, physical_filters

_ANY_INSTANT = 1.7e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """From what a header is made."""

    exposure: Exposure
    resolution: Resolution
    definitions: Definitions
    site: Site
    revision: int
    status: Status
    now: UtcSeconds
    findings: tuple[Finding, ...] = ()
    """What is wrong with the exposure."""


@dataclass(frozen=True, slots=True)
class Made:
    """A header, and what is published of it."""

    header: Header
    stored: StoredHeader


def make(draft: Draft) -> Made:
    """Return the header of a draft. It takes some milliseconds and touches nothing else."""
    header = assemble(
        draft.exposure,
        draft.resolution,
        definitions=draft.definitions,
        site=draft.site,
        revision=draft.revision,
        status=draft.status,
        now=draft.now,
        findings=draft.findings,
    )
    return Made(header, render(header))


def prepare(definitions: Definitions) -> None:
    """Do once what the first header would have to wait for: tables of the instrument, ERFA."""
    crosschecks_sky.horizontal(0.0, 0.0, _ANY_INSTANT, crosschecks_sky.Site(0.0, 0.0, 0.0))
    with contextlib.suppress(InstrumentDataError):  # then the checks say so
        physical_filters(definitions.instrument)
        detectors(definitions.instrument)


def render(header: Header) -> StoredHeader:
    """Return a header as it is published: YAML, digests, provenance."""
    body = to_yaml(header.hdus)
    return StoredHeader(
        obs_id=header.obs_id,
        day_obs=header.day_obs,
        revision=header.revision,
        status=header.status,
        made_at=float(header.made_at),
        missing=header.missing,
        sha256=hashlib.sha256(body).hexdigest(),
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        body=body,
        provenance=_json(header.provenance),
        todo=todo_of(header.status),
    )


def _json(provenance: Mapping[str, Any]) -> bytes:
    """Return JSON that every reader takes: it has no NaN and no infinity."""
    try:
        return json.dumps(provenance, default=str, allow_nan=False).encode()
    except ValueError:
        lenient = json.loads(json.dumps(provenance, default=str), parse_constant=str)
        return json.dumps(lenient, allow_nan=False).encode()
