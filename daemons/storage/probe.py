"""What an S3 endpoint can do, and what follows for its settings; for `arriero doctor`."""

from __future__ import annotations

from dataclasses import replace

from daemons.storage.interface import IntegrityError, StoreError
from daemons.storage.s3 import S3Store
from daemons.storage.settings import StoreSettings
from daemons.storage.traits import StoreTraits

_SKEW_S = 60.0
"""More than this is worth a word; stores refuse requests beyond 15 minutes."""


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
        traits = await plain.probe()
        refusals = plain.socket_refusals
    finally:
        await plain.close()
    checksums = await _takes_checksums(name, settings)
    advice = list(refusals)
    if settings.conditional == "native" and not traits.conditional_put:
        advice.append(f"{settings.url} does not honour If-None-Match: set `conditional: head`")
    if settings.checksums == "when_supported" and not checksums:
        advice.append(f"{settings.url} refuses checksums: set `checksums: when_required`")
    advice += _degraded(settings, traits)
    return replace(traits, checksums=checksums, advice=tuple(advice))


def _degraded(settings: StoreSettings, traits: StoreTraits) -> list[str]:
    """Return what an operator should know of an endpoint that does less than it might."""
    advice = []
    if not traits.checked and settings.etag == "opaque":
        advice.append(
            f"{settings.url} checks nothing of what it receives and its ETag is no MD5: read back "
            "what was stored"
        )
    if settings.proof in {"sha256", "crc64nvme"} and settings.proof not in traits.checked:
        advice.append(f"{settings.url} does not check {settings.proof}: set `proof: auto`")
    skew_s = traits.clock_skew_s
    if skew_s is not None and abs(skew_s) > _SKEW_S:
        where = "behind" if skew_s > 0 else "ahead of"
        advice.append(
            f"this machine's clock is {abs(skew_s):.0f} s {where} that of {settings.url}: look at "
            "its time synchronisation"
        )
    return advice


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
