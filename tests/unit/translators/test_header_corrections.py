"""Known faults of headers are corrected once; a person has the last word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from astro_metadata_translator import fix_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from translators.corrections import (
    ORIGINAL_PREFIX,
    applied_rules,
    correct,
    rules_of,
)
from translators.errors import InstrumentDataError
from translators.instruments import instrument_names
from translators.plugin import TRANSLATORS
from translators.translate import translate

Cards = dict[str, Any]


def fixed(cards: Cards, instrument: str = "LSSTCam") -> Cards:
    header = dict(cards)
    fix_header(header, translator_class=TRANSLATORS[instrument])
    return header


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"DAYOBS": "20250302", "ROTPA": 100.0}, {"ROTPA": 10.0}),
        ({"DAYOBS": "20250421", "ROTPA": 10.0}, {"ROTPA": -80.0}),
        ({"DAYOBS": "20250301", "ROTPA": 100.0}, {"ROTPA": 100.0}),
        ({"DAYOBS": "20250422", "SEQNUM": 250, "ROTPA": -10.0}, {"ROTPA": 170.0}),
        ({"DAYOBS": "20250422", "SEQNUM": 250, "ROTPA": 10.0}, {"ROTPA": -170.0}),
        ({"DAYOBS": "20250422", "SEQNUM": 251, "ROTPA": 10.0}, {"ROTPA": 10.0}),
        ({"DAYOBS": "20250302", "ROTPA": None}, {"ROTPA": None}),
        ({"DAYOBS": "20250518", "VIGN_MIN": "NO"}, {"VIGN_MIN": "FULLY"}),
        ({"DAYOBS": "20250715", "SEQNUM": 205, "VIGN_MIN": "NO"}, {"VIGN_MIN": "FULLY"}),
        ({"DAYOBS": "20250715", "SEQNUM": 1219, "VIGN_MIN": "NO"}, {"VIGN_MIN": "NO"}),
        ({"DAYOBS": "20250707", "SEQNUM": 850, "VIGN_MIN": "NO"}, {"VIGN_MIN": "NO"}),
        ({"DAYOBS": "20250707", "SEQNUM": 943, "VIGN_MIN": "NO"}, {"VIGN_MIN": "FULLY"}),
        (
            {"DAYOBS": "20250609", "SEQNUM": 76, "FILTER": "y_10"},
            {"FILTER": "z_20", "FILTBAND": "z", "FILTPOS": 201.0, "FILTSLOT": 4},
        ),
        (
            {"DAYOBS": "20260315", "SEQNUM": 109, "FILTER": "r_57"},
            {"FILTER": "i_39", "FILTBAND": "i", "FILTPOS": 304.0, "FILTSLOT": 1},
        ),
        ({"DAYOBS": "20241016", "FILTER": "ph_05"}, {"FILTER": "ph_5"}),
        ({"DAYOBS": "20241017", "FILTER": "ph_05"}, {"FILTER": "ph_05"}),
        ({"FILTER": None, "FILTER2": "ND_OD1.0"}, {"FILTER2": None}),
        ({"FILTER": "r_57", "FILTER2": "ND_OD1.0"}, {"FILTER2": "ND_OD1.0"}),
    ],
)
def test_lsstcam(sky_header: Cards, cards: Cards, expected: Cards) -> None:
    header = fixed(sky_header | cards)

    assert {card: header[card] for card in expected} == expected


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"FILTER": None}, {"FILTER": "unknown"}),
        ({"FILTER": "r", "MJD-BEG": 58900.0}, {"FILTER": "r_03"}),
        ({"FILTER": "", "MJD-BEG": 59000.0}, {"FILTER": "empty"}),
        ({"LSST_NUM": None, "CCDSLOT": "S12"}, {"LSST_NUM": "ITL-3800C-243"}),
        ({"LSST_NUM": "ITL-1", "CCDSLOT": "S12"}, {"LSST_NUM": "ITL-1"}),
        ({"ROTPA": "unset"}, {"ROTPA": 0.0}),
        ({"INSTRUME": "LSST_CAMERA", "TELCODE": "CC"}, {"INSTRUME": "ComCam"}),
    ],
)
def test_comcam(sky_header: Cards, cards: Cards, expected: Cards) -> None:
    base = sky_header | {"INSTRUME": "ComCam", "CCDSLOT": "S00"}

    header = fixed(base | cards, "LSSTComCam")

    assert {card: header[card] for card in expected} == expected


def test_simulated_comcam_takes_the_pointing_from_the_target(sky_header: Cards) -> None:
    cards = sky_header | {
        "INSTRUME": "ComCamSim",
        "CCDSLOT": "S00",
        "RASTART": None,
        "RADESYS": None,
        "CAMCODE": "CC",
    }
    del cards["DECSTART"]

    header = fixed(cards, "LSSTComCamSim")

    assert (header["RASTART"], header["RAEND"]) == (187.5, 187.5)
    assert (header["DECSTART"], header["DECEND"]) == (8.25, 8.25)
    assert (header["RADESYS"], header["TELCODE"]) == ("ICRS", "CC")


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"OBSID": None, "IMGNAME": "AT_C_20190101_000007"}, {"OBSID": "AT_C_20190101_000007"}),
        ({"DAYOBS": None}, {"DAYOBS": 20250501}),
        ({"DAYOBS": None, "OBSID": "odd", "OBS-NITE": "20190101"}, {"DAYOBS": "20190101"}),
        ({"SEQNUM": None}, {"SEQNUM": 123}),
        (
            {"DATE-OBS": "1970-01-01T00:00:00", "MJD-OBS": 40587.0, "MJD-BEG": 40587.0},
            {
                "DATE-OBS": "2025-05-02T04:13:21.001",
                "DATE-BEG": "2025-05-02T04:13:21.001",
                "MJD-BEG": 60797.17594908,
                "DATE-END": None,
                "MJD-END": None,
            },
        ),
        ({"LSST_NUM": "ITL-3800C-098"}, {"LSST_NUM": "ITL-3800C-068"}),
        ({"LSST_NUM": "ITL-3800C-098", "MJD-BEG": 58600.0}, {"LSST_NUM": "ITL-3800C-098"}),
        ({"MJD-BEG": 58870.0}, {"DATE-END": None}),
        ({"MJD-BEG": 58870.0, "IMGTYPE": "OBJECT"}, {"IMGTYPE": "ENGTEST"}),
        ({"OBJECT": None}, {"OBJECT": "NOTSET"}),
        ({"OBJECT": "spec:HD1", "MJD-BEG": 59700.0}, {"OBJECT": "HD1"}),
        ({"OBJECT": "spec:HD1"}, {"OBJECT": "spec:HD1"}),
        ({"RA": 1.0, "MJD-BEG": 58870.0}, {"RA": pytest.approx(57.29577951)}),
        ({"SHUTTIME": 30.0}, {"SHUTTIME": None}),
        ({"RADESYS": ""}, {"RADESYS": "ICRS"}),
        ({"TRACKSYS": ""}, {"TRACKSYS": None}),
        ({"TRACKSYS": "SIDEREAL"}, {"TRACKSYS": "RADEC"}),
        ({"RASTART": 1.0, "MJD-BEG": 58960.0}, {"RASTART": None}),
        ({"RASTART": 10.0, "MJD-BEG": 59200.0}, {"RASTART": pytest.approx(150.154167)}),
        ({"RASTART": 10.0, "MJD-BEG": 59256.9}, {"RASTART": pytest.approx(10.154167)}),
        ({"RASTART": 10.0, "MJD-BEG": 59257.1}, {"RASTART": 10.0}),
        ({"ROTPA": -180.0, "MJD-BEG": 59200.0}, {"ROTPA": -360.0}),
        ({"OBSGEO-Z": 3195172.08}, {"OBSGEO-Z": -3195172.08}),
    ],
)
def test_latiss(latiss_header: Cards, cards: Cards, expected: Cards) -> None:
    header = fixed(latiss_header | cards, "LATISS")

    assert {card: header.get(card) for card in expected} == expected


def test_original_is_kept_and_the_rule_is_named(sky_header: Cards) -> None:
    header = fixed(sky_header | {"DAYOBS": "20250302"})

    assert header[ORIGINAL_PREFIX + "ROTPA"] == 33.25
    assert header["ROTPA"] == -56.75
    assert applied_rules(header) == ("lsstcam-rotpa-90",)


def test_translation_says_which_rules_were_applied(sky_header: Cards) -> None:
    cards = sky_header | {"DAYOBS": "20250302", "OBSID": "MC_O_20250302_000123"}

    translation = translate(cards, file_name="MC_O_20250302_000123_R22_S11.fits")

    (finding,) = translation.findings
    assert finding.code == "header.corrected"
    assert "lsstcam-rotpa-90" in finding.sentence
    assert (translation.observation or {})["boresight_rotation_angle"] == -56.75
    assert cards["ROTPA"] == 33.25


def without_sentinel(header: Cards) -> Cards:
    return {card: value for card, value in header.items() if "ASTRO METADATA FIX" not in card}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    day=st.sampled_from(["20250302", "20250422", "20250518", "20250609", "20260315", "20190801"]),
    seq_num=st.integers(0, 1300),
    rotpa=st.none() | st.floats(-360, 360) | st.just("unset"),
    mjd=st.floats(58000, 61000) | st.just(40587.0),
    name=st.sampled_from(instrument_names()),
)
def test_applying_the_rules_again_changes_nothing(
    sky_header: Cards,
    day: str,
    seq_num: int,
    rotpa: float | str | None,
    mjd: float,
    name: str,
) -> None:
    header = sky_header | {"DAYOBS": day, "SEQNUM": seq_num, "ROTPA": rotpa, "MJD-BEG": mjd}
    correct(header, name)
    once = dict(header)

    assert correct(header, name) == ()
    assert header == once


def test_corrected_header_that_lost_its_sentinel_is_not_corrected_again(sky_header: Cards) -> None:
    header = fixed(sky_header | {"DAYOBS": "20250302"})
    rotpa = header["ROTPA"]

    again = fixed(without_sentinel(header))

    assert again["ROTPA"] == rotpa


def test_corrected_copy_is_not_corrected_again_when_it_is_read_from_a_file(
    sky_header: Cards,
) -> None:
    cards = sky_header | {"DAYOBS": "20250302", "OBSID": "MC_O_20250302_000123"}
    name = "MC_O_20250302_000123_R22_S11.fits"
    foreign = cards | {"ROTPA": -56.75, "ASTRO METADATA FIX MODIFIED": True}
    ours = {card.removeprefix("HIERARCH "): value for card, value in fixed(cards).items()}

    for copy in (foreign, ours, without_sentinel(ours)):
        record = translate(copy, file_name=name).observation
        assert (record or {})["boresight_rotation_angle"] == -56.75


@pytest.mark.parametrize(
    "cards",
    [
        {"DAYOBS": "soon", "SEQNUM": 5, "MJD-BEG": 58000.0},
        {"DAYOBS": "20250422", "SEQNUM": "many"},
        {"DAYOBS": None, "SEQNUM": None, "MJD-BEG": None, "DATE-BEG": "never"},
    ],
)
def test_header_that_does_not_say_when_is_left_alone(sky_header: Cards, cards: Cards) -> None:
    header = sky_header | {"MJD-OBS": None, "DATE-OBS": None} | cards

    for name in ("LSSTCam", "LATISS"):
        correct(header, name)

    assert header["ROTPA"] == 33.25


@pytest.fixture
def manual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("METADATA_CORRECTIONS_PATH", f"{tmp_path / 'absent'}:{tmp_path}")
    return tmp_path


def test_correction_of_one_exposure_by_a_person_counts_more_than_a_rule(
    sky_header: Cards, manual: Path
) -> None:
    cards = sky_header | {"DAYOBS": "20250302", "OBSID": "MC_O_20250302_000123"}
    (manual / "LSSTCam-MC_O_20250302_000123.yaml").write_text("ROTPA: 12.5\n")

    assert fixed(cards)["ROTPA"] == 12.5
    record = translate(cards, file_name="MC_O_20250302_000123_R22_S11.fits").observation
    assert (record or {})["boresight_rotation_angle"] == 12.5


def test_new_correction_by_a_person_counts_at_once(sky_header: Cards, manual: Path) -> None:
    name = "MC_O_20250501_000123_R22_S11.fits"
    assert (translate(sky_header, file_name=name).observation or {})["object"] == "Virgo"
    (manual / "LSSTCam-MC_O_20250501_000123.yaml").write_text("OBJECT: Coma\n")

    assert (translate(sky_header, file_name=name).observation or {})["object"] == "Coma"


def test_unreadable_correction_by_a_person_leaves_the_rules_alone(
    sky_header: Cards, manual: Path
) -> None:
    cards = sky_header | {"DAYOBS": "20250302", "OBSID": "MC_O_20250302_000123"}
    (manual / "LSSTCam-MC_O_20250302_000123.yaml").write_text("[1, {")

    assert fixed(cards)["ROTPA"] == -56.75


def test_values_of_rules_mean_what_a_person_reads(own_config: Path) -> None:
    (own_config / "corrections.yaml").write_text(
        "rules: [{id: a, reason: x., set: {OBJECT: NO, RUN: 0051, DAY: 2026-03-15, GAIN: 1.5}}]"
    )
    header: Cards = {}
    correct(header, "Toy")

    expected = {"OBJECT": "NO", "RUN": "0051", "DAY": "2026-03-15", "GAIN": 1.5}
    assert {card: header[card] for card in expected} == expected


def test_rule_may_concern_some_detectors_only(own_config: Path) -> None:
    (own_config / "corrections.yaml").write_text(
        "rules: [{id: a, reason: x., detectors: [R22_S11, R00_SG0], set: {GAIN: 2.0}}]"
    )
    found = []
    for raft, slot in (("R22", "S11"), ("R22", "S12"), ("R00", "SG0"), (None, "S11")):
        header: Cards = {"RAFTBAY": raft, "CCDSLOT": slot}
        found.append(correct(header, "Toy"))

    assert found == [("a",), (), ("a",), ()]


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"T": "2024-01-01T00:00:10.5", "S": 20}, {"B": "2023-12-31T23:59:50.500"}),
        ({"T": 60000.0, "S": 86_400.0}, {"B": 59999.0}),
        ({"T": 60000.0, "S": "43200"}, {"B": 59999.5}),
        ({"T": "soon", "S": 20}, {}),
        ({"T": "2024-01-01T00:00:10", "S": None}, {}),
        ({"T": "2024-01-01T00:00:10", "S": 1e300}, {}),
        ({"S": 20}, {}),
    ],
)
def test_time_is_put_before_another(own_config: Path, cards: Cards, expected: Cards) -> None:
    (own_config / "corrections.yaml").write_text(
        "rules: [{id: a, reason: x., earlier: {B: {than: T, by: S}}}]"
    )
    header = dict(cards)
    correct(header, "Toy")

    assert {card: header[card] for card in ("B",) if card in header} == expected


def test_rule_about_equal_cards_needs_both(own_config: Path) -> None:
    (own_config / "corrections.yaml").write_text(
        "rules: [{id: a, reason: x., equal: [[A, B]], set: {C: 1}}]"
    )

    assert correct({"A": 1, "B": 1}, "Toy") == ("a",)
    assert correct({"A": 1, "B": 2}, "Toy") == ()
    assert correct({"A": None, "B": None}, "Toy") == ()
    assert correct({}, "Toy") == ()


def test_later_rule_counts_and_every_rule_sees_the_original(own_config: Path) -> None:
    (own_config / "corrections.yaml").write_text(
        """
        rules:
          - {id: one, reason: x., when: {A: [1]}, set: {A: 2, B: 5}}
          - {id: two, reason: x., when: {A: [1]}, add: {A: 10}}
          - {id: three, reason: x., when: {A: [2, 11]}, set: {C: 7}}
        """
    )
    header: Cards = {"A": 1}

    assert correct(header, "Toy") == ("two", "one")
    assert (header["A"], header["B"]) == (11, 5)
    assert "C" not in header
    assert correct(header, "Toy", untouchable=frozenset({"A"})) == ()


@pytest.mark.parametrize("name", instrument_names())
def test_every_rule_says_what_was_wrong_and_changes_something(name: str) -> None:
    for rule in rules_of(name):
        assert rule.reason.endswith(".")
        by_value = (rule.set, rule.copy_from, rule.lookup, rule.obs_id_part)
        assert any((*by_value, rule.strip_prefix, rule.scale, rule.add, rule.earlier))


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config folder of our own with one instrument."""
    folder = tmp_path / "config" / "instruments" / "Toy"
    folder.mkdir(parents=True)
    monkeypatch.setattr("translators.corrections.config_root", lambda: tmp_path / "config")
    rules_of.cache_clear()
    yield folder
    rules_of.cache_clear()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules: [{id: a}]", "reason"),
        ("rules: [{id: a, reason: x, sett: {A: 1}}]", "sett"),
        ("rules: [{id: a, reason: x, nights: [[2, 1]]}]", "wrong way round"),
        ("rules: [{id: a, reason: x}, {id: a, reason: y}]", "stands twice"),
        ("rules: [", "corrections.yaml"),
    ],
)
def test_wrong_rules_are_refused_with_the_file(own_config: Path, content: str, says: str) -> None:
    (own_config / "corrections.yaml").write_text(content)

    with pytest.raises(InstrumentDataError, match=says):
        rules_of("Toy")


def test_instrument_without_rules_has_none(own_config: Path) -> None:
    assert own_config.is_dir()
    assert rules_of("Toy") == ()
