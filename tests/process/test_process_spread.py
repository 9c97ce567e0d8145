"""Work spreads over the workers, and keeps its order."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import process_tasks as tasks
from process_help import until_file

from windrow import Client, LocalCluster, wait


def test_all_workers_have_a_share(client: Client) -> None:
    counts = Counter(client.gather(client.map(_busy_pid, range(1000))))
    assert counts.keys() == set(client.run(os.getpid).values())
    assert min(counts.values()) > 250


def _busy_pid(x: int) -> int:
    time.sleep(0.001)  # long enough that whoever shares the machine with the workers does not decide who gets what
    return os.getpid()


def test_a_late_worker_finds_work(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        [first] = client.run(os.getpid).values()
        go = str(tmp_path / "go")
        # Each waits until a task has run in another process than the first: with one worker none would ever end.
        futures = [client.submit(_meet, go, first, n) for n in range(100)]
        cluster.scale(2)
        counts = Counter(client.gather(futures))
        assert len(counts) == 2


def _meet(path: str, first: int, n: int) -> int:
    if os.getpid() != first:
        tasks.announce(path)
    return tasks.until_there(path)


def test_a_late_worker_takes_what_was_sent_ahead(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        wait(client.map(tasks.inc, range(1000)))  # now they are known to be short, and are sent ahead
        go = tmp_path / "go"
        block = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go))
        until_file(tmp_path / "up")
        futures = client.map(tasks.inc, range(1000, 3000))
        cluster.scale(2)
        assert client.gather(futures) == list(range(1001, 3001))
        assert not block.done()
        go.touch()


def test_short_tasks_do_not_wait_behind_a_long_one(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait(client.map(tasks.inc, range(1000)))
    futures = client.map(tasks.inc, range(1000, 1100))
    long = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go))
    futures += client.map(tasks.inc, range(1100, 5000))
    assert client.gather(futures) == list(range(1001, 5001))
    assert not long.done()
    go.touch()


def test_short_tasks_of_the_same_function_do_not_wait_behind_a_long_one(client: Client, tmp_path: Path) -> None:
    go, there = tmp_path / "go", tmp_path / "there"
    there.touch()
    wait([client.submit(tasks.until_there, str(there), n) for n in range(500)])  # taken for short ever since
    long = client.submit(tasks.until_there, str(go))
    short = [client.submit(tasks.until_there, str(there), n) for n in range(500, 2500)]
    wait(short, timeout=10)
    assert not long.done()
    go.touch()


def test_dependents_do_not_wait_behind_a_long_one(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    roots = client.map(tasks.inc, range(100))
    wait(roots)
    long = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go))
    until_file(tmp_path / "up")
    assert client.gather(client.map(tasks.inc, client.map(tasks.inc, roots))) == list(range(3, 103))
    assert not long.done()
    go.touch()


def test_larger_priorities_first(client: Client, tmp_path: Path) -> None:
    log, go = str(tmp_path / "log"), tmp_path / "go"
    busy = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go), workers=[0])
    until_file(tmp_path / "up")
    futures = [
        client.submit(tasks.note, log, f"{priority:+d}.{n}", priority=priority, workers=[0])
        for n in range(5)
        for priority in (0, 5, -5)
    ]
    client.who_has()  # by its answer the scheduler has them all
    go.touch()
    wait([busy, *futures])
    lines = Path(log).read_text().split()
    assert lines == [f"{priority:+d}.{n}" for priority in (5, 0, -5) for n in range(5)]


def test_first_come_first_served(client: Client, tmp_path: Path) -> None:
    log, go = str(tmp_path / "log"), tmp_path / "go"
    busy = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go), workers=[0])
    until_file(tmp_path / "up")
    one = client.map(tasks.note, [log] * 50, range(50), workers=[0])
    two = client.map(tasks.note, [log] * 50, range(50, 100), workers=[0])
    go.touch()
    wait([busy, *one, *two])
    assert Path(log).read_text().split() == [str(n) for n in range(100)]


def test_two_clients_share_the_workers(client: Client, cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as other:
        one, two = client.map(tasks.inc, range(2000)), other.map(tasks.tiny, range(2000))
        assert client.gather(one) == other.gather(two) == list(range(1, 2001))


def test_no_task_waits_behind_a_cancelled_one_that_still_runs(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    block = client.submit(tasks.announce_and_wait, str(tmp_path / "up"), str(go))
    until_file(tmp_path / "up")
    block.cancel()
    assert client.gather(client.map(tasks.inc, range(-6, 0))) == list(range(-5, 1))
    go.touch()
