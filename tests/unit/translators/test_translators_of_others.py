"""astro-metadata-translator's own translators through `translate`, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from astropy.coordinates import EarthLocation
from astropy.coordinates.errors import UnknownSiteException

from translators.errors import TranslationError
from translators.offline import offline
from translators.translate import observation_info, translate

Cards = dict[str, Any]

DECAM: Cards = {
    "INSTRUME": "DECam",
    "TELESCOP": "CTIO 4.0-m telescope",
    "OBSID": "ct4m20130901t060255",
    "EXPNUM": 229388,
    "DATE-OBS": "2013-09-01T06:02:55.754",
    "TIMESYS": "UTC",
    "EXPTIME": 200.0,
    "EXPREQ": 200.0,
    "DARKTIME": 201.1,
    "FILTER": "z DECam SDSS c0004 9260.0 1520.0",
    "OBSTYPE": "object",
    "OBJECT": "DES supernova hex",
    "PROPID": "2012B-0001",
    "CCDNUM": 25,
    "DETECTOR": "S3-119_123194-11-3",
    "DETPOS": "S1",
    "RADESYS": "FK5",
    "TELRA": "02:51:16.790",
    "TELDEC": "-00:00:05.699",
    "ZD": 61.15,
    "AZ": 66.43,
    "AIRMASS": 2.03,
    "TELFOCUS": "1.0,2.0,3.0,4.0,5.0,6.0",
}
"""Without OBS-LONG, so that the site is asked for by name."""
HSC: Cards = {
    "INSTRUME": "Hyper Suprime-Cam",
    "TELESCOP": "Subaru",
    "EXP-ID": "HSCE00090440",
    "FRAMEID": "HSCA09044000",
    "DATE-OBS": "2016-11-23",
    "UT": "11:52:07.0",
    "UT-STR": "11:52:07.0",
    "UT-END": "11:52:37.0",
    "MJD": 57715.49,
    "EXPTIME": 30.0,
    "FILTER01": "HSC-R",
    "DATA-TYP": "OBJECT",
    "OBJECT": "STRIPE82",
    "PROP-ID": "o16214",
    "DET-ID": 50,
    "T_CCDSN": "120",
    "DETECTOR": "x",
    "RA2000": "21:22:08.000",
    "DEC2000": "+01:12:16.00",
    "ALTITUDE": 60.0,
    "AZIMUTH": 230.0,
    "AIRMASS": 1.15,
    "OUT-HUM": 31.0,
    "OUT-TMP": 272.0,
    "OUT-PRS": 621.0,
    "INST-PA": 270.0,
    "FOC-VAL": 3.7,
}
MEGAPRIME: Cards = {
    "INSTRUME": "MegaPrime",
    "TELESCOP": "CFHT 3.6m",
    "OBSID": 849375,
    "EXPNUM": 849375,
    "DATE-OBS": "2005-12-27",
    "UTC-OBS": "05:30:26.10",
    "UTCEND": "05:40:26.10",
    "EXPTIME": 600.0,
    "EXPREQ": 600.0,
    "DARKTIME": 600.0,
    "FILTER": "i.MP9701",
    "OBSTYPE": "OBJECT",
    "OBJECT": "D3",
    "RUNID": "05BL05",
    "EXTNAME": "ccd05",
    "CCDNAME": "834175",
    "RADECSYS": "FK5",
    "RA_DEG": 214.88,
    "DEC_DEG": 52.68,
    "TELALT": 47.3,
    "TELAZ": 44.8,
    "RELHUMID": 39.8,
    "TEMPERAT": 0.9,
    "PRESSURE": 617.65,
    "AIRMASS": 1.27,
}
SDSS: Cards = {
    "ORIGIN": "SDSS",
    "TELESCOP": "2.5m",
    "CCDMODE": "DRIFT",
    "RUN": 1140,
    "CAMCOL": 6,
    "FRAME": 300,
    "FILTER": "r",
    "CCDLOC": 16,
    "DATE-OBS": "2000-01-02",
    "TAIHMS": "05:16:04.43",
    "EXPTIME": 53.9,
    "FLAVOR": "science",
    "OBJECT": "82 N",
    "RADECSYS": "ICRS",
    "RA": 16.1,
    "DEC": 1.2,
    "AZ": 33.2,
    "ALT": 58.3,
}
SUPRIMECAM: Cards = {
    "INSTRUME": "SuprimeCam",
    "TELESCOP": "SUBARU",
    "EXP-ID": "SUPE01535500",
    "FRAMEID": "SUPA01535500",
    "DATE-OBS": "2013-02-10",
    "UT-STR": "12:52:31.0",
    "UT-END": "12:54:01.0",
    "MJD": 56333.5,
    "EXPTIME": 90.0,
    "FILTER01": "W-C-RC",
    "DATA-TYP": "OBJECT",
    "OBJECT": "ACTJ0022M0036",
    "PROP-ID": "o12221",
    "DET-ID": 3,
    "DETECTOR": "san",
    "RA2000": "00:22:13.000",
    "DEC2000": "-00:36:33.84",
    "ALTITUDE": 60.0,
    "AZIMUTH": 230.0,
    "AIRMASS": 1.15,
    "OUT-HUM": 31.0,
    "OUT-TMP": 272.0,
    "OUT-PRS": 621.0,
    "INR-STR": 10.0,
}

HEADERS = {
    "DECam": (DECAM, ("DECam", 229388, 25, "S1", "science")),
    "HSC": (HSC, ("HSC", 90440, 50, "1_12", "science")),
    "MegaPrime": (MEGAPRIME, ("MegaPrime", 849375, 5, "ccd05", "science")),
    "SDSS": (SDSS, ("Imager on SDSS 2.5m", 1140, 29, "r6", "science")),
    "SuprimeCam": (SUPRIMECAM, ("SuprimeCam", 153550, 3, "sophie", "science")),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_of_another_observatory_is_translated(name: str) -> None:
    cards, (instrument, exposure_id, detector, detector_name, kind) = HEADERS[name]
    before = dict(cards)

    translation = translate(cards, file_name="image.fits")

    identity = translation.identity
    assert (identity.instrument, identity.exposure_id) == (instrument, exposure_id)
    assert (identity.detector, identity.detector_name) == (detector, detector_name)
    assert identity.run == f"{instrument}/raw/all"
    assert translation.translator == name
    assert translation.observation is not None
    assert translation.observation["observation_type"] == kind
    assert translation.findings == ()
    assert observation_info(translation).tracking_radec is not None
    assert cards == before


def test_correction_that_is_shipped_with_the_translator_counts() -> None:
    exposure = min(_shipped_corrections("HSC"))
    wrong = {"EXP-ID": exposure, "FRAMEID": exposure, "DATA-TYP": "FLAT"}

    kinds = [
        (translate(HSC | cards, file_name="image.fits").observation or {})["observation_type"]
        for cards in (wrong, {"DATA-TYP": "FLAT"})
    ]

    assert kinds == ["science", "flat"]


def _shipped_corrections(instrument: str) -> set[str]:
    folder = resources.files("astro_metadata_translator") / "corrections" / instrument
    prefix = f"{instrument}-"
    return {
        entry.name.removeprefix(prefix).removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.startswith(prefix)
    }


def test_header_that_lacks_what_is_needed_is_refused_with_the_reason() -> None:
    cards = {key: value for key, value in DECAM.items() if key not in {"EXPNUM", "CCDNUM"}}

    with pytest.raises(TranslationError) as caught:
        translate(cards, file_name="image.fits")

    assert "exposure_id" in str(caught.value)
    assert "detector_num" in str(caught.value)


def test_observatories_are_not_looked_up_by_name_meanwhile() -> None:
    before = EarthLocation._site_registry
    with offline(), pytest.raises(UnknownSiteException):
        EarthLocation.of_site("apo")
    assert EarthLocation._site_registry is before


def test_nothing_reaches_for_the_network_in_a_process_of_its_own() -> None:
    headers = json.dumps([cards for cards, _ in HEADERS.values()])
    simulated = {
        "TESTTYPE": "IMSIM",
        "OBSID": 182,
        "RAFTNAME": "R22",
        "SENSNAME": "S11",
        "FILTER": "r",
        "IMGTYPE": "SKYEXP",
        "MJD-OBS": 64328.2,
        "EXPTIME": 30.0,
        "RADESYS": "ICRS",
        "RATEL": 60.0,
        "DECTEL": -30.0,
        "ROTANGLE": 10.0,
    }
    code = f"""
        import json, socket, urllib.request
        tries = []
        def refuse(*arguments, **_):
            tries.append(arguments)
            raise OSError("no network here")
        socket.socket.connect = refuse
        socket.getaddrinfo = refuse
        socket.create_connection = refuse
        urllib.request.urlopen = refuse
        from translators.translate import observation_info, translate
        headers = json.loads({headers!r}) + [json.loads({json.dumps(simulated)!r})]
        done = [translate(cards, file_name="image.fits") for cards in headers]
        for each in done:
            info = observation_info(each)
            info.tracking_radec.icrs, info.altaz_begin.alt
        print(tries, len(done))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin", "PYTHONPATH": _path()},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "6"]


def _path() -> str:
    return str(Path(__file__).parents[3])
