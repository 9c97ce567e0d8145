"""The cases: what is run, how large, in what unit, and what budget it has.

What lives here: one small function a case, written in the verbs of `benchmarks.systems`, and the table of them. What
this module must never know: which system it is running on, beyond what the system says of itself.

Each run uses numbers that no earlier run has used: several systems name a task by its arguments, and would answer
from memory.
"""

from __future__ import annotations

import gc
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import graphs, work
from benchmarks.systems import WORKERS, System

MIB = 1 << 20

_numbers = itertools.count()


class Reading(float):
    """A figure, and facts beside it that go into the JSON file."""

    facts: dict[str, float]

    def __new__(cls, value: float, **facts: float) -> Reading:
        made = super().__new__(cls, value)
        made.facts = facts
        return made


def fresh(count: int) -> range:
    """So many numbers in a row, none of them used before in this process."""
    start = next(_numbers) * 10_000_000
    return range(start, start + count)


def micros(start: float, tasks: int) -> float:
    """Microseconds a task since this moment."""
    return (time.perf_counter() - start) / tasks * 1e6


def check(found: object, wanted: object) -> None:
    """A fast wrong answer is no result."""
    if found != wanted:
        raise AssertionError(f"the system returned {found!r} where {wanted!r} is right")


# ---------------------------------------------------------------- independent tasks


def map_and_gather(system: System, size: int) -> float:
    numbers = fresh(size)
    start = time.perf_counter()
    found = system.gather(system.map(work.inc, numbers))
    spent = micros(start, size)
    check(sum(found), sum(numbers) + size)
    return spent


def submit_in_a_loop(system: System, size: int) -> float:
    numbers = fresh(size)
    start = time.perf_counter()
    found = system.gather([system.submit(work.inc, number) for number in numbers])
    spent = micros(start, size)
    check(sum(found), sum(numbers) + size)
    return spent


def latency(system: System, size: int) -> float:
    each = []
    for number in fresh(size):
        start = time.perf_counter()
        found = system.result(system.submit(work.inc, number))
        each.append(micros(start, 1))
        check(found, number + 1)
    return statistics.median(each)


def arguments_of_10_kb(system: System, size: int) -> float:
    arguments = [os.urandom(10_000) for _ in range(size)]
    start = time.perf_counter()
    found = system.gather([system.submit(work.length, data) for data in arguments])
    spent = micros(start, size)
    check(sum(found), 10_000 * size)
    return spent


# ---------------------------------------------------------------- dependent tasks


def chain(system: System, size: int) -> float:
    first = fresh(1)[0]
    start = time.perf_counter()
    future = system.submit(work.inc, first)
    for _ in range(size - 1):
        future = system.submit(work.inc, future)
    found = system.result(future)
    spent = micros(start, size)
    check(found, first + size)
    return spent


def tree(system: System, size: int) -> float:
    """Pairwise sums of ``size`` leaves down to one; the time is a task, leaves included."""
    numbers = fresh(size)
    start = time.perf_counter()
    futures = layer = list(system.map(work.inc, numbers))
    while len(layer) > 1:
        pairs = [system.submit(work.add, left, right) for left, right in zip(layer[::2], layer[1::2], strict=False)]
        layer = pairs + layer[2 * len(pairs) :]
        futures = futures + pairs
    found = system.result(layer[0])
    spent = micros(start, len(futures))
    check(found, sum(numbers) + size)
    return spent


def merge(system: System, size: int) -> float:
    numbers = fresh(size)
    start = time.perf_counter()
    futures = system.map(work.inc, numbers)
    found = system.result(system.combine(work.total, futures))
    spent = micros(start, size)
    check(found, sum(numbers) + size)
    return spent


def fan_out_and_in(system: System, size: int) -> float:
    first, *numbers = fresh(size + 1)
    start = time.perf_counter()
    root = system.submit(work.inc, first)
    leaves = [system.submit(work.add, root, number) for number in numbers]
    found = system.result(system.combine(work.total, leaves))
    spent = micros(start, size)
    check(found, sum(numbers) + size * (first + 1))
    return spent


# ---------------------------------------------------------------- large arrays (size in bytes, result in GB/s)


def _rate(size: int, start: float) -> float:
    return size / (time.perf_counter() - start) / 1e9


def array_moved(system: System, size: int) -> float:
    made = system.submit(work.make_array, size, next(_numbers), worker=0)
    system.wait([made])
    start = time.perf_counter()
    system.result(system.submit(work.touch, made, worker=1))
    return _rate(size, start)


def array_moved_again(system: System, size: int) -> float:
    made = system.submit(work.make_array, size, next(_numbers), worker=0)
    system.result(system.submit(work.touch, made, worker=1))
    start = time.perf_counter()
    system.result(system.submit(work.touch_again, made, worker=1))
    return _rate(size, start)


def array_gathered(system: System, size: int) -> float:
    """A system that cannot keep a result where it was made has the making of it in the time."""
    work.touch(work.make_array(8, 0))  # what it takes to import numpy here is no part of it
    start = time.perf_counter()
    made = system.submit(work.make_array, size, next(_numbers))
    if system.takes_futures:
        system.wait([made])
        start = time.perf_counter()
    work.touch(system.result(made))
    return _rate(size, start)


def array_gathered_again(system: System, size: int) -> float:
    made = system.submit(work.make_array, size, next(_numbers))
    first = system.result(made)
    start = time.perf_counter()
    work.touch(system.result(made))
    rate = _rate(size, start)
    del first
    return rate


def array_scattered(system: System, size: int) -> float:
    array = work.make_array(size, next(_numbers))
    start = time.perf_counter()
    system.result(system.submit(work.touch, system.scatter(array)))
    return _rate(size, start)


# ---------------------------------------------------------------- collections of Dask (milliseconds a run)


@cache
def _cost_of_dask(build: graphs.Build, size: int, shuffle: str) -> tuple[int, float]:
    """Tasks in such a graph, and what Dask takes to make it, in seconds: looked at once in a process."""
    import dask

    with dask.config.set({"dataframe.shuffle.method": shuffle}):
        return graphs.dask_takes(build(size, next(_numbers))[0])


def collection(build: graphs.Build, *, is_best_shuffle: bool = False) -> Callable[[System, int], float]:
    """A case that computes such a collection, from the call to the result, and what Dask takes of it beside.

    Dataframes are shuffled by tasks on every system, so that the same work is done; with ``is_best_shuffle`` in the way
    that suits the system best.
    """

    def run(system: System, size: int) -> float:
        import dask

        shuffle = system.shuffle if is_best_shuffle else "tasks"
        tasks, dask_s = _cost_of_dask(build, size, "tasks")
        with dask.config.set({"dataframe.shuffle.method": shuffle}):
            made, is_right = build(size, next(_numbers))
            start = time.perf_counter()
            found = system.compute(made)
            spent_s = time.perf_counter() - start
        if not is_right(found):
            raise AssertionError(f"the system returned {found!r}, which is wrong")
        facts = {} if is_best_shuffle else {"tasks": tasks, "dask_ms": dask_s * 1e3}
        return Reading(spent_s * 1e3, **facts)

    return run


HOLD_S = 120.0
"""How long the workers may be kept busy at most."""


def _known_at_rest(system: System) -> int:
    """How many tasks the scheduler knows once it has forgotten what was released a moment ago."""
    known = -1
    while (now := system.known_tasks()) != known:
        known = now
        time.sleep(0.05)
    return known


def submission(system: System, size: int) -> float:
    """What the system takes to learn of a large graph, beyond what Dask takes to make it; nothing of it runs yet."""
    like_it, _ = graphs.sum_of_transpose(size, next(_numbers))
    dask_cpu_s = -time.process_time()
    gc.disable()  # what it costs to walk the graph meanwhile belongs to who lets that happen
    tasks, dask_s = graphs.dask_takes(like_it)
    gc.enable()
    dask_cpu_s += time.process_time()
    made, is_right = graphs.sum_of_transpose(size, next(_numbers))
    with tempfile.TemporaryDirectory() as folder:
        busy = Path(folder, "busy")
        busy.touch()
        holding = [system.submit(work.hold, f"{busy}", HOLD_S, worker=worker) for worker in range(WORKERS)]
        try:
            before = _known_at_rest(system)
            start, cpu_s = time.perf_counter(), -time.process_time()
            kept = system.persist(made)
            called_s = time.perf_counter() - start
            while system.known_tasks() - before < tasks:
                if time.perf_counter() - start > HOLD_S:
                    raise AssertionError(f"{system.known_tasks() - before:,} of {tasks:,} tasks have arrived")
                time.sleep(0.01)
            spent_s = time.perf_counter() - start
            cpu_s += time.process_time()
            if size <= 1_000:  # of a larger one the result takes long, and tells no more
                busy.unlink()
                if not is_right(found := system.compute(kept)):
                    raise AssertionError(f"the system returned {found!r}, which is wrong")
            del kept
        finally:
            busy.unlink(missing_ok=True)
            system.wait(holding)
    facts = {"tasks": tasks, "dask_ms": dask_s * 1e3, "called_ms": called_s * 1e3, "all_ms": spent_s * 1e3}
    facts["cpu_us"] = (cpu_s - dask_cpu_s) / tasks * 1e6  # the same figure, less moved by what else runs here
    return Reading((spent_s - dask_s) / tasks * 1e6, **facts)


# ---------------------------------------------------------------- memory


def resident_bytes() -> int:
    """Resident memory of this process (Linux; elsewhere psutil knows)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)
    return pages * os.sysconf("SC_PAGE_SIZE")


def held_memory(system: System, size: int) -> float:
    """Growth of this process a finished task whose future is held; client and scheduler are both in it."""
    gc.collect()
    before = resident_bytes()
    futures = system.map(work.inc, fresh(size))
    system.wait(futures)
    gc.collect()
    return (resident_bytes() - before) / size


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Parameters
    ----------
    name, title
        For the command line, and for readers.
    group
        Cases of one group share a process and a cluster; each group has fresh ones.
    size
        Tasks, or bytes of an array, or chunks, slices or partitions of a collection.
    run
        Does the work and returns the value; None where `benchmarks.child` has a way of its own.
    unit
        ``"us"``, ``"ms"``, ``"s"``, ``"GB/s"`` or ``"B"``; of GB/s more is better.
    budget
        What windrow is to reach, in this unit; None when there is no figure.
    needs
        ``"futures"``: the system must take futures as arguments; ``"own_memory"``: its client and scheduler must live
        in this process; ``"collections"``: it must run those of Dask.
    least
        The part of ``size`` that still tells something; a system too slow for it leaves the row empty.
    share
        The part of the time of dask.distributed in the same run that windrow may take; None when there is no such
        figure.
    over
        ``"tcp"`` or ``"tls"``: what workers are to talk over, with nothing else beside it; "" is up to the system.
    against
        The case of the same run without encryption, of which the table says how many times the time this one took.
    """

    name: str
    title: str
    group: str
    size: int
    run: Callable[[System, int], float] | None
    unit: str = "us"
    budget: float | None = None
    needs: str = ""
    repeats: int = 3
    least: float = 0.25
    share: float | None = None
    over: str = ""
    against: str = ""

    @property
    def is_rate(self) -> bool:
        """More is better."""
        return self.unit == "GB/s"

    def is_met(self, value: float, reference: float | None = None) -> bool | None:
        """Whether this value stays within the budget, or its share of what dask.distributed took; None without one."""
        if self.budget is not None:
            return value >= self.budget if self.is_rate else value <= self.budget
        if self.share is not None and reference is not None:
            return value <= self.share * reference
        return None

    def suits(self, system: System) -> bool:
        """Whether the system can do this at all."""
        return not self.needs or bool(getattr(system, NEEDS[self.needs]))


NEEDS = {"futures": "takes_futures", "own_memory": "own_memory", "collections": "takes_collections"}
"""What a case needs, by the name of what a system says of itself."""


def _cases() -> Iterator[Case]:
    yield Case("map_1k", "map + gather 1,000", "map", 1_000, map_and_gather, repeats=5)
    yield Case("map_10k", "map + gather 10,000", "map", 10_000, map_and_gather, budget=20, repeats=5)
    yield Case("map_100k", "map + gather 100,000", "map", 100_000, map_and_gather, budget=20)
    yield Case("map_1m", "map + gather 1,000,000", "million", 1_000_000, map_and_gather, budget=25, repeats=1)
    yield Case("loop", "submit 2,000 in a loop, gather", "small", 2_000, submit_in_a_loop, budget=40)
    yield Case("latency", "submit one, wait, repeat 300", "small", 300, latency, budget=600)
    yield Case("args_10kb", "1,000 calls with 10 kB arguments", "small", 1_000, arguments_of_10_kb, budget=80)
    yield Case("chain", "chain of 1,000", "graph", 1_000, chain, budget=40, needs="futures")
    yield Case("tree", "tree reduction of 2,048", "graph", 2_048, tree, budget=30, needs="futures")
    yield Case("merge", "merge 5,000 into one", "graph", 5_000, merge, budget=30, needs="futures")
    yield Case("fan", "fan out 2,000 from one, fan in", "graph", 2_000, fan_out_and_in, budget=40, needs="futures")
    size = 256 * MIB
    arrays = "256 MiB array"
    yield Case("move", f"{arrays}, worker to worker", "arrays", size, array_moved, "GB/s", 5, "futures")
    yield Case("move_again", f"{arrays}, used there again", "arrays", size, array_moved_again, "GB/s", 30, "futures")
    # Each of two workers makes some of them, and is to have done so before for most.
    yield Case("gather", f"{arrays} gathered", "arrays", size, array_gathered, "GB/s", 5, repeats=5)
    yield Case("gather_again", f"{arrays} gathered again", "arrays", size, array_gathered_again, "GB/s", 30, "futures")
    yield Case("scatter", f"{arrays} scattered and used", "arrays", size, array_scattered, "GB/s", 4)
    yield Case(
        "move_tcp",
        f"{arrays}, worker to worker, over TCP",
        "tcp",
        size,
        array_moved,
        "GB/s",
        None,
        "futures",
        over="tcp",
    )
    title = f"{arrays}, worker to worker, over TLS"
    yield Case("move_tls", title, "tls", size, array_moved, "GB/s", None, "futures", over="tls", against="move_tcp")
    title = "map + gather 10,000 over TLS"
    yield Case("map_10k_tls", title, "tls", 10_000, map_and_gather, repeats=5, over="tls", against="map_10k")
    title = "submit one, wait, repeat 300, over TLS"
    yield Case("latency_tls", title, "tls", 300, latency, over="tls", against="latency")
    yield from _collection_cases()
    yield Case("memory", "memory a held task", "memory", 200_000, held_memory, "B", 1_024, "own_memory", 1, 0.02)
    yield Case("startup", "start of a cluster to first result", "startup", 1, None, "s", 0.45)
    yield Case("import", "import", "import", 1, None, "s", 0.1, repeats=5)


def _collection_cases() -> Iterator[Case]:
    def case(name: str, title: str, group: str, size: int, share: float, **how: bool) -> Case:
        run = collection(getattr(graphs, name.removesuffix("_best")), **how)
        return Case(name, title, group, size, run, "ms", needs="collections", share=share)

    yield case("array_transpose", "sum of x + x.T, 2,116 chunks", "dask_array", 2_116, 0.5)
    yield case("array_slices", "256 slices of 1,024 chunks", "dask_array", 256, 0.5)
    yield case("array_mean", "mean over an axis, 1,600 chunks", "dask_array", 1_600, 0.5)
    yield case("group_means", "anomalies from 12 group means", "dask_array", 60, 0.5)
    yield case("bag", "map, filter, frequencies, 1,000 partitions", "dask_bag", 1_000, 0.5)
    yield case("groupby", "dataframe groupby, 250 partitions", "dask_frame", 250, 1)
    yield case("join", "dataframe join, 24 and 24 partitions, by tasks", "dask_frame", 24, 1)
    yield case("join_best", "the same, peer by p2p", "dask_frame", 24, 1, is_best_shuffle=True)
    title = "submit 100,000 tasks of x + x.T, beyond Dask's own part"
    yield Case("persist_100k", title, "dask_submit", 100_000, submission, budget=25, repeats=5, needs="collections")


CASES: dict[str, Case] = {case.name: case for case in _cases()}
