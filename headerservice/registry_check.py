"""Compares keyword definitions with the schemas that a live registry has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from daemons.bus import BusError
from daemons.bus.sal.dictionary import SalDictionary
from daemons.bus.sal.registry import SchemaRegistry
from daemons.runtime.errors import SettingsError
from daemons.runtime.executors import BlockingExecutor
from headerservice.catalogue import RegistryCatalogue, ask_registry
from headerservice.loading import load_definitions
from headerservice.metrics import Metrics
from headerservice.rules import Definitions
from translators.findings import Finding, Severity

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RegisteredSchemas:
    """Where the schemas of the control bus are registered."""

    registry: SchemaRegistry
    """It is only read."""
    subname: str
    """Second part of the topics' names on Kafka."""


class RegistryCheck:
    """Looks whether every field exists in the registry's schemas, with the declared unit.

    Parameters
    ----------
    schemas
        Where the schemas are.
    dictionary
        For topics that nobody has registered yet.
    executor
        Where files are read.
    metrics
        Where findings are counted.
    """

    def __init__(
        self,
        schemas: RegisteredSchemas,
        *,
        dictionary: SalDictionary,
        executor: BlockingExecutor,
        metrics: Metrics,
    ) -> None:
        self._schemas = schemas
        self._dictionary = dictionary
        self._executor = executor
        self._metrics = metrics

    async def __call__(self, path: Path, definitions: Definitions) -> tuple[str, ...]:
        """Return what is wrong, with file and line; nothing where the registry does not answer."""
        try:
            found = await ask_registry(
                self._schemas.registry, definitions.needed, subname=self._schemas.subname
            )
            catalogue = RegistryCatalogue(self._dictionary, found)
            await self._executor.run(load_definitions, path, catalogue)
        except SettingsError as error:
            problems = error.problems
            self._metrics.count_findings(
                Finding("schema.disagrees", Severity.ERROR, f"by the schema registry: {problem}")
                for problem in problems
            )
            return problems
        except BusError as error:
            _log.warning("schemas_not_compared", reason=str(error))
            return ()
        _log.info("schemas_compared", topics=len(found))
        return ()


def registry_check(
    schemas: RegisteredSchemas | None,
    dictionary: SalDictionary,
    *,
    executor: BlockingExecutor,
    metrics: Metrics,
) -> RegistryCheck | None:
    """Return what compares definitions with a registry; None where there is no registry."""
    if schemas is None:
        return None
    return RegistryCheck(schemas, dictionary=dictionary, executor=executor, metrics=metrics)
