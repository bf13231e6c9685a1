"""A camera on the control bus: it writes the files of each exposure.

When an image ends, the camera asks for its header and writes the files of its sensors,
several at a time. A header that does not come in time leaves undefined values, as with
the real image writers; the files are written in any case.

The content of a file depends on nothing but the event that ended the image, the header
and the sensor. An exposure whose writing was cut off and that comes again is completed:
files that were written stay as they are, the others are made from the header as it is
now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from daemons.bus import ControlBus, ControlMessage, Delivery
from daemons.runtime.executors import BlockingExecutor
from daemons.simulators.camera_events import END_OF_IMAGE_TELEMETRY, END_SET_FILTER
from daemons.simulators.drop import Drop, WriteMode
from daemons.simulators.errors import HeaderDocumentError, SimulatorError
from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.fits_writer import (
    RenderedFile,
    expected_sensors,
    file_stem,
    render,
    render_uncompressed,
)
from daemons.simulators.focal_plane import Sensor
from daemons.simulators.header_document import HeaderDocument
from daemons.simulators.header_source import HeaderSource
from daemons.simulators.image import Image, exposure_folder
from daemons.simulators.metrics import SimulatorMetrics
from daemons.simulators.night import Exposure, ImageType
from translators.identity import ImageKind

_log = structlog.get_logger(__name__)


def expected_files(exposure: Exposure, chosen: Sequence[Sensor]) -> tuple[str, ...]:
    """Return the files of an exposure, as paths below the drop directory."""
    folder = exposure_folder(exposure.day_obs, exposure.obs_id)
    exposed = present(exposure.image_type, chosen)
    name, _ = expected_sensors(exposure.obs_id, exposed)
    stems = [f"{folder}/{file_stem(exposure.obs_id, sensor)}" for sensor in exposed]
    return (
        f"{folder}/{name}",
        *(f"{stem}{suffix}" for stem in stems for suffix in (".json", ".fits")),
    )


def present(image_type: ImageType, chosen: Sequence[Sensor]) -> tuple[Sensor, ...]:
    """Return the sensors that an exposure is written for: guiders only look at the sky."""
    return tuple(
        sensor
        for sensor in chosen
        if sensor.kind is not ImageKind.GUIDER or image_type is ImageType.OBJECT
    )


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """How a camera works."""

    writers: int = 2
    """Files written at the same time."""
    exposures_in_hand: int = 2
    """Exposures dealt with at the same time."""
    most_stamps: int | None = None
    """Upper limit of a guider's stamps; None: as many as fit the exposure."""
    durable: str | None = None
    """Name under which the bus keeps the camera's position, where it is to write what
    ended while it was away. Without it, only the last image before its start is looked
    at, and completed where this camera had begun to write it."""


class Camera:
    """Writes files for the images of the control bus.

    Parameters
    ----------
    bus
        Where the images are announced.
    header_source
        Who knows their headers.
    drop
        Where the files go.
    chosen
        The sensors that this camera host writes.
    bodies
        Compressed pixels.
    options
        How it works.
    metrics
        What is counted.
    """

    def __init__(
        self,
        bus: ControlBus,
        header_source: HeaderSource,
        drop: Drop,
        chosen: Sequence[Sensor],
        *,
        bodies: BodyLibrary,
        options: CameraOptions | None = None,
        metrics: SimulatorMetrics | None = None,
    ) -> None:
        self._bus = bus
        self._header_source = header_source
        self._drop = drop
        self._chosen = tuple(chosen)
        self._bodies = bodies
        self._options = options or CameraOptions()
        self._in_hand = asyncio.Semaphore(self._options.exposures_in_hand)
        self._metrics = metrics or SimulatorMetrics()
        self._filter: str | None = None
        self._ready = asyncio.Event()
        self._writing: dict[str, asyncio.Lock] = {}
        self._finished: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Follow the control bus until cancelled."""
        topics = (END_OF_IMAGE_TELEMETRY, END_SET_FILTER)
        threads = BlockingExecutor("camera-writer", self._options.writers)
        try:
            async with (
                self._bus.subscribe(topics, durable=self._options.durable) as subscription,
                asyncio.TaskGroup() as tasks,
            ):
                await subscription.ready()
                self._ready.set()
                async for delivery in subscription:
                    await self._take(delivery, tasks, threads)
        finally:
            # Nothing is written after this returns: the files in hand are finished first.
            threads.close()
            await asyncio.to_thread(threads.pool.shutdown, wait=True)

    async def ready(self) -> None:
        """Return once images that end from now on will be written."""
        await self._ready.wait()

    async def finished(self, obs_id: str) -> None:
        """Return once the files of an exposure are written, or given up."""
        await self._finished.setdefault(obs_id, asyncio.Event()).wait()

    async def _take(
        self,
        delivery: Delivery[ControlMessage],
        tasks: asyncio.TaskGroup,
        threads: BlockingExecutor,
    ) -> None:
        message = delivery.message
        if message.topic == END_SET_FILTER:
            self._filter = str(message.fields.get("filterName", ""))
        else:
            image = self._image(message)
            if image is not None:
                await self._in_hand.acquire()
                task = self._write(image, delivery, threads)
                tasks.create_task(task, name=f"write {image.obs_id}")
                return
        await delivery.ack()

    def _image(self, message: ControlMessage) -> Image | None:
        """Return the image that has ended; None where the event is not for this camera."""
        try:
            image = Image.from_event(message.fields, self._filter)
        except (KeyError, ValueError) as error:
            _log.warning("camera_event_unusable", topic=str(message.topic), error=repr(error))
            return None
        name, _ = expected_sensors(image.obs_id, ())
        if message.historical and not self._drop.has(f"{image.folder}/{name}"):
            return None
        return image

    async def _write(
        self, image: Image, delivery: Delivery[ControlMessage], threads: BlockingExecutor
    ) -> None:
        """Write the files of an exposure that are not written yet."""
        try:
            async with self._writing.setdefault(image.obs_id, asyncio.Lock()):
                await self._write_missing(image, threads)
            await delivery.ack()
        except Exception:  # noqa: BLE001 - the task of an exposure ends; the next one goes on
            _log.exception("exposure_not_written", obs_id=image.obs_id)
            self._metrics.failure("exposure")
        finally:
            self._in_hand.release()
            self._finished.setdefault(image.obs_id, asyncio.Event()).set()

    async def _write_missing(self, image: Image, threads: BlockingExecutor) -> None:
        exposed = present(image.image_type, self._chosen)
        missing = [
            sensor
            for sensor in exposed
            if not self._drop.has(f"{image.folder}/{file_stem(image.obs_id, sensor)}.fits")
        ]
        name, content = expected_sensors(image.obs_id, exposed)
        await threads.run(self._drop_json, image, None, name, content)
        if not missing:
            return
        header = await self._header(image.obs_id)
        written = await asyncio.gather(
            *(threads.run(self._write_sensor, image, sensor, header) for sensor in missing)
        )
        if not all(written):
            raise SimulatorError(
                f"{image.obs_id}: {written.count(False)} of {len(missing)} sensors were not "
                "written; the log says why"
            )
        _log.info(
            "exposure_written", obs_id=image.obs_id, files=len(missing), header=header is not None
        )

    async def _header(self, obs_id: str) -> HeaderDocument | None:
        try:
            header = await self._header_source.fetch(obs_id)
        except HeaderDocumentError as error:
            _log.warning("header_unusable", obs_id=obs_id, error=str(error))
            self._metrics.header("unusable")
            return None
        self._metrics.header("missing" if header is None else "found")
        if header is None:
            _log.warning("header_missing", obs_id=obs_id)
        return header

    def _write_sensor(self, image: Image, sensor: Sensor, header: HeaderDocument | None) -> bool:
        """Write sidecar and file of a sensor, in a thread; False where that failed."""
        try:
            file = render(
                image, sensor, header, self._bodies, most_stamps=self._options.most_stamps
            )
            sidecar, content = file.sidecar
            self._drop_json(image, sensor, sidecar, content)
            entry = self._drop.write(
                f"{image.folder}/{file.name}",
                file.buffers,
                obs_id=image.obs_id,
                detector=sensor.name,
                before=self._before(image, sensor, header, file),
            )
        except Exception:  # noqa: BLE001 - the work of a thread ends; the other sensors go on
            self._metrics.failure("sensor")
            _log.exception("sensor_not_written", obs_id=image.obs_id, detector=sensor.name)
            return False
        if entry is not None:
            self._metrics.file_written("fits", entry.size_bytes)
        return True

    def _before(
        self, image: Image, sensor: Sensor, header: HeaderDocument | None, file: RenderedFile
    ) -> Sequence[bytes]:
        """Return what stands under a file's name before the file itself, for some modes."""
        if self._drop.mode is WriteMode.FPACK_IN_PLACE and sensor.kind is not ImageKind.GUIDER:
            return render_uncompressed(image, sensor, header, self._bodies).buffers
        return () if self._drop.mode is WriteMode.ATOMIC else file.buffers

    def _drop_json(self, image: Image, sensor: Sensor | None, name: str, content: bytes) -> None:
        entry = self._drop.write(
            f"{image.folder}/{name}",
            (content,),
            obs_id=image.obs_id,
            detector=None if sensor is None else sensor.name,
            renew=sensor is not None,
        )
        if entry is not None:
            self._metrics.file_written("json", entry.size_bytes)
