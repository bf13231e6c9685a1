"""Notices of the file system: hints that a file is there, never the truth.

watchdog's own selection of inotify events asks for both halves of a rename and
holds a file that is renamed within the tree back for up to half a second, to
pair them. Only the half that names the new place is asked for here, so a file
that is renamed into place is known in well under a millisecond.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog
from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask

_OVERFLOW_LOGGER = "watchdog.observers.inotify_c"
"""Where watchdog tells of an overflow of the kernel's queue; it has no other way."""
_THREAD_END_S = 5.0

_log = structlog.get_logger(__name__)


class Ended(StrEnum):
    """How a file that was noticed came to its place."""

    CLOSED = "closed"
    """A writer closed it."""
    MOVED = "moved"
    """It was renamed into place, complete."""
    CREATED = "created"
    """It was made: a writer is at it, or it is a hard link, complete."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A file that may be there."""

    path: bytes
    ended: Ended


class _PlaceEmitter(InotifyFullEmitter):
    """Asks the kernel for files that are closed, made, or renamed into place."""

    def get_event_mask_from_filter(self) -> Mask:
        """Return the events to ask for."""
        return Mask(
            InotifyConstants.IN_CLOSE_WRITE
            | InotifyConstants.IN_MOVED_TO
            | InotifyConstants.IN_CREATE
            | InotifyConstants.IN_DELETE_SELF
        )


class _Handler(FileSystemEventHandler):
    def __init__(self, tell: Callable[[Hint], None]) -> None:
        self._tell = tell

    def dispatch(self, event: FileSystemEvent) -> None:
        """Pass an event on; called in watchdog's thread."""
        if event.is_directory:
            return
        path = os.fsencode(event.dest_path or event.src_path)
        if isinstance(event, FileClosedEvent):
            self._tell(Hint(path, Ended.CLOSED))
        elif isinstance(event, FileMovedEvent):
            self._tell(Hint(path, Ended.MOVED))
        elif isinstance(event, FileCreatedEvent):
            self._tell(Hint(path, Ended.CREATED))


class _OverflowHandler(logging.Handler):
    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__(level=logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on that events were lost."""
        if "overflow" in record.getMessage().lower():
            self._tell()


class Notices:
    """Watches a folder with all its folders.

    Parameters
    ----------
    on_hint
        Called for each hint, in a thread of watchdog.
    on_overflow
        Called when the kernel dropped notices, in a thread of watchdog.
    """

    def __init__(self, *, on_hint: Callable[[Hint], None], on_overflow: Callable[[], None]) -> None:
        self._handler = _Handler(on_hint)
        self._overflow = _OverflowHandler(on_overflow)
        self._inotify: InotifyFD | None = None
        self._observer: BaseObserver | None = None
        self._turn = threading.Lock()
        """Who stops may be another thread than who starts, at the same time."""

    @property
    def watching(self) -> bool:
        """True while notices come; they end with the folder that was watched."""
        emitters = () if self._observer is None else tuple(self._observer.emitters)
        return bool(emitters) and all(emitter.is_alive() for emitter in emitters)

    def start(self, root: bytes) -> None:
        """Begin to watch; blocks, so it belongs in a thread.

        Raises
        ------
        OSError
            The folder is not there, or the kernel's limit of watches is reached.
        """
        with self._turn:
            self._start(root)

    def _start(self, root: bytes) -> None:
        self._stop()
        # A folder renamed within the tree is watched again under its new name.
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
        self._inotify = InotifyFD()
        self._inotify.start()
        observer = BaseObserver(_PlaceEmitter, inotify_fd=self._inotify)
        self._observer = observer
        try:
            observer.schedule(
                self._handler,
                os.fsdecode(root),
                recursive=True,
                event_filter=[FileClosedEvent, FileMovedEvent, FileCreatedEvent],
            )
            observer.start()
        except OSError:
            self._stop()
            raise
        logging.getLogger(_OVERFLOW_LOGGER).addHandler(self._overflow)

    def stop(self) -> None:
        """Stop watching; blocks for a moment, also until a start has ended. Idempotent."""
        with self._turn:
            self._stop()

    def _stop(self) -> None:
        logging.getLogger(_OVERFLOW_LOGGER).removeHandler(self._overflow)
        if self._observer is not None:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join(_THREAD_END_S)
            self._observer = None
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join(_THREAD_END_S)
            self._inotify = None
