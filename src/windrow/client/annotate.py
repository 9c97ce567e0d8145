"""What ``dask.annotate`` says of tasks, and what that comes to beside the arguments of a call.

What lives here: the graph of whatever was given as one, its annotations, and `Chooser`. What this file must never know:
what the tasks are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.client import options
from windrow.client.options import Options
from windrow.keys import Key

NAMES = ("priority", "retries", "workers", "allow_other_workers", "resources")


def graph_of(graph: Any) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return a plain graph, and its annotations: for each name a value by key, or a value for all.

    Examples
    --------
    >>> graph_of({"x": 1})
    ({'x': 1}, {})
    """
    said = getattr(graph, "__dask_annotations__", None)
    annotations = said() if callable(said) else None
    if annotations is None:
        annotations = _of_layers(graph)
    make = getattr(graph, "__dask_graph__", None)
    dsk = make() if callable(make) else graph
    if not isinstance(dsk, dict):
        dsk = dict(dsk.to_dict() if hasattr(dsk, "to_dict") else dsk)
    return dsk, {name: values for name, values in annotations.items() if name in NAMES}


def _of_layers(graph: Any) -> dict[str, Any]:
    annotations: dict[str, Any] = {}
    for layer in getattr(graph, "layers", {}).values():
        for name, value in (getattr(layer, "annotations", None) or {}).items():
            by_key = annotations.setdefault(name, {})
            for key in layer:
                by_key[key] = value(key) if callable(value) else value
    return annotations


class Chooser:
    """The options of tasks by key: an argument of the call wins over an annotation.

    Parameters
    ----------
    annotations
        As `graph_of` returns them.
    given
        What the call says, for all tasks.

    Examples
    --------
    >>> chooser = Chooser({"retries": {"x": 3}}, Options(priority=1))
    >>> chooser.option("x"), chooser.option("y"), chooser.option("x")
    (1, 0, 1)
    >>> chooser.table[1].retries, chooser.table[1].priority
    (3, 1.0)
    """

    def __init__(self, annotations: Mapping[str, Any], given: Options) -> None:
        self.table: list[Options] = [given]
        self._given = given
        self._places: dict[Any, int] = {}
        explicit = {
            "priority": given.priority != 0,
            "retries": given.retries != 0,
            "workers": given.workers is not None,
            "allow_other_workers": given.workers is not None,
            "resources": bool(given.resources),
            "actor": False,
        }
        self._said = {name: values for name, values in annotations.items() if not explicit[name] and values}

    @property
    def says_nothing(self) -> bool:
        """Whether all tasks have the first options of the table."""
        return not self._said

    def option(self, key: Key) -> int:
        """Return the place in ``table`` of a task's options."""
        found = {
            name: values[key] if isinstance(values, Mapping) and key in values else None
            for name, values in self._said.items()
        }
        found = {name: value for name, value in found.items() if value is not None}
        if not found:
            return 0
        mark = repr(sorted(found.items()))
        place = self._places.get(mark)
        if place is None:
            place = self._places[mark] = len(self.table)
            self.table.append(self._merged(found))
        return place

    def _merged(self, found: dict[str, Any]) -> Options:
        given = self._given
        return options.checked(
            found.get("priority", given.priority),
            found.get("retries", given.retries),
            found.get("workers", given.workers),
            bool(found.get("allow_other_workers", given.allow_other_workers)),
            found.get("resources", dict(given.resources)),
            found.get("actor", given.actor),
        )
