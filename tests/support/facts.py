"""Facts for tests: a plausible LSSTCam header and the `image.stored` that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from daemons.events import ImageStored
from translators.translate import translate


def lsstcam_header(
    *, seq_num: int = 123, raft: str = "R22", sensor: str = "S11", **cards: Any
) -> dict[str, Any]:
    """Return the primary header of an on-sky LSSTCam exposure of 2025-05-01."""
    header: dict[str, Any] = {
        "INSTRUME": "lsstCam",
        "TELESCOP": "LSST",
        "CAMCODE": "MC",
        "CONTRLLR": "O",
        "DAYOBS": "20250501",
        "SEQNUM": seq_num,
        "OBSID": f"MC_O_20250501_{seq_num:06d}",
        "GROUPID": f"2025-05-02T01:02:{seq_num % 60:02d}.143",
        "IMGTYPE": "OBJECT",
        "REASON": "science",
        "PROGRAM": "BLOCK-365",
        "OBJECT": "COSMOS",
        "RAFTBAY": raft,
        "CCDSLOT": sensor,
        "LSST_NUM": "E2V-CCD250-382",
        "FILTER": "r_57",
        "FILTBAND": "r",
        "EXPTIME": 30.0,
        "SHUTTIME": 30.01,
        "DARKTIME": 30.4,
        "CURINDEX": 1,
        "MAXINDEX": 1,
        "TIMESYS": "TAI",
        "DATE-BEG": "2025-05-02T01:03:04.123",
        "MJD-BEG": 60797.04379772,
        "DATE-END": "2025-05-02T01:03:34.133",
        "MJD-END": 60797.04414506,
        "RA": 150.1,
        "DEC": 2.2,
        "RASTART": 150.1,
        "DECSTART": 2.2,
        "RADESYS": "ICRS",
        "TRACKSYS": "RADEC",
        "ROTPA": 12.5,
        "ROTCOORD": "sky",
        "ELSTART": 57.0,
        "AZSTART": 340.0,
        "AMSTART": 1.19,
        "VIGN_MIN": "NO",
    }
    return header | cards


def image_stored(
    header: Mapping[str, Any] | None = None,
    *,
    uri: str | None = None,
    sha256: str = "a" * 64,
    size_bytes: int = 1_000_000,
    guider: bool = False,
) -> ImageStored:
    """Return the announcement of a stored image with this header."""
    header = lsstcam_header() if header is None else header
    suffix = "_guider" if guider else ""
    name = f"{header['OBSID']}_{header['RAFTBAY']}_{header['CCDSLOT']}{suffix}.fits"
    translation = translate(header, file_name=name)
    identity = translation.identity
    key = f"{identity.instrument}/{identity.day_obs}/{identity.obs_id}/{name}"
    return ImageStored(
        file_id=identity.dataset_id,
        instrument=identity.instrument,
        obs_id=identity.obs_id,
        exposure_id=identity.exposure_id,
        day_obs=identity.day_obs,
        seq_num=identity.seq_num,
        detector=identity.detector,
        detector_name=identity.detector_name,
        dataset_type=identity.dataset_type,
        run=identity.run,
        file_name=name,
        store="facility",
        uri=uri or f"s3://rubin-summit/{key}",
        key=key,
        size_bytes=size_bytes,
        sha256=sha256,
        crc64nvme="0" * 16,
        etag="etag",
        stored_at=datetime.now(tz=UTC),
        observation=translation.observation,
        translator=translation.translator,
        translator_version=translation.translator_version,
    )
