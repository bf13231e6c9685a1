"""The configuration of a demonstration: one folder, embedded defaults, replaced by options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_HEADER = """\
# The configuration of this demonstration. Try, while it runs:
#   arriero -c {path} status
# and afterwards:
#   arriero -c {path} run
"""

_SOCKET_LIMIT = 100
"""Longest path of a Unix socket that every Linux takes, bytes, with a margin."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Real servers that replace embedded defaults."""

    control_bus: dict[str, Any] = field(default_factory=lambda: {"url": "memory:"})
    """Section `control_bus`."""
    event_stream: dict[str, Any] = field(default_factory=lambda: {"url": "memory:"})
    """Section `event_stream`."""
    store: dict[str, Any] | None = None
    """One destination of `stores`; None: a folder of the demonstration."""
    butler_database: str | None = None
    """Database of the Butler's registry; None: SQLite."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a demonstration is."""

    folder: Path

    @property
    def config(self) -> Path:
        """Return the configuration file."""
        return self.folder / "arriero.yaml"

    @property
    def store(self) -> Path:
        """Return the folder that plays the object store."""
        return self.folder / "store"

    @property
    def butler(self) -> Path:
        """Return the Butler repository."""
        return self.folder / "butler"

    @property
    def drop(self) -> Path:
        """Return the camera's drop directory."""
        return self.folder / "drop"

    @property
    def log(self) -> Path:
        """Return the services' log."""
        return self.folder / "demo.log"

    @property
    def manifest(self) -> Path:
        """Return what the camera recorded of its files."""
        return self.folder / "manifest.jsonl"

    def write(self, endpoints: Endpoints, simulator: dict[str, Any]) -> None:
        """Write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.document(endpoints, simulator), sort_keys=False)
        self.config.write_text(_HEADER.format(path=self.config) + text, encoding="utf-8")

    def document(self, endpoints: Endpoints, simulator: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration as a mapping."""
        socket = self.folder / "arriero.sock"
        fits = len(str(socket)) <= _SOCKET_LIMIT
        return {
            "site": {"name": "demo", "host": "demo"},
            "services": ["headerservice", "forwarder", "registrar"],
            "control_bus": endpoints.control_bus,
            "event_stream": endpoints.event_stream,
            "stores": {"facility": endpoints.store or {"url": self.store.as_uri()}},
            "admin": {"socket": str(socket) if fits else None, "port": 0},
            "logging": {"level": "INFO"},
            "forwarder": {
                "drop_directory": str(self.drop),
                "state_directory": str(self.folder / "state"),
                "quarantine_directory": str(self.folder / "quarantine"),
                "quiet_time_s": 0.05,
                "reannounce_grace_s": 1.0,
                "reannounce_after_s": 10.0,
            },
            "headerservice": {
                "store": "facility",
                "state_directory": str(self.folder / "state"),
                "http": {"host": "127.0.0.1", "port": 0},
            },
            "registrar": {
                "repository": str(self.butler),
                "database": endpoints.butler_database,
                "journal": str(self.folder / "state" / "registrar.sqlite3"),
                "instruments": ["LSSTCam"],
            },
            "simulator": {
                **simulator,
                "drop_directory": str(self.drop),
                "manifest": str(self.manifest),
            },
        }
