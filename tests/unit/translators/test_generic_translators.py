"""Instruments that are described by rules: what a `translator.yaml` makes of headers."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import pytest
from astro_metadata_translator import MetadataTranslator, ObservationInfo, fix_header
from astropy.io import fits
from astropy.time import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators import focalplane, instruments, instruments_folders, plugin
from translators.cardtranslator import MissingCardsError
from translators.corrections import rules_of
from translators.errors import InstrumentDataError, TranslationError, UnknownDetectorError
from translators.focalplane import detectors, physical_filters
from translators.generic.definition import read_definition
from translators.generic.translator import GenericTranslator, class_of
from translators.instruments import instrument, instrument_of
from translators.plugin import TRANSLATORS, load_folder
from translators.resources import config_root
from translators.translate import observation_info, translate

Cards = dict[str, Any]
NAME = "dome_20260313_0042_b.fits"
DOME = {
    "INSTRUME": "ExampleCam",
    "TELESCOP": "Dome 0.5m",
    "DATE-OBS": "2026-03-14T02:15:03.500",
    "EXPTIME": 30.0,
    "DARKTIME": 30.5,
    "IMAGETYP": "Light Frame",
    "FILTER": "r'",
    "FRAMENO": 42,
    "GROUP": "77",
    "OBJECT": "M 51",
    "PROGRAM": "students",
    "REASON": "Survey",
    "OBJCTRA": "13 29 52.7",
    "OBJCTDEC": "+47 11 43",
    "EQUINOX": 2000.0,
    "OBJCTALT": 60.0,
    "OBJCTAZ": 45.0,
    "ROTATOR": 3.0,
    "FOCUSPOS": 1500,
    "OUTTEMP": 11.5,
    "BARO": 740.0,
    "HUMIDITY": 55,
    "ROOF": "OPEN",
    "CHIP": "west",
}
"""What ExampleCam writes, the worked example of the distribution."""


def dome(**changes: Any) -> GenericTranslator:
    cards = DOME | {key.replace("_", "-"): value for key, value in changes.items()}
    return TRANSLATORS["ExampleCam"](cards, NAME)  # type: ignore[return-value]


def without(*keywords: str) -> Cards:
    return {keyword: value for keyword, value in DOME.items() if keyword not in keywords}


def test_every_property_of_the_worked_example() -> None:
    info = ObservationInfo(dict(DOME), filename=NAME, pedantic=True)

    assert info.translator_class_name == "ExampleCamTranslator"
    assert (info.instrument, info.telescope) == ("ExampleCam", "University Dome 0.5 m")
    assert info.location.lon.deg == pytest.approx(-8.5)
    assert info.location.lat.deg == pytest.approx(41.2)
    assert info.location.height.to_value("m") == pytest.approx(231)
    assert info.exposure_id == 202603130042
    assert info.visit_id == 77
    assert info.physical_filter == "sdss_r"
    assert info.datetime_begin.utc.isot == "2026-03-14T02:15:03.500"
    assert info.datetime_begin.scale == "tai"
    assert (info.datetime_end - info.datetime_begin).sec == pytest.approx(30)
    assert info.exposure_time == 30 * u.s
    assert info.exposure_time_requested == 30 * u.s
    assert info.dark_time == 30.5 * u.s
    assert info.boresight_airmass == pytest.approx(1.1547, abs=1e-4)
    assert info.boresight_rotation_angle.deg == 3.0
    assert info.boresight_rotation_coord == "sky"
    assert (info.detector_num, info.detector_name) == (1, "b")
    assert (info.detector_unique_name, info.detector_group) == ("b", None)
    assert info.detector_serial == "K-1088"
    assert info.detector_exposure_id == 202603130042001
    assert info.focus_z.to_value("mm") == pytest.approx(1.5)
    assert info.object == "M 51"
    assert info.temperature.to_value("deg_C", equivalencies=u.temperature()) == 11.5
    assert info.pressure.to_value("hPa") == pytest.approx(986.6, abs=0.1)
    assert info.relative_humidity == 55
    assert info.tracking_radec.icrs.ra.deg == pytest.approx(202.4696, abs=1e-4)
    assert info.tracking_radec.icrs.dec.deg == pytest.approx(47.1953, abs=1e-4)
    assert info.altaz_begin.alt.deg == pytest.approx(60)
    assert info.altaz_end is None
    assert info.science_program == "students"
    assert info.observation_type == "science"
    assert info.observation_id == "dome_20260313_0042"
    assert info.observation_reason == "survey"
    assert info.exposure_group == "77"
    assert (info.observing_day, info.observing_day_offset.sec) == (20260313, 43_200)
    assert info.observation_counter == 42
    assert info.has_simulated_content is False
    assert (info.group_counter_start, info.group_counter_end) == (42, 42)
    assert info.can_see_sky is True


def test_worked_example_is_found_by_its_header_and_translated_whole() -> None:
    before = dict(DOME)

    translation = translate(DOME, file_name=NAME)

    assert before == DOME
    assert instrument_of(DOME) == instrument("ExampleCam")
    assert translation.translator == "ExampleCam"
    assert translation.findings == ()
    assert translation.identity.run == "ExampleCam/raw/all"
    assert (translation.identity.detector, translation.identity.detector_name) == (1, "b")
    assert observation_info(translation).exposure_id == 202603130042


def test_astropy_header_is_translated_like_a_mapping() -> None:
    header = fits.Header()
    for keyword, value in (DOME | {"BARO": None}).items():
        header[keyword] = value

    assert translate(header, file_name=NAME) == translate(DOME | {"BARO": None}, file_name=NAME)
    info = ObservationInfo(header, filename=NAME, pedantic=True)
    assert (info.exposure_id, info.pressure) == (202603130042, None)


def test_two_detectors_share_the_observation() -> None:
    east = translate(DOME | {"CHIP": "a", "CHECKSUM": "x"}, file_name="dome_20260313_0042_a.fits")
    west = translate(DOME, file_name=NAME)

    assert (east.identity.detector, west.identity.detector) == (0, 1)
    shared = [dict(each.observation or {}) for each in (east, west)]
    assert [each.pop("detector_num") for each in shared] == [0, 1]
    assert shared[0] == shared[1]


@pytest.mark.parametrize(
    ("cards", "name", "detector"),
    [({"CHIP": "west"}, "x.fits", 1), ({"CHIP": "a"}, "x.fits", 0), ({}, "x.fits", 0)],
)
def test_detector_is_known_by_name_alias_or_default(cards: Cards, name: str, detector: int) -> None:
    translator = TRANSLATORS["ExampleCam"](without("CHIP") | cards, name)

    assert translator.to_detector_num() == detector


def test_unknown_detector_is_said_with_those_that_there_are() -> None:
    with pytest.raises(UnknownDetectorError, match=r"no detector 'c', only a \(0\), b \(1\)"):
        dome(CHIP="c").to_detector_num()


@pytest.mark.parametrize(
    ("image_type", "kind", "tracked"),
    [
        ("LIGHT FRAME", "science", True),
        (" Dark Frame ", "dark", False),
        ("Twilight", "skyflat", False),
    ],
)
def test_observation_type_is_looked_up_and_decides_on_the_pointing(
    image_type: str,
    kind: str,
    tracked: bool,  # noqa: FBT001 - what is expected
) -> None:
    translator = dome(IMAGETYP=image_type)

    assert translator.to_observation_type() == kind
    assert (translator.to_tracking_radec() is not None) is tracked
    assert (translator.to_altaz_begin() is not None) is tracked


def test_value_that_the_map_does_not_have_is_refused_where_the_rule_says_so() -> None:
    with pytest.raises(
        TranslationError, match="FILTER is 'H', which is none of B, V, r', i', Clear"
    ):
        dome(FILTER="H").to_physical_filter()


def test_number_out_of_range_counts_as_none() -> None:
    assert dome(OUTTEMP=-273.0).to_temperature() is None
    assert dome(AIRMASS=0.0).to_boresight_airmass() == pytest.approx(1.1547, abs=1e-4)
    with pytest.raises(ValueError, match=r"EXPTIME or EXPOSURE is -1\.0, which cannot be"):
        dome(EXPTIME=-1.0).to_exposure_time()


def test_julian_date_stands_in_for_the_date() -> None:
    translator = TRANSLATORS["ExampleCam"](without("DATE-OBS") | {"JD": 2461113.59379}, NAME)

    assert translator.to_datetime_begin().utc.isot.startswith("2026-03-14T02:15:03")


def test_frame_of_the_header_counts_more_than_the_usual_one() -> None:
    assert dome(RADESYS="ICRS").to_tracking_radec().frame.name == "icrs"
    assert dome().to_tracking_radec().frame.name == "fk5"


def test_what_is_required_and_missing_is_refused_as_by_any_translator() -> None:
    cards = without("EXPTIME", "IMAGETYP")

    with pytest.raises(TranslationError) as caught:
        translate(cards, file_name=NAME)
    for keyword in ("observation_type (no value in IMAGETYP)", "no value in EXPTIME or EXPOSURE"):
        assert keyword in str(caught.value)
    with pytest.raises(KeyError, match="Error calculating property"):
        ObservationInfo(dict(cards), filename=NAME, pedantic=True)
    info = ObservationInfo(dict(cards), filename=NAME, quiet=True)
    assert (info.observation_type, info.exposure_id) == (None, 202603130042)


def test_pointing_of_science_is_required_unless_its_rule_says_otherwise() -> None:
    translator = TRANSLATORS["ExampleCam"](without("OBJCTRA", "OBJCTALT"), NAME)

    with pytest.raises(MissingCardsError, match="OBJCTRA and OBJCTDEC"):
        translator.to_tracking_radec()
    assert translator.to_altaz_begin() is None


def test_instrument_of_rules_has_facts_like_every_other() -> None:
    found = detectors("ExampleCam")

    assert [(each.id, each.name, each.raft, each.x_mm) for each in found] == [
        (0, "a", None, -20.0),
        (1, "b", None, 20.0),
    ]
    assert {each.name for each in physical_filters("ExampleCam")} >= {"sdss_r", "empty"}
    assert instrument("ExampleCam").files.hdus == {"science": 1}


def test_corrections_of_the_instrument_are_applied_once() -> None:
    old = DOME | {"DATE-OBS": "2025-01-14T02:15:03.500", "FOCUSPOS": 1.5}
    header = dict(old)
    assert fix_header(header, translator_class=TRANSLATORS["ExampleCam"], filename=NAME)
    assert header["FOCUSPOS"] == 1500.0
    assert header["HIERARCH ARRIERO ORIGINAL FOCUSPOS"] == 1.5

    (finding,) = translate(old, file_name=NAME).findings
    assert finding.code == "header.corrected"


# Rules of one's own.

OWN = """
version: 1
name: {name}
recognise: [{{INSTRUME: [{name}]}}]
day_obs: [{{offset_hours: 0}}, {{offset_hours: 8, since: 2024-09-01}}]
ids: {{exposure: {{rule: begin, decimals: 1}}}}
detectors:
  number: {{keyword: CCDNUM}}
  entries:
    - {{id: 1, name: north, group: A, type: CCD, size_px: [10, 20]}}
    - {{id: 2, name: south, group: B, type: CCD, size_px: [10, 20], at_mm: [0, -5]}}
properties:
  datetime_begin: {{keyword: DATE-OBS, time_keyword: TIME-OBS, scale: utc, scale_keyword: TIMESYS}}
  exposure_time: {{keyword: EXPMS, unit: ms}}
  observation_type: OBSTYPE
  observation_id: OBSID
  physical_filter: {{keyword: [FILT1, FILT2], join: '~', values: {{0: NO, 1: clear}}}}
  altaz_begin: {{zenith_distance: ZD, azimuth: AZ}}
{more}
"""
OWN_CARDS: Cards = {
    "DATE-OBS": "2024-08-31",
    "TIME-OBS": "23:59:59.95",
    "EXPMS": "1500",
    "OBSTYPE": "dark",
    "OBSID": 12,
    "FILT1": 0,
    "FILT2": "V",
    "CCDNUM": "2",
    "ZD": 30.0,
    "AZ": 10.0,
}
WriteOwn = Callable[..., Path]


@pytest.fixture
def write_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteOwn]:
    """Write a `translator.yaml` and return its path; nothing of it is remembered afterwards."""
    monkeypatch.setattr(instruments_folders, "_added", [])
    known, ours = dict(MetadataTranslator.translators), dict(TRANSLATORS)

    def write(name: str = "OwnCam", text: str = OWN, *, more: str = "") -> Path:
        path = tmp_path / "site" / name / "translator.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name, more=more))
        return path

    yield write
    MetadataTranslator.translators.clear()
    MetadataTranslator.translators.update(known)
    for name in set(TRANSLATORS) - set(ours):
        plugin._translators.pop(name)
    instruments.forget()
    focalplane.forget()
    rules_of.cache_clear()


def test_folder_of_a_site_is_loaded_and_everybody_finds_its_instruments(
    write_own: WriteOwn,
) -> None:
    path = write_own()

    assert load_folder(path.parents[1]) == ("OwnCam",)

    cards = OWN_CARDS | {"INSTRUME": "OwnCam"}
    info = ObservationInfo(dict(cards), pedantic=True)
    assert info.exposure_time == 1.5 * u.s
    assert (info.exposure_id, info.observing_day) == (202408312359599, 20240831)
    assert info.physical_filter == "NO~V"
    assert info.detector_unique_name == "B_south"
    assert info.altaz_begin.alt.deg == pytest.approx(60)
    assert (info.object, info.tracking_radec, info.telescope) == (None, None, None)
    assert translate(cards, file_name="x.fits").identity.detector_name == "B_south"
    assert detectors("OwnCam")[1].y_mm == -5


def test_observing_day_begins_differently_from_a_date_on(write_own: WriteOwn) -> None:
    own = class_of(read_definition(write_own()))

    def day(moment: str) -> int:
        date, _, time = moment.partition("T")
        cards = OWN_CARDS | {"DATE-OBS": date, "TIME-OBS": time, "TIMESYS": "tai"}
        found: int = own(cards).to_observing_day()
        return found

    assert day("2024-08-31T07:00:00") == 20240831
    assert day("2024-09-02T07:00:00") == 20240901
    assert day("2024-09-02T08:00:00") == 20240902
    moment = Time("2024-09-02T08:00:00", scale="tai")
    assert own.observing_date_to_offset(moment).sec == 8 * 3600


def test_corrections_beside_the_rules_and_of_single_exposures_count(write_own: WriteOwn) -> None:
    path = write_own()
    (path.parent / "corrections.yaml").write_text(
        "rules: [{id: own-type, reason: Zero is bias., when: {OBSTYPE: [zero]}, "
        "set: {OBSTYPE: bias, EXPMS: 0}}]"
    )
    (path.parent / "corrections").mkdir()
    (path.parent / "corrections" / "OwnCam-13.yaml").write_text("OBSTYPE: flat\n")
    load_folder(path.parents[1])
    cards = OWN_CARDS | {"INSTRUME": "OwnCam", "OBSTYPE": "zero"}

    kinds = [
        (translate(cards | {"OBSID": number}, file_name="x.fits").observation or {})[
            "observation_type"
        ]
        for number in (12, 13)
    ]

    assert kinds == ["bias", "flat"]


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("telescope", "more"), None, None),
        (
            ("exposure_time: {{keyword: EXPMS, unit: ms}}", "exposuretime: EXPMS"),
            14,
            "exposuretime",
        ),
        (("unit: ms", "unit: parrots"), 14, "'parrots' is no unit that astropy knows"),
        (
            ("observation_type: OBSTYPE", "observation_type: {{}}"),
            15,
            "give exactly one of keyword",
        ),
        (
            ("observation_id: OBSID", "observation_id: {{template: '{{object}}'}}"),
            None,
            "cannot name",
        ),
        (("day_obs: [{{offset_hours: 0}},", "day_obs: [{{offset_hours: x}},"), 5, "day_obs.0"),
        (("version: 1", "version: 2"), 2, "version"),
        (("name: south", "name: north"), 7, "the same name or alias"),
        (("number: {{keyword: CCDNUM}}", "#"), 7, "a rule to tell which"),
        (("rule: begin", "rule: day_and_counter"), None, "give properties.observation_counter"),
        (("zenith_distance: ZD,", ""), 18, "altitude or zenith_distance"),
        (("name: {name}", "name: Other"), None, "folder and name must agree"),
        (("OBSTYPE\n", "OBSTYPE\n  observation_type: A\n"), 16, "stands twice"),
        (("ids:", "ids: ["), None, "no YAML"),
        (("recognise:", "file_name: '('\nrecognise:"), 4, "no regular expression"),
        (("observation_id: OBSID", "observation_id: {{file_name: seq}}"), None, "no group seq"),
    ],
)
def test_wrong_rules_are_refused_with_file_and_line(
    write_own: WriteOwn, change: tuple[str, str], line: int | None, says: str | None
) -> None:
    path = write_own(text=OWN.replace(*change, 1))

    if says is None:
        assert read_definition(path).name == "OwnCam"
        return
    with pytest.raises(InstrumentDataError) as caught:
        read_definition(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    if line is not None:
        assert f"translator.yaml:{line}: " in str(caught.value)


def test_wrong_corrections_beside_the_rules_are_refused_at_once(write_own: WriteOwn) -> None:
    path = write_own()
    wrong = path.parent / "corrections.yaml"
    wrong.write_text("rules:\n  - {id: a, reason: x., sett: {A: 1}}\n")

    with pytest.raises(InstrumentDataError, match=r"corrections.yaml:2: unknown key rules.0.sett"):
        load_folder(path.parents[1])
    assert "OwnCam" not in TRANSLATORS


def test_numbers_of_visits_and_detector_images_may_come_from_cards(write_own: WriteOwn) -> None:
    more = "  visit_id: VISIT\n  detector_exposure_id: {{keyword: IMAGEID, optional: true}}\n"
    own = class_of(read_definition(write_own(text=OWN.replace("{more}", more))))
    cards = OWN_CARDS | {"VISIT": 12, "IMAGEID": 99}

    assert (own(cards).to_visit_id(), own(cards).to_detector_exposure_id()) == (12, 99)
    bare = OWN_CARDS | {"VISIT": 12.5}
    assert own(bare).to_detector_exposure_id() == 202408312359599002
    with pytest.raises(ValueError, match="not a whole number"):
        own(bare).to_visit_id()


EXAMPLE = (config_root() / "instruments" / "ExampleCam" / "translator.yaml").read_text()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gone=st.sets(st.integers(0, EXAMPLE.count("\n")), max_size=4),
    cut=st.integers(0, len(EXAMPLE)) | st.just(len(EXAMPLE)),
    junk=st.sampled_from(
        ["", "[", ": ", "- x", "\t", "{a: b}", "null", "!!python/none x", "&a *a"]
    ),
)
def test_damaged_rules_are_read_or_refused_with_the_file(
    tmp_path: Path, gone: set[int], cut: int, junk: str
) -> None:
    lines = [line for number, line in enumerate(EXAMPLE.split("\n")) if number not in gone]
    path = tmp_path / "ExampleCam" / "translator.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines)[:cut] + junk)

    refused = ""
    try:
        assert read_definition(path).instrument().recognise
    except InstrumentDataError as error:
        refused = str(error)

    assert not refused or str(path) in refused


def test_folder_without_instruments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstrumentDataError, match="has no instrument"):
        load_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("NO", "NO"), ("0051", "0051"), ("2026-03-15", "2026-03-15"), ("1:30", "1:30"), ("51", 51)],
)
def test_values_mean_what_a_person_reads(write_own: WriteOwn, text: str, value: object) -> None:
    more = f"  object: {{constant: {text}}}\n"
    path = write_own(text=OWN.replace("{more}", more.replace("{", "{{").replace("}", "}}")))

    rule = read_definition(path).properties.object

    assert rule is not None
    assert rule.constant == value
    assert type(rule.constant) is type(value)


def test_class_and_instance_travel_to_another_process(write_own: WriteOwn, tmp_path: Path) -> None:
    path = write_own()
    (path.parent / "corrections.yaml").write_text(
        "rules: [{id: own-type, reason: Zero is bias., set: {OBSTYPE: bias}}]"
    )
    load_folder(path.parents[1])
    own = TRANSLATORS["OwnCam"]
    cards = OWN_CARDS | {"INSTRUME": "OwnCam"}
    info = ObservationInfo(dict(cards), pedantic=True)
    used = own(cards)
    assert used.to_exposure_id() == info.exposure_id
    (tmp_path / "pickled").write_bytes(pickle.dumps((own, used, info)))
    code = f"""
        import pathlib, pickle
        from astro_metadata_translator import fix_header
        content = pathlib.Path({str(tmp_path / "pickled")!r}).read_bytes()
        own, translator, info = pickle.loads(content)
        cards = {cards!r}
        fix_header(cards, translator_class=own)
        print(own.__name__, translator.to_exposure_id(), info.exposure_id, cards["OBSTYPE"])
    """

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.stdout.split() == ["OwnCamTranslator", "202408312359599", "202408312359599", "bias"]
    assert pickle.loads(pickle.dumps(own)) is own  # noqa: S301 - just made
    assert pickle.loads(pickle.dumps(GenericTranslator)) is GenericTranslator  # noqa: S301


def test_environment_names_folders_and_a_wrong_file_leaves_the_others_alone(
    write_own: WriteOwn,
) -> None:
    site = write_own().parents[1]
    write_own("BadCam", OWN.replace("version: 1", "version: 7"))
    code = f"""
        import logging
        logging.basicConfig(format="%(levelname)s %(message)s")
        from astro_metadata_translator import ObservationInfo
        from translators.plugin import TRANSLATORS, faults, translator_names
        from translators.translate import translate
        cards = {OWN_CARDS | {"INSTRUME": "OwnCam"}!r}
        assert "OwnCam" in translator_names() and "BadCam" not in TRANSLATORS
        assert ["BadCam" in str(path) for path in faults()] == [True]
        print(translate(cards, file_name="x.fits").identity.instrument)
        print(ObservationInfo(cards).exposure_id)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={"ARRIERO_INSTRUMENTS_PATH": str(site), "PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert done.stdout.split() == ["OwnCam", "202408312359599"], done.stderr
    assert "ERROR" in done.stderr
    assert "BadCam/translator.yaml:2: version" in done.stderr
