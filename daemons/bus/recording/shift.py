"""Moves a message to another time: pure.

The time of sending moves, and with it every number of the payload that is a time: one
within a day of the time of sending, in seconds TAI or UTC, or in milliseconds as some
cameras have it. Durations, angles and counts are far from that and stay.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from daemons.bus.interface import ControlMessage
from daemons.runtime.clock import TaiSeconds

NEAR_S = 86400.0
"""A number this close to the time of sending is a time."""
_MILLI = 1000.0


def shifted(message: ControlMessage, by_s: float) -> ControlMessage:
    """Return a message as it would have been sent so many seconds later."""
    if not by_s:
        return message
    sent = float(message.sent)
    return dataclasses.replace(
        message,
        sent=TaiSeconds(sent + by_s),
        fields=MappingProxyType(
            {name: _moved(value, sent, by_s) for name, value in message.fields.items()}
        ),
    )


def _moved(value: Any, sent: float, by_s: float) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(entry, sent, by_s) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_moved(entry, sent, by_s) for entry in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return value
    if abs(value - sent) <= NEAR_S:
        return value + (round(by_s) if isinstance(value, int) else by_s)
    if abs(value / _MILLI - sent) <= NEAR_S:
        step = by_s * _MILLI
        return value + (round(step) if isinstance(value, int) else step)
    return value
