"""The form of the `wcs` section of a keyword definition file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, PositiveFloat

from daemons.runtime.problems import KeyPath
from daemons.runtime.settings import SectionModel


class NominalWcs(SectionModel):
    """From what the nominal world coordinates of each sensor are computed.

    The focal plane itself is the instrument's: `config/instruments/<name>/instrument.yaml`.
    """

    ra: str
    """Keyword of the right ascension of the boresight, degrees."""
    dec: str
    """Keyword of its declination, degrees."""
    frame: str
    """Keyword of their frame; its value is what RADESYS says, and must be one of `frames`."""
    frames: tuple[str, ...] = ("ICRS", "FK5")
    """Frames in which coordinates on the sky make sense."""
    angle: str
    """Keyword of the position angle of the focal plane's +y on the sky, from north through east."""
    offset_deg: float = 0.0
    """Added to that angle."""
    arcsec_per_mm: PositiveFloat
    """Scale in the focal plane."""
    pixel_mm: PositiveFloat
    """Pitch of the pixels."""
    mirrored: bool = False
    """False: with +y to the north, +x is to the east; true: to the west."""
    when: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Keywords and the values that they must have: no coordinates for an image of the dome."""

    def keywords(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield every keyword that is used, and the place in the file where it is."""
        for keyword in (self.ra, self.dec, self.frame, self.angle, *self.when):
            yield ("wcs",), keyword
