"""The primary header of the camera's files.

Each card has one owner. What the camera knows itself (the image, the sensor, the filter,
the shutter) it writes itself; the rest of the layout comes from the header service, and
is undefined where that has not answered. What the header service knows beyond the
layout is added at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from daemons.simulators.fits_cards import blank, card, section
from daemons.simulators.fits_segments import detector_size
from daemons.simulators.focal_plane import Sensor
from daemons.simulators.header_document import HeaderCard
from daemons.simulators.image import Image, iso, mjd
from translators.inspection import CardValue

Values = dict[str, CardValue]
"""Keyword (HIERARCH without the prefix) to value."""

_STRUCTURE = frozenset({"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM"})
_SHORT_KEYWORD = 8


class _Group(NamedTuple):
    """Cards that stand together."""

    title: str
    cards: tuple[tuple[str, str], ...]
    """Keyword and comment."""


_LAYOUT = (
    _Group(
        "Sensor",
        (
            ("BINX", "[pixel] binning along X"),
            ("BINY", "[pixel] binning along Y"),
            ("CCDGAIN", "[electron/adu] nominal gain"),
            ("CCDNOISE", "[electron] nominal read noise"),
            ("DETSIZE", "pixels of the detector"),
        ),
    ),
    _Group(
        "Date, night and image",
        (
            ("DATE", "when the file was made (UTC)"),
            ("MJD", "[d] DATE as modified Julian date"),
            ("IMGTYPE", "kind of image"),
            ("DATE-OBS", "begin of the observation"),
            ("MJD-OBS", "[d] begin of the observation"),
            ("DATE-TRG", "when the readout was triggered"),
            ("MJD-TRG", "[d] when the readout was triggered"),
            ("OBSID", "name of the exposure"),
            ("DATE-BEG", "begin of the integration"),
            ("MJD-BEG", "[d] begin of the integration"),
            ("DATE-END", "end of the observation"),
            ("MJD-END", "[d] end of the observation"),
            ("GROUPID", "exposures that belong together share it"),
            ("BUNIT", "unit of the pixels"),
            ("TIMESYS", "time scale of the dates"),
        ),
    ),
    _Group(
        "Telescope and site",
        (
            ("INSTRUME", "instrument"),
            ("TELESCOP", "telescope"),
            ("OBS-LONG", "[deg] longitude, east positive"),
            ("OBS-LAT", "[deg] latitude"),
            ("OBS-ELEV", "[m] height"),
            ("OBSGEO-X", "[m] geocentric X of the site"),
            ("OBSGEO-Y", "[m] geocentric Y of the site"),
            ("OBSGEO-Z", "[m] geocentric Z of the site"),
        ),
    ),
    _Group(
        "Pointing",
        (
            ("RA", "[deg] right ascension of the target"),
            ("DEC", "[deg] declination of the target"),
            ("RASTART", "[deg] right ascension of the mount at start"),
            ("DECSTART", "[deg] declination of the mount at start"),
            ("RAEND", "[deg] right ascension of the mount at end"),
            ("DECEND", "[deg] declination of the mount at end"),
            ("ROTPA", "[deg] position angle of the camera"),
            ("ROTCOORD", "coordinates of ROTPA"),
            ("HASTART", "[h] hour angle at start"),
            ("ELSTART", "[deg] elevation at start"),
            ("AZSTART", "[deg] azimuth at start"),
            ("AMSTART", "airmass at start"),
            ("HAEND", "[h] hour angle at end"),
            ("ELEND", "[deg] elevation at end"),
            ("AZEND", "[deg] azimuth at end"),
            ("AMEND", "airmass at end"),
            ("TRACKSYS", "what is tracked"),
            ("RADESYS", "frame of RA and DEC"),
            ("FOCUSZ", "[mm] focus of the camera hexapod"),
            ("OBJECT", "name of the target"),
            ("VIGNETTE", "most vignetted while integrating"),
            ("VIGN_MIN", "least vignetted while integrating"),
        ),
    ),
    _Group(
        "Name of the exposure",
        (
            ("TESTTYPE", "kind of test"),
            ("CAMCODE", "code of the camera"),
            ("CONTRLLR", "who took it: O control system, C camera"),
            ("DAYOBS", "observing day"),
            ("SEQNUM", "number of the exposure in the day"),
            ("PROGRAM", "programme"),
            ("REASON", "why it was taken"),
            ("CURINDEX", "place in its sequence, from 1"),
            ("MAXINDEX", "exposures in its sequence"),
            ("TSTAND", "test stand or site"),
        ),
    ),
    _Group(
        "Camera",
        (
            ("IMAGETAG", "id of the data acquisition, hexadecimal"),
            ("OBSANNOT", "annotation of the data acquisition"),
            ("CCD_MANU", "manufacturer of the CCD"),
            ("CCD_TYPE", "model of the CCD"),
            ("CCDSLOT", "slot in the raft"),
            ("RAFTBAY", "bay of the raft"),
            ("FIRMWARE", "firmware of the readout, hexadecimal"),
            ("PLATFORM", "platform of the data acquisition"),
            ("CONTNUM", "serial number of the readout board"),
            ("DAQVERS", "version of the data acquisition"),
            ("DAQPART", "partition of the data acquisition"),
            ("DAQFOLD", "folder of the data acquisition"),
            ("SEQFILE", "sequencer file"),
            ("SEQNAME", "sequencer file"),
            ("SEQCKSUM", "checksum of the sequencer file"),
            ("LSST_NUM", "the observatory's name of the CCD"),
            ("CCD_SERN", "serial number of the CCD's manufacturer"),
            ("REBNAME", "the observatory's name of the readout board"),
            ("RAFTNAME", "the observatory's name of the raft"),
            ("TEMP_SET", "[deg_C] temperature set for the CCD"),
            ("FPVERS", "version of the focal plane's software"),
            ("IHVERS", "version of the image handling"),
        ),
    ),
    _Group(
        "Filter",
        (
            ("FILTBAND", "band of the filter"),
            ("FILTER", "name of the filter"),
            ("FILTPOS", "[mm] measured position of the filter"),
            ("FILTSLOT", "slot of the filter"),
        ),
    ),
    _Group(
        "Exposure",
        (
            ("EXPTIME", "[s] exposure time as requested"),
            ("DARKTIME", "[s] from clearing to reading out"),
            ("SHUTTIME", "[s] time that the shutter was open"),
        ),
    ),
    _Group(
        "Weather",
        (
            ("AIRTEMP", "[deg_C] air temperature"),
            ("PRESSURE", "[Pa] air pressure"),
            ("HUMIDITY", "[%] relative humidity"),
            ("WINDSPD", "[m/s] speed of the wind"),
            ("WINDDIR", "[deg] direction of the wind"),
            ("SEEING", "[arcsec] seeing"),
        ),
    ),
    _Group("File", (("FILENAME", "name of the file"), ("HEADVER", "version of the header"))),
    _Group(
        "Shifted images",
        (
            ("STUTTER ROWS", "rows of a shift"),
            ("STUTTER DELAY", "[s] between two shifts"),
            ("STUTTER NSHIFTS", "number of shifts"),
        ),
    ),
)

_KNOWN = _STRUCTURE | {keyword for group in _LAYOUT for keyword, _ in group.cards}

GUIDER_ABSENT = frozenset(
    {"DATE-OBS", "MJD-OBS", "DATE-TRG", "MJD-TRG", "DATE-BEG", "MJD-BEG", "DATE-END", "MJD-END"}
    | {"EXPTIME", "DARKTIME", "SEQFILE", "SEQNAME", "SEQCKSUM", "GROUPID", "TESTTYPE"}
    | {"CURINDEX", "MAXINDEX"}
)
"""What a guider's file does not have."""


def camera_values(image: Image, sensor: Sensor, file_name: str) -> Values:
    """Return what the camera knows itself of a sensor's image."""
    begins, ends = iso(image.begins), iso(image.ends)
    return {
        **_sensor_values(sensor),
        **_filter_values(image),
        "DATE": iso(image.written_utc),
        "MJD": mjd(image.written_utc),
        "IMGTYPE": image.image_type.value,
        "DATE-OBS": begins,
        "MJD-OBS": mjd(image.begins),
        "DATE-TRG": ends,
        "MJD-TRG": mjd(image.ends),
        "OBSID": image.obs_id,
        "DATE-BEG": begins,
        "MJD-BEG": mjd(image.begins),
        "DATE-END": ends,
        "MJD-END": mjd(image.ends),
        "GROUPID": image.group_id,
        "BUNIT": "adu",
        "TIMESYS": "TAI",
        "INSTRUME": "lsstCam",
        "TELESCOP": "Simonyi Survey Telescope",
        "TESTTYPE": image.test_type,
        "CAMCODE": image.camera_code,
        "CONTRLLR": image.controller,
        "DAYOBS": image.day_obs,
        "SEQNUM": image.seq_num,
        "PROGRAM": image.program,
        "REASON": image.reason,
        "CURINDEX": image.image_index,
        "MAXINDEX": image.images_in_sequence,
        "TSTAND": "TMAMCv1_SUM",
        "IMAGETAG": image.image_tag,
        "EXPTIME": image.exposure_time_s,
        "DARKTIME": image.dark_time_s,
        "SHUTTIME": image.shutter_open_s,
        "FILENAME": file_name,
        "STUTTER ROWS": 0,
        "STUTTER DELAY": 0.0,
        "STUTTER NSHIFTS": 0,
    }


def _sensor_values(sensor: Sensor) -> Values:
    return {
        "BINX": 1,
        "BINY": 1,
        "CCDGAIN": 1.0,
        "CCDNOISE": 10.0,
        "DETSIZE": detector_size(sensor),
        "CCD_MANU": sensor.vendor,
        "CCD_TYPE": sensor.model,
        "CCDSLOT": sensor.slot,
        "RAFTBAY": sensor.raft,
        "FIRMWARE": "3139500a",
        "PLATFORM": "lsstcam",
        "CONTNUM": sensor.reb_serial,
        "DAQVERS": "R5-V11.3 simulated",
        "DAQPART": "camera",
        "DAQFOLD": "raw",
        "SEQFILE": sensor.sequencer,
        "SEQNAME": sensor.sequencer,
        "SEQCKSUM": sensor.sequencer_checksum,
        "LSST_NUM": sensor.lsst_name,
        "CCD_SERN": sensor.manufacturer_serial,
        "REBNAME": sensor.reb_name,
        "RAFTNAME": sensor.raft_name,
        "FPVERS": "1.2.8",
        "IHVERS": "1.1.6",
    }


def _filter_values(image: Image) -> Values:
    if image.filter is None:
        return {"FILTBAND": None, "FILTER": None, "FILTPOS": None, "FILTSLOT": None}
    return {
        "FILTBAND": image.filter.band,
        "FILTER": image.filter.name,
        "FILTPOS": image.filter.position_mm,
        "FILTSLOT": image.filter.slot,
    }


def primary_cards(
    own: Values, header: Mapping[str, HeaderCard], *, absent: frozenset[str] = frozenset()
) -> list[bytes]:
    """Return the cards of a primary header, without its checksums.

    Parameters
    ----------
    own
        What the camera knows itself.
    header
        What the header service says; empty where it has not answered.
    absent
        Keywords that this kind of file does not have.
    """
    cards = [
        card("SIMPLE", True, "conforms to the FITS standard"),
        card("BITPIX", 8, "bits of a data value"),
        card("NAXIS", 0, "number of axes"),
        card("EXTEND", True, "extensions may follow"),
    ]
    for group in _LAYOUT:
        cards += [blank(), section(group.title)]
        for keyword, comment in group.cards:
            if keyword not in absent:
                cards.append(_line(keyword, _value(keyword, own, header), comment))
    added = [each for each in header if each not in _KNOWN | absent | own.keys()]
    if added:
        cards += [blank(), section("More from the header service")]
        cards += [_line(each, header[each].value, header[each].comment) for each in added]
    return cards


def _value(keyword: str, own: Values, header: Mapping[str, HeaderCard]) -> CardValue:
    if keyword in own:
        return own[keyword]
    found = header.get(keyword)
    return None if found is None else found.value


def _line(keyword: str, value: CardValue, comment: str) -> bytes:
    long = len(keyword) > _SHORT_KEYWORD or " " in keyword
    return card(f"HIERARCH {keyword}" if long else keyword, value, comment)
