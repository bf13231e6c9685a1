"""A Butler repository: opened or created, and images registered in it.

Synchronous: it belongs to one thread, the registrar's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from astro_metadata_translator import ObservationInfo
from lsst.daf.butler import (
    Butler,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    FileDataset,
    MissingCollectionError,
)

from daemons.events import ImageStored
from daemons.registrar import records
from daemons.registrar.classify import translated
from daemons.registrar.definitions import butler_definition
from daemons.registrar.errors import NoSuchExposureError, RegistrationRefusedError
from daemons.registrar.known_size import known_resource
from daemons.registrar.standins import formatter_class

_DATASET_TYPES: Mapping[str, str] = {"raw": "Exposure", "guider_raw": "Stamps"}
"""Storage class of each dataset type that is registered."""

_DIMENSIONS = ("instrument", "detector", "exposure")

_NO_BAND = "unknown"
"""Band of a physical filter that no list names, as the Science Pipelines register it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of one image."""

    image: ImageStored
    already_known: bool = False
    conflict: str | None = None
    """Why the repository's dataset is another one; null where it is this one."""


class Repository:
    """One Butler repository.

    Parameters
    ----------
    butler
        An open, writeable Butler.
    add_filters
        Whether a physical filter that the repository lacks is added.
    """

    def __init__(self, butler: Butler, *, add_filters: bool) -> None:
        self._butler = butler
        self._add_filters = add_filters
        self._instruments: set[str] = set()
        self._filters: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Give back the connections."""
        self._butler.close()

    def register_instrument(self, instrument: str) -> None:
        """Add an instrument, its detectors, filters and dataset types where they are absent.

        Rows that exist are left as they are, whatever they say: an older
        repository holds older values.
        """
        if instrument in self._instruments:
            return
        with translated(f"instrument {instrument}"):
            insert = self._butler.registry.insertDimensionData
            with self._butler.transaction():
                insert("instrument", records.instrument_record(instrument), skip_existing=True)
                insert("detector", *records.detector_records(instrument), skip_existing=True)
                known = records.filter_records(instrument)
                insert("physical_filter", *known, skip_existing=True)
            for name, storage_class in _DATASET_TYPES.items():
                self._butler.registry.registerDatasetType(
                    DatasetType(name, _DIMENSIONS, storage_class, universe=self._butler.dimensions)
                )
        self._filters.update((instrument, each["name"]) for each in known)
        self._instruments.add(instrument)
        _log.info("instrument_registered", instrument=instrument)

    def register_exposure(self, info: ObservationInfo) -> tuple[str, ...]:
        """Add an exposure with its group and day where it is absent.

        Returns the fields in which the repository's record differs from this
        one; it is never overwritten.
        """
        record = records.exposure_record(info)
        with translated(f"exposure {record['obs_id']}"):
            known = self._exposure(record["instrument"], record["id"])
            if known is not None:
                return records.differences(known, record)
            self._know_filter(record["instrument"], record["physical_filter"])
            for element, row in (
                ("group", records.group_record(info)),
                ("day_obs", records.day_obs_record(info)),
                ("exposure", record),
            ):
                fields = set(self._butler.dimensions[element].RecordClass.fields.names)
                supported = {name: value for name, value in row.items() if name in fields}
                self._butler.registry.syncDimensionData(element, supported)
        return ()

    def register_images(self, images: Sequence[ImageStored]) -> tuple[Registration, ...]:
        """Register images of one exposure, dataset type and run in one transaction.

        The exposure must be there. Each detector once; the same image again is
        already known; another file under the same identity is a conflict and
        changes nothing.
        """
        first = images[0]
        ordered = sorted(
            {image.detector: image for image in images}.values(), key=lambda image: image.detector
        )
        with translated(f"{first.dataset_type} of {first.obs_id}"):
            if self._exposure(first.instrument, first.exposure_id) is None:
                raise NoSuchExposureError(
                    f"exposure {first.obs_id} is not registered yet; {first.file_name} waits for it"
                )
            refs = {ref.id: ref for ref in self._refs(ordered)}
            known = self._stored_uris(refs.values())
            new = [image for image in ordered if image.file_id not in known]
            if new:
                self._ingest(new, refs)
        return tuple(self._registration(image, known) for image in ordered)

    def _ingest(self, images: Sequence[ImageStored], refs: Mapping[UUID, DatasetRef]) -> None:
        definition = butler_definition(images[0].instrument)
        name = (
            definition.raw_formatter
            if images[0].dataset_type == "raw"
            else definition.guider_formatter
        )
        if name is None:
            raise RegistrationRefusedError(
                f"{images[0].file_name}: {images[0].instrument} has no guiders"
            )
        datasets = [
            FileDataset(
                path=known_resource(image.uri, image.size_bytes),
                refs=[refs[image.file_id]],
                formatter=formatter_class(name),
            )
            for image in images
        ]
        self._butler.ingest(*datasets, transfer="direct")

    def _refs(self, images: Iterable[ImageStored]) -> Iterator[DatasetRef]:
        """Yield the dataset references, with data ids expanded and ids as announced."""
        for image in images:
            dataset_type = self._butler.get_dataset_type(image.dataset_type)
            data_id = self._butler.registry.expandDataId(
                instrument=image.instrument,
                detector=image.detector,
                exposure=image.exposure_id,
            )
            ref = DatasetRef(
                dataset_type,
                data_id,
                run=image.run,
                id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN,
            )
            if ref.id != image.file_id:
                raise RegistrationRefusedError(
                    f"{image.file_name}: announced as dataset {image.file_id}, but its data id "
                    f"in run {image.run} gives {ref.id}; do both sides use the same run name?"
                )
            yield ref

    def _stored_uris(self, refs: Iterable[DatasetRef]) -> dict[UUID, str]:
        """Return the URIs of those datasets that the repository holds already."""
        wanted = list(refs)
        try:
            found = self._butler.registry.queryDatasets(
                wanted[0].datasetType,
                collections=[wanted[0].run],
                instrument=wanted[0].dataId["instrument"],
                exposure=wanted[0].dataId["exposure"],
            )
            known = {ref.id for ref in found}
        except MissingCollectionError:
            return {}
        held = [ref for ref in wanted if ref.id in known]
        if not held:
            return {}
        uris = self._butler.get_many_uris(held, allow_missing=True)
        return {ref.id: str(place.primaryURI) for ref, place in uris.items()}

    @staticmethod
    def _registration(image: ImageStored, known: Mapping[UUID, str]) -> Registration:
        uri = known.get(image.file_id)
        if uri is None:
            return Registration(image)
        if uri == str(known_resource(image.uri, image.size_bytes)):
            return Registration(image, already_known=True)
        return Registration(
            image, already_known=True, conflict=f"the repository holds {uri} under this dataset id"
        )

    def _exposure(self, instrument: str, exposure: int) -> Mapping[str, Any] | None:
        rows = self._butler.query_dimension_records(
            "exposure", instrument=instrument, exposure=exposure, explain=False
        )
        return rows[0].toDict() if rows else None

    def _know_filter(self, instrument: str, name: str) -> None:
        if (instrument, name) in self._filters:
            return
        rows = self._butler.query_dimension_records(
            "physical_filter", instrument=instrument, physical_filter=name, explain=False
        )
        if not rows and not self._add_filters:
            raise RegistrationRefusedError(
                f"physical filter {name!r} of {instrument} is not in the repository; add it, "
                "or set registrar.unknown_filters to add"
            )
        if not rows:
            self._butler.registry.syncDimensionData(
                "physical_filter", {"instrument": instrument, "name": name, "band": _NO_BAND}
            )
            _log.warning("physical_filter_added", instrument=instrument, physical_filter=name)
        self._filters.add((instrument, name))
