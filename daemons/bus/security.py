"""How a broker knows us, and how we know the broker."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from daemons.runtime.errors import SettingsError
from daemons.runtime.secrets import SecretRef


class BusSecurity(BaseModel):
    """Encryption and credentials of one broker; nothing by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka's `security.protocol`. MQTT leaves it alone: `mqtts://` asks for TLS."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """Kafka's SASL mechanism, used when `protocol` begins with `SASL_`."""
    username: str | None = None
    """Who we are to the broker."""
    password: SecretRef | None = None
    """Where the password is; it is read at each connection, so it may be rotated."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the broker's certificate; the system's by default."""
    certificate_file: Path | None = None
    """PEM file of our own certificate, where the broker asks for one."""
    key_file: Path | None = None
    """PEM file of the private key of `certificate_file`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("give both `username` and `password`, or neither")
        if self.uses_sasl and self.username is None:
            raise ValueError(f"`protocol: {self.protocol}` needs `username` and `password`")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("give both `certificate_file` and `key_file`, or neither")
        return self

    @property
    def uses_sasl(self) -> bool:
        """True when Kafka asks for user name and password."""
        return self.protocol.startswith("SASL_")

    def read_password(self) -> str | None:
        """Return the password as it is now.

        Raises
        ------
        SettingsError
            It cannot be read.
        """
        return None if self.password is None else self.password.read()

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that checks the broker's name and certificate.

        Raises
        ------
        SettingsError
            A certificate or key file that cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:  # ssl.SSLError among them
            files = [self.ca_file, self.certificate_file, self.key_file]
            named = ", ".join(str(file) for file in files if file is not None)
            raise SettingsError(f"cannot use the TLS files {named}: {error}") from error
        return context
