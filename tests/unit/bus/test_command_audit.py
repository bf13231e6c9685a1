"""What was commanded is kept, and known again after a restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemons.bus import ControlMessage, Topic
from daemons.bus.audit import CommandId, FileAudit
from daemons.bus.commandable import CommandPolicy
from daemons.bus.commands import AckCode, Acknowledgement
from daemons.bus.lines_file import LinesFile
from daemons.runtime.clock import TaiSeconds
from tests.contract.bus.control_benches import MemoryBench, take
from tests.contract.bus.control_crew import COMPONENT, Crew, topic

DONE = Acknowledgement(AckCode.COMPLETE, "Done")


def command(sequence: int = 5, *, sent: float = 1000.0, index: int = 0) -> ControlMessage:
    return ControlMessage(
        Topic(COMPONENT, "command_start", index),
        {"configurationOverride": ""},
        TaiSeconds(sent),
        sequence,
        "observer@summit",
        42,
    )


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[FileAudit]:
    made = FileAudit(tmp_path / "commands.jsonl")
    yield made
    await made.close()


async def test_line_says_who_what_when_and_what_came_of_it(
    audit: FileAudit, tmp_path: Path
) -> None:
    await audit.record(command(), Acknowledgement(AckCode.NOPERM, "may not", error=1))
    line = json.loads((tmp_path / "commands.jsonl").read_text())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "component": COMPONENT,
        "index": 0,
        "command": "command_start",
        "fields": {"configurationOverride": ""},
        "identity": "observer@summit",
        "origin": 42,
        "sequence": 5,
        "sent_tai": 1000.0,
        "outcome": "NOPERM",
        "result": "may not",
        "error": 1,
    }


async def test_commands_of_one_component_are_known_again(audit: FileAudit) -> None:
    await audit.record(command(5), DONE)
    await audit.record(command(6, index=2), DONE)
    known = await audit.recall(COMPONENT, 0)
    assert list(known) == [CommandId.of(command(5))]
    assert known[CommandId.of(command(5))].answer == DONE


async def test_line_that_a_kill_cut_short_spoils_no_other(audit: FileAudit, tmp_path: Path) -> None:
    await audit.record(command(5), DONE)
    with (tmp_path / "commands.jsonl").open("ab") as file:
        file.write(b'{"component": "MTHea')
    later = FileAudit(tmp_path / "commands.jsonl")
    await later.record(command(6), DONE)
    known = await later.recall(COMPONENT, 0)
    await later.close()
    assert [key.sequence for key in known] == [5, 6]


async def test_file_that_cannot_be_written_stops_no_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    audit = FileAudit(tmp_path / "file" / "commands.jsonl")
    await audit.record(command(), DONE)
    assert await audit.recall(COMPONENT, 0) == {}
    await audit.close()


def test_full_file_is_put_aside_and_few_are_kept(tmp_path: Path) -> None:
    lines = LinesFile(tmp_path / "a.jsonl", max_bytes=50, kept=2)
    for number in range(20):
        lines.append({"number": number, "text": "x" * 20})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl.1", "a.jsonl.2"]
    assert [line["number"] for line in lines.newest(10)] == [18, 19]


@pytest.mark.parametrize(
    ("allowed", "identity", "origin", "obeyed"),
    [
        (("*",), "anybody", 1, True),
        (("*@summit-*",), "operator@summit-1", 1, True),
        (("*@summit-*",), "operator@base", 1, False),
        (("Watcher#77",), "Watcher", 77, True),
        (("Watcher#77",), "Watcher", 78, False),
        (("Watcher#*", "x"), "Watcher", 3, True),
        ((), "anybody", 1, False),
    ],
)
def test_who_may_command(
    *, allowed: tuple[str, ...], identity: str, origin: int, obeyed: bool
) -> None:
    assert CommandPolicy(allowed=allowed).allows(identity, origin) is obeyed


async def test_command_that_was_done_before_a_kill_is_acknowledged_and_not_done_again(
    audit: FileAudit,
) -> None:
    bench = MemoryBench()
    sender = bench.bus("observer@summit")
    crew = Crew(bench.bus(COMPONENT), durable="commands", audit=audit)
    async with bench.bus().subscribe([topic("ackcmd")]) as acks, crew.at_work():
        async with bench.bus().subscribe([topic("logevent_errorCode")]) as told:
            await take(told, 1)
        sent = await sender.publish(topic("command_start"), {}, sequence=7)
        await take(acks, 1)
    second = Crew(bench.bus(COMPONENT), durable="other", audit=audit)
    async with bench.bus().subscribe([topic("ackcmd")]) as acks, second.at_work():
        async with bench.bus().subscribe([topic("logevent_errorCode")], history=False) as told:
            await take(told, 1)
        bench.broker.append(sent)
        (again,) = await take(acks, 1)
    assert (again.fields["ack"], again.sequence) == (303, 7)
    assert second.service.opened == 0
    await bench.close()
