"""Semaphores: the bare service, and what programs see."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import pickle
import signal
from pathlib import Path

import pytest
from primitive_hall import LATE, WAITING, Hall
from primitive_tasks import in_thread, until

from windrow import Client, LocalCluster, Semaphore, config
from windrow.primitives.semaphore import Acquire, Close, Refresh, Register, Release, Semaphores, Value
from windrow.scheduler.server import read_config

SERVICE = "semaphores"


def acquire(hall, client, lease, max_leases=1, **how):
    return hall.ask(client, Acquire("s", lease, max_leases, **how))


def value(hall, client, name="s"):
    return hall.now(hall.ask(client, Value(name)))


# ---------------------------------------------------------------- the bare service


def test_leases_are_granted_as_long_as_there_are_some(hall):
    a = hall.client()
    calls = [acquire(hall, a, f"l{number}", 2) for number in range(4)]
    assert [hall.now(call) for call in calls] == [30.0, 30.0, WAITING, WAITING]
    assert value(hall, a) == 2
    assert hall.now(hall.ask(a, Release("s", "l0"))) is True
    assert [hall.now(call) for call in calls[2:]] == [30.0, WAITING]
    assert value(hall, a) == 2


def test_who_has_waited_longest_comes_first(hall):
    a, b = hall.client(), hall.client()
    acquire(hall, a, "first")
    waiting = {lease: acquire(hall, client, lease) for client, lease in [(b, "b1"), (a, "a1"), (b, "b2")]}
    held = "first"
    for lease, call in waiting.items():
        assert hall.now(call) == WAITING
        hall.ask(a, Release("s", held))
        assert hall.now(call) == 30.0
        held = lease


def test_who_does_not_wait_is_answered_at_once(hall):
    a = hall.client()
    acquire(hall, a, "l1")
    assert hall.now(acquire(hall, a, "l2", wait=False)) is None
    hall.ask(a, Release("s", "l1"))
    assert hall.now(acquire(hall, a, "l3", wait=False)) == 30.0


def test_release_of_what_is_not_there_says_so(hall):
    a = hall.client()
    assert hall.now(hall.ask(a, Release("s", "l1"))) is False
    acquire(hall, a, "l1")
    assert hall.now(hall.ask(a, Release("s", "l2"))) is False
    assert hall.now(hall.ask(a, Release("s", "l1"))) is True
    assert hall.now(hall.ask(a, Release("s", "l1"))) is False


def test_same_lease_twice_is_refused(hall):
    a = hall.client()
    acquire(hall, a, "l1")
    with pytest.raises(ValueError, match="twice"):
        hall.now(acquire(hall, a, "l1"))


def test_a_withdrawn_question_gets_no_lease(hall):
    a = hall.client()
    acquire(hall, a, "l1")
    second, third = acquire(hall, a, "l2"), acquire(hall, a, "l3")
    hall.withdraw(second)
    assert hall.now(second) == LATE
    hall.ask(a, Release("s", "l1"))
    assert hall.now(third) == 30.0


def test_a_withdrawal_that_comes_too_late_changes_nothing(hall):
    a = hall.client()
    call = acquire(hall, a, "l1")
    hall.withdraw(call)
    assert hall.now(call) == 30.0
    assert value(hall, a) == 1


@pytest.mark.parametrize("kindly", [True, False])
def test_what_a_client_held_is_free_when_it_goes(hall, kindly):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1", 2)
    acquire(hall, a, "a2", 2)
    waiting = [acquire(hall, b, f"b{number}", 2) for number in range(3)]
    hall.leave(a, kindly)
    assert [hall.now(call) for call in waiting] == [30.0, 30.0, WAITING]


def test_a_client_that_goes_waits_no_longer(hall):
    a, b, c = hall.client("a"), hall.client("b"), hall.client("c")
    acquire(hall, a, "a1")
    acquire(hall, b, "b1")
    last = acquire(hall, c, "c1")
    hall.leave(b)
    hall.ask(a, Release("s", "a1"))
    assert hall.now(last) == 30.0


def test_leases_expire_unless_refreshed(hall):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1", 2)
    acquire(hall, a, "a2", 2)
    waiting = acquire(hall, b, "b1", 2)
    hall.tick(29.0)
    assert hall.now(hall.ask(a, Refresh(["s"], [["a1"]]))) == []
    hall.tick(2.0)
    assert hall.now(waiting) == 30.0, "a2 has expired"
    assert hall.now(hall.ask(a, Refresh(["s", "other"], [["a1", "a2"], ["x"]]))) == ["a2", "x"]
    assert value(hall, b) == 2


def test_ticks_are_asked_for_only_while_a_lease_may_expire(hall):
    a = hall.client()
    assert not hall.core.desk.is_waiting
    acquire(hall, a, "a1")
    assert hall.core.desk.is_waiting
    hall.ask(a, Release("s", "a1"))
    assert not hall.core.desk.is_waiting


def test_leases_of_an_endless_lease_timeout_never_expire():
    hall = Hall(SERVICE, lease_timeout_s=math.inf)
    a = hall.client()
    assert hall.now(acquire(hall, a, "a1")) == math.inf
    assert not hall.core.desk.is_waiting
    hall.tick(1e9)
    assert value(hall, a) == 1


def test_all_must_agree_on_the_number(hall):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1", 2)
    with pytest.raises(ValueError, match=r"'s' has max_leases=2, and max_leases=3 was asked for.*another name"):
        hall.now(acquire(hall, b, "b1", 3))
    with pytest.raises(ValueError, match="max_leases=1 was asked for"):
        hall.now(hall.ask(b, Register("s", 1)))


def test_a_lock_is_forgotten_when_it_is_free_and_a_semaphore_when_its_clients_are_gone(hall):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1")
    hall.ask(a, Release("s", "a1"))
    assert hall.records.records == {}
    acquire(hall, a, "a2", 2, keep=True)
    hall.ask(b, Register("s", 2))
    hall.leave(a)
    assert list(hall.records.records) == ["s"]
    hall.leave(b)
    assert hall.records.records == {}


def test_a_closed_semaphore_refuses_those_who_wait_and_those_who_knew_it(hall):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1", keep=True)
    waiting = acquire(hall, b, "b1")
    hall.ask(a, Close("s"))
    with pytest.raises(RuntimeError, match="closed while this waited"):
        hall.now(waiting)
    with pytest.raises(RuntimeError, match="closed; make a new object"):
        hall.now(acquire(hall, a, "a2", make=False))
    assert hall.now(hall.ask(a, Release("s", "a1"))) is False
    assert hall.now(acquire(hall, a, "a3", 5, keep=True)) == 30.0, "a new one of that name"
    hall.ask(b, Close("unknown"))


@pytest.mark.parametrize("name", [7, 1.5, ("a", 1), ("a", (2, ("b",)))])
def test_names_may_be_any_key(hall, name):
    a = hall.client()
    hall.ask(a, Acquire(name, "l1", 1))
    assert value(hall, a, name) == 1


def test_its_invariants_notice_what_is_wrong(hall):
    a = hall.client()
    acquire(hall, a, "l1")
    service: Semaphores = hall.records
    service.records["s"].leases["l2"] = service.records["s"].leases["l1"]
    with pytest.raises(AssertionError, match="too many leases"):
        service.check()
    del service.records["s"].leases["l2"]
    acquire(hall, a, "l3")
    del service.records["s"].leases["l1"]
    with pytest.raises(AssertionError, match="is free"):
        service.check()


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("setting", "expected"), [("30s", 30.0), ("200 ms", 0.2), ("inf", math.inf), (math.inf, math.inf)]
)
def test_lease_timeout_is_read_from_the_configuration(monkeypatch, setting, expected):
    real = config.get
    key = "distributed.scheduler.locks.lease-timeout"
    monkeypatch.setattr(config, "get", lambda name, *rest: setting if name == key else real(name, *rest))
    assert read_config().lease_timeout_s == expected


# ---------------------------------------------------------------- the object


@pytest.mark.parametrize("wrong", [True, 1.5, "2", None])
def test_max_leases_must_be_a_number(wrong):
    with pytest.raises(TypeError, match="max_leases must be a whole number"):
        Semaphore(wrong)


def test_max_leases_must_be_positive():
    with pytest.raises(ValueError, match="1 or more"):
        Semaphore(0)


def test_wrong_timeouts_err_at_the_call(client):
    semaphore = Semaphore(1, "s")
    for wrong, kind in [([1], TypeError), (True, TypeError), (math.nan, ValueError), ("soon", ValueError)]:
        with pytest.raises(kind, match="timeout"):
            semaphore.acquire(timeout=wrong)
    assert semaphore.get_value() == 0


def test_leases_are_counted_for_all(client):
    semaphore, other = Semaphore(2, "s"), Semaphore(2, "s")
    assert semaphore.acquire() is True
    assert other.acquire("5 s") is True
    assert (semaphore.get_value(), other.get_value()) == (2, 2)
    assert semaphore.acquire(timeout=0) is False
    assert semaphore.acquire(timeout=0.02) is False
    assert other.release() is True
    assert semaphore.acquire(timeout=5) is True
    assert semaphore.release() is True
    assert semaphore.release() is True
    with pytest.raises(RuntimeError, match="holds no lease"):
        semaphore.release()
    semaphore.close()


def test_with(client):
    with Semaphore(2, "s") as semaphore, semaphore:
        assert semaphore.get_value() == 2
    assert semaphore.get_value() == 0
    semaphore.close()


def test_who_waits_in_a_thread_goes_on(client):
    semaphore, other = Semaphore(1, "s"), Semaphore(1, "s")
    semaphore.acquire()
    waits = in_thread(other.acquire)
    until(lambda: client.run_on_scheduler(_waiting) == 1)
    semaphore.release()
    assert waits() is True
    other.release()
    semaphore.close()


def _waiting(dask_scheduler):
    records = dask_scheduler.core.desk.services["semaphores"].records
    return sum(len(record.waiting) for record in records.values())


def test_register_makes_it(client):
    semaphore = Semaphore(3, "s")
    semaphore.register()
    with pytest.raises(ValueError, match="max_leases=3"):
        Semaphore(2, "s").acquire()
    semaphore.close()
    with Semaphore(2, "s") as again:
        assert again.get_value() == 1
    again.close()


def test_a_closed_one_cannot_be_acquired(client):
    semaphore, other = Semaphore(1, "s"), Semaphore(1, "s")
    for one in (semaphore, other):
        with one:
            pass
    semaphore.close()
    for one in (semaphore, other):
        with pytest.raises(RuntimeError, match="was closed"):
            one.acquire()


def test_pickles_by_name():
    copy = pickle.loads(pickle.dumps(Semaphore(3, "s")))
    assert (copy.name, copy.max_leases, repr(copy)) == ("s", 3, "<Semaphore: s>")


def test_tasks_on_all_workers_share_it(client, tmp_path):
    semaphore = Semaphore(1, "s")
    (tmp_path / "number").write_text("0")

    def add(semaphore, path):
        from primitive_tasks import count_up

        with semaphore:
            count_up(path)

    client.run(_see, str(Path(__file__).parent))
    for future in client.map(add, [semaphore] * 20, [tmp_path / "number"] * 20, pure=False):
        future.result(20)
    assert (tmp_path / "number").read_text() == "20"
    semaphore.close()


def _see(path):
    import sys

    if path not in sys.path:
        sys.path.append(path)


async def _asynchronous(address):
    async with Client(address, asynchronous=True):
        semaphore = await Semaphore(2, "s")
        assert await semaphore.acquire() is True
        async with Semaphore(2, "s"):
            assert await semaphore.get_value() == 2
            assert await semaphore.acquire(timeout=0.01) is False
            with pytest.raises(TypeError, match="async with"), semaphore:
                pass
        assert await semaphore.release() is True
        with pytest.raises(RuntimeError, match="holds no lease"):
            semaphore.release()
        await semaphore.close()


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))


async def _cancelled(address):
    async with Client(address, asynchronous=True):
        semaphore, other = Semaphore(1, "s"), Semaphore(1, "s")
        await semaphore.acquire()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(other.acquire(), 0.01)
        await semaphore.release()
        assert await semaphore.get_value() == 0, "no lease is on its way to a coroutine that was cancelled"
        await semaphore.close()


def test_a_cancelled_coroutine_leaves_no_lease_behind(cluster):
    asyncio.run(_cancelled(cluster.scheduler_address))


async def _cancelled_when_granted(address):
    async with Client(address, asynchronous=True):
        semaphore = Semaphore(1, "s")
        for turns in range(12):  # somewhere among these the answer arrives just as the wait is given up
            task = asyncio.ensure_future(semaphore.acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                assert await semaphore.get_value() == 0
            else:
                assert await semaphore.release() is True
        await semaphore.close()


def test_a_wait_given_up_at_any_moment_leaves_no_lease_behind(cluster):
    asyncio.run(_cancelled_when_granted(cluster.scheduler_address))


def test_ctrl_c_in_acquire_leaves_no_lease_behind(client):
    semaphore, other = Semaphore(1, "s"), Semaphore(1, "s")
    semaphore.acquire()

    def interrupt():
        until(lambda: client.run_on_scheduler(_waiting) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    join = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        other.acquire()
    join()
    until(lambda: client.run_on_scheduler(_waiting) == 0)
    semaphore.release()
    assert semaphore.get_value() == 0
    semaphore.close()


def test_a_lease_that_is_held_is_refreshed_and_one_that_nobody_holds_expires(monkeypatch, caplog):
    real = config.get
    key = "distributed.scheduler.locks.lease-timeout"
    monkeypatch.setattr(config, "get", lambda name, *rest: "300 ms" if name == key else real(name, *rest))
    with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster):
        held = Semaphore(2, "s")
        held.acquire()
        orphan = Semaphore(2, "s")
        orphan.acquire()
        del orphan
        until(lambda: held.get_value() == 1, "the orphan's lease expires")
        for _ in range(3):  # longer than its lease alone would live
            assert held.acquire(timeout=0.2) is True
            assert held.acquire(timeout=0.2) is False
            held.release()
        assert held.release() is True
        lost = Semaphore(2, "s")
        lost.acquire()
        cluster.scheduler.core.desk.services["semaphores"].records["s"].leases.clear()
        cluster.scheduler.core.desk.services["semaphores"].leases = 0
        with caplog.at_level(logging.WARNING, "windrow.primitives"):
            assert lost.release() is False
        assert "lease had expired" in caplog.text


def test_release_without_a_scheduler_is_logged_and_false(caplog):
    with LocalCluster(n_workers=1, processes=False) as cluster:
        client = Client(cluster)
        semaphore = Semaphore(1, "s", client=client)
        semaphore.acquire()
        client.close()
        with caplog.at_level(logging.WARNING, "windrow.primitives"):
            assert semaphore.release() is False
        assert "cannot be released" in caplog.text
