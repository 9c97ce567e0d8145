"""Tasks that belong together, as code in the scheduler's process sees them: by prefix and by group of their keys.

What lives here: `TaskPrefixView`, `TaskGroupView`, and how they are found. What this file must never know: how anything
is decided. They are counted when they are asked for, over all tasks; nothing is kept up to date for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from windrow.keys import prefix_of
from windrow.scheduler.plugins import typename
from windrow.scheduler.state import MEMORY, STATES, Task

if TYPE_CHECKING:
    from windrow.wire.messages import Key

__all__ = ["TaskGroupView", "TaskPrefixView", "group_name", "groups_of", "prefixes_of"]


class TaskGroupView:
    """Tasks of one group: those of keys such as ``("x-123", 0)``, ``("x-123", 1)``.

    Parameters
    ----------
    name
        What they have in common.
    tasks
        These.
    """

    def __init__(self, name: str, tasks: list[Task]) -> None:
        self.name = name
        self._tasks = tasks

    def __repr__(self) -> str:
        counts = ", ".join(f"{state}: {count}" for state, count in self.states.items() if count)
        return f"<{type(self).__name__} {self.name!r} {counts}>"

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def states(self) -> dict[str, int]:
        """How many of them are in each state."""
        counts = Counter(task.state for task in self._tasks)
        return {state: counts.get(state, 0) for state in STATES}

    @property
    def nbytes_total(self) -> int:
        """The size of their results that are in memory."""
        return sum(task.nbytes for task in self._tasks if task.state is MEMORY)

    @property
    def types(self) -> set[str]:
        """The names of their results' types, as far as they show."""
        found = {typename(task.value, task.value_type) for task in self._tasks if task.state is MEMORY}
        return {name for name in found if name is not None}

    @property
    def done(self) -> bool:
        """Whether all of them have a result, or have erred."""
        return all(task.state in (MEMORY, "erred", "released", "forgotten") for task in self._tasks)

    @property
    def dependencies(self) -> set[str]:
        """The names of groups that they take results of."""
        return {group_name(source.key) for task in self._tasks for source in task.inputs}


class TaskPrefixView(TaskGroupView):
    """Tasks of one prefix: those whose keys are alike up to a hash or number."""

    @property
    def groups(self) -> list[TaskGroupView]:
        """Its groups."""
        return list(groups_of(self._tasks).values())

    @property
    def state_counts(self) -> dict[str, int]:
        """How many of them are in each state."""
        return self.states

    @property
    def duration_average(self) -> float:
        """How long one takes, in seconds, as it is expected; -1 while nobody knows."""
        known = {task.function.id: task.function for task in self._tasks if task.function and task.function.count}
        return sum(each.expected_s for each in known.values()) / len(known) if known else -1.0


def group_name(key: Key) -> str:
    """Return the group of a key: the first part of a tuple, else its prefix.

    Examples
    --------
    >>> group_name(("x-123", 0)), group_name("inc-5f4dcc3b5aa765d61d8327deb882cf99")
    ('x-123', 'inc')
    """
    return str(key[0]) if isinstance(key, tuple) and key else prefix_of(key)


def groups_of(tasks: Iterable[Task]) -> dict[str, TaskGroupView]:
    """Return the groups of some tasks, by name."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(group_name(task.key), []).append(task)
    return {name: TaskGroupView(name, members) for name, members in found.items()}


def prefixes_of(tasks: Iterable[Task]) -> dict[str, TaskPrefixView]:
    """Return the prefixes of some tasks, by name."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(prefix_of(task.key), []).append(task)
    return {name: TaskPrefixView(name, members) for name, members in found.items()}
