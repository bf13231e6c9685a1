"""What the observatory announces in a night, and when: its events, in order.

The events of an image leave a few milliseconds after the instants that they carry, as
those of the real camera do.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from daemons.bus import Topic
from daemons.runtime.clock import TaiSeconds, tai_to_utc
from daemons.simulators import camera_events as camera
from daemons.simulators.camera_events import Fields
from daemons.simulators.night import FILTER_CHANGE_S, Exposure, ParkAim, SkyAim
from daemons.simulators.sky import Array, Sky
from daemons.simulators.weather import Weather

LEAD_S = 25.0
"""How long before the first exposure the observatory goes on air."""
TAIL_S = 5.0
"""How long after the last exposure telemetry goes on."""
EVENT_LATENCY_S = 0.004
"""From an instant of the camera to the sending of its event."""
DIMM_PERIOD_S = 60.0
"""Between two measurements of the seeing."""

CURRENT_TARGET = Topic("MTPtg", "logevent_currentTarget")
TELESCOPE_VIGNETTED = Topic("MTDomeTrajectory", "logevent_telescopeVignetted")
DIMM_MEASUREMENT = Topic("DIMM", "logevent_dimmMeasurement", 1)
NEXT_VISIT = Topic("ScriptQueue", "logevent_nextVisit", 1)
SIMULATION_MODES = tuple(
    Topic(component, "logevent_simulationMode", index)
    for component, index in (
        ("MTMount", 0),
        ("MTM1M3", 0),
        ("MTM2", 0),
        ("MTHexapod", 1),
        ("MTHexapod", 2),
        ("MTRotator", 0),
        ("MTDome", 0),
        ("MTDomeTrajectory", 0),
    )
)
"""Where the components say whether they are simulated."""

_DIMM_VALID_S = 300.0
_DOME_MOVES_BEFORE_S = 1.0
_STARTS_BEFORE_S = 1.0


class Vignetted(IntEnum):
    """How much the dome covers the telescope."""

    UNKNOWN = 0
    NO = 1
    PARTIALLY = 2
    FULLY = 3


class _TargetType(IntEnum):
    RADEC = 1
    AZEL = 2


class _Frame(IntEnum):
    ICRS = 2
    AZEL = 3


class _CoordinateSystem(IntEnum):
    ICRS = 2


class _RotationSystem(IntEnum):
    SKY = 2


class _Dome(IntEnum):
    OPEN = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """One message of the script."""

    instant: TaiSeconds
    """When it is sent."""
    topic: Topic
    fields: Fields
    exposure: Exposure | None = None
    """The exposure that begins with it, for a `startIntegration`."""


def window(exposures: Sequence[Exposure]) -> tuple[TaiSeconds, TaiSeconds]:
    """Return when the observatory goes on and off air for a run of exposures."""
    return (
        TaiSeconds(exposures[0].start_integration - LEAD_S),
        TaiSeconds(exposures[-1].end_of_image_telemetry + TAIL_S),
    )


def script(
    exposures: Sequence[Exposure], *, sky: Sky, weather: Weather, simulation_mode: int
) -> list[Cue]:
    """Return the events of a run of successive exposures, in the order of sending.

    Parameters
    ----------
    exposures
        At least one.
    sky
        Of the night.
    weather
        Of the night.
    simulation_mode
        What the components say of themselves; 0 claims real hardware.
    """
    begins, ends = window(exposures)
    cues = list(_opening(exposures[0], begins, simulation_mode))
    cues += _seeing(begins, ends, weather)
    before: Exposure | None = None
    for exposure in exposures:
        cues += _preparation(exposure, before, begins, sky)
        cues += _images(exposure)
        before = exposure
    return sorted(cues, key=operator.attrgetter("instant"))


def _opening(first: Exposure, begins: TaiSeconds, simulation_mode: int) -> Iterator[Cue]:
    """Yield what a component says once, and what was said before the run began."""
    for topic in SIMULATION_MODES:
        yield Cue(begins, topic, {"mode": simulation_mode})
    yield Cue(begins, camera.FOCAL_PLANE_SUMMARY, camera.focal_plane_summary())
    yield Cue(begins, camera.END_SET_FILTER, camera.end_set_filter(first.filter))


def _seeing(begins: TaiSeconds, ends: TaiSeconds, weather: Weather) -> Iterator[Cue]:
    for step in range(math.ceil((ends - begins) / DIMM_PERIOD_S)):
        instant = TaiSeconds(begins + step * DIMM_PERIOD_S)
        utc, seeing = tai_to_utc(instant), weather.at(instant).seeing_arcsec
        fields = {
            "timestamp": utc,
            "expiresAt": utc + _DIMM_VALID_S,
            "expiresIn": _DIMM_VALID_S,
            "hrNum": 7001,
            "secz": 1.1,
            "fwhm": seeing,
            "fwhmx": seeing * 1.02,
            "fwhmy": seeing * 0.98,
            "r0": 10.1 / seeing,
            "nimg": 2000,
        }
        yield Cue(instant, DIMM_MEASUREMENT, fields)


def _preparation(
    exposure: Exposure, before: Exposure | None, begins: TaiSeconds, sky: Sky
) -> Iterator[Cue]:
    """Yield what precedes an exposure: visit, filter, target, dome."""
    if exposure.next_visit is not None and isinstance(exposure.aim, SkyAim):
        yield Cue(exposure.next_visit, NEXT_VISIT, _next_visit(exposure, exposure.aim))
    if exposure.filter_change is not None and before is not None:
        change = exposure.filter_change
        done = TaiSeconds(change + FILTER_CHANGE_S - 1.0)
        yield Cue(change, camera.START_SET_FILTER, camera.start_set_filter(exposure.filter))
        yield Cue(done, camera.END_SET_FILTER, camera.end_set_filter(exposure.filter))
    if before is None or before.aim != exposure.aim:
        moves = begins if before is None else exposure.slew
        yield Cue(moves, CURRENT_TARGET, _current_target(exposure, moves, sky))
    if before is None or before.on_sky != exposure.on_sky:
        state = Vignetted.NO if exposure.on_sky else Vignetted.FULLY
        settled = TaiSeconds(exposure.start_integration - _DOME_MOVES_BEFORE_S)
        fields = {"vignetted": state, "azimuth": state, "elevation": state, "shutter": state}
        yield Cue(begins if before is None else settled, TELESCOPE_VIGNETTED, fields)


def _images(exposure: Exposure) -> Iterator[Cue]:
    """Yield the events of an image."""

    def after(instant: TaiSeconds) -> TaiSeconds:
        return TaiSeconds(instant + EVENT_LATENCY_S)

    started, read = after(exposure.start_integration), after(exposure.start_readout)
    yield Cue(started, camera.START_INTEGRATION, camera.start_integration(exposure), exposure)
    yield Cue(read, camera.START_READOUT, camera.start_readout(exposure))
    yield Cue(
        after(read), camera.IMAGE_READOUT_PARAMETERS, camera.image_readout_parameters(exposure)
    )
    yield Cue(after(exposure.end_readout), camera.END_READOUT, camera.end_readout(exposure))
    yield Cue(
        after(exposure.end_of_image_telemetry),
        camera.END_OF_IMAGE_TELEMETRY,
        camera.end_of_image_telemetry(exposure),
    )


def _next_visit(exposure: Exposure, aim: SkyAim) -> Fields:
    return {
        "scriptSalIndex": 200_000 + exposure.seq_num,
        "groupId": exposure.group_id,
        "coordinateSystem": _CoordinateSystem.ICRS,
        "position": [aim.ra_deg, aim.dec_deg],
        "rotationSystem": _RotationSystem.SKY,
        "cameraAngle": aim.sky_angle_deg,
        "startTime": exposure.start_integration - _STARTS_BEFORE_S,
        "filters": exposure.filter.name,
        "dome": _Dome.OPEN,
        "duration": exposure.end_readout - exposure.start_integration + _STARTS_BEFORE_S,
        "nimages": exposure.images_in_sequence,
        "instrument": "LSSTCam",
        "survey": exposure.program,
        "totalCheckpoints": 2,
    }


def _current_target(exposure: Exposure, instant: TaiSeconds, sky: Sky) -> Fields:
    aim = exposure.aim
    if isinstance(aim, ParkAim):
        return {
            "timestamp": instant,
            "targetType": _TargetType.AZEL,
            "targetName": aim.name,
            "frame": _Frame.AZEL,
            "azDegs": aim.azimuth_deg,
            "elDegs": aim.elevation_deg,
            "rotAngle": aim.rotator_deg,
        }
    return {
        **_radec_target(aim, sky.horizontal(aim.ra_deg, aim.dec_deg, instant).elevation_deg),
        "timestamp": instant,
    }


def _radec_target(aim: SkyAim, elevation_deg: Array) -> Fields:
    return {
        "targetType": _TargetType.RADEC,
        "targetName": aim.name,
        "ra": math.radians(aim.ra_deg),
        "declination": math.radians(aim.dec_deg),
        "frame": _Frame.ICRS,
        "elDegs": float(elevation_deg),
        "equinox": 2000.0,
        "epoch": 2000.0,
        "raString": sexagesimal(aim.ra_deg / 15.0),
        "decString": sexagesimal(aim.dec_deg),
        "rotPA": aim.sky_angle_deg,
        "rotAngle": aim.sky_angle_deg,
        "raHours": aim.ra_deg / 15.0,
        "decDegs": aim.dec_deg,
    }


def sexagesimal(value: float) -> str:
    """Write hours or degrees as `[-]DD:MM:SS.sss`."""
    thousandths = round(abs(value) * 3_600_000)
    minutes, rest = divmod(thousandths, 60_000)
    whole, minutes = divmod(minutes, 60)
    return f"{'-' if value < 0 else ''}{whole:02d}:{minutes:02d}:{rest / 1000:06.3f}"
