"""What the Butler raises, in the registrar's own terms.

Which exception a cause ends in was measured on SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError
from lsst.daf.butler import ButlerUserError
from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from daemons.registrar.errors import (
    ButlerUnavailableError,
    RegistrarError,
    RegistrationConflictError,
    RegistrationRaceError,
    RegistrationRefusedError,
)

_UNAVAILABLE = (OperationalError, InterfaceError, BotoCoreError, ConnectionError, TimeoutError)
"""A database or store that does not answer; a deadlock is an OperationalError too."""

_RACE = "A database constraint failure was triggered"
"""How the Butler words that another writer was faster: the next attempt finds the row."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the exceptions of Butler and database into the registrar's.

    Parameters
    ----------
    what
        What was being registered, for the message.
    """
    try:
        yield
    except RegistrarError:
        raise
    except _UNAVAILABLE as error:
        raise ButlerUnavailableError(f"{what}: {_first_line(error)}") from error
    except ConflictingDefinitionError as error:
        if _RACE in str(error):
            raise RegistrationRaceError(f"{what}: another writer was faster") from error
        raise RegistrationConflictError(f"{what}: {_first_line(error)}") from error
    except (
        FileNotFoundError,
        IntegrityError,
        DataError,
        ButlerUserError,
        LookupError,
        ValueError,
    ) as error:
        raise RegistrationRefusedError(
            f"{what}: {type(error).__name__}: {_first_line(error)}"
        ) from error
    except RuntimeError as error:
        raise RegistrationRefusedError(f"{what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
