"""Variables: the bare service, and what programs see."""

from __future__ import annotations

import asyncio
import pickle
import threading

import pytest
from primitive_hall import LATE, WAITING
from primitive_tasks import in_thread, until

import windrow
from windrow import Client, FutureCancelledError, LocalCluster, PickleError, Variable
from windrow.primitives.shared import Item, Taken
from windrow.primitives.variable import Delete, Get, Set

SERVICE = "variables"

# ---------------------------------------------------------------- the bare service


def test_set_and_get(hall):
    a, b = hall.client(), hall.client()
    assert hall.now(hall.ask(a, Set("v"), b"1")) is None
    assert hall.blobs(hall.ask(b, Get("v"))) == [b"1"]
    hall.ask(b, Set("v"), b"2")
    assert [hall.blobs(hall.ask(client, Get("v"))) for client in (a, b)] == [[b"2"], [b"2"]]


def test_get_waits_for_the_first_value(hall):
    a = hall.client()
    assert hall.now(hall.ask(a, Get("v", wait=False))) == LATE
    first, second, other = hall.ask(a, Get("v")), hall.ask(a, Get("v")), hall.ask(a, Get("other"))
    hall.withdraw(second)
    assert (hall.now(first), hall.now(second)) == (WAITING, LATE)
    hall.ask(a, Set("v"), b"1")
    assert (hall.blobs(first), hall.now(other)) == ([b"1"], WAITING)


def test_delete(hall):
    a = hall.client()
    hall.ask(a, Set("v"), b"1")
    hall.ask(a, Delete("v"))
    hall.ask(a, Delete("v"))
    assert hall.records.items == {}
    assert hall.now(hall.ask(a, Get("v"))) == WAITING


def test_a_value_outlives_its_client_and_who_waits_does_not(hall):
    a, b = hall.client("a"), hall.client("b")
    hall.ask(a, Set("v"), b"1")
    hall.ask(a, Get("w"))
    hall.leave(a)
    assert hall.blobs(hall.ask(b, Get("v"))) == [b"1"]
    assert hall.records.waiting == {}


def test_futures_are_kept_until_the_value_is_replaced_or_deleted(hall):
    a = hall.client()
    hall.submit(a, "x", "y")
    hall.ask(a, Set("v", ["x"]), b"1")
    hall.release(a, "x")
    assert hall.tasks == ["x", "y"]
    hall.ask(a, Set("v", ["x"]), b"2")
    assert hall.tasks == ["x", "y"], "of the new value too"
    hall.ask(a, Set("v", ["y"]), b"3")
    assert hall.tasks == ["y"]
    hall.release(a, "y")
    hall.ask(a, Delete("v"))
    assert hall.tasks == []


def test_futures_are_kept_until_the_getters_have_their_own(hall):
    a, b = hall.client("a"), hall.client("b")
    waits = [hall.ask(client, Get("v")) for client in (a, b)]
    hall.submit(a, "x")
    hall.ask(a, Set("v", ["x"]), b"1")
    hall.release(a, "x")
    hall.ask(a, Delete("v"))
    assert [hall.now(call) for call in waits] == [[1, [["x"]]], [2, [["x"]]]]
    hall.want(a, "x")
    hall.ask(a, Taken(1))
    hall.release(a, "x")
    assert hall.tasks == ["x"], "on its way to b"
    hall.leave(b)
    assert hall.tasks == []


def test_a_value_with_a_forgotten_future_is_refused_and_the_old_one_stays(hall):
    a = hall.client()
    hall.ask(a, Set("v"), b"1")
    with pytest.raises(FutureCancelledError, match="gone"):
        hall.now(hall.ask(a, Set("v", ["gone"]), b"2"))
    assert hall.blobs(hall.ask(a, Get("v"))) == [b"1"]


def test_a_cancelled_future_leaves_the_value(hall):
    a = hall.client()
    hall.submit(a, "x")
    hall.ask(a, Set("v", ["x"]), b"1")
    hall.cancel(a, "x")
    assert hall.blobs(hall.ask(a, Get("v"))) == [b"1"]
    hall.ask(a, Delete("v"))


def test_a_restart_drops_values_with_futures(hall):
    a = hall.client()
    hall.submit(a, "x")
    hall.ask(a, Set("v", ["x"]), b"1")
    hall.ask(a, Set("w"), b"2")
    hall.ask(a, Get("v"))
    hall.restart(a)
    assert list(hall.records.items) == ["w"]
    assert hall.tasks == []


def test_its_invariants_notice_what_is_wrong(hall):
    a = hall.client()
    hall.submit(a, "x")
    hall.ask(a, Set("v", ["x"]), b"1")
    hall.records.items["v"] = Item(b"1", [])
    with pytest.raises(AssertionError, match="variable-v is gone, and still holds"):
        hall.records.check()


# ---------------------------------------------------------------- the object


@pytest.fixture
def variable(client):
    variable = Variable("v")
    yield variable
    variable.delete()


def test_values(variable):
    for value in [1, "two", [3, (4, 5)], {"six": {7}}, None]:
        assert variable.set(value, timeout=5) is None
        assert variable.get() == value
        assert Variable("v").get() == value
    assert variable.delete() is None
    for timeout in (0, 0.02, "20 ms"):
        with pytest.raises(TimeoutError, match="<Variable: v> has no value"):
            variable.get(timeout=timeout)


def test_each_copy_is_fresh(variable):
    variable.set([1])
    variable.get().append(2)
    assert variable.get() == [1]


def test_a_large_array_can_be_written_to(variable):
    numpy = pytest.importorskip("numpy")
    variable.set(numpy.zeros(100_000))
    for _ in range(2):
        array = variable.get()
        assert array[0] == 0
        array += 1


def test_get_waits_in_a_thread(variable):
    waits = in_thread(variable.get)
    variable.set(1)
    assert waits() == 1


def test_futures(client, variable):
    future = client.submit(sum, [1, 2])
    variable.set({"deep": [future]})
    key = future.key
    del future
    for _ in range(3):
        assert variable.get()["deep"][0].result(20) == 3
    variable.set(0)
    until(lambda: key not in client.run_on_scheduler(_tasks), "replaced, and forgotten")


def _tasks(dask_scheduler):
    return list(dask_scheduler.core.state.tasks)


def test_a_value_that_cannot_be_pickled_is_refused_at_the_call(variable):
    with pytest.raises(PickleError, match="the value for variable 'v'"):
        variable.set([threading.Lock()])


def test_in_tasks(client, variable):
    def put():
        windrow.Variable("v").set(windrow.get_client().submit(sum, [4, 5]))

    def get(variable):
        return variable.get(timeout=20).result()

    waits = client.map(get, [variable] * 3, pure=False)
    client.submit(put).result(20)
    assert client.gather(waits) == [9, 9, 9]


def test_restart_drops_values_with_futures():
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        Variable("v").set(client.submit(sum, [1]))
        Variable("w").set("plain")
        client.restart()
        assert Variable("w").get() == "plain"
        with pytest.raises(TimeoutError):
            Variable("v").get(timeout=0)


def test_wrong_timeouts_err_at_the_call(variable):
    for use in (variable.get, lambda timeout: variable.set(1, timeout=timeout)):
        with pytest.raises(TypeError, match="timeout must be"):
            use(timeout=[1])


def test_without_a_client():
    with pytest.raises(RuntimeError, match=r"make a Client\(\) first"):
        Variable("v").set(1)


def test_pickles_by_name():
    copy = pickle.loads(pickle.dumps(Variable("v")))
    assert (copy.name, repr(copy)) == ("v", "<Variable: v>")


async def _asynchronous(address):
    async with Client(address, asynchronous=True) as client:
        variable = await Variable("a")
        waits = asyncio.ensure_future(variable.get())
        await variable.set(client.submit(sum, [1, 2]))
        assert await (await waits) == 3
        for turns in range(8):  # a wait that is given up at any moment leaves no future on its way
            task = asyncio.ensure_future(variable.get())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await variable.delete()
        with pytest.raises(TimeoutError):
            await variable.get(timeout=0.01)


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))
    until(lambda: not cluster.scheduler.core.desk.services["variables"].held.handed)


def test_another_process(client, variable, program):
    other = program("print(Variable('v').get()); Variable('v').set(client.submit(sum, [1, 2])); print('set'); input()")
    variable.set("hello")
    assert (other.line(), other.line()) == ("hello", "set")
    other.kill()
    assert variable.get().result(20) == 3
