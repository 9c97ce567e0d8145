"""What it costs a run of 100,000 tasks that five pages of its dashboard are open, in one sitting.

What lives here: runs with and without visitors in turn, and the comparison of their times. What this module must never
know: what the pages show.

    python -m benchmarks.watched --rounds 3

The rate is that of the tasks; processor time is of the client and scheduler (this process) and of the workers, and,
beside them, of the dashboard's process, which is elsewhere. Of each the median of the runs counts, with the quartiles
beside it: on a busy machine believe processor times, and not the rates.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from benchmarks import work
from windrow import Client, LocalCluster

TASKS = 100_000
IN_A_ROW = 5
LET_GO_S = 18.0
"""So long after the last look something may still be done for it: documents are kept for a while, leases run out."""
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


def run(client: Client, workers: list[psutil.Process], pid: int | None, first: int) -> Run:
    """Run the tasks once; ``first`` makes them new."""
    mine = [psutil.Process(), *workers]
    shown = [] if pid is None else [psutil.Process(pid)]
    gc.collect()
    before, before_shown, start = cpu_s(*mine), cpu_s(*shown), time.perf_counter()
    found = client.gather(client.map(work.inc, range(first, first + TASKS)))
    wall = time.perf_counter() - start
    spent, spent_shown = cpu_s(*mine) - before, cpu_s(*shown) - before_shown
    assert sum(found) == sum(range(first, first + TASKS)) + TASKS
    return Run(*(1e6 * seconds / TASKS for seconds in (wall, spent, spent_shown)))


def visitors(root: str) -> subprocess.Popen[str]:
    """Open the pages in a process of its own; return once they are open."""
    command = [sys.executable, "-m", "benchmarks.visitors", root, *PAGES]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "open\n", "the pages could not be opened"
    return started


def main() -> None:
    """Run in turn, with and without visitors, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    alone: list[Run] = []
    watched: list[Run] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        workers = [psutil.Process(info["pid"]) for info in client.scheduler_info()["workers"].values()]
        root = str(client.dashboard_link).removesuffix("/status")
        numbers = itertools.count(0, 10 * TASKS)
        run(client, workers, None, next(numbers))  # warm
        for _ in range(rounds):
            alone += [run(client, workers, None, next(numbers)) for _ in range(IN_A_ROW)]
            process = visitors(root)
            pid = cluster.scheduler.dashboard.pid
            run(client, workers, pid, next(numbers))  # what a first look begins, has begun
            watched += [run(client, workers, pid, next(numbers)) for _ in range(IN_A_ROW)]
            process.communicate("")
            time.sleep(LET_GO_S)
    report(alone, watched)


def report(alone: list[Run], watched: list[Run]) -> None:
    """Print the medians, and by how much they differ."""
    print(f"{TASKS:,} tasks, {len(alone)} runs each, with and without {len(PAGES)} open pages: {', '.join(PAGES)}")
    for name, words in (("wall", "time"), ("cpu", "processor time of client, scheduler and workers")):
        (before, told), (after, told_too) = (
            spread([getattr(each, name) for each in runs]) for runs in (alone, watched)
        )
        print(f"{words}: {told} us a task alone, {told_too} us watched: {after / before - 1:+.1%}")
    print(f"processor time of the dashboard's process: {spread([each.dashboard for each in watched])[1]} us")


def spread(values: list[float]) -> tuple[float, str]:
    """Return the median, and it with the quartiles as text."""
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
