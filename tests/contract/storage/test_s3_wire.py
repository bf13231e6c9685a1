"""What S3Store really sends, looked at on the wire in front of a real store."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemons.storage.factory import keep_warm, network
from daemons.storage.interface import StoreError, StoreUnavailableError
from daemons.storage.s3 import S3Store
from daemons.storage.settings import MIB
from tests.contract.storage.conftest import Image, Opener, S3Backend
from tests.support.certificates import make_certificate
from tests.support.proxy import FaultyProxy
from tests.support.waiting import until

pytestmark = pytest.mark.server


def requests_of(proxy: FaultyProxy) -> list[tuple[str, dict[str, str]]]:
    """Return request line and headers (lower-case names) of all that was sent."""
    heads = re.findall(
        rb"((?:PUT|POST|GET|HEAD|DELETE) /[^\r]* HTTP/1.1\r\n.*?)\r\n\r\n",
        proxy.received,
        re.DOTALL,
    )
    parsed = []
    for head in heads:
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields if ": " in field)
        parsed.append((line, {name.lower(): value for name, value in headers.items()}))
    return parsed


@pytest.fixture
async def proxy(seaweed: S3Backend) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", seaweed.server.port, record=True) as proxy:
        yield proxy


@asynccontextmanager
async def decoy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Give the port of a listener that nobody should talk to, and what it heard."""
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def test_only_the_endpoint_is_contacted_whatever_the_environment_says(
    seaweed: S3Backend,
    proxy: FaultyProxy,
    opened: Opener,
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config = tmp_path / "aws-config"
    async with decoy() as (port, heard):
        elsewhere = f"http://127.0.0.1:{port}"
        config.write_text(
            f"[default]\nendpoint_url = {elsewhere}\nregion = eu-west-1\n"
            "s3 =\n  addressing_style = virtual\n  use_accelerate_endpoint = true\n"
        )
        for name, value in {
            "AWS_ENDPOINT_URL": elsewhere,
            "AWS_ENDPOINT_URL_S3": elsewhere,
            "AWS_ACCESS_KEY_ID": "someone-else",
            "AWS_SECRET_ACCESS_KEY": "other",
            "AWS_SESSION_TOKEN": "token",
            "AWS_PROFILE": "absent",
            "AWS_DEFAULT_REGION": "ap-south-2",
            "AWS_REGION": "ap-south-2",
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(config),
            "AWS_CA_BUNDLE": "/absent.pem",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_USE_DUALSTACK_ENDPOINT": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
            "AWS_DEFAULTS_MODE": "auto",
            "AWS_MAX_ATTEMPTS": "9",
            "AWS_RETRY_MODE": "adaptive",
            "HTTP_PROXY": elsewhere,
            "http_proxy": elsewhere,
            "HTTPS_PROXY": elsewhere,
            "ALL_PROXY": elsewhere,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        settings = seaweed.settings(
            endpoint_url=proxy.url, single_put_limit_bytes=5 * MIB, part_bytes=5 * MIB
        )
        store = opened(settings)
        large = tmp_path / "large.fits"
        large.write_bytes(bytes(6 * MIB))
        await store.put("small", image.path, if_absent=True)
        await store.put("large", large)
        assert await store.get("small") == image.content
        assert heard == []
    requests = requests_of(proxy)
    assert len(requests) >= 6
    for line, headers in requests:
        assert f" /{seaweed.bucket}/" in line
        assert headers["host"] == proxy.address
        assert "Credential=arriero/" in headers["authorization"]
        assert "/us-east-1/s3/" in headers["authorization"]
        assert "x-amz-security-token" not in headers
        assert not [name for name in headers if name.startswith("x-amz-checksum")]


async def test_a_redirection_is_not_followed(seaweed: S3Backend, opened: Opener) -> None:
    async with decoy() as (port, heard):
        answer = (
            "HTTP/1.1 {} Moved\r\nLocation: http://127.0.0.1:{}/\r\n"
            "x-amz-bucket-region: eu-west-1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        for status in (301, 307):

            async def move(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int = status
            ) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer.format(status, port).encode())
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(move, "127.0.0.1", 0)
            async with server:
                endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                store = opened(seaweed.settings(endpoint_url=endpoint))
                with pytest.raises(StoreError):
                    await store.get("image")
                with pytest.raises(StoreError):
                    await store.put("image", b"x")
        assert heard == []


async def test_a_put_does_not_wait_to_be_asked_for_the_body(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url))
    await store.put("file", image.path)
    await store.put("bytes", b"x")
    assert [line.split()[0] for line, _ in requests_of(proxy)] == ["PUT", "PUT"]
    assert not [headers for _, headers in requests_of(proxy) if "expect" in headers]


@pytest.mark.parametrize(("mode", "expected"), [("when_required", False), ("when_supported", True)])
async def test_checksum_headers_are_sent_as_configured(
    seaweed: S3Backend,
    proxy: FaultyProxy,
    opened: Opener,
    image: Image,
    mode: str,
    expected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, checksums=mode))
    await store.put("file", image.path)
    assert await store.get("file") == image.content
    (_, headers), *_ = requests_of(proxy)
    assert ("x-amz-checksum-crc32" in headers) is expected
    assert headers["content-length"] == str(len(image.content))


@pytest.mark.parametrize("sign", [True, False])
async def test_payloads_are_signed_as_configured(
    seaweed: S3Backend,
    proxy: FaultyProxy,
    opened: Opener,
    image: Image,
    sign: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, sign_payload=sign))
    await store.put("file", image.path)
    await store.put("file", image.path, metadata={"sha256": image.sha256})
    unsigned = {"UNSIGNED-PAYLOAD"}
    sent = {headers["x-amz-content-sha256"] for _, headers in requests_of(proxy)}
    assert sent == ({image.sha256} if sign else unsigned)


async def test_one_connection_serves_many_puts(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url))
    for number in range(5):
        await store.put(f"image-{number}", image.path)
    assert len(proxy.connections) == 1


async def test_warming_opens_every_connection_and_later_puts_use_them(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener, image: Image
) -> None:
    proxy.faults.latency_s = 0.05
    store = opened(seaweed.settings(endpoint_url=proxy.url, connections=6, warm_bytes=100_000))
    assert isinstance(store, S3Store)
    await store.warm()
    assert len(proxy.connections) == 6
    await asyncio.gather(*(store.put(f"image-{number}", image.path) for number in range(6)))
    assert len(proxy.connections) == 6
    assert [info.key async for info in store.list()] == [f"image-{number}" for number in range(6)]


async def test_windows_are_opened_by_uploads_that_are_deleted_again(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener
) -> None:
    settings = seaweed.settings(
        endpoint_url=proxy.url,
        sender="direct",
        connections=3,
        warm_bytes=100_000,
        warm_window_bytes=1 << 30,  # never wide enough
        long_path_ms=0,
        congestion_control=None,
    )
    store = opened(settings)
    assert isinstance(store, S3Store)
    await store.warm()
    asked = [line.split()[0] for line, _ in requests_of(proxy)]
    assert {name: asked.count(name) for name in set(asked)} == {"HEAD": 3, "PUT": 12, "DELETE": 3}
    assert len(proxy.connections) == 3
    objects = seaweed.server.client.list_objects_v2(Bucket=seaweed.bucket)
    assert "Contents" not in objects
    await store.warm()  # all are open: nothing is opened
    assert len(proxy.connections) == 3


async def test_on_a_short_path_connections_are_opened_and_nothing_is_uploaded(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener
) -> None:
    store = opened(seaweed.settings(endpoint_url=proxy.url, sender="direct", connections=3))
    assert isinstance(store, S3Store)
    await store.warm()
    assert [line.split()[0] for line, _ in requests_of(proxy)] == ["HEAD"] * 3


async def test_what_the_kernel_granted_can_be_read(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    settings = seaweed.settings(sender="direct", pacing_bytes_per_s=50_000_000, keepalive_s=7)
    store = opened(settings)
    await store.put("image", image.path)
    report = network(store)
    assert report is not None
    (transport,) = report.transports
    assert (transport.pacing_bytes_per_s, transport.keepalive_s) == (50_000_000, 7)
    assert transport.window_bytes > 0
    assert (report.sender, report.uploads_at_once) == ("direct", 24)


async def test_idle_connections_are_kept_warm_until_cancelled(
    seaweed: S3Backend, proxy: FaultyProxy, opened: Opener
) -> None:
    settings = seaweed.settings(
        endpoint_url=proxy.url, connections=2, warm_bytes=1000, warm_every_s=0.05
    )
    store = opened(settings, registry=CollectorRegistry())
    task = asyncio.create_task(keep_warm(store))
    await until(lambda: len(requests_of(proxy)) >= 6)
    await proxy.refuse()
    proxy.reset()
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _other_congestion_control() -> str:
    folder = Path("/proc/sys/net/ipv4")
    known = (folder / "tcp_available_congestion_control").read_text().split()
    default = (folder / "tcp_congestion_control").read_text().strip()
    return next((name for name in known if name != default), default)


async def test_socket_options_hold_on_the_live_connection(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    wanted = _other_congestion_control()
    store = opened(seaweed.settings(congestion_control=wanted, send_buffer_bytes=65536))
    assert isinstance(store, S3Store)
    await store.put("image", image.path)
    (transport,) = store.transports
    assert transport.congestion_control == wanted
    assert transport.send_buffer_bytes == 2 * 65536
    assert transport.congestion_window_segments > 0
    assert 0 < transport.rtt_ms < 1000
    assert store.socket_refusals == ()


async def test_socket_options_that_the_kernel_refuses_are_told_and_not_used(
    seaweed: S3Backend, opened: Opener, image: Image
) -> None:
    plain = opened(seaweed.settings())
    await plain.put("image", image.path)
    settings: dict[str, Any] = {"congestion_control": "nosuch", "send_buffer_bytes": 1 << 30}
    store = opened(seaweed.settings(**settings))
    assert isinstance(plain, S3Store)
    assert isinstance(store, S3Store)
    await store.put("image", image.path)
    assert plain.transports[0].congestion_control == store.transports[0].congestion_control
    first, *more = store.socket_refusals
    assert "modprobe tcp_nosuch" in first
    if may_force_buffers():
        # CAP_NET_ADMIN goes beyond the machine's limit, so that nothing is refused.
        assert more == []
        assert store.transports[0].send_buffer_bytes > plain.transports[0].send_buffer_bytes
    else:
        assert "net.core.wmem_max to 1073741824" in more[0]


def may_force_buffers() -> bool:
    """Return whether this process may set a buffer of any size."""
    with socket.socket() as trial:
        try:
            trial.setsockopt(socket.SOL_SOCKET, 32, 1 << 30)  # SO_SNDBUFFORCE
        except PermissionError:
            return False
    return True


async def test_over_tls_the_authority_must_be_known(
    seaweed: S3Backend, opened: Opener, image: Image, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    port = seaweed.server.port
    async with FaultyProxy("127.0.0.1", port, record=True, tls=certificate.context) as proxy:
        trusting = opened(seaweed.settings(endpoint_url=proxy.url, ca_bundle=certificate.ca_bundle))
        await trusting.put("image", image.path, metadata={"sha256": image.sha256})
        await trusting.put("sidecar", b"{}", if_absent=True)
        assert await trusting.get("image") == image.content
        assert [info.key async for info in trusting.list()] == ["image", "sidecar"]
        headers = requests_of(proxy)[0][1]
        assert headers["x-amz-content-sha256"] == image.sha256
        assert "transfer-encoding" not in headers
        assert "expect" not in headers
        wary = opened(seaweed.settings(endpoint_url=proxy.url))
        with pytest.raises(StoreUnavailableError, match="ca_bundle"):
            await wary.put("image", image.path)


async def test_over_tls_boto3_sends_checksums_as_trailers_and_we_as_headers(
    seaweed: S3Backend, opened: Opener, image: Image, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    port = seaweed.server.port
    async with FaultyProxy("127.0.0.1", port, record=True, tls=certificate.context) as proxy:
        store = opened(
            seaweed.settings(
                endpoint_url=proxy.url,
                ca_bundle=certificate.ca_bundle,
                checksums="when_supported",
            )
        )
        info = await store.put("image", image.path, metadata={"sha256": image.sha256})
        assert info.size_bytes == len(image.content)
        headers = requests_of(proxy)[0][1]
        if seaweed.sender == "direct":
            assert "x-amz-checksum-crc32" in headers
            assert "transfer-encoding" not in headers
        else:
            assert headers["x-amz-trailer"] == "x-amz-checksum-crc32"
        assert await store.get("image") == image.content
