"""Look at the headers of a batch: translate, check, name what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from translators.audit.model import Batch, Image, Item, Open, Verdict
from translators.checks.files import CheckedFile, check_exposures, check_header
from translators.errors import TranslatorsError
from translators.findings import Finding, Severity
from translators.headerfile import Entry, entries_of
from translators.imagename import parse_image_name
from translators.instruments import instrument_of
from translators.offline import offline
from translators.record import Record, record_of
from translators.sidecar import Content


def open_file(place: str) -> BinaryIO:
    """Open a file of this machine."""
    return Path(place).open("rb")


def judge_batch(
    batch: Batch, *, opened: Open = open_file, policy: Path | None = None
) -> list[Verdict]:
    """Return the verdict about every file of a batch.

    Nothing that is wrong with a file raises: it becomes a finding. Files of one
    exposure in the batch are compared with each other; what they disagree on is told
    with the first of them.

    Parameters
    ----------
    batch
        What to look at.
    opened
        How a place is opened.
    policy
        A site's own policy, over those of the instruments.
    """
    # Translations ask for it one by one; together it is entered once.
    with offline():
        looks = [(item, [*_looks(item, opened, policy)]) for item in batch]
        _compare([look for _, some in looks for look in some])
    return [Verdict(item.number, tuple(look.image for look in some)) for item, some in looks]


@dataclass(slots=True)
class _Look:
    """One image while its exposure is not yet compared."""

    image: Image
    checked: CheckedFile | None = None


def _compare(looks: list[_Look]) -> None:
    """Put what the files of an exposure disagree on to the first of them."""
    files = [look.checked for look in looks if look.checked is not None]
    firsts: dict[tuple[str, str], _Look] = {}
    for look in looks:
        if look.checked is not None and look.checked.identity is not None:
            identity = look.checked.identity
            firsts.setdefault((identity.instrument, identity.obs_id), look)
    for exposure in check_exposures(files):
        first = firsts[exposure.instrument, exposure.obs_id]
        findings = (*first.image.findings, *exposure.findings)
        first.image = replace(first.image, findings=findings)


def _looks(item: Item, opened: Open, policy: Path | None) -> Iterator[_Look]:
    try:
        with opened(item.place) as source:
            entries = entries_of(source, item.place)
    except OSError as error:
        sentence = f"{item.place} cannot be read: {error.strerror or error}"
        yield _Look(_unread(item.place, "file.unreadable", sentence))
    # Whoever opens it has errors of his own, with a code.
    except Exception as error:  # noqa: BLE001 - one file's trouble must not end the audit
        code = getattr(error, "code", "audit.failed")
        yield _Look(_unread(item.place, code, str(error) or type(error).__name__))
    else:
        yield from (_look(entry, item.place, policy) for entry in entries)


def _unread(place: str, code: str, sentence: str) -> Image:
    name = place.rpartition("/")[2]
    return Image(name, findings=(Finding(code, Severity.ERROR, sentence),), **_by_name(name))


def _by_name(name: str) -> dict[str, Any]:
    """Return what the name tells of an image whose header tells nothing."""
    named = parse_image_name(name)
    if named is None:
        return {}
    return {"obs_id": named.obs_id, "day_obs": int(named.obs_id.split("_")[2])}


def _look(entry: Entry, place: str, policy: Path | None) -> _Look:
    try:
        if entry.content is Content.TRANSLATED:
            return _Look(_of_record(entry, record_of(entry)))
        checked = check_header(
            entry.values, source=_source(entry, place), override=policy, before=entry.findings
        )
        return _Look(_of_header(entry, checked), checked)
    except TranslatorsError as error:
        found = Finding(error.code, Severity.ERROR, str(error))
    # No header may end an audit, whatever a translator makes of it.
    except Exception as error:  # noqa: BLE001 - see above
        sentence = f"{entry.place}: {type(error).__name__}: {error}; this is a fault of arriero"
        found = Finding("audit.failed", Severity.ERROR, sentence)
    findings = (*entry.findings, found)
    return _Look(Image(entry.file_name, findings=findings, **_by_name(entry.file_name)))


def _source(entry: Entry, place: str) -> str:
    """Return where the image would be: its folder and its name are compared with the header."""
    folder, slash, _ = place.rpartition("/")
    return f"{folder}{slash}{entry.file_name}"


def _of_header(entry: Entry, checked: CheckedFile) -> Image:
    identity = checked.identity
    findings = tuple(dict.fromkeys(checked.findings))
    if identity is None:
        instrument = instrument_of(checked.header)
        name = None if instrument is None else instrument.name
        return Image(entry.file_name, name, findings=findings, **_by_name(entry.file_name))
    return Image(
        file_name=entry.file_name,
        instrument=identity.instrument,
        obs_id=identity.obs_id,
        day_obs=identity.day_obs,
        detector=identity.detector,
        findings=findings,
    )


def _of_record(entry: Entry, record: Record) -> Image:
    values = record.values
    return Image(
        file_name=entry.file_name,
        instrument=values.get("instrument"),
        obs_id=values.get("observation_id"),
        day_obs=values.get("observing_day"),
        detector=values.get("detector_num"),
        findings=record.findings,
    )
