"""What S3 and its client library say, in our exception tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    ParamValidationError,
    SSLError,
)

from daemons.runtime.errors import ArrieroError
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
_UNKNOWN_CONDITION = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
_CHECKSUM_DISLIKED = frozenset({"MissingContentLength", "MissingContentMD5"})
_DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"})
_SERVER_ERROR = 500


class GivenUpError(Exception):
    """Whoever asked for an upload was cancelled; nobody sees this."""


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
        raise _answered(error, what) from error
    except ParamValidationError as error:
        raise StoreError(f"cannot {what}: {error}") from error
    except HTTPClientError as error:
        reason = error.kwargs.get("error")
        if isinstance(reason, (ArrieroError, GivenUpError)):  # raised by the body of an upload
            raise reason from None
        raise _out_of_reach(error, what) from error
    except BotoCoreError as error:
        raise _out_of_reach(error, what) from error


def status_of(error: ClientError) -> int:
    """Return the HTTP status of a refusal."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _out_of_reach(error: BotoCoreError, what: str) -> StoreUnavailableError:
    hint = ""
    if isinstance(error, SSLError):
        hint = "; if the certificate is your institution's own, name its authority in `ca_bundle`"
    return StoreUnavailableError(f"cannot {what}: {error}{hint}")


def _answered(error: ClientError, what: str) -> StoreError:
    told_error = error.response.get("Error", {})
    code = str(told_error.get("Code", ""))
    status = status_of(error)
    text = f"cannot {what}: {code} {told_error.get('Message', '')}".rstrip()
    if _passes(code, status):
        return StoreUnavailableError(text)
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
