"""The graph of tasks as a picture, for who looks: each task while they are few, and their groups however many.

What lives here: `graph`, and `Survey`, a count of groups and of what leads from one to another. What this file must
never know: who looks, and how it is drawn.

As in `census`, nothing is kept up to date for this. Single tasks are told in one go, of some thousands at most; groups
are counted a few tasks at each tick, while somebody asks.
"""

from __future__ import annotations

from typing import Any

from windrow.keys import Key, label, prefix
from windrow.scheduler.state import FORGOTTEN, MEMORY, STATES, State, Task

__all__ = ["Survey", "begin", "go_on", "graph", "group_of", "groups"]

GRAPH_MAX = 10_000
"""More single tasks are told to nobody; making an answer of so many takes some ten milliseconds."""
STEP_TASKS = 500
"""How many are surveyed at a tick: beside a census, another percent of the time."""
APART_S = 0.5
INPUTS_MAX = 8
"""Of so many inputs of a task the groups are looked at."""
GROUPS_MAX = 1_000
OTHERS = "(others)"

_NUMBERS = {state: number for number, state in enumerate(STATES)}


def graph(state: State, limit: int) -> dict[str, Any]:
    """Return all tasks and what they take of each other, as columns; above the limit, only how many there are.

    ``ids``, ``keys`` (as text), ``prefixes``, ``states`` (places in ``names``); ``edges`` are places of an input and
    of who takes it, one after the other.
    """
    count = len(state.tasks)
    if count > min(limit, GRAPH_MAX):
        return {"tasks": count, "names": list(STATES), "ids": None}
    tasks = list(state.tasks.values())
    places = {task.id: place for place, task in enumerate(tasks)}
    edges: list[int] = []
    for place, task in enumerate(tasks):
        for source in task.inputs:
            at = places.get(source.id)
            if at is not None:
                edges += (at, place)
    return {
        "tasks": count,
        "names": list(STATES),
        "ids": [task.id for task in tasks],
        "keys": [label(task.key) for task in tasks],
        "prefixes": [prefix(task.key, "" if task.function is None else task.function.name) for task in tasks],
        "states": [_NUMBERS[task.state] for task in tasks],
        "edges": edges,
    }


class Survey:
    """One count of groups: how many tasks of each are in each state, and which groups they take results of.

    Parameters
    ----------
    tasks
        The tasks that are there.
    now_s
        When it begins.

    Examples
    --------
    >>> survey = Survey([], 0.0)
    >>> survey.step(1), survey.groups
    (True, {})
    """

    def __init__(self, tasks: list[Task], now_s: float) -> None:
        self.begun_s = now_s
        self.groups: dict[str, dict[str, int]] = {}
        """Counts by state, by the name of the group."""
        self.prefixes: dict[str, str] = {}
        self.nbytes: dict[str, int] = {}
        self.edges: dict[tuple[str, str], None] = {}
        self._tasks = tasks
        self._place = 0

    def step(self, n: int) -> bool:
        """Look at the next ``n``; say whether that was all."""
        part = self._tasks[self._place : self._place + n]
        self._place += n
        for task in part:
            if task.state is not FORGOTTEN:
                self._add(task)
        done = self._place >= len(self._tasks)
        if done:
            self._tasks = []
        return done

    def _add(self, task: Task) -> None:
        groups = self.groups
        name, kind = group_of(task)
        if name not in groups:
            if len(groups) >= GROUPS_MAX:
                name = kind = OTHERS
            groups.setdefault(name, {})
            self.prefixes[name] = kind
        counts = groups[name]
        counts[task.state] = counts.get(task.state, 0) + 1
        if task.state is MEMORY:
            self.nbytes[name] = self.nbytes.get(name, 0) + task.nbytes
        for source in task.inputs[:INPUTS_MAX]:
            if source.state is not FORGOTTEN:
                other = group_of(source)[0]
                if other != name:
                    self.edges[other, name] = None


def group_of(task: Task) -> tuple[str, str]:
    """Return the name of a task's group, and its prefix: the collection of a chunk, else tasks of one function."""
    kind = prefix(task.key, "" if task.function is None else task.function.name)
    key: Key = task.key
    return (str(key[0]) if isinstance(key, tuple) and key else kind), kind


def begin(state: State) -> None:
    """Begin a survey, unless one is under way or has only just begun."""
    last = state.surveyed
    if state.survey is None and (last is None or state.now_s - last.begun_s >= APART_S):
        state.survey = Survey(list(state.tasks.values()), state.now_s)
        go_on(state)


def go_on(state: State) -> None:
    """Survey some more, if a survey is under way."""
    survey: Survey | None = state.survey
    if survey is not None and survey.step(STEP_TASKS):
        state.survey, state.surveyed = None, survey


def groups(state: State) -> dict[str, Any]:
    """Return the groups of the last survey, and have the next one made.

    ``groups`` are [name, prefix, counts by state, bytes in memory], ``edges`` places of a group and of one that takes
    its results, one after the other; ``surveyed`` is when it began, or None while there was none, and ``now`` the time.
    """
    begin(state)
    survey: Survey | None = state.surveyed
    if survey is None:
        return {"now": state.now_s, "surveyed": None, "groups": [], "edges": []}
    found = [
        [name, survey.prefixes[name], counts, survey.nbytes.get(name, 0)] for name, counts in survey.groups.items()
    ]
    places = {name: place for place, name in enumerate(survey.groups)}
    edges = [places[name] for pair in survey.edges if pair[0] in places and pair[1] in places for name in pair]
    return {"now": state.now_s, "surveyed": survey.begun_s, "groups": found, "edges": edges}
