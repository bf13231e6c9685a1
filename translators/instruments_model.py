"""What an instrument is, as data: its files, filters, sensors and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from translators.findings import Severity
from translators.identity import ImageKind
from translators.inspection import CardValue

Millimetres = tuple[float, float]
"""A place in the focal plane, x and y."""
Recognition = tuple[Mapping[str, tuple[str | None, ...]], ...]
"""By what headers are known: all cards of one entry have one of the values, case aside;
null stands for a card that is undefined or absent."""

FULL_NAME_DELIMITER = "_"
"""Between raft and sensor in the full name of a detector."""


class Data(BaseModel):
    """Facts from a file: frozen, and a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRules(Data):
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


class FilterData(Data):
    """A filter in the first wheel."""

    name: str
    band: str
    with_gratings: bool = True
    """Whether it is used together with what is in the second wheel."""


class GratingData(Data):
    """What a second wheel can hold."""

    name: str
    band: str | None = None
    """Where it is itself a filter."""


class SensorSize(Data):
    """Size of a type of sensor."""

    width_px: Annotated[int, Field(ge=1)]
    height_px: Annotated[int, Field(ge=1)]


class SensorPlace(Data):
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


class RaftPlace(Data):
    """A raft in the focal plane."""

    name: str
    """Empty: the sensors stand in no raft."""
    layout: str
    """Key in `layouts`."""
    first_id: Annotated[int, Field(ge=0)]
    at_mm: Millimetres
    """Centre, from the focal plane's centre."""
    yaw_deg: float = 0.0
    """By how much it is turned, counter-clockwise; its sensors turn with it."""


class FocalPlane(Data):
    """From what the list of detectors is generated."""

    sensors: Mapping[str, SensorSize]
    layouts: Mapping[str, tuple[SensorPlace, ...]]
    rafts: tuple[RaftPlace, ...]
    rafts_in_butler: bool = True
    """False: a Butler's detector has no raft, and its name there is the full one."""
    aliases: Mapping[str, str] = Field(default_factory=dict)
    """Other names of detectors, as in file names, to the true ones."""
    serials: Mapping[str, str] = Field(default_factory=dict)
    """Detectors by their serial numbers, for headers that do not name the place."""

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
        names = {full_name(raft.name, place.name) for raft, place in places}
        unknown = {*self.aliases.values(), *self.serials.values()} - names
        if unknown:
            raise ValueError(
                f"aliases or serials of detectors that are none: {', '.join(sorted(unknown))}"
            )
        return self


def full_name(raft: str, sensor: str) -> str:
    """Return the full name of a detector, such as `R22_S11`; the sensor's without a raft."""
    return f"{raft}{FULL_NAME_DELIMITER}{sensor}" if raft else sensor


class Instrument(Data):
    """Everything that is data of one instrument."""

    name: str
    """As a Butler knows it."""
    telescope: str | None
    """None: it was never at one."""
    translator: str
    """Name in the registry of astro-metadata-translator."""
    recognise: Recognition
    """Which headers belong to it."""
    camera_codes: tuple[str, ...] = ()
    """First part of its OBSIDs; none: they are not made of parts."""
    files: FileRules
    filters: tuple[FilterData, ...]
    gratings: tuple[GratingData, ...] = ()
    focal_plane: FocalPlane

    def recognises(self, header: Mapping[str, CardValue]) -> bool:
        """Tell whether a header was written by this instrument."""
        return any(
            all(_plain(header.get(card)) in values for card, values in entry)
            for entry in self._known_by
        )

    @cached_property
    def _known_by(self) -> tuple[tuple[tuple[str, frozenset[str | None]], ...], ...]:
        """The entries of `recognise`, in lower case."""
        return tuple(
            tuple((card, frozenset(map(_plain, values))) for card, values in entry.items())
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


def _plain(value: CardValue) -> str | None:
    """Return a value as it is compared, None for an undefined one."""
    if isinstance(value, str):
        return value.strip().lower()
    # astropy has an undefined value of its own.
    return None if value is None or type(value).__name__ == "Undefined" else str(value).lower()
