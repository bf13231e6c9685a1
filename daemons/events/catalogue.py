"""The event catalogue: one model per fact, in the past tense.

`CATALOGUE` is the single table from which the JSON Schemas and the AsyncAPI
document in `config/events/` are generated.

Compatibility: a field is only ever added, and added fields have a default, so
that a consumer of an older version reads a newer event; readers ignore fields
that they do not know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
DayObs = Annotated[int, Field(ge=19700101, le=29991231)]


class EventData(BaseModel, ABC):
    """What every fact of the catalogue shares."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64")

    event_type: ClassVar[str]
    """The CloudEvents `type`."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """The CloudEvents `subject`: what the fact is about."""

    @property
    def partition_key(self) -> str:
        """Facts with the same key arrive in the order in which they were announced."""
        return self.subject


class SidecarRef(BaseModel):
    """The JSON sidecar that was stored before its FITS file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uri: str
    key: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ImageFact(EventData):
    """A fact about one detector image of one exposure."""

    file_id: UUID
    """Butler dataset UUID (v5) of the image: the same wherever it is computed."""
    instrument: str
    obs_id: str
    exposure_id: int
    day_obs: DayObs
    seq_num: int
    detector: int
    detector_name: str
    """Raft and sensor, as in `R22_S11`."""
    dataset_type: str
    """`raw`, or `guider_raw` for the stamps of a guide sensor."""
    run: str
    """Butler RUN collection that the dataset id was computed for."""
    file_name: str

    @property
    def subject(self) -> str:
        """`obs_id/detector_name`."""
        return f"{self.obs_id}/{self.detector_name}"

    @property
    def partition_key(self) -> str:
        """The exposure: its images stay in order and with one consumer."""
        return self.obs_id


class ImageStored(ImageFact):
    """A detector image is in the object store, verified by its digest."""

    event_type = "image.stored"

    store: str
    """Name of the destination in the sender's configuration."""
    uri: str
    key: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256
    crc64nvme: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    etag: str
    stored_at: AwareDatetime
    sidecar: SidecarRef | None = None
    observation: Mapping[str, Any] | None = None
    """Translated record of the image (`ObservationInfo.to_simple()` of the
    properties that registration needs); null where it cannot be translated in
    full, as for a guider."""
    translator: str | None = None
    translator_version: str | None = None


class ImageCopied(ImageFact):
    """A detector image is in a further object store, verified by its digest."""

    event_type = "image.copied"

    store: str
    """Name of the destination in the sender's configuration."""
    uri: str
    key: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256
    copied_at: AwareDatetime


class ImageRegistered(ImageFact):
    """A detector image is a dataset of the Butler repository."""

    event_type = "image.registered"

    uri: str
    sha256: Sha256
    butler: str
    """The repository, without secrets."""
    registered_at: AwareDatetime
    already_known: bool = False
    """True where the repository held the same dataset with the same URI already."""


class ImageRegistrationFailed(ImageFact):
    """The Butler refused an image for good; it waits for a person."""

    event_type = "image.registration_failed"

    uri: str
    sha256: Sha256
    code: str
    reason: str


class ImageQuarantined(EventData):
    """A file of the drop directory was set aside with the reason beside it."""

    event_type = "image.quarantined"

    host: str
    path: str
    quarantine_path: str
    file_name: str
    size_bytes: int
    sha256: Sha256 | None = None
    obs_id: str | None = None
    codes: tuple[str, ...]
    """Codes of the findings that decided."""
    reason: str
    quarantined_at: AwareDatetime

    @property
    def subject(self) -> str:
        """The file's name."""
        return self.file_name


class ImageConflicted(ImageFact):
    """The key already holds other content; nothing was overwritten."""

    event_type = "image.conflicted"

    host: str
    uri: str
    key: str
    sha256: Sha256
    stored_sha256: Sha256 | None
    """Digest of what the store holds, where it tells."""
    reason: str


class ExposureFact(EventData):
    """A fact about one exposure as a whole."""

    instrument: str
    obs_id: str
    exposure_id: int
    day_obs: DayObs
    seq_num: int

    @property
    def subject(self) -> str:
        """The exposure's `obs_id`."""
        return self.obs_id


class ExposureComplete(ExposureFact):
    """Every expected detector image of one host's share is stored."""

    event_type = "exposure.complete"

    scope: Literal["host", "facility"]
    """`host`: all that this camera host was to send; `facility`: registered."""
    expected: int
    stored: int
    seconds: float | None = None
    """From the first file's appearance to the last one stored."""


class ExposureHeld(ExposureFact):
    """An exposure is all there, and held back for findings about it until a person decides.

    Its images are stored, announced and registered; `exposure.complete` follows when it
    is let go.
    """

    event_type = "exposure.held"

    scope: Literal["host", "facility"]
    codes: tuple[str, ...]
    """Codes of the findings."""


class ExposureShortfall(ExposureFact):
    """A deadline has passed and images of an exposure are missing."""

    scope: Literal["host", "facility"]
    expected: int
    """How many images there should be; where nobody said, how many are known of."""
    stored: int
    missing: tuple[str, ...]
    """Names of the missing detectors, where they are known."""
    deadline_s: float | None = None
    """The deadline, seconds after the exposure's first file appeared."""


class ExposureLate(ExposureShortfall):
    """An exposure is not complete when it should be; what is missing may still come."""

    event_type = "exposure.late"


class ExposureIncomplete(ExposureShortfall):
    """Consumers should wait no longer for what is missing; it is sent all the same."""

    event_type = "exposure.incomplete"


class HeaderFinding(BaseModel):
    """One thing that is wrong with a header."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    """Such as `crosscheck.hour_angle`."""
    severity: Literal["info", "warning", "error"]
    sentence: str


class EventsFact(EventData):
    """A fact about events of a source, by their sequence numbers."""

    of_source: str
    """CloudEvents `source` of the events."""
    first: Annotated[int, Field(ge=1)]
    last: Annotated[int, Field(ge=1)]

    @property
    def subject(self) -> str:
        """The source of the events."""
        return self.of_source


class EventsMissed(EventsFact):
    """A reader of the whole stream has not seen some events; their sender announces them again."""

    event_type = "events.missed"

    reader: str
    """Consumer group that asks."""


class EventsForgotten(EventsFact):
    """Events that were missed are no longer known to their sender."""

    event_type = "events.forgotten"


class HeaderAvailable(EventData):
    """A header of an exposure can be fetched."""

    event_type = "header.available"

    instrument: str
    obs_id: str
    revision: Annotated[int, Field(ge=1)]
    status: Literal["early", "complete", "partial"]
    uri: str
    """Where the object is stored."""
    url: str | None = None
    """Where the header service answers for it over HTTP."""
    size_bytes: int
    sha256: Sha256
    mime_type: str
    missing: tuple[str, ...] = ()
    """Required keywords without a value."""
    findings: tuple[HeaderFinding, ...] = ()
    """What is wrong with the exposure or with its values, failed cross-checks among it."""

    @property
    def subject(self) -> str:
        """The exposure's `obs_id`."""
        return self.obs_id


CATALOGUE: Mapping[str, type[EventData]] = MappingProxyType(
    {
        model.event_type: model
        for model in (
            ImageStored,
            ImageCopied,
            ImageRegistered,
            ImageRegistrationFailed,
            ImageQuarantined,
            ImageConflicted,
            ExposureComplete,
            ExposureHeld,
            ExposureLate,
            ExposureIncomplete,
            EventsMissed,
            EventsForgotten,
            HeaderAvailable,
        )
    }
)
"""Every event type and its model."""
