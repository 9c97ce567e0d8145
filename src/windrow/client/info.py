"""What a client is told of its cluster, as mappings that a notebook shows as tables.

What lives here: `SchedulerInfo`, `WhoHas`, `HasWhat`. What this file must never know: how they were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from windrow import looks
from windrow.keys import Key, label

__all__ = ["HasWhat", "SchedulerInfo", "WhoHas"]

ROWS_MAX = 50
"""So many rows are drawn."""
KEYS_MAX = 20
"""So many keys are drawn in one row."""


class SchedulerInfo(dict[str, Any]):
    """A scheduler's description of itself and its workers.

    Examples
    --------
    >>> "<b>Scheduler</b> tcp://s" in SchedulerInfo(address="tcp://s", workers={})._repr_html_()
    True
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return looks.scheduler(self)


class WhoHas(dict[Key, list[str]]):
    """The addresses of the workers that hold each key.

    Examples
    --------
    >>> "<td" in WhoHas({"x": ["tcp://w"]})._repr_html_()
    True
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [(label(key), len(holders), ", ".join(holders)) for key, holders in list(self.items())[:ROWS_MAX]]
        return looks.table(("Key", "Copies", "Workers"), rows) + _rest(len(self) - len(rows))


class HasWhat(dict[str, list[Key]]):
    """The keys that each worker holds.

    Examples
    --------
    >>> HasWhat({"tcp://w": ["x"]})._repr_html_().count("<details>")
    1
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        rows = [(address, len(keys), _keys(keys)) for address, keys in list(self.items())[:ROWS_MAX]]
        return looks.table(("Worker", "Keys", ""), rows) + _rest(len(self) - len(rows))


def _keys(keys: Sequence[Key]) -> str:
    if not keys:
        return ""
    listed = "<br>".join(looks.escape(label(key)) for key in keys[:KEYS_MAX])
    return looks.folded("show", listed + _rest(len(keys) - KEYS_MAX))


def _rest(count: int) -> str:
    return f"<p>and {count} more</p>" if count > 0 else ""
