"""The graph of tasks as a picture, for who looks: each task, while they are few.

What lives here: `graph`. What this file must never know: who looks, and how it is drawn; and groups of tasks, which are
counted by `census`.
"""

from __future__ import annotations

from typing import Any

from windrow.keys import label, prefix
from windrow.scheduler.state import STATES, State

__all__ = ["graph"]

GRAPH_MAX = 10_000
"""More single tasks are told to nobody; making an answer of so many takes some ten milliseconds."""

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
