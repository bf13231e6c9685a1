"""The registrar's section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from daemons.runtime.secrets import SecretRef
from daemons.runtime.settings import Reloadable, SectionModel


class RegistrarSettings(SectionModel):
    """How stored images become datasets of a Butler repository."""

    repository: str = "butler"
    """Folder or URI of the Butler repository (where its `butler.yaml` is)."""
    create: bool = True
    """Make the repository on first use where there is none."""
    database: str | None = None
    """SQLAlchemy URL of the registry database of a new repository, without password, such as
    `postgresql+psycopg://arriero@db/butler`; null: SQLite inside the repository."""
    database_password: SecretRef | None = None
    """Where the password of the database user is; null: none is needed."""
    namespace: str | None = None
    """Database schema of a new repository in PostgreSQL; null: the user's default."""
    journal: Path = Path("registrar.sqlite3")
    """SQLite file for guiders that wait for their exposure and for images that were refused."""
    instruments: tuple[str, ...] = ()
    """Instruments to register at start; others are registered with their first image."""
    group: str = "registrar"
    """Consumer group on the event stream; registrars of one repository share it."""
    linger_s: Annotated[PositiveFloat, Reloadable()] = 0.15
    """Quiet time after the last image of an exposure before its batch is registered, seconds."""
    max_wait_s: Annotated[PositiveFloat, Reloadable()] = 1.0
    """Longest time that an image waits for others of its exposure, seconds."""
    batch_max: Annotated[PositiveInt, Reloadable()] = 250
    """Images of one exposure that are registered in one transaction at most."""
    unknown_filters: Literal["add", "refuse"] = "add"
    """What happens to an image through a physical filter that the repository does not know."""
    watch_gaps: bool = True
    """Whether this registrar notices events that were lost on their way and asks their senders for
    them. It reads the whole stream for that; with several registrars one is enough."""
    gap_patience_s: PositiveFloat = 30.0
    """How long a number in a sender's sequence may stay away before it is asked for, seconds."""
    attempts: Annotated[PositiveInt, Field(le=20)] = 5
    """Attempts at an image that fails for another reason than an unreachable database."""
