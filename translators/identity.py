"""Which image of which exposure a file is, and its Butler dataset id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid5

_DATASET_NAMESPACE = UUID("840b31d9-05cd-5161-b2c8-00d32b280d0f")
"""Namespace of the Butler's deterministic dataset ids."""


class ImageKind(StrEnum):
    """What a detector is for."""

    SCIENCE = "science"
    WAVEFRONT = "wavefront"
    GUIDER = "guider"


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """One detector image of one exposure."""

    instrument: str
    """Butler name, such as `LSSTCam`."""
    obs_id: str
    """Such as `MC_O_20250501_000123`."""
    exposure_id: int
    day_obs: int
    """YYYYMMDD."""
    seq_num: int
    detector: int
    """Detector number, such as 94."""
    detector_name: str
    """Raft and sensor, such as `R22_S11`."""
    kind: ImageKind
    dataset_type: str
    """`raw`, or `guider_raw` for a file of guider stamps."""
    run: str
    """Butler RUN collection."""

    @property
    def dataset_id(self) -> UUID:
        """The Butler's dataset UUID for this image in this run."""
        return dataset_uuid(
            dataset_type=self.dataset_type,
            run=self.run,
            instrument=self.instrument,
            exposure=self.exposure_id,
            detector=self.detector,
        )


def dataset_uuid(
    *, dataset_type: str, run: str, instrument: str, exposure: int, detector: int
) -> UUID:
    """Return the dataset id that a Butler gives (`DatasetIdGenEnum.DATAID_TYPE_RUN`).

    It depends on nothing but the arguments, so it is the same on the summit and
    at the facility.
    """
    name = (
        f"dataset_type={dataset_type},run={run},"
        f"detector={detector},exposure={exposure},instrument={instrument}"
    )
    return uuid5(_DATASET_NAMESPACE, name)
