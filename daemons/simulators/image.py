"""An image as the camera knows it: what its events said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemons.runtime.clock import TaiSeconds, UtcSeconds, tai_to_utc
from daemons.simulators.camera_events import split
from daemons.simulators.night import FILTERS, Filter, ImageType

_MJD_1970 = 40_587.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Image:
    """One image that is to be written."""

    obs_id: str
    camera_code: str
    controller: str
    day_obs: str
    seq_num: int
    image_type: ImageType
    test_type: str
    group_id: str
    reason: str
    program: str
    image_index: int
    images_in_sequence: int
    exposure_time_s: float
    shutter_open_s: float
    dark_time_s: float
    image_tag: str
    begins: TaiSeconds
    ends: TaiSeconds
    emulated: str
    filter: Filter | None
    """None where the camera has not been told."""

    @classmethod
    def from_event(cls, fields: Mapping[str, Any], filter_name: str | None) -> Image:
        """Read the event that ends an image.

        Raises
        ------
        KeyError, ValueError
            It lacks a field, or one makes no sense.
        """
        keys, values = split(fields["additionalKeys"]), split(fields["additionalValues"])
        additional = dict(zip(keys, values, strict=True))
        return cls(
            obs_id=fields["imageName"],
            camera_code=fields["imageSource"],
            controller=fields["imageController"],
            day_obs=fields["imageDate"],
            seq_num=int(fields["imageNumber"]),
            image_type=ImageType(additional["imageType"]),
            test_type=additional.get("testType", ""),
            group_id=additional.get("groupId", ""),
            reason=additional.get("reason", ""),
            program=additional.get("program", ""),
            image_index=int(fields["imageIndex"]),
            images_in_sequence=int(fields["imagesInSequence"]),
            exposure_time_s=float(fields["exposureTime"]),
            shutter_open_s=float(fields["measuredShutterOpenTime"]),
            dark_time_s=float(fields["darkTime"]),
            image_tag=fields["imageTag"],
            begins=TaiSeconds(float(fields["timestampDateObs"])),
            ends=TaiSeconds(float(fields["timestampDateEnd"])),
            emulated=fields["emulatedImage"],
            filter=next((each for each in FILTERS if each.name == filter_name), None),
        )

    @property
    def folder(self) -> str:
        """Where its files are, below the drop directory."""
        return exposure_folder(self.day_obs, self.obs_id)

    @property
    def written_utc(self) -> UtcSeconds:
        """The DATE of its files: the end of the image, so that writing again gives the same."""
        return tai_to_utc(self.ends)


def exposure_folder(day_obs: int | str, obs_id: str) -> str:
    """Return where the files of an exposure are, below the drop directory."""
    return f"{day_obs}/{obs_id}"


def iso(seconds: float) -> str:
    """Write seconds since 1970 as FITS does, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), tz=UTC).isoformat(timespec="milliseconds")[:23]


def mjd(seconds: float) -> float:
    """Return the modified Julian date of seconds since 1970, on the same time scale."""
    return _MJD_1970 + seconds / _DAY_S
