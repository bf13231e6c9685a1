"""Our own facts: the event catalogue and its CloudEvents envelope."""

from daemons.events.catalogue import (
    CATALOGUE,
    EventData,
    ExposureComplete,
    ExposureIncomplete,
    HeaderAvailable,
    ImageConflicted,
    ImageQuarantined,
    ImageRegistered,
    ImageRegistrationFailed,
    ImageStored,
    SidecarRef,
)
from daemons.events.envelope import Event, InvalidEventError, decode, encode, new_event

__all__ = [
    "CATALOGUE",
    "Event",
    "EventData",
    "ExposureComplete",
    "ExposureIncomplete",
    "HeaderAvailable",
    "ImageConflicted",
    "ImageQuarantined",
    "ImageRegistered",
    "ImageRegistrationFailed",
    "ImageStored",
    "InvalidEventError",
    "SidecarRef",
    "decode",
    "encode",
    "new_event",
]
