"""Turns a field of a message into a header value: pure, and never raises for bad input."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from headerservice.quality import Quality, Reading
from headerservice.rules import Gate, ReadingRule, Value
from headerservice.soundness import flaw_of, number_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MJD_OF_EPOCH = 40587.0
"""Modified Julian Date of 1970-01-01T00:00:00."""
_DAY_S = 86400.0
_LATEST_S = 32503680000.0
"""3000-01-01: a time after it is no time."""


def read(rule: ReadingRule, field: str, fields: Mapping[str, Any]) -> Reading:
    """Return what a message says of a value, in the unit of the bus.

    Parameters
    ----------
    rule
        How it is to be read.
    field
        The field that holds it.
    fields
        The payload.
    """
    found = _pick_out(rule, field, fields)
    if not found.good:
        return found
    typed = _as_type(rule, found.value, field)
    if not typed.good:
        return typed
    if typed.value in rule.unset:
        return Reading(typed.value, Quality.DEFAULT, f"{field} is {typed.value!r}: not filled in")
    if rule.unset_when and all(fields.get(name) == value for name, value in rule.unset_when):
        names = ", ".join(name for name, _ in rule.unset_when)
        return Reading(typed.value, Quality.DEFAULT, f"{names} are zero together: not filled in")
    if rule.gate is not None:
        shut = _gate_reason(rule.gate, fields)
        if shut:
            return Reading(typed.value, Quality.NOT_APPLICABLE, shut)
    return typed


def finish(rule: ReadingRule, raw: Value) -> Reading:
    """Turn a value in the unit of the bus into the one in the header."""
    if rule.enum is not None:
        return _enum_name(rule.enum, raw)
    if rule.form is not None:
        return _time_text(rule.form, float(raw))
    value = raw
    if rule.type == "float":
        value = float(raw) * rule.scale
        if rule.decimals is not None:
            value = round(value, rule.decimals) + 0.0
    if isinstance(value, str):
        return Reading(_printable(value), Quality.GOOD)
    flaw = flaw_of(value)
    if flaw:
        return Reading(None, Quality.INVALID, f"in the unit of the header it is {flaw}")
    low, high = rule.range
    if (low is not None and value < low) or (high is not None and value > high):
        return Reading(value, Quality.OUT_OF_RANGE, f"{value!r} is outside {_interval(low, high)}")
    return Reading(value, Quality.GOOD)


def read_and_finish(rule: ReadingRule, field: str, fields: Mapping[str, Any]) -> Reading:
    """Return the header value that a message gives."""
    raw = read(rule, field, fields)
    if not raw.good or raw.value is None:
        return raw
    return finish(rule, raw.value)


def split_list(text: str) -> list[str]:
    r"""Split a SAL list: joined by `:`, with `\:` and `\\` inside the texts.

    The empty text is a list of one empty text, as `"".split(":")` is.
    """
    if "\\" not in text:
        return text.split(":")
    parts, current, escaped = [], [], False
    for character in text:
        if escaped:
            current.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ":":
            parts.append("".join(current))
            current = []
        else:
            current.append(character)
    parts.append("".join(current))
    return parts


def iso_text(seconds: float) -> str:
    """Return seconds since 1970 as `YYYY-MM-DDThh:mm:ss.sss`, in the scale that they count."""
    instant = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return instant.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _pick_out(rule: ReadingRule, field: str, fields: Mapping[str, Any]) -> Reading:
    value = fields.get(field)
    if value is None:
        reason = f"{field} is null" if field in fields else f"the message has no field {field}"
        return Reading(None, Quality.MISSING, reason)
    if rule.key is not None and rule.keys_field is not None:
        return _keyed(rule.key, value, fields.get(rule.keys_field), field)
    if rule.item is not None:
        if isinstance(value, str) or not isinstance(value, Sequence):
            return Reading(None, Quality.INVALID, f"{field} is no array")
        if rule.item >= len(value):
            reason = f"{field} has only {len(value)} elements"
            return Reading(None, Quality.MISSING, reason)
        value = value[rule.item]
        if value is None:
            return Reading(None, Quality.MISSING, f"{field}[{rule.item}] is null")
    return Reading(value, Quality.GOOD)


def _keyed(key: str, values: Any, keys: Any, field: str) -> Reading:
    if not isinstance(values, str) or not isinstance(keys, str):
        return Reading(None, Quality.INVALID, f"{field} or its keys are no text")
    names, texts = split_list(keys), split_list(values)
    if key not in names:
        return Reading(None, Quality.MISSING, f"{field} has no entry {key}")
    position = names.index(key)
    if position >= len(texts):
        reason = f"{field} has {len(texts)} values for {len(names)} keys"
        return Reading(None, Quality.INVALID, reason)
    return Reading(texts[position], Quality.GOOD)


def _as_type(rule: ReadingRule, value: Any, field: str) -> Reading:
    wanted = rule.raw_type
    if wanted != "str" and rule.key is not None and isinstance(value, str):
        try:
            value = float(value) if wanted == "float" else int(value)
        except ValueError:
            return _wrong_type(field, value, wanted)
    return _CONVERTERS[wanted](field, value)


def _text(field: str, value: Any) -> Reading:
    if isinstance(value, str):
        return Reading(value, Quality.GOOD)
    return _wrong_type(field, value, "str")


def _truth(field: str, value: Any) -> Reading:
    if isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1)):
        return Reading(bool(value), Quality.GOOD)
    return _wrong_type(field, value, "bool")


def _whole(field: str, value: Any) -> Reading:
    number = _real(field, value)
    if number.value is None:
        return number
    if isinstance(value, float) and not value.is_integer():
        return _wrong_type(field, value, "int")
    return Reading(int(value), Quality.GOOD)


def _real(field: str, value: Any) -> Reading:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _wrong_type(field, value, "float")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        return Reading(None, Quality.MISSING, f"{field} is NaN: the sender has no value")
    if math.isinf(number):
        return Reading(None, Quality.INVALID, f"{field} is infinite")
    if number and abs(number) < sys.float_info.min:
        return Reading(None, Quality.INVALID, f"{field} is {number!r}: uninitialised memory")
    return Reading(number, Quality.GOOD)


_CONVERTERS: Mapping[str, Callable[[str, Any], Reading]] = MappingProxyType(
    {"str": _text, "bool": _truth, "int": _whole, "float": _real}
)


def _wrong_type(field: str, value: Any, wanted: str) -> Reading:
    reason = f"{field} is a {type(value).__name__}, not a {wanted}"
    return Reading(None, Quality.INVALID, reason)


def _gate_reason(gate: Gate, fields: Mapping[str, Any]) -> str:
    """Return why a gate is shut; empty where it is open."""
    value = fields.get(gate.field)
    if gate.one_of is not None and value not in gate.one_of:
        return f"{gate.field} is {value!r}"
    if gate.minimum is None and gate.maximum is None:
        return ""
    value = number_of(value)
    if value is None:
        return f"{gate.field} is {fields.get(gate.field)!r}"
    if gate.minimum is not None and value < gate.minimum:
        return f"{gate.field} is {value!r}, below {gate.minimum:g}"
    if gate.maximum is not None and value > gate.maximum:
        return f"{gate.field} is {value!r}, above {gate.maximum:g}"
    return ""


def _enum_name(members: Mapping[int, str], raw: Value) -> Reading:
    name = members.get(raw) if isinstance(raw, int) else None
    if name is None:
        known = ", ".join(str(number) for number in sorted(members))
        reason = f"{raw!r} is no member of the enumeration ({known})"
        return Reading(raw, Quality.INVALID, reason)
    return Reading(name, Quality.GOOD)


def _time_text(form: str, seconds: float) -> Reading:
    if not 0 < seconds < _LATEST_S:
        return Reading(seconds, Quality.OUT_OF_RANGE, f"{seconds!r} is no time")
    if form == "iso_tai":
        return Reading(iso_text(seconds), Quality.GOOD)
    return Reading(_MJD_OF_EPOCH + seconds / _DAY_S, Quality.GOOD)


def _printable(text: str) -> str:
    """Return a text as a FITS card can hold it: printable ASCII, `?` for the rest."""
    if text.isascii() and text.isprintable():
        return text.rstrip()
    return "".join(each if " " <= each <= "~" else "?" for each in text).rstrip()


def _interval(low: float | None, high: float | None) -> str:
    return f"[{'-' if low is None else f'{low:g}'}, {'-' if high is None else f'{high:g}'}]"
