"""The sensors of the simulated camera: LSSTCam's, with invented serial numbers.

Which sensors there are is data of the instrument (`translators.focalplane`). A serial
number only has the form of the real one, and tells which detector it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from daemons.runtime.errors import SettingsError
from translators.focalplane import Detector, detectors
from translators.identity import ImageKind

INSTRUMENT = "LSSTCam"
"""The instrument that is simulated."""

Shape = tuple[int, int]
"""Rows and columns."""
AMPLIFIER_SHAPE: Shape = (2048, 576)
"""What is read out of an amplifier."""

_CENTRAL_RAFT = "R22"
_CORNER_PLACES = {"SW0": (0, 0), "SW1": (0, 0), "SG0": (1, 0), "SG1": (0, 1)}
"""Row and column on the raft's grid that the corner sensors are nearest to."""
_SENSORS_PER_BOARD = 3


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor of the focal plane, as the camera knows it."""

    number: int
    """Detector number, 0 to 204."""
    raft: str
    slot: str
    kind: ImageKind
    vendor: Literal["ITL", "E2V"]

    @classmethod
    def of(cls, detector: Detector) -> Sensor:
        """Return the sensor of a detector."""
        raft, _, slot = detector.name.partition("_")
        vendor: Literal["ITL", "E2V"] = "E2V" if detector.physical_type == "E2V" else "ITL"
        return cls(detector.id, raft, slot, detector.kind, vendor)

    @property
    def name(self) -> str:
        """Raft and slot, such as `R22_S11`."""
        return f"{self.raft}_{self.slot}"

    @property
    def bus_name(self) -> str:
        """The name on the control bus and in header documents, such as `R22S11`."""
        return f"{self.raft}{self.slot}"

    @property
    def model(self) -> str:
        """Model of the CCD."""
        return "CCD250" if self.vendor == "E2V" else "3800C"

    @property
    def type_number(self) -> int:
        """What stands for the model on the control bus."""
        return 1 if self.vendor == "E2V" else 0

    @property
    def lsst_name(self) -> str:
        """The observatory's name of the CCD."""
        return f"{self.vendor}-{self.model}-{900 + self.number}"

    @property
    def manufacturer_serial(self) -> str:
        """The manufacturer's serial number of the CCD."""
        return f"{99_000 + self.number}"

    @property
    def reb_name(self) -> str:
        """Name of the readout board, which the three sensors of a row share."""
        return f"LCA-13574-{900 + self.number // _SENSORS_PER_BOARD:03d}"

    @property
    def reb_serial(self) -> str:
        """Serial number of the readout board, hexadecimal."""
        return f"{0x19000000 + self.number // _SENSORS_PER_BOARD:x}"

    @property
    def raft_name(self) -> str:
        """The observatory's name of the raft."""
        return f"LCA-11021_RTM-9{self.raft[1:]}"

    @property
    def sequencer(self) -> str:
        """Name of the sequencer file that reads the sensor out."""
        return f"FP_{self.vendor}_2s_l3cp_v30.seq"

    @property
    def sequencer_checksum(self) -> str:
        """Checksum of the sequencer file."""
        return "3282110214" if self.vendor == "E2V" else "1105734987"

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the amplifiers in the order of the file's HDUs."""
        upper = tuple(f"Segment1{column}" for column in range(8))
        if self.kind is ImageKind.WAVEFRONT:
            return upper
        return upper + tuple(f"Segment0{column}" for column in range(7, -1, -1))

    @property
    def raft_place(self) -> tuple[int, int]:
        """Row and column on the grid of rafts."""
        return int(self.raft[1]), int(self.raft[2])

    @property
    def slot_place(self) -> tuple[int, int]:
        """Row and column on the grid of the raft."""
        if self.kind is ImageKind.SCIENCE:
            return int(self.slot[1]), int(self.slot[2])
        return _CORNER_PLACES[self.slot]


@cache
def sensors() -> Mapping[str, Sensor]:
    """Return every sensor by name, in the order of detector numbers."""
    return MappingProxyType(
        {detector.name: Sensor.of(detector) for detector in detectors(INSTRUMENT)}
    )


def choose_sensors(
    chosen: Literal["all"] | int | Sequence[str], *, guiders: bool
) -> tuple[Sensor, ...]:
    """Return the sensors that a simulated camera host writes, by detector number.

    Parameters
    ----------
    chosen
        `all` for the whole focal plane; a number of imaging sensors, the central raft
        first; or names.
    guiders
        Whether the eight guide sensors are written as well. A guide sensor that is
        chosen by its name is written in any case.

    Raises
    ------
    SettingsError
        A name that no sensor has, or more sensors than there are.
    """
    everything = sensors()
    imaging = [each for each in everything.values() if each.kind is not ImageKind.GUIDER]
    if chosen == "all":
        picked = set(imaging)
    elif isinstance(chosen, int):
        if not 1 <= chosen <= len(imaging):
            raise SettingsError(
                f"detectors = {chosen}: {INSTRUMENT} has 1 to {len(imaging)} imaging sensors; "
                "choose fewer, or name them"
            )
        picked = set(sorted(imaging, key=lambda sensor: sensor.raft != _CENTRAL_RAFT)[:chosen])
    else:
        unknown = sorted(set(chosen) - everything.keys())
        if unknown:
            raise SettingsError(
                f"detectors: {INSTRUMENT} has no {', '.join(unknown)}; names are like R22_S11"
            )
        picked = {everything[name] for name in chosen}
    if guiders:
        picked |= {each for each in everything.values() if each.kind is ImageKind.GUIDER}
    return tuple(sorted(picked, key=lambda sensor: sensor.number))
