"""What an endpoint checks of what it is sent, found out by sending it what is wrong."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from awscrt.checksums import crc64nvme

from daemons.storage.bodies import Payload
from daemons.storage.direct import DirectSender
from daemons.storage.s3_errors import RefusalError

_BODY = b"probe"
_SERVER_ERROR = 500
_REFUSED = 400
_NOT_FOR_US = {401, 403, 404, 429}
"""These refuse us, not what was sent."""


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """What was found out of an endpoint."""

    conditional_put: bool
    """`If-None-Match: *` is honoured. Where it is not, a key is looked at before a put."""
    checksums: bool = True
    """Uploads with boto3's CRC32 checksums are taken."""
    advice: tuple[str, ...] = ()
    """What to change, a sentence each; empty where all is well."""
    checked: tuple[str, ...] = ()
    """What the store compares with the bytes that it received, of `sha256` (the signed
    digest), `crc64nvme` and `crc32`."""
    clock_skew_s: float | None = None
    """How far the store's clock is ahead of ours."""


def find_traits(sender: DirectSender, key: str, conditional_put: bool) -> StoreTraits:  # noqa: FBT001 - what it says
    """Probe an endpoint; blocking.

    Parameters
    ----------
    sender
        Reaches it.
    key
        Of the small object that is overwritten, with the store's prefix.
    conditional_put
        What was found out already.

    Raises
    ------
    ConnectionLostError, RefusalError
        It is away, or does not let us write.
    """
    right = hashlib.sha256(_BODY).hexdigest()
    wrong = hashlib.sha256(b"other").hexdigest()
    checked = []
    if not _takes(sender, key, {}, wrong):
        checked.append("sha256")
    for name, size, digest in (
        ("crc64nvme", 8, crc64nvme(_BODY)),
        ("crc32", 4, zlib.crc32(_BODY)),
    ):
        header = f"x-amz-checksum-{name}"
        good = {header: base64.b64encode(digest.to_bytes(size, "big")).decode()}
        bad = {header: base64.b64encode((digest ^ 1).to_bytes(size, "big")).decode()}
        if _takes(sender, key, good, right) and not _takes(sender, key, bad, right):
            checked.append(name)
    return StoreTraits(conditional_put=conditional_put, checked=tuple(checked))


def _takes(sender: DirectSender, key: str, headers: Mapping[str, str], payload_hash: str) -> bool:
    payload = Payload("a probe", len(_BODY), memoryview(_BODY))
    answer = sender.ask(
        sender.request("PUT", key, headers, payload, payload_hash=payload_hash), payload
    )
    passing = answer.status in _NOT_FOR_US or answer.status >= _SERVER_ERROR
    if passing and answer.element("Code") not in {"XAmzContentSHA256Mismatch", "NotImplemented"}:
        raise RefusalError(answer)
    return answer.status < _REFUSED
