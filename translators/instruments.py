"""The instruments: facts as data in `config/instruments/<name>/instrument.yaml`.

An instrument file is read once, validated, and refused with its path where it
is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from translators.errors import InstrumentDataError
from translators.findings import Severity
from translators.identity import ImageKind
from translators.inspection import CardValue
from translators.resources import config_root

_DATA_FILE = "instrument.yaml"
Millimetres = tuple[float, float]
"""A place in the focal plane, x and y."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRules(_Data):
    """What a whole file of the instrument looks like."""

    hdus: Mapping[ImageKind, Annotated[int, Field(ge=1)]]
    """Number of HDUs of a raw, by kind of detector."""
    stamps_card: str | None = None
    """Card whose presence says that a file holds guider stamps; its value is their
    number, and the file has that many HDUs behind the primary."""
    checksums: bool
    """Whether every HDU is written with CHECKSUM and DATASUM."""
    wrong_checksum: Severity = Severity.ERROR
    """How bad a DATASUM or CHECKSUM is that does not fit. A warning only for files whose
    pixels nobody will ever measure."""


class FilterData(_Data):
    """A filter in the first wheel."""

    name: str
    band: str
    with_gratings: bool = True
    """Whether it is used together with what is in the second wheel."""


class GratingData(_Data):
    """What a second wheel can hold."""

    name: str
    band: str | None = None
    """Where it is itself a filter."""


class SensorSize(_Data):
    """Size of a type of sensor."""

    width_px: Annotated[int, Field(ge=1)]
    height_px: Annotated[int, Field(ge=1)]


class SensorPlace(_Data):
    """A sensor in a raft."""

    name: str
    id: Annotated[int, Field(ge=0)]
    """Added to the raft's first detector number."""
    kind: ImageKind
    type: str
    """Key in `sensors`."""
    at_mm: Millimetres
    """Centre, from the raft's centre."""
    yaw_deg: float = 0.0


class RaftPlace(_Data):
    """A raft in the focal plane."""

    name: str
    layout: str
    """Key in `layouts`."""
    first_id: Annotated[int, Field(ge=0)]
    at_mm: Millimetres
    """Centre, from the focal plane's centre."""
    yaw_deg: float = 0.0
    """By how much it is turned, counter-clockwise; its sensors turn with it."""


class FocalPlane(_Data):
    """From what the list of detectors is generated."""

    sensors: Mapping[str, SensorSize]
    layouts: Mapping[str, tuple[SensorPlace, ...]]
    rafts: tuple[RaftPlace, ...]
    rafts_in_butler: bool = True
    """False: a Butler's detector has no raft, and its name there is the full one."""
    aliases: Mapping[str, str] = Field(default_factory=dict)
    """Other names of detectors, as in file names, to the true ones."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        unknown = {raft.layout for raft in self.rafts} - set(self.layouts)
        if unknown:
            raise ValueError(f"rafts use layouts that are not given: {', '.join(sorted(unknown))}")
        places = [(raft, place) for raft in self.rafts for place in self.layouts[raft.layout]]
        unknown = {place.type for _, place in places} - set(self.sensors)
        if unknown:
            raise ValueError(
                f"layouts use sensors that are not given: {', '.join(sorted(unknown))}"
            )
        numbers = [raft.first_id + place.id for raft, place in places]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two detectors have the same number")
        unknown = set(self.aliases.values()) - {
            f"{raft.name}_{place.name}" for raft, place in places
        }
        if unknown:
            raise ValueError(f"aliases of detectors that are none: {', '.join(sorted(unknown))}")
        return self


class Instrument(_Data):
    """Everything that is data of one instrument."""

    name: str
    """As a Butler knows it."""
    telescope: str
    translator: str
    """Name in the registry of astro-metadata-translator."""
    recognise: tuple[Mapping[str, tuple[str, ...]], ...]
    """A header belongs to the instrument when all cards of one entry have one of the
    values, case aside."""
    camera_codes: tuple[str, ...]
    """First part of its OBSIDs."""
    files: FileRules
    filters: tuple[FilterData, ...]
    gratings: tuple[GratingData, ...] = ()
    focal_plane: FocalPlane

    def recognises(self, header: Mapping[str, CardValue]) -> bool:
        """Tell whether a header was written by this instrument."""
        return any(
            all(_matches(header.get(card), values) for card, values in entry.items())
            for entry in self.recognise
        )

    @property
    def raw_run(self) -> str:
        """RUN collection of its raws."""
        return f"{self.name}/raw/all"

    @property
    def guider_run(self) -> str:
        """RUN collection of its guider stamps."""
        return f"{self.name}/raw/guider"


def _matches(value: CardValue, allowed: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value.strip().lower() in {each.lower() for each in allowed}


@lru_cache(maxsize=1)
def instrument_names() -> tuple[str, ...]:
    """Return the names of all instruments that have a data file, sorted."""
    return tuple(sorted(path.parent.name for path in _root().glob(f"*/{_DATA_FILE}")))


@lru_cache(maxsize=32)
def instrument(name: str) -> Instrument:
    """Return the data of an instrument.

    Raises
    ------
    InstrumentDataError
        There is none of this name, or its file is wrong.
    """
    path = _root() / name / _DATA_FILE
    try:
        content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        data = Instrument.model_validate(content)
    except FileNotFoundError as error:
        raise InstrumentDataError(
            f"no instrument {name!r}; known are {', '.join(instrument_names())}. To add one, "
            f"write {path}"
        ) from error
    except (yaml.YAMLError, ValidationError) as error:
        raise InstrumentDataError(f"{path}: {error}") from error
    if data.name != name:
        raise InstrumentDataError(
            f"{path}: it names itself {data.name!r}; folder and name must agree"
        )
    return data


def instrument_of(header: Mapping[str, CardValue]) -> Instrument | None:
    """Return the instrument that wrote a header, None where it is none of ours."""
    for name in instrument_names():
        candidate = instrument(name)
        if candidate.recognises(header):
            return candidate
    return None


def _root() -> Path:
    return config_root() / "instruments"
