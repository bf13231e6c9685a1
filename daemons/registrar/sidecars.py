"""The translated header of an image that was announced without one.

A foreign sender's event has none; the sidecar in the store has the header.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from daemons.events import ImageStored
from daemons.storage import ObjectStore, StoreError
from translators.errors import TranslatorsError
from translators.sidecar import header_from_sidecar
from translators.translate import translate

_log = structlog.get_logger(__name__)


async def with_observation(image: ImageStored, stores: Mapping[str, ObjectStore]) -> ImageStored:
    """Return the image with its translated header, from the sidecar where the event has none.

    Where there is no sidecar either the image is returned as it is; registration
    then says what is missing.
    """
    if image.observation is not None or image.dataset_type != "raw" or image.sidecar is None:
        return image
    store = stores.get(image.store)
    if store is None:
        return image
    try:
        header = header_from_sidecar(await store.get(image.sidecar.key))
        translation = translate(header, file_name=image.file_name)
    except (StoreError, TranslatorsError, ValueError) as error:
        _log.warning("sidecar_unusable", file=image.file_name, reason=str(error))
        return image
    return image.model_copy(update={"observation": translation.observation})
