"""The books: what a report is about, what is released when, what happens at the end."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import pytest
from fake_scheduler import until

from windrow.client import Client
from windrow.errors import ClosedClientError, FutureCancelledError
from windrow.wire import messages as m
from windrow.wire import requests as r


def inc(x):
    return x + 1


def test_dropping_the_last_future_releases_its_key(client, fake):
    first = client.submit(inc, 1, key="x")
    second = client.submit(inc, 1, key="x")
    other = client.submit(inc, 2, key="other")
    del first
    client.scheduler_info()
    assert fake.of(m.Release) == []
    del second
    assert fake.wait_for(m.Release)[0] == m.Release(["x"], 1)
    assert client.futures == {"other": "pending"}
    other.release()
    other.release()
    assert fake.wait_for(m.Release, 2)[1] == m.Release(["other"], 2)
    del other
    client.scheduler_info()
    assert len(fake.of(m.Release)) == 2


def test_many_futures_leave_as_one_release(client, fake):
    futures = client.map(inc, range(100))
    client.scheduler_info()
    fake.loop_thread.loop.call_soon_threadsafe(futures.clear)
    fake.wait_for(m.Release)
    client.scheduler_info()
    assert [len(x.keys) for x in fake.of(m.Release)] == [100]


def test_a_key_resubmitted_before_its_release_is_handled_stays(client, fake, sync):
    session = client.session
    future = client.submit(inc, 1, key="x")
    sync()
    with session.lock:  # the loop cannot take the release in yet
        future.release()
        entry = session.entries["x"]
        entry.refs += 1  # as `want` does, under the same lock
    sync()
    assert fake.of(m.Release) == []
    assert session.entries["x"] is entry
    assert entry.refs == 1


@pytest.fixture
def held_loop(client, fake):
    """The client's loop takes nothing in until the test ends."""
    gate = threading.Event()
    fake.loop_thread.loop.call_soon_threadsafe(gate.wait, 5)
    yield
    gate.set()


@pytest.mark.parametrize(
    "again",
    [
        lambda client: client.submit(abs, -3, key="x"),
        lambda client: client.map(abs, [-3], key=["x"])[0],
        lambda client: client.map(abs, [-3, -4], key=["x", "y"])[0],
    ],
)
def test_a_key_dropped_and_submitted_again_is_run_again(client, fake, sync, request, again):
    future = client.submit(inc, 1, key="x")
    fake.fail(ValueError("old"), "x")
    assert isinstance(future.exception(5), ValueError)
    request.getfixturevalue("held_loop")
    del future
    future = again(client)
    assert (future.status, future.entry.born, future.entry.refs) == ("pending", 1, 1)


def test_a_pure_call_dropped_and_made_again_is_run_again(client, fake, sync, request):
    key = client.submit(inc, 1).key
    fake.wait_for(m.Release)
    future = client.submit(inc, 1)
    sync()
    fake.fail(ValueError("old"), key)
    assert isinstance(future.exception(5), ValueError)
    request.getfixturevalue("held_loop")
    future.release()
    assert client.submit(inc, 1).status == "pending"


def test_data_dropped_and_scattered_again_is_sent_again(client, fake, request):
    fake.replies[r.Scatter] = lambda request: m.Reply(0)
    future = client.scatter({"x": 1})["x"]
    kept = client.scatter({"y": 1})["y"]
    request.getfixturevalue("held_loop")
    del future
    assert client.session.scatter(["x", "y"])[1] == {"x"}
    assert kept.entry.refs == 2


def test_what_others_dropped_is_left_to_the_loop_unless_a_held_key_is_met(client, fake, sync, request):
    futures = client.map(inc, range(10))
    kept = client.submit(inc, 1, key="kept")
    sync()
    request.getfixturevalue("held_loop")
    futures.clear()
    client.submit(inc, 2, key="new")
    assert len(client.session.released) >= 10
    again = client.submit(inc, 1, key="kept")
    assert again.entry is kept.entry
    assert len(client.session.released) == 0


def test_reports_from_before_a_release_are_not_about_the_new_future(client, fake, sync):
    client.submit(inc, 1, key="x")
    fake.wait_for(m.Release)
    future = client.submit(inc, 1, key="x")
    sync()
    assert future.entry.born == 1
    fake.finish({"x": "old"}, seen=0)
    fake.fail(ValueError("old"), "x", seen=0)
    fake.send(m.Cancelled(0, ["x"], "old"), m.Lost(0, ["x"]))
    sync()
    assert future.status == "pending"
    fake.finish({"x": "new"}, seen=1)
    assert future.result(5) == "new"


def test_order_of_release_and_resubmission_on_the_wire(client, fake, sync):
    client.submit(inc, 1, key="x")
    fake.wait_for(m.Release)
    client.submit(inc, 1, key="x").cancel()
    future = client.submit(inc, 1, key="x")
    sync()
    kinds = [type(x) for x in fake.got if isinstance(x, m.Submit | m.Release | m.Cancel)]
    assert kinds == [m.Submit, m.Release, m.Submit, m.Cancel, m.Submit]
    assert future.entry.born == 2


def test_cancel_takes_effect_at_once_and_for_all_futures_on_the_key(client, fake):
    first, second = client.submit(inc, 1, key="x"), client.submit(inc, 1, key="x")
    first.cancel(reason="enough")
    assert (first.status, second.status, first.cancelled()) == ("cancelled", "cancelled", True)
    with pytest.raises(FutureCancelledError, match="'x' has no result: enough"):
        second.result(5)
    assert second.exception(5) is None
    assert fake.wait_for(m.Cancel)[0] == m.Cancel(["x"], 1, False, "enough")
    again = client.submit(inc, 1, key="x")
    assert again.status == "pending"
    del first, second
    client.scheduler_info()
    assert fake.of(m.Release) == []


def test_cancelled_by_the_scheduler(client, fake, sync):
    future = client.submit(inc, 1, key="x")
    fake.send(m.Cancelled(0, ["x"], "its data is gone"))
    with pytest.raises(FutureCancelledError, match="its data is gone"):
        future.result(5)
    assert client.futures == {}


def test_lost_and_made_again(client, fake, sync):
    future = client.submit(inc, 1, key="x")
    fake.finish({"x": 1})
    assert future.result(5) == 1
    fake.send(m.Lost(0, ["x"]))
    sync()
    assert (future.status, future.done()) == ("lost", False)
    fake.finish({"x": 1})
    assert future.result(5) == 1


def test_reports_on_unknown_keys_are_dropped(client, fake, sync):
    fake.finish({"who": 1})
    fake.fail(ValueError("x"), "who")
    fake.send(m.Reply(999), m.Cancelled(0, ["who"], ""), m.Lost(0, ["who"]))
    sync()
    assert client.status == "running"


def test_retry_makes_erred_futures_pending(client, fake, sync):
    bad, good = client.submit(inc, 1, key="bad"), client.submit(inc, 1, key="good")
    fake.finish({"good": 1})
    fake.fail(ValueError("no"), "bad")
    with pytest.raises(ValueError, match="no"):
        bad.result(5)
    client.retry([bad, good])
    assert (bad.status, good.status) == ("pending", "finished")
    assert fake.wait_for(m.Retry) == [m.Retry(["bad"])]
    fake.finish({"bad": 2})
    assert bad.result(5) == 2


def test_losing_the_connection_cancels_what_is_pending(client, fake):
    pending, done = client.submit(inc, 1), client.submit(inc, 2)
    fake.finish({done.key: 3})
    assert done.result(5) == 3
    fake.cut("reset by peer")
    with pytest.raises(FutureCancelledError, match=r"connection to the scheduler at inproc://fake was lost: .*reset"):
        pending.result(5)
    assert client.status == "closed"
    assert done.result() == 3
    with pytest.raises(ClosedClientError, match="reset by peer"):
        client.submit(inc, 5)
    with pytest.raises(ClosedClientError, match="reset by peer"):
        client.map(inc, [5])
    with pytest.raises(ClosedClientError, match="reset by peer"):
        client.who_has()


def test_a_question_under_way_ends_with_the_connection(client, fake):
    fake.replies[r.WhoHas] = lambda request: fake.link.abort("gone") or m.Reply(0)
    with pytest.raises(ClosedClientError, match=r"WhoHas has no answer: .*gone"):
        client.who_has()


def test_the_scheduler_says_goodbye(client, fake):
    future = client.submit(inc, 1)
    fake.send(m.Close("idle for an hour"))
    with pytest.raises(FutureCancelledError, match="idle for an hour"):
        future.result(5)


def test_a_call_from_the_scheduler_is_refused_politely(client, fake):
    fake.send(m.Call(7, r.Identity()))
    reply = fake.wait_for(m.Reply)[0]
    assert reply.id == 7
    assert isinstance(pickle.loads(reply.error), NotImplementedError)


def test_futures_may_be_collected_anywhere(client, fake, sync):
    future = client.submit(inc, 1)
    ref = weakref.ref(future)
    with client.session.lock:  # the collector runs while the lock is held
        del future
        gc.collect()
        assert ref() is None
    fake.wait_for(m.Release)


def test_a_client_that_was_collected_says_goodbye(fake):
    client = Client(fake)
    client.submit(inc, 1)
    ref = weakref.ref(client)
    del client
    gc.collect()
    assert ref() is None
    assert fake.wait_for(m.Close)


def test_want_holds_a_key_that_exists(client, fake, sync):
    from windrow.client import Future

    future = pickle.loads(pickle.dumps(client.submit(inc, 1, key="x")))
    assert isinstance(future, Future)
    with pytest.raises(RuntimeError, match="bind_client"):
        future.result()
    assert future.status is None
    fake.wait_for(m.Release)
    future.bind_client(client)
    sync()
    assert fake.of(m.Want) == [m.Want(["x"])]
    fake.finish({"x": 2})
    assert future.result(5) == 2


def test_a_collected_client_gives_back_what_it_owned(fake, monkeypatch):
    from windrow.client import client as module

    monkeypatch.setattr(module, "cluster_factory", lambda **kwargs: fake)
    client = Client()
    del client
    gc.collect()
    until(lambda: fake.closed == 1)
    assert fake.wait_for(m.Close)


def submit_in_a_thread(client, count):
    """Submit large arguments from another thread; return it, and how many it has got rid of."""
    submitted = []

    def submit():
        for n in range(count):
            submitted.append(client.submit(len, bytes([n]) * 100_000, pure=False))

    thread = threading.Thread(target=submit)
    thread.start()
    return thread, submitted


@pytest.mark.parametrize("call", ["submit", "map", "graph", "log_event"])
def test_who_submits_faster_than_can_be_sent_waits(client, fake, call, monkeypatch):
    """The loop takes nothing in: what waits for it is bounded, and leaves when it goes on."""
    client.session.room._limit_bytes = 1_000_000
    gate, stands = threading.Event(), threading.Event()
    fake.loop_thread.loop.call_soon_threadsafe(lambda: (stands.set(), gate.wait(20)))
    assert stands.wait(10)
    thread, submitted = submit_in_a_thread(client, 50)
    until(lambda: client.session.room.is_full)
    calls = {
        "submit": lambda: client.submit(inc, 1),
        "map": lambda: client.map(inc, [1]),
        "graph": lambda: client.get({"x": (inc, 1)}, "x", sync=False),
        "log_event": lambda: client.log_event("topic", "text"),
    }
    done = threading.Event()
    other = threading.Thread(target=lambda: (calls[call](), done.set()))
    other.start()
    assert not done.wait(0.1)
    assert len(submitted) == 10
    gate.set()
    thread.join(20)
    other.join(20)
    assert len(submitted) == 50
    assert done.is_set()


def test_who_waits_for_room_hears_of_the_end(client, fake):
    client.session.room.add(2**40)
    raised = []

    def submit():
        try:
            client.submit(inc, 1)
        except ClosedClientError as error:
            raised.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    fake.cut()
    thread.join(20)
    assert len(raised) == 1
