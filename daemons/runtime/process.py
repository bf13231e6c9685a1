"""One process with one service or several, from its start to its end.

=========  ==================================================================
SIGTERM    finish what is in hand within a bounded time, then end
SIGINT     the same
(again)    end at once, by the kernel
SIGHUP     reload the configuration; an invalid one changes nothing
SIGUSR1    write the stacks of all threads and tasks to standard error
=========  ==================================================================

Exit codes: 0 everything ended in order; 1 something was cut off or failed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import structlog

from daemons.runtime.admin import AdminServer
from daemons.runtime.errors import CommandFailedError, CommandRefusedError, SettingsError
from daemons.runtime.executors import end_within
from daemons.runtime.metrics import LoopWatch
from daemons.runtime.notify import Notifier
from daemons.runtime.reload import ReloadCallback, ReloadReport
from daemons.runtime.retry import Backoff
from daemons.runtime.runner import ServiceRunner
from daemons.runtime.stack_dump import dumps_on_sigusr1
from daemons.runtime.state import State

_log = structlog.get_logger(__name__)

Background = Callable[[], Awaitable[None]]
"""Something that runs beside the services until it is cancelled, such as their control bus."""

_CLOSING_S = 10.0
"""Time for closing, on top of the time for draining."""
_BACKGROUND_END_S = 5.0
"""Time for background tasks to end once they are cancelled."""
_LONG_RUN_S = 60.0
"""A background task that ran for so long is started again soon after it fails."""
_WATCHDOG_SHARE = 3
"""Signs of life in the time within which one is wanted."""


class Process:
    """Runs services until it is told to end, or until all of them have.

    Parameters
    ----------
    runners
        The services.
    initial_state
        Where each is brought at the start. A service that does not get there is in FAULT; the
        others, and the admin API, run all the same.
    admin
        The admin API, which is up before the services and ends after them.
    drain_timeout_s
        How long work in hand may take to finish at the end.
    reload
        Called on SIGHUP and by the admin API.
    notify
        The service manager; None: found in the environment.
    loop_watch
        Measures the event loop; runs as long as the process.
    background
        Tasks beside the services, by name. One that fails is started again after a while. They
        end after the services, so that a control bus can tell the last state.
    """

    def __init__(
        self,
        runners: Sequence[ServiceRunner],
        *,
        initial_state: State = State.ENABLED,
        admin: AdminServer | None = None,
        drain_timeout_s: float = 30.0,
        reload: ReloadCallback | None = None,
        notify: Notifier | None = None,
        loop_watch: LoopWatch | None = None,
        background: Mapping[str, Background] | None = None,
    ) -> None:
        if not runners:
            raise ValueError("a process needs at least one service")
        self._runners = tuple(runners)
        self._initial_state = initial_state
        self._admin = admin
        self._drain_timeout_s = drain_timeout_s
        self._reload = reload
        self._notify = Notifier() if notify is None else notify
        self._loop_watch = loop_watch
        self._background = dict(background or {})
        self._told = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._up = False
        if admin is not None and reload is not None:
            admin.use_reload(self.reload)

    async def run(self) -> int:
        """Run, and return the exit code.

        Raises
        ------
        ArrieroError
            The admin API cannot listen.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._signals())
            stack.enter_context(dumps_on_sigusr1(asyncio.get_running_loop()))
            if self._admin is not None:
                await stack.enter_async_context(self._admin)
            stack.push_async_callback(self._end_tasks)
            self._start_tasks()
            await self._bring_up()
            await self._until_told()
            in_order = await self._wind_down()
        _log.info("process_ended", in_order=in_order)
        return 0 if in_order else 1

    def stop(self, reason: str) -> None:
        """Begin the end; the same as a SIGTERM."""
        if not self._told.is_set():
            _log.info("process_stopping", reason=reason, drain_timeout_s=self._drain_timeout_s)
            self._told.set()

    async def reload(self) -> ReloadReport:
        """Reload the configuration.

        Raises
        ------
        SettingsError
            It is invalid; nothing has changed.
        """
        if self._reload is None:
            raise SettingsError("this process has no configuration to reload")
        async with self._reloading:
            self._notify.reloading()
            try:
                report = await self._reload()
            except SettingsError as error:
                _log.error("reload_refused", problems=error.problems, hint="the old one stays")
                raise
            finally:
                self._notify.ready(self._status())
        _log.info("reloaded", changed=report.changed, restart=report.restart, failed=report.failed)
        if report.restart:
            _log.warning("restart_needed", settings=report.restart)
        return report

    # The signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ending = (signal.SIGTERM, signal.SIGINT)
        for number in ending:
            loop.add_signal_handler(number, self._on_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            yield
        finally:
            for number in (*ending, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_end(self, number: signal.Signals) -> None:
        """Begin the end, and let the next such signal kill, even when the loop is stuck."""
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(ending)
            signal.signal(ending, signal.SIG_DFL)
        self.stop(f"{number.name}; the next one ends at once")

    def _on_hangup(self) -> None:
        self._spawn("reload", self._reload_on_signal())

    async def _reload_on_signal(self) -> None:
        if self._reload is None:
            _log.warning("nothing_to_reload")
            return
        with contextlib.suppress(SettingsError):  # `reload` has logged it
            await self.reload()

    # The stages

    def _start_tasks(self) -> None:
        for runner in self._runners:
            runner.on_state(self._tell_status)
            runner.health.on_change(self._tell_status)
        if self._loop_watch is not None:
            self._spawn("loop-watch", self._keep_up("loop-watch", self._loop_watch.run))
        if self._notify.watchdog_s > 0:
            self._spawn("watchdog", self._feed_watchdog())
        for name, task in self._background.items():
            self._spawn(name, self._keep_up(name, task))

    async def _bring_up(self) -> None:
        """Bring every service to its first state, unless the end comes before."""
        start = asyncio.gather(
            *(
                asyncio.create_task(self._bring_up_one(runner), name=f"{runner.name}.bring-up")
                for runner in self._runners
            )
        )
        told = asyncio.create_task(self._told.wait(), name="told-to-end")
        try:
            await _first_of(start, told)
        finally:
            told.cancel()
            start.cancel()
            await asyncio.gather(start, told, return_exceptions=True)
        if not self._told.is_set():
            self._up = True
            _log.info("process_started", services=[runner.name for runner in self._runners])
            self._notify.ready(self._status())

    async def _bring_up_one(self, runner: ServiceRunner) -> None:
        try:
            await runner.go_to(self._initial_state)
        except (CommandFailedError, CommandRefusedError) as error:
            _log.error(
                "service_not_started",
                service=runner.name,
                wanted=self._initial_state.name,
                state=runner.state.name,
                reason=str(error),
            )

    async def _until_told(self) -> None:
        ended = asyncio.gather(
            *(
                asyncio.create_task(runner.wait_for(State.OFFLINE), name=f"{runner.name}.offline")
                for runner in self._runners
            )
        )
        told = asyncio.create_task(self._told.wait(), name="told-to-end")
        try:
            await _first_of(ended, told)
            if not self._told.is_set():
                self.stop("every service is OFFLINE")
        finally:
            told.cancel()
            ended.cancel()
            await asyncio.gather(ended, told, return_exceptions=True)

    async def _wind_down(self) -> bool:
        """Bring every service to OFFLINE within the time allowed; return whether all went well."""
        within_s = self._drain_timeout_s + _CLOSING_S
        self._notify.stopping(within_s=within_s + _BACKGROUND_END_S)
        for runner in self._runners:
            runner.drain_timeout_s = min(runner.drain_timeout_s, self._drain_timeout_s)
        try:
            async with asyncio.timeout(within_s):
                ends = await asyncio.gather(
                    *(runner.stop() for runner in self._runners), return_exceptions=True
                )
        except TimeoutError:
            left = [runner.name for runner in self._runners if runner.state is not State.OFFLINE]
            _log.error("end_timed_out", services=left, within_s=within_s)
            return False
        for end in ends:
            if isinstance(end, BaseException):
                _log.error("service_end_failed", exc_info=end)
        return all(end is True for end in ends)

    # Tasks beside the services

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_up(self, name: str, work: Background) -> None:
        """Run a background task, and run it again when it ends."""
        backoff = Backoff(base_s=1.0, cap_s=60.0, floor_s=0.5)
        while True:
            began = time.monotonic()
            try:
                await work()
                _log.error("background_ended", task=name)
            except Exception:  # noqa: BLE001 - a background task ends here
                _log.exception("background_failed", task=name)
            if time.monotonic() - began > _LONG_RUN_S:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=_BACKGROUND_END_S)
            for task in stuck:
                _log.error("background_stuck", task=task.get_name())

    async def _feed_watchdog(self) -> None:
        """Give signs of life; a loop that does not move gives none."""
        while True:
            self._notify.watchdog()
            await asyncio.sleep(self._notify.watchdog_s / _WATCHDOG_SHARE)

    # What the service manager is told

    def _tell_status(self, _changed: object) -> None:
        if self._up:
            self._notify.status(self._status())

    def _status(self) -> str:
        parts = []
        for runner in self._runners:
            away = [name for name, known in runner.health.dependencies.items() if not known.ok]
            text = f"{runner.name} {runner.state.name}"
            if runner.error is not None:
                text += f" ({runner.error.report})"
            elif away:
                text += f" (waits for {', '.join(away)})"
            parts.append(text)
        return "; ".join(parts)


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    """Wait until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def run_process(main: Callable[[], Coroutine[Any, Any, int]], *, grace_s: float = 5.0) -> NoReturn:
    """Run a main program to its end: `run_process(make_and_run)`.

    Parameters
    ----------
    main
        Builds a `Process` on the event loop and returns what its `run` returns.
    grace_s
        How long threads and tasks that hang may keep the ended process alive.
    """
    with contextlib.suppress(ValueError, OSError):  # a standard error without a descriptor
        faulthandler.enable()  # stacks on SIGABRT, which systemd's watchdog sends
    with asyncio.Runner() as runner:
        code = runner.run(main())
        end_within(grace_s, code)
    sys.exit(code)
