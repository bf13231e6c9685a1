"""Journal values as JSON, for the admin API and for `/status`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.model import JournalEntry, shown
from daemons.forwarder.records import Summary
from daemons.forwarder.rows import findings_json
from daemons.storage import ObjectStore
from daemons.storage.factory import network


def file_view(entry: JournalEntry) -> dict[str, Any]:
    """Return a file."""
    image = entry.image
    return {
        "id": entry.id,
        "path": shown(entry.path),
        "location": shown(entry.location),
        "kind": entry.kind.value,
        "state": entry.state.value,
        "size_bytes": entry.identity.size_bytes,
        "seen_at": iso(entry.seen_at),
        "changed_at": iso(entry.changed_at),
        "reason": entry.reason,
        "detail": entry.detail,
        "sha256": entry.sha256,
        "key": entry.object_key,
        "stored_at": iso(entry.stored_at),
        "obs_id": None if image is None else image.obs_id,
        "detector_name": None if image is None else image.detector_name,
        "file_id": None if image is None else str(image.dataset_id),
        "findings": json.loads(findings_json(entry.findings)),
        "waived": list(entry.waived),
        "announcements": entry.announcements,
    }


def exposure_view(share: ExposureShare) -> dict[str, Any]:
    """Return the roll-up of an exposure."""
    return {
        "instrument": share.instrument,
        "obs_id": share.obs_id,
        "first_seen_at": iso(share.first_seen_at),
        "expected": None if share.expected is None else len(share.expected),
        "stored": len(share.stored),
        "missing": sorted(share.missing),
        "held": sorted(share.held),
        "completed_at": iso(share.completed_at),
        "seconds": share.seconds,
    }


def tallies_view(summary: Summary) -> Mapping[str, Any]:
    """Return how many files, and how many bytes, are in each state."""
    view: dict[str, dict[str, dict[str, int]]] = {}
    for (kind, state), tally in sorted(summary.tallies.items()):
        if tally.files:
            of_kind = view.setdefault(f"{kind}s", {})
            of_kind[state] = {"files": tally.files, "bytes": tally.size_bytes}
    return view


def network_view(store: ObjectStore) -> dict[str, Any] | None:
    """Return what a store's connections are like; None for one that has none."""
    report = network(store)
    return None if report is None else asdict(report)


def iso(at: float | None) -> str | None:
    """Return an instant (UTC seconds) as ISO 8601."""
    return None if at is None else datetime.fromtimestamp(at, tz=UTC).isoformat()
