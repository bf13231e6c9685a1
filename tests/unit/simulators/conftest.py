"""A small night and a complete header, without a bus or a header service."""

from __future__ import annotations

import pytest

from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.night import Night, NightSpec, night_start, plan_night

DAY_OBS = 20261103
TINY = (24, 80)

_HEADER = {
    "OBS-LONG": -70.749417,
    "OBS-LAT": -30.244639,
    "OBS-ELEV": 2663.0,
    "OBSGEO-X": 1818938.94,
    "OBSGEO-Y": -5208470.95,
    "OBSGEO-Z": -3195172.08,
    "RA": 12.5,
    "DEC": -33.25,
    "RASTART": 12.50001,
    "DECSTART": -33.250002,
    "RAEND": 12.50002,
    "DECEND": -33.250001,
    "ROTPA": 211.5,
    "ROTCOORD": "sky",
    "HASTART": -1.25,
    "ELSTART": 71.25,
    "AZSTART": -104.5,
    "AMSTART": 1.056,
    "HAEND": -1.2416,
    "ELEND": 71.35,
    "AZEND": -104.6,
    "AMEND": 1.0555,
    "TRACKSYS": "RADEC",
    "RADESYS": "ICRS",
    "FOCUSZ": -0.75,
    "OBJECT": "O'Higgins field",
    "VIGNETTE": "NO",
    "VIGN_MIN": "NO",
    "OBSANNOT": "a field, deep",
    "TEMP_SET": -100.0,
    "AIRTEMP": 9.125,
    "PRESSURE": 74310.5,
    "HUMIDITY": 21.5,
    "WINDSPD": 4.25,
    "WINDDIR": 301.0,
    "SEEING": 0.875,
    "HEADVER": "0.1.0",
    "SIMULATE MTDOMETRAJECTORY": 1,
    "ROTSTART": 31.5,
}


@pytest.fixture(scope="session")
def night() -> Night:
    return plan_night(NightSpec(DAY_OBS, exposures=24, seed=5, start=night_start(DAY_OBS)))


@pytest.fixture
def header() -> HeaderDocument:
    """Everything that the layout of the camera's files takes from a header service."""
    primary = {keyword: HeaderCard(value, "of a test") for keyword, value in _HEADER.items()}
    return HeaderDocument(primary, {"R22S11": {"CCDTEMP": HeaderCard(-99.5, "[deg_C] of a test")}})


@pytest.fixture(scope="session")
def tiny_bodies() -> BodyLibrary:
    return BodyLibrary(TINY)


@pytest.fixture(scope="session")
def true_bodies() -> BodyLibrary:
    """Amplifiers of true size; each image takes a moment to compress."""
    return BodyLibrary()
