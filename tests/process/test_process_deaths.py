"""Workers die in the middle of their work; nothing is lost, and everybody hears why."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import process_tasks as tasks
import pytest
from process_help import family, is_gone, until, until_file, until_gone

from windrow import Client, KilledWorker, LocalCluster, wait

KILL = signal.SIGKILL


def workers_of(client: Client) -> dict[int, int]:
    """Process ids by worker name."""
    return {facts["name"]: facts["pid"] for facts in client.scheduler_info()["workers"].values()}


# ---------------------------------------------------------------- nothing is lost


def test_a_worker_is_killed_amid_ten_thousand_tasks(own_client: Client) -> None:
    pid = workers_of(own_client)[0]
    futures = own_client.map(tasks.tiny, range(10_000))
    wait(futures[:1000])
    os.kill(pid, KILL)
    assert own_client.gather(futures) == list(range(1, 10_001))
    assert is_gone(pid)


def test_all_workers_are_killed_at_once(own_client: Client) -> None:
    pids = workers_of(own_client).values()
    futures = own_client.map(tasks.tiny, range(10_000))
    total = own_client.submit(sum, futures)
    wait(futures[:1000])
    for pid in pids:
        os.kill(pid, KILL)
    assert total.result() == sum(range(1, 10_001))
    assert own_client.gather(futures) == list(range(1, 10_001))


def test_results_that_only_the_dead_held_are_made_again(own_client: Client) -> None:
    own_client.wait_for_workers(2)
    large = own_client.submit(bytes, 1_000_000, workers=[0], allow_other_workers=True)
    derived = own_client.submit(lambda data: bytes(len(data)), large, workers=[0], allow_other_workers=True)
    wait([large, derived])
    os.kill(workers_of(own_client)[0], KILL)
    assert own_client.submit(len, derived).result(timeout=10) == 1_000_000
    assert len(large.result(timeout=10)) == 1_000_000
    assert len(derived.result(timeout=10)) == 1_000_000


def test_small_results_outlive_their_worker(own_client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    futures = own_client.map(tasks.note, [str(log)] * 10, range(10))
    wait(futures)
    for pid in workers_of(own_client).values():
        os.kill(pid, KILL)
    assert own_client.gather(futures) == list(range(10))
    assert len(log.read_text().split()) == 10


def test_a_task_that_survives_its_second_try(own_client: Client, tmp_path: Path) -> None:
    assert own_client.submit(tasks.die_once, str(tmp_path / "died"), 5).result(timeout=10) == 5


def test_another_worker_takes_the_place_of_the_dead(own_cluster: LocalCluster, own_client: Client) -> None:
    before = workers_of(own_client)
    os.kill(before[0], KILL)
    until(lambda: workers_of(own_client).get(0, before[0]) != before[0])
    after = workers_of(own_client)
    assert after[1] == before[1]
    assert own_cluster.workers[0].restarts == 1  # type: ignore[union-attr]
    assert own_client.submit(os.getpid, workers=[0]).result(timeout=5) == after[0]


def test_a_stopped_worker_does_not_stop_the_others(own_client: Client) -> None:
    pid = workers_of(own_client)[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        futures = own_client.map(tasks.inc, range(1000), workers=[0, 1])
        assert own_client.submit(tasks.identity, 1, workers=[1]).result(timeout=5) == 1
        os.kill(pid, KILL)
        assert own_client.gather(futures) == list(range(1, 1001))
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGCONT)


# ---------------------------------------------------------------- tasks that kill


@pytest.mark.parametrize(
    ("how", "cause"),
    [("exit", "exited with code 3"), ("segv", "was killed by SIGSEGV"), ("kill", "was killed by SIGKILL")],
)
def test_a_task_that_kills_its_workers(
    own_client: Client, how: str, cause: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    innocent = own_client.map(tasks.tiny, range(200))
    guilty = own_client.submit(tasks.die, how)
    dependent = own_client.submit(tasks.inc, guilty)
    with pytest.raises(KilledWorker, match="allowed-failures") as caught:
        guilty.result(timeout=20)
    error = caught.value
    assert error.key == guilty.key
    assert error.allowed_failures == 3
    assert len(error.deaths) == 4
    for death in error.deaths:
        assert f"): {cause} after " in death
        assert "peak memory" in death
        assert "famous last words" in death
        if how == "segv":
            assert "Segmentation fault" in death
            assert "in die" in death
    assert type(dependent.exception(timeout=5)) is KilledWorker
    assert own_client.gather(innocent) == list(range(1, 201))
    until(lambda: f"{cause} after" in caplog.text, "the nanny logs it")


HEAVY_PARENT = """
import os
import process_tasks as tasks
from windrow import Client, KilledWorker, LocalCluster
ballast = bytearray(os.urandom(4096) * 25_000)  # 100 MB in the process from which workers are started
with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
    for how in ("kill", "fat"):
        try:
            client.submit(tasks.die, how).result(timeout=10)
        except KilledWorker as error:
            print(*str(error).splitlines())
"""


def test_the_peak_of_memory_is_the_workers_own(start_python: Callable[..., subprocess.Popen[str]]) -> None:
    """In a program of its own: beside a process as fat as a whole test suite, a worker's peak is lost."""
    here = str(Path(tasks.__file__).parent)
    program = start_python(HEAVY_PARENT, PYTHONPATH=here, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    said, errors = program.communicate(timeout=30)
    assert program.returncode == 0, errors
    lean, fat = (int(peak) for peak in re.findall(r"peak memory (\d+) MiB", said))
    assert 5 < lean < 80
    assert 250 < fat < 400


def test_allowed_failures_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.config

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
            with pytest.raises(KilledWorker, match="1 worker that died; 0 such deaths are allowed"):
                client.submit(tasks.die, "kill").result(timeout=10)


# ---------------------------------------------------------------- nothing is left behind


@pytest.mark.parametrize("end", ["worker dies", "cluster closes", "restart"])
def test_what_a_task_has_started_ends_with_its_worker(own_client: Client, tmp_path: Path, end: str) -> None:
    def start(path: str) -> None:
        import subprocess
        import sys

        child = "import sys; sys.path[:] = %r; import process_tasks as t; t.announce(%r); t.until_there('never')"
        subprocess.Popen([sys.executable, "-c", child % (sys.path, path)])

    own_client.submit(start, str(tmp_path / "child"), workers=[0]).result()
    child = int(until_file(tmp_path / "child"))
    assert not is_gone(child)
    if end == "worker dies":
        os.kill(workers_of(own_client)[0], KILL)
    elif end == "restart":
        own_client.restart()
    else:
        own_client.cluster.close()
    until_gone([child])


def test_a_close_amid_work_is_quick(own_cluster: LocalCluster, own_client: Client, tmp_path: Path) -> None:
    futures = [own_client.submit(tasks.spin, str(tmp_path / str(n)), workers=[n]) for n in range(2)]
    for n in range(2):
        until_file(tmp_path / str(n))
    pids = workers_of(own_client).values()
    own_cluster.close()
    assert all(map(is_gone, pids))
    assert {future.status for future in futures} == {"cancelled"}
    assert not set(pids) & set(family())
