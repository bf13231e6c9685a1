"""The way of a detector image: inspect, translate, place, store, verify, put into the outbox."""

from __future__ import annotations

import asyncio

import structlog

from daemons.events import SidecarRef
from daemons.forwarder.delivery import IMAGE_SHA256, Delivered, Parcel
from daemons.forwarder.errors import ConflictError
from daemons.forwarder.facts import StoredImage
from daemons.forwarder.model import FileIdentity, FileState, Reason, shown
from daemons.forwarder.parcels import image_load
from daemons.forwarder.reading import Fit, Unfinished, Unfit, companion, judge, read_image
from daemons.forwarder.records import Inspected
from daemons.forwarder.trip import Trip
from daemons.forwarder.waiting import Later

_HELD_S = 0.1
"""How often to look whether somebody still works on a file."""
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
        held = await self._held()
        if held is not None:
            return held
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
        tools.deadlines.opened(verdict.translation.identity.obs_id)
        tools.waiting.hurry_tagged(verdict.translation.identity.obs_id)
        await self._store(verdict, look_first=resumed or not self._entry.witnessed)
        return None

    async def _held(self) -> Later | None:
        """Wait for whoever still works on the file, for a while."""
        settings = self._tools.live.settings
        if self._entry.location != self._entry.path:
            return None  # an operator released it from quarantine as it is
        beside = await self._tools.files.run(companion, self._entry, settings.hold_suffixes)
        if beside is None or self._tools.waiting.waited(self._entry) >= settings.hold_patience_s:
            return None
        name = shown(beside.rpartition(b"/")[2])
        await self._note_once(str(Reason.HELD), f"{name} is beside it: somebody works on it")
        return Later(_HELD_S)

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
        if fit.findings:
            _log.info(
                "file_findings",
                path=shown(self._entry.path),
                waived=list(self._entry.waived),
                what=[f"{each.severity} {each.code}: {each.sentence}" for each in fit.findings],
            )
        self._entry = await self._tools.journal.inspected(
            self._entry,
            Inspected(
                sha256=fit.inspection.sha256,
                crc64nvme=fit.inspection.crc64nvme,
                image=fit.translation.identity,
                object_key=fit.object_key,
                findings=fit.findings,
                holds=tuple(sorted(set(fit.holds) - set(self._entry.waived))),
                copies=self._tools.copy_stores,
            ),
        )
        self._tools.metrics.moved(FileState.INSPECTED)

    async def _store(self, fit: Fit, *, look_first: bool) -> None:
        """Store image and sidecar beside each other, and put the event into the outbox.

        Both are there before the event: a consumer that hears of an image finds its
        sidecar. That costs no round trip of its own.
        """
        tools = self._tools
        load = image_load(self._entry, fit, host=tools.facts.host)
        for copier in tools.copiers:
            copier.offer(self._entry.id, load)
        beside = asyncio.create_task(
            self._offer_sidecar(load.sidecar, look_first=look_first),
            name=f"forwarder-sidecar-{self._entry.id}",
        )
        try:
            with tools.metrics.timed("upload"):
                delivered = await self._deliver(load.main, look_first=look_first)
            sidecar = await beside
        finally:
            await _ended(beside)
        if load.sidecar is not None and sidecar is None:
            sidecar = await self._replace_sidecar(load.sidecar, fresh_image=delivered.fresh)
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
        self._entry = await tools.journal.stored(self._entry, event, tools.complete)
        self._ended_well(fit.inspection.size_bytes)
        tools.announce()

    async def _offer_sidecar(self, parcel: Parcel | None, *, look_first: bool) -> SidecarRef | None:
        """Store the sidecar; None where there is none, or where another has its key."""
        if parcel is None:
            return None
        try:
            with self._tools.metrics.timed("sidecar"):
                delivered = await self._deliver(parcel, look_first=look_first)
        except ConflictError:
            return None
        return self._sidecar_ref(parcel, delivered)

    async def _replace_sidecar(self, parcel: Parcel, *, fresh_image: bool) -> SidecarRef:
        """Settle who has the sidecar's key, now that the image is stored.

        An image that was stored before keeps the sidecar that it has. A sidecar of ours
        whose image never arrived is in nobody's way.
        """
        delivery = self._tools.delivery
        there = await delivery.existing(parcel.key)
        if there is not None and not fresh_image:
            return self._sidecar_ref(parcel, there)
        if there is not None and IMAGE_SHA256 in there.info.metadata:
            _log.warning("orphaned_sidecar_replaced", key=parcel.key, file=self._entry.id)
            await delivery.withdraw(parcel.key)
        return self._sidecar_ref(parcel, await self._deliver(parcel, look_first=False))

    def _sidecar_ref(self, parcel: Parcel, delivered: Delivered) -> SidecarRef:
        return SidecarRef(
            uri=self._tools.delivery.store.uri(parcel.key),
            key=parcel.key,
            size_bytes=delivered.info.size_bytes,
            sha256=delivered.sha256,
        )


async def _ended(task: asyncio.Task[SidecarRef | None]) -> None:
    """Return when a task has ended, whichever way; end it where it is still at work."""
    if not task.done():
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # told by whoever awaited it, or outdone by the image's own
