from __future__ import annotations

import json
from enum import IntEnum
from pathlib import Path

import pytest

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import load_dictionary
from daemons.bus.sal.schema import sal_schema
from daemons.runtime.errors import SettingsError

DICTIONARY = load_dictionary()

HEADER_SOURCES = [
    ("MTCamera", "logevent_startIntegration", "additionalValues"),
    ("MTCamera", "logevent_startReadout", "timestampStartOfReadout"),
    ("MTCamera", "logevent_endOfImageTelemetry", "timestampDateEnd"),
    ("MTCamera", "logevent_imageReadoutParameters", "daqAnnotation"),
    ("MTCamera", "logevent_focalPlaneSummaryInfo", "ccdTempSetPoint"),
    ("MTCamera", "logevent_endSetFilter", "filterPosition"),
    ("MTPtg", "logevent_currentTarget", "declination"),
    ("MTPtg", "mountPosition", "skyAngle"),
    ("MTPtg", "currentTargetStatus", "airmass"),
    ("MTMount", "elevation", "actualPosition"),
    ("MTMount", "azimuth", "actualPosition"),
    ("MTMount", "logevent_simulationMode", "mode"),
    ("MTHexapod", "application", "demand"),
    ("MTRotator", "rotation", "actualPosition"),
    ("MTDomeTrajectory", "logevent_telescopeVignetted", "vignetted"),
    ("ESS", "temperature", "temperatureItem"),
    ("ESS", "pressure", "pressureItem"),
    ("ESS", "relativeHumidity", "relativeHumidityItem"),
    ("ESS", "airFlow", "direction"),
    ("DIMM", "logevent_dimmMeasurement", "fwhm"),
    ("TunableLaser", "logevent_wavelengthChanged", "wavelength"),
    ("TunableLaser", "logevent_detailedState", "detailedState"),
    ("LEDProjector", "logevent_ledsOn", "dacValues"),
    ("ScriptQueue", "logevent_nextVisit", "groupId"),
    ("ScriptQueue", "logevent_nextVisitCanceled", "groupId"),
    ("CCCamera", "logevent_endOfImageTelemetry", "darkTime"),
    ("ATCamera", "logevent_endOfImageTelemetry", "darkTime"),
]


class Mode(IntEnum):
    ON = 1


@pytest.mark.parametrize(("component", "name", "field"), HEADER_SOURCES)
def test_every_source_of_a_header_is_known(component: str, name: str, field: str) -> None:
    spec = DICTIONARY.get(Topic(component, name))
    assert field in {entry.name for entry in spec.fields}


def test_every_shipped_topic_has_a_schema_that_can_be_used() -> None:
    count = 0
    for component, entry in DICTIONARY.components.items():
        for name in [*entry.topics, *DICTIONARY.generics]:
            schema = sal_schema(DICTIONARY.get(Topic(component, name)))
            assert schema.parsed
            count += 1
    assert count > 500


@pytest.mark.parametrize(
    "name",
    [
        "command_start",
        "command_enable",
        "command_disable",
        "command_standby",
        "command_exitControl",
        "command_setLogLevel",
        "ackcmd",
        "logevent_summaryState",
        "logevent_errorCode",
        "logevent_heartbeat",
        "logevent_logLevel",
        "logevent_logMessage",
        "logevent_softwareVersions",
        "logevent_simulationMode",
        "logevent_configurationsAvailable",
        "logevent_configurationApplied",
        "logevent_largeFileObjectAvailable",
    ],
)
@pytest.mark.parametrize("component", ["MTHeaderService", "MTMount", "UniversityForwarder"])
def test_any_component_has_the_generic_topics(component: str, name: str) -> None:
    assert DICTIONARY.get(Topic(component, name)).name == name


def test_indexed_components_are_known_and_ours_are_indexed() -> None:
    assert DICTIONARY.is_indexed("ScriptQueue")
    assert DICTIONARY.is_indexed("ESS")
    assert not DICTIONARY.is_indexed("MTCamera")
    assert DICTIONARY.is_indexed("MTForwarder")


def test_topic_that_is_nowhere_is_refused_with_what_to_do() -> None:
    with pytest.raises(BusError, match=r"no topic MTCamera.logevent_nothing: add it"):
        DICTIONARY.get(Topic("MTCamera", "logevent_nothing"))


def test_payload_of_an_unknown_topic_is_taken_as_it_is() -> None:
    topic = Topic("DomeOfOurs", "logevent_slit")
    assert DICTIONARY.complete(topic, {"open": True}) == {"open": True}


def test_values_are_converted_to_what_the_wire_has() -> None:
    topic = Topic("ScriptQueue", "logevent_nextVisit", 1)
    whole = DICTIONARY.complete(
        topic, {"position": (1, 2), "duration": 30, "nimages": Mode.ON, "dome": True}
    )
    assert whole["position"] == [1.0, 2.0]
    assert type(whole["duration"]) is float
    assert type(whole["nimages"]) is int


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("nimages", 2**31, "does not fit 32 bits"),
        ("nimages", 1.0, "no whole number"),
        ("nimages", None, "null where SAL has no null"),
        ("groupId", 7, "7 is no text"),
        ("position", 1.0, "no array"),
        ("position", "ab", "no array"),
        ("duration", "long", "no number"),
        ("duration", object(), "float"),
    ],
)
def test_value_of_the_wrong_type_names_the_field(field: str, value: object, says: str) -> None:
    with pytest.raises(BusError, match=rf"ScriptQueue.logevent_nextVisit.{field} .*{says}"):
        DICTIONARY.complete(Topic("ScriptQueue", "logevent_nextVisit", 1), {field: value})


def test_enumeration_gives_the_name_of_a_value() -> None:
    assert DICTIONARY.enum_name("MTPtg", "TargetTypes", 1) == "RADEC"
    assert DICTIONARY.enum_name("MTPtg", "TargetTypes", 99) is None
    assert DICTIONARY.enum_name("MTPtg", "NoSuch", 1) is None


def test_site_adds_topics_of_its_own(tmp_path: Path) -> None:
    extra = tmp_path / "dome.json"
    extra.write_text(
        json.dumps(
            {
                "components": {
                    "Slit": {
                        "indexed": False,
                        "topics": {"logevent_open": [["width", "double", "deg", 1]]},
                    },
                    "MTCamera": {
                        "indexed": False,
                        "topics": {"logevent_extra": [["temp", "double?", "", 1]]},
                    },
                }
            }
        )
    )
    dictionary = load_dictionary([extra])
    assert dictionary.complete(Topic("Slit", "logevent_open"), {}) == {"width": 0.0}
    assert dictionary.complete(Topic("MTCamera", "logevent_extra"), {}) == {"temp": None}
    assert dictionary.get(Topic("MTCamera", "logevent_startIntegration")).fields


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"components": {"A": {}}}', '{"generics": {"x": [["f", "quaternion", "", 1]]}}'],
)
def test_dictionary_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    extra = tmp_path / "broken.json"
    extra.write_text(text)
    with pytest.raises(SettingsError, match=r"broken.json cannot be used"):
        load_dictionary([extra])
