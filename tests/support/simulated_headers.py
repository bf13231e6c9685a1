"""Headers of a simulated night, with a pointing that is true: what the camera would write."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from daemons.simulators.camera_events import end_of_image_telemetry
from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.fits_primary import camera_values, primary_cards
from daemons.simulators.fits_writer import RenderedFile, file_stem, render
from daemons.simulators.focal_plane import sensors
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.image import Image
from daemons.simulators.night import Exposure, ImageType, Night, NightSpec, night_start, plan_night
from daemons.simulators.pointing import Track
from translators.fits.cards import parse_header
from translators.inspection import CardValue

DAY_OBS = 20261103

_FIXED: dict[str, CardValue] = {
    "OBS-LONG": -70.749417,
    "OBS-LAT": -30.244639,
    "OBS-ELEV": 2663.0,
    "OBSGEO-X": 1818938.94,
    "OBSGEO-Y": -5208470.95,
    "OBSGEO-Z": -3195172.08,
    "ROTCOORD": "sky",
    "RADESYS": "ICRS",
    "FOCUSZ": -0.75,
    "VIGNETTE": "NO",
    "VIGN_MIN": "NO",
    "AIRTEMP": 9.125,
    "PRESSURE": 74310.5,
    "HUMIDITY": 21.5,
    "WINDSPD": 4.25,
    "WINDDIR": 301.0,
    "SEEING": 0.875,
    "HEADVER": "0.1.0",
}


@lru_cache(maxsize=1)
def night() -> Night:
    """A night with calibrations and the sky."""
    return plan_night(NightSpec(DAY_OBS, exposures=16, seed=5, start=night_start(DAY_OBS)))


@lru_cache(maxsize=1)
def _track() -> Track:
    return Track(night())


def exposure_of(kind: ImageType) -> Exposure:
    """The last exposure of a kind in the night."""
    return [each for each in night().exposures if each.image_type is kind][-1]


def image_of(kind: ImageType) -> Image:
    """What the camera knows of it."""
    exposure = exposure_of(kind)
    return Image.from_event(end_of_image_telemetry(exposure), exposure.filter.name)


def header_document(kind: ImageType) -> HeaderDocument:
    """What a header service says of it: the mount's true angles at begin and end."""
    exposure = exposure_of(kind)
    times = np.array([exposure.start_integration, exposure.start_readout])
    seen = _track().at(times)
    values = dict(_FIXED)
    for index, when in enumerate(("START", "END")):
        values |= {
            f"RA{when}": float(seen.ra_deg[index]),
            f"DEC{when}": float(seen.dec_deg[index]),
            f"HA{when}": float(seen.hour_angle_h[index]),
            f"EL{when}": float(seen.elevation_deg[index]),
            f"AZ{when}": float(seen.azimuth_deg[index]),
            f"AM{when}": float(seen.airmass[index]),
            f"ROT{when}": float(seen.rotator_deg[index]),
        }
    values |= {"RA": values["RASTART"], "DEC": values["DECSTART"]}
    values |= {"ROTPA": float(seen.sky_angle_deg[0])}
    values |= {"TRACKSYS": "RADEC" if exposure.on_sky else "AZEL", "OBJECT": exposure.aim.name}
    return HeaderDocument({name: HeaderCard(value, "of a test") for name, value in values.items()})


def simulated_header(
    kind: ImageType = ImageType.OBJECT, sensor: str = "R22_S11"
) -> dict[str, CardValue]:
    """The cards of the primary header of one sensor's file."""
    chosen, image = sensors()[sensor], image_of(kind)
    name = f"{file_stem(image.obs_id, chosen)}.fits"
    document = header_document(kind).of(chosen.name.replace("_", ""))
    cards = primary_cards(camera_values(image, chosen, name), document)
    return dict(parse_header(b"".join(cards)).cards)


def simulated_file(
    folder: Path,
    kind: ImageType = ImageType.OBJECT,
    sensor: str = "R22_S11",
    *,
    header: HeaderDocument | None = None,
) -> Path:
    """Write the whole file of one sensor, with small amplifiers, and return its path."""
    document = header_document(kind) if header is None else header
    file: RenderedFile = render(
        image_of(kind), sensors()[sensor], document, BodyLibrary((24, 80)), most_stamps=3
    )
    path = folder / file.name
    path.write_bytes(b"".join(file.buffers))
    return path
