"""The header service's section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from daemons.runtime.settings import Reloadable, SectionModel

Seconds = Annotated[PositiveFloat, Reloadable()]


class HttpSettings(SectionModel):
    """Where headers can be fetched."""

    host: str = "127.0.0.1"
    """Address to listen on; there is no authentication, and nothing can be changed over it."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port; 0: a free one, which the events name."""
    public_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = None
    """How others reach it, such as `http://headers.example.org:8081`; null: by host and port."""
    longest_wait_s: PositiveFloat = 60.0
    """Longest time that a request may ask to wait for a header."""


class HeaderServiceSettings(SectionModel):
    """How the telemetry of an exposure becomes its header."""

    state_directory: Path
    """Where the journal is; on a disk of this host, not on a network."""
    store: str = "facility"
    """Name of the object store in `stores`."""
    instrument: str = "LSSTCam"
    """Butler name of the instrument; its keyword definitions are used."""
    keywords: Path | None = None
    """Keyword definitions; null: those that arriero ships for the instrument."""
    component: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] = "MTHeaderService"
    """Name on the control bus, in object keys and in announcements."""
    index: Annotated[int, Field(ge=0)] = 0
    """`salIndex` of the component; 0 where it has none."""
    object_url: Annotated[str, Field(pattern=r"\{key\}")] | None = None
    """URL of an object in announcements on the control bus, such as
    `https://s3.example.org/bucket/{key}`; null: as the store names it."""
    test_stand: str = ""
    """Value of TSTAND; empty: the keyword has no value."""
    http: HttpSettings = HttpSettings()
    """Where headers can be fetched."""
    wcs: bool = False
    """Write nominal world coordinates into the header of every sensor, from the pointing and the
    focal plane; they know nothing of the optics' distortion, and of no star."""
    early: Annotated[bool, Reloadable()] = True
    """Make a preliminary header when the readout begins; it is served over HTTP and announced on
    the event stream, but not stored."""
    settle_s: Seconds = 2.0
    """How long after an instant its samples are taken for good; longer than telemetry is late."""
    grace_s: Seconds = 1.0
    """How long after the end of an exposure required values may still come before a partial
    header is made."""
    catch_up_grace_s: Seconds = 10.0
    """The same for an exposure that goes on after a restart, while telemetry is read again."""
    deadline_margin_s: Seconds = 30.0
    """How long after exposure time and timeout an exposure without an end is given up: its header
    is then partial."""
    late_data_s: Annotated[NonNegativeFloat, Reloadable()] = 60.0
    """How long after a header late telemetry makes a revision of it; a late end of exposure does
    so at any time."""
    revise_after_s: Seconds = 2.0
    """How long late telemetry is collected before a revision is made."""
    horizon_s: Annotated[PositiveFloat, Field(ge=10)] = 300.0
    """How much telemetry is remembered, besides that of open exposures."""
    samples_max: Annotated[PositiveInt, Field(ge=1000)] = 50_000
    """Samples of one topic that are kept at most."""
    catch_up_max_s: NonNegativeFloat = 3600.0
    """How far back telemetry is read again after a restart, where the control bus keeps it."""
    attempt_timeout_s: Seconds = 30.0
    """How long one attempt to store or announce may take."""
    retry_cap_s: Seconds = 15.0
    """Longest time between two attempts while the store or a bus is away."""
    journal_keep_days: Annotated[PositiveFloat, Reloadable()] = 30.0
    """How long the journal remembers headers and events."""
