"""An image as the S3 notification that a Ceph object gateway would send. No I/O.

Existing consumers of bucket notifications (version 2.2, as AWS and Ceph write them)
work unchanged on these records. Keys are URL-encoded as S3 does it: everything but
letters, digits and `-_.*/`, with `+` for a blank.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, urlsplit

from daemons.events import Event, ImageStored
from daemons.forwarder.settings_notifications import NotificationSettings

_SAFE = "/-_.*"


def quoted_key(key: str) -> str:
    """Return an object key as S3 writes it in notifications."""
    return quote_plus(key, safe=_SAFE).replace("~", "%7E")


def notifications(event: Event, settings: NotificationSettings) -> Iterator[tuple[str, bytes]]:
    """Yield (object key, message) for an `image.stored` event: the sidecar's first.

    One record per message: some consumers read only the first. The same event gives the
    same bytes, so that a repetition is recognised.

    Parameters
    ----------
    event
        The event, with its sequence number.
    settings
        What the records say of zone, owner and configuration.
    """
    image = event.read(ImageStored)
    if image.sidecar is not None:
        sidecar = image.sidecar
        yield (
            sidecar.key,
            _message(event, settings, sidecar.uri, sidecar.size_bytes, sidecar.sha256, part=0),
        )
    yield image.key, _message(event, settings, image.uri, image.size_bytes, image.etag, part=1)


def _message(
    event: Event,
    settings: NotificationSettings,
    uri: str,
    size_bytes: int,
    etag: str,
    *,
    part: int,
) -> bytes:
    bucket, key = _bucket_and_key(uri)
    at = _milliseconds(event.time)
    sequencer = f"{int(event.sequence or 0):015X}{part}"
    record: dict[str, Any] = {
        "eventVersion": "2.2",
        "eventSource": settings.event_source,
        "awsRegion": settings.region,
        "eventTime": at,
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": settings.principal},
        "requestParameters": {"sourceIPAddress": ""},
        "responseElements": {"x-amz-request-id": event.id, "x-amz-id-2": event.source},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": settings.configuration_id,
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": settings.principal},
                "arn": f"arn:aws:s3:{settings.region}::{bucket}",
                "id": "",
            },
            "object": {
                "key": quoted_key(key),
                "size": size_bytes,
                "eTag": etag,
                "versionId": "",
                "sequencer": sequencer,
                "metadata": [],
                "tags": [],
            },
        },
        "eventId": f"{event.id}.{part}",
        "opaqueData": "" if settings.opaque_data is None else settings.opaque_data.read(),
    }
    return json.dumps({"Records": [record]}, separators=(",", ":")).encode()


def _bucket_and_key(uri: str) -> tuple[str, str]:
    """Take `s3://[profile@]bucket/key` or `file:///folder/key` apart.

    A folder stands for the bucket where images are kept in one.
    """
    scheme, _, rest = uri.partition("://")
    if scheme == "s3":
        place, _, key = rest.partition("/")
        return place.rpartition("@")[2], key
    return "", urlsplit(uri).path.lstrip("/")


def _milliseconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
