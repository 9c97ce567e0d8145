"""Plugins of nannies, the functions that run there, and workers that are started afresh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from plugin_help import HEARD, Marker, Nurse, heard, mark_of, until

from windrow import Client, Environ, LocalCluster, NannyPlugin


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    HEARD.clear()
    yield
    HEARD.clear()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def pids(client: Client) -> list[int]:
    return list(client.run(os.getpid).values())


def test_a_nanny_is_set_up_at_once_and_its_worker_goes_on(process_client: Client) -> None:
    [address] = process_client.scheduler_info()["workers"]
    [pid] = pids(process_client)
    assert process_client.register_plugin(Nurse()) == {address: {"status": "OK"}}
    assert heard("nanny setup") == [("nanny setup", 0, pid)]
    assert pids(process_client) == [pid]
    assert process_client.unregister_worker_plugin("nurse", nanny=True) == {address: {"status": "OK"}}
    assert heard("nanny teardown") == [("nanny teardown", 0)]
    with pytest.raises(ValueError, match="no nanny plugin 'nurse'"):
        process_client.unregister_worker_plugin("nurse", nanny=True)


def test_restart_starts_the_worker_afresh_before_the_call_returns(process_client: Client) -> None:
    [pid] = pids(process_client)
    process_client.register_plugin(Nurse(restart=True))
    assert pids(process_client) != [pid]
    assert list(process_client.run(variable, "NURSED").values()) == ["yes"]


def test_a_new_nanny_is_set_up_before_its_first_worker_starts(processes: LocalCluster, process_client: Client) -> None:
    process_client.register_plugin(Nurse())
    processes.scale(2)
    process_client.wait_for_workers(2)
    assert heard("nanny setup")[-1] == ("nanny setup", 1, None)
    assert process_client.run(variable, "NURSED", workers=[1]).popitem()[1] == "yes"


def test_what_setup_raises_is_raised(process_client: Client) -> None:
    class Grumpy(NannyPlugin):
        def setup(self, nanny: Any) -> None:
            raise ArithmeticError(f"no luck with {nanny.name}")

    with pytest.raises(ArithmeticError, match="no luck with 0"):
        process_client.register_plugin(Grumpy())
    assert process_client.run_on_scheduler(lambda dask_scheduler: dict(dask_scheduler.nanny_plugins)) == {}


def test_the_end_tears_down(runtime_directory: object) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        client.register_plugin(Nurse())
    assert heard("nanny teardown") == [("nanny teardown", 0)]


def test_environ_is_seen_by_tasks_and_by_later_workers(processes: LocalCluster, process_client: Client) -> None:
    process_client.register_plugin(Environ({"ANSWER": 42}))
    assert process_client.submit(variable, "ANSWER").result() == "42"
    processes.scale(2)
    process_client.wait_for_workers(2)
    assert list(process_client.run(variable, "ANSWER").values()) == ["42", "42"]
    assert "ANSWER" not in os.environ


def test_environ_holds_strings() -> None:
    assert Environ({"a": 1}).environ == {"a": "1"}
    assert Environ().environ == {}
    assert Environ().restart is True


def test_functions_run_where_nannies_are(process_client: Client) -> None:
    [pid] = pids(process_client)
    seen = process_client.run(lambda dask_worker: (dask_worker.pid, os.getpid()), nanny=True)
    assert list(seen.values()) == [(pid, os.getpid())]
    assert list(process_client.run(coroutine, nanny=True).values()) == ["awaited"]
    with pytest.raises(ZeroDivisionError):
        process_client.run(lambda: 1 / 0, nanny=True)
    [error] = process_client.run(lambda: 1 / 0, nanny=True, on_error="return").values()
    assert isinstance(error, ZeroDivisionError)


async def coroutine() -> str:
    return "awaited"


def test_functions_for_nannies_err_where_there_are_none(client: Client) -> None:
    with pytest.raises(ValueError, match="have no nanny"):
        client.run(os.getpid, nanny=True)


def test_the_nanny_as_plugins_see_it(process_client: Client, processes: LocalCluster) -> None:
    nanny: Any = processes.workers[0]
    assert nanny.is_alive()
    assert nanny.nthreads == 1
    assert nanny.scheduler_addr == processes.scheduler_address
    assert nanny.plugins == {}
    nanny.log_event("nursery", {"pid": nanny.pid})
    until(lambda: process_client.get_events("nursery"))
    assert process_client.get_events("nursery")[0][1] == {"pid": nanny.pid}
    directory = nanny.local_directory
    assert os.path.isdir(directory)
    processes.scale(0)
    until(lambda: not os.path.exists(directory))


def test_workers_are_started_afresh_by_name_or_address(process_client: Client) -> None:
    process_client.register_plugin(Marker())
    [pid] = pids(process_client)
    future = process_client.submit(inc_here, 1)
    assert future.result() == 2
    assert process_client.restart_workers([0]) == {0: "OK"}
    [again] = pids(process_client)
    assert again != pid
    assert list(process_client.run(mark_of).values()) == ["set up"]
    assert future.result() == 2, "what it held is made again, or was kept"
    [address] = process_client.scheduler_info()["workers"]
    assert process_client.restart_workers([address]) == {address: "OK"}
    assert pids(process_client) != [again]


def inc_here(x: int) -> int:
    return x + 1


def test_a_worker_that_does_not_come_back_in_time_is_said_to_be_late(process_client: Client) -> None:
    assert process_client.restart_workers([0], timeout=0.0, raise_for_error=False) == {0: "timed out"}
    process_client.wait_for_workers(1, timeout=20)
    with pytest.raises(TimeoutError, match="not joined again within 0 s"):
        process_client.restart_workers([0], timeout=0)


def test_only_nannies_can_start_workers_afresh(client: Client) -> None:
    with pytest.raises(ValueError, match="have none"):
        client.restart_workers([0])
    with pytest.raises(ValueError, match="there is no '7'"):
        client.restart_workers([7])
