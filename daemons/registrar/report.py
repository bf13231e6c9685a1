"""What a repository says that it holds, asked of the Butler itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError

from daemons.registrar.opening import open_butler
from daemons.registrar.settings import RegistrarSettings


@dataclass(frozen=True, slots=True)
class RegisteredFile:
    """One dataset of the repository."""

    dataset_id: UUID
    dataset_type: str
    instrument: str
    exposure: int
    detector: int
    uri: str


def registered_files(
    settings: RegistrarSettings, dataset_types: Iterable[str] = ("raw", "guider_raw")
) -> tuple[RegisteredFile, ...]:
    """Return every dataset of these types, in any run.

    Raises
    ------
    RepositoryError
        There is no repository.
    ButlerUnavailableError
        Its database is out of reach.
    """
    found: list[RegisteredFile] = []
    with open_butler(settings, writeable=False) as butler:
        for dataset_type in dataset_types:
            try:
                refs = butler.query_datasets(
                    dataset_type, collections="*", find_first=False, limit=None, explain=False
                )
            except (MissingCollectionError, MissingDatasetTypeError):
                continue
            uris = butler.get_many_uris(refs)
            found += [
                RegisteredFile(
                    dataset_id=ref.id,
                    dataset_type=dataset_type,
                    instrument=str(ref.dataId["instrument"]),
                    exposure=int(ref.dataId["exposure"]),
                    detector=int(ref.dataId["detector"]),
                    uri=str(place.primaryURI),
                )
                for ref, place in uris.items()
            ]
    return tuple(found)
