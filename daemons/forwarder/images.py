"""The way of a detector image: inspect, translate, place, store, verify, put into the outbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import structlog

from daemons.events import SidecarRef
from daemons.forwarder.delivery import IMAGE_SHA256, Delivered, Parcel
from daemons.forwarder.errors import ConflictError
from daemons.forwarder.facts import StoredImage
from daemons.forwarder.model import FileIdentity, FileState, shown
from daemons.forwarder.reading import Fit, Unfinished, Unfit, judge, read_image, sidecar_name
from daemons.forwarder.records import Inspected
from daemons.forwarder.trip import Trip
from daemons.forwarder.waiting import Later
from translators.identity import ImageIdentity

_SETTLED = frozenset(
    {
        FileState.STORED,
        FileState.ANNOUNCED,
        FileState.REGISTERED,
        FileState.RELEASED,
        FileState.CONFLICTED,
    }
)
"""States of an earlier version whose content need not be sent again."""

_log = structlog.get_logger(__name__)


class ImageTrip(Trip):
    """One attempt at one detector image."""

    async def _go(self) -> Later | None:
        tools, resumed = self._tools, self._entry.state is FileState.INSPECTED
        settings = tools.live.settings
        allowed_s = (
            settings.attempt_timeout_s + self._entry.identity.size_bytes / settings.slowest_rate
        )
        with tools.metrics.timed("inspect"):
            async with asyncio.timeout(allowed_s):
                reading = await tools.readers.run(read_image, self._entry, settings)
        verdict = judge(reading, waived=self._entry.waived, witnessed=self._entry.witnessed)
        if isinstance(verdict, Unfinished):
            patience_s = settings.incomplete_patience_s
            return await self._wait(verdict.findings, patience_s, sha256=reading.sha256)
        if isinstance(verdict, Unfit):
            await self._quarantine(verdict.findings, sha256=reading.sha256)
            return None
        if await self._same_as_before(verdict.inspection.sha256, reading.identity):
            return None
        await self._note_inspected(verdict)
        tools.waiting.hurry_tagged(verdict.translation.identity.obs_id)
        await self._store(verdict, look_first=resumed or not self._entry.witnessed)
        return None

    async def _same_as_before(self, sha256: str, identity: FileIdentity) -> bool:
        """Find that only the inode changed of a file that was dealt with."""
        former = await self._tools.journal.earlier(self._entry)
        if (
            former is None
            or former.state not in _SETTLED
            or former.sha256 != sha256
            or not former.identity.same_inode(identity)
        ):
            return False
        await self._tools.journal.fold_into(self._entry, former, identity)
        _log.info("file_touched_only", path=shown(self._entry.path), file=former.id)
        return True

    async def _note_inspected(self, fit: Fit) -> None:
        for finding in fit.findings:
            _log.info(
                "file_finding",
                path=shown(self._entry.path),
                code=finding.code,
                severity=finding.severity.value,
                waived=finding.code in self._entry.waived,
                what=finding.sentence,
            )
        self._entry = await self._tools.journal.inspected(
            self._entry,
            Inspected(
                sha256=fit.inspection.sha256,
                crc64nvme=fit.inspection.crc64nvme,
                image=fit.translation.identity,
                object_key=fit.object_key,
                findings=fit.findings,
            ),
        )
        self._tools.metrics.moved(FileState.INSPECTED)

    async def _store(self, fit: Fit, *, look_first: bool) -> None:
        tools = self._tools
        sidecar = await self._store_sidecar(fit, look_first=look_first)
        parcel = Parcel(
            key=fit.object_key,
            body=Path(os.fsdecode(self._entry.location)),
            size_bytes=fit.inspection.size_bytes,
            sha256=fit.inspection.sha256,
            content_type="application/fits",
            metadata=self._metadata(fit.translation.identity, fit.inspection.crc64nvme),
        )
        with tools.metrics.timed("upload"):
            delivered = await self._deliver(parcel, look_first=look_first)
        await self._check()
        image = StoredImage(
            inspection=fit.inspection,
            translation=fit.translation,
            info=delivered.info,
            store=tools.delivery.store.name,
            uri=tools.delivery.store.uri(fit.object_key),
            sidecar=sidecar,
        )
        event = tools.facts.image_stored(image)
        self._entry = await tools.journal.stored(self._entry, event, tools.facts.exposure_complete)
        self._ended_well(fit.inspection.size_bytes)
        tools.announce()

    async def _store_sidecar(self, fit: Fit, *, look_first: bool) -> SidecarRef | None:
        if fit.sidecar is None:
            return None
        store = self._tools.delivery.store
        parcel = Parcel(
            key=sidecar_name(fit.object_key.encode()).decode(),
            body=fit.sidecar,
            size_bytes=len(fit.sidecar),
            sha256=hashlib.sha256(fit.sidecar).hexdigest(),
            content_type="application/json",
            metadata=self._metadata(fit.translation.identity, None),
            belongs_to=fit.inspection.sha256,
        )
        with self._tools.metrics.timed("sidecar"):
            delivered = await self._deliver_sidecar(parcel, fit, look_first=look_first)
        return SidecarRef(
            uri=store.uri(parcel.key),
            key=parcel.key,
            size_bytes=delivered.info.size_bytes,
            sha256=delivered.sha256,
        )

    async def _deliver_sidecar(self, parcel: Parcel, fit: Fit, *, look_first: bool) -> Delivered:
        """Store a sidecar.

        Where another one has its key the image decides: is that in the store, its
        sidecar stays, and the image itself will tell whether there is a conflict. A
        sidecar of ours whose image never arrived is in nobody's way.
        """
        delivery = self._tools.delivery
        try:
            return await self._deliver(parcel, look_first=look_first)
        except ConflictError:
            there = await delivery.existing(parcel.key)
            if there is None:
                return await self._deliver(parcel, look_first=False)
            if await delivery.existing(fit.object_key, digest=False) is not None:
                return there
            if IMAGE_SHA256 not in there.info.metadata:
                raise
            _log.warning("orphaned_sidecar_replaced", key=parcel.key, file=self._entry.id)
            await delivery.withdraw(parcel.key)
            return await self._deliver(parcel, look_first=False)

    def _metadata(self, image: ImageIdentity, crc64nvme: str | None) -> dict[str, str]:
        metadata = {
            "instrument": image.instrument,
            "obs-id": image.obs_id,
            "detector": str(image.detector),
            "detector-name": image.detector_name,
            "file-id": str(image.dataset_id),
            "host": self._tools.facts.host,
        }
        if crc64nvme is not None:
            metadata["crc64nvme"] = crc64nvme
        if self._entry.waived:
            metadata["waived"] = ",".join(self._entry.waived)
        return metadata
