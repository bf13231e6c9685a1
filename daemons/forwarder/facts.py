"""The events that the forwarder announces."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemons.events import (
    Event,
    EventData,
    EventsForgotten,
    ExposureComplete,
    ExposureHeld,
    ExposureIncomplete,
    ExposureLate,
    ImageConflicted,
    ImageCopied,
    ImageQuarantined,
    ImageStored,
    SidecarRef,
    new_event,
)
from daemons.forwarder.exposures import ExposureShare
from daemons.forwarder.lateness import Lateness
from daemons.forwarder.model import JournalEntry, shown
from daemons.runtime.clock import Clock
from daemons.storage import ObjectInfo, ObjectStore
from translators.findings import Finding
from translators.identity import ImageIdentity
from translators.imagename import parse_image_name
from translators.inspection import Inspection
from translators.translate import Translation


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that is stored and verified."""

    inspection: Inspection
    translation: Translation
    info: ObjectInfo
    store: str
    uri: str
    sidecar: SidecarRef | None


class Facts:
    """Makes the events of one host.

    Parameters
    ----------
    host
        Name of this host.
    clock
        The time.
    """

    def __init__(self, host: str, clock: Clock) -> None:
        self.host = host
        self.source = f"/arriero/forwarder/{host}"
        """CloudEvents `source` of every event."""
        self._clock = clock

    def image_stored(self, image: StoredImage) -> Event:
        """Return `image.stored`; the same for the same content under the same key."""
        identity = image.translation.identity
        observation = image.translation.observation
        data = ImageStored(
            **_image_fields(identity, image.info.key.rpartition("/")[2]),
            store=image.store,
            uri=image.uri,
            key=image.info.key,
            size_bytes=image.inspection.size_bytes,
            sha256=image.inspection.sha256,
            crc64nvme=image.inspection.crc64nvme,
            etag=image.info.etag,
            stored_at=self._now(),
            sidecar=image.sidecar,
            observation=None if observation is None else dict(observation),
            translator=image.translation.translator,
            translator_version=image.translation.translator_version,
        )
        return self._event(data, f"{image.store}:{data.key}:{data.sha256}")

    def image_copied(
        self, entry: JournalEntry, info: ObjectInfo, store: ObjectStore
    ) -> Event | None:
        """Return `image.copied`; None for a file that is no image."""
        if entry.image is None or entry.sha256 is None:
            return None
        data = ImageCopied(
            **_image_fields(entry.image, info.key.rpartition("/")[2]),
            store=store.name,
            uri=store.uri(info.key),
            key=info.key,
            size_bytes=info.size_bytes,
            sha256=entry.sha256,
            copied_at=self._now(),
        )
        return self._event(data, f"{store.name}:{data.key}:{data.sha256}")

    def image_conflicted(
        self, entry: JournalEntry, uri: str, stored_sha256: str | None, reason: str
    ) -> Event | None:
        """Return `image.conflicted`; None for a file that is no image."""
        if entry.image is None or entry.object_key is None or entry.sha256 is None:
            return None
        data = ImageConflicted(
            **_image_fields(entry.image, shown(entry.file_name)),
            host=self.host,
            uri=uri,
            key=entry.object_key,
            sha256=entry.sha256,
            stored_sha256=stored_sha256,
            reason=reason,
        )
        return self._event(data, f"{uri}:{data.sha256}:{stored_sha256}")

    def image_quarantined(
        self, entry: JournalEntry, findings: tuple[Finding, ...], *, sha256: str | None
    ) -> Event:
        """Return `image.quarantined`."""
        name = shown(entry.file_name)
        named = parse_image_name(name)
        target = shown(entry.quarantine_path or b"")
        data = ImageQuarantined(
            host=self.host,
            path=shown(entry.path),
            quarantine_path=target,
            file_name=name,
            size_bytes=entry.identity.size_bytes,
            sha256=sha256,
            obs_id=None if named is None else named.obs_id,
            codes=tuple(dict.fromkeys(finding.code for finding in findings)),
            reason=sentences(findings),
            quarantined_at=self._now(),
        )
        return self._event(data, f"{target}:{entry.id}:{entry.revision}")

    def events_forgotten(self, numbers: range) -> Event:
        """Return `events.forgotten` for numbers of ours."""
        data = EventsForgotten(of_source=self.source, first=numbers[0], last=numbers[-1])
        return self._event(data, f"{data.first}:{data.last}")

    def exposure_complete(self, share: ExposureShare) -> Event:
        """Return `exposure.complete` for what this host was to send."""
        expected = share.expected or frozenset()
        data = ExposureComplete(
            **_exposure_fields(share),
            expected=len(expected),
            stored=len(share.stored & expected),
            seconds=share.seconds,
        )
        return self._event(data, f"{share.instrument}:{share.obs_id}:{len(expected)}")

    def exposure_held(self, share: ExposureShare) -> Event:
        """Return `exposure.held`."""
        data = ExposureHeld(
            **_exposure_fields(share),
            codes=tuple(sorted(share.held)),
        )
        return self._event(data, f"{share.instrument}:{share.obs_id}:{','.join(data.codes)}")

    def exposure_shortfall(
        self, share: ExposureShare, lateness: Lateness, deadline_s: float
    ) -> Event:
        """Return `exposure.late` or `exposure.incomplete`."""
        kind = ExposureLate if lateness is Lateness.LATE else ExposureIncomplete
        data = kind(
            **_exposure_fields(share),
            expected=len(share.wanted),
            stored=len(share.wanted - share.missing),
            missing=tuple(sorted(share.missing)),
            deadline_s=deadline_s,
        )
        return self._event(data, f"{share.instrument}:{share.obs_id}:{kind.event_type}")

    def _event(self, data: EventData, key: str) -> Event:
        return new_event(data, source=self.source, key=key, time=self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc(), tz=UTC)


def sentences(findings: tuple[Finding, ...]) -> str:
    """Return what findings say, as one text: of each code the first, and how many more."""
    by_code: dict[str, list[str]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding.sentence.rstrip("."))
    said = []
    for code, of_code in by_code.items():
        more = f" ({len(of_code) - 1} more of {code})" if len(of_code) > 1 else ""
        said.append(f"{of_code[0]}{more}.")
    return " ".join(said)


def _image_fields(identity: ImageIdentity, file_name: str) -> dict[str, Any]:
    return {
        "file_id": identity.dataset_id,
        "instrument": identity.instrument,
        "obs_id": identity.obs_id,
        "exposure_id": identity.exposure_id,
        "day_obs": identity.day_obs,
        "seq_num": identity.seq_num,
        "detector": identity.detector,
        "detector_name": identity.detector_name,
        "dataset_type": identity.dataset_type,
        "run": identity.run,
        "file_name": file_name,
    }


def _exposure_fields(share: ExposureShare) -> dict[str, Any]:
    return {
        "instrument": share.instrument,
        "obs_id": share.obs_id,
        "exposure_id": share.exposure_id,
        "day_obs": share.day_obs,
        "seq_num": share.seq_num,
        "scope": "host",
    }
