"""Test stands: sensors and rafts in laboratories, never at a telescope."""

from __future__ import annotations

import re
from typing import ClassVar

from astro_metadata_translator import cache_translation
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord

from translators.cardtranslator import MissingCardsError
from translators.corrections import ORIGINAL_PREFIX
from translators.errors import UnknownDetectorError
from translators.focalplane import Detector, detector_by_serial
from translators.lsst.exposure import DETECTOR_CARDS
from translators.lsst.ids import concatenated_detector_exposure_id
from translators.lsst.pointing import LsstTranslator

_ID_DIGITS = 15
"""Of YYYYMMDDHHMMSS and a tenth of a second, an exposure id of old."""
_RAFT = re.compile(r"RTM-\d{3}")
_TS8_STANDARD_IDS_SINCE_MJD = 60088 + 23 / 24
"""2023-05-24T23:00 TAI; before, TS8 counted exposures by the time."""
_TS8_BEGIN_CARDS = ("LSST-TS8 DATE-OBS", "HIERARCH LSST-TS8 DATE-OBS", "DATE-OBS")
"""DATE-OBS as it was written: other software notes it so where it corrects the card."""
_TS8_FILTERS = {2: "g", 3: "r", 4: "i", 5: "z", 6: "y"}
"""By FILTPOS, before 2023-05-09."""


class LaboratoryTranslator(LsstTranslator):
    """A stand without a telescope: no place, no pointing, no sky, no weather."""

    type_tells_sky: ClassVar[bool] = False

    @property
    def on_mountain(self) -> bool:
        """False: it never was."""
        return False

    @cache_translation
    def to_location(self) -> EarthLocation | None:
        """Return nothing."""
        return None

    @cache_translation
    def to_altaz_begin(self) -> AltAz | None:
        """Return nothing."""
        return None

    @cache_translation
    def to_tracking_radec(self) -> SkyCoord | None:
        """Return nothing."""
        return None

    @cache_translation
    def to_boresight_rotation_angle(self) -> Angle | None:
        """Return nothing."""
        return None

    @cache_translation
    def to_boresight_rotation_coord(self) -> str | None:  # type: ignore[override]  # there is none
        """Return nothing."""
        return None

    @cache_translation
    def to_object(self) -> str:
        """Return that there is none."""
        return "UNKNOWN"

    @cache_translation
    def to_relative_humidity(self) -> float | None:  # type: ignore[override]  # there is none
        """Return nothing."""
        return None

    @cache_translation
    def to_temperature(self) -> None:
        """Return nothing."""

    @cache_translation
    def to_pressure(self) -> None:
        """Return nothing."""

    @cache_translation
    def to_can_see_sky(self) -> bool:
        """Return that it cannot."""
        return False


class TimedStandTranslator(LaboratoryTranslator):
    """A stand whose exposures are, or were, counted by the time and named by the file."""

    detector_cards = DETECTOR_CARDS - {"FILENAME"}

    @cache_translation
    def to_observation_id(self) -> str:
        """Return OBSID, or the name of the file."""
        try:
            return self.text("OBSID")
        except MissingCardsError:
            name = self.text("FILENAME")
            return name.rpartition(".")[0] or name

    def id_by_time(self, begin: str) -> int:
        """Return the exposure id of old: the digits of the begin to a tenth of a second.

        Raises
        ------
        ValueError
            The begin has fewer digits.
        """
        digits = re.sub(r"\D", "", begin)[:_ID_DIGITS]
        if len(digits) < _ID_DIGITS:
            raise ValueError(f"DATE-OBS is {begin!r}; an exposure id needs tenths of seconds")
        return int(digits)

    @cache_translation
    def to_visit_id(self) -> int | None:  # type: ignore[override]  # may be none
        """Return the exposure id: every exposure is a visit."""
        return self.to_exposure_id()

    @cache_translation
    def to_detector_exposure_id(self) -> int | None:
        """Return the exposure id with three digits for the detector."""
        exposure = self.to_exposure_id()
        if exposure is None:
            return None
        return concatenated_detector_exposure_id(exposure, self.to_detector_num())


class LsstTs8Translator(TimedStandTranslator):
    """Test stand 8: one raft at a time."""

    name = "LSST-TS8"
    data_name = "LSST-TS8"
    supported_instrument = "LSST-TS8"
    rollover_hours = 8.0

    @cache_translation
    def to_exposure_id(self) -> int | None:  # type: ignore[override]  # may be none
        """Return the number by day and counter, or by the time for old exposures."""
        standard = self.to_datetime_begin().tai.mjd > _TS8_STANDARD_IDS_SINCE_MJD
        if standard and self.to_observation_id().startswith("TS_C_"):
            return super().to_exposure_id()
        noted = ORIGINAL_PREFIX + "DATE-OBS"
        return self.id_by_time(self.text(noted, noted.removeprefix("HIERARCH "), *_TS8_BEGIN_CARDS))

    @cache_translation
    def to_detector_group(self) -> str:
        """Return the raft out of RAFTNAME, such as RTM-011 of LCA-11021_RTM-011-Dev."""
        name = self.text("RAFTNAME")
        match = _RAFT.search(name)
        if match is None:
            raise ValueError(f"RAFTNAME is {name!r}, which names no raft such as RTM-011")
        return match[0]

    @cache_translation
    def to_detector_serial(self) -> str:
        """Return LSST_NUM without the `-Dev` that some headers append."""
        return self.text("LSST_NUM").removesuffix("-Dev")

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the place in the raft: CCDSLOT, or where the sensor of this number is."""
        if self.defined("CCDSLOT"):
            return self.text("CCDSLOT")
        return self._by_serial().sensor

    def _by_serial(self) -> Detector:
        found = detector_by_serial(self.data_name, self.to_detector_serial())
        if found is None or found.raft != self.to_detector_group():
            raise UnknownDetectorError(
                f"there is no CCDSLOT, and the table of serial numbers has no "
                f"{self.to_detector_serial()!r} in {self.to_detector_group()}"
            )
        return found

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return the filter by FILTPOS, or as the other cameras name it."""
        if not self.defined("FILTPOS"):
            name = super().to_physical_filter()
            return "unknown" if "unspecified" in name else name
        position = self.number("FILTPOS")
        return _TS8_FILTERS.get(int(position), "unknown") if position.is_integer() else "unknown"


class LsstTs3Translator(TimedStandTranslator):
    """Test stand 3: one sensor at a time."""

    name = "LSST-TS3"
    data_name = "LSST-TS3"
    supported_instrument = "LSST-TS3"
    rollover_hours = 8.0

    @cache_translation
    def to_exposure_id(self) -> int:
        """Return the digits of the begin: SEQNUM is not unique."""
        return self.id_by_time(self.text("DATE-OBS"))

    @cache_translation
    def to_observation_id(self) -> str:
        """Return the name of the file."""
        name = self.text("FILENAME")
        return name.rpartition(".")[0] or name

    @cache_translation
    def to_science_program(self) -> str:
        """Return the date of the exposure: no card names a program."""
        return str(self.to_datetime_begin().strftime("%Y-%m-%d"))

    @cache_translation
    def to_physical_filter(self) -> str:
        """Return FILTER."""
        return str(self.card_or("unknown", "FILTER"))

    @cache_translation
    def to_detector_group(self) -> str:
        """Return the name of the raft that is none."""
        return "RXX"

    @cache_translation
    def to_detector_name(self) -> str:
        """Return the name of the only place."""
        return "S00"


class LsstUcdCamTranslator(LaboratoryTranslator):
    """The test stand in Davis: headers and numbers as those of LSSTCam."""

    name = "LSST-UCDCam"
    data_name = "LSST-UCDCam"
    supported_instrument = "LSST-UCDCam"
    rollover_hours = 0.0
