"""Locks on several names: the bare service, and what programs see."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from primitive_hall import LATE, WAITING
from primitive_tasks import in_thread, until

import windrow
from windrow import Client, MultiLock
from windrow.primitives.multi_lock import Acquire, MultiLocks, Release

SERVICE = "multi-locks"


def acquire(hall, client, lease, names, count=None, **how):
    return hall.ask(client, Acquire(lease, list(names), len(names) if count is None else count, **how))


# ---------------------------------------------------------------- the bare service


def test_all_names_or_none(hall):
    a = hall.client()
    assert hall.now(acquire(hall, a, "l1", "xy")) is True
    second, third = acquire(hall, a, "l2", "yz"), acquire(hall, a, "l3", "w")
    assert (hall.now(second), hall.now(third)) == (WAITING, True)
    assert "z" not in hall.records.locked
    assert hall.now(hall.ask(a, Release("l1"))) is True
    assert hall.now(second) is True
    assert sorted(hall.records.locked) == ["w", "y", "z"]


def test_any_so_many(hall):
    a = hall.client()
    acquire(hall, a, "l1", "x")
    assert hall.now(acquire(hall, a, "l2", "xyz", 2)) is True
    third = acquire(hall, a, "l3", "xyz", 1)
    assert hall.now(third) == WAITING
    hall.ask(a, Release("l1"))
    assert hall.now(third) is True


def test_who_came_first_has_the_right_to_what_is_free(hall):
    a = hall.client()
    acquire(hall, a, "l1", "x")
    many = acquire(hall, a, "l2", "xyz")
    assert hall.now(acquire(hall, a, "l3", "y", wait=False)) is False, "y is free, but kept for the one before"
    later = acquire(hall, a, "l4", "y")
    assert hall.now(acquire(hall, a, "l5", "w")) is True
    hall.ask(a, Release("l1"))
    assert (hall.now(many), hall.now(later)) == (True, WAITING)
    hall.ask(a, Release("l2"))
    assert hall.now(later) is True


def test_a_withdrawal_sets_free_what_was_kept(hall):
    a = hall.client()
    acquire(hall, a, "l1", "x")
    many, later = acquire(hall, a, "l2", "xy"), acquire(hall, a, "l3", "y")
    hall.withdraw(many)
    assert (hall.now(many), hall.now(later)) == (LATE, True)


def test_two_who_want_the_same_in_other_orders_do_not_block_each_other(hall):
    a, b = hall.client(), hall.client()
    acquire(hall, a, "l0", "y")
    first, second = acquire(hall, a, "l1", "xy"), acquire(hall, b, "l2", "yx")
    hall.ask(a, Release("l0"))
    assert (hall.now(first), hall.now(second)) == (True, WAITING)
    hall.ask(a, Release("l1"))
    assert hall.now(second) is True


@pytest.mark.parametrize("kindly", [True, False])
def test_what_a_client_held_or_wanted_is_free_when_it_goes(hall, kindly):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, a, "a1", "x")
    acquire(hall, b, "b1", "w")
    acquire(hall, a, "a2", "wy")
    waiting = acquire(hall, b, "b2", "xy")
    hall.leave(a, kindly)
    assert hall.now(waiting) is True


def test_a_client_that_goes_may_answer_its_own_questions(hall):
    a, b = hall.client("a"), hall.client("b")
    acquire(hall, b, "b1", "x")
    acquire(hall, a, "a1", "xy")
    acquire(hall, a, "a2", "y")
    hall.leave(a)
    assert list(hall.records.locked) == ["x"]


def test_no_names_are_had_at_once(hall):
    assert hall.now(acquire(hall, hall.client(), "l1", "")) is True


@pytest.mark.parametrize(("names", "count"), [("xy", 3), ("xy", -1), ("xx", 1)])
def test_what_cannot_be_is_refused(hall, names, count):
    with pytest.raises(ValueError, match="cannot be locked"):
        hall.now(acquire(hall, hall.client(), "l1", names, count))


def test_release_of_what_is_not_there_says_so(hall):
    assert hall.now(hall.ask(hall.client(), Release("l1"))) is False


def test_same_lease_twice_is_refused(hall):
    a = hall.client()
    acquire(hall, a, "l1", "x")
    with pytest.raises(ValueError, match="twice"):
        hall.now(acquire(hall, a, "l1", "y"))


def test_its_invariants_notice_what_is_wrong(hall):
    a = hall.client()
    acquire(hall, a, "l1", "x")
    acquire(hall, a, "l2", "x")
    service: MultiLocks = hall.records
    del service.locked["x"]
    with pytest.raises(AssertionError, match="not locked by its holder"):
        service.check()
    del service.holders["l1"]
    with pytest.raises(AssertionError, match="names that are free"):
        service.check()


# ---------------------------------------------------------------- the object


def test_locks_names(client):
    lock, other = MultiLock(["x", "y"]), MultiLock(["y", "z"], client)
    assert (lock.locked(), lock.acquire(), lock.locked(), other.locked()) == (False, True, True, False)
    assert other.acquire(blocking=False) is False
    assert other.acquire(timeout=0) is False
    assert other.acquire(timeout=0.02) is False
    assert other.locked() is False, "not after a time that was over"
    assert other.acquire(num_locks=1) is True
    lock.release()
    other.release()
    assert (lock.locked(), other.locked()) == (False, False)
    with pytest.raises(ValueError, match="not acquired"):
        lock.release()


def test_with(client):
    with MultiLock(["x", "y"]) as lock:
        assert lock.locked()
        assert not MultiLock(["x"]).acquire(timeout=0)
    assert not lock.locked()
    with MultiLock([]), MultiLock():
        pass


@pytest.mark.parametrize("count", [0, 3, -1])
def test_num_locks_must_be_possible(client, count):
    with pytest.raises(ValueError, match="between 1 and 2"):
        MultiLock(["x", "y", "x"]).acquire(num_locks=count)
    with pytest.raises(TypeError, match="num_locks must be a whole number"):
        MultiLock(["x"]).acquire(num_locks="1")


def test_wrong_arguments_err_at_the_call(client):
    with pytest.raises(TypeError, match="list of names"):
        MultiLock("xy")
    with pytest.raises(TypeError, match="names must be a string"):
        MultiLock([b"x"])
    with pytest.raises(ValueError, match="blocking=False"):
        MultiLock(["x"]).acquire(blocking=False, timeout=1)


def test_without_a_client():
    with pytest.raises(ValueError, match=r"no client is there.*Client\(\)"):
        MultiLock(["x"])


def test_a_pickled_copy_is_another_lock(client):
    lock = MultiLock(["x", "y"])
    with lock:
        copy = pickle.loads(pickle.dumps(lock))
        assert (copy.names, copy.locked(), repr(copy)) == (["x", "y"], False, "<MultiLock: ['x', 'y']>")
        assert copy.acquire(timeout=0) is False


def test_in_tasks(client):
    lock = MultiLock(["x", "y"])

    def is_free(lock):
        free = lock.acquire(timeout=0)
        if free:
            lock.release()
        return free

    def by_name():
        with windrow.MultiLock(["x"]) as lock:
            return lock.locked()

    assert client.submit(is_free, lock, pure=False).result(20) is True
    with lock:
        assert client.submit(is_free, lock, pure=False).result(20) is False
    assert client.submit(by_name).result(20) is True


async def _asynchronous(address):
    async with Client(address, asynchronous=True) as client:
        async with MultiLock(["x", "y"], client) as lock:
            assert lock.locked()
            assert await MultiLock(["y"], client).acquire(timeout=0) is False
            waits = asyncio.ensure_future(MultiLock(["y"], client).acquire())
            with pytest.raises(TypeError, match="async with"):
                with MultiLock(["z"], client):
                    pass
        assert await waits is True


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))


def test_who_waits_goes_on_when_the_process_of_the_holder_is_killed(client, program):
    other = program("lock = MultiLock(['x', 'y']); lock.acquire(); print('has them'); input()")
    assert other.line() == "has them"
    lock = MultiLock(["y", "z"])
    waits = in_thread(lock.acquire)
    until(lambda: client.run_on_scheduler(_waiting) == 1)
    other.kill()
    assert waits() is True
    lock.release()


def _waiting(dask_scheduler):
    return len(dask_scheduler.core.desk.services["multi-locks"].waiting)
