"""Formatter classes that the Butler stores by name.

`Butler.ingest` wants a class that it can check, and stores its full name. Where
the Science Pipelines are installed the real class is used; elsewhere a stand-in
of that name, which reads FITS with astropy, serves. Nothing named `lsst.obs` is
put on disk.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from astropy.io import fits
from lsst.daf.butler import FormatterV2


@lru_cache(maxsize=32)
def formatter_class(full_name: str) -> type[Any]:
    """Return the class of a full name, or a stand-in that bears it.

    Parameters
    ----------
    full_name
        Such as `lsst.obs.lsst.rawFormatter.LsstCamRawFormatter`.
    """
    module_name, _, class_name = full_name.rpartition(".")
    try:
        real: type[Any] = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        return _stand_in(module_name, class_name)
    return real


def _stand_in(module_name: str, class_name: str) -> type[Any]:
    def read_from_local_file(
        self: Any,  # noqa: ARG001 - the signature is the Butler's
        path: str,
        component: str | None = None,  # noqa: ARG001 - as above
        expected_size: int = -1,  # noqa: ARG001 - as above
    ) -> Any:
        """Return the file's HDUs, read into memory."""
        with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
            return fits.HDUList([hdu.copy() for hdu in hdus])

    return type(
        class_name,
        (FormatterV2,),
        {
            "__module__": module_name,
            "__qualname__": class_name,
            "__doc__": "Stand-in for a formatter of the Science Pipelines.",
            "default_extension": ".fits",
            "can_read_from_local_file": True,
            "read_from_local_file": read_from_local_file,
        },
    )
