"""Settings of a simulated night."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from daemons.runtime.settings import SectionModel
from daemons.simulators.clock import Pace
from daemons.simulators.drop import WriteMode
from daemons.simulators.focal_plane import AMPLIFIER_SHAPE

_LAST_SEQ = 99_999
"""Sequence numbers have five digits in exposure ids."""


class SimulatorSettings(SectionModel):
    """A simulated observatory and camera, and the night that they go through."""

    drop_directory: Path
    """Where the camera writes: {drop_directory}/{day_obs}/{obs_id}/."""
    manifest: Path
    """File that lists what was written, with digests; outside of the drop directory.
    The plan of the night stands beside it."""
    resume: bool = True
    """Go on with the night of the manifest. False: refuse a manifest that is not empty."""

    exposures: PositiveInt = 10
    """How many exposures the night has."""
    calibrations: NonNegativeInt | None = None
    """How many of them are bias, dark and flat; absent: a third, at most four."""
    exposure_time_s: NonNegativeFloat = 30.0
    """Exposure time of a science exposure; a dark takes half of it, a flat a tenth."""
    seed: int = 1
    """The same seed, day and sizes give the same night."""
    day_obs: int | None = None
    """Observing day, YYYYMMDD; absent: today's. At the real pace a night without a day
    begins at once."""
    first_seq: PositiveInt = 1
    """Sequence number of the first exposure."""

    pace: Pace = Pace.FAST
    """`real`: a second lasts a second. `fast`: as fast as the messages can be sent."""
    follow_camera: bool = True
    """At the fast pace, begin an exposure when the files of the last one are written."""
    camera_patience_s: PositiveFloat = 120.0
    """How long an exposure is waited for before the night goes on without it."""
    telemetry_rate_scale: Annotated[float, Field(gt=0, le=5)] = 1.0
    """Multiplies the rates of the fast telemetry."""
    simulation_mode: NonNegativeInt = 1
    """What the components say of themselves; 0 claims real hardware."""

    detectors: Literal["all"] | PositiveInt | tuple[str, ...] = 9
    """Detectors that are written: `all`, a number (the central raft first), or names."""
    guiders: bool = False
    """Write the stamps of the eight guide sensors as well."""
    guider_stamps: PositiveInt | None = None
    """Upper limit of a guider's stamps; absent: as many as fit the exposure."""
    amplifier_shape: tuple[PositiveInt, PositiveInt] = AMPLIFIER_SHAPE
    """Rows and columns of an amplifier; small ones make small files."""
    write_mode: WriteMode = WriteMode.ATOMIC
    """How a file gets into the drop directory."""
    write_pause_s: NonNegativeFloat = 0.2
    """Pause between the pieces of a file that is written in place."""
    writers: PositiveInt = 2
    """Files written at the same time."""
    exposures_in_hand: PositiveInt = 2
    """Exposures written at the same time."""

    header_url: str | None = None
    """Root of the header service's API; absent: files are written without its keywords."""
    header_patience_s: PositiveFloat = 15.0
    """How long a header is waited for."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.manifest.absolute().is_relative_to(self.drop_directory.absolute()):
            raise ValueError(
                "manifest: it must be outside of drop_directory, or it would be taken for a file "
                "of the camera"
            )
        if self.first_seq + self.exposures - 1 > _LAST_SEQ:
            raise ValueError(f"first_seq and exposures: the last sequence number is {_LAST_SEQ}")
        return self
