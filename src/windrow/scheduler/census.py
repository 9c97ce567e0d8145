"""Counting all tasks, a few at a time, so that who looks slows nobody.

What lives here: the count, by groups and prefixes, and the overview of everything that observers ask for. What this
file must never know: who asks, and how often.

Nothing is kept up to date for this while tasks run. Whoever asks is told the last count and has the next one begun; it
goes on at each tick, by no more than takes about 2 % of the time, or half a percent while the scheduler has its hands
full. So up to two thousand tasks are counted at once, a hundred thousand within a second or five, and no count stops
the scheduler for more than a millisecond. What tasks take of each other is looked at once in the life of each.
"""

from __future__ import annotations

from typing import Any

from windrow.keys import Key, label, prefix_of
from windrow.scheduler import obstacles, scaling
from windrow.scheduler.state import ERRED, FORGOTTEN, MEMORY, FunctionRecord, Keeper, State, Task, WorkerRecord

STEP_TASKS = 2_400
"""How many are counted at a tick, which is every 25 ms."""
PRESSED_STEP_TASKS = 600
"""The same while the process takes a processor of its own (`State.is_pressed`)."""
NEW_STEP_SHARE = 4
"""A part of so many as that, where it is also looked at what they take of each other."""
APART_S = 0.5
"""How long after the beginning of a count the next may begin."""
CLIENTS_MAX = 200
"""So many clients are told of."""
ERRED_MAX = 50
"""So many of the tasks that have erred are named."""
GROUPS_MAX = 1_000
OTHERS = "(others)"
INPUTS_MAX = 8
"""Of so many inputs of a task the groups are looked at."""
LINKS_S = 15.0
"""So long after somebody has asked for them, links are still followed."""


class Row:
    """Tasks of one group: the chunks of a collection, or else tasks of one function."""

    __slots__ = ("counts", "name", "nbytes", "prefix")

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.counts: dict[str, int] = {}
        self.nbytes = 0


class Links:
    """Which groups take results of which, kept from count to count while somebody asks.

    A link stays while there are tasks of both groups.
    """

    __slots__ = ("asked_s", "pairs", "seen")

    def __init__(self) -> None:
        self.asked_s = 0.0
        self.seen = 0
        """The id of the last task whose inputs were looked at."""
        self.pairs: dict[tuple[object, object], None] = {}

    def add(self, task: Task) -> None:
        """Look at the inputs of a task."""
        own = _group(task)
        for source in task.inputs[:INPUTS_MAX]:
            other = _group(source)
            if other != own:
                self.pairs[other, own] = None


def _group(task: Task) -> FunctionRecord | Key:
    """Return what tasks of one group have in common: the collection, the function, or nothing but the key."""
    key = task.key
    return key[0] if type(key) is tuple else task.function or key


class Census:
    """One count of all tasks.

    A task that moves meanwhile is counted as it is when its turn comes; one that comes later is not counted.

    Parameters
    ----------
    tasks
        The tasks that are there.
    now_s
        When it begins.
    links
        What tasks take of each other, if somebody asks.

    Examples
    --------
    >>> census = Census([], 0.0)
    >>> census.step(1), census.counts
    (True, {})
    """

    def __init__(self, tasks: list[Task], now_s: float, links: Links | None = None) -> None:
        self.begun_s = now_s
        self.links = links
        self.counts: dict[str, dict[str, int]] = {}
        """How many tasks are in each state, by prefix."""
        self.groups: dict[str, Row] = {}
        """The same by group; the prefix of many small ones together is that of none."""
        self.pairs: list[tuple[str, str]] = []
        """Names of groups of which the second takes results of the first."""
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
        self._newest = tasks[-1].id if tasks else 0
        self._tasks = tasks[::-1]
        """Those that are left, the first one last."""
        self._weights: dict[tuple[WorkerRecord, ...], int] = {}
        """The size of results by who holds them: few different tuples, which tasks share."""
        self._rows: dict[object, Row] = {}
        """By what `_group` says; beyond GROUPS_MAX all of one prefix share one."""
        self._own: list[Row] = []
        self._shared: dict[str, Row] = {}

    def step(self, n: int) -> bool:
        """Count the next ``n``, or fewer where more is to be looked at; say whether that was all."""
        tasks, links = self._tasks, self.links
        part = tasks[: -n - 1 : -1]
        if links is not None and part and part[-1].id > links.seen:
            part = part[: max(1, n // NEW_STEP_SHARE)]
            for task in part:
                if task.id > links.seen:
                    links.add(task)
        # What was forgotten since goes with its part, and not all at once at the end: that would stop the scheduler.
        del tasks[len(tasks) - len(part) :]
        self._count(part)
        if not tasks:
            self._sum_up()
        return not tasks

    def _count(self, part: list[Task]) -> None:
        rows, weights = self._rows, self._weights
        needed = 0
        for task in part:
            state = task.state
            if state == FORGOTTEN:
                continue
            key = task.key
            group = key[0] if type(key) is tuple else task.function or key  # as `_group`, in line
            row = rows.get(group)
            if row is None:
                row = rows[group] = self._row(task)
            counts = row.counts
            counts[state] = counts.get(state, 0) + 1
            if state == MEMORY:
                nbytes = task.nbytes
                row.nbytes += nbytes
                holders = task.holders
                weights[holders] = weights.get(holders, 0) + nbytes
            elif state == ERRED:
                self._note(task)
            if task.waiters:
                needed += 1
        self.needed += needed

    def _row(self, task: Task) -> Row:
        key, function = task.key, task.function
        if type(key) is tuple:
            name, prefix = str(key[0]), prefix_of(key)
        else:
            name = prefix = prefix_of(key) if function is None or not function.name else function.name
        if len(self._own) < GROUPS_MAX:
            found = Row(name, prefix)
            self._own.append(found)
            return found
        return self._shared.setdefault(prefix, Row(OTHERS, prefix))

    def _sum_up(self) -> None:
        self.bytes = sum(self._weights.values())
        for holders, weight in self._weights.items():
            for holder in holders:
                self.stored_bytes[holder.address] = self.stored_bytes.get(holder.address, 0) + weight
        for row in (*self._own, *self._shared.values()):
            _merge(self.counts.setdefault(row.prefix, {}), row.counts)
            if MEMORY in row.counts:
                self.prefix_bytes[row.prefix] = self.prefix_bytes.get(row.prefix, 0) + row.nbytes
            group = self.groups.setdefault(row.name, Row(row.name, OTHERS if row.name == OTHERS else row.prefix))
            _merge(group.counts, row.counts)
            group.nbytes += row.nbytes
        if self.links is not None:
            self._link(self.links)
        self._weights, self._rows, self._own, self._shared = {}, {}, [], {}

    def _link(self, links: Links) -> None:
        rows = self._rows
        links.pairs = {pair: None for pair in links.pairs if pair[0] in rows and pair[1] in rows}
        named = [(rows[one].name, rows[other].name) for one, other in links.pairs]
        self.pairs = list(dict.fromkeys(pair for pair in named if pair[0] != pair[1]))
        links.seen = max(links.seen, self._newest)

    def _note(self, task: Task) -> None:
        if len(self.erred) < ERRED_MAX and task.failure is not None and task.failure.root == task.key:
            self.erred.append([label(task.key), task.function.name if task.function else "", task.failure.text])


def _merge(into: dict[str, int], counts: dict[str, int]) -> None:
    for state, count in counts.items():
        into[state] = into.get(state, 0) + count


def begin(state: State) -> None:
    """Begin a count, unless one is under way or has only just begun."""
    last = state.counted
    if state.census is None and (last is None or state.now_s - last.begun_s >= APART_S):
        if state.links is not None and state.now_s - state.links.asked_s > LINKS_S:
            state.links = None
        state.census = Census(list(state.tasks.values()), state.now_s, state.links)
        go_on(state)


def go_on(state: State) -> None:
    """Count some more, if a count is under way."""
    census: Census | None = state.census
    if census is not None and census.step(PRESSED_STEP_TASKS if state.is_pressed else STEP_TASKS):
        state.census, state.counted = None, census


def groups(state: State) -> dict[str, Any]:
    """Return the groups of the last count, and have the next one made.

    ``groups`` are [name, prefix, counts by state, bytes in memory], ``edges`` places of a group and of one that takes
    its results, one after the other; ``surveyed`` is when it began, or None while there was none, and ``now`` the time.
    """
    if state.links is None:
        state.links = Links()
    state.links.asked_s = state.now_s
    begin(state)
    census: Census | None = state.counted
    if census is None or census.links is None:
        return {"now": state.now_s, "surveyed": None, "groups": [], "edges": []}
    found = [[row.name, row.prefix, row.counts, row.nbytes] for row in census.groups.values()]
    places = {name: place for place, name in enumerate(census.groups)}
    edges = [places[name] for pair in census.pairs for name in pair]
    return {"now": state.now_s, "surveyed": census.begun_s, "groups": found, "edges": edges}


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
        "unrunnable": obstacles.count(state),
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
