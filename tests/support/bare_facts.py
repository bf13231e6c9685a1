"""The smallest valid `image.stored`, for tests that do not look into it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from daemons.events import ImageStored

_WHEN = datetime(2025, 5, 2, 1, 4, tzinfo=UTC)


def bare_image(
    *,
    detector: int = 94,
    exposure_id: int = 2025050100123,
    dataset_type: str = "raw",
    file_id: UUID | None = None,
    uri: str = "s3://bucket/key",
) -> ImageStored:
    """Return an announcement that names a detector of an exposure."""
    return ImageStored(
        file_id=file_id or UUID(int=exposure_id * 1000 + detector),
        instrument="LSSTCam",
        obs_id=f"MC_O_20250501_{exposure_id % 100000:06d}",
        exposure_id=exposure_id,
        day_obs=20250501,
        seq_num=exposure_id % 100000,
        detector=detector,
        detector_name="R22_S11",
        dataset_type=dataset_type,
        run="LSSTCam/raw/all",
        file_name="image.fits",
        store="facility",
        uri=uri,
        key="key",
        size_bytes=1,
        sha256="a" * 64,
        crc64nvme="0" * 16,
        etag="",
        stored_at=_WHEN,
    )
