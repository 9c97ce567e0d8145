"""The scheduler and workers as plugins and functions that run there see them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from plugin_help import Marker, fail, inc, until

from windrow import Client, LocalCluster, WorkerPlugin, get_client, get_worker

GO: list[threading.Event] = []


def hold(x: int) -> int:
    until(lambda: GO, "there is something to wait for")
    GO[0].wait(20)
    return x


@pytest.fixture
def view(threads: LocalCluster, client: Client) -> Any:
    """The scheduler, which is in this process: looked at from here while nothing happens."""
    return threads.scheduler.view


# ---------------------------------------------------------------- the scheduler


def test_functions_on_the_scheduler_get_the_view(client: Client, view: Any) -> None:
    assert client.run_on_scheduler(lambda dask_scheduler: repr(dask_scheduler)) == repr(view)
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.id) == view.id
    assert repr(view) == f"<Scheduler '{view.address}', workers: 1, cores: 1, tasks: 0>"


def test_what_it_is(client: Client, view: Any, threads: LocalCluster) -> None:
    assert view.address == threads.scheduler_address
    assert view.status == "running"
    assert (view.ip, view.port) == ("127.0.0.1", 0)  # it is within this process
    assert view.loop is threads.scheduler.loop
    assert view.core is threads.scheduler.core
    assert view.identity()["workers"].keys() == view.workers.keys()
    assert view.identity(n_workers=0)["workers"] == {}
    until(lambda: list(view.clients) == [client.id], "the client's hello is there")
    assert "events" in view.extensions
    assert view.plugins == view.worker_plugins == view.nanny_plugins == {}


def _register(dask_scheduler: Any, count: int) -> None:
    async def later(comm: Any, x: int) -> tuple[Any, int]:
        return comm, x + count

    dask_scheduler.extensions["mine"] = count
    dask_scheduler.handlers.update(mine_now=lambda x: x - count, mine_later=later)


def test_handlers_of_programs_are_asked_by_name(client: Client, view: Any) -> None:
    client.run_on_scheduler(_register, count=2)
    assert client.sync(client.scheduler.mine_now, x=1) == -1
    assert client.sync(client.scheduler.mine_later, x=1) == (None, 3)
    assert client.submit(lambda: get_client().sync(get_client().scheduler.mine_now, x=7)).result() == 5
    assert view.extensions["mine"] == 2
    assert "mine" not in view.core.desk.services
    with pytest.raises(AttributeError, match=r"client.scheduler has no 'mine'; there are .*, mine_later, mine_now, "):
        client.sync(client.scheduler.mine)
    with pytest.raises(TypeError, match="'y'"):
        client.sync(client.scheduler.mine_now, y=1)


def test_what_a_scheduler_has_not_is_told(client: Client, view: Any) -> None:
    with pytest.raises(AttributeError, match=r"has no 'story': no log of transitions is kept; client.explain\(key\)"):
        client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.story("x"))
    with pytest.raises(AttributeError, match=r"the scheduler has no 'taks'$"):
        view.taks  # noqa: B018


def test_a_worker_is_described(client: Client, view: Any) -> None:
    future = client.submit(inc, 1, key="one")
    future.result()
    [(address, worker)] = view.workers.items()
    assert (worker.address, worker.name, worker.nthreads, worker.status) == (address, 0, 1, "running")
    assert view.aliases == {0: address}
    assert view.running == {worker}
    assert worker in view.idle.values()
    assert worker.has_what == {view.tasks["one"]: None}
    assert worker.nbytes == view.tasks["one"].nbytes == 28
    assert worker.processing == worker.long_running == set()
    assert worker.occupancy == view.total_occupancy == 0.0
    assert worker.resources == worker.used_resources == {}
    assert worker.pid == worker.identity()["pid"]
    assert worker.memory_limit == view.total_memory
    assert worker.host == "127.0.0.1"
    assert worker.nanny is None
    assert worker.local_directory
    assert isinstance(worker.metrics, dict)
    assert abs(worker.last_seen - client.run_on_scheduler(lambda: __import__("time").time())) < 60
    assert "name: 0" in repr(worker)
    assert view.total_nthreads == 1


def test_tasks_are_described(client: Client, view: Any) -> None:
    GO[:] = [threading.Event()]
    running = client.submit(hold, 1, key="runs", retries=2)
    waits = client.submit(inc, running, key="waits", priority=5)
    queued = client.submit(hold, 2, key="queued")
    nowhere = client.submit(inc, 3, key="nowhere", resources={"GPU": 1})
    until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 4)
    described = client.run_on_scheduler(describe)
    assert described["runs"] == {
        "state": "processing",
        "dependencies": [],
        "dependents": ["waits"],
        "waiting_on": [],
        "waiters": ["waits"],
        "processing_on": 0,
        "retries": 2,
        "nbytes": -1,
    }
    assert (described["waits"]["state"], described["waits"]["waiting_on"]) in [
        ("waiting", ["runs"]),
        ("processing", ["runs"]),  # sent ahead
    ]
    assert described["nowhere"]["state"] == "no-worker"
    assert list(view.unrunnable) == [view.tasks["nowhere"]]
    assert not view.is_idle
    assert view.tasks["nowhere"].resource_restrictions == {"GPU": 1.0}
    assert view.tasks["waits"].priority < view.tasks["runs"].priority
    nowhere.release()
    GO[0].set()
    assert client.gather([running, waits, queued]) == [1, 2, 2]
    task = view.tasks["runs"]
    assert (task.state, task.type, task.who_has) == ("memory", "int", {view.workers[next(iter(view.workers))]})
    assert task.who_wants == {view.clients[client.id]}
    assert task in view.clients[client.id].wants_what
    assert view.clients[client.id].client_key == client.id
    assert (task.prefix.name, task.group.name) == ("hold", "hold")
    assert (task.run_id, task.suspicious, task.actor) == (1, 0, False)
    assert (task.worker_restrictions, task.loose_restrictions) == (None, False)
    assert repr(task) == "<TaskState 'runs' memory>"
    assert "runs" in repr(view.tasks)


def describe(dask_scheduler: Any) -> dict[str, Any]:
    names = ("dependencies", "dependents", "waiting_on", "waiters")
    return {
        key: {
            "state": task.state,
            **{name: sorted(other.key for other in getattr(task, name)) for name in names},
            "processing_on": task.processing_on and task.processing_on.name,
            "retries": task.retries,
            "nbytes": task.nbytes,
        }
        for key, task in dask_scheduler.tasks.items()
    }


def test_erred_tasks_are_described(client: Client, view: Any) -> None:
    bad = client.submit(fail, key="bad")
    heir = client.submit(inc, bad, key="heir")
    assert isinstance(heir.exception(), ArithmeticError)
    task = view.tasks["heir"]
    assert view.erred_tasks == {task, view.tasks["bad"]}
    assert task.exception_blame == view.tasks["bad"]
    assert task.exception_text == "ArithmeticError: it does not add up"
    assert "Traceback" in task.traceback_text
    assert task.exception
    assert view.is_idle


def test_groups_are_named_by_the_head_of_their_keys(client: Client, view: Any) -> None:
    futures = [client.submit(inc, i, key=("chunks", i)) for i in range(2)]
    client.gather(futures)
    assert view.tasks["chunks", 1].group.name == "chunks"
    with pytest.raises(KeyError):
        view.tasks["nothing"]


def test_events_are_logged_and_read_there(client: Client) -> None:
    async def log(dask_scheduler: Any) -> None:
        dask_scheduler.log_event(["x", "y"], {"a": 1})

    client.run_on_scheduler(log)
    until(lambda: client.get_events("x"))
    [(when, event)] = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.get_events("y"))
    assert (event, when > 1e9) == ({"a": 1}, True)
    assert "x" in client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.get_events())


def test_plugins_are_handed_on_from_there(client: Client) -> None:
    async def hand_on(dask_scheduler: Any) -> Any:
        done = await dask_scheduler.register_worker_plugin(plugin=Marker(), name="there")
        await dask_scheduler.register_nanny_plugin(plugin=Marker(), name="nowhere")  # there are none
        return list(done.values()), list(dask_scheduler.worker_plugins), list(dask_scheduler.nanny_plugins)

    assert client.run_on_scheduler(hand_on) == ([{"status": "OK"}], ["there"], ["nowhere"])

    class Bad(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            raise ArithmeticError("no luck")

    async def fail_there(dask_scheduler: Any) -> None:
        await dask_scheduler.register_worker_plugin(plugin=Bad(), name="bad")

    with pytest.raises(ArithmeticError, match="no luck"):
        client.run_on_scheduler(fail_there)
    assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins)) == ["there"]


def test_workers_are_retired_from_there(client: Client, threads: LocalCluster) -> None:
    threads.scale(2)
    client.wait_for_workers(2)

    async def retire(dask_scheduler: Any) -> list[str]:
        return list(await dask_scheduler.retire_workers(dask_scheduler.workers_to_close(n=1)))

    assert len(client.run_on_scheduler(retire)) == 1
    until(lambda: len(client.scheduler_info()["workers"]) == 1)


def test_plugins_are_added_and_removed_there(client: Client) -> None:
    def change(dask_scheduler: Any) -> list[str]:
        from windrow import SchedulerPlugin

        dask_scheduler.add_plugin(SchedulerPlugin(), name="a")
        dask_scheduler.add_plugin(SchedulerPlugin(), name="b", idempotent=True)
        dask_scheduler.remove_plugin("a")
        try:
            dask_scheduler.add_plugin(object())
        except TypeError:
            return list(dask_scheduler.plugins)
        return []

    assert client.run_on_scheduler(change) == ["b"]


# ---------------------------------------------------------------- workers


def test_the_worker_as_tasks_see_it(client: Client) -> None:
    def look() -> Any:
        worker = get_worker()
        return worker.get_current_task(), worker.state.executing.pop().key, worker.status, worker.scheduler.address

    [key, executing, status, address] = client.submit(look, key="looks").result()
    assert (key, executing, status) == ("looks", "looks", "running")
    assert address == client.run_on_scheduler(lambda dask_scheduler: dask_scheduler._server.inproc_address)


def test_the_worker_as_functions_see_it(client: Client) -> None:
    [scattered] = client.scatter([[1, 2]], hash=False)
    future = client.submit(inc, 1, key="one")
    future.result()

    def look(dask_worker: Any) -> Any:
        return {
            "data": dict(dask_worker.data),
            "keys": sorted(dask_worker.keys()),
            "tasks": {key: task.state for key, task in dask_worker.state.tasks.items()},
            "nthreads": dask_worker.state.nthreads,
            "nanny": dask_worker.nanny,
            "same": dask_worker.id == dask_worker.contact_address == dask_worker.state.address == dask_worker.address,
            "idle": (dask_worker.state.ready, dask_worker.state.waiting, len(dask_worker.state.data)),
        }

    [(_, seen)] = client.run(look).items()
    assert seen["data"] == {"one": 2, scattered.key: [1, 2]}
    assert seen["keys"] == sorted(["one", scattered.key])
    assert seen["tasks"] == {"one": "memory", scattered.key: "memory"}
    assert (seen["nthreads"], seen["nanny"], seen["same"], seen["idle"]) == (1, None, True, (set(), set(), 2))
    future.release()
    until(lambda: list(client.run(lambda dask_worker: list(dask_worker.data)).values()) == [[scattered.key]])


def test_the_current_task_is_a_matter_of_tasks(client: Client) -> None:
    with pytest.raises(ValueError, match="outside"):
        client.run(lambda dask_worker: dask_worker.get_current_task())


def test_a_worker_closes_itself_and_its_nanny_starts_another(process_client: Client, processes: LocalCluster) -> None:
    nanny: Any = processes.workers[0]
    pid = nanny.pid

    async def leave(dask_worker: Any) -> None:
        asyncio.get_running_loop().call_later(
            0.1, lambda: dask_worker.background(dask_worker.close("it is tired", nanny=False))
        )  # and not before this is answered

    process_client.run(leave)
    until(lambda: nanny.pid not in (pid, None))
    process_client.wait_for_workers(1, timeout=20)
