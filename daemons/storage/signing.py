"""Signatures of requests: AWS signature version 4, with the store's idea of the time.

A store refuses signatures whose time is more than 15 minutes from its own. A camera
host whose clock is wrong still has to deliver, so the difference is taken from the
store's answer, told to the operator, and allowed for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4Auth

SIGNER = "arriero-s3v4"
"""Name of our signer in botocore's table of signers."""
CLOCK = "arriero_clock"
"""Under this name a request's context holds the clock to sign by."""
UNSIGNED = "UNSIGNED-PAYLOAD"
_PAYLOAD_HASH = "X-Amz-Content-SHA256"
_SHA256 = re.compile("[0-9a-f]{64}")
_NOTICEABLE = timedelta(seconds=5)
"""Smaller differences are the time that an answer was under way."""

_log = structlog.get_logger(__name__)


def _utc_now() -> datetime:
    return datetime.now(tz=UTC)


class SigningClock:
    """The time that requests are signed with.

    Parameters
    ----------
    now
        The machine's time, UTC.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._offset = timedelta(0)
        self._skew: timedelta | None = None

    @property
    def skew_s(self) -> float | None:
        """How far the store's clock is ahead of the machine's, as last seen; None before that."""
        return None if self._skew is None else self._skew.total_seconds()

    def now(self) -> datetime:
        """Return the time to sign with."""
        return self._now() + self._offset

    def saw(self, date: datetime | None) -> None:
        """Take note of the store's time in an answer."""
        if date is None:
            return
        skew = date - self._now()
        self._skew = skew if abs(skew) >= _NOTICEABLE else timedelta(0)

    def correct(self, date: datetime | None) -> bool:
        """Sign by the store's time from now on; return whether that makes a difference."""
        if date is None:
            return False
        with self._lock:
            self.saw(date)
            found = self._skew or timedelta(0)
            if abs(found - self._offset) < _NOTICEABLE:
                return False
            self._offset = found
        _log.warning(
            "store_clock_corrected",
            store_is_ahead_s=round(found.total_seconds(), 1),
            advice="requests are signed with the store's time; set this machine's clock",
        )
        return True


class DeclaredDigestAuth(S3SigV4Auth):
    """AWS signature version 4 over the SHA-256 that an upload's metadata declare.

    The file was digested when it was inspected, so it is not read again for the
    signature; a store that checks the signature proves that it received these bytes.
    """

    def add_auth(self, request: Any) -> None:
        """Sign a request, by the clock in its context."""
        clock = request.context.get(CLOCK)
        now = clock.now() if clock is not None else _utc_now()
        request.context["timestamp"] = now.strftime(SIGV4_TIMESTAMP)
        signer: Any = self
        signer._modify_request_before_signing(request)  # noqa: SLF001 - botocore's own steps, in its order
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        signer._inject_signature_to_request(request, signature)  # noqa: SLF001 - as above

    def payload(self, request: Any) -> str:
        """Return what the signature covers of the body."""
        decided = request.context.get(_PAYLOAD_HASH)
        if decided is not None:
            return str(decided)
        declared = request.headers.get("x-amz-meta-sha256", "")
        parent: Any = super()
        signs = parent._should_sha256_sign_payload(request)  # noqa: SLF001 - as the parent decides
        chunked = parent._is_streaming_checksum_payload(request)  # noqa: SLF001 - as above
        if signs and not chunked and request.body and is_sha256(declared):
            return str(declared)
        return str(parent.payload(request))


AUTH_TYPE_MAPS[SIGNER] = DeclaredDigestAuth


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def decide_payload(request: Any, payload_hash: str) -> None:
    """Say what the signature of a request is to cover: a SHA-256, or `UNSIGNED`."""
    request.context[_PAYLOAD_HASH] = payload_hash
