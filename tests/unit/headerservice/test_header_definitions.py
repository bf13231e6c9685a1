from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from daemons.bus.sal.dictionary import load_dictionary
from daemons.runtime.errors import SettingsError
from headerservice.loading import definitions_path, load_definitions
from headerservice.rules import Definitions, keywords_of
from translators.resources import config_root

# The keywords that readers of LSSTCam headers know: source, and the instant at which it is wanted
# (S start of integration, R start of readout, E end).
KNOWN = {
    "DATE-OBS": ("MTCamera.logevent_endOfImageTelemetry.timestampDateObs", "E"),
    "DATE-BEG": ("MTCamera.logevent_endOfImageTelemetry.timestampDateObs", "E"),
    "DATE-END": ("MTCamera.logevent_endOfImageTelemetry.timestampDateEnd", "E"),
    "OBSID": ("MTCamera.logevent_startIntegration.imageName", "S"),
    "CAMCODE": ("MTCamera.logevent_startIntegration.imageSource", "S"),
    "CONTRLLR": ("MTCamera.logevent_startIntegration.imageController", "S"),
    "DAYOBS": ("MTCamera.logevent_startIntegration.imageDate", "S"),
    "SEQNUM": ("MTCamera.logevent_startIntegration.imageNumber", "S"),
    "GROUPID": ("MTCamera.logevent_startIntegration.additionalValues", "S"),
    "IMGTYPE": ("MTCamera.logevent_startIntegration.additionalValues", "S"),
    "TESTTYPE": ("MTCamera.logevent_startIntegration.additionalValues", "S"),
    "REASON": ("MTCamera.logevent_startIntegration.additionalValues", "S"),
    "PROGRAM": ("MTCamera.logevent_startIntegration.additionalValues", "S"),
    "EMUIMAGE": ("MTCamera.logevent_endOfImageTelemetry.emulatedImage", "E"),
    "EXPTIME": ("MTCamera.logevent_startIntegration.exposureTime", "S"),
    "DARKTIME": ("MTCamera.logevent_endOfImageTelemetry.darkTime", "E"),
    "OBSANNOT": ("MTCamera.logevent_imageReadoutParameters.daqAnnotation", "E"),
    "SHUTTIME": ("MTCamera.logevent_endOfImageTelemetry.measuredShutterOpenTime", "E"),
    "CURINDEX": ("MTCamera.logevent_startIntegration.imageIndex", "S"),
    "MAXINDEX": ("MTCamera.logevent_startIntegration.imagesInSequence", "S"),
    "IMAGETAG": ("MTCamera.logevent_endOfImageTelemetry.imageTag", "E"),
    "OBJECT": ("MTPtg.logevent_currentTarget.targetName", "S"),
    "RA": ("MTPtg.logevent_currentTarget.ra", "S"),
    "DEC": ("MTPtg.logevent_currentTarget.declination", "S"),
    "ROTPA": ("MTPtg.mountPosition.skyAngle", "S"),
    "RASTART": ("MTPtg.mountPosition.ra", "S"),
    "DECSTART": ("MTPtg.mountPosition.declination", "S"),
    "HASTART": ("MTPtg.currentTargetStatus.ha", "S"),
    "AMSTART": ("MTPtg.currentTargetStatus.airmass", "S"),
    "ELSTART": ("MTMount.elevation.actualPosition", "S"),
    "AZSTART": ("MTMount.azimuth.actualPosition", "S"),
    "RAEND": ("MTPtg.mountPosition.ra", "R"),
    "DECEND": ("MTPtg.mountPosition.declination", "R"),
    "HAEND": ("MTPtg.currentTargetStatus.ha", "R"),
    "AMEND": ("MTPtg.currentTargetStatus.airmass", "R"),
    "ELEND": ("MTMount.elevation.actualPosition", "R"),
    "AZEND": ("MTMount.azimuth.actualPosition", "R"),
    "FOCUSZ": ("MTHexapod:1.application.demand", "S"),
    "TRACKSYS": ("MTPtg.logevent_currentTarget.targetType", "S"),
    "RADESYS": ("MTPtg.logevent_currentTarget.frame", "S"),
    "VIGNETTE": ("MTDomeTrajectory.logevent_telescopeVignetted.vignetted", "S"),
    "VIGN_MIN": ("MTDomeTrajectory.logevent_telescopeVignetted.vignetted", "S"),
    "ROTSTART": ("MTRotator.rotation.actualPosition", "S"),
    "ROTEND": ("MTRotator.rotation.actualPosition", "R"),
    "FILTBAND": ("MTCamera.logevent_endSetFilter.filterType", "S"),
    "FILTER": ("MTCamera.logevent_endSetFilter.filterName", "S"),
    "FILTSLOT": ("MTCamera.logevent_endSetFilter.filterSlot", "S"),
    "FILTPOS": ("MTCamera.logevent_endSetFilter.filterPosition", "S"),
    "AIRTEMP": ("ESS:301.temperature.temperatureItem", "S"),
    "PRESSURE": ("ESS:301.pressure.pressureItem", "S"),
    "HUMIDITY": ("ESS:301.relativeHumidity.relativeHumidityItem", "S"),
    "WINDSPD": ("ESS:301.airFlow.speed", "S"),
    "WINDDIR": ("ESS:301.airFlow.direction", "S"),
    "SEEING": ("DIMM:1.logevent_dimmMeasurement.fwhm", "S"),
    "HIERARCH SIMULATE MTMOUNT": ("MTMount.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE MTM1M3": ("MTM1M3.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE MTM2": ("MTM2.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE CAMHEXAPOD": ("MTHexapod:1.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE M2HEXAPOD": ("MTHexapod:2.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE MTROTATOR": ("MTRotator.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE MTDOME": ("MTDome.logevent_simulationMode.mode", "S"),
    "HIERARCH SIMULATE MTDOMETRAJECTORY": ("MTDomeTrajectory.logevent_simulationMode.mode", "S"),
}
PER_SENSOR = {
    "CCD_MANU": "ccdManufacturer",
    "CCD_TYPE": "ccdType",
    "CCD_SERN": "ccdManSerNum",
    "LSST_NUM": "ccdLSSTName",
    "CCDSLOT": "ccdSlot",
    "RAFTBAY": "raftBay",
    "SEQCKSUM": "sequencerChecksum",
    "SEQNAME": "sequencerKey",
    "REBNAME": "rebLSSTName",
    "CONTNUM": "rebSerialNumber",
    "TEMP_SET": "ccdTempSetPoint",
}
CALIBRATION = {
    "HIERARCH CALIB LASER_WAVE": "TunableLaser.logevent_wavelengthChanged.wavelength",
    "HIERARCH CALIB LASER_MODE": "TunableLaser.logevent_detailedState.detailedState",
    "HIERARCH CALIB LED_NAMES": "LEDProjector.logevent_ledsOn.serialNumbers",
    "HIERARCH CALIB LED_LEVELS": "LEDProjector.logevent_ledsOn.dacValues",
}
INSTANTS = {"S": {"start_of_integration", "over_exposure"}, "R": {"start_of_readout"}}
# What the camera's image writers take over from a header, all of it.
MERGED_BY_CAMERA = frozenset(
    """
    OBS-LONG OBS-LAT OBS-ELEV OBSGEO-X OBSGEO-Y OBSGEO-Z RA DEC RASTART DECSTART RAEND DECEND
    ROTPA ROTCOORD HASTART ELSTART AZSTART AMSTART HAEND ELEND AZEND AMEND TRACKSYS RADESYS
    FOCUSZ OBJECT VIGNETTE VIGN_MIN BUNIT AIRTEMP PRESSURE HUMIDITY WINDSPD WINDDIR SEEING
    TIMESYS FILTBAND FILTER FILTPOS FILTSLOT SHUTTIME
    """.split()  # noqa: SIM905 - read as prose
)


def test_lsstcam_has_every_known_keyword_from_its_known_source(definitions: Definitions) -> None:
    rules = {rule.keyword: rule for rule in definitions.rules}
    assert len(KNOWN) + len(PER_SENSOR) == 73
    for keyword, (source, when) in KNOWN.items():
        assert str(rules[keyword].sources[0]) == source, keyword
        assert when == "E" or rules[keyword].at in INSTANTS[when], keyword
    assert definitions.sensors is not None
    sensors = {rule.keyword: rule.field for rule in definitions.sensors.rules}
    assert {key: sensors[key] for key in PER_SENSOR} == PER_SENSOR


def test_lsstcam_has_the_calibration_light_and_what_image_writers_take_over(
    definitions: Definitions,
) -> None:
    rules = {rule.keyword: rule for rule in definitions.rules}
    assert {key: str(rules[key].sources[0]) for key in CALIBRATION} == CALIBRATION
    assert set(keywords_of(definitions)) >= MERGED_BY_CAMERA


def test_factors_follow_from_the_declared_units(definitions: Definitions) -> None:
    rules = {rule.keyword: rule for rule in definitions.rules}
    assert rules["RA"].reading.scale == pytest.approx(57.29577951308232, rel=1e-15)
    assert rules["FOCUSZ"].reading.scale == pytest.approx(1e-3)
    assert rules["RASTART"].reading.scale == 1.0
    assert rules["HASTART"].reading.period == 24.0
    assert rules["RASTART"].reading.period == 360.0
    assert rules["RA"].comment.startswith("[deg] ")


def test_only_the_topics_that_are_needed_are_read(definitions: Definitions) -> None:
    # The ten that the known keywords need, and the dome, against which vignetting is checked.
    assert len(definitions.telemetry_topics) == 12
    components = {topic.component for topic in definitions.needed}
    assert components == {
        *("MTCamera", "MTPtg", "MTMount", "MTRotator", "MTHexapod", "MTDomeTrajectory", "ESS"),
        *("DIMM", "MTM1M3", "MTM2", "MTDome", "TunableLaser", "LEDProjector"),
    }


def copied(tmp_path: Path) -> Path:
    """Return a copy of LSSTCam's definitions, with what they extend beside them."""
    shutil.copytree(config_root() / "instruments/common", tmp_path / "common")
    return Path(shutil.copy(definitions_path("LSSTCam"), tmp_path / "keywords.yaml"))


def changed(tmp_path: Path, before: str, after: str) -> Path:
    """Return a copy of LSSTCam's definitions with one change in the first file that has it."""
    path = copied(tmp_path)
    for each in (path, *sorted((tmp_path / "common").iterdir())):
        text = each.read_text(encoding="utf-8")
        if before in text:
            each.write_text(text.replace(before, after, 1), encoding="utf-8")
            return path
    raise AssertionError(f"no file has {before!r}")


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_definitions(path, load_dictionary())
    return caught.value.problems


def line_of(problem: str) -> str:
    """Return the line of the file that a problem names."""
    file, number, _ = problem.split(":", 2)
    return Path(file).read_text(encoding="utf-8").splitlines()[int(number) - 1]


@pytest.mark.parametrize(
    ("before", "after", "in_line", "says"),
    [
        (
            "ptg.mountPosition.skyAngle",
            "ptg.mountPosition.skyangle",
            "skyangle",
            "has no field",
        ),
        ("ESS:301.airFlow.speed", "ESS:301.airFlw.speed", "airFlw", "no topic"),
        (
            "MTMount.elevation.actualPosition, ",
            "MTMount:3.elevation.actualPosition, ",
            "MTMount:3",
            "not indexed",
        ),
        ("unit: {from: rad, to: deg}", "unit: deg", "unit: deg", "has it in rad"),
        ("unit: {from: um, to: mm}", "unit: {from: um, to: s}", "unit", "cannot be converted"),
        ("unit: {from: um, to: mm}", "unit: {from: um, to: furlong}", "unit", "no unit"),
        ("enum: MTPtg.CoordFrame", "enum: MTPtg.Frame", "enum: MTPtg.Frame", "no enumeration"),
        ("required: light", "required: lihgt", "lihgt", "known: sky, light"),
        ("        item: 2\n", "", "FOCUSZ", "6 element(s)"),
        ("pick: max", "pick: most", "pick: most", "latest"),
        ("keyword: AZSTART", "keyword: AZIMUTHSTART", "AZIMUTHSTART", "no FITS keyword"),
        ("keyword: TESTTYPE", "keyword: REASON", "REASON", "more than once"),
        ("decimals: 7", "digits: 7", "digits", "unknown key"),
        ("from: camera.log", "from: camra.log", "camra", "there is no camra among `components`"),
        ("camera: MTCamera", "camera: MTCamra", "camera.log", "no topic MTCamra"),
        ("camera: MTCamera", "camera: mt", "camera: mt", "Component[:index]"),
        ("  ptg: MTPtg", "  Ptg: MTPtg", "Ptg: MTPtg", "no name for a component"),
        ("common/simonyi.yaml", "common/simoni.yaml", "simoni", "there is no common/simoni.yaml"),
        ("after: Weather", "after: Wether", "Wether", "there is no section"),
        ("value: LSSTCam}", "value: 7}", "INSTRUME", "`value` is no str"),
        ("range: [1, 40]", "range: [40, 1]", "AMSTART", "comes first"),
        ("pick: max", "pick: mean", "VIGNETTE", "only a `float` has a `mean`"),
        (
            "valid_when: &tracking {field: airmass",
            "valid_when: &tracking {field: airmas",
            "HASTART",
            "no field airmas",
        ),
        (
            "unset: [0.0]\n        required: true\n        comment: begin of the observation",
            "unset: [none]\n        required: true\n        comment: begin of the observation",
            "unset",
            "never 'none'",
        ),
        ("timeout_field: timeout", "timeout_field: mode", "timeout_field", "not a float"),
        (
            "start: camera.logevent_startIntegration",
            "start: MTMount.elevation",
            "start:",
            "is no event",
        ),
        (
            "readout: camera.logevent_startReadout",
            "readout: camera.logevent_endOfImageTelemetry",
            "exposure",
            "not different events",
        ),
        ("names_field: ccdLocation", "names_field: ccdType", "names_field", "not a str"),
        (
            "unit: deg_C, range: [-200",
            "unit: K, type: str, range: [-200",
            "TEMP_SET",
            "given twice",
        ),
        (
            "type: float, field: ccdTempSetPoint",
            "type: str, field: ccdTempSetPoint",
            "TEMP_SET",
            "not a str",
        ),
    ],
)
def test_a_wrong_definition_is_refused_with_its_line(
    tmp_path: Path, before: str, after: str, in_line: str, says: str
) -> None:
    first = problems_of(changed(tmp_path, before, after))[0]
    assert first.startswith(f"{tmp_path}/")
    assert in_line in line_of(first)
    assert says in first


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    path = copied(tmp_path)
    simonyi, camera = tmp_path / "common/simonyi.yaml", tmp_path / "common/camera.yaml"
    simonyi.write_text(simonyi.read_text().replace("mountPosition.skyAngle", "mountPosition.sky"))
    camera.write_text(camera.read_text().replace("required: light", "required: lihgt"))
    told = problems_of(path)
    assert any(each.startswith(f"{simonyi}:") and "no field sky" in each for each in told)
    assert any(each.startswith(f"{camera}:") and "lihgt" in each for each in told)
