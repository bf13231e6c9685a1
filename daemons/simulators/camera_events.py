"""The events of the camera on the control bus, field by field.

Lists travel as one text with `:` between the entries; a colon or a backslash inside
an entry is escaped with a backslash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from daemons.bus import Topic
from daemons.simulators.focal_plane import Sensor, sensors
from daemons.simulators.night import Exposure, Filter

CAMERA = "MTCamera"
START_INTEGRATION = Topic(CAMERA, "logevent_startIntegration")
START_READOUT = Topic(CAMERA, "logevent_startReadout")
END_READOUT = Topic(CAMERA, "logevent_endReadout")
END_OF_IMAGE_TELEMETRY = Topic(CAMERA, "logevent_endOfImageTelemetry")
IMAGE_READOUT_PARAMETERS = Topic(CAMERA, "logevent_imageReadoutParameters")
FOCAL_PLANE_SUMMARY = Topic(CAMERA, "logevent_focalPlaneSummaryInfo")
START_SET_FILTER = Topic(CAMERA, "logevent_startSetFilter")
END_SET_FILTER = Topic(CAMERA, "logevent_endSetFilter")

HEADER_TIMEOUT_S = 20.0
"""What the camera announces as its patience between the begin and the end of an image."""
CCD_SET_POINT_C = -100.0
"""Temperature at which the sensors are held."""

_SUMMARY_LENGTH = 212
_READOUT_LENGTH = 201
Fields = Mapping[str, Any]


def join(entries: Iterable[object]) -> str:
    """Write a list as one text."""
    return ":".join(str(each).replace("\\", "\\\\").replace(":", "\\:") for each in entries)


def split(text: str) -> list[str]:
    """Read a list that `join` wrote."""
    entries, current, letters = [], "", iter(text)
    for letter in letters:
        if letter == "\\":
            current += next(letters, "")
        elif letter == ":":
            entries.append(current)
            current = ""
        else:
            current += letter
    return [*entries, current]


def _image(exposure: Exposure) -> dict[str, Any]:
    """Return what every event of an image carries."""
    additional = {
        "imageType": exposure.image_type,
        "groupId": exposure.group_id,
        "testType": exposure.image_type,
        "stutterRows": 0,
        "stutterNShifts": 0,
        "stutterDelay": 0.0,
        "reason": exposure.reason,
        "program": exposure.program,
    }
    source, controller, _, _ = exposure.obs_id.split("_")
    return {
        "additionalKeys": join(additional),
        "additionalValues": join(additional.values()),
        "imagesInSequence": exposure.images_in_sequence,
        "imageName": exposure.obs_id,
        "imageIndex": exposure.image_index,
        "imageSource": source,
        "imageController": controller,
        "imageDate": str(exposure.day_obs),
        "imageNumber": exposure.seq_num,
        "timestampAcquisitionStart": exposure.start_integration,
    }


def start_integration(exposure: Exposure) -> Fields:
    """Return the event that begins an image."""
    return {
        **_image(exposure),
        "exposureTime": exposure.exposure_time_s,
        "mode": "FULL",
        "timeout": exposure.exposure_time_s + HEADER_TIMEOUT_S,
    }


def start_readout(exposure: Exposure) -> Fields:
    """Return the event at the begin of the readout."""
    return {
        **_image(exposure),
        "exposureTime": exposure.exposure_time_s,
        "timestampStartOfReadout": exposure.start_readout,
    }


def end_readout(exposure: Exposure) -> Fields:
    """Return the event at the end of the readout."""
    return {
        **_image(exposure),
        "requestedExposureTime": exposure.exposure_time_s,
        "timestampEndOfReadout": exposure.end_readout,
    }


def end_of_image_telemetry(exposure: Exposure) -> Fields:
    """Return the event that ends an image."""
    return {
        **_image(exposure),
        "exposureTime": exposure.exposure_time_s,
        "imageTag": exposure.image_tag,
        "timestampDateObs": exposure.start_integration,
        "timestampDateEnd": exposure.start_readout,
        "measuredShutterOpenTime": exposure.shutter_open_s,
        "darkTime": exposure.dark_time_s,
        "emulatedImage": "",
    }


def image_readout_parameters(exposure: Exposure) -> Fields:
    """Return how the sensors were read."""
    plane = list(sensors().values())
    return {
        "imageName": exposure.obs_id,
        **_places(plane),
        "ccdType": _array([each.type_number for each in plane], _READOUT_LENGTH),
        "overRows": [48] * _READOUT_LENGTH,
        "overCols": [64] * _READOUT_LENGTH,
        "readRows": [2000] * _READOUT_LENGTH,
        "readCols": [509] * _READOUT_LENGTH,
        "preCols": [3] * _READOUT_LENGTH,
        "daqFolder": "raw",
        "daqAnnotation": f"{exposure.aim.name} {exposure.reason}"[:60],
    }


def focal_plane_summary() -> Fields:
    """Return which sensors the focal plane has."""
    plane = list(sensors().values())
    return {
        **_places(plane),
        "rebSerialNumber": join(each.reb_serial for each in plane),
        "rebLSSTName": join(each.reb_name for each in plane),
        "ccdLSSTName": join(each.lsst_name for each in plane),
        "raftLSSTName": join(each.raft_name for each in plane),
        "ccdManSerNum": join(each.manufacturer_serial for each in plane),
        "ccdManufacturer": join(each.vendor for each in plane),
        "ccdType": _array([each.type_number for each in plane], _SUMMARY_LENGTH),
        "ccdTempSetPoint": [CCD_SET_POINT_C] * _SUMMARY_LENGTH,
        "sequencerKey": join(each.sequencer for each in plane),
        "sequencerChecksum": join(each.sequencer_checksum for each in plane),
    }


def _places(plane: Sequence[Sensor]) -> dict[str, str]:
    return {
        "ccdLocation": join(each.bus_name for each in plane),
        "raftBay": join(each.raft for each in plane),
        "ccdSlot": join(each.slot for each in plane),
    }


def _array(values: Sequence[int], length: int) -> list[int]:
    return [*values, *[0] * length][:length]


def start_set_filter(changed: Filter) -> Fields:
    """Return the event at the begin of a filter change."""
    return {"filterName": changed.name, "filterType": changed.band}


def end_set_filter(changed: Filter) -> Fields:
    """Return the event that says which filter is in the beam."""
    return {
        "filterName": changed.name,
        "filterType": changed.band,
        "filterSlot": changed.slot,
        "filterPosition": changed.position_mm,
    }
