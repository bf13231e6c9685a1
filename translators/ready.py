"""Loading what the first image would otherwise wait for: instruments, policies, tables of time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from translators.checks.headers import header_findings
from translators.checks.policy import policy_for
from translators.errors import TranslatorsError
from translators.focalplane import detectors
from translators.instruments import instrument_names
from translators.translate import translate

_SKY: Mapping[str, Any] = MappingProxyType(
    {
        "INSTRUME": "lsstCam",
        "TELESCOP": "LSST",
        "CAMCODE": "MC",
        "CONTRLLR": "O",
        "DAYOBS": "20250501",
        "SEQNUM": 1,
        "OBSID": "MC_O_20250501_000001",
        "IMGTYPE": "OBJECT",
        "RAFTBAY": "R22",
        "CCDSLOT": "S11",
        "LSST_NUM": "E2V-CCD250-382",
        "FILTER": "r_57",
        "FILTBAND": "r",
        "EXPTIME": 30.0,
        "TIMESYS": "TAI",
        "DATE-BEG": "2025-05-02T01:03:04.123",
        "DATE-END": "2025-05-02T01:03:34.133",
        "MJD-BEG": 60797.04379772,
        "RASTART": 150.1,
        "DECSTART": 2.2,
        "RADESYS": "ICRS",
        "TRACKSYS": "RADEC",
        "ROTPA": 12.5,
        "ROTCOORD": "sky",
        "ELSTART": 57.0,
        "AZSTART": 340.0,
        "AMSTART": 1.19,
    }
)
"""An exposure of the sky asks most of a translator and of the checks."""


def prepare(policy: Path | None = None) -> None:
    """Load it; blocking, about half a second. Nothing is asked of the network.

    Parameters
    ----------
    policy
        A site's own policy, as `policy_for` takes it.
    """
    for name in instrument_names():
        with suppress(TranslatorsError):
            detectors(name)
            policy_for(name, override=policy)
    name = f"{_SKY['OBSID']}_R22_S11.fits"
    with suppress(TranslatorsError):
        translate(_SKY, file_name=name)
        header_findings(_SKY, path=name, policy=policy_for("LSSTCam", override=policy))
