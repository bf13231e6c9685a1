"""Headers and files as the cameras write them, made with astropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

Cards = dict[str, Any]
SEGMENTS = [f"Segment1{n}" for n in range(8)] + [f"Segment0{n}" for n in reversed(range(8))]


def lsstcam_on_sky() -> Cards:
    """A header of an LSSTCam exposure of the sky, with what the header service writes."""
    return {
        "DATE": "2025-05-02T04:13:21.001",
        "MJD": 60797.17594908,
        "IMGTYPE": "OBJECT",
        "DATE-OBS": "2025-05-02T04:12:47.100",
        "MJD-OBS": 60797.1755451388,
        "OBSID": "MC_O_20250501_000123",
        "DATE-BEG": "2025-05-02T04:12:47.100",
        "MJD-BEG": 60797.1755451388,
        "DATE-END": "2025-05-02T04:13:17.600",
        "MJD-END": 60797.1758981481,
        "GROUPID": "2025-05-02T04:12:40.123",
        "TIMESYS": "TAI",
        "INSTRUME": "lsstCam",
        "TELESCOP": "Simonyi Survey Telescope",
        "OBSGEO-X": 1818938.94,
        "OBSGEO-Y": -5208470.95,
        "OBSGEO-Z": -3195172.08,
        "RA": 187.5,
        "DEC": 8.25,
        "RASTART": 187.501,
        "DECSTART": 8.251,
        "ROTPA": 33.25,
        "ROTCOORD": "sky",
        "ELSTART": 52.5,
        "AZSTART": 12.25,
        "AMSTART": 1.26,
        "ELEND": 52.6,
        "AZEND": 12.5,
        "TRACKSYS": "RADEC",
        "RADESYS": "ICRS",
        "FOCUSZ": 0.5,
        "OBJECT": "Virgo",
        "VIGN_MIN": "NO",
        "TESTTYPE": "OBJECT",
        "CONTRLLR": "O",
        "DAYOBS": "20250501",
        "SEQNUM": 123,
        "PROGRAM": "BLOCK-365",
        "REASON": "Survey",
        "CURINDEX": 1,
        "MAXINDEX": 2,
        "TSTAND": "TMAMCv1_SUM",
        "CCDSLOT": "S11",
        "RAFTBAY": "R22",
        "LSST_NUM": "E2V-CCD250-382",
        "FILTBAND": "r",
        "FILTER": "r_57",
        "EXPTIME": 30.0,
        "DARKTIME": 30.5,
        "SHUTTIME": 30.004,
        "AIRTEMP": 9.5,
        "PRESSURE": 74500.0,
        "HUMIDITY": 31.0,
        "SIMULATE MTMOUNT": 0,
    }


def lsstcam_laboratory() -> Cards:
    """A header of a flat on the test stand, 2021."""
    return {
        "RUNNUM": "13162",
        "TESTTYPE": "FLAT",
        "IMGTYPE": "FLAT",
        "EXPTIME": 7.5,
        "DATE": "2021-12-13T04:58:56.407",
        "DATE-OBS": "2021-12-13T04:58:56.398",
        "MJD-OBS": 59561.207597198896,
        "CCDSLOT": "S22",
        "RAFTBAY": "R22",
        "OBSID": "MC_C_20211212_000310",
        "CONTRLLR": "C",
        "DAYOBS": "20211212",
        "SEQNUM": 310,
        "INSTRUME": "lsstCam",
        "TELESCOP": "LSST",
        "TSTAND": "BOT",
        "LSST_NUM": "E2V-CCD250-370",
        "DARKTIME": 8.143,
        "FILTER": "SDSSi",
        "FILTER2": "empty",
    }


def latiss_on_sky() -> Cards:
    """A header of a LATISS exposure of the sky."""
    return lsstcam_on_sky() | {
        "INSTRUME": "LATISS",
        "TELESCOP": "LSST AuxTelescope",
        "OBSID": "AT_O_20250501_000123",
        "FILTER": "SDSSr_65mm",
        "GRATING": "empty_1",
        "LSST_NUM": "ITL-3800C-068",
        "RAFTBAY": "R00",
        "CCDSLOT": "S00",
    }


def guider() -> Cards:
    """A header of guider stamps: no times, nearly everything undefined."""
    return {
        "IMGTYPE": "UNKNOWN",
        "OBSID": "MC_O_20250501_000123",
        "INSTRUME": "lsstCam",
        "TELESCOP": "Simonyi Survey Telescope",
        "RA": None,
        "DEC": None,
        "CONTRLLR": "O",
        "DAYOBS": "20250501",
        "SEQNUM": 123,
        "CCDSLOT": "SG0",
        "RAFTBAY": "R00",
        "FILTPOS": "190.0",
        "N_STAMPS": 4,
    }


@pytest.fixture
def sky_header() -> Cards:
    return lsstcam_on_sky()


@pytest.fixture
def laboratory_header() -> Cards:
    return lsstcam_laboratory()


@pytest.fixture
def latiss_header() -> Cards:
    return latiss_on_sky()


@pytest.fixture
def guider_header() -> Cards:
    return guider()


def primary_hdu(cards: Mapping[str, Any]) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU()
    for keyword, value in cards.items():
        name = keyword if " " not in keyword else f"HIERARCH {keyword}"
        hdu.header.append(fits.Card(name, fits.card.UNDEFINED if value is None else value))
    return hdu


def raw_hdus(cards: Mapping[str, Any], *, amplifiers: int = 16) -> fits.HDUList:
    """Primary, compressed amplifiers, two tables of conditions without rows."""
    noise = np.random.default_rng(20250501)
    hdus = fits.HDUList([primary_hdu(cards)])
    for name in SEGMENTS[:amplifiers]:
        pixels = noise.integers(20_000, 30_000, size=(16, 64), dtype=np.int32)
        hdus.append(fits.CompImageHDU(pixels, name=name, compression_type="RICE_1"))
    for name in ("REB_COND", "CONFIG_COND"):
        table = fits.BinTableHDU(name=name)
        table.header["TEMP1"] = 9.875
        hdus.append(table)
    return hdus


WriteRaw = Callable[..., Path]


@pytest.fixture
def write_raw(tmp_path: Path) -> WriteRaw:
    """Write a raw and return its path."""

    def write(
        cards: Mapping[str, Any] | None = None,
        *,
        name: str = "MC_O_20250501_000123_R22_S11.fits",
        amplifiers: int = 16,
        checksum: bool = True,
    ) -> Path:
        path = tmp_path / name
        hdus = raw_hdus(lsstcam_on_sky() if cards is None else cards, amplifiers=amplifiers)
        hdus.writeto(path, checksum=checksum, overwrite=True)
        return path

    return write


@pytest.fixture
def write_stamps(tmp_path: Path) -> WriteRaw:
    """Write a file of guider stamps and return its path."""

    def write(stamps: int = 4, *, announced: int | None = None) -> Path:
        cards = guider() | {"N_STAMPS": stamps if announced is None else announced}
        hdus = fits.HDUList([primary_hdu(cards)])
        for number in range(stamps):
            pixels = np.full((10, 12), number, dtype=np.int32)
            stamp = fits.CompImageHDU(pixels, name="IMAGE")
            stamp.ver = number + 1
            hdus.append(stamp)
        path = tmp_path / "MC_O_20250501_000123_R00_SG0_guider.fits"
        hdus.writeto(path, checksum=True, overwrite=True)
        return path

    return write
