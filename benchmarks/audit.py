"""How fast many sidecars are audited, and whether memory stays flat.

    python -m benchmarks.audit [--files N] [--workers N] [--folder DIR]

Writes the sidecars of simulated LSSTCam darks (205 for each exposure, a folder for each
exposure, with some faults among them), audits them with `arriero audit`, and prints the rate and
the resident memory of the audit and its processes at each tenth of the way. The
folder is temporary and removed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from daemons.simulators.focal_plane import sensors
from daemons.simulators.night import ImageType
from tests.support.simulated_headers import DAY_OBS, simulated_header
from translators.sidecar import sidecar_bytes

FIRST_NIGHT = date(2026, 11, 3)
_MJD_ORDINAL = date(1858, 11, 17).toordinal()
_FAULT_EVERY = 5003
"""One sidecar in so many is cut short."""


def main() -> None:
    """Write, audit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=41_000, help="sidecars")
    parser.add_argument("--workers", type=int, default=2, help="processes of the audit")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        start = time.perf_counter()
        broken = write(root / "sidecars", arguments.files)
        print(f"{arguments.files} sidecars written in {time.perf_counter() - start:.0f} s")
        _audit(root, arguments.files, arguments.workers, broken)


def _audit(root: Path, files: int, workers: int, broken: int) -> None:
    command = [sys.executable, "-m", "daemons.cli.main", "audit", str(root / "sidecars"), "--json"]
    command += ["--state", str(root / "audit.db"), "--workers", str(workers)]
    command += ["--report", str(root / "report.jsonl")]
    start = time.perf_counter()
    with (root / "summary.json").open("w") as output:
        running = subprocess.Popen([*command, "--quiet"], stdout=output)
        _watch(running, root / "audit.db", files)
        code = running.wait()
    elapsed = time.perf_counter() - start
    summary = json.loads((root / "summary.json").read_text())
    print(
        f"{summary['images']} audited in {elapsed:.1f} s: {files / elapsed:,.0f} per second, "
        f"with start, listing and report; exit code {code}"
    )
    print(f"findings {summary['findings']}, {broken} sidecars were cut short")
    report = sum(1 for _ in (root / "report.jsonl").open())
    size_mb = (root / "audit.db").stat().st_size / 1e6
    print(f"report of {report} lines, state file {size_mb:.0f} MB")


def _watch(running: subprocess.Popen[bytes], state: Path, files: int) -> None:
    """Print the memory at each tenth of the way."""
    tenth = 1
    while running.poll() is None:
        time.sleep(0.2)
        done = _done(state)
        if done >= files * tenth // 10:
            sizes = [f"{_resident_mb(pid):.0f}" for pid in (running.pid, *_children(running.pid))]
            print(f"  {done:>8} done: resident {' + '.join(sizes)} MB", flush=True)
            tenth = done * 10 // files + 1


def _done(state: Path) -> int:
    import sqlite3  # noqa: PLC0415 - a look from outside, not the audit's own way

    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as database:
            row = database.execute("SELECT max(number) FROM images").fetchone()
    except sqlite3.Error:
        return 0
    return row[0] or 0


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
    except OSError:
        return 0.0


def write(root: Path, files: int) -> int:
    """Write the sidecars; return how many of them are broken."""
    templates = _templates()
    broken = number = 0
    for exposure in range((files + len(templates) - 1) // len(templates)):
        night, seq_num = FIRST_NIGHT + timedelta(exposure // 1000), exposure % 1000 + 1
        obs_id = f"MC_O_{night:%Y%m%d}_{seq_num:06d}"
        folder = root / f"{night:%Y%m%d}" / obs_id
        folder.mkdir(parents=True)
        for detector, template in templates.items():
            if number == files:
                return broken
            number += 1
            content = _filled(template, night, obs_id, seq_num)
            is_broken = number % _FAULT_EVERY == 0
            broken += is_broken
            path = folder / f"{obs_id}_{detector}.json"
            path.write_text(content[:100] if is_broken else content)
    return broken


def _templates() -> dict[str, str]:
    """Return the sidecars of a simulated exposure, with holes for its night and number."""
    found = {}
    for name in sensors():
        header = simulated_header(ImageType.DARK, name)
        obs_id = str(header["OBSID"])
        day = str(header["DATE-OBS"])[:10]
        header |= {card: "<MJD>" + repr(header[card])[5:] for card in header if card[:3] == "MJD"}
        header |= {"SEQNUM": "<SEQNUM>"}
        text = sidecar_bytes(header).decode()
        for before, after in (
            (obs_id, "<OBSID>"),
            (day, "<DATE>"),
            (str(DAY_OBS), "<DAY>"),
            ('"<SEQNUM>"', "<SEQNUM>"),
        ):
            text = text.replace(before, after)
        found[name] = re.sub(r'"(<MJD>[^"]*)"', r"\1", text)
    return found


def _filled(template: str, night: date, obs_id: str, seq_num: int) -> str:
    morning = night + timedelta(1)
    return (
        template.replace("<OBSID>", obs_id)
        .replace("<DATE>", morning.isoformat())
        .replace("<DAY>", f"{night:%Y%m%d}")
        .replace("<SEQNUM>", str(seq_num))
        .replace("<MJD>", str(morning.toordinal() - _MJD_ORDINAL))
    )


if __name__ == "__main__":
    main()
