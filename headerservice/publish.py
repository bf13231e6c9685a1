"""Stores and announces headers: as soon as they are made, and again until it is done.

What waits is in the journal; the headers of one exposure go one after the other,
those of different exposures at the same time. A header is stored first, then
announced on both buses, then its provenance is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog

from daemons.bus import ControlBus, EventStream, Topic
from daemons.events import HeaderAvailable, HeaderFinding, new_event
from daemons.runtime.errors import ArrieroError
from daemons.runtime.health import HealthBoard
from daemons.runtime.retry import Backoff
from daemons.storage import IntegrityError, ObjectExistsError, ObjectStore
from headerservice.errors import PublicationConflictError
from headerservice.exposure import Status
from headerservice.journal_records import StoredHeader, Todo
from headerservice.journal_thread import JournalThread
from headerservice.metrics import Metrics
from headerservice.render import YAML_TYPE

EVENT_NAME = "logevent_largeFileObjectAvailable"
"""The event of the control bus that announces an object."""
JSON_TYPE = "application/json"

_MD5 = re.compile(r"[0-9a-f]{32}")
_STORING = Todo.STORE | Todo.PROVENANCE
_FINDINGS_MAX = 50
"""Findings that an announcement names; all of them are in the provenance."""
_PARALLEL = 8
"""Headers that are stored or announced at the same time."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Under which names headers are published."""

    instrument: str
    topic: Topic
    """Of the announcement on the control bus."""
    source: str
    """URI reference of this service in events."""
    object_url: str | None
    """Template of URLs on the control bus; None: as the store names objects."""
    header_url: Callable[[str], str | None]
    """URL over HTTP of the header of an exposure; None while the server does not run."""

    @property
    def component(self) -> str:
        """Name in object keys: with the index where there is one."""
        topic = self.topic
        return f"{topic.component}:{topic.index}" if topic.index else topic.component

    def key(self, header: StoredHeader, kind: str, suffix: str) -> str:
        """Return an object key: `Component/kind/YYYY/MM/DD/Component_kind_obs_id`."""
        day = f"{header.day_obs:08d}"
        revision = f"_r{header.revision}" if header.revision > 1 else ""
        return (
            f"{self.component}/{kind}/{day[:4]}/{day[4:6]}/{day[6:]}/"
            f"{self.component}_{kind}_{header.obs_id}{revision}{suffix}"
        )


@dataclass(slots=True)
class _Job:
    """A header on its way."""

    number: int
    header: StoredHeader | None
    """None: it is read from the journal, so that a long outage fills no memory."""
    since: float | None
    """When its last event came, seconds on the monotonic clock."""


@dataclass(slots=True)
class _Queue:
    """The headers of one exposure, oldest first."""

    jobs: deque[_Job]
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float) -> None:
        """Wait before the next attempt, but not when another header comes."""
        self.arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.arrived.wait()


class Publisher:
    """Publishes headers until it is cancelled.

    Parameters
    ----------
    address
        The names.
    store
        Where headers are stored.
    bus
        The control bus.
    stream
        The event stream.
    journal
        What remains to be done.
    health
        Where the store is reported.
    metrics
        The figures.
    attempt_timeout_s
        How long an attempt may take.
    retry_cap_s
        Longest time between two attempts.
    """

    def __init__(  # noqa: PLR0913 - collaborators, by name
        self,
        address: Address,
        *,
        store: ObjectStore,
        bus: ControlBus,
        stream: EventStream,
        journal: JournalThread,
        health: HealthBoard,
        metrics: Metrics,
        attempt_timeout_s: float,
        retry_cap_s: float,
    ) -> None:
        self._address = address
        self._store = store
        self._bus = bus
        self._stream = stream
        self._journal = journal
        self._health = health
        self._metrics = metrics
        self.attempt_timeout_s = attempt_timeout_s
        self.retry_cap_s = retry_cap_s
        self._queues: dict[str, _Queue] = {}
        self._group: asyncio.TaskGroup | None = None
        self._places = asyncio.Semaphore(_PARALLEL)
        self._attempting = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.last_error: str | None = None

    @property
    def waiting(self) -> int:
        """Headers that are not stored or announced yet."""
        return sum(len(queue.jobs) for queue in self._queues.values())

    async def run(self) -> None:
        """Publish what waits in the journal, and what is submitted."""
        self._queues.clear()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for number, obs_id in await self._journal.run(lambda journal: journal.waiting()):
                    self._take(obs_id, _Job(number, None, None))
                await asyncio.Event().wait()
            finally:
                self._group = None

    def submit(self, header: StoredHeader, *, since: float | None) -> None:
        """Publish a header that is in the journal.

        Parameters
        ----------
        header
            The header, with its number.
        since
            When the last event of the exposure came, seconds on the monotonic clock; for the
            latency figure.
        """
        self._take(header.obs_id, _Job(header.id, header, since))

    async def quiet(self) -> None:
        """Return when nothing is under way but waiting for what is away."""
        await self._quiet.wait()

    def _take(self, obs_id: str, job: _Job) -> None:
        queue = self._queues.get(obs_id)
        if queue is not None:
            if all(each.number != job.number for each in queue.jobs):
                queue.jobs.append(job)
                queue.arrived.set()
        elif self._group is not None:
            self._queues[obs_id] = _Queue(deque([job]))
            self._group.create_task(self._serve(obs_id), name=f"headerservice-publish:{obs_id}")
        self._metrics.waiting.set(self.waiting)

    async def _serve(self, obs_id: str) -> None:
        queue = self._queues[obs_id]
        backoff = Backoff(cap_s=self.retry_cap_s)
        try:
            while queue.jobs:
                if await self._done(queue.jobs[0], superseded=len(queue.jobs) > 1):
                    queue.jobs.popleft()
                    backoff.reset()
                else:
                    queue.jobs[0].header = queue.jobs[0].since = None
                    await queue.wait(backoff.next_s())
        except Exception as error:  # noqa: BLE001 - a task ends here; the header waits in the journal
            self._metrics.failures.labels(type(error).__name__).inc()
            self.last_error = repr(error)
            _log.exception(
                "header_not_published",
                obs_id=obs_id,
                hint="it is in the journal, and tried again when the service is enabled again",
            )
        finally:
            del self._queues[obs_id]
            self._metrics.waiting.set(self.waiting)

    async def _done(self, job: _Job, *, superseded: bool) -> bool:
        """Make one attempt at a header; return whether nothing remains to be done."""
        async with self._places:
            self._attempting += 1
            self._quiet.clear()
            try:
                header = job.header or await self._journal.run(
                    lambda journal: journal.header(job.number)
                )
                if header is None or not header.todo:
                    return True
                if superseded and header.status is Status.EARLY:
                    await self._mark(replace(header, todo=Todo.NOTHING), "superseded")
                    return True
                return not await self._attempt(header, job.since)
            finally:
                self._attempting -= 1
                if not self._attempting:
                    self._quiet.set()

    async def _attempt(self, header: StoredHeader, since: float | None) -> Todo:
        """Do what remains for a header; return what remains then."""
        error = None
        if header.todo & Todo.STORE:
            header, error = await self._step(header, Todo.STORE, self._store_header)
        if error is None and header.todo & (Todo.CONTROL_BUS | Todo.EVENT_STREAM):
            header, error = await self._announce(header)
            if error is None and since is not None:
                self._metrics.latency.observe(time.monotonic() - since)
        if error is None and header.todo & Todo.PROVENANCE:
            await self._mark(header, None)
            header, error = await self._step(header, Todo.PROVENANCE, self._store_provenance)
        await self._mark(header, error)
        return header.todo

    async def _announce(self, header: StoredHeader) -> tuple[StoredHeader, str | None]:
        """Announce on both buses at once."""
        begun = time.monotonic()
        steps = [
            self._step(header, step, call)
            for step, call in (
                (Todo.CONTROL_BUS, self._announce_on_bus),
                (Todo.EVENT_STREAM, self._announce_on_stream),
            )
            if header.todo & step
        ]
        outcomes = await asyncio.gather(*steps)
        self._metrics.stage.labels("announce").observe(time.monotonic() - begun)
        todo = header.todo
        for after, _error in outcomes:
            todo &= after.todo
        error = next((each for _header, each in outcomes if each is not None), None)
        if error is None:
            _log.info(
                "header_announced",
                obs_id=header.obs_id,
                revision=header.revision,
                status=header.status.value,
                missing=list(header.missing),
            )
        return replace(header, todo=todo), error

    async def _mark(self, header: StoredHeader, error: str | None) -> None:
        await self._journal.run(
            lambda journal: journal.mark(header.id, todo=header.todo, key=header.key, error=error)
        )

    async def _step(
        self,
        header: StoredHeader,
        step: Todo,
        call: Callable[[StoredHeader], Awaitable[StoredHeader]],
    ) -> tuple[StoredHeader, str | None]:
        """Do one thing; return the header after it, and what went wrong."""
        name = self._dependency(step)
        try:
            async with asyncio.timeout(self.attempt_timeout_s):
                header = await call(header)
        except Exception as error:  # noqa: BLE001 - an attempt ends here; the header waits
            reason = str(error) or type(error).__name__
            code = error.code if isinstance(error, ArrieroError) else type(error).__name__
            self._metrics.failures.labels(code).inc()
            if step in _STORING:  # the buses report themselves
                self._health.report(name, ok=False, reason=reason)
            self.last_error = reason
            _log.warning(
                "header_publish_failed",
                obs_id=header.obs_id,
                revision=header.revision,
                what=name,
                code=code,
                reason=reason,
            )
            return header, reason
        if step in _STORING:
            self._health.report(name, ok=True, reason="reached")
        return replace(header, todo=header.todo & ~step), None

    def _dependency(self, step: Todo) -> str:
        if step is Todo.CONTROL_BUS:
            return "control_bus"
        return "event_stream" if step is Todo.EVENT_STREAM else f"store.{self._store.name}"

    # The object store.

    async def _store_header(self, header: StoredHeader) -> StoredHeader:
        begun = time.monotonic()
        key = self._address.key(header, "header", ".yaml")
        try:
            await self._put(key, header, header.body, YAML_TYPE, header.md5)
        except PublicationConflictError as error:
            key = self._address.key(header, "header", f"_{header.sha256[:12]}.yaml")
            _log.warning("header_key_taken", obs_id=header.obs_id, reason=str(error), key=key)
            await self._put(key, header, header.body, YAML_TYPE, header.md5)
        self._metrics.stage.labels("store").observe(time.monotonic() - begun)
        return replace(header, key=key)

    async def _store_provenance(self, header: StoredHeader) -> StoredHeader:
        key = self._address.key(header, "provenance", ".json")
        try:
            await self._put(key, header, header.provenance, JSON_TYPE, None)
        except PublicationConflictError:
            key = self._address.key(header, "provenance", f"_{header.sha256[:12]}.json")
            await self._put(key, header, header.provenance, JSON_TYPE, None)
        return header

    async def _put(
        self, key: str, header: StoredHeader, body: bytes, content_type: str, md5: str | None
    ) -> None:
        """Store an object and see that it is what was sent; never overwrite another one."""
        metadata = {
            "sha256": header.sha256,
            "obs-id": header.obs_id,
            "revision": str(header.revision),
            "status": header.status.value,
        }
        try:
            info = await self._store.put(
                key, body, metadata=metadata, content_type=content_type, if_absent=True
            )
        except ObjectExistsError as error:
            if await self._store.get(key) != body:
                raise PublicationConflictError(
                    f"{self._store.uri(key)} holds another object; it stays as it is"
                ) from error
            return
        proven = md5 is not None and _MD5.fullmatch(info.etag) is not None
        if info.size_bytes != len(body) or (proven and info.etag != md5):
            raise IntegrityError(f"{self._store.uri(key)} is not what was sent; it is sent again")
        if not proven and await self._store.get(key) != body:
            raise IntegrityError(f"{self._store.uri(key)} is not what was sent; it is sent again")

    # The announcements.

    async def _announce_on_bus(self, header: StoredHeader) -> StoredHeader:
        key = header.key or ""
        template = self._address.object_url
        url = self._store.uri(key) if template is None else template.replace("{key}", key)
        await self._bus.publish(
            self._address.topic,
            {
                "url": url,
                "generator": self._address.component,
                "version": float(header.revision),
                "byteSize": header.size_bytes,
                "checkSum": header.md5,
                "mimeType": YAML_TYPE,
                "id": header.obs_id,
            },
        )
        return header

    async def _announce_on_stream(self, header: StoredHeader) -> StoredHeader:
        url = self._address.header_url(header.obs_id)
        uri = self._store.uri(header.key) if header.key is not None else (url or "")
        fact = HeaderAvailable(
            instrument=self._address.instrument,
            obs_id=header.obs_id,
            revision=header.revision,
            status=header.status.value,
            uri=uri,
            url=url,
            size_bytes=header.size_bytes,
            sha256=header.sha256,
            mime_type=YAML_TYPE,
            missing=header.missing,
            findings=_findings_of(header),
        )
        await self._stream.publish(
            new_event(
                fact,
                source=self._address.source,
                key=f"{header.obs_id}#{header.revision}#{header.status.value}",
            )
        )
        return header


def _findings_of(header: StoredHeader) -> tuple[HeaderFinding, ...]:
    """Return what is wrong with a header, as its provenance says; a long list is cut."""
    try:
        told = json.loads(header.provenance).get("findings", [])
        return tuple(HeaderFinding.model_validate(each) for each in told[:_FINDINGS_MAX])
    except (ValueError, AttributeError, TypeError):  # of an older version
        return ()


def todo_of(status: Status) -> Todo:
    """Return what is to be done for a new header: an early one is only announced."""
    if status is Status.EARLY:
        return Todo.EVENT_STREAM
    return Todo.STORE | Todo.CONTROL_BUS | Todo.EVENT_STREAM | Todo.PROVENANCE
