"""Checks of where the telescope pointed: sky against mount, airmass, hour angle, site."""

from __future__ import annotations

import math
from collections.abc import Iterator

from translators.checks.catalogue import found
from translators.checks.policy_file import Site
from translators.checks.sky import (
    Direction,
    airmass,
    direction,
    geocentric,
    refraction_deg,
    separation_deg,
    standard_pressure_hpa,
)
from translators.checks.subject import HeaderSubject, listed, seconds_mjd
from translators.findings import Finding

_SKY_FRAMES = frozenset({"ICRS", "FK5"})
_FIRST_MJD, _LAST_MJD = 41_000.0, 73_000.0
"""1971 to 2058: where the formulae for the Earth's motion are good."""
_POLE_DEG = 90.0
_LEAST_ELEVATION_DEG = 5.0
"""Below, refraction is not known well enough."""
_COLD_C, _HOT_C, _HPA_MAX = -40.0, 60.0, 1100.0
_DEFAULT_C = 10.0


def pointing_findings(subject: HeaderSubject) -> Iterator[Finding]:
    """Check the pointing of a header; calibrations have none that matters."""
    yield from _site_findings(subject)
    if subject.image_type in {"", *subject.policy.calibrations}:
        return
    yield from _airmass_findings(subject)
    if not _tracked_on_sky(subject):
        return
    yield from _target_findings(subject)
    if subject.policy.site is not None:
        yield from _sky_findings(subject, subject.policy.site)


def _tracked_on_sky(subject: HeaderSubject) -> bool:
    """Tell whether a place of the sky was tracked; some headers say only in which frame."""
    tracked = subject.text("TRACKSYS")
    if tracked is not None:
        return tracked.upper() == "RADEC"
    return (subject.text("RADESYS") or "").upper() in _SKY_FRAMES


def _site_findings(subject: HeaderSubject) -> Iterator[Finding]:
    site = subject.policy.site
    stated = [subject.number(f"OBSGEO-{axis}") for axis in "XYZ"]
    place = [value for value in stated if value is not None]
    if site is None or len(place) < len(stated):
        return
    apart_m = math.dist(place, geocentric(site))
    if apart_m > subject.policy.limits.site_m:
        yield found(
            "physics.site",
            f"OBSGEO-X, -Y, -Z are {apart_m / 1000:.1f} km from where the telescope stands; "
            f"they are {', '.join(f'{value:.2f}' for value in place)}",
        )


def _airmass_findings(subject: HeaderSubject) -> Iterator[Finding]:
    apart = []
    for when in ("START", "END"):
        stated, elevation = subject.number(f"AM{when}"), subject.number(f"EL{when}")
        if stated is None or elevation is None or stated < 1.0:
            continue
        if not _LEAST_ELEVATION_DEG <= elevation <= 180.0 - _LEAST_ELEVATION_DEG:
            continue
        true = airmass(min(elevation, 180.0 - elevation))
        if abs(stated - true) > subject.policy.limits.airmass * true:
            apart.append(f"AM{when} is {stated:.4f}, at EL{when} {elevation:.3f} it is {true:.4f}")
    if apart:
        yield found("physics.airmass", listed(apart))


def _target_findings(subject: HeaderSubject) -> Iterator[Finding]:
    target, mount = _pair(subject, "RA", "DEC"), _pair(subject, "RASTART", "DECSTART")
    if target is None or mount is None or 0.0 == target[0] == target[1]:
        return
    apart = separation_deg(*target, *mount)
    if apart > subject.policy.limits.target_deg:
        yield found(
            "physics.target",
            f"RA, DEC are {apart:.2f} degrees from RASTART, DECSTART{_in_radians(target, mount)}",
        )


def _in_radians(target: tuple[float, float], mount: tuple[float, float]) -> str:
    """Say where the target would fit if it were in radians."""
    ra, dec = (math.degrees(angle) for angle in target)
    fits = abs(dec) <= _POLE_DEG and separation_deg(ra, dec, *mount) < 1.0
    return "; in radians they would fit" if fits else ""


def _sky_findings(subject: HeaderSubject, site: Site) -> Iterator[Finding]:
    frame = (subject.text("RADESYS") or "ICRS").upper()
    ends = (("START", subject.begin), ("END", subject.seconds("DATE-END")))
    pointing: list[str] = []
    hour_angles: list[str] = []
    for when, seconds in ends:
        sky = _pair(subject, f"RA{when}", f"DEC{when}")
        mjd = None if seconds is None else seconds_mjd(seconds)
        if sky is None or mjd is None or not _FIRST_MJD < mjd < _LAST_MJD:
            continue
        if frame not in _SKY_FRAMES or 0.0 == sky[0] == sky[1]:
            continue
        seen = direction(*sky, mjd, site)
        pointing += _mount_faults(subject, when, seen, site)
        hour_angles += _hour_angle_faults(subject, when, seen)
    if pointing:
        yield found("physics.pointing", listed(pointing))
    if hour_angles:
        yield found("physics.hour_angle", listed(hour_angles))


def _mount_faults(subject: HeaderSubject, when: str, seen: Direction, site: Site) -> Iterator[str]:
    mount = _pair(subject, f"AZ{when}", f"EL{when}")
    if mount is None or mount[1] < _LEAST_ELEVATION_DEG:
        return
    # The elevation of a mount may be that of the star or of its light.
    lifted = seen.elevation_deg + _refraction(subject, seen, site)
    apart = min(
        separation_deg(*mount, seen.azimuth_deg, elevation)
        for elevation in (seen.elevation_deg, lifted)
    )
    if apart * 60.0 > subject.policy.limits.pointing_arcmin:
        yield (
            f"RA{when}, DEC{when} are {apart * 60.0:.1f} arcmin from AZ{when}, EL{when} at that "
            f"time (azimuth {seen.azimuth_deg:.3f}, elevation {seen.elevation_deg:.3f})"
        )


def _refraction(subject: HeaderSubject, seen: Direction, site: Site) -> float:
    pressure, temperature = subject.number("PRESSURE"), subject.number("AIRTEMP")
    if pressure is not None and pressure > _HPA_MAX:
        pressure /= 100.0
    if pressure is None or not 0.0 < pressure <= _HPA_MAX:
        pressure = standard_pressure_hpa(site.height_m)
    if temperature is None or not _COLD_C <= temperature <= _HOT_C:
        temperature = _DEFAULT_C
    return refraction_deg(seen.elevation_deg, pressure_hpa=pressure, temperature_c=temperature)


def _hour_angle_faults(subject: HeaderSubject, when: str, seen: Direction) -> Iterator[str]:
    stated = subject.number(f"HA{when}")
    if stated is None:
        return
    limit = subject.policy.limits.hour_angle_h
    if abs(_turn(stated - seen.hour_angle_h)) > limit:
        degrees = abs(_turn(stated / 15.0 - seen.hour_angle_h)) <= limit
        unit = "; it is in degrees" if degrees else ""
        yield f"HA{when} is {stated:.4f} h, and by RA{when} {seen.hour_angle_h:.4f} h{unit}"


def _turn(hours: float) -> float:
    return (hours + 12.0) % 24.0 - 12.0


def _pair(subject: HeaderSubject, longitude: str, latitude: str) -> tuple[float, float] | None:
    """Return two angles, None where one is unknown or cannot be an angle."""
    lon, lat = subject.number(longitude), subject.number(latitude)
    if lon is None or lat is None or abs(lon) > 720.0 or abs(lat) > 95.0:  # noqa: PLR2004 - angles
        return None
    return lon, lat
