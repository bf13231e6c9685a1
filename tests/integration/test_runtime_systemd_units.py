"""The units, as systemd itself judges them."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import needed_tool

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
UNIT = UNITS / "arriero@.service"
EXECUTABLE = "/opt/arriero/bin/arriero"
MOST_EXPOSURE = 1.5


def tool(name: str) -> str:
    return needed_tool(name, "systemd")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def installed(folder: Path) -> Path:
    """Return a copy of the unit whose program exists on this machine."""
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace(EXECUTABLE, sys.executable))
    return copy


def commands() -> list[str]:
    return re.findall(rf"^Exec\w+={EXECUTABLE} (.*)$", UNIT.read_text(), re.MULTILINE)


def test_the_unit_is_correct(tmp_path: Path) -> None:
    checked = run(tool("systemd-analyze"), "verify", "--man=no", str(installed(tmp_path)))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("example", sorted(UNITS.glob("*.d/*.example")), ids=lambda p: p.stem)
def test_the_unit_is_correct_with_each_drop_in(tmp_path: Path, example: Path) -> None:
    analyze = tool("systemd-analyze")
    version = int(run(analyze, "--version").stdout.split()[1])
    if "notify-reload" in example.name and version < 253:
        pytest.skip("Type=notify-reload is known from systemd 253 on")
    installed(tmp_path)
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    shutil.copy(example, folder / example.stem)
    checked = run(analyze, "verify", "--man=no", str(tmp_path / UNIT.name))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    judged = run(
        tool("systemd-analyze"),
        "security",
        "--offline=true",
        f"--threshold={MOST_EXPOSURE * 10:.0f}",
        "--json=short",
        str(installed(tmp_path)),
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    weights = [entry["exposure"] for entry in json.loads(judged.stdout) if entry["exposure"]]
    assert weights


def test_the_unit_says_how_it_starts_reloads_and_fails() -> None:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    service = parser["Service"]
    assert service["Type"] == "notify"
    assert "78" in service["RestartPreventExitStatus"].split()
    assert service["LoadCredential"].startswith("arriero:")
    assert commands() == ["config check", "run", "config check"]
    assert service["ExecReload"].endswith("-HUP $MAINPID")


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_commands_of_the_unit_exist(command: str) -> None:
    done = run(
        sys.executable,
        "-c",
        "import sys; from daemons.cli.main import main; sys.exit(main(sys.argv[1:]))",
        *shlex.split(command),
        "--help",
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_account_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = run(tool("systemd-sysusers"), f"--root={tmp_path}", str(UNITS / "arriero.sysusers"))
    assert users.returncode == 0, users.stderr
    (entry,) = [
        line
        for line in (tmp_path / "etc/passwd").read_text().splitlines()
        if line.startswith("arriero:")
    ]
    assert entry.split(":")[5:] == ["/var/lib/arriero", "/usr/sbin/nologin"]
    made = run(
        tool("systemd-tmpfiles"),
        "--create",
        f"--root={tmp_path}",
        str(UNITS / "arriero.tmpfiles"),
    )
    assert made.returncode == 0, made.stderr
    modes = {
        name: stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("etc/arriero", "etc/arriero/credentials", "var/lib/arriero", "run/arriero")
    }
    assert modes == {
        "etc/arriero": 0o755,
        "etc/arriero/credentials": 0o700,
        "var/lib/arriero": 0o750,
        "run/arriero": 0o755,
    }
