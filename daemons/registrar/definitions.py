"""What a Butler knows of an instrument, as data in `config/instruments/<name>/butler.yaml`."""

from __future__ import annotations

from functools import lru_cache

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from daemons.registrar.errors import RepositoryError
from translators.resources import config_root


class ButlerDefinition(BaseModel):
    """Instrument-level facts of a Butler repository, as real repositories hold them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str
    """Full name of the instrument's class in the Science Pipelines."""
    visit_system: int
    """Preferred visit system: 0 one-to-one, 1 by group, 2 by sequence start and end."""
    detector_max: int
    """Exclusive upper bound of detector numbers."""
    exposure_max: int
    """Exclusive upper bound of exposure and visit ids."""
    raw_formatter: str
    """Full name of the formatter of `raw`."""
    guider_formatter: str | None = None
    """Full name of the formatter of `guider_raw`; null: the instrument has no guiders."""


@lru_cache(maxsize=32)
def butler_definition(instrument: str) -> ButlerDefinition:
    """Return what a Butler knows of an instrument.

    Raises
    ------
    RepositoryError
        There is no definition, or it is wrong.
    """
    path = config_root() / "instruments" / instrument / "butler.yaml"
    try:
        return ButlerDefinition.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RepositoryError(
            f"no Butler definition for the instrument {instrument}: add {path}"
        ) from error
    except (ValidationError, yaml.YAMLError) as error:
        raise RepositoryError(f"{path}: {error}") from error
