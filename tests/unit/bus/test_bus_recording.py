"""Recordings: what went in comes out, whatever happened to the recorder."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.bus import ControlMessage, Topic
from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.bus.recording.file import (
    Recorded,
    RecordingError,
    RecordingWriter,
    Rotation,
    part_path,
    read_recording,
)
from daemons.bus.recording.record import record
from daemons.bus.recording.replay import ReplayPlan, replay
from daemons.bus.recording.shift import shifted
from daemons.runtime.clock import SystemClock, TaiSeconds
from tests.support.waiting import until

START = Topic("MTCamera", "logevent_startIntegration")
ELEVATION = Topic("MTMount", "elevation")
T0 = 1795273035.5


def message(
    topic: Topic, fields: dict[str, Any], sent: float = T0, sequence: int = 1, **rest: Any
) -> ControlMessage:
    return ControlMessage(
        topic, MappingProxyType(fields), TaiSeconds(sent), sequence, "tester@summit", 7, **rest
    )


def some(count: int, *, schema: str | None = None) -> list[Recorded]:
    return [
        Recorded(
            T0 + number,
            message(
                ELEVATION, {"actualPosition": 0.1 * number}, T0 + number, number, schema=schema
            ),
        )
        for number, at in ((number, T0 + number) for number in range(count))
    ]


def written(path: Path, *batches: list[Recorded], **options: Any) -> RecordingWriter:
    writer = RecordingWriter(path, about={"bus": "memory:"}, **options)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return writer


def test_everything_of_a_message_survives(tmp_path: Path) -> None:
    sample = message(
        Topic("ESS", "temperature", 301),
        {"temperatureItem": [8.25, float("inf")], "name": "mast é", "n": 3, "ok": True, "x": None},
        historical=True,
        schema='{"type": "record"}',
    )
    written(tmp_path / "a.jsonl.gz", [Recorded(T0 + 1, sample)])
    (found,) = read_recording(tmp_path / "a.jsonl.gz")
    assert found == Recorded(T0 + 1, sample)
    assert found.message.schema == sample.schema


def test_nan_is_read_as_nan(tmp_path: Path) -> None:
    written(tmp_path / "a.gz", [Recorded(T0, message(ELEVATION, {"actualPosition": float("nan")}))])
    (found,) = read_recording(tmp_path / "a.gz")
    value = found.message.fields["actualPosition"]
    assert value != value  # noqa: PLR0124 - that is what NaN is


def test_schema_stands_once_in_each_file(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl.gz"
    writer = written(
        path,
        some(3, schema="A"),
        some(3, schema="B"),
        rotation=Rotation(max_s=1.5, max_bytes=10**9),
    )
    assert writer.parts > 1
    for number in range(writer.parts):
        text = gzip.decompress(part_path(path, number).read_bytes())
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[0]["arriero_recording"] == 1
        texts = [line["text"] for line in lines if "text" in line]
        assert len(texts) == len(set(texts))
    assert [each.message.schema for each in read_recording(path)] == ["A"] * 3 + ["B"] * 3


def test_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl.gz"
    writer = written(path, some(10), rotation=Rotation(max_s=3.0))
    assert writer.parts == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "night-0001.jsonl.gz",
        "night-0002.jsonl.gz",
        "night-0003.jsonl.gz",
        "night.jsonl.gz",
    ]
    assert list(read_recording(path)) == some(10)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    written(tmp_path / "a.gz", some(1))
    with pytest.raises(RecordingError, match="overwrites nothing"):
        RecordingWriter(tmp_path / "a.gz", about={})


@given(cut=st.integers(min_value=1, max_value=400))
def test_file_that_was_cut_anywhere_is_read_to_its_last_whole_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.gz"
    writer = RecordingWriter(path, about={})
    for each in some(20):
        writer.write([each])
    whole = path.read_bytes()
    writer.close()
    path.write_bytes(whole[: max(120, len(whole) - cut)])
    found = list(read_recording(path))
    assert found == some(20)[: len(found)]
    assert len(found) >= 20 - cut // 10 - 2


def test_what_is_no_recording_is_said_so(tmp_path: Path) -> None:
    cases = {
        "plain": b"hello",
        "other": gzip.compress(b'{"a": 1}\n'),
        "newer": gzip.compress(b'{"arriero_recording": 99}\n'),
        "empty": b"",
        "damaged": gzip.compress(b'{"arriero_recording": 1}\n{"topic": "x"}\n'),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecordingError, match=name):
            list(read_recording(tmp_path / name))
    with pytest.raises(RecordingError, match="absent"):
        list(read_recording(tmp_path / "absent"))


# ---- recording


async def test_bus_is_recorded_with_the_events_from_before(tmp_path: Path) -> None:
    broker = MemoryControlBroker()
    sender = MemoryControlBus(broker, identity="MTCamera")
    await sender.publish(START, {"imageName": "before"})
    stop = asyncio.Event()
    ready = asyncio.Event()
    writer = RecordingWriter(tmp_path / "a.gz", about={})
    recording = asyncio.create_task(
        record(
            MemoryControlBus(broker, identity="recorder"),
            [START, ELEVATION],
            writer,
            clock=SystemClock(),
            ready=ready.set,
            stop=stop,
        )
    )
    await ready.wait()
    for number in range(5):
        await sender.publish(ELEVATION, {"actualPosition": float(number)})
    await until(lambda: len(_readable(tmp_path / "a.gz")) == 6)  # before it ends
    stop.set()
    report = await recording
    assert report.messages == 6
    found = list(read_recording(tmp_path / "a.gz"))
    assert [each.message.historical for each in found] == [True] + [False] * 5
    assert [each.message.sequence for each in found] == [1, 1, 2, 3, 4, 5]


def _readable(path: Path) -> list[Recorded]:
    return list(read_recording(path))


_RECORDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.bus.test_bus_recording import some
from daemons.bus.recording.file import RecordingWriter
writer = RecordingWriter(Path({path!r}), about={{}})
for each in some(1000):
    writer.write([each])
    if each.message.sequence == 200:
        print("written", flush=True)
time.sleep(600)
"""


def test_recorder_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    root = str(Path(__file__).parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", _RECORDER.format(root=root, path=str(path))],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    found = list(read_recording(path))
    assert len(found) >= 201
    assert found == some(1000)[: len(found)]


# ---- replaying


async def test_replay_sends_what_was_recorded_private_fields_and_all(tmp_path: Path) -> None:
    written(tmp_path / "a.gz", some(5))
    broker = MemoryControlBroker()
    plan = ReplayPlan(speed=None, times=2)
    async with MemoryControlBus(broker, identity="x").subscribe([ELEVATION]) as heard:
        report = await replay(
            tmp_path / "a.gz", MemoryControlBus(broker, identity="r"), plan, clock=SystemClock()
        )
        got = [(await anext(aiter(heard))).message for _ in range(10)]
    assert (report.sent, report.left_out) == (10, 0)
    assert got == [each.message for each in some(5)] * 2


async def test_replay_keeps_its_own_pace(tmp_path: Path) -> None:
    written(tmp_path / "a.gz", some(4))
    bus = MemoryControlBus(MemoryControlBroker(), identity="r")
    begun = time.monotonic()
    await replay(tmp_path / "a.gz", bus, ReplayPlan(speed=10.0), clock=SystemClock())
    assert time.monotonic() - begun >= 0.3  # three seconds, ten times as fast


async def test_replay_onto_now_moves_all_times_alike(tmp_path: Path) -> None:
    clock = SystemClock()
    fields = {"timestamp": T0 - 1, "actualPosition": 12.5}
    written(tmp_path / "a.gz", [Recorded(T0, message(ELEVATION, fields))])
    broker = MemoryControlBroker()
    async with MemoryControlBus(broker, identity="x").subscribe([ELEVATION]) as heard:
        plan = ReplayPlan(speed=None, to_now=True)
        await replay(tmp_path / "a.gz", MemoryControlBus(broker, identity="r"), plan, clock=clock)
        got = (await anext(aiter(heard))).message
    assert abs(float(clock.tai()) - float(got.sent)) < 60
    assert got.fields["timestamp"] == pytest.approx(float(got.sent) - 1, abs=1e-6)
    assert got.fields["actualPosition"] == 12.5


@given(by_s=st.floats(min_value=-1e8, max_value=1e8))
def test_shift_moves_times_and_nothing_else(by_s: float) -> None:
    fields = {
        "timestamp": T0 + 3,
        "timestamp_ms": round((T0 - 37) * 1000),
        "expiresAt": T0 + 600,
        "exposureTime": 15.0,
        "imageNumber": 20251231,
        "angle": [359.9, T0 - 5],
        "none": None,
        "flag": True,
        "nan": float("inf"),
        "name": "MC_O",
    }
    moved = shifted(message(ELEVATION, dict(fields)), by_s)
    assert float(moved.sent) == pytest.approx(T0 + by_s)
    assert moved.fields["timestamp"] == pytest.approx(T0 + 3 + by_s)
    assert moved.fields["expiresAt"] == pytest.approx(T0 + 600 + by_s)
    assert moved.fields["timestamp_ms"] == pytest.approx((T0 - 37 + by_s) * 1000, abs=1)
    assert isinstance(moved.fields["timestamp_ms"], int)
    assert moved.fields["angle"] == [359.9, pytest.approx(T0 - 5 + by_s)]
    for name in ("exposureTime", "imageNumber", "none", "flag", "nan", "name"):
        assert moved.fields[name] == fields[name]
