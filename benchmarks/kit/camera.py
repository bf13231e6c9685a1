"""Exposures of a camera host, ready to be renamed into its drop directory."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemons.simulators.camera_events import end_of_image_telemetry
from daemons.simulators.fits_bodies import BodyLibrary
from daemons.simulators.fits_writer import render
from daemons.simulators.focal_plane import Shape, choose_sensors
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.image import Image
from daemons.simulators.night import NightSpec, night_start, plan_night

HOST_SHARE = 21
"""Files of an exposure that one camera host sends."""
FULL_SHAPE: Shape = (2174, 576)
"""Amplifiers a little higher than LSSTCam's, so that a file of the simulated camera has the
19.5 MB that a real one has."""
SMALL_SHAPE: Shape = (24, 80)
"""Amplifiers so small that a file has some 200 kB, most of it headers."""
_DAY = 20261103
_HEADER: dict[str, str | float] = {
    "RA": 12.5,
    "DEC": -33.25,
    "RASTART": 12.50001,
    "DECSTART": -33.250002,
    "RAEND": 12.50002,
    "DECEND": -33.250001,
    "ROTPA": 211.5,
    "ROTCOORD": "sky",
    "HASTART": -1.25,
    "ELSTART": 71.25,
    "AZSTART": -104.5,
    "AMSTART": 1.056,
    "TRACKSYS": "RADEC",
    "RADESYS": "ICRS",
    "FOCUSZ": -0.75,
    "OBJECT": "benchmark",
    "VIGNETTE": "NO",
    "VIGN_MIN": "NO",
    "AIRTEMP": 9.125,
    "PRESSURE": 74310.5,
    "HUMIDITY": 21.5,
    "WINDSPD": 4.25,
    "WINDDIR": 301.0,
    "SEEING": 0.875,
}


@dataclass(frozen=True)
class Share:
    """One host's share of an exposure, written and not yet handed over."""

    obs_id: str
    paths: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)

    def announce(self, directory: Path) -> Path:
        """Make the exposure's folder, as a camera does that writes hidden files into it first."""
        folder = directory / str(_DAY) / self.obs_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop(self, directory: Path) -> Path:
        """Rename the files into the drop directory; return their folder."""
        folder = self.announce(directory)
        for path in self.paths:
            path.rename(folder / path.name)
        return folder

    def remove(self) -> None:
        """Remove files that were not handed over."""
        shutil.rmtree(self.paths[0].parent, ignore_errors=True)


class Camera:
    """Writes the files of exposures; every header, and so every digest, is another one.

    Parameters
    ----------
    staging
        Where files are written before they are handed over; on the file system of the
        drop directory.
    files
        Files per exposure.
    shape
        Of an amplifier.
    """

    def __init__(
        self, staging: Path, *, files: int = HOST_SHARE, shape: Shape = FULL_SHAPE
    ) -> None:
        self._staging = staging
        self._sensors = choose_sensors(files, guiders=False)
        self._bodies = BodyLibrary(shape)
        night = plan_night(
            NightSpec(_DAY, exposures=1, seed=1, start=night_start(_DAY), calibrations=0)
        )
        taken = night.exposures[0]
        self._image = Image.from_event(end_of_image_telemetry(taken), taken.filter.name)
        self._header = HeaderDocument(
            {name: HeaderCard(value, "of a benchmark") for name, value in _HEADER.items()}
        )
        self._number = 0

    def take(self) -> Share:
        """Write the files of the next exposure."""
        self._number += 1
        obs_id = f"MC_O_{_DAY}_{self._number:06d}"
        image = dataclasses.replace(self._image, obs_id=obs_id, seq_num=self._number)
        folder = self._staging / obs_id
        folder.mkdir(parents=True)
        paths = []
        for sensor in self._sensors:
            rendered = render(image, sensor, self._header, self._bodies)
            path = folder / rendered.name
            with path.open("wb") as out:
                out.writelines(rendered.buffers)
            paths.append(path)
        return Share(obs_id, tuple(paths))

    def take_several(self, exposures: int) -> Sequence[Share]:
        """Write the files of several exposures."""
        return [self.take() for _ in range(exposures)]
