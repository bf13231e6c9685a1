"""The one S3 client of a destination, deaf to the environment.

boto3 reads dozens of `AWS_*` variables, `~/.aws` and `HTTPS_PROXY`. Here only the
store's own settings count: what goes over the wire goes to the configured
endpoint, with the configured keys.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import boto3.session
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    ReadOnlyCredentials,
)
from botocore.handlers import add_expect_header

from daemons.runtime.errors import SettingsError
from daemons.storage.settings import StoreSettings
from daemons.storage.signing import CLOCK, SIGNER, SigningClock
from daemons.storage.sockets import SocketTuner, pool_classes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class FileCredentials(Credentials):
    """Keys that are read from where the settings say, and again when asked.

    Parameters
    ----------
    settings
        Names the files.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._reading = threading.Lock()
        self._current = self._read()
        super().__init__("", "", method="arriero-files")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return the present keys; every request is signed with what this returns."""
        return self._current

    def reread(self, refused: ReadOnlyCredentials) -> bool:
        """Read the files again after a refusal; return whether they hold other keys than those.

        Files that cannot be read just now (a rotation in progress) count as unchanged.
        """
        with self._reading:
            if self._current != refused:
                return True
            try:
                self._current = self._read()
            except SettingsError:
                return False
            return self._current != refused

    def _read(self) -> ReadOnlyCredentials:
        settings = self._settings
        if settings.access_key is None or settings.secret_key is None:
            raise SettingsError(f"{settings.url} needs access_key and secret_key")
        token = settings.session_token.read() if settings.session_token else None
        return ReadOnlyCredentials(settings.access_key.read(), settings.secret_key.read(), token)


class _Provider(CredentialProvider):
    METHOD = "arriero-files"

    def __init__(self, credentials: FileCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> FileCredentials:
        return self._credentials


def make_client(
    settings: StoreSettings,
    credentials: FileCredentials,
    tuner: SocketTuner,
    clock: SigningClock,
) -> S3Client:
    """Return a client for many threads; it is made once, because making is not thread-safe."""
    session = _deaf_session(credentials)
    verify: str | bool = str(settings.ca_bundle) if settings.ca_bundle is not None else True
    client: S3Client = boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        verify=verify,
        config=_config(settings),
    )
    # One round trip per upload less: the store is not asked first whether it wants the body.
    events: Any = client.meta.events
    events.unregister("before-call.s3", add_expect_header)
    events.register_first("choose-signer.s3", lambda **_: SIGNER)

    def keep_time(request: Any, **_: Any) -> None:
        request.context[CLOCK] = clock

    events.register("before-sign.s3", keep_time)
    pools = pool_classes(tuner)
    http: Any = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - botocore has no public way to socket options; the contract tests read them back
    http._pool_classes_by_scheme = pools  # noqa: SLF001 - as above
    http._manager.pool_classes_by_scheme = pools  # noqa: SLF001 - as above
    return client


def _deaf_session(credentials: FileCredentials) -> botocore.session.Session:
    """Return a session that reads no environment variable and no file of the user."""
    known: dict[str, Any] = dict(botocore.session.Session.SESSION_VARIABLES)
    unheard: dict[str, Any] = {
        name: (None, None, default, conversion)
        for name, (_, _, default, conversion) in known.items()
    }
    for name in ("config_file", "credentials_file"):
        unheard[name] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=unheard)
    resolver = CredentialResolver([_Provider(credentials)])
    session.register_component("credential_provider", resolver)
    return session


def _config(settings: StoreSettings) -> Config:
    proxies = {}
    if settings.proxy_url is not None:
        proxies = {"http": settings.proxy_url, "https": settings.proxy_url}
    config: Any = Config  # the stubs lack some of its options
    made: Config = config(
        signature_version="s3v4",
        s3={
            "addressing_style": settings.addressing,
            "payload_signing_enabled": settings.sign_payload,
            "use_accelerate_endpoint": False,
        },
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=settings.connections,
        tcp_keepalive=True,
        proxies=proxies,
        # Attempts are counted in one place, the retrying decorator around the store.
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation=settings.checksums,
        response_checksum_validation=settings.checksums,
        ignore_configured_endpoint_urls=True,
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
    )
    return made
