"""A reader that missed events of ours gets them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from hypothesis import given
from hypothesis import strategies as st

from daemons.bus.stream.memory import MemoryBroker
from daemons.events import EventsForgotten, EventsMissed, ImageStored, new_event
from daemons.forwarder.assembly import Further
from daemons.forwarder.notification import notifications, quoted_key
from daemons.forwarder.settings_notifications import NotificationSettings
from tests.unit.forwarder.harness import Bench, obs_id, raw_key, raw_name, small_raw, until

MakeBench = Callable[..., Bench]
SOURCE = "/arriero/forwarder/camera-host"


async def miss(bench: Bench, first: int, last: int, source: str = SOURCE) -> None:
    fact = EventsMissed(of_source=source, first=first, last=last, reader="test")
    await bench.stream.publish(new_event(fact, source="/test", key=f"{first}:{last}:{source}"))


async def test_missed_events_are_announced_again(bench: Bench) -> None:
    async with bench.running():
        for number in (1, 2):
            bench.put(raw_name(number), small_raw(number))
        await bench.reach("announced", 2)
        before = {event.sequence: event.id for event in bench.events("image.stored")}
        await miss(bench, 1, 1)
        await until(lambda: len(bench.events("image.stored")) == 3, "again", bench)
        again = [
            event.id for event in bench.events("image.stored") if event.sequence == min(before)
        ]
        assert again == [before[min(before)]] * 2


async def test_numbers_that_we_do_not_have_are_told_as_forgotten(bench: Bench) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await miss(bench, 1, 4)
        await until(lambda: len(bench.events("events.forgotten")) == 1, "told", bench)
        (event,) = bench.events("events.forgotten")
        fact = event.read(EventsForgotten)
        assert (fact.of_source, fact.first, fact.last) == (SOURCE, 2, 4)


async def test_requests_for_others_and_senseless_ones_change_nothing(bench: Bench) -> None:
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await miss(bench, 1, 1, source="/arriero/forwarder/another")
        await miss(bench, 4, 2)
        await miss(bench, 1, 1)
        await until(lambda: len(bench.events("image.stored")) == 2, "only the last", bench)
    assert bench.events("events.forgotten") == []


# S3 notifications


class Topic:
    """A topic of notifications that can be away."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.messages: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.down = False

    async def publish(self, key: str, payload: bytes) -> None:
        if self.down:
            raise TimeoutError("the broker is away")
        self.keys.append(key)
        self.messages.append(json.loads(payload))

    async def close(self) -> None:
        """Keep what was sent."""


def notifying(make_bench: MakeBench, topic: Topic) -> Bench:
    bench = make_bench(notifications=NotificationSettings(region="summit", principal="cam"))
    bench.further = Further(notifications=topic)
    bench.again()
    return bench


async def test_each_image_is_told_of_after_its_sidecar(make_bench: MakeBench) -> None:
    topic = Topic()
    bench = notifying(make_bench, topic)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await until(lambda: len(topic.messages) == 2, "told", bench)
    records = [record for message in topic.messages for record in message["Records"]]
    assert len(records) == 2, "one record per message: some consumers read only the first"
    sidecar, image = records
    assert sidecar["s3"]["object"]["key"].endswith(".json")
    assert image["s3"]["object"]["key"].endswith(raw_name())
    assert image["s3"]["object"]["size"] == len(small_raw())
    assert (image["eventName"], image["eventSource"]) == ("ObjectCreated:Put", "ceph:s3")
    assert (image["eventVersion"], image["awsRegion"]) == ("2.2", "summit")
    assert image["s3"]["object"]["sequencer"] > sidecar["s3"]["object"]["sequencer"]
    assert len(set(topic.keys)) == 1, "an exposure's records keep their order"


async def test_notifications_wait_for_their_broker_and_survive_a_restart(
    make_bench: MakeBench,
) -> None:
    topic = Topic()
    topic.down = True
    bench = notifying(make_bench, topic)
    async with bench.running():
        bench.put(raw_name(), small_raw())
        await bench.reach("announced")
        await until(lambda: not bench.health.dependencies["notifications"].ok, "away", bench)
    topic.down = False
    bench.again()
    async with bench.running():
        await until(lambda: len(topic.messages) == 2, "told", bench)


async def test_only_what_is_stored_from_now_on_is_told_of(make_bench: MakeBench) -> None:
    bench = make_bench()
    async with bench.running():
        bench.put(raw_name(1), small_raw(1))
        await bench.reach("announced")
    topic = Topic()
    bench.settings = bench.settings.model_copy(update={"notifications": NotificationSettings()})
    bench.further = Further(notifications=topic)
    bench.again()
    async with bench.running():
        bench.put(raw_name(2), small_raw(2))
        await until(lambda: len(topic.messages) == 2, "told", bench)
    assert all(obs_id(2) in json.dumps(message) for message in topic.messages)


def stored(key: str, uri: str) -> ImageStored:
    return ImageStored(
        file_id="0b7be1b5-3a6b-5d2f-8b39-2a45ad1ad3de",
        instrument="LSSTCam",
        obs_id=obs_id(),
        exposure_id=1,
        day_obs=20250501,
        seq_num=1,
        detector=94,
        detector_name="R22_S11",
        dataset_type="raw",
        run="LSSTCam/raw/all",
        file_name="a.fits",
        store="facility",
        uri=uri,
        key=key,
        size_bytes=5,
        sha256="5" * 64,
        crc64nvme="0" * 16,
        etag="abc",
        stored_at="2025-05-01T00:00:00Z",
    )


def test_the_record_names_bucket_and_whole_key(tmp_path: Path) -> None:
    del tmp_path
    fact = stored(raw_key(), f"s3://profile@embargo/summit/{raw_key()}")
    event = new_event(fact, source=SOURCE, key="1", sequence=7)
    ((key, message),) = notifications(event, NotificationSettings())
    (record,) = json.loads(message)["Records"]
    assert key == raw_key()
    assert record["s3"]["bucket"]["name"] == "embargo"
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:default::embargo"
    assert record["s3"]["object"]["key"] == f"summit/{raw_key()}"
    assert record["s3"]["object"]["eTag"] == "abc"
    assert record["eventTime"].endswith("Z")
    assert list(notifications(event, NotificationSettings())) == [(key, message)]


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_quoted_key_comes_back_the_way_consumers_read_it(key: str) -> None:
    quoted = quoted_key(key)
    assert unquote_plus(quoted) == key
    assert quoted.isascii()
    assert " " not in quoted
