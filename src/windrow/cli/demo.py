"""``windrow demo``: a cluster on this machine, a little work, and what to look at.

What lives here: the command, and the functions that its tasks call. What this file must never know: how any of it is
done.
"""

from __future__ import annotations

import time
from typing import Any

import click

__all__ = ["demo"]

TASKS = 10_000
NAP_S = 0.01


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--nworkers", "--n-workers", type=click.IntRange(min=1), default=2, show_default=True, help="Workers.")
@click.option("--tasks", type=click.IntRange(min=1), default=TASKS, show_default=True, help="How many tasks to run.")
@click.option("--stay/--no-stay", default=False, help="Leave the cluster there, to look at, until Ctrl-C.")
def demo(nworkers: int, tasks: int, stay: bool) -> None:
    """Start a cluster on this machine, run a little work on it, and say what happened.

    \b
    Examples:
      windrow demo
      windrow demo --stay

    Many small tasks; a tree of tasks that need each other's results; and the death of a worker in the midst of work.
    """
    from windrow import Client, LocalCluster

    began_s = time.perf_counter()
    with (
        LocalCluster(n_workers=nworkers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        click.echo(f"A scheduler and {nworkers} workers: {time.perf_counter() - began_s:.2f} s")
        click.echo(f"Dashboard: {cluster.dashboard_link}")
        _map(client, tasks)
        _tree(client)
        _death(client)
        if stay:
            click.echo(f'Look at the dashboard, or connect: Client("{cluster.scheduler_address}"). Ctrl-C ends it.')
            _wait()
    click.echo("That was it. docs/architecture.md is the tour of the house.")


def _map(client: Any, tasks: int) -> None:
    began_s = time.perf_counter()
    total = sum(client.gather(client.map(_square, range(tasks))))
    each_us = (time.perf_counter() - began_s) / tasks * 1e6
    click.echo(f"{tasks:,} tasks, gathered: {each_us:.1f} µs a task (their sum is {total:,})")


def _tree(client: Any) -> None:
    level = client.map(_square, range(1024))
    began_s, count = time.perf_counter(), 0
    while len(level) > 1:
        level = client.map(_add, level[::2], level[1::2])
        count += len(level)
    total = level[0].result()
    each_us = (time.perf_counter() - began_s) / count * 1e6
    click.echo(f"A tree of {count:,} tasks on top of each other: {each_us:.1f} µs a task (at its root is {total:,})")


def _death(client: Any) -> None:
    futures = client.map(_slow_square, range(100))
    futures[0].result()
    victim = sorted(client.scheduler_info()["workers"])[0]
    click.echo(f"100 tasks of {NAP_S * 1e3:.0f} ms, and the death of the worker at {victim} while they run:")
    client.run(_kill_yourself, workers=[victim], wait=False)
    click.echo(f"    all done: their sum is {sum(client.gather(futures)):,}; what it had and held was made again")


def _wait() -> None:
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()


# ---------------------------------------------------------------- what the tasks do


def _square(number: int) -> int:
    return number * number


def _slow_square(number: int) -> int:
    time.sleep(NAP_S)
    return number * number


def _add(left: int, right: int) -> int:
    return left + right


def _kill_yourself() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
