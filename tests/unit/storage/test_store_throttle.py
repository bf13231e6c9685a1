from __future__ import annotations

import threading
import time

import pytest

from daemons.storage.bodies import Abandonment
from daemons.storage.limits import Throttle


def test_without_a_ceiling_all_may_be_sent_at_once() -> None:
    assert Throttle().take(10**9, Abandonment()) == 10**9


@pytest.mark.parametrize("rate", [0, -1.0])
def test_a_ceiling_of_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="would stop everything"):
        Throttle().limit(rate)


def test_what_is_given_out_keeps_to_the_ceiling() -> None:
    rate, wanted = 2_000_000, 400_000
    throttle = Throttle(rate)
    begun, left = time.monotonic(), wanted
    while left:
        granted = throttle.take(left, Abandonment())
        assert 0 < granted <= left
        left -= granted
    last_slice_s = 1 / 50
    assert time.monotonic() - begun >= wanted / rate - last_slice_s


def test_connections_share_the_ceiling_evenly() -> None:
    throttle = Throttle(4_000_000)
    taken = [0, 0, 0, 0]
    end = Abandonment()

    def send(number: int) -> None:
        while not end.is_set():
            taken[number] += throttle.take(10**9, end)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while sum(taken) < 2_000_000:
        time.sleep(0.01)
    shares = list(taken)
    end.set()
    for thread in threads:
        thread.join()
    # Turns are given in order; how soon a thread asks for its next one is the machine's.
    assert min(shares) * 3 >= max(shares), shares


def test_a_ceiling_that_is_lifted_frees_those_who_wait() -> None:
    throttle = Throttle(1024)
    first = throttle.take(10**6, Abandonment())
    granted: list[int] = []
    waiting = threading.Thread(target=lambda: granted.append(throttle.take(10**6, Abandonment())))
    waiting.start()
    throttle.limit(None)
    waiting.join(timeout=30)
    assert granted in ([10**6], [first])
    assert throttle.bytes_per_s is None


def test_who_was_cancelled_does_not_wait_for_a_turn() -> None:
    throttle, gone = Throttle(1024), Abandonment()
    throttle.take(10**6, gone)
    gone.set()
    throttle.take(10**6, gone)  # at 1 kB/s this would take 4 s for each 4 kB
