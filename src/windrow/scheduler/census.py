"""Counting all tasks, a few at a time, so that who looks slows nobody.

What lives here: the count, and the overview of everything that observers ask for. What this file must never know: who
asks, and how often.

Nothing is kept up to date for this while tasks run. Whoever asks is told the last count and has the next one begun; it
goes on at each tick, by no more than takes about 2 % of the time. So up to a thousand tasks are counted at once, a
hundred thousand within two seconds, and no count stops the scheduler for more than a millisecond.
"""

from __future__ import annotations

from typing import Any

from windrow.keys import Key, label, prefix_of
from windrow.scheduler import scaling
from windrow.scheduler.state import ERRED, FORGOTTEN, MEMORY, Keeper, State, Task, WorkerRecord

STEP_TASKS = 1_500
"""How many are counted at a tick, which is every 25 ms."""
APART_S = 0.5
"""How long after the beginning of a count the next may begin."""
CLIENTS_MAX = 200
"""So many clients are told of."""
ERRED_MAX = 50
"""So many of the tasks that have erred are named."""


class Census:
    """One count of all tasks.

    A task that moves meanwhile is counted as it is when its turn comes; one that comes later is not counted.

    Parameters
    ----------
    tasks
        The tasks that are there.
    now_s
        When it begins.

    Examples
    --------
    >>> census = Census([], 0.0)
    >>> census.step(1), census.counts
    (True, {})
    """

    def __init__(self, tasks: list[Task], now_s: float) -> None:
        self.begun_s = now_s
        self.counts: dict[str, dict[str, int]] = {}
        """How many tasks are in each state, by prefix."""
        self.needed = 0
        """How many tasks others wait for."""
        self.prefix_bytes: dict[str, int] = {}
        """The size of results in memory, by prefix."""
        self.bytes = 0
        """The size of all results in memory, each counted once."""
        self.stored_bytes: dict[str, int] = {}
        """The size of what each worker holds, by address."""
        self.erred: list[list[str]] = []
        """Of some tasks that have raised themselves: key, function, traceback."""
        self._tasks = tasks
        self._place = 0
        self._weights: dict[tuple[WorkerRecord, ...], int] = {}
        """The size of results by who holds them: few different tuples, which tasks share."""
        self._prefixes: dict[Key, str] = {}

    def step(self, n: int) -> bool:
        """Count the next ``n``; say whether that was all."""
        part = self._tasks[self._place : self._place + n]
        self._place += n
        prefixes, counts, weights, sizes = self._prefixes, self.counts, self._weights, self.prefix_bytes
        needed = 0
        for task in part:
            state = task.state
            if state == FORGOTTEN:
                continue
            key = task.key
            if type(key) is tuple:
                prefix = prefixes.get(key[0])
                if prefix is None:
                    prefix = prefixes[key[0]] = prefix_of(key)
            else:
                prefix = prefix_of(key) if task.function is None else task.function.name
            by_state = counts.get(prefix)
            if by_state is None:
                by_state = counts[prefix] = {}
            by_state[state] = by_state.get(state, 0) + 1
            if state == MEMORY:
                holders = task.holders
                nbytes = task.nbytes
                weights[holders] = weights.get(holders, 0) + nbytes
                sizes[prefix] = sizes.get(prefix, 0) + nbytes
            elif state == ERRED:
                self._note(task)
            if task.waiters:
                needed += 1
        self.needed += needed
        done = self._place >= len(self._tasks)
        if done:
            self._sum_up()
        return done

    def _sum_up(self) -> None:
        self.bytes = sum(self._weights.values())
        for holders, weight in self._weights.items():
            for holder in holders:
                self.stored_bytes[holder.address] = self.stored_bytes.get(holder.address, 0) + weight
        self._tasks, self._weights = [], {}

    def _note(self, task: Task) -> None:
        if len(self.erred) < ERRED_MAX and task.failure is not None and task.failure.root == task.key:
            self.erred.append([label(task.key), task.function.name if task.function else "", task.failure.text])


def begin(state: State) -> None:
    """Begin a count, unless one is under way or has only just begun."""
    last = state.counted
    if state.census is None and (last is None or state.now_s - last.begun_s >= APART_S):
        state.census = Census(list(state.tasks.values()), state.now_s)
        go_on(state)


def go_on(state: State) -> None:
    """Count some more, if a count is under way."""
    census: Census | None = state.census
    if census is not None and census.step(STEP_TASKS):
        state.census, state.counted = None, census


def overview(state: State) -> dict[str, Any]:
    """Return how much of everything there is, as plain data; what is counted, as of the last count.

    ``counted`` says when that began, on the scheduler's clock, or is None while there was none; ``now`` is the time;
    ``client_rows`` are, of some clients, id, name, the worker that it belongs to, what it wants, and whether it is cut.
    """
    begin(state)
    census: Census | None = state.counted
    present = [client for client in state.clients.values() if not isinstance(client, Keeper)]
    return {
        "now": state.now_s,
        "counted": None if census is None else census.begun_s,
        "tasks": len(state.tasks),
        "prefixes": {} if census is None else census.counts,
        "bytes": 0 if census is None else census.bytes,
        "prefix_bytes": {} if census is None else census.prefix_bytes,
        "needed": 0 if census is None else census.needed,
        "erred": [] if census is None else census.erred,
        "clients": len(present),
        "client_rows": [
            [client.id, client.name, client.worker, len(client.wants), client.cut_s is not None]
            for client in present[:CLIENTS_MAX]
        ],
        "idle_since": scaling.idle_since_s(state),
        "unrunnable": len(state.unrunnable),
        "workers": {
            worker.address: _worker(state, worker, census)
            for worker in state.workers.values()
            if worker.status != "lost"
        },
    }


def _worker(state: State, worker: WorkerRecord, census: Census | None) -> dict[str, Any]:
    return {
        "processing": len(worker.processing),
        "stored": len(worker.holds),
        "stored_bytes": 0 if census is None else census.stored_bytes.get(worker.address, 0),
        "occupancy": worker.expected_s,
        "idle": worker in state.idle and not worker.processing,
        "saturated": worker.status == "running" and worker not in state.idle and worker not in state.open,
    }
