"""Open a Butler repository, or make it on first use."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from lsst.daf.butler import Butler, Config
from lsst.daf.butler.registry.interfaces import SchemaAlreadyDefinedError
from lsst.resources import ResourcePath
from sqlalchemy import make_url

from daemons.registrar.classify import translated
from daemons.registrar.errors import RepositoryError
from daemons.registrar.repository import Repository
from daemons.registrar.settings import RegistrarSettings

_UNIVERSES = frozenset({6, 7, 8})
"""Versions of the dimension universe that the records are known to fit."""

_log = structlog.get_logger(__name__)


def open_repository(settings: RegistrarSettings) -> Repository:
    """Return the repository of the settings, created where there is none.

    Raises
    ------
    RepositoryError
        It cannot be used, and a person must act.
    ButlerUnavailableError
        Its database or folder is out of reach.
    """
    root = ResourcePath(settings.repository, forceDirectory=True)
    with translated(f"repository {settings.repository}"):
        if settings.create and not root.join("butler.yaml").exists():
            _create(root, settings)
    butler = open_butler(settings, writeable=True)
    return Repository(butler, add_filters=settings.unknown_filters == "add")


def open_butler(settings: RegistrarSettings, *, writeable: bool) -> Butler:
    """Return the Butler of a repository that exists.

    Raises
    ------
    RepositoryError
        There is no repository, or it cannot be used.
    ButlerUnavailableError
        Its database or folder is out of reach.
    """
    root = ResourcePath(settings.repository, forceDirectory=True)
    with translated(f"repository {settings.repository}"):
        if not root.join("butler.yaml").exists():
            raise RepositoryError(
                f"there is no Butler repository in {settings.repository}; make one with "
                "`butler create`, or set registrar.create to true"
            )
        butler = Butler.from_config(_with_password(root, settings), writeable=writeable)
    if butler.dimensions.version not in _UNIVERSES:
        raise RepositoryError(
            f"{settings.repository} has dimension universe {butler.dimensions.version}; known "
            f"are {', '.join(map(str, sorted(_UNIVERSES)))}: upgrade arriero"
        )
    return butler


def _create(root: ResourcePath, settings: RegistrarSettings) -> None:
    """Make a repository so that its `butler.yaml` appears last: before that there is none.

    The configuration that the registry is made with holds the database's password, so it
    is written into a private folder and never into the repository. Tables that are there
    already are left by an attempt that ended between the two steps.
    """
    config = Config()
    if settings.database is not None:
        config["registry", "db"] = settings.database
        if settings.namespace is not None:
            config["registry", "namespace"] = settings.namespace
    if root.isLocal:
        Path(root.ospath).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="arriero-butler-") as private:
        written = ResourcePath(private, forceDirectory=True).join("butler.yaml")
        with contextlib.suppress(SchemaAlreadyDefinedError):
            Butler.makeRepo(
                root,
                config=_password_into(config, settings),
                forceConfigRoot=False,
                outfile=written,
            )
        made = Config(written)
    del made["root"]
    if settings.database is not None:
        made["registry", "db"] = settings.database
    root.join("butler.yaml").write(str(made.dump()).encode())
    _log.info("butler_repository_created", repository=settings.repository)


def _with_password(root: ResourcePath, settings: RegistrarSettings) -> Any:
    """Return what `Butler.from_config` opens: the root, or its configuration with the password."""
    if settings.database_password is None:
        return root
    config = Config(root.join("butler.yaml"))
    config["root"] = root.geturl()
    return _password_into(config, settings)


def _password_into(config: Config, settings: RegistrarSettings) -> Config:
    if settings.database_password is not None and ("registry", "db") in config:
        url = make_url(config["registry", "db"])
        with_password = url.set(password=settings.database_password.read())
        config["registry", "db"] = with_password.render_as_string(hide_password=False)
    return config
