"""Queues: the bare service, and what programs see."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal

import pytest
from primitive_hall import LATE, WAITING
from primitive_tasks import in_thread, until

import windrow
from windrow import Client, FutureCancelledError, LocalCluster, PickleError, Queue
from windrow.primitives.queue import Close, Get, Put, PutBack, Size
from windrow.primitives.shared import Item, Taken

SERVICE = "queues"


def put(hall, client, value, *keys, **how):
    return hall.ask(client, Put("q", list(keys), **how), value)


def get(hall, client, count=1, **how):
    return hall.ask(client, Get("q", count, **how))


def size(hall, client):
    return hall.now(hall.ask(client, Size("q")))


# ---------------------------------------------------------------- the bare service


def test_first_in_first_out(hall):
    a, b = hall.client(), hall.client()
    for value in (b"1", b"2", b"3"):
        assert hall.now(put(hall, a, value)) is None
    assert size(hall, b) == 3
    assert [hall.blobs(get(hall, client)) for client in (b, a, b)] == [[b"1"], [b"2"], [b"3"]]
    assert size(hall, b) == 0


def test_who_has_waited_longest_gets_first(hall):
    a, b = hall.client(), hall.client()
    calls = [get(hall, client) for client in (a, b, a)]
    for value in (b"1", b"2"):
        put(hall, b, value)
    assert [hall.blobs(call) for call in calls] == [[b"1"], [b"2"], WAITING]


def test_a_full_queue_admits_who_came_first(hall):
    a = hall.client()
    calls = [put(hall, a, value, maxsize=2) for value in (b"1", b"2", b"3", b"4")]
    assert [hall.now(call) for call in calls] == [None, None, WAITING, WAITING]
    assert size(hall, a) == 2
    assert hall.blobs(get(hall, a)) == [b"1"]
    assert [hall.now(call) for call in calls] == [None, None, None, WAITING]
    assert hall.blobs(get(hall, a, 0)) == [b"2", b"3"]
    assert [hall.now(call) for call in calls] == [None] * 4


def test_who_does_not_wait_is_answered_at_once(hall):
    a = hall.client()
    assert hall.now(get(hall, a, wait=False)) == LATE
    put(hall, a, b"1", maxsize=1)
    assert hall.now(put(hall, a, b"2", wait=False)) == LATE
    assert hall.now(get(hall, a, 2, wait=False)) == LATE
    assert hall.blobs(get(hall, a, wait=False)) == [b"1"]
    assert hall.blobs(get(hall, a, 0, wait=False)) == []


def test_one_who_wants_several_collects_them_as_they_come(hall):
    a = hall.client()
    put(hall, a, b"1", maxsize=2)
    batch, single = get(hall, a, 4), get(hall, a)
    for value in (b"2", b"3"):
        put(hall, a, value)
    assert (hall.blobs(batch), hall.blobs(single), size(hall, a)) == (WAITING, WAITING, 0)
    put(hall, a, b"4")
    assert (hall.blobs(batch), hall.blobs(single)) == ([b"1", b"2", b"3", b"4"], WAITING)


def test_what_was_collected_goes_back_in_order(hall):
    a = hall.client()
    batch = get(hall, a, 4)
    for value in (b"1", b"2", b"3"):
        put(hall, a, value)
    second = get(hall, a)
    hall.withdraw(batch)
    assert (hall.blobs(batch), hall.blobs(second)) == (LATE, [b"1"])
    assert hall.blobs(get(hall, a, 0)) == [b"2", b"3"]


def test_a_withdrawn_put_is_not_in_the_queue(hall):
    a = hall.client()
    put(hall, a, b"1", maxsize=1)
    second, third = put(hall, a, b"2"), put(hall, a, b"3")
    hall.withdraw(second)
    assert hall.now(second) == LATE
    get(hall, a)
    assert hall.now(third) is None
    assert hall.blobs(get(hall, a)) == [b"3"]


def test_a_withdrawal_that_comes_too_late_changes_nothing(hall):
    a = hall.client()
    put(hall, a, b"1")
    call = get(hall, a)
    hall.withdraw(call)
    assert hall.blobs(call) == [b"1"]


def test_what_comes_back_goes_to_the_front(hall):
    a = hall.client()
    for value in (b"1", b"2", b"3"):
        put(hall, a, value)
    get(hall, a, 2)
    hall.ask(a, PutBack("q", [[], []]), b"1", b"2")
    assert hall.blobs(get(hall, a, 0)) == [b"1", b"2", b"3"]
    waits = get(hall, a)
    hall.ask(a, PutBack("q", [[]]), b"1")
    assert hall.blobs(waits) == [b"1"]
    hall.ask(a, PutBack("no such queue", [[]]), b"1")


def test_limits_must_agree_where_they_are_given(hall):
    a = hall.client()
    put(hall, a, b"1")
    put(hall, a, b"2", maxsize=2)
    assert hall.now(put(hall, a, b"3", wait=False)) == LATE, "the limit holds for all"
    with pytest.raises(ValueError, match="maxsize=2, and maxsize=3 was asked for"):
        hall.now(put(hall, a, b"3", maxsize=3))


def test_a_queue_is_forgotten_when_all_have_closed_it(hall):
    a, b = hall.client("a"), hall.client("b")
    put(hall, a, b"1")
    get(hall, b, 0)
    put(hall, a, b"2")
    hall.ask(a, Close("q"))
    assert list(hall.records.records) == ["q"], "b uses it"
    waits = get(hall, b, 3)
    hall.ask(b, Close("q"))
    assert hall.records.records == {}
    with pytest.raises(RuntimeError, match="closed while this waited"):
        hall.now(waits)
    assert size(hall, b) == 0
    hall.ask(b, Close("no such queue"))


def test_values_outlive_who_put_them_and_empty_queues_do_not(hall):
    a, b = hall.client("a"), hall.client("b")
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    hall.ask(a, Size("other"))
    hall.leave(a)
    assert list(hall.records.records) == ["q"]
    assert hall.blobs(get(hall, b)) == [b"1"]
    hall.leave(b)
    assert hall.records.records == {}
    assert hall.tasks == []


def test_a_client_that_goes_waits_no_longer(hall):
    a, b = hall.client("a"), hall.client("b")
    get(hall, a, 2)
    put(hall, b, b"1", maxsize=1)
    hall.leave(a)
    assert hall.blobs(get(hall, b)) == [b"1"], "what it had collected is in the queue again"
    c = hall.client("c")
    for client, value in [(b, b"2"), (c, b"3"), (b, b"4")]:
        put(hall, client, value)
    hall.leave(c)
    assert [hall.blobs(get(hall, b)) for _ in range(2)] == [[b"2"], [b"4"]]


def test_futures_are_kept_until_the_getter_has_its_own(hall):
    a, b = hall.client("a"), hall.client("b")
    hall.submit(a, "x", ("y", 1))
    put(hall, a, b"1", "x", ("y", 1))
    hall.release(a, "x", ("y", 1))
    assert hall.tasks == ["x", ("y", 1)]
    call = get(hall, b)
    assert hall.now(call) == [1, [["x", ["y", 1]]]]
    assert hall.tasks == ["x", ("y", 1)], "on its way"
    hall.want(b, "x")
    hall.ask(b, Taken(1))
    assert hall.tasks == ["x"]
    hall.release(b, "x")
    assert hall.tasks == []
    hall.ask(b, Taken(1))


def test_a_release_that_crosses_a_value_does_not_forget_its_future(hall):
    a = hall.client("a")
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    get(hall, a)
    hall.release(a, "x")  # of the old future, said before the client has heard of the new one
    hall.want(a, "x")
    hall.ask(a, Taken(1))
    assert hall.tasks == ["x"]


def test_futures_on_their_way_to_a_client_that_dies_are_let_go(hall):
    a, b = hall.client("a"), hall.client("b")
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    hall.release(a, "x")
    get(hall, b)
    hall.leave(b)
    assert hall.tasks == []


def test_a_key_in_two_values_is_kept_for_both(hall):
    a = hall.client()
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    put(hall, a, b"2", "x")
    hall.release(a, "x")
    for number in (1, 2):
        assert hall.tasks == ["x"]
        get(hall, a)
        hall.ask(a, Taken(number))
    assert hall.tasks == []


def test_futures_in_what_comes_back_are_kept(hall):
    a = hall.client()
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    hall.release(a, "x")
    get(hall, a)
    hall.ask(a, PutBack("q", [["x"]], 1), b"1")
    assert hall.tasks == ["x"]
    hall.ask(a, Close("q"))
    assert hall.tasks == []


def test_what_comes_back_with_a_future_that_is_gone_is_kept_all_the_same(hall):
    a = hall.client()
    hall.submit(a, "x")
    put(hall, a, b"1", "x")
    get(hall, a)
    hall.cancel(a, "x")
    hall.ask(a, PutBack("q", [["x"]], 1), b"1")
    assert hall.blobs(get(hall, a)) == [b"1"]


def test_a_value_with_a_forgotten_future_is_refused(hall):
    a = hall.client()
    hall.submit(a, "x")
    with pytest.raises(FutureCancelledError, match="gone"):
        hall.now(put(hall, a, b"1", "x", "gone"))
    hall.release(a, "x")
    assert (hall.tasks, size(hall, a)) == ([], 0)


def test_a_withdrawn_put_lets_its_futures_go(hall):
    a = hall.client()
    put(hall, a, b"1", maxsize=1)
    hall.submit(a, "x")
    call = put(hall, a, b"2", "x")
    hall.release(a, "x")
    assert hall.tasks == ["x"]
    hall.withdraw(call)
    assert hall.tasks == []


def test_a_restart_drops_values_with_futures(hall):
    a = hall.client()
    hall.submit(a, "x", "y", "z")
    batch = hall.ask(a, Get("other", 3))
    for value, keys in [(b"1", []), (b"2", ["x"])]:
        hall.ask(a, Put("other", keys), value)
    for value, keys in [(b"3", ["y"]), (b"4", [])]:
        put(hall, a, value, *keys, maxsize=2)
    waits = [put(hall, a, value, *keys) for value, keys in [(b"5", ["z"]), (b"6", []), (b"7", [])]]
    hall.restart(a)
    with pytest.raises(FutureCancelledError, match="restarted"):
        hall.now(waits[0])
    assert [hall.now(call) for call in waits[1:]] == [None, WAITING]
    assert hall.blobs(get(hall, a, 0)) == [b"4", b"6"]
    for value in (b"8", b"9"):
        hall.ask(a, Put("other", []), value)
    assert hall.blobs(batch) == [b"1", b"8", b"9"]
    assert hall.tasks == []


def test_its_invariants_notice_what_is_wrong(hall):
    a = hall.client()
    get(hall, a)
    record = hall.records.records["q"]
    record.items.append(Item(b"1", []))
    with pytest.raises(AssertionError, match="somebody waits for one"):
        hall.records.check()
    record.items.clear()
    hall.submit(a, "x")
    hall.records.held.hold("queue-q", ["x"])
    with pytest.raises(AssertionError, match="queue-q"):
        hall.records.check()


# ---------------------------------------------------------------- the object


@pytest.fixture
def queue(client):
    queue = Queue("q")
    yield queue
    Queue("q").get(batch=True)


def test_put_and_get(queue):
    values = [1, "two", [3, (4, 5)], {"six": {7}}, None, b"8"]
    for value in values:
        assert queue.put(value) is None
    assert queue.qsize() == 6
    assert [queue.get() for _ in values] == values


def test_batches(queue):
    assert queue.get(batch=True) == []
    for number in range(5):
        queue.put(number)
    assert queue.get(batch=2) == [0, 1]
    with pytest.raises(TimeoutError, match=r"did not have enough for 0\.02 s"):
        queue.get(timeout=0.02, batch=4)
    assert queue.get(batch=True) == [2, 3, 4]
    waits = in_thread(lambda: queue.get(batch=3))
    for number in range(3):
        queue.put(number)
    assert waits() == [0, 1, 2]


@pytest.mark.parametrize(("batch", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("x", TypeError)])
def test_wrong_batches_err_at_the_call(queue, batch, kind):
    with pytest.raises(kind, match="batch must be"):
        queue.get(batch=batch)


def test_timeouts(client):
    queue = Queue("short", maxsize=1)
    for timeout in (0, 0.02, "20 ms"):
        with pytest.raises(TimeoutError, match="<Queue: short> did not have enough"):
            queue.get(timeout=timeout)
    queue.put(1)
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError, match=r"was full for .* not put"):
            queue.put(2, timeout=timeout)
    assert queue.get(batch=True) == [1]
    queue.close()


def test_put_waits_while_it_is_full(client):
    queue = Queue("short", maxsize=1)
    queue.put(1)
    waits = in_thread(queue.put, 2)
    until(lambda: client.run_on_scheduler(_putters) == 1)
    assert queue.get() == 1
    waits()
    assert queue.get() == 2
    queue.close()


def _putters(dask_scheduler):
    return sum(len(record.putters) for record in dask_scheduler.core.desk.services["queues"].records.values())


def _getters(dask_scheduler):
    return sum(len(record.getters) for record in dask_scheduler.core.desk.services["queues"].records.values())


@pytest.mark.parametrize("wrong", [True, 1.5, "1"])
def test_maxsize_must_be_a_number(wrong):
    with pytest.raises(TypeError, match="maxsize must be a whole number"):
        Queue("q", maxsize=wrong)


def test_a_value_that_cannot_be_pickled_is_refused_at_the_call(queue):
    import threading

    with pytest.raises(PickleError, match="the value for queue 'q'"):
        queue.put({"lock": threading.Lock()})
    assert queue.qsize() == 0


def test_futures(client, queue):
    future = client.submit(sum, [1, 2])
    queue.put(future)
    queue.put({"deep": [future, 3]})
    del future
    assert queue.get().result(20) == 3
    value = queue.get()
    assert (value["deep"][0].result(20), value["deep"][1]) == (3, 3)


def test_a_future_that_is_put_got_and_dropped_at_once_stays_alive(client, queue):
    for number in range(30):
        future = client.submit(abs, -number)
        queue.put(future)
        del future
        gc.collect(0)
        future = queue.get()
        assert future.result(20) == number


def test_a_cancelled_future_is_refused(client, queue):
    future = client.submit(sum, [1, 2])
    future.cancel()
    with pytest.raises(FutureCancelledError):
        queue.put(future)


def test_tasks_share_it(client, queue):
    def produce(queue, number):
        queue.put(windrow.get_client().submit(abs, -number))

    def consume():
        return windrow.Queue("q").get(timeout=20).result()

    consumers = [client.submit(consume, pure=False) for _ in range(4)]
    producers = client.map(produce, [queue] * 4, range(4))
    assert sorted(client.gather(consumers)) == [0, 1, 2, 3]
    client.gather(producers)


def test_restart_drops_values_with_futures():
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        queue = Queue("q")
        queue.put(client.submit(sum, [1]))
        queue.put("plain")
        client.restart()
        assert queue.get(batch=True) == ["plain"]


def test_close(client):
    queue, other = Queue("closing"), Queue("closing")
    queue.put(1)
    other.qsize()
    queue.close()
    assert other.get() == 1, "what one object closes, another may still use"
    other.put(2)
    with pytest.raises(RuntimeError, match="was closed; make a new object"):
        queue.put(3)
    other.close()
    assert Queue("closing").qsize() == 0, "forgotten with what was in it"


def test_without_a_client():
    with pytest.raises(RuntimeError, match=r"make a Client\(\) first"):
        Queue("q").put(1)


def test_pickles_by_name_and_limit():
    copy = pickle.loads(pickle.dumps(Queue("q", maxsize=3)))
    assert (copy.name, copy.maxsize, repr(copy)) == ("q", 3, "<Queue: q>")


async def _asynchronous(address):
    async with Client(address, asynchronous=True) as client:
        queue = await Queue("a", maxsize=2)
        waits = asyncio.ensure_future(queue.get())
        await queue.put(client.submit(sum, [1, 2]))
        assert await (await waits) == 3
        with pytest.raises(TimeoutError):
            await queue.get(timeout=0.01)
        await queue.put(1)
        assert await queue.qsize() == 1
        assert await queue.get(batch=True) == [1]
        await queue.close()


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))


async def _cancelled(address):
    async with Client(address, asynchronous=True):
        queue = Queue("a")
        for turns in range(12):  # somewhere among these the value arrives just as the wait is given up
            task = asyncio.ensure_future(queue.get())
            putting = asyncio.ensure_future(queue.put(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await putting
            try:
                value = await task
            except asyncio.CancelledError:
                value = await queue.get(timeout=5)
            assert value == turns
            assert await queue.qsize() == 0
        await queue.close()


def test_no_value_is_lost_when_a_wait_is_given_up(cluster):
    asyncio.run(_cancelled(cluster.scheduler_address))


async def _given_back(address):
    async with Client(address, asynchronous=True) as client:
        queue = Queue("a")
        await queue.put([client.submit(sum, [1, 2])])
        task = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        session = client.session
        [question] = session._questions.values()  # the moment in which its answer is there, and nobody has seen it
        while question.reply is None:
            await asyncio.sleep(0)
            if question.reply is not None:
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        [future] = await queue.get(timeout=5)
        assert await future == 3
        await queue.close()


def test_a_value_that_arrives_for_nobody_is_given_back_with_its_futures(cluster):
    asyncio.run(_given_back(cluster.scheduler_address))


def test_ctrl_c_in_get_loses_nothing(client, queue):
    def interrupt():
        until(lambda: client.run_on_scheduler(_getters) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    join = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.get()
    join()
    queue.put(1)
    assert queue.get(timeout=5) == 1


def test_another_process(client, queue, program):
    other = program(
        "queue = Queue('q'); queue.put(client.submit(sum, [1, 2])); print(queue.get(timeout=20)); "
        "client.close(); print('gone')"
    )
    future = queue.get(timeout=20)
    assert future.result(20) == 3
    queue.put("hello")
    assert (other.line(), other.line()) == ("hello", "gone")


def test_a_value_outlives_its_process(client, queue, program):
    other = program("Queue('q').put(client.submit(sum, [1, 2])); print('done'); input()")
    assert other.line() == "done"
    other.kill()
    assert queue.get(timeout=5).result(20) == 3
