"""Translate a header: what image is this, and what does its observation look like.

`translate` is for the summit, where every file passes; `observation_info` is for
who receives a translated record.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import MetadataTranslator, ObservationInfo, fix_header

from translators.cardtranslator import CardTranslator
from translators.corrections import applied_rules
from translators.errors import TranslationError, UnknownInstrumentError
from translators.findings import Finding, Severity
from translators.identity import ImageIdentity, ImageKind
from translators.imagename import file_name_findings, identify
from translators.inspection import CardValue
from translators.instruments import instrument_names, instrument_of
from translators.lsst.exposure import DETECTOR_CARDS
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.properties import Observation, read_observation

__all__ = ["DETECTOR_CARDS", "Translation", "observation_info", "translate"]

_FIXED = "HIERARCH ASTRO METADATA FIX MODIFIED"
"""By this card astro-metadata-translator knows a header that was corrected already."""

_FIX_CARDS = tuple(
    f"HIERARCH ASTRO METADATA FIX {what}" for what in ("MODIFIED", "DATE", "FILE", "VERSION")
)
"""What astro-metadata-translator notes in a header, the time of the fix among it."""
_REMEMBERED = 8
"""How many exposures are remembered: files of a few exposures arrive interleaved."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a header says."""

    identity: ImageIdentity
    observation: Mapping[str, Any] | None
    """`ObservationInfo.to_simple()` of what a Butler registration needs, as plain JSON;
    None for a file of guider stamps, whose header describes no exposure."""
    translator: str
    """Registered name of the translator."""
    translator_version: str
    findings: tuple[Finding, ...]


def translate(header: Mapping[str, CardValue], *, file_name: str) -> Translation:
    """Translate the primary header of an image.

    Parameters
    ----------
    header
        Cards as `Inspection.primary` has them; not changed.
    file_name
        The file's name; header and name are compared and a disagreement is a finding.

    Raises
    ------
    UnknownInstrumentError
        No instrument recognises the header.
    TranslationError
        The header does not tell what the image is; the message names the cards.
    """
    # Of the values only astropy's own have a type for undefined ones.
    own = isinstance(header, dict)
    plain = header if own else {card: _defined(value) for card, value in header.items()}
    translator_class = translator_for(plain, file_name=file_name)
    fixed: dict[str, Any] = dict(plain)
    if _FIXED.removeprefix("HIERARCH ") in fixed:
        # A corrected copy. In a header read from a file the card has lost its prefix.
        fixed[_FIXED] = True
    if issubclass(translator_class, CardTranslator):
        with offline() if translator_class.identity_needs_tables else nullcontext():
            fix_header(fixed, translator_class=translator_class, filename=file_name)
            return _translated(translator_class(fixed, file_name), fixed, file_name=file_name)
    with offline():
        fix_header(fixed, translator_class=translator_class)
        return _translated_by_others(translator_class, fixed, file_name=file_name)


def _defined(value: Any) -> Any:
    """Return None for astropy's undefined value, too."""
    return None if type(value).__name__ == "Undefined" else value


def translator_for(header: Mapping[str, Any], *, file_name: str) -> type[MetadataTranslator]:
    """Return our translator of a header, or else that of another package.

    Raises
    ------
    UnknownInstrumentError
        Nobody recognises the header.
    """
    found = instrument_of(header)
    if found is not None:
        ours = TRANSLATORS.get(found.name)
        if ours is not None:
            return ours
        raise UnknownInstrumentError(
            f"{file_name}: {found.name} has a data file but no translator class; add it to "
            "translators/plugin.py"
        )
    try:
        # Some take an undefined INSTRUME for theirs.
        defined = {keyword: value for keyword, value in header.items() if value is not None}
        theirs: type[MetadataTranslator] = MetadataTranslator.determine_translator(defined)
    # A translator looks at cards as it likes, and raises what they make it raise.
    except Exception as error:
        raise UnknownInstrumentError(
            f"{file_name}: no instrument recognises this header (INSTRUME is "
            f"{header.get('INSTRUME')!r}, TELESCOP {header.get('TELESCOP')!r}); known are "
            f"{', '.join(instrument_names())}; `arriero translators new` begins another"
        ) from error
    return theirs


def _translated(
    translator: CardTranslator, fixed: Mapping[str, Any], *, file_name: str
) -> Translation:
    data = translator.data()
    identity = identify(translator, data, file_name=file_name)
    observation = None
    if identity.dataset_type == "raw":
        observation = _exposures.observation(translator, identity.obs_id, file_name=file_name)
    findings = (
        *file_name_findings(identity, data, fixed, file_name=file_name),
        *_correction_findings(fixed, file_name),
    )
    return Translation(
        identity=identity,
        observation=None if observation is None else observation.record(identity.detector),
        translator=str(translator.name),
        translator_version=translator.translator_version(),
        findings=findings + (() if observation is None else observation.findings),
    )


def _translated_by_others(
    translator_class: type[MetadataTranslator], fixed: Mapping[str, Any], *, file_name: str
) -> Translation:
    """Translate with a translator that is not ours: all that is known of the image it says."""
    observation = read_observation(translator_class(fixed), file_name=file_name)
    simple = observation.simple
    translator = translator_class(fixed)
    name = simple["instrument"]
    try:
        detector_name = str(translator.to_detector_unique_name())
    except Exception as error:  # as in `read_observation`: it may be anything
        raise TranslationError(f"{file_name}: the detector has no name: {error}") from error
    identity = ImageIdentity(
        instrument=name,
        obs_id=simple["observation_id"],
        exposure_id=simple["exposure_id"],
        day_obs=simple["observing_day"],
        seq_num=simple.get("observation_counter", 0),
        detector=simple["detector_num"],
        detector_name=detector_name,
        kind=ImageKind.SCIENCE,
        dataset_type="raw",
        run=f"{name}/raw/all",
    )
    return Translation(
        identity=identity,
        observation=observation.record(identity.detector),
        translator=str(translator_class.name),
        translator_version=translator_class.translator_version(),
        findings=observation.findings,
    )


def _correction_findings(fixed: Mapping[str, Any], file_name: str) -> Iterator[Finding]:
    """Say which known faults were corrected."""
    rules = applied_rules(fixed)
    if rules:
        yield Finding(
            "header.corrected",
            Severity.INFO,
            f"{file_name}: known faults of the header were corrected for the translation, by the "
            f"rules {', '.join(rules)}; the file is as it was",
        )


class _Exposures:
    """Remembers the observation of the last exposures: it is the same for 205 detectors.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[type, Any], tuple[dict[str, Any], Observation]] = (
            OrderedDict()
        )

    def observation(
        self, translator: CardTranslator, obs_id: str, *, file_name: str
    ) -> Observation:
        """Return the observation of a header, translated anew unless every card is the same."""
        shared = translator.shared_cards()
        for keyword in _FIX_CARDS:
            shared.pop(keyword, None)
        key = (type(translator), obs_id)
        with self._lock:
            known = self._known.get(key)
        if known is not None and known[0] == shared:
            return known[1]
        with offline():
            observation = read_observation(translator, file_name=file_name)
        with self._lock:
            self._known[key] = (shared, observation)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return observation


_exposures = _Exposures()


def observation_info(record: Translation | Mapping[str, Any]) -> ObservationInfo:
    """Return the observation as astro-metadata-translator's class.

    Parameters
    ----------
    record
        A translation, or the record that came with an event.

    Raises
    ------
    TranslationError
        There is no record, or it is none.
    """
    simple = record.observation if isinstance(record, Translation) else record
    if simple is None:
        raise TranslationError("the file holds guider stamps; its header describes no exposure")
    try:
        with offline():
            return ObservationInfo.from_simple(dict(simple))
    except (KeyError, TypeError, ValueError) as error:
        raise TranslationError(f"the translated record is none: {error}") from error
