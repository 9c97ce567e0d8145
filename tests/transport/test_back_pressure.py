"""Readers that are slow, or stopped: what is sent to them takes up no memory beyond a bound, and all of it arrives."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from transport_bench import LIMIT_S, End, Network, network_of

from windrow import config
from windrow.transport import backlog
from windrow.transport.backlog import Backlog
from windrow.wire.messages import Attached, Buffer, Close, Put, Reply, TaskId

MB = 1_000_000


@pytest.fixture(params=["lasting-apart", "lasting-nearby-apart", "lasting-tls-apart"])
def apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Return a network of sessions whose two sides have a loop each, so that one may be stopped."""
    yield from network_of(request.param)


@pytest.fixture(params=["tcp-apart", "nearby-apart", "tls-apart", "third-party-apart"])
def plain_apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


class Stopped:
    """Stops an end's loop, as SIGSTOP would, until the block is left."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._go = threading.Event()
        self._stands = threading.Event()

    def __enter__(self) -> None:
        def stand() -> None:
            self._stands.set()
            self._go.wait(LIMIT_S)

        self._end.thread.loop.call_soon_threadsafe(stand)
        assert self._stands.wait(LIMIT_S)

    def __exit__(self, *error: object) -> None:
        self._go.set()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return what a test may set otherwise."""
    given: dict[str, float] = {}
    for name in ("seconds", "size_bytes"):
        before: Callable[[str], float] = getattr(config, name)
        monkeypatch.setattr(config, name, lambda key, before=before: given[key] if key in given else before(key))
    return given


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def send_one_by_one(end: End, count: int, make: Callable[[int], Any]) -> None:
    """Send messages in turns of the loop of their own, so that it may find out what the network takes."""
    for first in range(0, count, 100):
        end.do(lambda first=first: [end.link.send([make(n)]) for n in range(first, min(first + 100, count))])


@pytest.mark.parametrize("reader", ["dialler", "listener"])
def test_what_a_stopped_reader_does_not_take_costs_next_to_nothing(apart: Network, reader: str) -> None:
    near, far = apart.pair()
    stopped, sender = (near, far) if reader == "dialler" else (far, near)
    words = b"x" * 50_000
    with Stopped(stopped):
        before = resident_bytes()
        send_one_by_one(sender, 2_000, lambda n: Reply(n, value=words))
        assert resident_bytes() - before < 30 * MB  # of 100 MB that were sent
        assert sender.do(lambda: sender.link.is_congested)
    arrived = stopped.wait_for_messages(2_000)
    assert [message.id for message in arrived] == list(range(2_000))
    sender.wait_until(lambda: not sender.link.is_congested)
    assert near.lost == far.lost == []


def test_a_stopped_reader_is_told_of_the_end_after_all_else(apart: Network) -> None:
    near, far = apart.pair()
    with Stopped(near):
        send_one_by_one(far, 500, lambda n: Reply(n, value=b"x" * 30_000))
        far.close()
    assert near.wait_lost() == far.wait_lost() == ""
    assert [message.id for batch in near.batches for message in batch] == list(range(500))


def test_who_takes_nothing_while_ever_more_waits_is_given_up(
    apart: Network, settings: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    settings |= {"windrow.backlog-limit": MB, "windrow.stall-timeout": 0.05}
    near, far = apart.pair()
    caplog.set_level(logging.WARNING)
    limit_s = time.monotonic() + LIMIT_S
    link: Any = far.link
    with Stopped(near):
        while not link._closed:
            assert time.monotonic() < limit_s, repr(link._backlog)
            send_one_by_one(far, 1_000, lambda n: Close("x" * 1_000))
    reason = far.wait_lost()
    assert "it has taken nothing for 0.05 s, while" in reason
    assert "it is stopped, or does not read" in reason
    assert "is given up: it has taken nothing" in caplog.text
    assert near.wait_lost() != ""


def test_answers_may_wait_as_long_as_they_like(apart: Network, settings: dict[str, float]) -> None:
    settings |= {"windrow.backlog-limit": 1000, "windrow.stall-timeout": 0.0}
    near, far = apart.pair()
    with Stopped(near):
        send_one_by_one(far, 1_000, lambda n: Reply(n, value=b"x" * 10_000))
        far.send(Put(TaskId(1), "x", Attached([Buffer(bytes(MB))])))
    near.wait_for_messages(1_001)
    assert far.lost == near.lost == []


def test_the_side_that_has_made_the_session_waits(apart: Network, settings: dict[str, float]) -> None:
    settings |= {"windrow.backlog-limit": 1000, "windrow.stall-timeout": 0.0}
    near, far = apart.pair()
    with Stopped(far):
        send_one_by_one(near, 1_000, lambda n: Close("x" * 10_000))
    far.wait_for_messages(1_000)
    assert near.lost == far.lost == []


def test_a_plain_link_that_is_not_read_is_broken_off(
    plain_apart: Network, settings: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    settings["windrow.backlog-limit"] = 5 * MB
    near, far = plain_apart.pair()
    caplog.set_level(logging.WARNING)
    with Stopped(near):
        before = resident_bytes()
        for n in range(200):
            far.send(Reply(n, value=b"x" * 500_000))
        assert resident_bytes() - before < 40 * MB  # of 100 MB
        assert "it does not read: " in far.wait_lost()
    assert "is given up: it does not read" in caplog.text
    assert near.wait_lost() != ""


def test_congestion_is_told_and_so_is_its_end(plain_apart: Network) -> None:
    near, far = plain_apart.pair()
    drained = threading.Event()
    far.do(lambda: setattr(far.link, "on_drained", drained.set))
    assert not far.link.is_congested
    with Stopped(near):
        for n in range(2):  # TLS hands the first of them to the connection inside of it, and does not count it
            far.send(Reply(n, blobs=[Attached([Buffer(bytes(10 * MB))])]))
            far.settle()
        assert far.link.is_congested
        assert far.do(lambda: far.link.waiting_bytes) > MB
        assert not drained.is_set()
    near.wait_for_messages(2)
    assert drained.wait(LIMIT_S)
    assert not far.link.is_congested
    assert far.do(lambda: far.link.waiting_bytes) == 0


def test_one_large_frame_is_no_sign_of_that(plain_apart: Network, settings: dict[str, float]) -> None:
    settings["windrow.backlog-limit"] = MB
    near, far = plain_apart.pair()
    with Stopped(near):
        far.send(Reply(1, blobs=[Attached([Buffer(bytes(30 * MB))])]))
        for n in range(10):
            far.send(Reply(n))
    near.wait_for_messages(11)
    assert far.lost == near.lost == []


# ---------------------------------------------------------------- the books


def test_waiting_is_counted_until_it_moves() -> None:
    books = Backlog(limit_bytes=50, stall_s=10.0)
    for n in range(10):
        books.put([Close("x" * 10)], now_s=float(n))
    assert books.bytes > 50
    assert not books.is_too_much(9.0)
    books.look(7, now_s=9.0)  # it has taken something
    books.look(7, now_s=18.0)
    assert not books.is_too_much(18.9)
    assert books.is_too_much(19.0)
    while len(books) > 1:
        books.next()
    assert not books.is_too_much(1e9)


def test_what_was_sent_before_a_cut_is_sent_again_and_not_counted() -> None:
    books = Backlog(limit_bytes=50, stall_s=10.0)
    books.put([Close("c")], now_s=0.0)
    waiting = books.bytes
    books.again([[Close("a")], [Close("b")], [Close("c")]])
    assert (len(books), books.bytes) == (3, waiting)
    assert [books.next() for _ in range(3)] == [[Close("a")], [Close("b")], [Close("c")]]
    assert books.bytes == 0


def test_what_cannot_be_sent_does_not_wait() -> None:
    books = Backlog(50, 10.0)
    with pytest.raises(TypeError, match="cannot hold a object"):
        books.put([Reply(1, value=object())], now_s=0.0)
    assert (len(books), books.bytes) == (0, 0)
    assert repr(books) == "<Backlog batches=0 bytes=0>"
    assert backlog._weight([Reply(1, value=b"x" * 1_000), Close()]) < 100
