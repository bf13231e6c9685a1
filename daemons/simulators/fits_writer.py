"""Files as the camera writes them, in memory.

A detector's file: primary header, one compressed image per amplifier, `REB_COND` and
`CONFIG_COND`. A guider's file: primary header, and one compressed image per stamp. Every
HDU carries CHECKSUM and DATASUM, and a compressed one also those of the image that was
compressed.

A file is a tuple of buffers, of which the large ones are shared by all files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemons.simulators.fits_bodies import (
    STAMP_SHAPE,
    Body,
    BodyLibrary,
)
from daemons.simulators.fits_cards import (
    CHECKSUM_COMMENT,
    DATASUM_COMMENT,
    END_CARD,
    card,
    seal,
    section,
)
from daemons.simulators.fits_conditions import config_cond, reb_cond
from daemons.simulators.fits_primary import (
    GUIDER_ABSENT,
    camera_values,
    primary_cards,
)
from daemons.simulators.fits_segments import segment_cards
from daemons.simulators.focal_plane import Sensor
from daemons.simulators.header_document import HeaderDocument
from daemons.simulators.image import Image, iso
from translators.fits.cards import parse_header
from translators.identity import ImageKind
from translators.sidecar import sidecar_bytes

STAMP_INTERVAL_S = 0.1465
"""Between two stamps of a guider: 50 ms of light, and the reading."""

_STAMP_EXPOSURE_MS = 50
_NO_HEADER = HeaderDocument()
_EXPECTED_VERSION = 1.0


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A file before it is written."""

    name: str
    buffers: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return sum(len(each) for each in self.buffers)

    @property
    def sidecar(self) -> tuple[str, bytes]:
        """Name and content of the JSON file with the primary header."""
        cards, _, _ = self.buffers[0].rpartition(END_CARD)
        return (
            self.name.removesuffix(".fits") + ".json",
            sidecar_bytes(parse_header(cards).cards),
        )


def file_stem(obs_id: str, sensor: Sensor) -> str:
    """Return the name of a sensor's file without its suffix."""
    guider = "_guider" if sensor.kind is ImageKind.GUIDER else ""
    return f"{obs_id}_{sensor.name}{guider}"


def render(
    image: Image,
    sensor: Sensor,
    header: HeaderDocument | None,
    bodies: BodyLibrary,
    *,
    most_stamps: int | None = None,
) -> RenderedFile:
    """Return the file of a sensor.

    Parameters
    ----------
    image
        What the camera knows.
    sensor
        Whose file it is.
    header
        What the header service knows; None where it has not answered, which gives
        undefined values.
    bodies
        The compressed pixels.
    most_stamps
        Upper limit of a guider's stamps; None: as many as fit the exposure.
    """
    if sensor.kind is ImageKind.GUIDER:
        return _guider(image, sensor, header or _NO_HEADER, bodies, most_stamps)
    return _detector(image, sensor, header or _NO_HEADER, bodies)


def _detector(
    image: Image, sensor: Sensor, header: HeaderDocument, bodies: BodyLibrary
) -> RenderedFile:
    name = f"{file_stem(image.obs_id, sensor)}.fits"
    cards = primary_cards(camera_values(image, sensor, name), header.of(sensor.bus_name))
    buffers = [seal(cards, 0)[0]]
    for channel, fixed in enumerate(segment_cards(sensor, bodies.shape)):
        body = bodies.amplifier(image.image_type, _variant(image, sensor, channel))
        buffers += [_compressed_header(body, fixed), body.data]
    buffers += [reb_cond(image, sensor), config_cond()]
    return RenderedFile(name, tuple(buffers))


def _variant(image: Image, sensor: Sensor, channel: int) -> int:
    """Return which pixels an amplifier has, so that neighbours in place and time differ."""
    return image.seq_num + sensor.number + channel


def _compressed_header(body: Body, fixed: bytes) -> bytes:
    """Return the header of a compressed image.

    The image that was compressed has a header and checksums of its own: they are what
    ZHECKSUM and ZDATASUM keep.
    """
    _, checksum = seal((body.image_cards, fixed), body.pixels_summed)
    kept = (
        card("ZHECKSUM", checksum, CHECKSUM_COMMENT),
        card("ZDATASUM", str(body.pixels_summed), DATASUM_COMMENT),
    )
    return seal((body.table_cards, fixed, *kept), body.summed)[0]


def render_uncompressed(
    image: Image, sensor: Sensor, header: HeaderDocument | None, bodies: BodyLibrary
) -> RenderedFile:
    """Return a detector's file as it is before its images are compressed."""
    compressed = _detector(image, sensor, header or _NO_HEADER, bodies)
    buffers = [compressed.buffers[0]]
    for channel, fixed in enumerate(segment_cards(sensor, bodies.shape)):
        variant = _variant(image, sensor, channel)
        body = bodies.amplifier(image.image_type, variant)
        buffers.append(seal((body.image_cards, fixed), body.pixels_summed)[0])
        buffers.append(bodies.uncompressed(image.image_type, variant))
    buffers += compressed.buffers[-2:]
    return RenderedFile(compressed.name, tuple(buffers))


def _guider(
    image: Image,
    sensor: Sensor,
    header: HeaderDocument,
    bodies: BodyLibrary,
    most_stamps: int | None,
) -> RenderedFile:
    name = f"{file_stem(image.obs_id, sensor)}.fits"
    fitting = max(1, int(image.exposure_time_s / STAMP_INTERVAL_S))
    stamps = fitting if most_stamps is None else min(fitting, most_stamps)
    own = camera_values(image, sensor, name)
    for keyword in GUIDER_ABSENT:
        own.pop(keyword, None)
    own |= {
        "IMGTYPE": "UNKNOWN",
        "DAQPART": "guider",
        "FILTPOS": None if image.filter is None else str(image.filter.position_mm),
        "FILTSLOT": None if image.filter is None else str(image.filter.slot),
    }
    cards = primary_cards(own, header.of(sensor.bus_name), absent=GUIDER_ABSENT)
    cards += _region(image, sensor, stamps)
    buffers = [seal(cards, 0)[0]]
    for number in range(1, stamps + 1):
        body = bodies.stamp(image.seq_num + sensor.number + number)
        buffers += [_compressed_header(body, _stamp_cards(image, number)), body.data]
    return RenderedFile(name, tuple(buffers))


def _region(image: Image, sensor: Sensor, stamps: int) -> list[bytes]:
    rows, columns = STAMP_SHAPE
    return [
        section("Stamps"),
        card("ROICOL", 200 + sensor.number, "first column of the stamps"),
        card("ROIROW", 900, "first row of the stamps"),
        card("ROICOLS", columns, "columns of a stamp"),
        card("ROIROWS", rows, "rows of a stamp"),
        card("ROISEG", "Segment03", "amplifier of the stamps"),
        card("GDSSEQ", image.seq_num, "number of the guider's run"),
        card("GDSSTART", iso(image.begins), "begin of the guider's run"),
        card("ROIUNDER", 3, "columns before the stamp"),
        card("ROISPLIT", False, "whether the stamp spans two amplifiers"),
        card("ROICCDTY", 0, "type of the CCD"),
        card("ROIMILLI", _STAMP_EXPOSURE_MS, "[ms] exposure of a stamp"),
        card("N_STAMPS", stamps, "stamps in the file"),
    ]


def _stamp_cards(image: Image, number: int) -> bytes:
    taken = iso(image.begins + number * STAMP_INTERVAL_S)
    return (
        card("STMPTIME", taken, "end of the stamp")
        + card("EXTVER", number, "number of the stamp")
        + card("EXTNAME", "IMAGE")
    )


def expected_sensors(obs_id: str, chosen: Sequence[Sensor]) -> tuple[str, bytes]:
    """Return name and content of the file that says which sensors an exposure has."""
    name = f"{obs_id}_expectedSensors.json"
    kinds: Mapping[str, str] = {
        sensor.name: "GUIDER" if sensor.kind is ImageKind.GUIDER else "SCIENCE" for sensor in chosen
    }
    content = {
        "fileName": name,
        "fileType": "expectedSensors",
        "obsId": obs_id,
        "version": _EXPECTED_VERSION,
        "expectedSensors": kinds,
    }
    return name, (json.dumps(content, indent=2) + "\n").encode()
