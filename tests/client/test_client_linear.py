"""That waiting for many costs each a constant: counted in bytecodes and calls, not in seconds."""

from __future__ import annotations

import sys

import pytest

from windrow.client import as_completed, wait


def inc(x):
    return x + 1


def cost(function):
    """Bytecodes that a call runs in this thread (loops inside C functions count as one)."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return count


def batches(futures):
    return list(as_completed(futures, timeout=60).batches())


def one_by_one(iterator):
    while not iterator.is_empty():
        iterator.count()
        next(iterator)


WAYS = {
    "as_completed": lambda client, futures: list(as_completed(futures, timeout=60)),
    "batches": lambda client, futures: batches(futures),
    "one at a time": lambda client, futures: one_by_one(as_completed(futures, timeout=60)),
    "wait": lambda client, futures: wait(futures, 60),
    "first": lambda client, futures: wait(futures, 60, return_when="FIRST_COMPLETED"),
    "gather": lambda client, futures: client.gather(futures),
    "gather deep": lambda client, futures: client.gather({"x": [(future,) for future in futures]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_waiting_is_linear(client, fake, way):
    futures = client.map(inc, range(1600))
    fake.finish({future.key: 1 for future in futures})
    wait(futures, 30)
    few = cost(lambda: WAYS[way](client, futures[:200]))
    many = cost(lambda: WAYS[way](client, futures))
    assert many < 10 * few


def test_steps_of_as_completed_do_not_look_at_all_that_is_left(client, fake, monkeypatch):
    futures = client.map(inc, range(100))
    fake.finish({future.key: 1 for future in futures})
    wait(futures, 30)
    seen, words = [], []
    monkeypatch.setattr(as_completed, "_what", lambda self: words.append(1) or "")
    for walk in (list, lambda iterator: list(iterator.batches()), one_by_one):
        iterator = as_completed(timeout=30)
        iterator._waiting = Watched(seen)
        iterator.update(futures)
        walk(iterator)
        assert iterator.is_empty()
    assert (seen, words) == ([], [])


class Watched(dict):
    """Notes when all of it is looked at."""

    def __init__(self, seen):
        self.seen = seen

    def values(self):
        self.seen.append(len(self))
        return super().values()

    __iter__ = keys = items = values


def test_waiting_for_one_key_many_times_leaves_no_waiter(client, fake):
    other = client.submit(inc, 2)
    futures = [client.submit(inc, 1) for _ in range(1000)]
    fake.finish({other.key: 3})
    other.result(5)
    for _ in range(2):
        assert wait([*futures, other], 5, return_when="FIRST_COMPLETED").done == {other}
    few = cost(lambda: wait([*futures[:100], other], 5, return_when="FIRST_COMPLETED"))
    many = cost(lambda: wait([*futures[:1000], other], 5, return_when="FIRST_COMPLETED"))
    assert many < 12 * few
    assert futures[0].entry.waiter is None
    fake.finish({futures[0].key: 2})
    assert client.gather(futures) == [2] * 1000
