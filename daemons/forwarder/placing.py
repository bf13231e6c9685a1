"""From what an image is to its object key. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from types import MappingProxyType
from typing import Any

from daemons.forwarder.errors import PlacementError
from daemons.forwarder.model import shown
from translators.identity import ImageIdentity

KEY_FIELDS = frozenset(
    {
        "instrument",
        "day_obs",
        "obs_id",
        "exposure_id",
        "seq_num",
        "detector",
        "detector_name",
        "dataset_type",
        "file",
    }
)
"""Fields of the key template."""

_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+=@-]*$")
"""What a part of a key may be: nothing that a consumer of the bucket would have to unquote."""
_PART_MAX = 255
_KEY_MAX = 1024
"""Longest key that S3 allows, bytes."""


def check_template(
    template: str,
    *,
    fields: frozenset[str] = KEY_FIELDS,
    needs_file: bool = True,
) -> None:
    """Raise `ValueError` where a template has unknown fields, or does not end with the file."""
    try:
        used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"`{template}` is no template: {error}") from error
    unknown = used - fields
    if unknown:
        raise ValueError(
            f"`{template}` uses {', '.join(sorted(f'{{{name}}}' for name in unknown))}; there "
            f"are {', '.join(sorted(fields))}"
        )
    if needs_file and not template.endswith("{file}"):
        raise ValueError(
            f"`{template}` does not end with {{file}}: two files could have the same key"
        )
    if template.startswith("/") or template.endswith("/") or "//" in template:
        raise ValueError(f"`{template}` has an empty part; keys begin and end with a name")


def place(template: str, image: ImageIdentity, file_name: bytes) -> str:
    """Return the object key of an image.

    Raises
    ------
    PlacementError
        The header or the name has something that must not stand in a key.
    """
    values = {**_values(image), "file": _checked("file name", shown(file_name))}
    return _joined(template, values)


def place_beside(image_key: str, file_name: bytes) -> str:
    """Return the key of an attachment: its own name in the folder of an image of the exposure."""
    folder, slash, _ = image_key.rpartition("/")
    return f"{folder}{slash}{_checked('file name', shown(file_name))}"


def run_of(templates: Mapping[str, str], image: ImageIdentity) -> str:
    """Return the Butler RUN collection of an image; the translator's where no template is."""
    template = templates.get(image.dataset_type)
    return image.run if template is None else template.format(instrument=image.instrument)


def _values(image: ImageIdentity) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "instrument": _checked("instrument", image.instrument),
            "day_obs": image.day_obs,
            "obs_id": _checked("observation id", image.obs_id),
            "exposure_id": image.exposure_id,
            "seq_num": image.seq_num,
            "detector": image.detector,
            "detector_name": _checked("detector name", image.detector_name),
            "dataset_type": _checked("dataset type", image.dataset_type),
        }
    )


def _checked(what: str, text: str) -> str:
    if not _SAFE.match(text) or len(text) > _PART_MAX:
        raise PlacementError(
            f"the {what} `{text}` cannot stand in an object key: it must begin with a letter or "
            "digit and have only letters, digits and . _ + = @ - in it; mend the camera's naming, "
            "or rename the file and hand it over again"
        )
    return text


def _joined(template: str, values: Mapping[str, Any]) -> str:
    try:
        key = template.format(**values)
    except (ValueError, IndexError, KeyError) as error:
        raise PlacementError(
            f"the key template `{template}` does not fit this image ({error}); mend key_template"
        ) from error
    if len(key) > _KEY_MAX:
        raise PlacementError(f"the key {key} is longer than {_KEY_MAX} bytes; shorten the names")
    return key
