"""Clients that close, drop and ask for what is not there, against real clusters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import process_tasks as tasks
import pytest
from process_help import until

from windrow import Client, LocalCluster


@pytest.mark.parametrize("together", [False, True])
def test_client_and_cluster_close_at_the_same_time(together: bool) -> None:
    for round in range(6):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False)
        clients = [Client(cluster), Client(cluster)]
        futures = [client.submit(tasks.inc, round) for client in clients]
        errors: list[BaseException] = []

        def close(what: Callable[[], object], errors: list[BaseException] = errors) -> None:
            try:
                what()
            except BaseException as error:
                errors.append(error)

        orders = [cluster.close, *(client.close for client in clients)]
        if round % 2:
            orders.reverse()
        threads = [threading.Thread(target=close, args=(what,)) for what in orders]
        for thread in threads:
            thread.start()
            if not together:
                thread.join(10)
        for thread in threads:
            thread.join(10)
        assert errors == []
        assert [client.status for client in clients] == ["closed", "closed"]
        assert all(future.done() for future in futures)


def test_a_key_dropped_and_used_again_runs_the_new_call(client: Client) -> None:
    for number in range(20):
        future = client.submit(int, "no number", key="k")
        assert isinstance(future.exception(), ValueError)
        del future
        future = client.submit(abs, -number, key="k")
        assert future.result() == number
        del future
        mapped = client.map(int, ["no number"], key=["k"])
        assert isinstance(mapped[0].exception(), ValueError)
        del mapped
        assert client.map(abs, [-number], key=["k"])[0].result() == number
        data = client.scatter({"k": number})
        assert data["k"].result() == number
        del data


def test_workers_that_are_not_there(client: Client) -> None:
    there = next(iter(client.scheduler_info()["workers"]))
    for call in (
        lambda: client.scatter(1, workers="nosuch"),
        lambda: client.run(tasks.pid, workers=["nosuch"]),
        lambda: client.retire_workers(["nosuch"]),
    ):
        with pytest.raises(ValueError, match=f"workers: there is no 'nosuch'.*{there}"):
            call()
    assert len(client.run(tasks.pid, workers="127.0.0.1")) == 2  # a host
    assert client.scatter(1, workers=there).result() == 1


def test_an_argument_of_another_client_is_named(cluster: LocalCluster, client: Client) -> None:
    future = client.submit(tasks.inc, 1)
    with Client(cluster, set_as_default=False) as other:
        with pytest.raises(ValueError, match=f"belongs to another client, {client.id}"):
            other.submit(tasks.inc, future)


def test_a_client_that_dies(own_client: Client, own_cluster: LocalCluster, start_python: Callable[..., Any]) -> None:
    program = start_python(
        "import process_tasks as t, time\nfrom windrow import Client\n"
        f"client = Client({own_cluster.scheduler_address!r})\n"
        "done = client.map(t.inc, range(100)); client.gather(done)\n"
        "rest = client.map(t.until_there, ['/nowhere'] * 5, range(5)); print('up', flush=True); time.sleep(100)"
    )
    assert program.stdout.readline() == "up\n"
    state = own_cluster.scheduler.core.state
    until(lambda: len(state.tasks) == 105)
    program.kill()
    until(lambda: not state.tasks)
