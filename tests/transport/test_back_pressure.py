"""Readers that are slow, or stopped: what is sent to them takes up no memory beyond a bound, and all of it arrives."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from transport_bench import End, Network, Stopped, network_of

from windrow import config
from windrow.transport import backlog
from windrow.transport.backlog import OVERFLOW, Backlog
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.messages import Close, Put, Reply, Submit, TaskId

MB = 1_000_000


PLAIN = [
    "tcp-apart",
    "tcp-asyncio-apart",
    "nearby-apart",
    "local-apart",
    "tls-apart",
    "third-party-apart",
    "inproc-two-loops",
    "simulated",
]
SESSIONS = ["lasting-apart", "lasting-nearby-apart", "lasting-tls-apart", "lasting-simulated"]


@pytest.fixture(params=SESSIONS)
def apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    """Return a network of sessions whose two sides have a loop each, so that one may be stopped."""
    yield from network_of(request.param)


@pytest.fixture(params=PLAIN)
def plain_apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


@pytest.fixture(params=PLAIN + SESSIONS)
def any_apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


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
    link: Any = far.link
    with Stopped(near):
        while not link._closed and link._backlog.bytes < 2 * MB:
            send_one_by_one(far, 500, lambda n: Close("x" * 1_000))

        def is_given_up() -> bool:
            link.send([Close()])
            return bool(link._closed)

        far.until(is_given_up)
    reason = far.wait_lost()
    assert "it has taken nothing for 0.05 s, while" in reason
    assert "it is stopped, or does not read" in reason
    assert "is given up: it has taken nothing" in caplog.text
    assert near.wait_lost() != ""


def test_answers_may_wait_as_long_as_they_like(apart: Network, settings: dict[str, float]) -> None:
    settings |= {"windrow.backlog-limit": 4 * MB, "windrow.stall-timeout": 0.0}
    near, far = apart.pair()
    with Stopped(near):
        send_one_by_one(far, 1_000, lambda n: Reply(n, value=b"x" * 10_000))
        far.send(Put(TaskId(1), "x", Attached([Buffer(bytes(30 * MB))])))
    near.wait_for_messages(1_001)
    assert far.lost == near.lost == []


def test_the_side_that_has_made_the_session_waits(apart: Network, settings: dict[str, float]) -> None:
    settings |= {"windrow.backlog-limit": 4 * MB, "windrow.stall-timeout": 0.0}
    near, far = apart.pair()
    with Stopped(far):
        send_one_by_one(near, 1_000, lambda n: Close("x" * 10_000))
        assert near.do(lambda: near.link.waiting_bytes) > 5 * MB
    far.wait_for_messages(1_000)
    assert near.lost == far.lost == []


@pytest.mark.parametrize("reader", ["dialler", "listener"])
def test_what_waits_for_a_stopped_reader_has_a_bound(
    any_apart: Network, settings: dict[str, float], caplog: pytest.LogCaptureFixture, reader: str
) -> None:
    settings["windrow.backlog-limit"] = 5 * MB
    near, far = any_apart.pair()
    stopped, sender = (near, far) if reader == "dialler" else (far, near)
    caplog.set_level(logging.WARNING)
    with Stopped(stopped):
        before = resident_bytes()
        for n in range(300):
            sender.send(Close(str(n) + "x" * 500_000))
        assert resident_bytes() - before < 75 * MB  # of 150 MB
        assert "it does not" in sender.wait_lost()
    assert "is given up: " in caplog.text
    # The end of a session may be lost on its way to the side that has not made it: it hears of a cut then, and its
    # owner decides.
    stopped.until(lambda: stopped.lost or stopped.link.is_cut)
    assert stopped.lost != [""]


def test_congestion_is_told_and_so_is_its_end(plain_apart: Network) -> None:
    near, far = plain_apart.pair()
    drained = threading.Event()
    far.do(lambda: setattr(far.link, "on_drained", drained.set))
    assert not far.link.is_congested
    with Stopped(near):
        send_one_by_one(far, 200, lambda n: Reply(n, blobs=[Attached([Buffer(bytes(100_000))])]))
        far.settle()
        assert far.link.is_congested
        if not plain_apart.is_within_a_process:  # where raw buffers take up no memory
            assert far.do(lambda: far.link.waiting_bytes) > MB
        assert not drained.is_set()
    near.wait_for_messages(200)
    plain_apart.wait_for(drained)
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
    books = Backlog(limit_bytes=100, stall_s=10.0)
    for n in range(10):
        books.put([Close("x" * 10)], now_s=float(n))
    assert books.bytes > 100
    assert not books.is_too_much(9.0)
    books.look(7, now_s=9.0)  # it has taken something
    books.look(7, now_s=18.0)
    assert not books.is_too_much(18.9)
    assert books.is_too_much(19.0)
    while len(books) > 1:
        books.next()
    assert not books.is_too_much(1e9)


def test_who_reads_too_slowly_is_given_up_as_well() -> None:
    books = Backlog(limit_bytes=1_000, stall_s=10.0)
    for n in range(1_000):
        books.put([Close("x" * 100)], now_s=float(n))
        books.look(n, now_s=float(n))  # it has taken something
        if books.is_too_much(float(n)):
            break
    assert OVERFLOW * 1_000 < books.bytes < OVERFLOW * 1_000 + 400
    assert "bytes wait for it, and it does not keep up" in books.why(float(n))
    while len(books):
        books.next()
    assert not books.is_too_much(1e9)


def test_raw_buffers_are_weighed_apart() -> None:
    attached = Attached([Buffer(bytes(MB))])
    size = backlog.weight([Submit(b"f", ["k"], [attached]), Reply(1, blobs=[attached]), Put(TaskId(1), "x", attached)])
    assert size.buffers == 3 * MB
    assert 0 < size.unasked < 200
    assert 0 < size.asked < 200
    books = Backlog(limit_bytes=50, stall_s=10.0)
    books.put([Submit(b"f", ["k"], [attached])], now_s=0.0)
    assert books.whole_bytes > MB
    assert books.bytes < 200
    books.next()
    assert books.whole_bytes == 0


def test_one_batch_may_be_as_large_as_it_likes() -> None:
    books = Backlog(limit_bytes=1_000, stall_s=10.0)
    books.put([Close("x" * 100_000)], now_s=0.0)
    assert not books.is_too_much(0.0)
    books.put([Close()], now_s=0.0)
    assert books.is_too_much(0.0)


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
    assert backlog.weight([Reply(1, value=b"x" * 1_000), Close()])[0] < 100
