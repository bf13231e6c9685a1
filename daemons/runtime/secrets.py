"""Secrets come from files or from systemd credentials, never from arguments."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from daemons.runtime.errors import SettingsError

_OTHERS = stat.S_IRWXO
"""Permission bits of people who are neither owner nor group."""


class SecretRef(BaseModel):
    """Where a secret is: exactly one of `file` and `credential`.

    It is read each time that it is needed, so a rotated secret is picked up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = None
    """A file that holds nothing but the secret; others must not be able to read it."""
    credential: str | None = None
    """Name of a file in `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential=`)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.credential is None):
            raise ValueError("give exactly one of `file` and `credential`")
        return self

    def read(self) -> str:
        """Return the secret without its trailing line break.

        Raises
        ------
        SettingsError
            The file is absent, unreadable, empty, or open to others.
        """
        path = self._path()
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"cannot read the secret in {path}: {error.strerror}") from error
        if self.file is not None and mode & _OTHERS:
            raise SettingsError(f"everybody can read the secret in {path}: chmod o-rwx {path}")
        if not text:
            raise SettingsError(f"the secret in {path} is empty")
        return text

    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise SettingsError(
                f"the secret `{self.credential}` is a systemd credential, but "
                "$CREDENTIALS_DIRECTORY is not set: add LoadCredential= to the unit"
            )
        return Path(folder) / str(self.credential)
