"""What it costs a run of 100,000 tasks that five pages of its dashboard are open, in one sitting.

What lives here: runs with and without pages in turn, and the comparison of their times. What this module must never
know: what the pages show.

    python -m benchmarks.watched --rounds 30

The rate is that of the tasks; processor time is of the client and scheduler (this process) and of the workers, and,
beside them, of the dashboard's process, which is elsewhere. A machine's speed drifts by more than pages cost, so that
runs to be compared have to be next to each other: pages stay open, and are stopped and let go on every few seconds
(the dashboard's process by signals, and what is recorded for it). What counts is the mean of what rounds differ by.
Believe no difference that is not a few times its standard error: 30 rounds take seven minutes.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks import work
from windrow import Client, LocalCluster
from windrow.scheduler import recording

TASKS = 100_000
IN_A_ROW = 2
PAGES = ("status", "workers", "tasks", "graph", "profile")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: microseconds a task."""

    wall: float
    cpu: float
    dashboard: float


def cpu_s(*processes: psutil.Process) -> float:
    """Processor seconds that processes have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def run(client: Client, workers: list[psutil.Process], pid: int, first: int) -> Run:
    """Run the tasks once; ``first`` makes them new."""
    mine = [psutil.Process(), *workers]
    shown = psutil.Process(pid)
    gc.collect()
    before, before_shown, start = cpu_s(*mine), cpu_s(shown), time.perf_counter()
    found = client.gather(client.map(work.inc, range(first, first + TASKS)))
    wall = time.perf_counter() - start
    spent, spent_shown = cpu_s(*mine) - before, cpu_s(shown) - before_shown
    assert sum(found) == sum(range(first, first + TASKS)) + TASKS
    return Run(*(1e6 * seconds / TASKS for seconds in (wall, spent, spent_shown)))


def visitors(root: str) -> subprocess.Popen[str]:
    """Open the pages in a process of its own; return once they are open."""
    command = [sys.executable, "-m", "benchmarks.visitors", root, *PAGES]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "open\n", "the pages could not be opened"
    return started


def end_recording(dask_scheduler: Any = None) -> None:
    """Have nothing recorded until a page asks again."""
    state = dask_scheduler.core.state
    if state.recording is not None and state.recording.leases:
        for owner in state.recording.leases:
            state.recording.leases[owner] = (False, 0.0)
        recording.lapse(state)


def main() -> None:
    """Run in turn, with and without pages, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    alone: list[list[Run]] = []
    watched: list[list[Run]] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        workers = [psutil.Process(info["pid"]) for info in client.scheduler_info()["workers"].values()]
        process = visitors(str(client.dashboard_link).removesuffix("/status"))
        pid = cluster.scheduler.dashboard.pid
        assert pid is not None
        numbers = itertools.count(0, 10 * TASKS)
        for _ in range(2):
            run(client, workers, pid, next(numbers))  # what a first look begins, has begun
        for number in range(parser.parse_args().rounds):
            for kept in (alone, watched) if number % 2 else (watched, alone):
                os.kill(pid, signal.SIGCONT if kept is watched else signal.SIGSTOP)
                if kept is alone:
                    client.run_on_scheduler(end_recording)
                kept.append([run(client, workers, pid, next(numbers)) for _ in range(IN_A_ROW)])
        os.kill(pid, signal.SIGCONT)
        process.communicate("")
    report(alone, watched)


def report(alone: list[list[Run]], watched: list[list[Run]]) -> None:
    """Print the medians, and by how much rounds differ."""
    count = len(alone) * IN_A_ROW
    print(f"{TASKS:,} tasks, {count} runs each, with and without {len(PAGES)} open pages: {', '.join(PAGES)}")
    for name, words in (("wall", "time"), ("cpu", "processor time of client, scheduler and workers")):
        before, after = ([[getattr(each, name) for each in runs] for runs in rounds] for rounds in (alone, watched))
        ratios = [statistics.fmean(new) / statistics.fmean(old) - 1 for old, new in zip(before, after, strict=True)]
        error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
        print(
            f"{words}: {spread(before)} us a task alone, {spread(after)} us watched; "
            f"in the mean of rounds {statistics.fmean(ratios):+.1%} (standard error {error:.1%})"
        )
    shown = [[each.dashboard for each in runs] for runs in watched]
    print(f"processor time of the dashboard's process: {spread(shown)} us")


def spread(rounds: list[list[float]]) -> str:
    """Return the median of all runs with the quartiles beside it."""
    low, middle, high = statistics.quantiles(itertools.chain.from_iterable(rounds), n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
