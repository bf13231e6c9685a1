"""The exception tree of the registrar.

::

    RegistrarError                    (ArrieroError)
    ├── ButlerUnavailableError        database or repository out of reach; retryable
    ├── RegistrationRaceError         another writer was faster; retryable
    ├── RegistrationConflictError     the repository holds something else under this identity
    ├── RegistrationRefusedError      the Butler will never take this record or file
    ├── NoSuchExposureError           a guider whose exposure is not registered yet
    └── RepositoryError               the repository cannot be used: universe, missing extra
"""

from __future__ import annotations

from daemons.runtime.errors import ArrieroError


class RegistrarError(ArrieroError):
    """Root of what the registrar raises."""

    code = "registrar.error"


class ButlerUnavailableError(RegistrarError):
    """The database or the repository is out of reach; it may come back."""

    code = "butler.unavailable"
    retryable = True
    exit_code = 69


class RegistrationRaceError(RegistrarError):
    """Another writer registered the same rows at the same moment; the next attempt finds them."""

    code = "butler.race"
    retryable = True


class RegistrationConflictError(RegistrarError):
    """The repository holds another file, or another exposure, under this identity."""

    code = "butler.conflict"


class RegistrationRefusedError(RegistrarError):
    """The Butler will never take this record or file as it is."""

    code = "butler.refused"


class NoSuchExposureError(RegistrarError):
    """The exposure of a guider file has not been registered yet."""

    code = "butler.no_such_exposure"
    retryable = True


class RepositoryError(RegistrarError):
    """The repository cannot be used by this software."""

    code = "butler.repository"
    exit_code = 78
