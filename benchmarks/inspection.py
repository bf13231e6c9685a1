"""How long an inspection takes, beside the digest alone and beside astropy.

    python -m benchmarks.inspection [--files N] [--repeats N]

Writes files with the structure of an LSSTCam raw (primary, 16 compressed
amplifiers of noise, two tables of conditions, checksums in every HDU, about
19 MB), and prints medians. The aim is an inspection in at most 1.3 times the time
of `hashlib.file_digest(..., "sha256")`.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from translators.inspect import inspect_file

_ROWS = 2048
_ROW_BYTES = 566
"""Length of a compressed row of noise with a deviation of 30 ADU."""
_SEGMENTS = [f"Segment1{n}" for n in range(8)] + [f"Segment0{n}" for n in reversed(range(8))]
_PRIMARY: dict[str, Any] = {
    "IMGTYPE": "OBJECT",
    "DATE-OBS": "2025-05-02T04:12:47.100",
    "OBSID": "MC_O_20250501_000123",
    "DATE-BEG": "2025-05-02T04:12:47.100",
    "MJD-BEG": 60797.1755451388,
    "DATE-END": "2025-05-02T04:13:17.600",
    "GROUPID": "2025-05-02T04:12:40.123",
    "TIMESYS": "TAI",
    "INSTRUME": "lsstCam",
    "TELESCOP": "Simonyi Survey Telescope",
    "RASTART": 187.501,
    "DECSTART": 8.251,
    "ROTPA": 33.25,
    "ROTCOORD": "sky",
    "ELSTART": 52.5,
    "AZSTART": 12.25,
    "TRACKSYS": "RADEC",
    "RADESYS": "ICRS",
    "OBJECT": "Virgo",
    "VIGN_MIN": "NO",
    "CONTRLLR": "O",
    "DAYOBS": "20250501",
    "SEQNUM": 123,
    "PROGRAM": "BLOCK-365",
    "CURINDEX": 1,
    "MAXINDEX": 1,
    "RAFTBAY": "R22",
    "CCDSLOT": "S11",
    "FILTER": "r_57",
    "EXPTIME": 30.0,
    "DARKTIME": 30.5,
    "SHUTTIME": 30.004,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--files", type=int, default=4, help="files in turn, so that none is favoured"
    )
    parser.add_argument("--repeats", type=int, default=25, help="rounds over the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [_write_raw(Path(folder), number) for number in range(arguments.files)]
        _measure_inspection(paths, arguments.repeats)


def _measure_inspection(paths: list[Path], repeats: int) -> None:
    size_mb = paths[0].stat().st_size / 1e6
    print(f"{len(paths)} files of {size_mb:.2f} MB, {len(inspect_file(paths[0]).hdus)} HDUs each")
    assert all(inspect_file(path).whole for path in paths)  # noqa: S101 - the figures mean nothing else
    ways: dict[str, Callable[[Path], object]] = {
        "sha256 alone": _digest,
        "inspect_file": inspect_file,
        "astropy, checksums only": _astropy_checksums,
        "astropy + sha256": lambda path: (_astropy_checksums(path), _digest(path)),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        # In turn, so that a change of the machine's speed meets all.
        for name, way in ways.items():
            for path in paths:
                before = time.thread_time()
                wall[name].append(_seconds(way, path))
                cpu[name].append(time.thread_time() - before)
    for kind, times in (("wall", wall), ("processor", cpu)):
        alone = statistics.median(times["sha256 alone"])
        print(f" {kind} time, medians:")
        for name, measured in times.items():
            median = statistics.median(measured)
            print(f"  {name:24} {median * 1e3:8.2f} ms   {median / alone:5.2f} x sha256 alone")
    _measure_threads(paths, repeats, alone_s=statistics.median(wall["inspect_file"]))


def _measure_threads(paths: list[Path], repeats: int, *, alone_s: float) -> None:
    """Show that threads do not wait for each other: two files in two threads at once."""
    pair = (paths * 2)[:2]
    with ThreadPoolExecutor(2) as pool:
        measured = [
            _seconds(lambda both: list(pool.map(inspect_file, both)), pair) for _ in range(repeats)
        ]
    together = statistics.median(measured)
    print(
        f"  {'two at once, two threads':24} {together * 1e3:8.2f} ms   "
        f"{together / alone_s:5.2f} x one inspection"
    )


def _seconds(way: Callable[[Any], object], argument: Any) -> float:
    start = time.perf_counter()
    way(argument)
    return time.perf_counter() - start


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _astropy_checksums(path: Path) -> None:
    with (
        _quiet(),
        fits.open(path, checksum=True, disable_image_compression=True, memmap=False) as opened,
    ):
        len(opened)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def _write_raw(folder: Path, number: int) -> Path:
    """Write a file with the structure of an LSSTCam raw; its pixels are noise."""
    noise = np.random.default_rng(number)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.extend(fits.Card(keyword, value) for keyword, value in _PRIMARY.items())
    _fill(hdus[0].header, 120)
    for name in _SEGMENTS:
        rows = np.empty(_ROWS, dtype=object)
        for row in range(_ROWS):
            rows[row] = noise.integers(0, 256, size=_ROW_BYTES, dtype=np.uint8)
        column = fits.Column(name="COMPRESSED_DATA", format="PB()", array=rows)
        hdus.append(fits.BinTableHDU.from_columns([column], name=name))
        _fill(hdus[-1].header, 130)
    for name, cards in (("REB_COND", 105), ("CONFIG_COND", 25)):
        hdus.append(fits.BinTableHDU(name=name))
        _fill(hdus[-1].header, cards)
    path = folder / f"MC_O_20250501_000123_R22_S11_{number}.fits"
    hdus.writeto(path, checksum=True)
    return path


def _fill(header: fits.Header, cards: int) -> None:
    for number in range(cards - len(header)):
        header[f"KEY{number:05d}"] = (number * 1.25, "a value of the telemetry")


if __name__ == "__main__":
    main()
