"""Results: one, many, late, large, bad; for threads."""

from __future__ import annotations

import gc
import logging
import queue
import signal
import threading
import traceback
from collections import namedtuple
from time import monotonic

import pytest
from fake_scheduler import until

from windrow.client import Client, Future, as_completed, futures_of, wait
from windrow.client.entry import SLICE_S, Latch
from windrow.errors import FutureCancelledError
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r


def inc(x):
    return x + 1


def soon(fake, function, *args, **kwargs):
    """Call this when the test's own thread waits already (or a moment before: both must do)."""
    timer = threading.Timer(0.01, function, args, kwargs)
    timer.start()


def test_result_waits(client, fake):
    future = client.submit(inc, 1)
    assert (future.status, future.done()) == ("pending", False)
    soon(fake, fake.finish, {future.key: 2})
    assert future.result(5) == 2
    assert (future.status, future.done(), future.type) == ("finished", True, int)


def test_each_result_is_fresh(client, fake):
    future = client.submit(list)
    fake.finish({future.key: [1]})
    first = future.result(5)
    first.append(2)
    assert future.result(5) == [1]


def test_timeout_leaves_the_future_usable(client, fake):
    future = client.submit(inc, 1)
    with pytest.raises(TimeoutError, match=r"not there after 0\.01 s"):
        future.result(timeout=0.01)
    assert future.entry.waiter is None
    with pytest.raises(TimeoutError):
        future.result("5 ms")
    fake.finish({future.key: 2})
    assert future.result(5) == 2


def test_what_is_late_says_how_to_find_out_why(client, fake):
    future = client.submit(inc, 1)
    with pytest.raises(TimeoutError, match=r"It is pending: future\.explain\(\) says why"):
        future.result(timeout=0.01)
    said = {"action": "no-worker-can-run", "key": future.key, "text": "No worker can run it now: it asks for GPU=1."}
    seen = threading.Event()
    client.subscribe_topic("warn", lambda event: seen.set())
    fake.send(m.Topic("warn", 1.5, said))
    assert seen.wait(5)
    for wait_for in (future.result, future.exception):
        with pytest.raises(TimeoutError, match=r"has warned: No worker can run it now: .*=1\. future\.expl"):
            wait_for(timeout=0.01)
    with pytest.raises(TimeoutError, match="is pending"):
        client.submit(inc, 2).result(timeout=0.01)


def test_a_future_by_hand(client, fake, capsys):
    future = Future("inc-by-hand", client)
    assert (future.key, future.status, future.client) == ("inc-by-hand", "pending", client)
    fake.finish({"inc-by-hand": 7})
    assert future.result(5) == 7
    assert Future(("x", 1)).status is None
    for arguments in ((client, "key"), ("key", "client"), (None,)):
        with pytest.raises(TypeError, match=r"key|client"):
            Future(*arguments)
    gc.collect()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("timeout", [[1], True, float("nan"), "soon"])
def test_bad_timeouts(client, fake, timeout):
    future = client.submit(inc, 1)
    fake.finish({future.key: 2})
    assert future.result(5) == 2
    for call in (future.result, client.submit(inc, 2).result, lambda timeout: as_completed([future], timeout=timeout)):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            call(timeout)


class FakeLock:
    """Opens at the third try, and notes how long each was to take."""

    def __init__(self):
        self.waits = []

    def acquire(self, timeout=-1):
        self.waits.append(timeout)
        return len(self.waits) == 3


@pytest.mark.parametrize("timeout_s", [None, 1e12, float("inf"), 5.0])
def test_threads_wait_in_slices_so_that_no_signal_is_missed(timeout_s):
    latch = Latch(1)
    latch._lock = lock = FakeLock()
    assert latch.wait(timeout_s)
    assert lock.waits == [SLICE_S] * 3


def test_a_short_wait_is_one_slice():
    latch = Latch(1)
    latch._lock = lock = FakeLock()
    assert not latch.wait(0.25)
    assert not latch.wait(-1)
    assert lock.waits == [0.25, 0.0]


def test_ctrl_c_interrupts_a_wait(client):
    future = client.submit(inc, 1)

    def press():
        until(lambda: future.entry.waiter)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=press).start()
    start = monotonic()
    with pytest.raises(KeyboardInterrupt):
        future.result(10)
    assert monotonic() - start < 5
    assert future.entry.waiter is None
    assert future.status == "pending"


def test_gather_of_many_waits_on_one_latch(client, fake):
    futures = client.map(inc, range(1000))
    latches = set()

    def look():
        latches.update(id(future.entry.waiter) for future in futures)
        fake.finish({future.key: n for n, future in enumerate(futures)})

    soon(fake, lambda: (until(lambda: futures[-1].entry.waiter), look()))
    assert client.gather(futures) == list(range(1000))
    assert len(latches) == 1


def test_gather_keeps_the_structure(client, fake):
    pair = namedtuple("pair", "left right")
    a, b = client.submit(inc, 1), client.submit(inc, 2)
    fake.finish({a.key: 1, b.key: 2})
    data = [a, {"b": (b, a), "n": 5}, pair(a, "x"), {b}]
    assert client.gather(data) == [1, {"b": (2, 1), "n": 5}, pair(1, "x"), {2}]
    assert client.gather(a) == 1
    assert client.gather((a, b)) == (1, 2)
    assert client.gather([]) == []
    assert client.gather([a, a]) == [1, 1]
    assert list(client.gather(iter([a, b]))) == [1, 2]


def test_gather_raises_at_the_first_error_without_waiting_for_the_rest(client, fake):
    never, bad = client.submit(inc, 1), client.submit(inc, 2)
    soon(fake, fake.fail, ValueError("no"), bad.key)
    with pytest.raises(ValueError, match="no"):
        client.gather([never, bad])
    assert never.entry.waiter is None


def test_gather_sees_an_error_that_was_there_before(client, fake, sync):
    never, bad = client.submit(inc, 1), client.submit(inc, 2)
    fake.fail(ValueError("no"), bad.key)
    sync()
    with pytest.raises(ValueError, match="no"):
        client.gather([never, bad])


def test_gather_skips_errors(client, fake):
    good, bad, gone = client.submit(inc, 1), client.submit(inc, 2), client.submit(inc, 3)
    gone.cancel()
    fake.finish({good.key: 1})
    soon(fake, fake.fail, ValueError("no"), bad.key)
    assert client.gather([bad, good, gone], errors="skip") == [1]
    assert client.gather({"bad": bad, "good": good}, errors="skip") == {"bad": None, "good": 1}
    assert client.gather([[bad, good], bad], errors="skip") == [[None, 1]]


def test_gather_refuses_what_it_cannot_do(client, fake):
    with pytest.raises(ValueError, match="errors must be"):
        client.gather([], errors="ignore")
    with pytest.raises(TypeError, match="Queue"):
        client.gather(queue.Queue())
    with Client(fake, set_as_default=False) as other:
        future = other.submit(inc, 1)
        with pytest.raises(ValueError, match="another client"):
            client.gather([future])


def test_large_results_are_asked_for(client, fake):
    futures = client.map(inc, range(3))
    keys = [future.key for future in futures]
    fake.replies[r.Gather] = lambda request: m.Reply(0, None, [payload.dumps(f"big {key}") for key in request.keys])
    fake.finish({keys[0]: "small"})
    fake.finish_large(*keys[1:], kind=bytes)
    assert client.gather(futures) == ["small", f"big {keys[1]}", f"big {keys[2]}"]
    assert [request.keys for request in fake.of(r.Gather)] == [keys[1:]]
    assert futures[1].type is bytes
    assert futures[1].result(5) == f"big {keys[1]}"
    assert len(fake.of(r.Gather)) == 2


def test_a_result_lost_on_the_way_is_waited_for_again(client, fake):
    future = client.submit(inc, 1)
    answers = [None, payload.dumps("there")]

    def answer(request):
        blob = answers.pop(0)
        if blob is None:
            fake.link.send([m.Lost(0, request.keys)])
            soon(fake, fake.finish_large, *request.keys)
        return m.Reply(0, None, [blob])

    fake.replies[r.Gather] = answer
    fake.finish_large(future.key)
    assert future.result(5) == "there"
    assert answers == []


def test_a_result_that_is_not_to_be_had_just_now_is_asked_for_again(client, fake):
    future = client.submit(inc, 1)
    answers = [None, None, payload.dumps("there")]
    fake.replies[r.Gather] = lambda request: m.Reply(0, None, [answers.pop(0)])
    fake.finish_large(future.key)
    assert future.result(5) == "there"


def boom():
    raise LookupError("boom")


def test_errors_keep_type_and_traceback_and_are_fresh(client, fake):
    future = client.submit(inc, 1)
    try:
        boom()
    except LookupError as error:
        fake.fail(error, future.key)
    for _ in range(2):
        with pytest.raises(LookupError, match="boom") as info:
            future.result(5)
        assert "boom" in [frame.name for frame in traceback.extract_tb(info.value.__traceback__)]
    assert len(traceback.extract_tb(info.value.__traceback__)) < 15
    assert isinstance(future.exception(), LookupError)
    assert future.exception() is not future.exception()
    assert traceback.extract_tb(future.traceback())[-1].name == "boom"
    assert (future.status, future.type, future.done()) == ("error", None, True)


def test_exception_of_a_good_future_is_none(client, fake):
    future = client.submit(inc, 1)
    soon(fake, fake.finish, {future.key: 1})
    assert future.exception(5) is None
    assert future.traceback(5) is None


# ---------------------------------------------------------------- wait


def test_wait_for_all(client, fake):
    futures = client.map(inc, range(3))
    fake.finish({future.key: 1 for future in futures[:2]})
    soon(fake, fake.fail, ValueError("no"), futures[2].key)
    done, not_done = wait(futures, 5)
    assert (done, not_done) == (set(futures), set())


def test_wait_for_the_first(client, fake):
    futures = client.map(inc, range(3))
    soon(fake, fake.finish, {futures[1].key: 1})
    result = wait(futures, return_when="FIRST_COMPLETED")
    assert (result.done, result.not_done) == ({futures[1]}, {futures[0], futures[2]})
    assert wait(futures, return_when="FIRST_COMPLETED").done == {futures[1]}
    assert all(future.entry.waiter is None for future in futures)


def test_wait_refuses(client, fake):
    a, b = client.submit(inc, 1), client.submit(inc, 2)
    with pytest.raises(TypeError, match="as one list"):
        wait(a, b)
    for nothing in (5, [1, 2], [a, "key"], {"a": None}, iter([a])):
        with pytest.raises(TypeError, match="fs must be a future, or futures in lists"):
            wait(nothing)
    for call in (client.cancel, client.retry, client.who_has):
        with pytest.raises(TypeError, match=r"futures must be a future, or futures in lists.* is an int: 5"):
            call(5)
    assert client.gather(5) == 5
    with pytest.raises(NotImplementedError, match="return_when"):
        wait([a], return_when="FIRST_EXCEPTION")
    with pytest.raises(TimeoutError):
        wait([a, b], 0.01)
    b.cancel()
    with pytest.raises(FutureCancelledError):
        wait([b], 5)


# ---------------------------------------------------------------- as_completed


def test_as_completed_yields_in_order_of_completion(client, fake):
    futures = client.map(inc, range(3))
    fake.finish({futures[2].key: 1})
    iterator = as_completed(futures, timeout=5)
    assert next(iterator) is futures[2]
    soon(fake, fake.finish, {futures[0].key: 1, futures[1].key: 1})
    assert list(iterator) == futures[:2]


def test_as_completed_takes_more_while_it_runs(client, fake):
    seen = []
    first = client.submit(inc, 0)
    fake.finish({first.key: 0})
    iterator = as_completed([first], with_results=True, timeout=5)
    for future, result in iterator:
        seen.append((future.key, result))
        if len(seen) < 4:
            more = client.submit(inc, len(seen))
            iterator.add(more)
            fake.finish({more.key: len(seen)})
    assert [result for _, result in seen] == [0, 1, 2, 3]


def test_as_completed_counts(client, fake):
    a, b = client.submit(inc, 1), client.submit(inc, 2)
    iterator = as_completed([a, a, b], timeout=5)
    assert (iterator.count(), iterator.has_ready(), iterator.is_empty()) == (3, False, False)
    assert iterator.next_batch(block=False) == []
    fake.finish({a.key: 1})
    until(iterator.has_ready)
    assert iterator.next_batch() == [a, a]
    assert iterator.count() == 1
    iterator.clear()
    assert iterator.is_empty()
    assert list(iterator) == []
    assert b.entry.waiter is None


def test_as_completed_batches(client, fake):
    futures = client.map(inc, range(4))
    fake.finish({future.key: 1 for future in futures})
    wait(futures, 5)
    assert list(as_completed(futures).batches()) == [futures]


def test_as_completed_with_errors(client, fake):
    bad, gone = client.submit(inc, 1), client.submit(inc, 2)
    fake.fail(ValueError("no"), bad.key)
    with pytest.raises(ValueError, match="no"):
        next(as_completed([bad], with_results=True, timeout=5))
    ((_, (kind, error, trace)),) = as_completed([bad], with_results=True, raise_errors=False)
    assert kind is ValueError
    assert error.__traceback__ is trace
    gone.cancel()
    ((_, result),) = as_completed([gone], with_results=True)
    assert isinstance(result, FutureCancelledError)


def test_as_completed_is_late(client):
    future = client.submit(inc, 1)
    with pytest.raises(TimeoutError, match="1 futures left"):
        list(as_completed([future], timeout=0.01))
    with pytest.raises(TypeError, match="takes futures, not int"):
        as_completed([1])
    for wrong in (5, future):
        with pytest.raises(TypeError, match="futures must be futures in a list or another iterable"):
            as_completed(wrong)


# ---------------------------------------------------------------- callbacks and the rest of Future


def test_callbacks_run_in_one_thread_of_their_own(client, fake, caplog):
    calls = queue.Queue()

    def note(future):
        calls.put((future, threading.current_thread().name))
        raise RuntimeError("from a callback")

    done, later = client.submit(inc, 1), client.submit(inc, 2)
    fake.finish({done.key: 1})
    done.result(5)
    with caplog.at_level(logging.CRITICAL, logger="windrow.client"):
        done.add_done_callback(note)
        first, thread = calls.get(timeout=5)
        later.add_done_callback(note)
        later.cancel()
        second, again = calls.get(timeout=5)
    assert (first, second) == (done, later)
    assert thread == again != threading.current_thread().name
    with pytest.raises(TypeError, match="function"):
        done.add_done_callback(5)


def test_repr_of_futures(client, fake):
    future = client.submit(inc, 1, key="x")
    assert repr(future) == "<Future: pending, key: x>"
    fake.finish({"x": 1})
    future.result(5)
    assert repr(future) == "<Future: finished, type: int, key: x>"


def test_futures_of_looks_into_containers(client):
    a, b = client.submit(inc, 1), client.submit(inc, 2)
    assert futures_of([b, {"x": (a, b)}, 5, {a}]) == [b, a]
    a.cancel()
    with pytest.raises(FutureCancelledError):
        client.futures_of([a])
