"""Pixels: a few images per kind of exposure, compressed once and used in every file.

What takes time in writing a camera's file is the compression. Here it is done for a
handful of amplifier images when the first file needs them; after that a file is made
of new headers and these finished data units.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from daemons.simulators.fits_cards import card, data_sum, padded
from daemons.simulators.focal_plane import AMPLIFIER_SHAPE, Shape
from daemons.simulators.night import ImageType

STAMP_SHAPE: Shape = (100, 50)
"""Of a guider's stamp."""
VARIANTS = 4
"""Different images of a kind."""

_BIAS_ADU = 1000
_LEVELS: dict[str, tuple[float, float]] = {
    ImageType.BIAS: (0.0, 5.0),
    ImageType.DARK: (2.0, 6.0),
    ImageType.FLAT: (12_000.0, 110.0),
    ImageType.OBJECT: (900.0, 30.0),
    "STAMP": (300.0, 12.0),
}
"""Signal above bias and noise, both in ADU, of each kind of image."""
_READ_NOISE_ADU = 5.0
_OVERSCAN_COLUMNS, _OVERSCAN_ROWS = 64, 46


@dataclass(frozen=True, slots=True)
class Body:
    """A compressed image: what follows the header in its HDU, and what the header must say."""

    shape: Shape
    data: bytes
    """Table and heap, padded."""
    heap_bytes: int
    longest_row: int
    """Elements of the longest row in the heap."""
    summed: int
    """Ones' complement sum of `data`."""
    pixels_summed: int
    """Ones' complement sum of the image before it was compressed."""

    @property
    def table_cards(self) -> bytes:
        """The cards that describe the table and the image inside it.

        A Z card has the comment of the card that it keeps, so that unpacking gives the
        uncompressed file back to the byte.
        """
        rows, columns = self.shape
        return b"".join(
            (
                card("XTENSION", "BINTABLE", "binary table extension"),
                card("BITPIX", 8, "bits of a data value"),
                card("NAXIS", 2, "number of axes"),
                card("NAXIS1", 8, "bytes of a row"),
                card("NAXIS2", rows, "number of rows"),
                card("PCOUNT", self.heap_bytes, "bytes of the heap"),
                card("GCOUNT", 1, "one group"),
                card("TFIELDS", 1, "number of columns"),
                card("TTYPE1", "COMPRESSED_DATA", "name of the column"),
                card("TFORM1", f"1PB({self.longest_row})", "variable-length bytes"),
                card("ZIMAGE", True, "the table is a compressed image"),
                card("ZTILE1", columns, "columns of a tile"),
                card("ZTILE2", 1, "rows of a tile"),
                card("ZCMPTYPE", "RICE_1", "compression"),
                card("ZNAME1", "BLOCKSIZE", "parameter of the compression"),
                card("ZVAL1", 32, "pixels of a block"),
                card("ZNAME2", "BYTEPIX", "parameter of the compression"),
                card("ZVAL2", 4, "bytes of a pixel"),
                card("ZTENSION", "IMAGE", "image extension"),
                card("ZBITPIX", 32, "bits of a pixel"),
                card("ZNAXIS", 2, "axes of the image"),
                card("ZNAXIS1", columns, "columns of the image"),
                card("ZNAXIS2", rows, "rows of the image"),
                card("ZPCOUNT", 0, "no group parameters"),
                card("ZGCOUNT", 1, "one group"),
            )
        )

    @property
    def image_cards(self) -> bytes:
        """The cards that describe the same image when it is not compressed."""
        rows, columns = self.shape
        return b"".join(
            (
                card("XTENSION", "IMAGE", "image extension"),
                card("BITPIX", 32, "bits of a pixel"),
                card("NAXIS", 2, "axes of the image"),
                card("NAXIS1", columns, "columns of the image"),
                card("NAXIS2", rows, "rows of the image"),
                card("PCOUNT", 0, "no group parameters"),
                card("GCOUNT", 1, "one group"),
            )
        )


def pixels(kind: str, variant: int, shape: Shape) -> npt.NDArray[np.int32]:
    """Return an amplifier image: a lit area, and overscan at bias level above and beside it.

    Parameters
    ----------
    kind
        An image type, or `STAMP`.
    variant
        Seed of the noise.
    shape
        Rows and columns.
    """
    level, noise = _LEVELS[kind]
    chance = np.random.default_rng([variant, *shape, sorted(_LEVELS).index(kind)])
    image = chance.normal(_BIAS_ADU, _READ_NOISE_ADU, shape)
    rows, columns = max(1, shape[0] - _OVERSCAN_ROWS), max(1, shape[1] - _OVERSCAN_COLUMNS)
    image[:rows, :columns] = chance.normal(_BIAS_ADU + level, noise, (rows, columns))
    return np.rint(image).astype(np.int32)


def image_data(kind: str, variant: int, shape: Shape) -> bytes:
    """Return the uncompressed data unit of an amplifier image."""
    return padded(pixels(kind, variant, shape).astype(">i4").tobytes())


def compress(image: npt.NDArray[np.int32]) -> Body:
    """Compress an image by rows with RICE_1, as the camera does."""
    rows, columns = image.shape
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=(1, columns))
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    content = file.getvalue()
    with fits.open(io.BytesIO(content), disable_image_compression=True, memmap=False) as written:
        place = written[1].fileinfo()
        header = written[1].header
        data = content[place["datLoc"] : place["datLoc"] + place["datSpan"]]
        return Body(
            shape=(rows, columns),
            data=data,
            heap_bytes=int(header["PCOUNT"]),
            longest_row=int(header["TFORM1"].rpartition("(")[2].rstrip(")")),
            summed=data_sum(data),
            pixels_summed=data_sum(padded(image.astype(">i4").tobytes())),
        )


class BodyLibrary:
    """The compressed images of one amplifier shape, made when first asked for.

    Parameters
    ----------
    shape
        Rows and columns of an amplifier.
    """

    def __init__(self, shape: Shape = AMPLIFIER_SHAPE) -> None:
        self.shape = shape
        self._bodies: dict[tuple[str, int], Body] = {}
        self._lock = threading.Lock()

    def amplifier(self, kind: ImageType, variant: int) -> Body:
        """Return an amplifier image of an image type."""
        return self._get(kind, variant % VARIANTS, self.shape)

    def stamp(self, variant: int) -> Body:
        """Return a guider's stamp."""
        return self._get("STAMP", variant % (4 * VARIANTS), STAMP_SHAPE)

    def uncompressed(self, kind: ImageType, variant: int) -> bytes:
        """Return the data unit of an amplifier image as it was before compression."""
        return image_data(kind, variant % VARIANTS, self.shape)

    def _get(self, kind: str, variant: int, shape: Shape) -> Body:
        with self._lock:
            body = self._bodies.get((kind, variant))
            if body is None:
                body = compress(pixels(kind, variant, shape))
                self._bodies[kind, variant] = body
            return body
