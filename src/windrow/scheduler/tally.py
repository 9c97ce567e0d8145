"""What has happened in the scheduler's life, in numbers that only grow: for monitors.

What lives here: `Tally`, `Totals`, and how they are told. What this file must never know: who asks, and under which
names the figures are shown.

Nothing is counted a second time for this. What a task does is counted where its function is known anyway (`Totals` is
a part of `FunctionRecord`), and added up here when the function is forgotten; the rest is rare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

if TYPE_CHECKING:
    from windrow.scheduler.state import State

__all__ = ["NAMES_MAX", "OTHERS", "Tally", "Totals", "report"]

NAMES_MAX = 1_000
"""So many names of functions are told of, the later ones as one."""
OTHERS = "(others)"


class Totals(Struct, eq=False, kw_only=True):
    """What has become of all tasks of a function, or of several.

    Examples
    --------
    >>> totals = Totals(made=3, count=1)
    >>> totals.add(Totals(made=2, forgotten=1))
    >>> totals.made, totals.count, totals.forgotten
    (5, 1, 1)
    """

    made: int = 0
    forgotten: int = 0
    started: int = 0
    """Attempts that were sent to a worker."""
    count: int = 0
    """Attempts that had a result."""
    erred: int = 0
    """Tasks that have erred, by themselves or with an input."""
    suspected: int = 0
    """Deaths of workers that running tasks were blamed for."""
    seconds: float = 0.0
    """What attempts that had a result, or raised, have taken of threads."""

    def add(self, other: Totals) -> None:
        """Take another's numbers in."""
        for name in Totals.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Tally(Struct, eq=False):
    """What is counted of everything but present functions."""

    clients_added: int = 0
    clients_removed: int = 0
    workers_added: int = 0
    workers_removed: int = 0
    recalled: int = 0
    """Tasks that workers were asked to give back for others to run."""
    recalled_s: float = 0.0
    """How long these were expected to take."""
    ended: dict[str, Totals] = {}
    """Of functions that are forgotten, by name."""


def add_up(into: dict[str, Totals], name: str, totals: Totals) -> None:
    """Add numbers to those of a name; where there are too many names, to those of all others."""
    found = into.get(name)
    if found is None:
        name = name if len(into) < NAMES_MAX else OTHERS
        found = into.setdefault(name, Totals())
    found.add(totals)


def by_name(state: State) -> dict[str, Totals]:
    """Return the numbers of all functions that there ever were, by name."""
    found: dict[str, Totals] = {}
    for name, totals in state.tally.ended.items():
        add_up(found, name, totals)
    for function in state.functions.values():
        add_up(found, function.name, function)
    return found


def report(state: State) -> dict[str, Any]:
    """Return all of it as plain data."""
    tally = state.tally
    semaphores: Any = None if state.desk is None else state.desk.services.get("semaphores")
    return {
        "clients": [tally.clients_added, tally.clients_removed],
        "workers": [tally.workers_added, tally.workers_removed],
        "recalled": [tally.recalled, tally.recalled_s],
        "functions": {name: asdict(totals) for name, totals in by_name(state).items()},
        "semaphores": [] if semaphores is None else semaphores.figures(NAMES_MAX),
    }
