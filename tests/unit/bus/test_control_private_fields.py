from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import Topic
from daemons.bus.control.private_fields import (
    PRIVATE_FIELDS,
    SEQUENCE_MAX,
    Stamper,
    from_wire,
    private_values,
)
from daemons.runtime.clock import SystemClock, TaiSeconds, UtcSeconds

TOPIC = Topic("ESS", "temperature", 301)


class StoppedClock:
    """2025-12-31T23:16:28 UTC, for ever."""

    def utc(self) -> UtcSeconds:
        return UtcSeconds(1795272989.0)

    def tai(self) -> TaiSeconds:
        return TaiSeconds(1795273026.0)

    def monotonic(self) -> float:
        return 0.0


def test_stamps_are_tai_but_for_the_one_that_is_utc() -> None:
    message = Stamper("ESS:301", StoppedClock(), origin=24451).stamp(TOPIC, {})
    assert private_values(message, revision="5e24dd78") == {
        "private_sndStamp": 1795273026.0,
        "private_rcvStamp": 0.0,
        "private_efdStamp": 1795272989.0,
        "private_kafkaStamp": 1795273026.0,
        "private_seqNum": 1,
        "private_revCode": "5e24dd78",
        "private_identity": "ESS:301",
        "private_origin": 24451,
    }
    assert [name for name, _, _ in PRIVATE_FIELDS] == list(private_values(message, revision=""))


def test_each_topic_and_index_counts_from_one() -> None:
    stamper = Stamper("x", StoppedClock())
    other = Topic("ESS", "temperature", 302)
    assert [stamper.stamp(TOPIC, {}).sequence for _ in range(3)] == [1, 2, 3]
    assert stamper.stamp(other, {}).sequence == 1
    assert stamper.stamp(TOPIC, {}, sequence=99).sequence == 99
    assert stamper.stamp(TOPIC, {}).sequence == 4


def test_count_begins_anew_after_the_largest_number() -> None:
    stamper = Stamper("x", StoppedClock())
    stamper._counters[TOPIC] = SEQUENCE_MAX - 1
    assert [stamper.stamp(TOPIC, {}).sequence for _ in range(3)] == [SEQUENCE_MAX, 1, 2]


@given(
    st.integers(0, 2**31 - 1),
    st.dictionaries(
        st.text("abcdefgh", min_size=1), st.integers() | st.text() | st.floats(allow_nan=False)
    ),
)
def test_what_is_stamped_comes_back(index: int, payload: dict[str, object]) -> None:
    sent = Stamper("me", SystemClock()).stamp(Topic("ESS", "temperature", index), payload)
    record = {"salIndex": index, **payload, **private_values(sent, revision="0")}
    assert from_wire("ESS", "temperature", record) == sent


def test_record_without_private_fields_is_a_message_of_nobody() -> None:
    message = from_wire("Dome", "slit", {"open": True})
    assert (message.topic, message.fields) == (Topic("Dome", "slit"), {"open": True})
    assert (message.identity, message.sequence, message.origin) == ("", 0, 0)
