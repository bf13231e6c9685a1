"""What S3 and its client library say, in our exception tree."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
    SSLError,
)

from daemons.runtime.errors import ArrieroError
from daemons.storage.answers import Answer
from daemons.storage.interface import (
    AccessRefusedError,
    IntegrityError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
)

_PASSING = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_REFUSED_STATUS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_CREDENTIALS_ADVICE = "look at the credentials and at the bucket's policy"
_REFUSED_ADVICE = {"RequestTimeTooSkewed": "set this machine's clock"}
_TLS_HINT = "; if the certificate is your institution's own, name its authority in `ca_bundle`"
_UNKNOWN_CONDITION = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
_CHECKSUM_DISLIKED = frozenset({"MissingContentLength", "MissingContentMD5"})
_DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"})
_SERVER_ERROR = 500


class GivenUpError(Exception):
    """Whoever asked for an upload was cancelled; nobody sees this."""


class ConnectionLostError(Exception):
    """A connection could not be made, broke or fell silent; never leaves this room."""

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale
        """It ended before anything of an answer came, as one that was idle for too long does."""


class RefusalError(Exception):
    """A store answered a request of ours with anything but success; never leaves this room."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.status = answer.status
        self.code = answer.element("Code")
        self.message = answer.element("Message") or answer.headers.get("location", "")
        super().__init__(f"{self.status} {self.code} {self.message}")


class ConditionUnsupportedError(StoreError):
    """The store does not know `If-None-Match`; never leaves this room."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the client library raises into our errors.

    Parameters
    ----------
    what
        What was tried, for the message: `put KEY to BUCKET at ENDPOINT`.
    """
    try:
        yield
    except ClientError as error:
        told_error = error.response.get("Error", {})
        code, message = str(told_error.get("Code", "")), str(told_error.get("Message", ""))
        raise _answered(what, status_of(error), code, message) from error
    except RefusalError as error:
        code = error.code or _known_code(error.status)
        raise _answered(what, error.status, code, error.message) from error
    except ConnectionLostError as error:
        raise StoreUnavailableError(f"cannot {what}: {error}{_tls_hint(error)}") from error
    except ParamValidationError as error:
        raise StoreError(f"cannot {what}: {error}") from error
    except HTTPClientError as error:
        reason = error.kwargs.get("error")
        if isinstance(reason, (ArrieroError, GivenUpError)):  # raised by the body of an upload
            raise reason from None
        raise _out_of_reach(error, what) from error
    except BotoCoreError as error:
        raise _out_of_reach(error, what) from error


def status_of(error: BaseException | None) -> int:
    """Return the HTTP status of a refusal, 0 of anything else."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return error.status if isinstance(error, RefusalError) else 0


def date_of(error: BaseException | None) -> datetime | None:
    """Return when a store refused something, by its own clock."""
    if isinstance(error, RefusalError):
        return error.answer.date
    if isinstance(error, ClientError):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        with suppress(KeyError, ValueError):
            return parsedate_to_datetime(headers["date"])
    return None


def is_throttling(error: BaseException) -> bool:
    """Return whether a store asks for fewer requests."""
    return status_of(error.__cause__) in {
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }


def _known_code(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _tls_hint(error: BaseException) -> str:
    cause = error.__cause__
    return _TLS_HINT if isinstance(cause, ssl.SSLCertVerificationError) else ""


def _out_of_reach(error: BotoCoreError, what: str) -> StoreUnavailableError:
    hint = _TLS_HINT if isinstance(error, SSLError) else ""
    return StoreUnavailableError(f"cannot {what}: {error}{hint}")


def _answered(what: str, status: int, code: str, message: str) -> StoreError:
    text = f"cannot {what}: {code} {message}".rstrip()
    if _passes(code, status):
        return StoreUnavailableError(text)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return StoreError(f"{text}; the store sends us elsewhere: correct `endpoint_url`")
    if code in _REFUSED or status in _REFUSED_STATUS:
        return AccessRefusedError(f"{text}; {_REFUSED_ADVICE.get(code, _CREDENTIALS_ADVICE)}")
    if status == HTTPStatus.NOT_FOUND and code != "NoSuchBucket":
        return ObjectNotFoundError(text)
    if status == HTTPStatus.PRECONDITION_FAILED:
        return ObjectExistsError(f"{text}; the key holds an object already")
    return _bad_request(code, text)


def _passes(code: str, status: int) -> bool:
    if code in _PASSING or status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    return status >= _SERVER_ERROR and code != "NotImplemented"


def _bad_request(code: str, text: str) -> StoreError:
    if code == "NoSuchBucket":
        return StoreError(f"{text}; create the bucket or correct the store's url")
    if code in _DAMAGED:
        advice = "; if every upload says so, set `checksums: when_required` for this store"
        return IntegrityError(text + advice)
    if code in _CHECKSUM_DISLIKED:
        return StoreError(f"{text}; set `checksums: when_required` for this store")
    if code in _UNKNOWN_CONDITION:
        return ConditionUnsupportedError(text)
    return StoreError(text)
