"""A whole simulated night: plan, observatory, camera, and going on after a kill.

::

    night = SimulatedNight(settings)
    bus = open_control_bus(..., clock=night.clock)
    summary = await night.run(bus)

The plan of a night stands in a file beside the manifest from the first run on. A run
that finds it goes on with the first exposure that is not complete: that exposure is
taken again on the bus, at the same instants as before, and of its files those are
written that are missing.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from daemons.bus import ControlBus
from daemons.runtime.clock import SystemClock, TaiSeconds
from daemons.simulators.camera import Camera, CameraOptions, expected_files
from daemons.simulators.clock import Pace, SimulatedClock
from daemons.simulators.drop import Drop
from daemons.simulators.errors import NightMismatchError
from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.focal_plane import choose_sensors
from daemons.simulators.header_source import HeaderSource, HttpHeaderSource, NoHeaderSource
from daemons.simulators.manifest import Manifest
from daemons.simulators.metrics import SimulatorMetrics
from daemons.simulators.night import (
    Exposure,
    Night,
    NightSpec,
    day_obs_at,
    night_start,
    plan_night,
)
from daemons.simulators.observatory import Observatory
from daemons.simulators.script import LEAD_S, window
from daemons.simulators.settings import SimulatorSettings

_SETTLED_S = 0.25
"""An image that ended less than this before the next one begins is not waited for."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NightSummary:
    """What came of a night."""

    exposures: int
    complete: int
    incomplete: tuple[str, ...]
    """OBSIDs of exposures with missing files."""
    files: int
    size_bytes: int

    @property
    def over(self) -> bool:
        """True when every exposure of the plan is written."""
        return not self.incomplete


class SimulatedNight:
    """An observatory and a camera, and their night.

    Parameters
    ----------
    settings
        What night, and where its files go.
    registry
        Where the metrics are registered.

    Raises
    ------
    NightMismatchError
        The manifest belongs to another night.
    SettingsError
        A detector or a day that does not exist.
    """

    def __init__(
        self, settings: SimulatorSettings, *, registry: CollectorRegistry | None = None
    ) -> None:
        self._settings = settings
        self._metrics = SimulatorMetrics(registry)
        self.sensors = choose_sensors(settings.detectors, guiders=settings.guiders)
        self.night = self._plan()
        self._drop = Drop(
            settings.drop_directory,
            Manifest(settings.manifest),
            mode=settings.write_mode,
            pause_s=settings.write_pause_s,
        )
        self._drop.recover()
        remaining = self.remaining()
        begins, _ = window(remaining or self.night.exposures)
        self.clock = SimulatedClock(begins, settings.pace)

    def remaining(self) -> tuple[Exposure, ...]:
        """Return the exposures that are not complete, in order."""
        return tuple(exposure for exposure in self.night.exposures if not self._complete(exposure))

    @property
    def over(self) -> bool:
        """True when every exposure of the plan is written."""
        return not self.remaining()

    def summary(self) -> NightSummary:
        """Return what came of the night so far."""
        incomplete = tuple(exposure.obs_id for exposure in self.remaining())
        entries = Manifest.read(self._settings.manifest).values()
        return NightSummary(
            exposures=len(self.night.exposures),
            complete=len(self.night.exposures) - len(incomplete),
            incomplete=incomplete,
            files=len(entries),
            size_bytes=sum(entry.size_bytes for entry in entries),
        )

    async def run(self, bus: ControlBus, header_source: HeaderSource | None = None) -> NightSummary:
        """Go through what remains of the night; returns when it is over.

        Parameters
        ----------
        bus
            Where the night takes place; it should have this night's `clock`.
        header_source
            Who knows the headers; by default the header service of the settings.
        """
        remaining = self.remaining()
        if remaining:
            async with AsyncExitStack() as stack:
                source = header_source or await self._header_source(stack)
                await self._go_through(bus, source, remaining)
        summary = self.summary()
        _log.info("simulated_night_ends", complete=summary.complete, incomplete=summary.incomplete)
        return summary

    def close(self) -> None:
        """Close the manifest."""
        self._drop.manifest.close()

    async def _go_through(
        self, bus: ControlBus, source: HeaderSource, remaining: tuple[Exposure, ...]
    ) -> None:
        settings = self._settings
        camera = Camera(
            bus,
            source,
            self._drop,
            self.sensors,
            bodies=BodyLibrary(settings.amplifier_shape),
            options=CameraOptions(
                writers=settings.writers,
                exposures_in_hand=settings.exposures_in_hand,
                most_stamps=settings.guider_stamps,
            ),
            metrics=self._metrics,
        )
        follows = settings.pace is Pace.FAST and settings.follow_camera
        observatory = Observatory(
            bus,
            self.night,
            clock=self.clock,
            rate_scale=settings.telemetry_rate_scale,
            simulation_mode=settings.simulation_mode,
            admission=_Follower(camera, settings.camera_patience_s, remaining) if follows else None,
            metrics=self._metrics,
        )
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(camera.run(), name="simulated camera")
            await camera.ready()
            await observatory.run(remaining)
            for exposure in remaining:
                await _wait(camera, exposure, settings.camera_patience_s)
            writing.cancel()

    async def _header_source(self, stack: AsyncExitStack) -> HeaderSource:
        url = self._settings.header_url
        if url is None:
            return NoHeaderSource()
        source = HttpHeaderSource(url, patience_s=self._settings.header_patience_s)
        return await stack.enter_async_context(source)

    def _complete(self, exposure: Exposure) -> bool:
        return all(self._drop.has(file) for file in expected_files(exposure, self.sensors))

    def _plan(self) -> Night:
        """Return the night that the manifest belongs to, or a new one."""
        path = _plan_path(self._settings.manifest)
        if not self._settings.resume and path.exists():
            raise NightMismatchError(
                f"{self._settings.manifest} has a night already; set resume, or name another one"
            )
        known = _read_plan(path)
        if known is None:
            spec = self._new_spec()
            _write_plan(path, self._fingerprint(spec))
            return plan_night(spec)
        started, fingerprint = known
        day_obs = self._settings.day_obs or started.day_obs
        wanted = replace(self._new_spec(), day_obs=day_obs, start=started.start)
        if fingerprint != self._fingerprint(wanted):
            raise NightMismatchError(
                f"{path} holds a night with other settings; use the same settings to go on with "
                "it, or name another manifest and an empty drop directory"
            )
        return plan_night(started)

    def _fingerprint(self, spec: NightSpec) -> dict[str, Any]:
        """Return what must stay the same when a night goes on."""
        return {
            "night": asdict(spec),
            "detectors": [sensor.name for sensor in self.sensors],
            "amplifier_shape": list(self._settings.amplifier_shape),
        }

    def _new_spec(self) -> NightSpec:
        settings, now = self._settings, SystemClock().tai()
        if settings.day_obs is None and settings.pace is Pace.REAL:
            start = TaiSeconds(round(now + LEAD_S, 3))
            day_obs = day_obs_at(start)
        else:
            day_obs = day_obs_at(now) if settings.day_obs is None else settings.day_obs
            start = night_start(day_obs)
        return NightSpec(
            day_obs=day_obs,
            exposures=settings.exposures,
            seed=settings.seed,
            start=start,
            first_seq=settings.first_seq,
            calibrations=settings.calibrations,
            exposure_time_s=settings.exposure_time_s,
        )


class _Follower:
    """Lets an exposure begin when those before it are written."""

    def __init__(self, camera: Camera, patience_s: float, exposures: tuple[Exposure, ...]) -> None:
        self._camera = camera
        self._patience_s = patience_s
        self._waiting = list(exposures)

    async def __call__(self, exposure: Exposure) -> None:
        """Wait for the exposures whose last event was sent before this one begins."""
        ended = exposure.start_integration - _SETTLED_S
        while self._waiting and self._waiting[0].end_of_image_telemetry <= ended:
            await _wait(self._camera, self._waiting.pop(0), self._patience_s)


async def _wait(camera: Camera, exposure: Exposure, patience_s: float) -> None:
    try:
        async with asyncio.timeout(patience_s):
            await camera.finished(exposure.obs_id)
    except TimeoutError:
        _log.warning("exposure_not_waited_for", obs_id=exposure.obs_id, patience_s=patience_s)


def _plan_path(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.night.json")


def _read_plan(path: Path) -> tuple[NightSpec, dict[str, Any]] | None:
    """Return specification and fingerprint of the night that is going on."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return NightSpec(**content["night"]), content
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise NightMismatchError(f"{path} is no plan of a night: {error!r}") from error


def _write_plan(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("w") as out:
        json.dump(content, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
