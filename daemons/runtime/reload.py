"""Taking over a changed configuration while the services run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import structlog
from pydantic import BaseModel

from daemons.runtime.service import Service
from daemons.runtime.settings import LoadedSettings, diff

_log = structlog.get_logger(__name__)

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What came of a reload."""

    changed: tuple[str, ...] = ()
    """Dotted keys that the running services took over."""
    restart: tuple[str, ...] = ()
    """Dotted keys whose new value waits for a restart."""
    failed: tuple[str, ...] = ()
    """Services that could not take over what they should."""


ReloadCallback = Callable[[], Awaitable[ReloadReport]]
"""Loads the configuration anew. Raises `SettingsError`, and changes nothing, when it is invalid."""


class Reloader(Generic[ModelT]):
    """Loads the configuration anew and hands each service its section.

    Parameters
    ----------
    started
        The settings that the process started with.
    load
        Reads and validates the configuration again; may block.
    services
        Services by the name of their section.
    apply
        Takes over what belongs to the process itself, such as the log level.
    """

    def __init__(
        self,
        started: LoadedSettings[ModelT],
        load: Callable[[], LoadedSettings[ModelT]],
        services: Mapping[str, Service],
        *,
        apply: Callable[[ModelT], None] | None = None,
    ) -> None:
        self._started = started
        self._load = load
        self._services = dict(services)
        self._apply = apply
        self.current = started
        """The settings last found valid."""

    async def __call__(self) -> ReloadReport:
        """Reload.

        Raises
        ------
        SettingsError
            The new configuration is invalid; the old one stays.
        """
        new = await asyncio.to_thread(self._load)
        changed = diff(self.current.value, new.value).reloadable
        restart = dict.fromkeys(diff(self._started.value, new.value).restart)
        self.current = new
        failed = [
            name
            for name, take_over in self._steps(new.value, restart)
            if not _done(name, take_over)
        ]
        return ReloadReport(tuple(changed), tuple(restart), tuple(failed))

    def _steps(
        self, new: ModelT, restart: dict[str, None]
    ) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield who takes over what."""
        apply = self._apply
        if apply is not None:
            yield "process", lambda: apply(new)
        for section, service in self._services.items():
            settings = getattr(new, section)
            if settings is not None:
                yield section, partial(_hand_over, service, section, settings, restart)


def _hand_over(
    service: Service, section: str, settings: BaseModel, restart: dict[str, None]
) -> None:
    for key in service.reload(settings):
        restart.setdefault(key if key.startswith(f"{section}.") else f"{section}.{key}")


def _done(name: str, take_over: Callable[[], None]) -> bool:
    try:
        take_over()
    except Exception:  # noqa: BLE001 - one service's mistake is not the others'
        _log.exception("reload_failed", service=name)
        return False
    return True
