"""Register a batch: one exposure's images in, one outcome per image out.

Synchronous; it belongs to the registrar's one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from daemons.events import ImageStored
from daemons.registrar.errors import (
    NoSuchExposureError,
    RegistrarError,
    RegistrationConflictError,
    RegistrationRaceError,
    RegistrationRefusedError,
)
from daemons.registrar.journal import Reason, RegistrarJournal
from daemons.registrar.repository import Registration, Repository
from translators.errors import TranslatorsError
from translators.focalplane import detector_by_name
from translators.identity import ImageKind
from translators.translate import observation_info

_log = structlog.get_logger(__name__)

RAW = "raw"
"""Dataset type of a detector image; its header describes the exposure."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An image that the Butler will not take."""

    image: ImageStored
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the images of a batch, and of guiders that waited for them."""

    registered: tuple[Registration, ...] = ()
    refused: tuple[Refusal, ...] = ()
    held: tuple[ImageStored, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.registered + other.registered,
            self.refused + other.refused,
            self.held + other.held,
        )


def register_batch(
    repository: Repository, journal: RegistrarJournal, images: Sequence[ImageStored]
) -> Outcome:
    """Register images of one exposure, dataset type and run.

    What is refused is remembered in the journal, one image at a time, so that a
    bad one never takes others with it; guiders without their exposure are held.

    Raises
    ------
    ButlerUnavailableError
        Nothing was decided; try the whole batch again later.
    RegistrationRaceError
        As above; at once.
    """
    outcome = _register(repository, images)
    for refusal in outcome.refused:
        journal.remember(
            refusal.image, Reason.REFUSED, code=refusal.code, sentence=refusal.sentence
        )
    for image in outcome.held:
        journal.remember(
            image,
            Reason.HELD,
            code=NoSuchExposureError.code,
            sentence=f"waits for the exposure {image.obs_id}",
        )
    journal.forget(each.image.file_id for each in outcome.registered if each.conflict is None)
    if images[0].dataset_type == RAW and outcome.registered:
        outcome += _release_held(repository, journal, images[0])
    return outcome


def refuse_batch(journal: RegistrarJournal, images: Sequence[ImageStored]) -> Outcome:
    """Give up on images that met another writer at every attempt; a person may retry."""
    sentence = "another writer got in the way at every attempt; `arriero refused retry` tries again"
    refused = tuple(Refusal(image, RegistrationRaceError.code, sentence) for image in images)
    for refusal in refused:
        journal.remember(refusal.image, Reason.REFUSED, code=refusal.code, sentence=sentence)
    return Outcome(refused=refused)


def _register(repository: Repository, images: Sequence[ImageStored]) -> Outcome:
    try:
        repository.register_instrument(images[0].instrument)
        if images[0].dataset_type == RAW:
            _register_exposure(repository, images)
        return _sorted_out(repository.register_images(images))
    except NoSuchExposureError:
        return Outcome(held=tuple(images))
    except RegistrarError as error:
        if error.retryable:
            raise
        if len(images) == 1:
            return Outcome(refused=(Refusal(images[0], error.code, str(error)),))
        return sum((_register(repository, [image]) for image in images), start=Outcome())


def _sorted_out(registrations: Sequence[Registration]) -> Outcome:
    return Outcome(
        registered=tuple(each for each in registrations if each.conflict is None),
        refused=tuple(
            Refusal(each.image, RegistrationConflictError.code, each.conflict)
            for each in registrations
            if each.conflict is not None
        ),
    )


def _register_exposure(repository: Repository, images: Sequence[ImageStored]) -> None:
    """Make the exposure's record from its canonical image: the lowest science detector."""
    image = min(images, key=_canonical)
    if image.observation is None:
        raise RegistrationRefusedError(
            f"{image.file_name}: announced without the translated header, and no sidecar gave one"
        )
    try:
        info = observation_info(image.observation)
    except (TranslatorsError, ValueError, KeyError, TypeError) as error:
        raise RegistrationRefusedError(
            f"{image.file_name}: the translated header cannot be read: {error}"
        ) from error
    differing = repository.register_exposure(info)
    if differing:
        _log.warning(
            "exposure_record_differs",
            obs_id=image.obs_id,
            file=image.file_name,
            fields=differing,
            kept="the repository's record",
        )


def _canonical(image: ImageStored) -> tuple[bool, bool, int]:
    kind = detector_by_name(image.instrument, image.detector_name).kind
    return (image.observation is None, kind is not ImageKind.SCIENCE, image.detector)


def _release_held(repository: Repository, journal: RegistrarJournal, image: ImageStored) -> Outcome:
    """Register the guiders that waited for this exposure."""
    held = journal.waiting(Reason.HELD, exposure=(image.instrument, image.exposure_id))
    outcome = Outcome()
    for run in sorted({each.image.run for each in held}):
        guiders = [each.image for each in held if each.image.run == run]
        outcome += register_batch(repository, journal, guiders)
    return outcome
