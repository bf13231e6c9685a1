"""What an S3 endpoint can do, and what follows for its settings; for `arriero doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from daemons.storage.interface import IntegrityError, StoreError
from daemons.storage.s3 import S3Store
from daemons.storage.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """What was found out."""

    conditional_put: bool
    """`If-None-Match: *` is honoured."""
    checksums: bool
    """Uploads with boto3's CRC32 checksums are taken."""
    advice: tuple[str, ...]
    """What to change, a sentence each; empty where all is well."""


async def probe_s3(name: str, settings: StoreSettings) -> StoreTraits:
    """Try an endpoint out with the small object `.arriero/conditional-probe`.

    Raises
    ------
    StoreUnavailableError
        It is out of reach.
    AccessRefusedError
        It does not let us write.
    StoreError
        It refuses uploads even without checksums.
    """
    plain = _store(name, settings, checksums="when_required")
    try:
        await plain.check()
        await plain.try_upload()
        conditional = await plain.honours_conditions()
        refusals = plain.socket_refusals
    finally:
        await plain.close()
    checksums = await _takes_checksums(name, settings)
    advice = list(refusals)
    if settings.conditional == "native" and not conditional:
        advice.append(f"{settings.url} does not honour If-None-Match: set `conditional: head`")
    if settings.checksums == "when_supported" and not checksums:
        advice.append(f"{settings.url} refuses checksums: set `checksums: when_required`")
    return StoreTraits(conditional, checksums, tuple(advice))


async def _takes_checksums(name: str, settings: StoreSettings) -> bool:
    store = _store(name, settings, checksums="when_supported")
    try:
        await store.try_upload()
    except StoreError as error:
        if error.retryable and not isinstance(error, IntegrityError):
            raise
        return False
    finally:
        await store.close()
    return True


def _store(name: str, settings: StoreSettings, *, checksums: str) -> S3Store:
    return S3Store(name, settings.model_copy(update={"checksums": checksums, "connections": 1}))
