"""How long the translation of an exposure's 205 headers takes, beside `ObservationInfo`.

    python -m benchmarks.translation [--repeats N]

The headers are those of a simulated LSSTCam exposure, each detector's with its own
cards. Ours translates once what they share, proved card by card; beside it, in turn
and in the same run, astro-metadata-translator's `ObservationInfo` for each header
with the same translator: all 40 properties, and the 26 that a registration needs.
The aim is 25 ms for 205. Processor time, so that a busy machine counts less.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from astro_metadata_translator import ObservationInfo

from daemons.simulators.focal_plane import sensors
from daemons.simulators.night import ImageType
from tests.support.simulated_headers import simulated_header
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.properties import OPTIONAL, REQUIRED
from translators.translate import translate

Headers = Sequence[tuple[dict[str, Any], str]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=9, help="exposures for each way")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    sky = [simulated_header(ImageType.OBJECT, name) for name in sensors()]
    ways: dict[str, Callable[[Headers], None]] = {
        "arriero": _ours,
        "ObservationInfo, 26 properties": _for_registration,
        "ObservationInfo, 40 properties": _complete,
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.repeats + 1):
        for name, way in ways.items():
            headers = _exposure(sky, number)
            start = time.process_time()
            way(headers)
            if number:
                measured[name].append(time.process_time() - start)
    ours = statistics.median(measured["arriero"])
    print(f"{len(sky)} headers of {len(sky[0])} cards, medians of {arguments.repeats} exposures:")
    for name, times in measured.items():
        median = statistics.median(times)
        print(f"  {name:32} {median * 1e3:7.1f} ms   {median / ours:5.1f} x")


def _exposure(sky: Sequence[dict[str, Any]], number: int) -> Headers:
    """Return the headers of another exposure, so that nothing is remembered of the last."""
    obs_id = f"MC_O_{sky[0]['DAYOBS']}_{number + 1:06d}"
    return [
        (
            header | {"OBSID": obs_id, "SEQNUM": number + 1},
            f"{obs_id}_{header['RAFTBAY']}_{header['CCDSLOT']}.fits",
        )
        for header in sky
    ]


def _ours(headers: Headers) -> None:
    for header, name in headers:
        translate(header, file_name=name)


def _for_registration(headers: Headers) -> None:
    wanted = {*REQUIRED, *OPTIONAL}
    with offline():
        for header, _ in headers:
            ObservationInfo(header, translator_class=TRANSLATORS["LSSTCam"], subset=wanted)


def _complete(headers: Headers) -> None:
    with offline():
        for header, _ in headers:
            ObservationInfo(header, translator_class=TRANSLATORS["LSSTCam"])


if __name__ == "__main__":
    main()
