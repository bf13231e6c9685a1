"""The shipped definitions of every instrument, and an exposure of each through the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemons.bus.sal.dictionary import load_dictionary
from headerservice.describe import rows
from headerservice.loading import definitions_path, load_definitions, shipped_definitions
from headerservice.rules import Definitions, keywords_of
from tests.unit.headerservice.rig import SENSORS, Image, Rig, cards, state_events, topic

MakeRig = Callable[..., Rig]


def definitions_of(instrument: str, index: int = 0) -> Definitions:
    return load_definitions(definitions_path(instrument, index), load_dictionary())


LATISS_KEYWORDS = frozenset(
    """
    DATE-OBS DATE-BEG DATE-END OBSID CAMCODE CONTRLLR DAYOBS SEQNUM GROUPID IMGTYPE TESTTYPE
    REASON PROGRAM EMUIMAGE EXPTIME DARKTIME OBSANNOT SHUTTIME CURINDEX MAXINDEX IMAGETAG
    OBJECT RA DEC ROTPA RASTART DECSTART HASTART AMSTART ELSTART AZSTART RAEND DECEND HAEND
    AMEND ELEND AZEND FOCUSZ INSTPORT ATM3PORT TRACKSYS RADESYS DOMEAZ SHUTLOWR SHUTUPPR
    VIGNETTE VIGN_MIN FILTBAND FILTER FILTSLOT GRATING GRATBAND GRATSLOT LINSPOS AIRTEMP
    PRESSURE HUMIDITY WINDSPD WINDDIR SEEING CCD_MANU CCD_TYPE CCD_SERN LSST_NUM CCDSLOT
    RAFTBAY SEQCKSUM SEQNAME REBNAME CONTNUM OVERH OVERV PREH
    """.split()  # noqa: SIM905 - read as prose
) | {
    f"HIERARCH SIMULATE {name}"
    for name in ("ATMCS", "ATHEXAPOD", "ATPNEUMATICS", "ATDOME", "ATSPECTROGRAPH")
}
GENERIC_KEYWORDS = frozenset(
    """
    DATE-OBS DATE-BEG DATE-END OBSID CAMCODE CONTRLLR DAYOBS SEQNUM GROUPID IMGTYPE CAMMM
    DIAMETER FOCALLEN REASON PROGRAM CURINDEX MAXINDEX EXPTIME
    """.split()  # noqa: SIM905 - read as prose
)
TRACKER_KEYWORDS = (
    GENERIC_KEYWORDS
    | frozenset(
        """
    RA DEC ROTPA RASTART DECSTART HASTART AMSTART ELSTART AZSTART RAEND DECEND HAEND AMEND
    ELEND AZEND FOCUSZ TRACKSYS RADESYS APERTURE SECPIX
    """.split()  # noqa: SIM905 - read as prose
    )
    | {
        f"HIERARCH SIMULATE {name}"
        for name in (
            *("MTMOUNT", "MTM1M3", "MTM2", "CAMHEXAPOD", "M2HEXAPOD", "MTROTATOR", "MTDOME"),
            "MTDOMETRAJECTORY",
        )
    }
)


@pytest.mark.parametrize(
    "path", shipped_definitions(), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_every_shipped_file_agrees_with_the_dictionary(path: Path) -> None:
    definitions = load_definitions(path, load_dictionary())
    assert definitions.instrument == path.parent.name
    assert len(rows(definitions)) == len(list(keywords_of(definitions)))


def test_no_known_keyword_of_an_instrument_is_missing() -> None:
    lsstcam = set(keywords_of(definitions_of("LSSTCam")))
    comcam = set(keywords_of(definitions_of("LSSTComCam")))
    calibration = {name for name in lsstcam if name.startswith("HIERARCH CALIB")}
    assert comcam == lsstcam - calibration | {"OVERH", "OVERV", "PREH"}
    assert set(keywords_of(definitions_of("LATISS"))) >= LATISS_KEYWORDS
    assert set(keywords_of(definitions_of("GenericCamera"))) >= GENERIC_KEYWORDS
    for index in (101, 102, 103):
        tracker = definitions_of("GenericCamera", index)
        assert set(keywords_of(tracker)) >= TRACKER_KEYWORDS
        assert {each.index for each in tracker.events.roles} == {index}


def test_cameras_with_one_source_file_read_their_own_components() -> None:
    for instrument, component in (("LSSTCam", "MTCamera"), ("LSSTComCam", "CCCamera")):
        definitions = definitions_of(instrument)
        assert {topic.component for topic in definitions.events.roles} == {component}
    auxiliary = {topic.component for topic in definitions_of("LATISS").needed}
    assert not [name for name in auxiliary if name.startswith("MT")]
    assert definitions_of("GenericCamera", 7).events == definitions_of("GenericCamera").events


def test_an_event_that_comes_as_often_as_telemetry_is_read_like_telemetry() -> None:
    definitions = definitions_of("LATISS")
    target = topic("ATMCS.logevent_target")
    assert target in definitions.telemetry_topics
    assert target not in definitions.event_topics
    assert definitions.telemetry_topics | definitions.event_topics == set(definitions.needed)
    lsstcam = definitions_of("LSSTCam")
    assert all(each.is_event for each in lsstcam.event_topics)
    assert not any(each.is_event for each in lsstcam.telemetry_topics)


class Auxiliary:
    """The Auxiliary Telescope: its mount moves evenly, and is told in arrays."""

    def __init__(self, t0: float) -> None:
        self.t0 = t0
        self.azimuth_rate, self.ra_rate = 1.5, 0.3

    def azimuth(self, at: float) -> float:
        return (350.0 + self.azimuth_rate * (at - self.t0)) % 360.0

    def elevation(self, at: float) -> float:
        return 60.0 + 0.02 * (at - self.t0)

    def ra(self, at: float) -> float:
        return (150.0 + self.ra_rate * (at - self.t0)) % 360.0

    def telemetry(self, at: float) -> dict[str, dict[str, Any]]:
        """Return what is sent a second later, and was measured from an instant on."""
        times = [at + place * 0.01 for place in range(100)]
        return {
            "ATPtg.mountPositions": {
                "cRioTimestamp": at,
                "azimuthCalculatedAngle": [self.azimuth(time) for time in times],
                "elevationCalculatedAngle": [self.elevation(time) for time in times],
                "nasmythCalculatedAngle": [0.0] * 100,
                "ra": [self.ra(time) for time in times],
                "declination": [-30.0] * 100,
                "skyAngle": [12.5] * 100,
            },
            "ATPtg.currentTargetStatus": {"timestamp": at, "ha": -1.0, "airmass": 1.2},
            "ATDome.position": {
                "azimuthPosition": 350.0,
                "dropoutDoorOpeningPercentage": 100.0,
                "mainDoorOpeningPercentage": 99.5,
            },
            "ATMCS.logevent_target": {"taiTime": at, "tracksys": "SIDEREAL", "radesys": "ICRS"},
        }

    def state(self, at: float) -> dict[str, dict[str, Any]]:
        target = state_events(at)["MTPtg.logevent_currentTarget"]
        return {
            "ATPtg.logevent_currentTarget": {**target, "targetName": "HD 185975"},
            "ATDomeTrajectory.logevent_telescopeVignetted": {"vignetted": 1},
            "ATAOS.logevent_focusOffsetSummary": {"userApplied": 0.25},
            "ATMCS.logevent_m3PortSelected": {"selected": 2},
            "ATSpectrograph.logevent_settingsAppliedValues": {"instrumentPort": 1},
            "ATSpectrograph.logevent_reportedFilterPosition": {
                "slot": 1,
                "name": "SDSSr_65mm",
                "band": "r",
            },
            "ATSpectrograph.logevent_reportedDisperserPosition": {
                "slot": 2,
                "name": "holo4_003",
                "band": "holo",
            },
            "ATSpectrograph.logevent_reportedLinearStagePosition": {"position": 67.0},
            "ATCamera.logevent_focalPlaneSummaryInfo": {
                "ccdLocation": "R00S00",
                "raftBay": "R00",
                "ccdSlot": "S00",
                "ccdLSSTName": "ITL-3800C-068",
                "ccdManufacturer": "ITL",
                "ccdType": 1,
                "ccdManSerNum": "20862",
                "sequencerKey": "FP_ITL_2s_ir2_v25.seq",
                "sequencerChecksum": "1234",
                "rebLSSTName": "LCA-1",
                "rebSerialNumber": "189216ee",
            },
            "ATMCS.logevent_simulationMode": {"mode": 0},
        }


async def test_an_exposure_of_latiss_has_the_mount_at_the_instant_out_of_arrays(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(instrument="LATISS", component="ATHeaderService")
    name = "AT_O_20251121_000042"
    image = Image(name, rig.t0 + 0.437)
    telescope = Auxiliary(rig.t0)
    async with rig.running():
        await rig.say_all(telescope.state(rig.t0 - 5), at=rig.t0 - 5)
        for second in range(-3, 0):
            await rig.say_all(telescope.telemetry(rig.t0 + second), at=rig.t0 + second + 1)
        await rig.say("ATCamera.logevent_startIntegration", image.start_fields(), at=image.start)
        for second in range(int(image.exposure_time) + 3):
            await rig.say_all(telescope.telemetry(rig.t0 + second), at=rig.t0 + second + 1)
        await rig.say("ATCamera.logevent_startReadout", image.readout_fields(), at=image.readout)
        readout = {
            "imageName": name,
            "ccdLocation": "R00S00",
            "overCols": 64,
            "overRows": 48,
            "preCols": 10,
            "daqAnnotation": "note",
        }
        await rig.say("ATCamera.logevent_imageReadoutParameters", readout)
        await rig.say("ATCamera.logevent_endOfImageTelemetry", image.end_fields(), at=image.end)
        header = await rig.header_of(name)
    assert (header["HDRSTAT"], header["HDRNMISS"]) == ("complete", 0)
    # 20 ms of a mount that moves by 1.5 degrees a second; one element of an array is 10 ms.
    for keyword, found in (("AZSTART", telescope.azimuth), ("RASTART", telescope.ra)):
        rate = telescope.azimuth_rate if keyword == "AZSTART" else telescope.ra_rate
        assert header[keyword] == pytest.approx(found(image.start), abs=0.02 * rate / 100)
    assert header["AZEND"] == pytest.approx(telescope.azimuth(image.readout), abs=3e-4)
    assert header["ELEND"] == pytest.approx(telescope.elevation(image.readout), abs=1e-5)
    assert (header["TRACKSYS"], header["RADESYS"]) == ("SIDEREAL", "ICRS")
    assert (header["FILTER"], header["GRATING"], header["LINSPOS"]) == (
        *("SDSSr_65mm", "holo4_003"),
        67.0,
    )
    assert header["OBSGEO-Z"] < 0
    assert header["SHUTUPPR"] == 99.5
    sensor = cards(rig.stored(name), "R00S00_PRIMARY")
    assert (sensor["OVERH"], sensor["OVERV"], sensor["PREH"]) == (64, 48, 10)
    assert (sensor["CCD_TYPE"], sensor["DETSIZE"]) == (1, "[1:4072,1:4000]")


async def test_an_exposure_of_comcam_has_its_sensors_with_their_overscan(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(instrument="LSSTComCam", component="CCHeaderService")
    name = "CC_O_20241108_000007"
    image = Image(name, rig.t0)
    own = {
        key.replace("MTCamera.", "CCCamera."): fields
        for key, fields in state_events(rig.t0 - 1).items()
    }
    own["CCCamera.logevent_focalPlaneSummaryInfo"] |= {
        "ccdType": [1] * 9,
        "ccdTempSetPoint": [-100.0] * 9,
    }
    readout = {
        "imageName": name,
        "ccdLocation": ":".join(reversed(SENSORS)),
        "overCols": [1, 2, 3] + [0] * 6,
    }
    async with rig.running():
        await rig.say_all(own, at=rig.t0 - 1)
        await rig.say_all(rig.sky.slow(rig.t0 - 1), at=rig.t0 - 1)
        await rig.point(rig.t0 - 1, image.end)
        await rig.say("CCCamera.logevent_startIntegration", image.start_fields(), at=image.start)
        await rig.say("CCCamera.logevent_startReadout", image.readout_fields(), at=image.readout)
        await rig.say("CCCamera.logevent_imageReadoutParameters", readout)
        await rig.say("CCCamera.logevent_endOfImageTelemetry", image.end_fields(), at=image.end)
        header = await rig.header_of(name)
    assert header["INSTRUME"] == "LSSTComCam"
    assert header["HDRSTAT"] == "complete"
    found = [cards(rig.stored(name), f"{sensor}_PRIMARY")["OVERH"] for sensor in SENSORS]
    assert found == [3, 2, 1]


def generic(image: Image) -> dict[str, Any]:
    """Return what the events of a generic camera's image share."""
    fields = image.fields()
    keys = "imageType:groupId:reason:program:aperture:diameter:focalLength:plateScale"
    values = r"OBJECT:2025-11-21T23\:59\:01:all sky:SITCOM-1:2.8:0:24.0:45.5"
    return {**fields, "additionalKeys": keys, "additionalValues": values}


async def test_an_exposure_of_a_generic_camera_is_whole_when_its_readout_begins(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(instrument="GenericCamera", component="GCHeaderService", index=1)
    name = "GC1_O_20251121_000009"
    image = Image(name, rig.t0)
    fields = generic(image)
    async with rig.running():
        info = {"cameraMakeAndModel": "Canon EOS 5D", "iso": "800"}
        await rig.say("GenericCamera:1.logevent_cameraInfo", info, at=rig.t0 - 5)
        await rig.say("GenericCamera:1.logevent_startIntegration", fields, at=image.start)
        await rig.say(
            "GenericCamera:1.logevent_startReadout",
            {**fields, "timestampStartOfReadout": image.readout},
            at=image.readout,
        )
        header = await rig.header_of(name)
    (event,) = rig.final(name)
    assert event.status == "complete"
    assert rig.counter("arriero_header_findings_total", code="exposure.no_readout") == 0
    assert (header["CAMMM"], header["APERTURE"], header["FOCALLEN"]) == ("Canon EOS 5D", 2.8, 24.0)
    assert header["DIAMETER"] is None
    assert header["IMGTYPE"] == "OBJECT"
    assert header["MJD-END"] - header["MJD-BEG"] == pytest.approx(
        (image.readout - image.start) / 86400, abs=1e-9
    )
    assert list(rig.stored(name)) == ["PRIMARY"]


async def test_a_star_tracker_has_the_pointing_of_its_telescope(make_rig: MakeRig) -> None:
    rig = make_rig(instrument="GenericCamera", component="GCHeaderService", index=102)
    name = "GC102_O_20251121_000009"
    image = Image(name, rig.t0)
    fields = generic(image)
    async with rig.running():
        await rig.set_the_scene(rig.t0 - 1)
        await rig.point(rig.t0 - 1, image.readout + 1)
        # Another camera of the same kind is none of its business.
        await rig.say("GenericCamera:101.logevent_startIntegration", fields, at=image.start)
        await rig.say("GenericCamera:102.logevent_startIntegration", fields, at=image.start)
        await rig.say(
            "GenericCamera:102.logevent_startReadout",
            {**fields, "timestampStartOfReadout": image.readout},
            at=image.readout,
        )
        header = await rig.header_of(name)
    assert header["HDRSTAT"] == "complete"
    assert header["INSTRUME"] == "StarTracker"
    assert header["RASTART"] == pytest.approx(rig.sky.ra, abs=1e-6)
    assert len(rig.final(name)) == 1
