"""What is put into a store for a file: image and sidecar, or a list of sensors. No I/O."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemons.forwarder.delivery import Parcel
from daemons.forwarder.model import JournalEntry
from daemons.forwarder.reading import Fit, sidecar_name
from translators.identity import ImageIdentity


@dataclass(frozen=True, slots=True)
class Load:
    """All objects of one file."""

    main: Parcel
    sidecar: Parcel | None = None


def image_load(entry: JournalEntry, fit: Fit, *, host: str) -> Load:
    """Return the objects of an image that can be sent."""
    metadata = _metadata(entry, fit.translation.identity, host)
    main = Parcel(
        key=fit.object_key,
        body=Path(os.fsdecode(entry.location)),
        size_bytes=fit.inspection.size_bytes,
        sha256=fit.inspection.sha256,
        content_type="application/fits",
        metadata={**metadata, "crc64nvme": fit.inspection.crc64nvme},
    )
    if fit.sidecar is None:
        return Load(main)
    sidecar = Parcel(
        key=sidecar_name(fit.object_key.encode()).decode(),
        body=fit.sidecar,
        size_bytes=len(fit.sidecar),
        sha256=hashlib.sha256(fit.sidecar).hexdigest(),
        content_type="application/json",
        metadata=metadata,
        belongs_to=fit.inspection.sha256,
    )
    return Load(main, sidecar)


def attachment_load(key: str, content: bytes, metadata: Mapping[str, str]) -> Load:
    """Return the object of a list of expected sensors."""
    return Load(
        Parcel(
            key=key,
            body=content,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content_type="application/json",
            metadata=metadata,
        )
    )


def _metadata(entry: JournalEntry, image: ImageIdentity, host: str) -> dict[str, str]:
    metadata = {
        "instrument": image.instrument,
        "obs-id": image.obs_id,
        "detector": str(image.detector),
        "detector-name": image.detector_name,
        "file-id": str(image.dataset_id),
        "host": host,
    }
    if entry.waived:
        metadata["waived"] = ",".join(entry.waived)
    return metadata
