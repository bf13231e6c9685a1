from __future__ import annotations

from collections import Counter

import pytest

from daemons.runtime.errors import SettingsError
from daemons.simulators.focal_plane import choose_sensors, sensors
from translators.identity import ImageKind


def test_the_focal_plane_has_205_sensors_in_order() -> None:
    plane = list(sensors().values())
    assert [each.number for each in plane] == list(range(205))
    assert Counter(each.kind for each in plane) == {
        ImageKind.SCIENCE: 189,
        ImageKind.GUIDER: 8,
        ImageKind.WAVEFRONT: 8,
    }
    assert sensors()["R22_S11"].number == 94
    assert Counter(each.vendor for each in plane if each.kind is ImageKind.SCIENCE) == {
        "ITL": 72,
        "E2V": 117,
    }


def test_the_central_raft_is_chosen_first() -> None:
    nine = choose_sensors(9, guiders=False)
    assert {each.raft for each in nine} == {"R22"}
    assert len(choose_sensors(10, guiders=False)) == 10


def test_all_means_the_imaging_sensors_and_guiders_when_asked_for() -> None:
    assert len(choose_sensors("all", guiders=False)) == 197
    assert len(choose_sensors("all", guiders=True)) == 205
    assert len(choose_sensors(1, guiders=True)) == 9


def test_sensors_can_be_named_in_any_order() -> None:
    chosen = choose_sensors(["R22_S11", "R00_SG0", "R01_S00"], guiders=False)
    assert [each.name for each in chosen] == ["R01_S00", "R22_S11", "R00_SG0"]


@pytest.mark.parametrize("wrong", [["R22_S99"], 0, 198])
def test_sensors_that_do_not_exist_are_refused(wrong: list[str] | int) -> None:
    with pytest.raises(SettingsError, match="detectors"):
        choose_sensors(wrong, guiders=False)


def test_serial_numbers_are_unique() -> None:
    plane = sensors().values()
    assert len({each.lsst_name for each in plane}) == 205
    assert len({each.manufacturer_serial for each in plane}) == 205
