"""Entry point `astro_metadata_translators`: loading it registers the translators."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from translators.lsst.latiss import LatissTranslator
from translators.lsst.pointing import LsstTranslator
from translators.lsst.simonyi import (
    LsstCamSimTranslator,
    LsstCamTranslator,
    LsstComCamSimTranslator,
    LsstComCamTranslator,
)

TRANSLATORS: Mapping[str, type[LsstTranslator]] = MappingProxyType(
    {
        translator.data_name: translator
        for translator in (
            LsstCamTranslator,
            LsstComCamTranslator,
            LatissTranslator,
            LsstCamSimTranslator,
            LsstComCamSimTranslator,
        )
    }
)
"""Our translator classes by the name of their instrument."""


def translator_names() -> list[str]:
    """Return the names under which the translators are registered."""
    return [str(translator.name) for translator in TRANSLATORS.values()]
