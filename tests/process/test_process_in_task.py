"""What tasks may ask for: a worker, a client, to leave the threads. One thread a worker, so who waits is in the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import in_task_tasks as tasks
import pytest
from process_help import until

import windrow
from windrow import Client, KilledWorker, LocalCluster

NESTED = [
    (tasks.fib, 8, 21),
    (tasks.gathers, 10, 55),
    (tasks.waits, 10, 10),
    (tasks.in_order_of_end, 3, [1, 2, 3]),
    (tasks.with_worker_client, 10, 55),
    (tasks.dask_sum, 10, 55),
]


@pytest.mark.parametrize(("function", "n", "expected"), NESTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_task_that_waits_for_others_lets_them_run(client: Client, function: object, n: int, expected: object) -> None:
    futures = [client.submit(function, n, pure=False) for _ in range(4)]
    assert client.gather(futures) == [expected] * 4


@pytest.fixture(scope="module")
def inproc() -> Iterator[Client]:
    """One worker of one thread in this process."""
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        yield client


@pytest.mark.parametrize(("function", "n", "expected"), NESTED, ids=lambda value: getattr(value, "__name__", ""))
def test_in_this_process_too(inproc: Client, function: object, n: int, expected: object) -> None:
    futures = [inproc.submit(function, n, pure=False) for _ in range(4)]
    assert inproc.gather(futures) == [expected] * 4


def test_a_worker_s_tasks_share_one_client(client: Client) -> None:
    ids = client.gather([client.submit(lambda: windrow.get_client().id, workers=[0], pure=False) for _ in range(5)])
    assert len(set(ids)) == 1
    assert ids[0].startswith("Client-worker-0-")
    assert client.submit(tasks.fib, 3).result() == 2


def test_get_client_by_address(cluster: LocalCluster, client: Client) -> None:
    assert windrow.get_client() is client
    assert windrow.get_client(cluster.scheduler_address) is client
    address = cluster.scheduler_address
    same = client.submit(lambda: windrow.get_client(address) is windrow.get_client()).result()
    assert same is True


def test_get_worker(client: Client) -> None:
    address, pid = client.submit(tasks.who, workers=[1]).result()
    assert client.run(os.getpid, workers=[1]) == {address: pid}


@pytest.mark.parametrize("name", ["get_worker", "secede", "rejoin"])
def test_outside_of_tasks_there_is_no_worker(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.* is for code inside a task"):
        getattr(windrow, name)()


def test_worker_client_is_for_tasks() -> None:
    with pytest.raises(ValueError, match="inside a task"):
        with windrow.worker_client():
            pass


def test_local_client_is_an_old_name(client: Client) -> None:
    assert client.submit(tasks.with_local_client, 3).result() == 6


def test_coroutines_take_no_thread(client: Client) -> None:
    assert client.gather(client.map(tasks.coroutine, range(4), workers=[0])) == [(i + 1, 0) for i in range(4)]
    start = time.monotonic()
    assert client.gather([client.submit(tasks.sleeps, 0.3, i) for i in range(50)]) == list(range(50))
    assert time.monotonic() - start < 50 * 0.3 / 2


def test_those_that_secede_are_there_together(client: Client, tmp_path: Path) -> None:
    futures = [client.submit(tasks.meets, str(tmp_path), number, 6) for number in range(6)]
    assert sorted(client.gather(futures)) == list(range(6))
    assert client.submit(tasks.inc, 1).result() == 2


def test_those_that_rejoin_are_no_more_than_the_threads(client: Client, tmp_path: Path) -> None:
    futures = [client.submit(tasks.at_a_time, str(tmp_path), number, workers=[0]) for number in range(20)]
    assert client.gather(futures) == [1] * 20


def test_reschedule(client: Client, tmp_path: Path) -> None:
    assert client.submit(tasks.elsewhere, str(tmp_path / "mark")).result() == "again"


def test_a_future_without_a_client_is_bound_inside_a_task(client: Client) -> None:
    future = client.submit(tasks.inc, 41)
    future.result()
    assert client.submit(tasks.result_of, [tasks.Box(future)]).result() == 42


def test_what_a_task_submits_goes_first(client: Client) -> None:
    one = client.submit(lambda: windrow.context.place().priority, priority=2)
    assert one.result() == 2

    def nested() -> tuple[float, float]:
        inner = windrow.get_client().submit(lambda: windrow.context.place().priority, pure=False)
        return windrow.context.place().priority, inner.result()

    outer, inner = client.submit(nested).result()
    assert outer == 0 < inner < 1


def test_cancelling_a_task_that_waits(client: Client) -> None:
    never = windrow.Event("test-never")
    future = client.submit(lambda: windrow.Event("test-never").wait(), workers=[0])
    until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.core.desk.questions)) == 1)
    future.cancel()
    assert client.submit(tasks.inc, 1, workers=[0]).result() == 2
    never.set()
    until(lambda: client.run(lambda dask_worker: dask_worker.core.ghosts, workers=[0]) == {client_worker(client): 0})


def test_no_task_closes_the_client_of_the_others(client: Client) -> None:
    waiting = client.submit(tasks.waits_long, "test-shared", workers=[0], pure=False)
    until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.core.desk.questions)) == 1)
    assert client.submit(tasks.closes_it, workers=[0]).result() == 2
    windrow.Event("test-shared").set()
    assert waiting.result() == 7


def test_threads_of_tasks_find_the_worker_s_client(client: Client) -> None:
    assert client.submit(tasks.in_a_thread_of_its_own).result() == 1


def test_a_wait_that_is_over_needs_no_place(client: Client, tmp_path: Path) -> None:
    assert client.submit(tasks.gives_up_waiting, str(tmp_path / "mark")).result(timeout=10) is True


def client_worker(client: Client) -> str:
    """The address of worker 0."""
    workers = client.scheduler_info()["workers"]
    return next(address for address, worker in workers.items() if worker["name"] == 0)


def test_a_task_that_kills_from_outside_the_threads_is_blamed(own_client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    future = own_client.submit(tasks.secede_and_die, str(log))
    with pytest.raises(KilledWorker):
        future.result(timeout=30)
    assert log.read_text() == "xxxx"


def test_fire_and_forget(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "fired"
    windrow.fire_and_forget([client.submit(lambda: path.write_text("x"))])
    until(path.exists, "the task runs")
    with pytest.raises(TypeError, match="obj"):
        windrow.fire_and_forget(3)


def test_a_forgotten_task_outlives_its_client(cluster: LocalCluster, client: Client, tmp_path: Path) -> None:
    path, gate = tmp_path / "fired", windrow.Event("test-gate")

    def late() -> None:
        assert windrow.Event("test-gate").wait(timeout=10)
        path.write_text("x")

    with Client(cluster) as other:
        windrow.fire_and_forget(other.submit(late))
    gate.set()
    until(path.exists, "the task runs to its end")


# ---------------------------------------------------------------- what became of tasks, and spans


def test_task_metadata(client: Client) -> None:
    with windrow.get_task_metadata() as seen:
        good = client.submit(tasks.inc, 1)
        bad = client.submit(tasks.inc, None)
        windrow.wait([good, bad])
    assert seen.state == {good.key: "memory", bad.key: "erred"}
    facts = seen.metadata[good.key]
    assert facts["worker"] in client.nthreads()
    assert facts["startstops"][0]["action"] == "compute"
    client.submit(tasks.inc, 2).result()
    assert set(seen.state) == {good.key, bad.key}
    assert not client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))


def test_spans_are_annotations() -> None:
    import dask

    with windrow.span("outer") as outer:
        with windrow.span("a", "b") as inner:
            said = dask.get_annotations()["span"]
    assert said["name"] == ("outer", "a", "b")
    assert (said["ids"][0], said["ids"][-1]) == (outer, inner)
    assert "span" not in dask.get_annotations()
    with pytest.raises(ValueError, match="needs a tag"):
        with windrow.span():
            pass
    with pytest.raises(TypeError, match="strings"):
        with windrow.span(3):
            pass
