"""Locks as programs see them; how they are granted is tested with semaphores."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import pickle
from types import SimpleNamespace

import pytest
from dask.utils import SerializableLock
from primitive_tasks import until

import windrow
from windrow import Client, Lock, Semaphore, context


def test_one_at_a_time(client):
    lock, other = Lock("x"), Lock("x")
    assert (lock.locked(), lock.acquire(), other.locked()) == (False, True, True)
    assert other.acquire(blocking=False) is False
    assert other.acquire(timeout=0) is False
    assert other.acquire(blocking=False, timeout=0) is False
    assert other.acquire(timeout="20 ms") is False
    assert lock.get_value() == 1
    assert lock.release() is True
    assert other.acquire(blocking=False) is True
    assert other.release() is True
    assert lock.locked() is False


def test_it_is_not_reentrant(client):
    with Lock("x") as lock:
        assert lock.acquire(timeout=0.01) is False


def test_a_timeout_is_for_what_waits(client):
    with pytest.raises(ValueError, match="blocking=False"):
        Lock("x").acquire(blocking=False, timeout=1)


def test_release_needs_a_lease_of_this_object(client):
    with Lock("x"):
        with pytest.raises(RuntimeError, match="this object holds no lease"):
            Lock("x").release()


def test_names(client):
    assert Lock().name != Lock().name
    assert Lock().name.startswith("lock-")
    with Lock(("a", 1)):
        assert Lock(("a", 1)).locked()
        assert not Lock("('a', 1)").locked()
    with pytest.raises(ValueError, match="name must not be empty"):
        Lock("")
    with pytest.raises(TypeError, match="name must be a string"):
        Lock(b"x")


@pytest.mark.parametrize("give", [lambda c: Lock("x", c), lambda c: Lock("x", client=c)])
def test_client_may_be_given(cluster, give):
    with Client(cluster, set_as_default=False) as client:
        lock = give(client)
        assert lock.client is client
        assert (lock.asynchronous, lock.loop) == (False, client.loop)
        with lock:
            assert lock.locked()


@pytest.mark.parametrize("how", [{"client": 1}, {"scheduler_rpc": "tcp://x"}])
def test_something_else_is_no_client(how):
    with pytest.raises(TypeError, match="must be a windrow Client"):
        Lock("x", **how)


@pytest.mark.parametrize("use", [Lock.acquire, Lock.locked, Lock.close, Lock.__enter__, Lock.register])
def test_without_a_client_the_error_says_what_to_do(use):
    with pytest.raises(RuntimeError, match=r"<Lock: x> lives on a scheduler, .* make a Client\(\) first"):
        use(Lock("x"))


def test_it_finds_the_new_client_when_the_old_one_is_closed(cluster):
    lock = Lock("x")
    for _ in range(2):
        with Client(cluster):
            with lock:
                assert lock.locked()


def test_a_lock_and_a_semaphore_of_one_name_do_not_agree(client):
    with Lock("x"), pytest.raises(ValueError, match="max_leases=2"):
        Semaphore(2, "x").acquire()


def test_a_closed_lock_is_closed_for_its_object_alone(client):
    lock = Lock("x")
    lock.close()
    with pytest.raises(RuntimeError, match="was closed"):
        lock.acquire()
    with Lock("x") as again:
        again.register()


def test_pickles_by_name():
    copy = pickle.loads(pickle.dumps(Lock("x")))
    assert (type(copy), copy.name, repr(copy)) == (Lock, "x", "<Lock: x>")


def _loaded_in(owner, blob):
    """Unpickle as if in what ``owner`` stands for."""

    def load():
        context.enter(SimpleNamespace(owner=owner))
        return pickle.loads(blob)

    return contextvars.copy_context().run(load)


class _Attempt:
    """Something that weak references can be made to."""


class _Kin(Lock):
    """A lock of a user's own class."""


def test_tasks_of_a_process_share_the_copies_that_they_unpickle():
    one, other = _Attempt(), _Attempt()
    blob = pickle.dumps(Lock("x"))
    copy = _loaded_in(one, blob)
    assert _loaded_in(other, blob) is copy
    assert _loaded_in(other, pickle.dumps(copy)) is copy
    assert _loaded_in(other, pickle.dumps(Lock("y"))) is not copy
    assert type(_loaded_in(other, pickle.dumps(_Kin("x")))) is _Kin
    assert pickle.loads(blob) is not copy, "nothing is shared outside of tasks"
    assert _loaded_in(None, blob) is not copy, "nor where a task has ended"


def test_a_shared_copy_lives_as_long_as_a_task_has_it():
    blob = pickle.dumps(Lock("x"))
    first = _loaded_in(_Attempt(), blob)
    first.mark = True
    del first
    gc.collect()
    assert not hasattr(_loaded_in(_Attempt(), blob), "mark")


class Sorted:
    """Locks that are taken in the order of their addresses, as xarray takes those of a file."""

    def __init__(self, locks):
        self.locks = sorted(locks, key=lambda lock: id(getattr(lock, "lock", None) or lock))

    def __reduce__(self):
        return Sorted, (self.locks,)

    def __enter__(self):
        for lock in self.locks:
            lock.__enter__()

    def __exit__(self, *exc_info):
        for lock in reversed(self.locks):
            lock.__exit__(*exc_info)


def test_it_may_be_combined_with_a_lock_of_the_process(runtime_directory):
    """More tasks than threads, each with a copy: no two may take both locks in opposite orders."""

    def write(number, lock):
        with lock:
            return number

    with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        lock = Sorted([SerializableLock("of the process"), Lock("of the file")])
        for begin in range(0, 200, 40):
            futures = client.map(write, range(begin, begin + 40), lock=lock)
            assert windrow.wait(futures, timeout=20).done == set(futures)
        assert not Lock("of the file").locked()


def test_what_a_shared_copy_holds_is_each_tasks_own(client):
    lock, held, go_on = Lock("x"), windrow.Event("held"), windrow.Event("go on")
    [address, _] = client.scheduler_info()["workers"]

    def hold(lock):
        with lock:
            held.set()
            return go_on.wait(20)

    def meddle(lock):
        with pytest.raises(RuntimeError, match="this object holds no lease"):
            lock.release()
        lock.close()
        with pytest.raises(RuntimeError, match="was closed"):
            lock.acquire()
        return id(lock)

    def again(lock):
        with lock:
            return lock.locked()

    first = client.submit(hold, lock, workers=[address])
    assert held.wait(20)
    assert client.submit(meddle, lock, workers=[address]).result(20)
    waits = client.submit(again, lock, workers=[address])
    go_on.set()
    assert (first.result(20), waits.result(20)) == (True, True)
    held.clear()
    go_on.clear()


def test_a_lease_that_a_task_leaves_behind_is_not_kept_fresh(client):
    [address, _] = client.scheduler_info()["workers"]

    def leave(lock):
        worker = windrow.get_worker()
        worker.kept = lock
        lock.acquire()
        return len(lock._parts)

    def parts(dask_worker):
        gc.collect()
        return len(dask_worker.kept._parts)

    assert client.submit(leave, Lock("left behind"), workers=[address]).result(20) == 1
    until(lambda: client.run(parts, workers=[address]) == {address: 0}, "what the task held ends with it")


def test_in_tasks(client):
    lock = Lock("x")

    def is_free(lock):
        return lock.acquire(timeout=0) and lock.release()

    def by_name():
        with windrow.Lock("x") as lock:
            return lock.locked()

    assert client.submit(is_free, lock, pure=False).result(20) is True
    with lock:
        assert client.submit(is_free, lock, pure=False).result(20) is False
        waits = client.submit(by_name)
        with pytest.raises(TimeoutError):
            waits.result(0.1)
    assert waits.result(20) is True


def test_in_coroutine_tasks(client):
    async def locked():
        async with windrow.Lock("x") as lock:
            return await lock.locked()

    assert client.gather(client.map(lambda _: None, range(2))) == [None, None]
    assert client.submit(locked).result(20) is True
    assert not Lock("x").locked()


async def _asynchronous(address):
    async with Client(address, asynchronous=True) as client:
        lock, other = Lock("x"), await Lock("x")
        async with lock:
            assert await other.locked() is True
            assert await other.acquire(blocking=False) is False
            waits = asyncio.ensure_future(other.acquire())
            assert await client.submit(sum, [1, 2]) == 3
            assert not waits.done()
        assert await waits is True
        assert await other.release() is True
        with pytest.raises(TypeError, match="async with"):
            with lock:
                pass


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))


def test_async_with_on_a_blocking_client(client):
    async def use():
        async with Lock("x"):
            return await asyncio.to_thread(Lock("x").locked)

    assert asyncio.run(use()) is True
    assert not Lock("x").locked()


def test_another_process_shares_it_and_kill_9_frees_it(client, program):
    other = program(
        "lock = Lock('x'); lock.acquire(); print('has it'); input(); lock.release(); print('gave it back')\n"
        "input(); lock.acquire(); print('again'); input()"
    )
    assert other.line() == "has it"
    lock = Lock("x")
    assert lock.acquire(timeout=0.05) is False
    other.go_on()
    assert other.line() == "gave it back"
    with lock:
        other.go_on()
        until(lambda: client.run_on_scheduler(_waiting) == 1)
    assert other.line() == "again"
    assert lock.acquire(blocking=False) is False
    other.kill()
    assert lock.acquire(timeout=5) is True
    lock.release()


def _waiting(dask_scheduler):
    return sum(len(record.waiting) for record in dask_scheduler.core.desk.services["semaphores"].records.values())


def test_a_worker_that_dies_frees_it(client):
    def hold_and_die():
        import os

        if windrow.Event("held").is_set():
            return "again, on another worker"
        windrow.Lock("x").acquire()
        windrow.Event("held").set()
        windrow.Event("die").wait()
        os._exit(1)

    held, die, lock = windrow.Event("held"), windrow.Event("die"), Lock("x")
    future = client.submit(hold_and_die)
    assert held.wait(20)
    assert lock.acquire(timeout=0) is False
    die.set()
    assert lock.acquire(timeout=20) is True
    lock.release()
    assert future.result(20) == "again, on another worker"
    held.clear()
    die.clear()
    until(lambda: len(client.scheduler_info()["workers"]) == 2)
