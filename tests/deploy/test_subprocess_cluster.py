"""`SubprocessCluster`: parties that are processes of their own, and end with this one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere_help import descendants, exposed, is_there, until, until_gone

from windrow import Client, Nanny, SpecCluster, SubprocessCluster, Worker
from windrow.deploy import elsewhere
from windrow.deploy.subprocess import SubprocessScheduler, SubprocessWorker
from windrow.errors import WorkerStartError


@pytest.fixture(scope="module", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of these clusters away from the user's own."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory


@pytest.fixture(scope="module")
def cluster(runtime_directory: Path) -> Iterator[SpecCluster]:
    """One worker, for tests that leave it as it is."""
    with SubprocessCluster(n_workers=1, threads_per_worker=1, worker_kwargs={"resources": {"GPU": 1}}) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: SpecCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def started(cluster: SpecCluster) -> Callable[[], list[psutil.Process]]:
    """Return what looks for the living processes that the test has started."""
    before = set(descendants())
    return lambda: [process for process in descendants() if process not in before]


Started = Callable[[], list[psutil.Process]]


def own(n_workers: int = 1, **kwargs: Any) -> SpecCluster:
    """Start a cluster of the test's own."""
    return SubprocessCluster(n_workers=n_workers, threads_per_worker=1, **kwargs)


# ---------------------------------------------------------------- a cluster as any


def test_every_party_is_a_process_of_its_own(client: Client) -> None:
    scheduler = client.run_on_scheduler(os.getpid)
    (worker,) = client.run(os.getpid).values()
    assert len({scheduler, worker, os.getpid()}) == 3
    assert {scheduler, worker} <= {process.pid for process in descendants()}


def test_options_and_names_reach_the_workers(client: Client) -> None:
    (worker,) = client.scheduler_info()["workers"].values()
    assert (worker["name"], worker["nthreads"], worker["resources"]) == (0, 1, {"GPU": 1.0})
    assert client.submit(sum, [1, 2], resources={"GPU": 1}).result(20) == 3


def test_the_cluster_tells_of_itself(cluster: SpecCluster) -> None:
    assert [worker["name"] for worker in cluster.scheduler_info["workers"].values()] == [0]
    assert cluster.name == "SubprocessCluster"
    assert repr(cluster).startswith(f"SubprocessCluster({cluster.scheduler_address!r}, workers=1, threads=1")
    assert cluster.observed == cluster.requested == cluster.plan == {0}
    cluster.wait_for_workers(1, timeout=5)


def test_no_secret_is_where_others_can_read_it(cluster: SpecCluster) -> None:
    secrets = {cluster.secret.hex(), cluster.secret.hex().upper(), repr(cluster.secret)}
    processes = descendants()
    assert len(processes) >= 3  # scheduler, nanny, worker
    for process in processes:
        assert not any(secret in exposed(process) for secret in secrets), process


def test_scaling_moves_what_is_held() -> None:
    with own() as cluster, Client(cluster) as client:
        cluster.scale(3)
        cluster.wait_for_workers(3, timeout=20)
        kept = client.scatter([bytes(100_000 + n) for n in range(6)])
        cluster.scale(1)
        assert len(cluster.workers) == 1
        until(lambda: len(cluster.scheduler_info["workers"]) == 1, "the scheduler has told of it")
        assert [len(value) for value in client.gather(kept)] == [100_000 + n for n in range(6)]


def test_scaling_by_cores_and_memory() -> None:
    with own(0, worker_kwargs={"memory_limit": "1 GiB"}) as cluster:
        cluster.scale(cores=1)
        assert cluster.plan == {0}
        cluster.scale(memory="1.5 GiB")
        assert cluster.plan == {0, 1}
        cluster.scale(0)


def test_logs_of_every_party(cluster: SpecCluster, client: Client) -> None:
    def warn(dask_worker: Any = None, dask_scheduler: Any = None) -> None:
        logging.getLogger(f"distributed.{'worker' if dask_worker else 'scheduler'}").warning("as a warning")

    (address,) = client.run(warn)
    client.run_on_scheduler(warn)
    logs = cluster.get_logs()
    assert list(logs) == ["Cluster", "Scheduler", address]
    assert "as a warning" in logs["Scheduler"]
    assert "as a warning" in logs[address]


def test_the_manager_hears_at_once_who_comes() -> None:
    with own(0, scheduler_sync_interval="1 hour") as cluster:
        cluster.scale(1)
        until(lambda: cluster.observed == {0}, "it knows without asking")


def test_the_manager_connects_again() -> None:
    with own(scheduler_sync_interval="20ms") as cluster:
        assert cluster.loop is not None
        lost = cluster.scheduler_comm
        cluster.loop.call_soon_threadsafe(lost.link.close)
        until(lambda: cluster.scheduler_comm is not lost, "it has another connection")
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=20)


def test_it_grows_and_shrinks_with_the_load() -> None:
    with own(0) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=2, interval="20ms", wait_count=2)
        assert client.submit(sum, [1, 2]).result(20) == 3
        until(lambda: not cluster.plan and not cluster.workers, "nobody is wanted any more")


def test_the_dashboard_is_where_the_link_says() -> None:
    with own(0, dashboard_address=":0") as cluster:
        assert cluster.dashboard_link.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(cluster.dashboard_link, timeout=20) as page:
            assert page.status == 200
    with own(0, dashboard_address=None) as cluster:
        assert cluster.dashboard_link == ""


def test_a_worker_that_is_retired_is_forgotten() -> None:
    with own(2) as cluster, Client(cluster) as client:
        there = set(descendants())
        client.retire_workers([0])
        until(lambda: cluster.plan == cluster.requested == cluster.observed == {1}, "it is forgotten")
        until(lambda: len(set(descendants())) == len(there) - 2, "its nanny's process has ended too")


def test_asynchronous(started: Started) -> None:
    async def run() -> int:
        async with own(asynchronous=True) as cluster, Client(cluster, asynchronous=True) as client:
            await cluster.scale(2)
            await cluster.wait_for_workers(2, timeout=20)
            return int(await client.submit(sum, [1, 2]))

    assert asyncio.run(run()) == 3
    assert started() == []


def test_workers_without_nannies(started: Started) -> None:
    with own(worker_class=Worker) as cluster, Client(cluster) as client:
        assert len(started()) == 2
        (pid,) = client.run(os.getpid).values()
        assert psutil.Process(pid).ppid() == os.getpid()


def test_configuration_goes_along() -> None:
    import dask.config

    with dask.config.set({"windrow.inline-limit": 77, "windrow.odd": print}):
        with own() as cluster, Client(cluster) as client:
            assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.core.state.config.inline_limit) == 77


# ---------------------------------------------------------------- its end


def test_close_leaves_no_process(started: Started) -> None:
    cluster = own()
    processes = started()
    cluster.close()
    assert not any(map(is_there, processes))
    cluster.close()


def test_a_process_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, started: Started) -> None:
    monkeypatch.setattr(elsewhere, "CLOSE_S", 0.2)
    cluster = own()
    processes = started()
    for process in processes:
        process.suspend()
    cluster.close()
    until_gone(processes)


def test_a_client_may_end_it(started: Started) -> None:
    cluster = own()
    processes = started()
    with Client(cluster) as client:
        client.shutdown()
    until(lambda: cluster.status == "closed", "the cluster has closed itself")
    until_gone(processes)


def test_the_loss_of_the_scheduler_ends_it(caplog: pytest.LogCaptureFixture, started: Started) -> None:
    cluster = own()
    processes = started()
    with Client(cluster) as client:
        client.run_on_scheduler(lambda: print("the last thing", file=sys.stderr, flush=True))
        (address,) = client.scheduler_info()["workers"]
        os.kill(client.run_on_scheduler(os.getpid), signal.SIGKILL)
        assert list(cluster.get_logs())[:1] == ["Cluster"]  # at whatever moment of its end
        until(lambda: cluster.status == "failed", "the cluster has closed itself")
    assert "its scheduler has ended" in caplog.text
    logs = cluster.get_logs()
    assert logs["Scheduler"].startswith("(no logs: its process was killed by SIGKILL; its last words: ")
    assert "the last thing" in logs["Scheduler"]
    assert "the scheduler has died: its process was killed by SIGKILL" in logs["Cluster"]
    assert "worker 0 has ended: its process" in logs[address]
    assert list(cluster.get_logs(cluster=False, scheduler=False, workers=["tcp://elsewhere:1"])) == []
    assert repr(cluster).endswith("failed)")
    cluster.close()
    assert cluster.status == "failed"
    until_gone(processes)


def test_the_end_of_a_worker_is_told_and_it_is_not_counted_any_more(caplog: pytest.LogCaptureFixture) -> None:
    with own(2) as cluster, Client(cluster) as client:
        nannies = client.run(os.getpid, nanny=True)
        names = {address: worker["name"] for address, worker in client.scheduler_info()["workers"].items()}
        address, pid = nannies.popitem()
        os.kill(pid, signal.SIGKILL)
        until(lambda: names[address] not in cluster.workers, "it is not counted")
        assert f"worker {names[address]}: its process was killed by SIGKILL" in caplog.text
        assert (
            f"worker {names[address]} has ended, and no other is started in its place: scale(n) starts" in caplog.text
        )
        assert "killed by SIGKILL" in cluster.get_logs(scheduler=False)["Cluster"]
        assert client.submit(sum, [1, 2]).result(20) == 3


PARENT = """\
import os, sys
from windrow import SubprocessCluster, Client
cluster = SubprocessCluster(n_workers=2, threads_per_worker=1)
client = Client(cluster)
client.run(lambda: None)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_program_leaves_nothing(number: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    processes = descendants(parent.pid)
    assert len(processes) == 5
    parent.send_signal(number)
    parent.communicate(timeout=20)
    until_gone(processes)


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("kwargs", "culprit"),
    [
        ({"worker_kwargs": {"env": {"A": object()}}}, r"worker_kwargs\['env'\]\['A'\] cannot travel as JSON"),
        ({"scheduler_kwargs": {"plugins": [print]}}, r"scheduler_kwargs\['plugins'\]\[0\] cannot travel as JSON"),
        ({"worker_kwargs": {"resources": {1: 1}}}, r"the key 1 of worker_kwargs\['resources'\] cannot travel"),
        ({"worker_class": "Nanny"}, "worker_class is a class, or its name with its module's"),
    ],
)
def test_what_cannot_travel_errs_at_the_call(kwargs: dict[str, Any], culprit: str) -> None:
    with pytest.raises(TypeError, match=culprit):
        SubprocessCluster(**kwargs)


def test_a_class_without_an_address_errs_at_the_call() -> None:
    class Local(Nanny):
        pass

    with pytest.raises(TypeError, match="put it in a module"):
        SubprocessCluster(worker_class=Local)


def test_not_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RuntimeError, match="use LocalCluster"):
        SubprocessCluster()


def test_a_scheduler_that_cannot_start_says_why(started: Started) -> None:
    with pytest.raises(RuntimeError, match=r"the scheduler could not start: .*no_such_option"):
        own(scheduler_kwargs={"no_such_option": 1})
    assert started() == []


def test_a_worker_that_cannot_start_says_why(started: Started) -> None:
    with pytest.raises(WorkerStartError, match=r"worker 0 could not start: .*no_such_module\.Nanny"):
        own(worker_class="no_such_module.Nanny")
    assert started() == []


def test_last_words_of_a_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dies_at_import.py").write_text("import os, sys\nprint('farewell', file=sys.stderr)\nos._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkerStartError, match=r"its process exited with code 3; its last words: farewell"):
        own(worker_class="dies_at_import.Nanny")


def test_a_start_that_takes_too_long(started: Started) -> None:
    async def run() -> None:
        with pytest.raises(RuntimeError, match=r"the scheduler does not run after 0.001 s"):
            await SubprocessScheduler(timeout=0.001)

    asyncio.run(run())
    until(lambda: started() == [], "its process is gone")


def test_parties_without_a_cluster() -> None:
    async def run() -> tuple[Any, ...]:
        async with SubprocessScheduler({"host": "127.0.0.1"}) as scheduler:
            assert scheduler.address is not None
            async with SubprocessWorker(scheduler.address, name="a", worker_kwargs={"nthreads": 1}) as worker:
                async with Client(scheduler.address, asynchronous=True) as client:
                    (info,) = (await client.run(lambda dask_worker: dask_worker.name)).items()
                    return worker.address, info

    address, info = asyncio.run(run())
    assert info == (address, "a")
