"""How our translators read cards, and how they enter the registry.

A correction of one exposure by a person is a file `<instrument>-<obs_id>.yaml` of
cards and values, in a folder of `$METADATA_CORRECTIONS_PATH` or in `corrections/`
of the instrument's folder; astro-metadata-translator applies the first that it
finds. The rules of `translators.corrections` then leave the cards alone that stand
in it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from astro_metadata_translator import FitsTranslator, MetadataTranslator

from translators.corrections import correct, manually_corrected
from translators.instruments import Instrument, corrections_folder, instrument
from translators.version import distribution_version


class MissingCardsError(KeyError):
    """None of some cards is present with a value."""

    def __init__(self, *keywords: str) -> None:
        super().__init__(*keywords)
        self.keywords = keywords

    def __str__(self) -> str:
        return f"no value in {' or '.join(self.keywords)}"


class CardTranslator(FitsTranslator):
    """Reads cards so that an undefined value counts as absent.

    A subclass with a `name` is registered with astro-metadata-translator unless
    another package has registered the name before: where the observatory's own
    translators are installed they stay what other programs find, and `translate`
    uses ours by class. Where they are imported later they replace ours, and
    astro-metadata-translator logs a warning that is harmless.
    """

    data_name: ClassVar[str]
    """Folder of the instrument's data below `config/instruments`."""

    detector_cards: ClassVar[frozenset[str]] = frozenset()
    """Cards that differ between the files of an exposure, and from which no property of
    an exposure is made."""

    identity_needs_tables: ClassVar[bool] = False
    """Whether times must be converted to tell which image a header is of."""

    def __init__(self, header: Mapping[str, Any], filename: Any = None) -> None:
        # The base class would make a URI of the name, and refuse names that are none.
        super().__init__(header)
        self.filename = None if filename is None else str(filename)

    def __getstate__(self) -> dict[str, Any]:
        # What was translated is remembered by functions that pickle cannot name.
        return self.__dict__ | {"_translation_cache": {}}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        registry = MetadataTranslator.translators
        known = dict(registry)
        if cls.name is not None:
            registry.pop(cls.name, None)
        super().__init_subclass__(**kwargs)
        taken = None if cls.name is None else known.get(cls.name)
        if taken is not None and not taken.__module__.startswith(f"{__package__}."):
            registry.clear()
            registry.update(known)

    @classmethod
    def data(cls) -> Instrument:
        """Return the facts of the instrument."""
        return instrument(cls.data_name)

    @classmethod
    def can_translate(cls, header: Any, filename: str | None = None) -> bool:  # noqa: ARG003 - astro-metadata-translator's signature
        """Tell whether a header is of this instrument."""
        return cls.data().recognises(header)

    @classmethod
    def fix_header(
        cls,
        header: MutableMapping[str, Any],
        instrument: str,
        obsid: str,
        filename: str | None = None,  # noqa: ARG003 - astro-metadata-translator's signature
    ) -> bool:
        """Correct the known faults of a header in place; what a person corrected stays."""
        manual = manually_corrected(instrument, obsid, folders=cls._correction_folders())
        return bool(correct(header, cls.data_name, untouchable=manual))

    def search_paths(self) -> list[str]:
        """Return where corrections of single exposures are, besides the environment's."""
        return [str(folder) for folder in self._correction_folders()]

    @classmethod
    def _correction_folders(cls) -> tuple[Path, ...]:
        folder = corrections_folder(cls.data_name)
        return () if folder is None else (folder,)

    @classmethod
    def translator_version(cls) -> str:
        """Return the version of the distribution."""
        return distribution_version()

    def shared_cards(self) -> dict[str, Any]:
        """Return what the files of an exposure share: all that its properties are made from."""
        shared = dict(self._header)
        for keyword in self.detector_cards:
            shared.pop(keyword, None)
        return shared

    def defined(self, keyword: str) -> bool:
        """Tell whether a card is present with a value; an empty string is none."""
        return self.is_key_ok(keyword) and self._header[keyword] != ""

    def card(self, *keywords: str) -> Any:
        """Return the value of the first defined card.

        Raises
        ------
        MissingCardsError
            None is defined.
        """
        for keyword in keywords:
            if self.defined(keyword):
                self._used_these_cards(keyword)
                return self._header[keyword]
        raise MissingCardsError(*keywords)

    def card_or(self, default: Any, *keywords: str) -> Any:
        """Return the value of the first defined card, or a default."""
        try:
            return self.card(*keywords)
        except MissingCardsError:
            return default

    def text(self, *keywords: str) -> str:
        """Return the first defined card as text; a time has milliseconds.

        Raises
        ------
        MissingCardsError
            None is defined.
        """
        value = self.card(*keywords)
        if isinstance(value, datetime):
            # A correction in YAML may hold an unquoted time.
            return value.isoformat(timespec="milliseconds")
        return str(value)

    def number(self, *keywords: str) -> float:
        """Return the first defined card as a number, also where it was written as text.

        Raises
        ------
        MissingCardsError
            None is defined.
        ValueError
            It is no number.
        """
        return float(self.card(*keywords))
