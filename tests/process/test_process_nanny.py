"""What a nanny does when its worker cannot start, dies at once, or is closed on purpose; and what goes through it."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_tasks as tasks
import psutil
import pytest
from process_help import family, until, until_file, until_gone

from windrow import Client, LocalCluster, offspring
from windrow.deploy import supervisor
from windrow.errors import WorkerStartError

START = offspring._START


def pids(client: Client) -> dict[Any, int]:
    return {facts["name"]: facts["pid"] for facts in client.scheduler_info()["workers"].values()}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once."""
    monkeypatch.setattr(supervisor, "RETRY_S", 0.01)


@pytest.fixture
def small_cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster:
        until(lambda: cluster.workers[0].process.joined, "the nanny knows that its worker has joined")  # type: ignore[union-attr]
        yield cluster


# ---------------------------------------------------------------- the system will not start a process


class Refusal:
    """Stands for Popen, and refuses so many times."""

    def __init__(self, times: float, code: int) -> None:
        self.times = times
        self.code = code
        self.started = subprocess.Popen

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.started(*args, **kwargs)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
def test_a_process_that_cannot_be_started_is_started_later(
    small_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    with Client(small_cluster) as client:
        before = pids(client)[0]
        count = psutil.Process().num_fds()
        monkeypatch.setattr(subprocess, "Popen", Refusal(2, code))
        os.kill(before, signal.SIGKILL)
        until(lambda: pids(client).get(0, before) != before, "another is there")
        until(lambda: caplog.text.count("the next start is in") == 2)
        assert f"worker 0 did not come up: its process could not be started: [Errno {code}]" in caplog.text
        assert client.submit(tasks.inc, 1).result(timeout=5) == 2
        until(lambda: psutil.Process().num_fds() == count, "nothing of the attempts is left open")


def test_a_thread_that_cannot_be_started(
    small_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import threading

    start, refused = threading.Thread.start, []

    def refuse_once(thread: threading.Thread) -> None:
        if thread.name == "nanny-wait" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with Client(small_cluster) as client:
        before, count = pids(client)[0], len(family())
        monkeypatch.setattr(threading.Thread, "start", refuse_once)
        os.kill(before, signal.SIGKILL)
        until(lambda: pids(client).get(0, before) != before, "another is there")
        until(lambda: len(family()) == count, "the one that nobody could watch is gone")
    until(lambda: "can't start new thread; raise the limit of processes and threads" in caplog.text)


def test_a_process_that_can_never_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(subprocess, "Popen", Refusal(99, errno.EMFILE))
    before = psutil.Process().num_fds()
    with pytest.raises(WorkerStartError, match=r"worker 0 did not come up in 3 .* could not be started: .*ulimit -n"):
        LocalCluster(n_workers=1, threads_per_worker=1)
    until(lambda: "ERROR" in caplog.text and "worker 0 did not come up" in caplog.text)
    until(lambda: psutil.Process().num_fds() <= before)


def test_one_that_was_given_up_does_not_stand_in_the_way_of_another(
    small_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(small_cluster) as client:
        pid = pids(client)[0]
        with monkeypatch.context() as refusing:
            refusing.setattr(subprocess, "Popen", Refusal(99, errno.EAGAIN))
            os.kill(pid, signal.SIGKILL)
            until(lambda: not small_cluster.workers, "its nanny gives up")
        small_cluster.scale(1)
        assert client.submit(tasks.inc, 1).result(timeout=10) == 2


# ---------------------------------------------------------------- ends that are expected


HALT = """
import time
from windrow.worker.server import WorkerServer
heed = WorkerServer._on_batch
WorkerServer._on_batch = lambda worker, messages: time.sleep(100) if worker.joined.done() else heed(worker, messages)
"""


def test_a_death_just_after_joining_has_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.config

    monkeypatch.setattr(offspring, "_START", HALT + START)  # it does nothing of what it is sent
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
            monkeypatch.setattr(offspring, "_START", START)
            future = client.submit(tasks.inc, 1)  # sent there, and not begun: the account shows it
            until(lambda: any(worker.processing for worker in cluster.scheduler.core.state.workers.values()))
            os.kill(pids(client)[0], signal.SIGKILL)
            assert future.result(timeout=10) == 2


def test_the_dead_are_not_listed_after_a_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offspring, "_START", HALT + START)
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        data = client.scatter([bytes(100_000 + n) for n in range(4)])
        cluster.scale(1)
        [left] = client.nthreads()
        holders = client.who_has(data).values()
        assert {address for addresses in holders for address in addresses} == {left}


def test_restarts_are_no_failures_to_start(small_cluster: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with Client(small_cluster) as client:
        for _ in range(supervisor.START_FAILURES_MAX + 1):
            client.restart(timeout=10)
        assert client.submit(tasks.inc, 1).result(timeout=5) == 2
    assert caplog.text == ""


@pytest.mark.parametrize("processes", [True, False])
def test_no_other_takes_the_place_of_the_retired(processes: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=processes) as cluster, Client(cluster) as client:
        before = pids(client)
        [retired] = [address for address, facts in client.scheduler_info()["workers"].items() if facts["name"] == 0]
        client.retire_workers([retired])
        until(lambda: list(cluster.workers) == [1], "the cluster forgets it")
        if processes:
            until_gone([before[0]])
        assert pids(client) == {1: before[1]}
        assert caplog.text == ""
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=10)
        assert sorted(pids(client)) == [1, 2]


def test_a_task_that_exits_with_code_0_is_not_retired(small_cluster: LocalCluster, tmp_path: Path) -> None:
    def leave(path: str) -> int:
        if not os.path.exists(path):
            tasks.announce(path)
            os._exit(0)
        return 5

    with Client(small_cluster) as client:
        assert client.submit(leave, str(tmp_path / "left")).result(timeout=10) == 5


# ---------------------------------------------------------------- stderr


FULL = """
import sys, time
import process_tasks as tasks
from windrow import Client
with Client(n_workers=2, threads_per_worker=1) as client:
    client.submit(sys.stderr.write, "x" * 3_000_000, workers=[0]).result(timeout=10)
    for n in range(200):
        client.submit(tasks.inc, n).result(timeout=10)
    client.submit(tasks.die_once, {path!r}, 5, workers=[0]).result(timeout=10)
tasks.announce({done!r})
"""


def test_a_stderr_that_nobody_reads_holds_up_nobody(
    start_python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    done = tmp_path / "done"
    program = start_python(FULL.format(path=str(tmp_path / "died"), done=str(done)))
    until_file(done)
    assert program.wait(timeout=5) == 0


def test_stderr_is_passed_on_whole_and_in_order(start_python: Callable[..., subprocess.Popen[str]]) -> None:
    source = (
        "import sys\nfrom windrow import Client\n"
        "with Client(n_workers=1, threads_per_worker=1) as client:\n"
        "    client.gather([client.submit(print, n, file=None, flush=True) for n in range(3)])\n"
        "    client.run(lambda: [print('line', n, file=sys.stderr) for n in range(2000)] and None)\n"
    )
    out, err = start_python(source).communicate(timeout=15)
    assert out.split() == ["0", "1", "2"]
    assert err.splitlines() == [f"line {n}" for n in range(2000)]
