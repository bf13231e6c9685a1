"""The envelope carries every fact there and back, and refuses what is none."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.events import (
    CATALOGUE,
    ExposureComplete,
    ImageStored,
    InvalidEventError,
    decode,
    encode,
    new_event,
)

STORED = ImageStored(
    file_id=UUID("0186fd5f-5b0d-5b0d-8b0d-0186fd5f5b0d"),
    instrument="LSSTCam",
    obs_id="MC_O_20250501_000123",
    exposure_id=2025050100123,
    day_obs=20250501,
    seq_num=123,
    detector=94,
    detector_name="R22_S11",
    dataset_type="raw",
    run="LSSTCam/raw/all",
    file_name="MC_O_20250501_000123_R22_S11.fits",
    store="facility",
    uri="s3://bucket/LSSTCam/20250501/x.fits",
    key="LSSTCam/20250501/x.fits",
    size_bytes=19_500_000,
    sha256="0" * 64,
    crc64nvme="0" * 16,
    etag="e",
    stored_at=datetime(2025, 5, 2, 3, 4, 5, 678901, tzinfo=UTC),
)


def test_a_fact_survives_the_wire_unchanged() -> None:
    event = new_event(STORED, source="/arriero/forwarder/host", key="k", sequence=7)

    again = decode(encode(event))

    assert again == event
    assert again.read(ImageStored) == STORED
    assert again.partitionkey == "MC_O_20250501_000123"
    assert again.subject == "MC_O_20250501_000123/R22_S11"
    assert again.sequence == "00000000000000000007"


def test_the_same_key_gives_the_same_id_and_another_key_another() -> None:
    first = new_event(STORED, source="/a", key="k")
    assert new_event(STORED, source="/a", key="k").id == first.id
    assert new_event(STORED, source="/a", key="other").id != first.id
    assert new_event(STORED, source="/b", key="k").id != first.id


def test_a_newer_sender_may_add_fields() -> None:
    event = new_event(STORED, source="/a", key="k")
    newer = event.model_copy(update={"data": {**event.data, "colour": "blue"}})

    assert decode(encode(newer)).read(ImageStored) == STORED


def test_an_unknown_type_is_read_and_its_data_left_alone() -> None:
    event = new_event(STORED, source="/a", key="k")
    newer = event.model_copy(update={"type": "image.painted", "data": {"x": 1}})

    again = decode(encode(newer))

    assert again.type == "image.painted"
    with pytest.raises(InvalidEventError, match=r"has the type image\.painted"):
        again.read(ImageStored)


def test_data_that_do_not_fit_their_type_are_refused() -> None:
    event = new_event(STORED, source="/a", key="k")
    broken = event.model_copy(update={"data": {**event.data, "sha256": "short"}})

    with pytest.raises(InvalidEventError, match="sha256"):
        decode(encode(broken))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(payload: bytes) -> None:
    try:
        event = decode(payload)
    except InvalidEventError:
        return
    assert event.specversion == "1.0"


def test_every_type_of_the_catalogue_is_a_past_tense_pair_of_words() -> None:
    for name in CATALOGUE:
        subject, _, verb = name.partition(".")
        assert subject in {"image", "exposure", "header", "events"}
        assert verb


def test_an_exposure_is_its_own_subject() -> None:
    fact = ExposureComplete(
        instrument="LSSTCam",
        obs_id="MC_O_20250501_000123",
        exposure_id=2025050100123,
        day_obs=20250501,
        seq_num=123,
        scope="host",
        expected=9,
        stored=9,
    )
    event = new_event(fact, source="/a", key=fact.obs_id)
    assert event.subject == event.partitionkey == "MC_O_20250501_000123"
