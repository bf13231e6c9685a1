"""Taking over a changed configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import PositiveFloat
from structlog.testing import capture_logs

from daemons.runtime.errors import SettingsError
from daemons.runtime.reload import Reloader, ReloadReport
from daemons.runtime.service import JsonObject
from daemons.runtime.settings import (
    LoadedSettings,
    Reloadable,
    RootSettings,
    SectionModel,
    load_settings,
)


class Section(SectionModel):
    folder: Path = Path("/a")
    """Needs a restart."""
    interval_s: Annotated[PositiveFloat, Reloadable()] = 1.0
    """May change."""


class Root(RootSettings):
    level: Annotated[str, Reloadable()] = "INFO"
    """Of the process."""
    one: Section = Section()
    """A service."""
    two: Section | None = None
    """A service that may be absent."""


class Taker:
    """A service that takes over settings."""

    name = "taker"

    def __init__(self, answer: tuple[str, ...] | Exception = ()) -> None:
        self.answer = answer
        self.taken: list[Any] = []

    async def open(self) -> None: ...

    async def work(self) -> None: ...

    async def drain(self) -> None: ...

    async def close(self) -> None: ...

    def status(self) -> JsonObject:
        return {}

    def reload(self, settings: Any) -> tuple[str, ...]:
        self.taken.append(settings)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class File:
    """A configuration file that is edited and loaded again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        self.write("")

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def load(self) -> LoadedSettings[Root]:
        return load_settings(Root, self.path, environ={})


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def reloader(
    file: File, *, apply: Callable[[Root], None] | None = None, **services: Taker
) -> Reloader[Root]:
    return Reloader(file.load(), file.load, services, apply=apply)


async def test_nothing_changed_is_nothing_told(file: File) -> None:
    assert await reloader(file, one=Taker())() == ReloadReport()


async def test_reloadable_settings_reach_their_service(file: File) -> None:
    taker, levels = Taker(), []
    reload = reloader(file, one=taker, apply=lambda root: levels.append(root.level))
    file.write("level: DEBUG\none: {interval_s: 5}\n")
    report = await reload()
    assert report == ReloadReport(changed=("level", "one.interval_s"))
    assert taker.taken == [Section(interval_s=5.0)]
    assert levels == ["DEBUG"]
    assert reload.current.value.one.interval_s == 5.0


async def test_an_invalid_configuration_changes_nothing(file: File) -> None:
    taker = Taker()
    reload = reloader(file, one=taker)
    file.write("one: {interval_s: soon}\n")
    with pytest.raises(SettingsError, match=r"config\.yaml:1: one\.interval_s"):
        await reload()
    assert taker.taken == []
    assert reload.current.value == Root()


async def test_what_needs_a_restart_is_told_until_it_is_taken_back(file: File) -> None:
    reload = reloader(file, one=Taker())
    file.write("one: {folder: /b}\n")
    assert (await reload()).restart == ("one.folder",)
    file.write("one: {folder: /b, interval_s: 2}\n")
    assert await reload() == ReloadReport(changed=("one.interval_s",), restart=("one.folder",))
    file.write("one: {interval_s: 2}\n")
    assert await reload() == ReloadReport()


async def test_a_service_may_say_that_more_needs_a_restart(file: File) -> None:
    report = await reloader(file, one=Taker(("interval_s", "one.folder")))()
    assert report.restart == ("one.interval_s", "one.folder")


async def test_a_service_that_fails_does_not_keep_the_others_from_theirs(file: File) -> None:
    broken, whole = Taker(ValueError("no")), Taker()
    file.write("two: {}\n")
    reload = reloader(file, one=broken, two=whole)
    with capture_logs() as logs:
        report = await reload()
    assert report.failed == ("one",)
    assert len(whole.taken) == 1
    assert [line["event"] for line in logs] == ["reload_failed"]


async def test_a_section_that_is_gone_waits_for_a_restart(file: File) -> None:
    file.write("two: {}\n")
    taker = Taker()
    reload = reloader(file, two=taker)
    file.write("")
    assert (await reload()).restart == ("two",)
    assert taker.taken == []
