"""The way of a list of expected sensors: stored with its exposure, counted, not announced."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase

from daemons.forwarder.parcels import attachment_load
from daemons.forwarder.placing import place_beside
from daemons.forwarder.reading import SensorList, read_sensor_list
from daemons.forwarder.records import Inspected
from daemons.forwarder.trip import Trip
from daemons.forwarder.waiting import Later
from translators.findings import Finding, Severity

NO_EXPOSURE = "attachment.no_exposure"
"""Code of a list that waits for an image of its exposure."""


class AttachmentTrip(Trip):
    """One attempt at one list of expected sensors."""

    async def _go(self) -> Later | None:
        tools = self._tools
        sensors = await tools.files.run(read_sensor_list, self._entry)
        if isinstance(sensors, Finding):
            patience_s = tools.live.settings.incomplete_patience_s
            return await self._wait((sensors,), patience_s, sha256=None)
        share = await tools.journal.exposure(sensors.obs_id)
        beside = None if share is None else await tools.journal.image_key(share)
        if share is None or beside is None:
            return await self._no_exposure(sensors)
        digest = hashlib.sha256(sensors.content).hexdigest()
        key = place_beside(beside, self._entry.file_name)
        self._entry = await tools.journal.inspected(
            self._entry, Inspected(digest, None, None, key, (), copies=tools.copy_stores)
        )
        metadata = {"instrument": share.instrument, "obs-id": share.obs_id}
        load = attachment_load(key, sensors.content, {**metadata, "host": tools.facts.host})
        for copier in tools.copiers:
            copier.offer(self._entry.id, load)
        await self._deliver(load.main, look_first=True)
        ours = [name for name in sensors.detectors if self._is_ours(name)]
        await tools.journal.expect(share, ours, tools.complete)
        self._entry = await tools.journal.stored(self._entry, None, tools.complete)
        self._ended_well(0)
        tools.announce()
        return None

    def _is_ours(self, detector: str) -> bool:
        return any(fnmatchcase(detector, pattern) for pattern in self._tools.live.settings.share)

    async def _no_exposure(self, sensors: SensorList) -> Later | None:
        sentence = (
            f"no image of {sensors.obs_id} has come through this host, so there is no folder for "
            "its list of expected sensors; if the exposure went another way, reject the list"
        )
        finding = Finding(NO_EXPOSURE, Severity.ERROR, sentence)
        patience_s = self._tools.live.settings.attachment_patience_s
        digest = hashlib.sha256(sensors.content).hexdigest()
        return await self._wait((finding,), patience_s, sha256=digest, tag=sensors.obs_id)
