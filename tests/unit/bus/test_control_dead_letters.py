"""What cannot be read is kept, without holding anything up."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from prometheus_client import CollectorRegistry

from daemons.bus import PoisonMessage
from daemons.bus.control.dead_letters import KEPT_BYTES, ControlDeadLetters
from daemons.bus.control.reporting import ControlReporting
from daemons.bus.metrics import bus_metrics
from daemons.runtime.health import HealthBoard


def test_bytes_reason_and_place_are_kept(tmp_path: Path) -> None:
    letters = ControlDeadLetters(tmp_path / "a.jsonl")
    registry = CollectorRegistry()
    reporting = ControlReporting(HealthBoard(), bus_metrics(registry), dead_letters=letters)
    reporting.poison(PoisonMessage("topic[0]@5", b"\x00\xff", "no schema"), source="topic")
    reporting.poison(PoisonMessage("topic[0]@6", b"x" * 200_000, "too long"), source="topic")
    reporting.close()
    first, second = (json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines())
    assert (first["where"], first["reason"], first["size_bytes"]) == ("topic[0]@5", "no schema", 2)
    assert base64.b64decode(first["payload_base64"]) == b"\x00\xff"
    assert second["size_bytes"] == 200_000
    assert len(base64.b64decode(second["payload_base64"])) == KEPT_BYTES
    counted = registry.get_sample_value("arriero_bus_poison_messages_total", {"bus": "control_bus"})
    assert counted == 2


def test_folder_that_cannot_be_written_or_a_closed_file_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    letters = ControlDeadLetters(tmp_path / "file" / "a.jsonl")
    poison = PoisonMessage("t", b"", "x")
    assert letters.put(poison)
    letters.close()
    assert not letters.put(poison)
