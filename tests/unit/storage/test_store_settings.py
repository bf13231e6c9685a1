from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from daemons.storage.settings import StoreSettings

S3 = {
    "endpoint_url": "https://store.example.org",
    "access_key": {"file": "/etc/arriero/key"},
    "secret_key": {"credential": "s3-secret"},
}


def test_a_directory_needs_only_its_url() -> None:
    settings = StoreSettings(url="file:///data/with%20blank")
    assert (settings.scheme, settings.directory) == ("file", Path("/data/with blank"))


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://raw", "raw", ""),
        ("s3://raw/", "raw", ""),
        ("s3://raw/summit/night", "raw", "summit/night/"),
        ("s3://raw/summit/", "raw", "summit/"),
    ],
)
def test_bucket_and_prefix_come_from_the_url(url: str, bucket: str, prefix: str) -> None:
    settings = StoreSettings(url=url, **S3)
    assert (settings.scheme, settings.bucket, settings.prefix) == ("s3", bucket, prefix)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"url": "/data"}, "use file:///path or s3://bucket"),
        ({"url": "http://x/y"}, "use file:///path or s3://bucket"),
        ({"url": "file://data"}, "three slashes"),
        ({"url": "file://host/data"}, "three slashes"),
        ({"url": "file:///data?x=1"}, "no `\\?` and no `#`"),
        ({"url": "file:///data", **S3}, "only for s3:// stores"),
        ({"url": "s3://"}, "name the bucket"),
        ({"url": "s3://profile@raw", **S3}, "butler_profile"),
        ({"url": "s3://raw"}, "needs endpoint_url, access_key, secret_key"),
        ({"url": "s3://raw/../x", **S3}, "without empty, `.` or `..` parts"),
        ({"url": "s3://raw", **S3, "endpoint_url": "store:8333"}, "use https://host"),
        ({"url": "file:///data", "colour": "red"}, "Extra inputs"),
        ({"url": "s3://raw", **S3, "butler_profile": "a b"}, "pattern"),
        ({"url": "s3://raw", **S3, "part_bytes": 1000}, "greater than or equal"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        StoreSettings(**fields)


def test_every_field_has_a_sentence() -> None:
    source = Path(StoreSettings.__module__.replace(".", "/")).with_suffix(".py")
    text = (Path(__file__).parents[3] / source).read_text(encoding="utf-8")
    for name in StoreSettings.model_fields:
        declaration = text.index(f"\n    {name}: ")
        following = text[declaration:].split("\n    ", 2)[2]
        assert '"""' in text[declaration : declaration + 220], name
        assert following
