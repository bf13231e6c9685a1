"""The forwarder's section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from daemons.forwarder.placing import check_template
from daemons.forwarder.settings_notifications import NotificationSettings
from daemons.runtime.settings import Reloadable, SectionModel
from translators.checks.policy import policy_for
from translators.errors import TranslatorsError

Seconds = Annotated[PositiveFloat, Reloadable()]
Patterns = Annotated[tuple[str, ...], Reloadable()]


class ForwarderSettings(SectionModel):
    """How files of the drop directory come into the object store."""

    drop_directory: Path
    """Where the camera writes; read with all its folders. It may be absent for a while."""
    state_directory: Path
    """Where the journal is; on a disk of this host, not on a network."""
    quarantine_directory: Path
    """Where files that must not be sent as they are go; best on the drop directory's file
    system, and not inside the drop directory."""
    store: str = "facility"
    """Name of the object store in `stores`."""
    notifications: NotificationSettings | None = None
    """Where each stored image, and its sidecar before it, is told of as an S3 bucket notification,
    for consumers that read those; null: nowhere."""
    copies: tuple[str, ...] = ()
    """Names of further stores in `stores` that get every file too, each in its own time; a copy is
    announced as `image.copied`. Files that were taken in before a name was added are not copied."""
    copy_concurrency: Annotated[PositiveInt, Field(le=256), Reloadable()] = 8
    """Files that are copied at the same time to each further store."""
    key_template: str = "{instrument}/{day_obs}/{obs_id}/{file}"
    """Object key of an image. Fields: instrument, day_obs, obs_id, exposure_id, seq_num, detector,
    detector_name, dataset_type, and at its end file."""
    run_templates: dict[str, str] = Field(
        default={"raw": "{instrument}/raw/all", "guider_raw": "{instrument}/raw/guider"}
    )
    """Butler RUN collection by dataset type; field: instrument."""
    file_patterns: Patterns = ("*.fits", "*.fits.fz", "*.fits.gz", "*.fit", "*.fts")
    """Names of images."""
    attachment_patterns: Patterns = ("*_expectedSensors.json",)
    """Names of the lists of expected sensors, which are stored with their exposure."""
    ignore_patterns: Patterns = (".*", "*.tmp", "*.part", "*~")
    """Names of files and folders that are never looked at."""
    quiet_time_s: Annotated[NonNegativeFloat, Reloadable()] = 0.2
    """How long a file must be unchanged after it was closed; a file that is renamed or linked
    into place is taken at once."""
    unseen_quiet_time_s: Annotated[NonNegativeFloat, Reloadable()] = 1.0
    """How long a file must be unchanged when nobody saw it closed (found by a scan)."""
    scan_period_s: Seconds = 30.0
    """Seconds between two scans of the whole drop directory; 5 on a network file system, which
    gives no notice of new files."""
    hold_suffixes: Patterns = (".fz", ".lock", ".part")
    """A file waits while another of its name with such a suffix behind it is beside it, and so
    does that other one: somebody compresses it in place, or still works on it."""
    hold_patience_s: Annotated[NonNegativeFloat, Reloadable()] = 5.0
    """How long they wait for each other before both are taken as they are."""
    incomplete_patience_s: Seconds = 30.0
    """How long a file that is cut, empty or still changes may take to become whole before it is
    quarantined."""
    attachment_patience_s: Seconds = 600.0
    """How long a list of expected sensors waits for the first image of its exposure before it is
    quarantined."""
    share: Patterns = ("*",)
    """Detectors that this host sends, as patterns of names such as `R22_S11`; of the expected
    sensors only these count for `exposure.complete`."""
    concurrency: Annotated[PositiveInt, Field(le=256), Reloadable()] = 27
    """Files that are worked on at the same time. Changed while the service runs by a reload, or by
    `arriero limits`, which wins."""
    bandwidth_bytes_per_s: Annotated[PositiveInt | None, Reloadable()] = None
    """Ceiling on what is sent to the store, bytes per second; null for none. `arriero limits`
    wins."""
    priorities: Patterns = ("R??_SW?", "*", "R??_SG?")
    """Patterns of detector names, those that go first within an exposure first; `*` stands for all
    that no other pattern names. By default wavefront sensors go first and guiders last."""
    backlog_after_s: Seconds = 30.0
    """How long after its first file an exposure counts as backlog, which stands behind newer
    ones."""
    backlog_share: Annotated[float, Field(ge=0.0, le=0.9), Reloadable()] = 0.15
    """Part of `concurrency` that is the backlog's own, longest waiting first, while newer exposures
    go by."""
    warn_after_s: Seconds = 5.0
    """How long after its first file an exposure of which something is missing in the store is
    warned of in the log."""
    late_after_s: Seconds = 7.0
    """How long after its first file such an exposure is announced as `exposure.late`."""
    incomplete_after_s: Seconds = 10.0
    """How long after its first file such an exposure is announced as `exposure.incomplete`, with
    the detectors that are missing. They are sent all the same."""
    inspect_threads: Annotated[PositiveInt, Field(le=64)] = 2
    """Threads that read and hash files."""
    checks: Path | None = None
    """A site's own policy over that of each instrument: which findings set a file aside, hold its
    exposure, or only warn; see `docs/reference/findings.md`."""
    sidecar: Annotated[Literal["camera", "header", "none"], Reloadable()] = "camera"
    """The JSON sidecar stored before an image: `camera`, the camera's own where there is a valid
    one, else made from the primary header; `header`, always made; `none`."""
    verify: Annotated[Literal["auto", "always"], Reloadable()] = "auto"
    """Whether a stored image is looked at before it is announced. `auto`: only where the store's
    own answer does not prove that it holds the bytes that were inspected (that is found out when
    its connections are opened); it saves a round trip. `always`: each time."""
    attempt_timeout_s: Seconds = 30.0
    """How long one request to the store may take, besides the time for the bytes."""
    slowest_rate: Annotated[PositiveFloat, Reloadable()] = 500_000.0
    """Bytes per second below which an upload counts as stuck."""
    publish_timeout_s: Seconds = 30.0
    """How long one announcement may take."""
    publish_window: Annotated[PositiveInt, Field(le=1000)] = 64
    """Announcements that are under way at the same time."""
    reannounce_after_s: Annotated[PositiveFloat | None, Reloadable()] = 60.0
    """An image that nobody registered after this time is announced again (the same event), then
    after twice the time, and so on; null where there is no registrar."""
    reannounce_grace_s: Annotated[NonNegativeFloat, Reloadable()] = 5.0
    """How long after a start everything that was announced and not registered is announced
    again."""
    send_roots: Annotated[tuple[Path, ...], Reloadable()] = ()
    """Folders besides the drop directory from which files may be handed over by
    `arriero send`."""
    journal_keep_days: Annotated[PositiveFloat, Reloadable()] = 30.0
    """How long the journal remembers files that have left the drop directory."""
    queue_limit: Annotated[PositiveInt, Field(ge=100)] = 10_000
    """Notices of files that may wait in memory; beyond it a scan finds them."""

    @field_validator("key_template")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        check_template(template)
        return template

    @field_validator("checks")
    @classmethod
    def _sound_policy(cls, path: Path | None) -> Path | None:
        try:
            policy_for(None, override=path)
        except TranslatorsError as error:
            raise ValueError(str(error)) from error
        return path

    @field_validator("run_templates")
    @classmethod
    def _known_run_fields(cls, templates: dict[str, str]) -> dict[str, str]:
        for template in templates.values():
            check_template(template, fields=frozenset({"instrument"}), needs_file=False)
        return templates

    @model_validator(mode="after")
    def _copies_elsewhere(self) -> Self:
        if self.store in self.copies or len(set(self.copies)) < len(self.copies):
            raise ValueError(f"copies ({', '.join(self.copies)}) names a store twice")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.warn_after_s <= self.late_after_s <= self.incomplete_after_s:
            raise ValueError(
                f"warn_after_s ({self.warn_after_s:g}), late_after_s ({self.late_after_s:g}) and "
                f"incomplete_after_s ({self.incomplete_after_s:g}) must not decrease"
            )
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        drop = self.drop_directory.absolute()
        for name in ("state_directory", "quarantine_directory"):
            folder = getattr(self, name).absolute()
            if folder.is_relative_to(drop):
                raise ValueError(
                    f"{name} ({folder}) is inside drop_directory ({drop}): choose a folder beside "
                    "it, or its files would be taken for images"
                )
        return self
