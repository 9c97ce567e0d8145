"""Large values between processes of one host: in memory that all of them map, and each as if it had its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask.config
import numpy as np
import pytest
from process_help import until
from process_tasks import LIMIT_S
from shared_tasks import (
    edit,
    edit_and_fail_once,
    held_bytes,
    keep,
    make,
    open_files,
    open_nothing,
    total,
    viewed_bytes,
    where,
    where_of_second,
)

from windrow import Client, LocalCluster, memfd, wait, worker_client

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")

COUNT = 500_000
"""Numbers in an array: 4 MB."""
BYTES = 8 * COUNT


def addresses(client: Client) -> list[str]:
    return list(client.scheduler_info()["workers"])


def on(client: Client, worker: str, function: Callable[..., Any], *args: Any) -> Any:
    """The result of a task on one worker."""
    return client.submit(function, *args, workers=[worker], pure=False).result(LIMIT_S)


def made(client: Client, worker: str, value: float = 1.0, count: int = COUNT) -> Any:
    future = client.submit(make, count, value, workers=[worker], pure=False)
    wait([future], timeout=LIMIT_S)
    return future


@contextmanager
def cluster_of(n_workers: int, **options: Any) -> Iterator[Client]:
    with LocalCluster(n_workers=n_workers, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client


# ---------------------------------------------------------------- worker to worker


def test_what_a_task_does_to_an_array_nobody_else_sees(client: Client) -> None:
    owner, reader = addresses(client)
    array = made(client, owner)
    assert on(client, reader, where, array) == "shared"
    for worker in (reader, reader, owner, owner):
        assert on(client, worker, edit, array) == -COUNT
        assert on(client, worker, total, array) == COUNT
    assert total(array.result(LIMIT_S)) == COUNT


def test_the_owner_does_not_have_it_twice(client: Client) -> None:
    owner, reader = addresses(client)
    array = made(client, owner)
    assert on(client, owner, where, array) == "own"
    assert on(client, reader, total, array) == COUNT
    assert on(client, owner, where, array) == "shared"


def test_small_arrays_are_sent(client: Client) -> None:
    owner, reader = addresses(client)
    assert on(client, reader, where, made(client, owner, count=4_000)) == "own"


def test_readers_together_have_one_copy() -> None:
    size = 64 * 2**20
    with cluster_of(4) as client:
        owner, *readers = addresses(client)
        client.run(make, 1)
        pids = [worker["pid"] for worker in client.scheduler_info()["workers"].values()]
        before = sum(_part_of_host(pid) for pid in pids)
        array = made(client, owner, count=size // 8)
        kept = client.map(keep, [array] * 3, workers=readers, pure=False)
        kept = [client.submit(keep, array, workers=[reader], pure=False) for reader in readers]
        totals = [client.submit(total, array, workers=[reader], pure=False) for reader in readers]
        assert client.gather(totals) == [size / 8] * 3
        assert len(set(client.gather(kept))) == 3
        assert sum(_part_of_host(pid) for pid in pids) - before < 1.2 * size


def _part_of_host(pid: int) -> int:
    """What a process takes up of the host's memory: of what it shares with others, its part."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def test_a_third_process_gets_what_was_received_as_it_is() -> None:
    with cluster_of(3) as client:
        owner, second, third = addresses(client)
        array = made(client, owner)
        assert on(client, second, where, array) == "shared"
        owned = client.run(held_bytes, workers=[second])[second]
        client.run_on_scheduler(_only_holder, array.key, second)
        assert on(client, third, where, array) == "shared"
        assert client.run(held_bytes, workers=[second])[second] == owned  # no segment of its own
        assert on(client, third, total, array) == COUNT


def _only_holder(key: str, address: str, dask_scheduler: Any) -> None:
    """Have the scheduler forget all holders but one, without telling them."""
    state = dask_scheduler.core.state
    task = state.tasks[key]
    for holder in task.holders:
        if holder.address != address:
            state.remove_holder(task, holder)


# ---------------------------------------------------------------- client


def test_gathered_twice_it_is_two_arrays_in_one_memory(client: Client) -> None:
    array = made(client, addresses(client)[0])
    first, second = array.result(LIMIT_S), array.result(LIMIT_S)
    assert where(first) == where(second) == "shared"
    first[:] = 5
    assert total(second) == total(array.result(LIMIT_S)) == COUNT


def test_what_nobody_needs_any_more_is_used_again(client: Client) -> None:
    owner, reader = addresses(client)
    client.run(_give_back)

    def used() -> int:
        client.run(_give_back, workers=[owner])
        return int(client.run(held_bytes, workers=[owner])[owner])

    for step in (lambda array: on(client, reader, total, array), lambda array: total(array.result(LIMIT_S))):
        array = made(client, owner)
        assert step(array) == COUNT
        assert used() >= BYTES
        del array
        until(lambda: used() == 0, "the segment is free", 4.0)  # messages are kept for longer, to be sent again


def test_what_was_gathered_outlives_the_worker(own_client: Client) -> None:
    found = made(own_client, addresses(own_client)[0]).result(LIMIT_S)
    for worker in own_client.scheduler_info()["workers"].values():
        os.kill(worker["pid"], signal.SIGKILL)
    assert total(found) == COUNT
    found[0] = 7


@pytest.mark.parametrize("broadcast", [False, True])
def test_scattered_data_is_mapped_by_who_uses_it(client: Client, broadcast: bool) -> None:
    data = np.arange(float(COUNT))
    array = client.scatter(data, broadcast=broadcast, hash=False)
    wanted = total(data)
    data[:] = 0  # what was scattered is what it was then
    for worker in addresses(client):
        assert on(client, worker, where, array) == "shared"
        assert on(client, worker, edit, array) == -COUNT
        assert on(client, worker, total, array) == wanted


def test_names_of_large_contents_are_those_of_one_cluster(client: Client) -> None:
    """Who may submit to it, and nobody else, can tell which two contents have the same name."""
    array = np.ones(2**18)
    name, task = client.scatter(array).key, client.submit(np.sum, array).key

    def names() -> tuple[object, object]:
        with worker_client() as inner:
            return inner.scatter(np.ones(2**18)).key, inner.submit(np.sum, np.ones(2**18)).key

    assert client.submit(names).result(timeout=60) == (name, task)
    with LocalCluster(n_workers=0, dashboard_address=None) as other, Client(other) as stranger:
        assert stranger.submit(np.sum, array).key != task
        small = np.ones(100)
        assert stranger.submit(np.sum, small).key == client.submit(np.sum, small).key


def test_what_was_scattered_stays_whatever_the_client_scatters_next(client: Client) -> None:
    arrays = []
    for number in range(8):  # let go at once, while tasks still need it
        arrays.append(client.submit(total, client.scatter(np.full(COUNT, float(number)), hash=False), pure=False))
    assert client.gather(arrays) == [float(number * COUNT) for number in range(8)]


def test_structures_of_arrays_come_through(client: Client) -> None:
    data = {"x": np.asfortranarray(np.arange(90_000.0).reshape(300, 300)), "y": [np.empty(0), np.arange(50_000)]}
    [future] = client.scatter([data], hash=False)
    np.testing.assert_equal(future.result(LIMIT_S), data)
    np.testing.assert_equal(client.submit(dict, future, pure=False).result(LIMIT_S), data)


# ---------------------------------------------------------------- when it cannot be


def test_with_the_setting_off_all_works_as_between_hosts() -> None:
    env = {"DASK_WINDROW__SHARED_MEMORY__ENABLED": "False"}
    with cluster_of(2, env=env) as client:
        first, second = addresses(client)
        array = made(client, first)
        assert on(client, second, where, array) == where(array.result(LIMIT_S)) == "own"
        scattered = client.scatter(np.ones(COUNT), hash=False)
        assert on(client, first, where, scattered) == on(client, second, where, scattered) == "own"


def _refuse_to_open(on: bool) -> None:
    from windrow import memfd
    from windrow.memfd import SegmentError

    def refuse(*args: object) -> None:
        raise SegmentError(13, "as if /proc were not to be opened")

    if on:
        memfd.attach_before = memfd.attach  # type: ignore[attr-defined]
        memfd.attach = refuse  # type: ignore[assignment]
    else:
        memfd.attach = memfd.attach_before  # type: ignore[attr-defined]


def test_who_cannot_open_it_is_sent_the_bytes(client: Client) -> None:
    first, second = addresses(client)
    array, other = made(client, first), made(client, first, 2.0)
    client.run(_refuse_to_open, True, workers=[second])
    try:
        assert on(client, second, where, array) == "own"
        assert on(client, second, total, array) == COUNT
        scattered = client.scatter(np.full(COUNT, 3.0), workers=[second], hash=False)
        assert on(client, second, where, scattered) == "own"
        assert total(scattered.result(LIMIT_S)) == 3 * COUNT
    finally:
        client.run(_refuse_to_open, False, workers=[second])
    assert on(client, second, where, other) == "shared"


def test_a_client_that_cannot_open_it_is_sent_the_bytes(client: Client) -> None:
    array = made(client, addresses(client)[0])
    _refuse_to_open(True)
    try:
        found = array.result(LIMIT_S)
    finally:
        _refuse_to_open(False)
    assert (where(found), total(found)) == ("own", COUNT)


def _be_elsewhere(dask_worker: Any) -> None:
    dask_worker.peers.host = "another host"


def test_who_is_on_another_host_is_neither_offered_nor_asked_for_it(own_client: Client) -> None:
    first, second = addresses(own_client)
    own_client.run(_be_elsewhere, workers=[first])
    array, other = made(own_client, first), made(own_client, second)
    assert on(own_client, second, where, array) == "own"
    assert on(own_client, first, where, other) == "own"
    assert where(other.result(LIMIT_S)) == "shared"
    assert where(array.result(LIMIT_S)) == "own"


# ---------------------------------------------------------------- deaths, and what is left behind


def test_nothing_is_left_of_a_reader_that_was_killed(own_client: Client) -> None:
    client = own_client
    owner, reader = addresses(client)
    before = client.run(open_files, workers=[owner])[owner]
    array = made(client, owner)
    pid = on(client, reader, keep, array)
    os.kill(pid, signal.SIGKILL)
    until(lambda: reader not in addresses(client), "the reader is gone")
    assert on(client, owner, total, array) == COUNT
    del array

    def is_free() -> bool:
        client.run(_give_back, workers=[owner])
        return client.run(held_bytes, workers=[owner])[owner] == 0

    until(is_free, "its owner has nothing of it any more")
    until(lambda: client.run(open_files, workers=[owner])[owner] <= before + 1, "its owner's descriptors are closed")


def _give_back() -> None:
    from windrow import segments

    segments.give_back()


def test_a_reader_keeps_what_it_has_when_the_owner_is_killed(own_client: Client) -> None:
    client = own_client
    owner, reader = addresses(client)
    array = made(client, owner)
    assert on(client, reader, where, array) == "shared"
    os.kill(client.scheduler_info()["workers"][owner]["pid"], signal.SIGKILL)
    until(lambda: owner not in addresses(client), "the owner is gone")
    assert on(client, reader, total, array) == COUNT
    assert where(array.result(LIMIT_S)) == "own"  # the way to the segment went with its owner


def test_what_is_on_disk_takes_up_no_memory() -> None:
    limit = 256 * 2**20
    env = {"DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "0.3", "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False"}
    with cluster_of(2, memory_limit=limit, env=env) as client:
        owner, reader = addresses(client)
        arrays = [made(client, owner, float(number)) for number in range(30)]
        totals = [client.submit(total, array, workers=[reader], pure=False) for array in arrays]
        assert client.gather(totals) == [float(number * COUNT) for number in range(30)]
        for worker in (owner, reader):
            held = client.run(held_bytes, workers=[worker])[worker]
            assert 4 * BYTES < held < 0.5 * limit
            # Who ran the last task may be about to let go of what it was given.
            until(lambda worker=worker: client.run(viewed_bytes, workers=[worker])[worker] == 0, "nothing is mapped")
        again = [client.submit(total, array, workers=[owner], pure=False) for array in arrays]
        assert client.gather(again) == [float(number * COUNT) for number in range(30)]


# ---------------------------------------------------------------- other ways


def test_over_tls() -> None:
    with cluster_of(2, security=True) as client:
        first, second = addresses(client)
        assert first.startswith("tls://")
        array = made(client, first)
        assert on(client, second, where, array) == where(array.result(LIMIT_S)) == "shared"


def test_workers_of_one_process() -> None:
    with cluster_of(2, processes=False) as client:
        first, second = addresses(client)
        array = made(client, first)
        assert on(client, second, edit, array) == -COUNT
        assert on(client, first, total, array) == on(client, second, total, array) == COUNT
        scattered = client.scatter(np.ones(COUNT), hash=False)
        assert on(client, first, edit, scattered) == -COUNT
        assert total(scattered.result(LIMIT_S)) == COUNT


# ---------------------------------------------------------------- arguments


def test_large_arguments_are_mapped_by_their_task(client: Client) -> None:
    array = np.ones(COUNT)
    assert client.submit(where, array).result(LIMIT_S) == "shared"
    assert client.submit(where, array=array, pure=False).result(LIMIT_S) == "shared"
    assert client.gather(client.map(where, [array, 2 * array])) == ["shared"] * 2
    assert client.gather(client.map(where_of_second, [1, 2], array=array)) == ["shared"] * 2
    assert client.submit(where, array[:10_000]).result(LIMIT_S) == "own"
    assert client.get({"x": (where, array)}, "x") == "shared"


def test_what_becomes_of_an_argument_is_no_concern_of_its_task(client: Client) -> None:
    """Nor what the task does to it a concern of the one that is made in its place."""
    array = np.ones(COUNT)
    future = client.submit(edit_and_fail_once, array, retries=1, workers=addresses(client)[:1], pure=False)
    array[:] = 5.0
    assert future.result(LIMIT_S) == COUNT
    assert total(array) == 5 * COUNT


def test_arguments_are_let_go_of_with_their_task(client: Client) -> None:
    from windrow import segments

    client.run(open_files)
    array, before = np.ones(COUNT), repr(segments.pool())
    in_use = before.split(",")[0]
    futures = client.map(total, [array * factor for factor in (2, 3)])
    assert client.gather(futures) == [2 * COUNT, 3 * COUNT]
    assert repr(segments.pool()).split(",")[0] != in_use  # they are kept for as long as their tasks
    files = client.run(open_files)
    del futures
    until(lambda: repr(segments.pool()).split(",")[0] == in_use)
    until(lambda: all(now <= files[worker] for worker, now in client.run(open_files).items()))
    assert max(client.run(viewed_bytes).values()) == 0


def test_who_cannot_open_arguments_is_sent_them() -> None:
    with cluster_of(1) as other:
        array = np.ones(COUNT)
        other.run(open_nothing)
        assert other.submit(where, array).result(LIMIT_S) == "own"
        assert other.submit(total, array).result(LIMIT_S) == COUNT


def test_a_worker_that_takes_no_part_is_sent_arguments() -> None:
    with dask.config.set({"windrow.shared-memory.enabled": False}), cluster_of(1) as client:
        assert client.submit(where, np.ones(COUNT)).result(LIMIT_S) == "own"
