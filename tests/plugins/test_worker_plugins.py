"""Plugins of workers: set up everywhere, on those that come later before their first task, and torn down again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from plugin_help import HEARD, Broken, Marker, Slow, fail, heard, inc, mark_of, until

from windrow import Client, LocalCluster, WorkerPlugin


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    HEARD.clear()
    yield
    HEARD.clear()


def test_present_and_later_workers_have_it(client: Client, threads: LocalCluster) -> None:
    [address] = client.scheduler_info()["workers"]
    assert client.register_plugin(Marker()) == {address: {"status": "OK"}}
    threads.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(mark_of).values()) == ["set up"] * 2


def test_the_hooks_of_a_later_worker_come_before_its_first_task(processes: LocalCluster) -> None:
    with Client(processes) as client:
        client.register_plugin(Marker())
        futures = client.map(task_mark, range(50), workers=["1"], allow_other_workers=False, pure=False)
        processes.scale(2)
        assert set(client.gather(futures)) == {"set up"}


def task_mark(_: int) -> object:
    import windrow

    return getattr(windrow.get_worker(), "mark", None)


def test_a_plugin_survives_the_death_of_its_worker(process_client: Client) -> None:
    process_client.register_plugin(Marker())
    [pid] = process_client.run(os.getpid).values()
    os.kill(pid, signal.SIGKILL)
    future = process_client.submit(task_mark, 0)
    assert future.result(timeout=20) == "set up"
    assert list(process_client.run(os.getpid).values()) != [pid]


def test_a_restart_of_the_cluster_sets_plugins_up_again(process_client: Client) -> None:
    process_client.register_plugin(Marker())
    process_client.restart()
    assert list(process_client.run(mark_of).values()) == ["set up"]


def test_hooks_run_on_the_main_thread_of_a_process(process_client: Client) -> None:
    process_client.register_plugin(Threaded())
    assert list(process_client.run(mark_of).values()) == [True]


def test_hooks_leave_a_shared_loop_alone(client: Client) -> None:
    client.register_plugin(Threaded())
    assert list(client.run(mark_of).values()) == [False]


class Threaded(WorkerPlugin):
    def setup(self, worker: Any) -> None:
        worker.mark = threading.get_ident() == worker.thread_id


def test_coroutine_hooks_are_awaited(client: Client) -> None:
    client.register_plugin(Slow())
    assert heard("setup") == [("setup", "set up", 0)]
    client.unregister_worker_plugin("marker")
    assert heard("teardown") == [("teardown", "set up", 0)]


def test_what_setup_raises_is_raised_and_the_plugin_is_registered_nowhere(
    client: Client, threads: LocalCluster
) -> None:
    with pytest.raises(ArithmeticError, match="no luck on 0"):
        client.register_plugin(Broken())
    assert client.run_on_scheduler(lambda dask_scheduler: dict(dask_scheduler.worker_plugins)) == {}
    threads.scale(2)
    client.wait_for_workers(2, timeout=20)


def test_where_one_fails_it_is_undone_on_the_others(client: Client, threads: LocalCluster) -> None:
    threads.scale(2)
    client.wait_for_workers(2)
    with pytest.raises(ArithmeticError, match="no luck on 1"):
        client.register_plugin(Broken(names=(1,)))
    assert list(client.run(lambda dask_worker: list(dask_worker.plugins)).values()) == [[], []]


def test_a_later_worker_where_setup_fails_does_not_start(
    client: Client, threads: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    client.register_plugin(Broken(names=(1,)))
    with caplog.at_level(logging.ERROR):
        threads.scale(2)
        until(lambda: threads.plan == {0}, "the cluster gives it up")
    assert any("'broken' could not be set up" in record.message for record in caplog.records)
    assert any("no luck on 1" in record.message for record in caplog.records)
    assert len(client.scheduler_info()["workers"]) == 1


def test_another_of_the_same_name_takes_its_place(client: Client) -> None:
    client.register_plugin(Marker("first"))
    client.register_plugin(Marker("second"))
    assert heard("setup", "teardown") == [("setup", "first", 0), ("teardown", "first", 0), ("setup", "second", 0)]
    assert list(client.run(mark_of).values()) == ["second"]


def test_an_idempotent_plugin_is_set_up_once(client: Client) -> None:
    plugin = Marker("first")
    plugin.idempotent = True
    assert len(client.register_plugin(plugin)) == 1
    assert client.register_plugin(plugin) == {}
    assert len(heard("setup")) == 1


def test_an_unregistered_plugin_is_torn_down(client: Client, threads: LocalCluster) -> None:
    client.register_plugin(Marker())
    [address] = client.scheduler_info()["workers"]
    assert client.unregister_worker_plugin("marker") == {address: {"status": "OK"}}
    assert list(client.run(mark_of).values()) == [None]
    threads.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(mark_of).values()) == [None, None]
    with pytest.raises(ValueError, match="no worker plugin 'marker'"):
        client.unregister_worker_plugin("marker")


def test_the_end_of_a_worker_tears_its_plugins_down(threads: LocalCluster, client: Client) -> None:
    client.register_plugin(Marker("a", "a"))
    client.register_plugin(Marker("b", "b"))
    threads.scale(0)
    until(lambda: heard("teardown"), "the worker's plugins are told")
    assert heard("teardown")[0] == ("teardown", "b", 0)


def test_the_end_of_a_cluster_leaves_processes_time_to_tear_down(runtime_directory: object, tmp_path: Any) -> None:
    note = tmp_path / "note"
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        client.register_plugin(Noter(str(note)))
    assert note.read_text() == "torn down"


class Noter(WorkerPlugin):
    def __init__(self, path: str) -> None:
        self.path = path

    def teardown(self, worker: Any) -> None:
        with open(self.path, "w") as file:
            file.write("torn down")


def test_a_broken_teardown_is_logged_and_the_worker_ends(
    threads: LocalCluster, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    class Sticky(WorkerPlugin):
        name = "sticky"

        def teardown(self, worker: Any) -> None:
            raise ArithmeticError("stuck")

    client.register_plugin(Sticky())
    with caplog.at_level(logging.ERROR, "windrow.plugins"):
        threads.scale(0)
    assert any("'sticky' could not be torn down" in record.message for record in caplog.records)


def test_tasks_moves_are_told(client: Client) -> None:
    client.register_plugin(Marker())
    future = client.submit(inc, 1, key="one")
    assert future.result() == 2
    bad = client.submit(fail, key="bad")
    assert isinstance(bad.exception(), ArithmeticError)
    future.release()
    until(lambda: ("worker transition", "one", "memory", "released") in HEARD)
    assert [move[2:] for move in heard("worker transition") if move[1] == "one"] == [
        ("released", "waiting"),
        ("waiting", "ready"),
        ("ready", "executing"),
        ("executing", "memory"),
        ("memory", "released"),
    ]
    assert ("worker transition", "bad", "executing", "error") in HEARD


def test_a_task_that_runs_is_told_while_it_runs(client: Client) -> None:
    client.register_plugin(Marker())
    event = threading.Event()
    waits = client.submit(wait_here, key="waits")
    WAITS.append(event)
    until(lambda: ("worker transition", "waits", "ready", "executing") in HEARD)
    assert not waits.done()
    event.set()
    waits.result()


WAITS: list[threading.Event] = []


def wait_here() -> None:
    until(lambda: WAITS, "there is something to wait for")
    WAITS.pop().wait(20)


def test_moves_are_noted_only_for_a_plugin_that_asks(client: Client) -> None:
    client.register_plugin(Threaded(), name="threaded")
    assert list(client.run(lambda dask_worker: dask_worker.core.moves).values()) == [None]
    client.register_plugin(Marker())
    assert list(client.run(lambda dask_worker: dask_worker.core.moves is not None).values()) == [True]
    client.unregister_worker_plugin("marker")
    assert list(client.run(lambda dask_worker: dask_worker.core.moves).values()) == [None]


def test_callbacks_run_on_present_and_later_workers(client: Client, threads: LocalCluster) -> None:
    [address] = client.scheduler_info()["workers"]
    assert client.register_worker_callbacks(setup=leave_mark) == {address: {"status": "OK"}}
    assert len(client.register_worker_callbacks(lambda: None)) == 1
    threads.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(mark_of).values()) == ["by a callback"] * 2
    with pytest.raises(TypeError, match="setup must be a function"):
        client.register_worker_callbacks()


def leave_mark(dask_worker: Any) -> None:
    dask_worker.mark = "by a callback"


def test_an_asynchronous_client_awaits(runtime_directory: object) -> None:
    async def scenario() -> None:
        async with (
            LocalCluster(n_workers=1, processes=False, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            assert list((await client.register_plugin(Marker())).values()) == [{"status": "OK"}]
            with pytest.raises(ArithmeticError):
                await client.register_plugin(Broken())
            await client.unregister_worker_plugin("marker")

    asyncio.run(scenario())
    assert [call[0] for call in heard("setup", "teardown")] == ["setup", "teardown"]


def test_what_is_registered_while_a_worker_arrives_reaches_it(threads: LocalCluster, client: Client) -> None:
    """A worker that sets a slow plugin up has not said hello yet; another plugin is registered in that time."""
    gate = threading.Event()
    GATES.append(gate)
    client.register_plugin(Gated())
    scaling = threading.Thread(target=threads.scale, args=(2,))
    scaling.start()
    until(lambda: ("at the gate", 1) in HEARD)
    client.register_plugin(Marker())
    assert len(client.scheduler_info()["workers"]) == 1
    gate.set()
    scaling.join()
    client.wait_for_workers(2)
    until(lambda: list(client.run(mark_of).values()) == ["set up"] * 2)


GATES: list[threading.Event] = []


class Gated(WorkerPlugin):
    def setup(self, worker: Any) -> None:
        if worker.name == 1:
            HEARD.append(("at the gate", worker.name))
            GATES.pop().wait(20)
