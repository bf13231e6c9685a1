"""What a reload may change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, SecretStr

from daemons.runtime.settings import Reloadable, RootSettings, SectionModel, diff


class Limits(SectionModel):
    bytes_per_s: int = 1
    """Bandwidth."""
    uploads: int = 4
    """Uploads at once."""


class Section(SectionModel):
    folder: Path = Path("/a")
    """A folder."""
    interval_s: Annotated[PositiveFloat, Reloadable()] = 1.0
    """An interval."""
    limits: Annotated[Limits, Reloadable()] = Limits()
    """Limits, all of them reloadable."""
    password: Annotated[SecretStr, Reloadable()] = SecretStr("a")
    """A secret."""


class Root(RootSettings):
    one: Section = Section()
    """A section."""
    many: dict[str, Section] = Field(default={})
    """Sections by name."""
    maybe: Section | None = None
    """A section that may be absent."""


def test_equal_settings_have_no_differences() -> None:
    assert diff(Root(), Root()) == ({}, ())


def test_marked_settings_are_reloadable_and_the_others_need_a_restart() -> None:
    old = Root()
    new = Root(one=Section(folder=Path("/b"), interval_s=2.0))
    reloadable, restart = diff(old, new)
    assert reloadable == {"one.interval_s": (1.0, 2.0)}
    assert restart == ("one.folder",)


def test_the_mark_of_a_section_holds_for_all_below_it() -> None:
    new = Root(one=Section(limits=Limits(bytes_per_s=9, uploads=8)))
    assert set(diff(Root(), new).reloadable) == {"one.limits.bytes_per_s", "one.limits.uploads"}


def test_sections_of_a_mapping_are_compared_one_by_one() -> None:
    old = Root(many={"a": Section(), "b": Section()})
    new = Root(many={"a": Section(), "b": Section(interval_s=3.0)})
    assert diff(old, new) == ({"many.b.interval_s": (1.0, 3.0)}, ())


def test_a_section_that_comes_or_goes_needs_a_restart() -> None:
    assert diff(Root(), Root(maybe=Section())).restart == ("maybe",)
    assert diff(Root(many={"a": Section()}), Root(many={"b": Section()})).restart == ("many",)


def test_a_changed_secret_is_named_and_not_shown() -> None:
    changed = diff(Root(), Root(one=Section(password=SecretStr("hunter2")))).reloadable
    assert list(changed) == ["one.password"]
    assert "hunter2" not in repr(changed)
