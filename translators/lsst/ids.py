"""The numbers by which the LSST cameras count exposures, visits and detector images.

Pure arithmetic; the numbers are part of every Butler repository and never change.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime, timedelta

CONTROLLERS = "OCHPQS"
"""Who triggers an exposure, in the order of their numbers: observatory control, camera
control, pointing simulator, simulated observatory, simulated camera control, simulated images."""

SIMULATED_CONTROLLERS = frozenset("HPQS")
"""Controllers whose exposures are simulated, in part or in whole."""

MAX_SEQ_NUM = 99_999
"""Largest sequence number that an exposure id can hold."""

_OWN_NUMBERS_UNTIL = {"C": 20231004, "P": 20250417, "Q": 20250417, "S": 20250417}
"""Last night on which a controller counted apart; afterwards all share the numbers of O."""

_CONTROLLER_STEP = 10_000_000
"""A controller adds a thousand years to the day for each place in the list."""

_DAY_OBS = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T.*)?")
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_GROUP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})(?:[+#](\d+))?")
_GROUP_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_DIGEST_DIGITS = 14
"""Hexadecimal digits of the digest in a visit id: long enough never to meet one that
is made from a date."""

_PACKED_EPOCH = date(2010, 1, 1)
_DETECTOR_SPAN = 256
_SEQ_SPAN = 32_768
_DAY_SPAN = 16_384
_CONCATENATED_SPAN = 1000


def parse_day_obs(value: object) -> int:
    """Return an observing day as YYYYMMDD.

    Parameters
    ----------
    value
        Such as 20250415, "20250415", "2025-04-15" or an ISO time.

    Raises
    ------
    ValueError
        It is no day.
    """
    match = _DAY_OBS.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no observing day; it looks like 20250415")
    return int("".join(match.groups()))


def exposure_id(day_obs: int, seq_num: int, controller: str | None) -> int:
    """Return the number of an exposure.

    Parameters
    ----------
    day_obs
        YYYYMMDD.
    seq_num
        Sequence number of the day, 0 to 99999.
    controller
        One letter; None counts as O.

    Raises
    ------
    ValueError
        The sequence number is out of range or the controller unknown.
    """
    if not 0 <= seq_num <= MAX_SEQ_NUM:
        raise ValueError(f"sequence number {seq_num} is outside 0 to {MAX_SEQ_NUM}")
    controller = controller or CONTROLLERS[0]
    if len(controller) != 1 or controller not in CONTROLLERS:
        raise ValueError(f"controller {controller!r} is none of {', '.join(CONTROLLERS)}")
    if day_obs > _OWN_NUMBERS_UNTIL.get(controller, day_obs):
        controller = CONTROLLERS[0]
    day = day_obs + _CONTROLLER_STEP * CONTROLLERS.index(controller)
    return int(f"{day}{seq_num:05d}")


def visit_id(group: str) -> int:
    """Return the number of the visit that a group of exposures makes.

    Parameters
    ----------
    group
        An integer; or a time with milliseconds and perhaps `#N`, such as
        ``2025-04-16T07:03:14.565#1``; or any text, which is digested.
    """
    if _INTEGER.fullmatch(group):
        return int(group)
    match = _GROUP.fullmatch(group)
    if match is not None:
        moment = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        seconds = (moment - _GROUP_EPOCH) // timedelta(seconds=1)
        return int(f"{seconds}{match[2]}{int(match[3] or 0):04d}")
    digest = hashlib.blake2b(group.encode("ascii", "replace")).hexdigest()[:_DIGEST_DIGITS]
    return int(f"{int(digest, base=16)}{len(group):02d}")


def detector_exposure_id(exposure: int, detector: int) -> int | None:
    """Return the packed number of a detector image.

    None where it does not fit: the layout has room for 256 detectors and 32768
    exposures a day.

    Parameters
    ----------
    exposure
        As `exposure_id` gives it.
    detector
        Detector number.
    """
    day, seq_num = divmod(exposure, MAX_SEQ_NUM + 1)
    millennium, month_day = divmod(day, _CONTROLLER_STEP)
    controller = millennium - 2
    if not (0 <= detector < _DETECTOR_SPAN and seq_num < _SEQ_SPAN):
        return None
    if not 0 <= controller < len(CONTROLLERS):
        return None
    text = f"{2 * _CONTROLLER_STEP + month_day}"
    days = date(int(text[:4]), int(text[4:6]), int(text[6:])) - _PACKED_EPOCH
    if not 0 <= days.days < _DAY_SPAN:
        return None
    return detector + _DETECTOR_SPAN * (seq_num + _SEQ_SPAN * (days.days + _DAY_SPAN * controller))


def concatenated_detector_exposure_id(exposure: int, detector: int) -> int:
    """Return the number of a detector image as the test stands and the sky simulations count.

    Parameters
    ----------
    exposure
        Exposure id.
    detector
        Detector number, 0 to 999.

    Raises
    ------
    ValueError
        The detector number has no room.
    """
    if not 0 <= detector < _CONCATENATED_SPAN:
        raise ValueError(f"detector number {detector} is outside 0 to {_CONCATENATED_SPAN - 1}")
    return exposure * _CONCATENATED_SPAN + detector
