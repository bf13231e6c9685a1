from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemons.runtime.errors import SettingsError
from daemons.simulators.errors import NightMismatchError
from daemons.simulators.night import day_obs_at
from daemons.simulators.runner import SimulatedNight
from daemons.simulators.settings import SimulatorSettings


def _settings(folder: Path, **changes: Any) -> SimulatorSettings:
    values = {
        "drop_directory": folder / "drop",
        "manifest": folder / "manifest.jsonl",
        "amplifier_shape": (20, 70),
        "day_obs": 20261103,
        "exposures": 4,
    }
    return SimulatorSettings(**(values | changes))


def test_a_manifest_inside_the_drop_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="outside of drop_directory"):
        _settings(tmp_path, manifest=tmp_path / "drop" / "deep" / "manifest.jsonl")


def test_sequence_numbers_that_no_exposure_id_holds_are_refused(tmp_path: Path) -> None:
    assert _settings(tmp_path, first_seq=99_996).exposures == 4
    with pytest.raises(ValidationError, match="99999"):
        _settings(tmp_path, first_seq=99_997)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exposures": 0},
        {"detectors": 0},
        {"pace": "slow"},
        {"amplifier_shape": (0, 10)},
        {"telemetry_rate_scale": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _settings(tmp_path, **wrong)


def test_every_setting_has_its_sentence() -> None:
    for name, field in SimulatorSettings.model_fields.items():
        assert field.description, name


def test_a_day_or_a_detector_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="YYYYMMDD"):
        SimulatedNight(_settings(tmp_path, day_obs=20261399))
    with pytest.raises(SettingsError, match="R22_S99"):
        SimulatedNight(_settings(tmp_path, detectors=("R22_S99",)))


def test_a_second_run_has_the_same_night(tmp_path: Path) -> None:
    first = SimulatedNight(_settings(tmp_path, day_obs=None, pace="real"))
    first.close()
    second = SimulatedNight(_settings(tmp_path, day_obs=None, pace="real"))
    second.close()
    assert first.night == second.night


def test_a_night_without_a_day_at_the_real_pace_begins_now(tmp_path: Path) -> None:
    night = SimulatedNight(_settings(tmp_path, day_obs=None, pace="real"))
    night.close()
    begins = night.night.exposures[0].start_integration
    assert night.night.spec.day_obs == day_obs_at(begins)
    assert begins - night.clock.tai() == pytest.approx(25.0, abs=0.01)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 2},
        {"exposures": 5},
        {"day_obs": 20261104},
        {"detectors": 2},
        {"amplifier_shape": (20, 71)},
        {"calibrations": 0},
        {"first_seq": 2},
    ],
)
def test_a_manifest_of_another_night_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    SimulatedNight(_settings(tmp_path)).close()
    with pytest.raises(NightMismatchError, match="other settings"):
        SimulatedNight(_settings(tmp_path, **changed))


def test_a_night_is_not_gone_on_with_when_that_is_not_wanted(tmp_path: Path) -> None:
    SimulatedNight(_settings(tmp_path, resume=False)).close()
    with pytest.raises(NightMismatchError, match="resume"):
        SimulatedNight(_settings(tmp_path, resume=False))


def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    SimulatedNight(_settings(tmp_path)).close()
    (tmp_path / "manifest.jsonl.night.json").write_text("{")
    with pytest.raises(NightMismatchError, match="no plan"):
        SimulatedNight(_settings(tmp_path))
