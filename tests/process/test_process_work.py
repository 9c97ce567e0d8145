"""The client's calls, each against real workers."""

from __future__ import annotations

import gc
import operator
import os
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import process_tasks as tasks
import pytest
from process_help import until, until_file

from windrow import Client, Future, LocalCluster, as_completed, futures_of, wait
from windrow.errors import FutureCancelledError, PickleError

Pair = namedtuple("Pair", "left right")


# ---------------------------------------------------------------- submit


def test_submit(client: Client) -> None:
    future = client.submit(tasks.inc, 1, by=2)
    assert future.result() == 3
    assert future.key.startswith("inc-")
    assert (future.status, future.done(), future.cancelled(), future.type) == ("finished", True, False, int)
    assert future.exception() is future.traceback() is None
    assert "finished" in repr(future)


def test_a_pure_task_is_done_once(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    futures = [client.submit(tasks.note, str(log), "once") for _ in range(5)]
    futures += client.map(tasks.note, [str(log)] * 5, ["once"] * 5)
    assert client.gather(futures) == ["once"] * 10
    assert len({future.key for future in futures}) == 1
    assert log.read_text() == "once\n"


def test_an_impure_task_is_done_each_time(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    futures = [client.submit(tasks.note, str(log), "again", pure=False) for _ in range(3)]
    futures += client.map(tasks.note, [str(log)] * 3, ["again"] * 3, pure=False)
    client.gather(futures)
    assert log.read_text() == "again\n" * 6


def test_a_key_of_ones_own(client: Client) -> None:
    future = client.submit(tasks.inc, 1, key="mine")
    assert future.key == "mine"
    assert future.result() == 2
    assert client.submit(tasks.inc, 100, key="mine").result() == 2


def test_on_a_worker_of_ones_choice(client: Client) -> None:
    workers = client.scheduler_info()["workers"]
    where = client.run(os.getpid)
    for address, facts in workers.items():
        assert client.submit(tasks.pid, address, workers=address).result() == where[address]
        assert client.submit(tasks.pid, facts["name"], workers=[facts["name"]]).result() == where[address]
    anywhere = client.submit(tasks.pid, workers="nowhere", allow_other_workers=True)
    assert anywhere.result() in where.values()


def test_retries(client: Client, tmp_path: Path) -> None:
    assert client.submit(tasks.fail_until, str(tmp_path / "a"), 2, retries=2).result() == 3
    with pytest.raises(tasks.Oops):
        client.submit(tasks.fail_until, str(tmp_path / "b"), 2, retries=1).result()
    mapped = client.map(tasks.fail_until, [str(tmp_path / "c"), str(tmp_path / "d")], [1, 1], retries=1)
    assert client.gather(mapped) == [2, 2]


def test_retry_by_hand(client: Client, tmp_path: Path) -> None:
    first = client.submit(tasks.fail_until, str(tmp_path / "calls"), 1)
    second = client.submit(tasks.inc, first)
    with pytest.raises(tasks.Oops):
        second.result()
    client.retry(second)
    assert second.result(timeout=5) == 3


def test_coroutine_functions_are_awaited(client: Client) -> None:
    async def later(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    assert client.submit(later, 1).result() == 2
    assert list(client.run(later, 1).values()) == [2, 2]


def test_functions_of_every_kind(client: Client) -> None:
    import functools

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        def __call__(self, x: int) -> int:
            return self.n + x

        def method(self, x: int) -> int:
            return self.n - x

    n = 7
    functions: list[Callable[..., Any]] = [abs, int, tasks.inc, lambda x: x * n, functools.partial(operator.add, 3)]
    functions += [Adder(5), Adder(5).method, str.upper]
    arguments: list[Any] = [-2, "3", 4, 5, 6, 7, 8, "nine"]
    assert client.gather([client.submit(f, x) for f, x in zip(functions, arguments, strict=True)]) == [
        f(x) for f, x in zip(functions, arguments, strict=True)
    ]


# ---------------------------------------------------------------- map


def test_map(client: Client) -> None:
    assert client.gather(client.map(operator.add, range(10), [1] * 20)) == list(range(1, 11))
    assert client.gather(client.map(tasks.inc, range(10), by=5)) == list(range(5, 15))
    assert client.gather(client.map(tasks.inc, range(1000), batch_size=7)) == list(range(1, 1001))
    assert [future.key for future in client.map(tasks.inc, [1, 2], key=["a", "b"])] == ["a", "b"]
    assert all(future.key.startswith("prefix-") for future in client.map(tasks.inc, [1, 2], key="prefix"))
    assert client.map(tasks.inc, []) == []


def test_map_over_futures(client: Client) -> None:
    first = client.map(tasks.inc, range(100))
    assert client.gather(client.map(operator.add, first, range(100))) == [2 * x + 1 for x in range(100)]
    [total] = client.map(tasks.inc, [1], by=client.submit(tasks.inc, 1))
    assert total.result() == 3


# ---------------------------------------------------------------- futures as arguments


def test_futures_however_deep(client: Client) -> None:
    one, two = client.submit(tasks.inc, 0), client.submit(tasks.inc, 1)
    nested = {"a": [one, (two, {"b": [one]})], "c": {"d": (two,)}, "e": Pair(one, [two])}
    expected = {"a": [1, (2, {"b": [1]})], "c": {"d": (2,)}, "e": Pair(1, [2])}
    assert client.submit(tasks.identity, nested).result() == expected
    assert client.submit(tasks.identity, x=nested).result() == expected
    assert futures_of(nested) == [one, two]


def test_futures_in_functions(client: Client) -> None:
    import functools

    one = client.submit(tasks.inc, 0)
    assert client.submit(lambda: one + 1).result() == 2  # type: ignore[operator]
    assert client.submit(functools.partial(tasks.inc, by=one), 1).result() == 2


def test_chain_tree_and_fan(client: Client) -> None:
    future = client.submit(tasks.inc, 0)
    for _ in range(200):
        future = client.submit(tasks.inc, future)
    assert future.result() == 201
    layer = client.map(tasks.inc, range(256))
    while len(layer) > 1:
        layer = client.map(operator.add, layer[::2], layer[1::2])
    assert layer[0].result() == sum(range(1, 257))
    assert client.submit(sum, client.map(tasks.inc, [future] * 1, by=1)).result() == 202


def test_futures_travel_as_their_values_between_clients(cluster: LocalCluster, client: Client) -> None:
    import pickle

    future = client.submit(tasks.inc, 1)
    with Client(cluster, set_as_default=False) as other:
        copy: Future = pickle.loads(pickle.dumps(future))
        copy.bind_client(other)
        assert copy.result(timeout=5) == 2
        with pytest.raises(ValueError, match="another client"):
            other.gather([future])


# ---------------------------------------------------------------- waiting


def test_result_with_a_timeout_leaves_the_future_usable(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    future = client.submit(tasks.until_there, str(go))
    for call in (future.result, future.exception, future.traceback):
        with pytest.raises(TimeoutError, match="It is pending"):
            call(timeout=0.01)
    with pytest.raises(TimeoutError):
        wait([future], timeout="10 ms")
    with pytest.raises(TimeoutError):
        list(as_completed([future], timeout=0.01))
    assert (future.status, future.done()) == ("pending", False)
    go.touch()
    assert future.result(timeout=5) in client.run(os.getpid).values()


def test_gather_keeps_the_shape(client: Client) -> None:
    one, two = client.map(tasks.inc, [0, 1])
    assert client.gather({"a": [one, (two,)], "b": {two}, "c": 5}) == {"a": [1, (2,)], "b": {2}, "c": 5}
    assert client.gather(one) == 1
    assert client.gather([]) == []
    assert list(client.gather(iter([one, two]))) == [1, 2]


def test_gather_skips_or_raises(client: Client) -> None:
    good, bad = client.submit(tasks.inc, 1), client.submit(tasks.fail, 1)
    with pytest.raises(tasks.Oops):
        client.gather([good, bad])
    assert client.gather([good, bad], errors="skip") == [2]


def test_gather_does_not_wait_for_others_once_one_failed(client: Client, tmp_path: Path) -> None:
    long = client.submit(tasks.until_there, str(tmp_path / "go"))
    bad = client.submit(tasks.fail, 1)
    with pytest.raises(tasks.Oops):
        client.gather([long, bad])
    assert not long.done()
    (tmp_path / "go").touch()
    long.result()


def test_wait(client: Client, tmp_path: Path) -> None:
    quick, long = client.submit(tasks.inc, 1), client.submit(tasks.until_there, str(tmp_path / "go"))
    done, not_done = wait([quick, long], return_when="FIRST_COMPLETED", timeout=5)
    assert (done, not_done) == ({quick}, {long})
    (tmp_path / "go").touch()
    bad = client.submit(tasks.fail, 1)
    assert wait([quick, long, bad], timeout=5).done == {quick, long, bad}


def test_as_completed(client: Client, tmp_path: Path) -> None:
    go = [str(tmp_path / name) for name in "ab"]
    slow, slower = client.map(tasks.until_there, go, workers=[0])
    quick = client.submit(tasks.inc, 1, workers=[1])
    seen = []
    for future in as_completed([slower, slow, quick], timeout=10):
        seen.append(future)
        if len(seen) <= 2:
            Path(go[len(seen) - 1]).touch()
    assert seen == [quick, slow, slower]
    pairs = dict(as_completed(client.map(tasks.inc, range(20)), with_results=True))
    assert sorted(pairs.values()) == list(range(1, 21))
    more = as_completed([quick])
    for count, future in enumerate(more):
        if count < 3:
            more.add(client.submit(tasks.inc, future))
    assert count == 3


def test_done_callbacks(client: Client) -> None:
    called: list[object] = []
    both = threading.Event()

    def note(future: Future) -> None:
        called.append((future.status, threading.current_thread() is threading.main_thread()))
        if len(called) == 2:
            both.set()

    client.submit(tasks.inc, 1).add_done_callback(note)
    client.submit(tasks.fail, 1).add_done_callback(note)
    assert both.wait(5)
    assert sorted(called) == [("error", False), ("finished", False)]


def test_a_callback_may_use_the_client(client: Client) -> None:
    results: list[int] = []
    there = threading.Event()

    def go_on(future: Future) -> None:
        results.append(client.submit(tasks.inc, future).result(timeout=5))
        there.set()

    client.submit(tasks.inc, 1).add_done_callback(go_on)
    assert there.wait(5)
    assert results == [3]


def test_many_threads_use_one_client(client: Client) -> None:
    found: dict[int, list[int]] = {}

    def use(number: int) -> None:
        futures = [client.submit(tasks.inc, number * 1000 + n) for n in range(100)]
        futures += client.map(tasks.inc, range(number * 100, number * 100 + 200))
        found[number] = client.gather(futures)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for number in range(8):
        expected = [number * 1000 + n + 1 for n in range(100)] + [number * 100 + n + 1 for n in range(200)]
        assert found[number] == expected


# ---------------------------------------------------------------- cancel and release


def test_cancel(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    busy = [client.submit(tasks.until_there, str(tmp_path / "go"), n) for n in range(2)]
    queued = client.submit(tasks.note, str(log), "it ran")
    dependent = client.submit(tasks.identity, queued)
    queued.cancel(reason="not needed any more")
    assert queued.cancelled()
    with pytest.raises(FutureCancelledError, match="not needed any more"):
        queued.result(timeout=5)
    with pytest.raises(FutureCancelledError):
        dependent.result(timeout=5)
    client.cancel(busy)
    (tmp_path / "go").touch()
    assert client.gather(client.map(tasks.inc, range(10))) == list(range(1, 11))
    assert not log.exists()
    again = client.submit(tasks.note, str(log), "it ran")
    assert again.result(timeout=5) == "it ran"


def test_what_nobody_wants_any_more_is_released(client: Client) -> None:
    futures = client.map(tasks.inc, range(10))
    kept = client.submit(sum, futures)
    assert kept.result() == 55
    assert all(client.who_has(futures).values())
    del futures
    gc.collect()
    key = kept.key
    until(lambda: [held for held, holders in client.who_has().items() if holders] == [key])
    assert sum(map(len, client.has_what().values())) == 1
    del kept
    gc.collect()
    until(lambda: client.who_has() == {})
    assert not any(client.has_what().values())
    held = client.run(lambda dask_worker: len(dask_worker.core.data))
    assert set(held.values()) == {0}
    assert client.futures == {}


def test_a_task_that_nobody_wants_does_not_run(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    busy = [client.submit(tasks.announce_and_wait, str(tmp_path / f"up{n}"), str(tmp_path / "go")) for n in range(2)]
    for n in range(2):
        until_file(tmp_path / f"up{n}")
    unwanted = client.map(tasks.note, [str(log)] * 100, range(100))
    del unwanted
    gc.collect()
    until(lambda: len(client.processing()) and sum(map(len, client.processing().values())) == 2)
    (tmp_path / "go").touch()
    wait(busy)
    assert client.submit(tasks.inc, 1).result() == 2
    assert not log.exists()


def test_a_result_can_be_had_again_and_again(client: Client) -> None:
    future = client.submit(list, (1, 2))
    first = future.result()
    first.append(3)
    assert future.result() == [1, 2]


# ---------------------------------------------------------------- data


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_scatter(client: Client, size: int) -> None:
    data = np.arange(size // 8 + 1)
    future = client.scatter(data)
    assert future.status == "finished"
    assert len(client.who_has(future)[future.key]) == 1
    assert client.submit(np.sum, future).result() == data.sum()
    np.testing.assert_array_equal(future.result(), data)
    assert client.scatter(data).key == future.key
    assert client.scatter(data, hash=False).key != future.key


def test_scatter_shapes_and_places(client: Client) -> None:
    assert client.gather(client.scatter([1, "two", None])) == [1, "two", None]
    named = client.scatter({"a": 1, "b": [2]})
    assert {name: future.key for name, future in named.items()} == {"a": "a", "b": "b"}
    assert client.gather(named) == {"a": 1, "b": [2]}
    everywhere = client.scatter(bytes(1000), broadcast=True)
    assert len(client.who_has(everywhere)[everywhere.key]) == 2
    [address] = [address for address, facts in client.scheduler_info()["workers"].items() if facts["name"] == 1]
    there = client.scatter("there", workers=[1])
    assert list(client.who_has(there)[there.key]) == [address]
    spread = client.scatter(list(range(10)))
    holders = {holder for future in spread for holder in client.who_has(future)[future.key]}
    assert len(holders) == 2


def test_large_arrays(client: Client) -> None:
    array = np.random.default_rng(1).random(10_000_000 // 8)
    sent = client.submit(tasks.identity, array, workers=[0])
    np.testing.assert_array_equal(sent.result(), array)
    doubled = client.submit(operator.mul, sent, 2, workers=[1])  # from worker to worker
    back = client.submit(operator.add, doubled, sent, workers=[0])
    np.testing.assert_array_equal(back.result(), array * 3)
    result = back.result()
    result += 1  # what is returned is the caller's, and can be written
    np.testing.assert_array_equal(back.result(), array * 3)


def test_arrays_can_be_written_where_they_are_used(client: Client) -> None:
    def write(array: Any) -> float:
        array[0] = 1.0
        return float(array.sum())

    assert client.submit(write, np.zeros(1_000_000)).result() == 1.0
    far = client.submit(np.zeros, 1_000_000, workers=[0])
    assert client.submit(write, far, workers=[1]).result() == 1.0


def test_many_large_arguments(client: Client) -> None:
    arrays = [np.full(100_000, n) for n in range(20)]
    assert client.gather(client.map(np.sum, arrays)) == [100_000 * n for n in range(20)]


# ---------------------------------------------------------------- the cluster


def test_run(client: Client) -> None:
    addresses = set(client.nthreads())
    assert client.run(tasks.inc, 1, by=2) == dict.fromkeys(addresses, 3)
    assert client.run(lambda dask_worker: dask_worker.address) == {address: address for address in addresses}
    [only] = client.run(os.getpid, workers=[0])
    assert only in addresses
    with pytest.raises(tasks.Oops):
        client.run(tasks.fail, 1)
    returned = client.run(tasks.fail, 1, on_error="return")
    assert {type(error) for error in returned.values()} == {tasks.Oops}
    assert client.run(tasks.fail, 1, on_error="ignore") == {}
    with pytest.raises(PickleError, match="handle"):
        client.run(tasks.Sealed)


def test_run_on_the_scheduler(client: Client) -> None:
    assert client.run_on_scheduler(os.getpid) == os.getpid()
    assert client.run_on_scheduler(dict) == {}
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address) == client.scheduler_info()["address"]
    with pytest.raises(tasks.Oops):
        client.run_on_scheduler(tasks.fail, 1)


def test_processing(client: Client, tmp_path: Path) -> None:
    future = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(tmp_path / "go"))
    until_file(tmp_path / "up")
    assert [key for keys in client.processing().values() for key in keys] == [future.key]
    (tmp_path / "go").touch()
    future.result()
    assert not any(client.processing().values())


# ---------------------------------------------------------------- wrong types and values


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.submit(3, 4), TypeError, "function as its first argument, not int"),
        (lambda c: c.map(3, [4]), TypeError, "function as its first argument, not int"),
        (lambda c: c.map(tasks.inc), TypeError, "iterable"),
        (lambda c: c.map(tasks.inc, 5), TypeError, "argument 0 of map must be iterable, not int"),
        (lambda c: c.map(tasks.inc, [1], key=["a", "b"]), ValueError, "key has 2 keys for 1 tasks"),
        (lambda c: c.map(tasks.inc, [1, 2], key=["a", "a"]), ValueError, "key"),
        (lambda c: c.map(tasks.inc, [1], batch_size=0), ValueError, "batch_size"),
        (lambda c: c.map(tasks.inc, [1], batch_size="many"), TypeError, "batch_size"),
        (lambda c: c.submit(tasks.inc, 1, key=b"x"), TypeError, "key must be a string"),
        (lambda c: c.submit(tasks.inc, 1, retries=-1), ValueError, "retries"),
        (lambda c: c.submit(tasks.inc, 1, retries="two"), TypeError, "retries"),
        (lambda c: c.submit(tasks.inc, 1, priority="high"), TypeError, "priority"),
        (lambda c: c.submit(tasks.inc, 1, workers=5.5), TypeError, "workers"),
        (lambda c: c.submit(tasks.inc, 1, allow_other_workers=True), ValueError, "allow_other_workers"),
        (lambda c: c.submit(tasks.inc, 1, resources={"GPU": -1}), ValueError, "resources"),
        (lambda c: c.gather([], errors="panic"), ValueError, "errors"),
        (lambda c: c.scatter([1], broadcast="yes"), TypeError, "broadcast"),
        (lambda c: c.scatter({b"x": 2}), TypeError, "key"),
        (lambda c: c.submit(tasks.inc, 1).result(timeout="soon"), ValueError, "soon"),
        (lambda c: c.submit(tasks.inc, 1).result(timeout=[]), TypeError, "timeout"),
        (lambda c: c.submit(tasks.inc, 1).add_done_callback(3), TypeError, "add_done_callback"),
        (lambda c: c.run(5), TypeError, "function"),
        (lambda c: c.run(tasks.inc, on_error="panic"), ValueError, "on_error"),
        (lambda c: wait(c.submit(tasks.inc, 1), return_when="SOMETIME"), NotImplementedError, "return_when"),
        (lambda c: as_completed([5]), TypeError, "futures"),
        (lambda c: Client(5), TypeError, "address"),
        (lambda c: Client(c.cluster, timeout=None), ValueError, "timeout"),
        (lambda c: Client(c.cluster, n_workers=3), ValueError, "n_workers"),
        (lambda c: Client(c.cluster.scheduler_address, secret=5), TypeError, "secret"),
    ],
)
def test_wrong_arguments_raise_at_the_call(
    client: Client, call: Callable[[Client], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(client)


def test_run_without_waiting(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    assert client.run(tasks.until_there, str(go), wait=False) is None  # it would never end if it were waited for
    go.touch()
