from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus.sal.dictionary import load_dictionary
from daemons.runtime.clock import UtcSeconds, utc_to_tai
from headerservice.loading import definitions_path, load_definitions
from headerservice.rules import Definitions
from headerservice.series import KEPT_SAMPLES, Sample, SampleStore, Series
from tests.unit.headerservice.rig import message, topic

T0 = 1_795_273_000.0


def sample(time: float, number: int = 0) -> Sample:
    return Sample(time, None, {}, (time, number, 1))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=80), st.integers(-1, 51))
def test_samples_are_found_by_time_whatever_their_order(
    marks: list[tuple[int, int]], instant: int
) -> None:
    series = Series(capacity=1000)
    for time, number in marks:
        series.insert(sample(float(time), number))
    known = sorted({(float(time), number) for time, number in marks})
    assert len(series) == len(known)
    before = [mark for mark in known if mark[0] <= instant]
    after = [mark for mark in known if mark[0] > instant]
    found, later = series.before(instant), series.after(instant)
    assert (found and (found.time, found.mark[1])) == (before[-1] if before else None)
    assert (later and later.time) == (after[0][0] if after else None)
    assert [each.time for each in series.between(instant, 60)] == [mark[0] for mark in after]


def test_a_repeated_sample_is_kept_once() -> None:
    series = Series(capacity=10)
    assert series.insert(sample(1.0, 1))
    assert not series.insert(sample(1.0, 1))
    assert series.insert(sample(1.0, 2))
    assert len(series) == 2


def test_a_series_stays_bounded_and_says_what_it_dropped() -> None:
    series = Series(capacity=1000)
    for number in range(5000):
        series.insert(sample(float(number)))
    assert len(series) <= 1256
    assert series.dropped + len(series) == 5000
    assert series.newest is not None
    assert series.newest.time == 4999.0


def test_pruning_never_takes_the_last_value_before_the_horizon() -> None:
    series = Series(capacity=10_000)
    for number in range(2000):
        series.insert(sample(float(number)))
    series.prune(1500.0)
    found = series.before(1500.0)
    assert found is not None
    assert found.time == 1500.0
    series.prune(1e12)
    assert len(series) >= KEPT_SAMPLES


def store_with(definitions: Definitions, *messages_: object) -> SampleStore:
    store = SampleStore(definitions)
    for each in messages_:
        store.insert(each)  # type: ignore[arg-type]
    return store


def test_a_sample_is_dated_by_its_own_time_field(definitions: Definitions) -> None:
    fields = {"actualPosition": 1.0, "actualPositionTimestamp": T0 - 0.05, "timestamp": T0 - 9}
    store = store_with(definitions, message("MTMount.elevation", fields, T0))
    assert store.newest_time(topic("MTMount.elevation")) == T0 - 0.05


def test_a_topic_without_a_time_is_dated_by_its_sending(definitions: Definitions) -> None:
    store = store_with(definitions, message("MTHexapod:1.application", {"demand": [0.0] * 6}, T0))
    assert store.newest_time(topic("MTHexapod:1.application")) == T0


def test_times_in_utc_become_tai(definitions: Definitions) -> None:
    utc = UtcSeconds(T0 - 37.0)
    fields = {"timestamp": utc, "expiresAt": utc + 600, "fwhm": 0.8}
    store = store_with(definitions, message("DIMM:1.logevent_dimmMeasurement", fields, T0))
    assert store.newest_time(topic("DIMM:1.logevent_dimmMeasurement")) == utc_to_tai(utc)


def test_a_clock_that_is_wrong_is_a_finding_and_the_time_of_sending_counts(
    definitions: Definitions,
) -> None:
    for wrong in (T0 + 3600.0, T0 - 3600.0):
        store = SampleStore(definitions)
        fields = {"actualPosition": 1.0, "actualPositionTimestamp": wrong}
        (finding,) = store.insert(message("MTMount.elevation", fields, T0))
        assert finding.code == "time.implausible"
        assert store.newest_time(topic("MTMount.elevation")) == T0


def test_a_time_that_is_no_time_is_not_filled_in(definitions: Definitions) -> None:
    for nothing in (0.0, -1.0, float("nan"), float("inf"), "now", None, True):
        store = SampleStore(definitions)
        fields = {"actualPosition": 1.0, "actualPositionTimestamp": nothing}
        assert store.insert(message("MTMount.elevation", fields, T0)) == ()
        assert store.newest_time(topic("MTMount.elevation")) == T0


def test_only_fields_that_a_keyword_needs_are_kept(definitions: Definitions) -> None:
    fields = {"actualPosition": 1.0, "actualTorque": 5.0, "actualPositionTimestamp": T0}
    store = store_with(definitions, message("MTMount.elevation", fields, T0))
    (dating,) = definitions.datings[topic("MTMount.elevation")]
    series = store.series(topic("MTMount.elevation"), dating)
    assert series is not None
    assert series.newest is not None
    assert "actualTorque" not in series.newest.fields


def test_memory_is_pruned_by_the_time_of_the_bus_and_not_where_it_is_needed(
    definitions: Definitions,
) -> None:
    store = SampleStore(definitions)
    name = topic("MTRotator.rotation")
    for number in range(4000):
        fields = {"actualPosition": 1.0, "timestamp": T0 + number}
        store.insert(message("MTRotator.rotation", fields, T0 + number, sequence=number))
    (dating,) = definitions.datings[name]
    series = store.series(name, dating)
    assert series is not None
    store.prune(horizon_s=100.0, needed_from=T0 + 1000)
    found = series.before(T0 + 1000)
    assert found is not None
    assert found.time == T0 + 1000
    store.prune(horizon_s=100.0, needed_from=None)
    assert series.before(T0 + 1000) is None
    assert series.before(T0 + 3900) is not None


def test_a_message_without_a_time_of_sending_is_left_out(definitions: Definitions) -> None:
    store = SampleStore(definitions)
    (finding,) = store.insert(message("MTHexapod:1.application", {"demand": [0.0]}, float("nan")))
    assert finding.code == "time.missing"
    assert len(store) == 0


MOUNT = "ATPtg.mountPositions"


@cache
def latiss() -> Definitions:
    return load_definitions(definitions_path("LATISS"), load_dictionary())


def test_the_elements_of_an_array_are_samples_of_their_own_times() -> None:
    azimuths = [10.0 + 0.01 * place for place in range(100)]
    fields = {"cRioTimestamp": T0 - 1.0, "azimuthCalculatedAngle": azimuths, "ra": [5.0] * 3}
    store = store_with(latiss(), message(MOUNT, fields, T0))
    (dating,) = latiss().datings[topic(MOUNT)]
    found = store.series(topic(MOUNT), dating)
    assert found is not None
    assert len(found) == 100
    first, last = found.before(T0 - 1.0), found.newest
    assert first is not None
    assert last is not None
    assert (first.time, first.fields["azimuthCalculatedAngle"]) == (T0 - 1.0, 10.0)
    assert last.time == pytest.approx(T0 - 0.01)
    assert last.fields["azimuthCalculatedAngle"] == pytest.approx(10.99)
    # A shorter array ends sooner; what is beyond it is absent, not zero.
    assert first.fields["ra"] == 5.0
    assert "ra" not in last.fields


@pytest.mark.parametrize("value", [1.0, [], "text", None])
def test_what_should_be_an_array_and_is_none_does_no_harm(value: object) -> None:
    fields = {"cRioTimestamp": T0 - 1.0, "azimuthCalculatedAngle": value}
    store = store_with(latiss(), message(MOUNT, fields, T0))
    assert len(store) == 1


def test_a_wrong_clock_is_told_once_until_it_was_right_again(definitions: Definitions) -> None:
    store = SampleStore(definitions)

    def insert(offset: float, number: int) -> int:
        fields = {"actualPosition": 1.0, "actualPositionTimestamp": T0 + number + offset}
        said = message("MTMount.elevation", fields, T0 + number, sequence=number)
        return len([each for each in store.insert(said) if each.code == "time.implausible"])

    assert [insert(3600.0, number) for number in range(5)] == [1, 0, 0, 0, 0]
    assert insert(0.0, 6) == 0
    assert [insert(-3600.0, number) for number in range(7, 10)] == [1, 0, 0]


def test_a_schema_that_changes_in_the_night_is_told_once_and_when_it_is_back(
    definitions: Definitions,
) -> None:
    store = SampleStore(definitions)
    whole = {"actualPosition": 1.0, "actualPositionTimestamp": T0}

    def insert(fields: dict[str, float], number: int) -> list[str]:
        said = message("MTMount.elevation", fields, T0 + number, sequence=number)
        return [each.sentence for each in store.insert(said)]

    assert insert(whole, 1) == []
    changed = {"position": 1.0, "actualPositionTimestamp": T0}
    (sentence,) = insert(changed, 2)
    assert "MTMount.elevation of MTMount has no actualPosition" in sentence
    assert insert(changed, 3) == []
    (again,) = insert({**whole, "more": 1.0}, 4)
    assert "has actualPosition again" in again


def test_what_is_kept_can_change_without_losing_what_was_kept(definitions: Definitions) -> None:
    fields = {"actualPosition": 1.0, "actualPositionTimestamp": T0}
    store = store_with(definitions, message("MTMount.elevation", fields, T0))
    store.keep(latiss(), definitions)
    assert store.newest_time(topic("MTMount.elevation")) == T0
    store.insert(message(MOUNT, {"cRioTimestamp": T0, "ra": [1.0] * 100}, T0 + 1))
    assert len(store) == 101
    store.keep(latiss())
    assert store.newest_time(topic("MTMount.elevation")) is None
    assert store.insert(message("MTMount.elevation", fields, T0 + 2)) == ()
    assert len(store) == 100
