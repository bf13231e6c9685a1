"""Everything that a header says of its observation: the 40 properties, by any translator.

`translators.translate` asks for what a registration needs, and fast; this asks for
all, of every instrument that astro-metadata-translator knows, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from astro_metadata_translator import MetadataTranslator, ObservationInfo

from translators.errors import TranslationError, UnknownInstrumentError
from translators.findings import Finding, Severity
from translators.headerfile import Entry
from translators.offline import offline
from translators.plugin import TRANSLATORS
from translators.properties import plain, reason_of
from translators.sidecar import Content
from translators.translate import translator_for

_FIXED = "ASTRO METADATA FIX MODIFIED"
"""By this card astro-metadata-translator knows a header that was corrected already."""


@dataclass(frozen=True, slots=True)
class Record:
    """The observation as translated."""

    file_name: str
    translator: str
    """Registered name."""
    values: Mapping[str, Any]
    """`ObservationInfo.to_simple()` as plain JSON: what is not known is left out."""
    findings: tuple[Finding, ...] = ()


def translator_named(name: str) -> type[MetadataTranslator]:
    """Return a registered translator.

    Raises
    ------
    UnknownInstrumentError
        There is none of this name.
    """
    for ours in TRANSLATORS.values():
        if ours.name == name:
            return ours
    try:
        found: type[MetadataTranslator] | None = MetadataTranslator.get_translator_by_name(name)
    except KeyError:
        found = None
    if found is None:
        raise UnknownInstrumentError(
            f"no translator is called {name!r}; `arriero translators list` tells which there are"
        )
    return found


def record_of(
    entry: Entry, *, pedantic: bool = False, translator: type[MetadataTranslator] | None = None
) -> Record:
    """Translate a header completely.

    Parameters
    ----------
    entry
        A header, which is not changed; or a record, which is checked and returned.
    pedantic
        Whether a property that cannot be made is an error. Otherwise it is left out,
        with a finding.
    translator
        Which one to use; None: the one that recognises the header.

    Raises
    ------
    TranslationError
        Nobody recognises the header; or, pedantic, properties cannot be made: the
        message names all of them.
    """
    if entry.content is Content.TRANSLATED:
        return _checked_record(entry)
    chosen = translator or translator_for(entry.values, file_name=entry.file_name)
    try:
        with offline():
            info = ObservationInfo(
                _header(entry), filename=entry.file_name, translator_class=chosen, quiet=True
            )
            faults = dict(_faults(info))
            for name in faults:
                object.__setattr__(info, name, None)
            values = plain(info.to_simple())
    # What a header makes a translator raise cannot be known: KeyError, erfa's own, and others.
    except Exception as error:
        raise TranslationError(
            f"{entry.file_name}: {chosen.name} cannot translate the header: {reason_of(error)}"
        ) from error
    if faults and pedantic:
        raise TranslationError(
            f"{entry.file_name}: the header does not give "
            + ", ".join(f"{name} ({reason})" for name, reason in sorted(faults.items()))
        )
    findings = tuple(
        Finding(
            "translation.property",
            Severity.WARNING,
            f"{entry.file_name}: {name} is left out: {reason}",
        )
        for name, reason in sorted(faults.items())
    )
    return Record(entry.file_name, str(chosen.name), values, entry.findings + findings)


def _header(entry: Entry) -> dict[str, Any]:
    """Return the cards to translate: of a corrected copy so that it is not corrected again."""
    header = dict(entry.values)
    if _FIXED in header:
        # In a header read from a file the card has lost its prefix.
        header[f"HIERARCH {_FIXED}"] = True
    return header


def _faults(info: ObservationInfo) -> Iterator[tuple[str, str]]:
    """Tell which properties failed, and why: ask for those without a value once more."""
    translator = info._translator  # noqa: SLF001 - the corrected header is there only
    for name, definition in info.all_properties.items():
        value = getattr(info, name)
        if value is not None and not definition.is_value_conformant(value):
            yield name, f"it is a {type(value).__name__}, not {definition.str_type}"
        if value is None:
            try:
                getattr(translator, f"to_{name}")()
            except Exception as error:  # noqa: BLE001 - as in record_of; it concerns one property
                yield name, reason_of(error)


def _checked_record(entry: Entry) -> Record:
    """Return a record that was read, if it is one."""
    try:
        with offline():
            info = ObservationInfo.from_simple(dict(entry.values))
    except (KeyError, TypeError, ValueError) as error:
        raise TranslationError(f"{entry.place}: the translated record is none: {error}") from error
    return Record(
        entry.file_name, str(info.translator_name or "unknown"), dict(entry.values), entry.findings
    )
