"""Begin a `translator.yaml` from a header, by what keywords usually mean; a person finishes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_MISSING = "# No card of the header seems to tell."
_COMMENT_AT = 44
"""Column of the comments."""

_CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "exposure_time": ("EXPTIME", "EXPOSURE", "EXPTIM", "ITIME", "INTTIME", "TEXP"),
    "observation_type": ("IMAGETYP", "IMGTYPE", "OBSTYPE", "IMTYPE", "FRAME", "DATA-TYP"),
    "observation_id": ("OBSID", "OBS-ID", "OBS_ID", "EXPID", "FRAMEID", "FILENAME"),
    "physical_filter": ("FILTER", "FILTER1", "FILT", "INSFILTE", "FILTERID"),
    "observation_counter": ("SEQNUM", "EXPNUM", "FRAMENO", "OBSNUM", "RUN", "SEQNO", "IMGNUM"),
    "exposure_group": ("GROUPID", "GROUP", "OBSBLOCK"),
    "object": ("OBJECT", "TARGET", "TARGNAME"),
    "science_program": ("PROGRAM", "PROP-ID", "PROPID", "PROPOSAL", "PROGID", "OBSERVER"),
    "observation_reason": ("REASON",),
    "dark_time": ("DARKTIME",),
    "boresight_airmass": ("AIRMASS", "SECZ", "AMSTART"),
    "boresight_rotation_angle": ("ROTPA", "ROTANGLE", "POSANG", "PA", "ROTATOR"),
    "detector_serial": ("DETSER", "CCDSERNO", "CAMSERNO", "SERIAL"),
    "focus_z": ("FOCUSZ", "TELFOCUS", "FOCUSPOS", "FOCUS", "FOCPOS"),
    "temperature": ("AIRTEMP", "TEMPOUT", "OUTTEMP", "AMBTEMP", "AOCAMBT"),
    "pressure": ("PRESSURE", "AIRPRESS", "BAROMETR", "AOCBAROM"),
    "relative_humidity": ("HUMIDITY", "RELHUM", "OUTHUM", "AOCHUM"),
}
_BEGIN = ("DATE-BEG", "DATE-OBS", "UTSTART")
_END = ("DATE-END", "UTEND")
_TIME_OF_DAY = ("TIME-OBS", "UT", "UTC", "UTC-OBS", "UTSTART", "TIME")
_MJD_BEGIN = ("MJD-BEG", "MJD-OBS", "MJD")
_POSITIONS = (
    ("RA", "DEC"),
    ("OBJCTRA", "OBJCTDEC"),
    ("RA_DEG", "DEC_DEG"),
    ("CRVAL1", "CRVAL2"),
    ("TELRA", "TELDEC"),
)
_ALTITUDES = ("ALTITUDE", "ALT", "EL", "ELEVAT", "OBJCTALT", "CENTALT", "TELALT")
_AZIMUTHS = ("AZIMUTH", "AZ", "OBJCTAZ", "CENTAZ", "TELAZ")
_LONGITUDES = ("SITELONG", "LONGITUD", "OBS-LONG", "LONG-OBS", "OBSGEO-L", "GEOLON")
_LATITUDES = ("SITELAT", "LATITUDE", "OBS-LAT", "LAT-OBS", "OBSGEO-B", "GEOLAT")
_HEIGHTS = ("SITEELEV", "OBS-ELEV", "ALT-OBS", "OBSALT", "HEIGHT", "OBSGEO-H", "GEOALT")
_DETECTOR_NAMES = ("CCDNAME", "DETNAME", "CHIPID", "CCDSLOT", "DETECTOR")
_TYPES = {
    "light": "science",
    "light frame": "science",
    "object": "science",
    "science": "science",
    "bias": "bias",
    "bias frame": "bias",
    "zero": "bias",
    "dark": "dark",
    "dark frame": "dark",
    "flat": "flat",
    "flat field": "flat",
    "flat frame": "flat",
}
_SEXAGESIMAL = re.compile(r"\s*([-+]?)(\d+)[: ](\d+)[: ](\d+(?:\.\d*)?)\s*")


def draft(header: Mapping[str, Any]) -> str:
    """Return a commented `translator.yaml` for the camera that wrote a header.

    It is valid as it is, and recognises and translates the header as far as its
    keywords are the usual ones; where they are not, a comment says what to write.

    Parameters
    ----------
    header
        Cards of an example, primary header first where a file has more.
    """
    cards = {
        keyword: value
        for keyword, value in header.items()
        if value is not None and type(value).__name__ != "Undefined" and value != ""
    }
    lines = [
        "# How headers of this instrument are translated; begun from one header. Check every line,",
        "# then try it on headers of all kinds: bias, dark, flat, science.",
        "version: 1",
        *_line(f"name: {_quoted(_name(cards))}", "also the name of the folder of this file"),
        *_line(f"telescope: {_quoted(str(cards.get('TELESCOP', 'unknown')))}", "full name"),
        *_recognition(cards),
        *_site(cards),
        "# An observing day begins so many hours after midnight TAI: at noon of the observatory.",
        f"day_obs: {_noon(cards)}",
        *_ids(cards),
        *_detectors(cards),
        "# Names as the rules below make them, and the band of each: u, g, r, i, z, y, white, ...",
        "filters:",
        f"  - {{name: {_quoted(_filter(cards))}, band: unknown}}",
        "files:",
        *_line("  hdus: {}", "such as {science: 1}: how many HDUs a whole file has"),
        *_line("  checksums: false", "whether every HDU has CHECKSUM and DATASUM"),
        *_properties(cards),
    ]
    return "\n".join(lines) + "\n"


def _first(cards: Mapping[str, Any], keywords: tuple[str, ...]) -> str | None:
    return next((keyword for keyword in keywords if keyword in cards), None)


def _quoted(text: str) -> str:
    # A card holds printable ASCII, of which JSON's text is YAML's, too.
    return json.dumps(re.sub(r"[^ -~]", "?", text))


def _line(text: str, comment: str) -> Iterator[str]:
    yield f"{text:<{_COMMENT_AT}} # {comment}"


def _name(cards: Mapping[str, Any]) -> str:
    name = re.sub(r"[^A-Za-z0-9-]+", "", str(cards.get("INSTRUME", "")))
    return name or "MyCamera"


def _recognition(cards: Mapping[str, Any]) -> Iterator[str]:
    yield "# A header belongs to this instrument when every card of one of these has one of the"
    yield "# values, whatever the case of the letters; null: the card is absent or undefined."
    yield "recognise:"
    known = [
        f"{keyword}: [{_quoted(str(cards[keyword]).strip())}]"
        for keyword in ("INSTRUME", "TELESCOP")
        if isinstance(cards.get(keyword), str)
    ]
    yield f"  - {{{', '.join(known) or 'INSTRUME: [MyCamera]'}}}"


def _degrees(value: Any) -> float | None:
    """Return an angle in degrees, also from degrees, minutes and seconds."""
    match = _SEXAGESIMAL.fullmatch(str(value))
    if match is not None:
        size = int(match[2]) + int(match[3]) / 60 + float(match[4]) / 3600
        return -size if match[1] == "-" else size
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _within(value: Any, low: float, high: float) -> float | None:
    number = _degrees(value)
    return number if number is not None and low <= number <= high else None


def _place(cards: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Return longitude, latitude and height as far as they are told."""
    longitude = _within(cards.get(_first(cards, _LONGITUDES) or ""), -180, 360)
    latitude = _within(cards.get(_first(cards, _LATITUDES) or ""), -90, 90)
    height = _within(cards.get(_first(cards, _HEIGHTS) or ""), -500, 10_000)
    return longitude, latitude, height


def _site(cards: Mapping[str, Any]) -> Iterator[str]:
    longitude, latitude, height = _place(cards)
    yield "# Where the telescope stands, east and north positive; nothing is looked up by name."
    if longitude is None or latitude is None:
        yield "# site: {longitude_deg: -70.0, latitude_deg: -30.0, height_m: 2500}"
        return
    place = f"longitude_deg: {longitude}, latitude_deg: {latitude}, height_m: {height or 0.0}"
    yield f"site: {{{place}}}"


def _noon(cards: Mapping[str, Any]) -> int:
    longitude = _place(cards)[0]
    if longitude is None:
        return 12
    east = (longitude + 180) % 360 - 180
    return round(12 - east / 15)


def _ids(cards: Mapping[str, Any]) -> Iterator[str]:
    yield "ids:"
    if _counter(cards) is not None:
        yield "  # The observing day, then the counter: 2026031400012."
        yield "  exposure: {rule: day_and_counter, digits: 5}"
    else:
        yield "  # No card counts the exposures: the begin, to a tenth of a second. With a counter"
        yield "  # write {rule: day_and_counter, digits: 5} and properties.observation_counter."
        yield "  exposure: {rule: begin, decimals: 1}"
    yield from _line("  visit: exposure", "or group: exposures of one exposure_group are a visit")


def _counter(cards: Mapping[str, Any]) -> str | None:
    keyword = _first(cards, _CANDIDATES["observation_counter"])
    if keyword is None:
        return None
    try:
        value = int(str(cards[keyword]))
    except ValueError:
        return None
    return keyword if 0 <= value < 10**5 else None


def _detectors(cards: Mapping[str, Any]) -> Iterator[str]:
    width, height = (_pixels(cards.get(f"NAXIS{axis}")) for axis in (1, 2))
    keyword = _first(cards, _DETECTOR_NAMES)
    name = str(cards[keyword]).strip() if keyword else "ccd0"
    yield "detectors:"
    yield "  # With more than one detector: which card, or which group of the file name, tells."
    yield f"  name: {keyword}" if keyword else "  # name: CCDNAME"
    yield "  entries:"
    yield (
        f"    - {{id: 0, name: {_quoted(name)}, type: CCD, size_px: [{width}, {height}], "
        "at_mm: [0, 0]}"
    )


def _pixels(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _filter(cards: Mapping[str, Any]) -> str:
    return str(cards.get(_first(cards, _CANDIDATES["physical_filter"]) or "", "unknown")).strip()


def _properties(cards: Mapping[str, Any]) -> Iterator[str]:
    yield "# Property: keyword, or [keywords], or {keyword: ..., unit: ..., values: ..., ...}"
    yield "properties:"
    yield from _times(cards)
    yield from _required(cards)
    counter = _counter(cards)
    for name, keywords in _CANDIDATES.items():
        keyword = counter if name == "observation_counter" else _first(cards, keywords)
        if name in _REQUIRED or (name == "exposure_group" and keyword is None):
            continue
        if keyword is None:
            yield f"  # {name}: {keywords[0]}"
        elif name in _NUMBERS:
            yield from _number(name, keyword, cards[keyword])
        else:
            yield f"  {name}: {{keyword: {keyword}, optional: true}}"
    yield from _pointing(cards)


_REQUIRED = ("exposure_time", "observation_type", "observation_id", "physical_filter")
_NUMBERS = {
    "dark_time": "s",
    "boresight_airmass": None,
    "boresight_rotation_angle": "deg",
    "focus_z": "mm",
    "temperature": "deg_C",
    "pressure": "hPa",
    "relative_humidity": None,
}
"""Properties that are numbers, with the unit that their cards usually have."""


def _number(name: str, keyword: str, value: Any) -> Iterator[str]:
    unit = _NUMBERS[name]
    if _degrees(value) is None:
        yield f"  # {name}: {keyword}  # it is no number: {_quoted(str(value))}"
        return
    more = f", unit: {unit}" if unit else ""
    comment = "check the unit" if unit else "check it"
    yield from _line(f"  {name}: {{keyword: {keyword}{more}, optional: true}}", comment)


def _times(cards: Mapping[str, Any]) -> Iterator[str]:
    scale = ", scale_keyword: TIMESYS" if "TIMESYS" in cards else ""
    begin = _first(cards, _BEGIN)
    if begin is not None:
        has_time = "T" in str(cards[begin])
        time = None if has_time else _first(cards, _TIME_OF_DAY)
        more = f", time_keyword: {time}" if time else ""
        rule = f"{{keyword: {begin}, scale: utc{scale}{more}}}"
    elif (mjd := _first(cards, _MJD_BEGIN)) is not None:
        rule = f"{{keyword: {mjd}, format: mjd, scale: utc{scale}}}"
    else:
        yield f"  {_MISSING}"
        rule = "{keyword: DATE-OBS, scale: utc}"
    yield from _line(f"  datetime_begin: {rule}", "utc, tai, tt, ...: check it")
    end = _first(cards, _END)
    if end is not None and "T" in str(cards[end]):
        yield f"  datetime_end: {{keyword: {end}, scale: utc{scale}, optional: true}}"


def _required(cards: Mapping[str, Any]) -> Iterator[str]:
    for name in _REQUIRED:
        keyword = _first(cards, _CANDIDATES[name])
        if name == "observation_type":
            yield from _type(keyword, cards)
        elif name == "observation_id" and (keyword is None or keyword == "FILENAME"):
            counted = "_{observation_counter:05d}" if _counter(cards) else "_{exposure_id}"
            template = "{instrument}_{observing_day}" + counted
            yield f"  observation_id: {{template: {_quoted(template)}}}"
        elif keyword is None:
            yield f"  {_MISSING}"
            yield f"  {name}: {_CANDIDATES[name][0]}"
        else:
            yield f"  {name}: {keyword}"


def _type(keyword: str | None, cards: Mapping[str, Any]) -> Iterator[str]:
    if keyword is None:
        yield f"  {_MISSING}"
        yield "  observation_type: {constant: science}"
        return
    yield "  # What the values in the headers mean; science, bias, dark, flat are known everywhere."
    yield "  observation_type:"
    yield f"    keyword: {keyword}"
    yield "    case: lower"
    yield "    values:"
    found = str(cards[keyword]).strip().lower()
    for value, meaning in {found: found, **_TYPES}.items():
        yield f"      {_quoted(value)}: {_quoted(meaning)}"


def _pointing(cards: Mapping[str, Any]) -> Iterator[str]:
    for ra, dec in _POSITIONS:
        if ra in cards and dec in cards:
            unit = "hourangle" if isinstance(cards[ra], str) and ":" in cards[ra] else "deg"
            if isinstance(cards[ra], str) and " " in cards[ra].strip():
                unit = "hourangle"
            yield "  tracking_radec:"
            frame = ", frame_keyword: RADESYS" if "RADESYS" in cards else ""
            types = "observation_types: [science], optional: true"
            yield f"    - {{ra: {ra}, dec: {dec}, ra_unit: {unit}, frame: icrs{frame}, {types}}}"
            break
    else:
        example = "{ra: RA, dec: DEC, ra_unit: hourangle, observation_types: [science]}"
        yield f"  # tracking_radec: {example}"
    altitude, azimuth = _first(cards, _ALTITUDES), _first(cards, _AZIMUTHS)
    if altitude and azimuth:
        yield f"  altaz_begin: {{altitude: {altitude}, azimuth: {azimuth}, optional: true}}"
    else:
        yield "  # altaz_begin: {altitude: ALTITUDE, azimuth: AZIMUTH, optional: true}"
