"""The pages about keyword definitions: their language, and the keywords of each instrument."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from daemons.bus.sal.dictionary import load_dictionary
from headerservice import crosschecks_data as checks
from headerservice import definitions as form
from headerservice.describe import KeywordRow, rows
from headerservice.loading import load_definitions, shipped_definitions
from headerservice.rules import Definitions
from headerservice.wcs_data import NominalWcs

LANGUAGE_PAGE = "docs/reference/keyword-definitions.md"

_LANGUAGE = """\
# Keyword definitions

<!-- Generated from the models of the definition files by `make schemas`; do not edit. -->

What is in a header is data: a YAML file per instrument, `config/instruments/NAME/keywords.yaml`,
or one of your own (`headerservice.keywords` in the configuration). It is checked when the
service starts: every field must exist in the SAL dictionary, with the declared type and unit.
What is wrong is told with file and line, and the service does not start.

    arriero headers check-config                       # those of the configuration
    arriero headers check-config LATISS --json         # those that arriero ships, for programs
    arriero headers check-config my.yaml --registry http://registry:8081

`SIGHUP` (`systemctl reload`), or `POST /reload` of the admin API, looks at the file again. New
definitions count for exposures that begin after them; an open exposure keeps those that it began
with. A file with mistakes is refused, with file and line in the log and in `arriero status`, and
the old definitions stay. Another instrument or other exposure events need a restart.

Where the control bus has a schema registry, definitions are also compared with its schemas, at the
start and after each reload. What disagrees is told with file and line (`schema.disagrees`), and the
definitions stay in use: the registry may be behind.

## Files that extend others

    extends: LSSTCam                  # an instrument that arriero ships, or a file beside this one
    components: {camera: CCCamera}    # what `camera.` stands for in the sources
    primary:
      - section: Telescope and site
        keywords:
          - {keyword: INSTRUME, value: LSSTComCam}    # the other keys stay as they were
      - section: Calibration light
        without: [HIERARCH CALIB LASER_WAVE]          # takes keywords away
      - section: Guider
        after: Pointing                               # a new section goes there, else to the end
        keywords: [...]

A file is laid over those that it extends, in their order: sections go together by heading,
keywords by name, `components`, `topics`, `enums`, `image_types`, `exposure` and `instants` key by
key; everything else is replaced. `null` takes a key away. A file that two others extend counts
once.

## What a value is

* A field of an event of the exposure itself is taken from the event of the same image; where
  that was lost, from another event of the image that has the field.
* Everything else is sampled at an instant by the message's own time, whenever it arrives:
  interpolated on a line, on the shorter arc, or the last one before (`step`). Over an exposure
  it is the latest, least or greatest value, or the mean over time.
* A sample that is too old, out of range, not filled in (`unset`), or said to mean nothing
  (`valid_when`) is no value. NaN, infinite and denormal numbers never are. The empty text never is.
* Samples further apart than four times what is usual, and half a second, have a gap between
  them: a value from around it stands with the quality `interpolated_over_gap`. A mean or an
  extreme needs samples for half of the exposure.
* The quality of each value, its source, time and age are in the provenance beside the header.
"""

_MODELS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", form.KeywordFile),
    ("`exposure`", form.ExposureEvents),
    ("`topics.NAME`", form.TopicTime),
    ("`primary`: a section", form.Section),
    ("`keywords`: a keyword", form.KeywordEntry),
    ("`unit`, where it changes", form.UnitChange),
    ("`valid_when`", form.Validity),
    ("`sensors`", form.Sensors),
    ("`sensors.sizes`", form.SensorSizes),
    ("`sensors.keywords`: a keyword", form.SensorEntry),
    ("`wcs`", NominalWcs),
    ("`crosschecks`", checks.CrossChecks),
    ("`crosschecks.site`", checks.SiteKeywords),
)

_INSTRUMENT = """\
# Keywords of {instrument}

<!-- Generated from {source} by `make schemas`; do not edit. -->

{sentence} [Keyword definitions](keyword-definitions.md) says what the rules mean. A required
keyword without a value makes the header partial; image types stand where only those need it.
"""


def keyword_pages() -> Mapping[str, str]:
    """Return every page: path below the checkout to its text."""
    pages = {LANGUAGE_PAGE: language_page()}
    dictionary = load_dictionary()
    known: set[tuple[tuple[str, ...], ...]] = set()
    for path in shipped_definitions():
        definitions = load_definitions(path, dictionary)
        form_of = tuple(tuple(map(_without_index, row.sources)) for row in rows(definitions))
        if form_of in known:
            continue  # differs from another page in the index of its camera only
        known.add(form_of)
        name = path.stem.replace("keywords", path.parent.name)
        pages[f"docs/reference/keywords-{name}.md"] = instrument_page(
            name, definitions, f"config/instruments/{path.parent.name}/{path.name}"
        )
    return pages


def _without_index(source: str) -> str:
    return re.sub(r":\d+\.", ".", source)


def language_page() -> str:
    """Return the page about the language of definition files."""
    parts = [_LANGUAGE]
    for title, model in _MODELS:
        parts.append(f"\n## {title}\n\n{_first_paragraph(model)}\n\n")
        parts += _fields(model)
    parts.append("\n## `crosschecks.checks`: a check\n\nWhich one is said by `check`.\n\n")
    for model in get_args(get_args(checks.Check)[0]):
        name = get_args(model.model_fields["check"].annotation)[0]
        keys = ", ".join(f"`{key}`" for key in model.model_fields if key != "check")
        parts.append(f"`{name}`\n: {_first_paragraph(model)} Keys: {keys}.\n\n")
    return "".join(parts)


def _fields(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        sentence = " ".join((field.description or "").split())
        choices = _choices(field.annotation)
        allowed = f"; one of {', '.join(f'`{each}`' for each in choices)}" if choices else ""
        yield f"`{field.alias or name}` ({_default(field)}{allowed})\n: {sentence}\n\n"


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(each for part in get_args(annotation) for each in _choices(part))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required" if field.default_factory is None else "default: empty"
    if field.default is None or field.default == ():
        return "default: none"
    return f"default `{json.dumps(field.default)}`"


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def instrument_page(name: str, definitions: Definitions, source: str) -> str:
    """Return the page of an instrument's keywords.

    Parameters
    ----------
    name
        What the page is about.
    definitions
        Its definitions.
    source
        Where they are, below the checkout.
    """
    found = rows(definitions)
    sentence = (
        f"{len(found)} keywords out of {len(definitions.needed)} topics, defined in `{source}`."
    )
    text = _INSTRUMENT.format(instrument=name, source=source, sentence=sentence)
    section = None
    for row in found:
        if row.section != section:
            section = row.section
            heading = section if row.hdu == "PRIMARY" else f"{section}, HDU `{row.hdu}`"
            text += f"\n## {heading}\n\n| keyword | comment | required | at | source | rules |\n"
            text += "|---|---|---|---|---|---|\n"
        text += _line(row)
    return text


def _line(row: KeywordRow) -> str:
    sources = "<br>".join(f"`{each}`" for each in row.sources)
    cells = (
        f"`{row.keyword}`",
        f"{row.comment} ({row.type})",
        row.required,
        row.at,
        sources,
        "; ".join(row.rules),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
