"""One HTTP/1.1 connection to a store, as cheap as the kernel lets it be.

Over plain HTTP a file goes from the kernel's cache to the network without passing
through this process (`sendfile`). Writing and reading go on at once: an answer that
comes before all is sent ends the sending. What counts as silence is that nothing
moves, neither into the kernel nor out of it to the far end, however slow the link.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from daemons.storage.answers import Answer, AnswerReader, MalformedAnswerError
from daemons.storage.bodies import Abandonment, Payload
from daemons.storage.limits import Throttle
from daemons.storage.s3_errors import ConnectionLostError, GivenUpError
from daemons.storage.sockets import SocketTuner, Transport, transport_of

_BUFFER_BYTES = 256 * 1024
"""What is read of a file at a time where it must pass through this process."""
_RECEIVE_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: what is not sent yet is thrown away."""


class Connection:
    """An open connection; one request at a time.

    Parameters
    ----------
    link
        A connected socket, with TLS where that is wanted.
    tuner
        Has set its options and keeps what the kernel tells of it.
    throttle
        The ceiling that it shares.
    """

    def __init__(self, link: socket.socket, tuner: SocketTuner, throttle: Throttle) -> None:
        self.reused = False
        """It has served a request already."""
        self.used_at = time.monotonic()
        """When it served the last one."""
        self._link = link
        self._tls = isinstance(link, ssl.SSLSocket)
        self._tuner = tuner
        self._throttle = throttle
        self._poll = select.poll()
        link.settimeout(0)
        self._handle = link.fileno()
        self._poll.register(self._handle, select.POLLIN)
        self._buffer: memoryview | None = None

    @property
    def transport(self) -> Transport:
        """What the kernel tells of it now."""
        return transport_of(self._link)

    def is_fresh(self) -> bool:
        """Return whether nothing came since the last answer: neither an end nor a reset."""
        self._poll.modify(self._handle, select.POLLIN)
        if not self._poll.poll(0):
            return True
        if not self._tls:
            return False
        try:  # TLS 1.3 sends session tickets whenever it likes
            self._link.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def exchange(
        self,
        head: bytes,
        payload: Payload,
        *,
        bodiless: bool = False,
        digest: Any = None,
        abandoned: Abandonment,
    ) -> Answer:
        """Send a request and return its answer.

        Parameters
        ----------
        head
            Request line and headers.
        payload
            The body.
        bodiless
            It is a HEAD.
        digest
            Something of hashlib to take what is sent.
        abandoned
            Ends the exchange at once.

        Raises
        ------
        ConnectionLostError
            It broke, fell silent or answered nonsense.
        IntegrityError
            The file changed while it was sent.
        GivenUpError
            The caller was cancelled.
        """
        reader = AnswerReader(bodiless=bodiless)
        try:
            with abandoned.waking(self._wake):
                whole = self._send(head, payload, digest, reader, abandoned)
                answer = self._receive(reader, abandoned)
        except (OSError, MalformedAnswerError) as error:
            self.close()
            if abandoned.is_set():
                raise GivenUpError from None
            stale = not reader.begun and not isinstance(error, TimeoutError)
            raise ConnectionLostError(_words(error), stale=stale) from error
        except BaseException:
            self.close()
            raise
        self._tuner.observe(self._link)
        self.reused, self.used_at = True, time.monotonic()
        if answer.closes or not whole:
            self.close()
        return answer

    @property
    def is_open(self) -> bool:
        """Whether it can be used again."""
        return self._link.fileno() >= 0

    def close(self, *, gently: bool = False) -> None:
        """Close it, and throw away what is not sent yet unless gently."""
        if not self.is_open:
            return
        self._tuner.forget(self._handle)
        if not gently:
            with suppress(OSError):
                self._link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._link.close()

    # Sending

    def _send(
        self,
        head: bytes,
        payload: Payload,
        digest: Any,
        reader: AnswerReader,
        abandoned: Abandonment,
    ) -> bool:
        """Send a request; return False where an answer came before all was sent."""
        try:
            if not self._send_head(memoryview(head), payload, reader, abandoned):
                return False
            at, pause = 0, payload.size - payload.held_back
            while at < payload.size:
                if at == pause:
                    payload.check_unchanged()
                stop = pause if at < pause else payload.size
                stop = at + self._throttle.take(stop - at, abandoned)
                sent = self._send_some(payload, at, stop, digest, reader, abandoned)
                if sent == 0:
                    return False
                at += sent
        except OSError:
            # Who refuses a request may close the connection behind the answer.
            if abandoned.is_set() or not self._left_over(reader):
                raise
            return False
        return True

    def _send_head(
        self, head: memoryview, payload: Payload, reader: AnswerReader, abandoned: Abandonment
    ) -> bool:
        flags = socket.MSG_MORE if payload.size and not self._tls else 0
        while head:
            part = head
            sent = self._push(lambda: self._link.send(part, flags), reader, abandoned)  # noqa: B023 - called before the next turn
            if sent == 0:
                return False
            head = head[sent:]
        return True

    def _send_some(
        self,
        payload: Payload,
        at: int,
        stop: int,
        digest: Any,
        reader: AnswerReader,
        abandoned: Abandonment,
    ) -> int:
        """Send what the kernel takes; return how much, or 0 where an answer came first."""
        if payload.view is None and not self._tls and digest is None:
            return self._push(
                lambda: _sendfile(self._handle, payload, at, stop - at), reader, abandoned
            )
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        chunk = payload.read_into(self._buffer[: stop - at], at)
        if digest is not None:
            digest.update(chunk)
        done = 0
        while done < len(chunk):
            rest = chunk[done:]
            sent = self._push(lambda: self._link.send(rest), reader, abandoned)  # noqa: B023 - called before the next turn
            if sent == 0:
                return 0
            done += sent
        return done

    def _push(self, write: Callable[[], int], reader: AnswerReader, abandoned: Abandonment) -> int:
        """Write as soon as the kernel takes something; 0 where an answer came first."""
        while True:
            if abandoned.is_set():
                raise GivenUpError
            events = select.POLLIN | select.POLLOUT
            try:
                return write()
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            except ssl.SSLWantReadError:
                events = select.POLLIN
            if self._await(events, abandoned) & select.POLLIN and self._read(reader):
                return 0

    # Receiving

    def _receive(self, reader: AnswerReader, abandoned: Abandonment) -> Answer:
        while reader.answer is None:
            if abandoned.is_set():
                raise GivenUpError
            if not self._read(reader):
                self._await(select.POLLIN, abandoned)
        return reader.answer

    def _read(self, reader: AnswerReader) -> bool:
        """Take what has come; return whether the answer is whole."""
        while True:
            try:
                chunk = self._link.recv(_RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            if reader.feed(chunk):
                return True

    def _left_over(self, reader: AnswerReader) -> bool:
        with suppress(OSError, MalformedAnswerError):
            return self._read(reader)
        return False

    # Waiting

    def _await(self, events: int, abandoned: Abandonment) -> int:
        """Wait until something can be done; return what.

        Raises
        ------
        TimeoutError
            Nothing moved for the stall time-out.
        """
        self._poll.modify(self._handle, events)
        stall_s = self._tuner.stall_timeout_s
        waiting = self._unacknowledged()
        while True:
            ready = self._poll.poll(stall_s * 1000)
            if abandoned.is_set():
                raise GivenUpError
            if ready:
                return ready[0][1]
            before, waiting = waiting, self._unacknowledged()
            if waiting >= before:  # nothing reached the far end either
                raise TimeoutError(f"nothing moved for {stall_s:g} s")

    def _unacknowledged(self) -> int:
        """Return how much the kernel holds that the far end has not confirmed, bytes."""
        told = fcntl.ioctl(self._handle, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(told, sys.byteorder, signed=True)

    def _wake(self) -> None:
        """End a wait, from another thread."""
        with suppress(OSError):
            socket.socket.shutdown(self._link, socket.SHUT_RDWR)


def _sendfile(link: int, payload: Payload, at: int, count: int) -> int:
    sent = os.sendfile(link, payload.handle, payload.start + at, count)
    if sent == 0:
        payload.check_unchanged()
        raise OSError(f"{payload.label} ended while it was sent")
    return sent


def _words(error: Exception) -> str:
    if isinstance(error, MalformedAnswerError):
        return f"what answers is no S3: {error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
