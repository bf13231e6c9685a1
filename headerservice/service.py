"""The header service: telemetry and events in, headers out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from daemons.bus import ControlBus, EventStream, Topic
from daemons.bus.sal.dictionary import SalDictionary, load_dictionary
from daemons.runtime.clock import Clock
from daemons.runtime.errors import ArrieroError
from daemons.runtime.executors import BlockingExecutor
from daemons.runtime.health import HealthBoard
from daemons.runtime.settings import diff
from daemons.runtime.version import software_version
from daemons.storage import ObjectStore
from headerservice.assemble import Site
from headerservice.board import Board
from headerservice.errors import HeaderServiceError
from headerservice.intake import Intake
from headerservice.journal_records import StoredHeader
from headerservice.journal_thread import DEPENDENCY, JournalThread
from headerservice.loading import definitions_path, load_definitions
from headerservice.making import prepare
from headerservice.metrics import Metrics
from headerservice.publish import EVENT_NAME, Address, Publisher
from headerservice.rebuild import Rebuilt
from headerservice.registry_check import RegisteredSchemas, registry_check
from headerservice.reload import DefinitionsKeeper, Reading
from headerservice.republish import republish
from headerservice.resolve import Resolver
from headerservice.rules import Definitions
from headerservice.series import SampleStore
from headerservice.settings import HeaderServiceSettings
from headerservice.steady import SteadyClock
from headerservice.supervisor import Supervisor
from headerservice.upkeep import TopicAge, Upkeep
from headerservice.web import HeaderServer
from headerservice.worker import Desk

_LEAD_S = 30.0
"""Telemetry is read again from so long before it is needed, so that there is a sample before it."""
_HOUSEKEEPING_S = 10.0
_CHECK_EVERY = 6
"""Rounds of housekeeping between two looks at the store."""
_PRUNE_EVERY = 360
"""Rounds of housekeeping between two at which the journal forgets."""
_DAY_S = 86400.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What lives from `open` to `close`."""

    desk: Desk
    samples: SampleStore
    supervisor: Supervisor
    server: HeaderServer
    reading: Reading
    keeper: DefinitionsKeeper
    upkeep: Upkeep


class HeaderService:
    """Makes the header of every exposure.

    Parameters
    ----------
    settings
        The header service's section.
    host
        Name of this host, for the source of its events.
    bus
        The control bus.
    stream
        The event stream.
    store
        Where headers are stored.
    health
        Where journal and store are reported; the buses report themselves.
    registry
        Where the metrics are kept.
    clock
        The time.
    dictionary
        What the topics of the control bus carry; None: as shipped.
    schemas
        Where its schemas are registered; the keyword definitions are compared with them.
    """

    name = "headerservice"

    def __init__(  # noqa: PLR0913 - collaborators, by name
        self,
        settings: HeaderServiceSettings,
        *,
        host: str,
        bus: ControlBus,
        stream: EventStream,
        store: ObjectStore,
        health: HealthBoard,
        registry: CollectorRegistry,
        clock: Clock,
        dictionary: SalDictionary | None = None,
        schemas: RegisteredSchemas | None = None,
    ) -> None:
        self._settings = settings
        self._host = host
        self._bus = bus
        self._stream = stream
        self._store = store
        self._health = health
        self._clock = clock
        self._dictionary = dictionary or load_dictionary()
        self._schemas = schemas
        self._metrics = Metrics(registry)
        self._session: _Session | None = None
        self._pending: set[str] = set()
        self._working = asyncio.Event()
        for dependency in (DEPENDENCY, f"store.{store.name}"):
            health.expect(dependency)

    # Life cycle, as daemons.runtime.service says.

    async def open(self) -> None:
        """Read the keyword definitions, lock and open the journal."""
        settings = self._settings
        path = settings.keywords or definitions_path(settings.instrument, settings.index)
        renderer = BlockingExecutor("headerservice-render", workers=2)
        definitions = await renderer.run(load_definitions, path, self._dictionary)
        await renderer.run(prepare, definitions)
        journal = JournalThread(settings.state_directory, self._health)
        try:
            await journal.open()
            self._session = self._assemble(definitions, path, journal, renderer)
        except BaseException:
            await journal.close()
            renderer.close()
            raise

    def _assemble(
        self,
        definitions: Definitions,
        path: Path,
        journal: JournalThread,
        renderer: BlockingExecutor,
    ) -> _Session:
        """Build what lives until `close`."""
        settings = self._settings
        samples = SampleStore(definitions, capacity=settings.samples_max)
        board = Board()
        server = HeaderServer(
            settings.http, board=board, journal=journal, renderer=renderer, phase_of=self._phase_of
        )
        desk = Desk(
            definitions=definitions,
            resolver=Resolver(definitions, samples),
            journal=journal,
            renderer=renderer,
            board=board,
            publisher=self._publisher(self._address(server, definitions), journal),
            metrics=self._metrics,
            clock=self._clock,
            steady=SteadyClock(self._clock),
            site=Site(software_version(), settings.test_stand, wcs=settings.wcs),
            progress=asyncio.Event(),
        )
        supervisor = Supervisor(desk, settings)
        self._watch(samples, definitions, supervisor)
        return _Session(
            desk=desk,
            samples=samples,
            supervisor=supervisor,
            server=server,
            reading=Reading(lambda desk: self._intake(desk, samples, supervisor), desk),
            keeper=DefinitionsKeeper(
                definitions,
                path,
                load=lambda file: load_definitions(file, self._dictionary),
                executor=renderer,
                take_over=self._take_over,
                compare=registry_check(
                    self._schemas, self._dictionary, executor=renderer, metrics=self._metrics
                ),
            ),
            upkeep=Upkeep(
                samples,
                lambda: self._opened().desk.definitions,
                clock=self._clock,
                health=self._health,
                metrics=self._metrics,
            ),
        )

    def _intake(self, desk: Desk, samples: SampleStore, supervisor: Supervisor) -> Intake:
        return Intake(
            self._bus,
            durable=f"headerservice-{self._settings.component}-{self._settings.index}",
            desk=desk,
            samples=samples,
            supervisor=supervisor,
        )

    def _take_over(self, definitions: Definitions) -> None:
        """Use other definitions for exposures that begin from now on."""
        session = self._opened()
        in_use = {
            worker.definitions.digest: worker.definitions for worker in session.supervisor.open
        }
        session.samples.keep(definitions, *in_use.values())
        desk = replace(
            session.desk,
            definitions=definitions,
            resolver=Resolver(definitions, session.samples),
        )
        session.supervisor.use(desk)
        session.reading.change(desk)
        self._watch(session.samples, definitions, session.supervisor)
        self._session = replace(session, desk=desk)

    def _publisher(self, address: Address, journal: JournalThread) -> Publisher:
        return Publisher(
            address,
            store=self._store,
            bus=self._bus,
            stream=self._stream,
            journal=journal,
            health=self._health,
            metrics=self._metrics,
            attempt_timeout_s=self._settings.attempt_timeout_s,
            retry_cap_s=self._settings.retry_cap_s,
        )

    def _watch(
        self, samples: SampleStore, definitions: Definitions, supervisor: Supervisor
    ) -> None:
        """Show what is there at each scrape."""
        self._metrics.open_exposures.set_function(lambda: supervisor.unfinished)
        for topic in definitions.datings:
            age = TopicAge(samples, topic, self._clock)
            self._metrics.age.labels(str(topic)).set_function(age)

    def _address(self, server: HeaderServer, definitions: Definitions) -> Address:
        settings = self._settings
        return Address(
            instrument=definitions.instrument,
            topic=Topic(settings.component, EVENT_NAME, settings.index),
            source=f"/arriero/headerservice/{self._host}",
            object_url=settings.object_url,
            header_url=server.url,
        )

    async def close(self) -> None:
        """Close the journal."""
        session, self._session = self._session, None
        if session is not None:
            await session.desk.journal.close()
            session.desk.renderer.close()

    async def work(self) -> None:
        """Make headers until cancelled."""
        session = self._opened()
        session.reading.intake.draining = False
        since = await self._recall(session)
        self._pending = {"exposures", "events", "telemetry"}
        try:
            async with session.server.running(), asyncio.TaskGroup() as group:
                group.create_task(session.desk.publisher.run(), name="headerservice-publish")
                exposures_ready = asyncio.Event()
                group.create_task(
                    session.supervisor.run(exposures_ready.set), name="headerservice-exposures"
                )
                await exposures_ready.wait()
                self._ready("exposures")
                group.create_task(
                    session.reading.run(since, again_from=self._again_from, ready=self._ready),
                    name="headerservice-reading",
                )
                group.create_task(session.keeper.run(), name="headerservice-definitions")
                group.create_task(self._keep_house(session), name="headerservice-housekeeping")
        finally:
            self._working.clear()

    def _ready(self, part: str) -> None:
        self._pending.discard(part)
        if not self._pending:
            self._working.set()

    async def ready(self) -> None:
        """Return once `work` reads both kinds of messages and serves headers."""
        await self._working.wait()

    def _again_from(self) -> float:
        """Return from when telemetry is needed where it is read again, TAI seconds."""
        earliest = self._opened().supervisor.earliest()
        now = float(self._clock.tai())
        return (now if earliest is None else min(now, earliest)) - _LEAD_S

    async def _recall(self, session: _Session) -> float:
        """Put the events that the journal has into memory; return from when telemetry is needed."""
        now = float(self._clock.tai())
        newest = await session.desk.journal.run(lambda journal: journal.last_heard())
        earliest = now - self._settings.catch_up_max_s
        needed = now - _LEAD_S
        if newest is not None:
            needed = min(needed, newest - _LEAD_S)
        for obs_id in await session.desk.journal.run(lambda journal: journal.unfinished()):
            known = await session.desk.journal.run(
                lambda journal, name=obs_id: journal.exposure(name)  # type: ignore[misc]
            )
            if known is not None:
                sent = [float(message.sent) for message in known[0].messages.values()]
                needed = min([needed, *(each - _LEAD_S for each in sent)])
        since = max(needed, earliest)
        for message in await session.desk.journal.run(
            lambda journal: journal.state_messages(min(since, needed))
        ):
            session.samples.insert(message)
        return since

    async def _keep_house(self, session: _Session) -> None:
        """Forget what is not needed any more."""
        rounds = 0
        while True:
            if rounds % _CHECK_EVERY == 0:
                await self._check_store()
            session.upkeep.look()
            await asyncio.sleep(_HOUSEKEEPING_S)
            rounds += 1
            earliest = session.supervisor.earliest()
            session.samples.prune(
                horizon_s=self._settings.horizon_s,
                needed_from=None if earliest is None else earliest - _LEAD_S,
            )
            if rounds % _PRUNE_EVERY == 0:
                await self._prune_journal(session)

    async def _check_store(self) -> None:
        """Report whether the store is there, also while no header is made."""
        name = f"store.{self._store.name}"
        try:
            async with asyncio.timeout(self._settings.attempt_timeout_s):
                await self._store.check()
        except (ArrieroError, OSError, TimeoutError) as error:
            self._health.report(name, ok=False, reason=str(error) or type(error).__name__)
        else:
            self._health.report(name, ok=True, reason="reached")

    async def _prune_journal(self, session: _Session) -> None:
        keep_s = self._settings.journal_keep_days * _DAY_S
        heard, made = float(self._clock.tai()) - keep_s, float(self._clock.utc()) - keep_s
        gone = await session.desk.journal.run(
            lambda journal: journal.prune(heard_before=heard, made_before=made)
        )
        if gone:
            _log.info("journal_pruned", headers=gone)

    async def publish_again(self, rebuilt: Rebuilt) -> StoredHeader:
        """Publish a header that was made again; the service is open and does not work.

        Raises
        ------
        StalePublicationError
            It was not published.
        """
        desk = self._opened().desk
        return await republish(
            rebuilt, journal=desk.journal, publisher=desk.publisher, clock=self._clock
        )

    async def drain(self) -> None:
        """Take no new events, and finish the headers that are due; open exposures wait."""
        session = self._opened()
        session.reading.intake.draining = True
        await session.supervisor.finished()
        await session.desk.publisher.quiet()

    def reload(self, settings: Any) -> tuple[str, ...]:
        """Take over the waiting times, and keyword definitions that have changed."""
        new: HeaderServiceSettings = settings
        changes = diff(self._settings, new)
        session = self._session
        live = {key.split(".")[0] for key in changes.reloadable}
        self._settings = self._settings.model_copy(
            update={name: getattr(new, name) for name in live}
        )
        if session is not None:
            session.keeper.request()
            session.supervisor.settings = self._settings
            session.desk.publisher.attempt_timeout_s = self._settings.attempt_timeout_s
            session.desk.publisher.retry_cap_s = self._settings.retry_cap_s
        return changes.restart

    def status(self) -> Mapping[str, Any]:
        """Return what is going on and what waits."""
        session = self._session
        if session is None:
            return {"instrument": self._settings.instrument, "open": False}
        newest = {
            str(topic): session.samples.newest_time(topic)
            for topic in session.desk.definitions.datings
        }
        now = float(self._clock.tai())
        return {
            "instrument": session.desk.definitions.instrument,
            "open": True,
            "definitions": session.keeper.status(),
            "url": session.server.base_url,
            "exposures": [
                {
                    "obs_id": worker.obs_id,
                    "phase": worker.exposure.phase.value,
                    "revision": worker.exposure.revision,
                    "status": worker.exposure.status,
                }
                for worker in session.supervisor.open
            ],
            "waiting_headers": session.desk.publisher.waiting,
            "last_error": session.desk.publisher.last_error,
            "requests_waiting": session.desk.board.waiting,
            "silent_topics": list(session.upkeep.silent),
            "samples": len(session.samples),
            "samples_dropped": session.samples.dropped,
            "topic_age_s": {
                topic: None if time is None else round(now - time, 1)
                for topic, time in newest.items()
            },
        }

    @property
    def base_url(self) -> str | None:
        """Where headers can be fetched; None while the service does not work."""
        return None if self._session is None else self._session.server.base_url

    def _phase_of(self, obs_id: str) -> str | None:
        return None if self._session is None else self._session.supervisor.phase_of(obs_id)

    def _opened(self) -> _Session:
        if self._session is None:
            raise HeaderServiceError("the header service is not open")
        return self._session
