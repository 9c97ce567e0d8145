"""What ``dask.annotate`` says of tasks, and what that comes to beside the arguments of a call.

What lives here: the graph of whatever was given as one, its annotations, those around a call, and `Chooser`. What this
file must never know: what the tasks are.

An argument of the call wins over an annotation of a layer, which wins over ``with dask.annotate(...)`` around the call.
``workers`` and ``allow_other_workers`` go together: who gives the first says the second too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from windrow import context
from windrow.client import options
from windrow.client.options import Options
from windrow.keys import Key

NAMES = ("priority", "retries", "workers", "allow_other_workers", "resources")


def graph_of(graph: Any) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return a plain graph, and its annotations: for each name the values by key.

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


def around() -> Mapping[str, Any]:
    """Return what ``with dask.annotate(...)`` says around this code. Dask is not imported for it.

    Examples
    --------
    >>> from dask.base import annotate
    >>> with annotate(priority=1, color="red"):
    ...     around()
    {'priority': 1}
    """
    said = _said_here()
    return {name: value for name, value in said.items() if name in NAMES} if said else {}


def _said_here() -> Mapping[str, Any]:
    dask = sys.modules.get("dask.base")
    try:
        said: Mapping[str, Any] = {} if dask is None else dask.get_annotations()
    except AttributeError:  # another thread is about to import it
        return {}
    return said


def options_of(given: Options) -> Options | Callable[[Key], Options]:
    """Return the options of a call's tasks: what it says itself, what is said around it, and its place in a task.

    A function of the key where an annotation is one.

    Examples
    --------
    >>> options_of(Options(retries=2))
    Options(priority=0.0, retries=2, workers=None, allow_other_workers=False, resources=(), actor=False)
    """
    if _said_here():
        chooser = Chooser({}, given, around())
        return chooser.table[0] if chooser.says_nothing else lambda key: chooser.table[chooser.option(key)]
    place = context.place()
    return given if place is None else options.lifted(given, place.priority)


class Chooser:
    """The options of tasks by key.

    Parameters
    ----------
    annotations
        For each name the values by key, as `graph_of` returns them.
    given
        What the call says, for all tasks.
    said
        What is said around the call, as `around` returns it.

    Examples
    --------
    >>> chooser = Chooser({"retries": {"x": 3}}, Options(priority=1))
    >>> chooser.option("x"), chooser.option("y"), chooser.option("x")
    (1, 0, 1)
    >>> chooser.table[1].retries, chooser.table[1].priority
    (3, 1.0)
    """

    def __init__(self, annotations: Mapping[str, Any], given: Options, said: Mapping[str, Any] | None = None) -> None:
        explicit = {
            "priority": given.priority != 0,
            "retries": given.retries != 0,
            "workers": given.workers is not None,
            "allow_other_workers": given.workers is not None,
            "resources": bool(given.resources),
            "actor": False,
        }
        said = {name: value for name, value in (said or {}).items() if not explicit[name]}
        place = context.place()
        self._parent = None if place is None else place.priority
        self._given = given
        self._for_all = {name: value for name, value in said.items() if not callable(value)}
        self._by_function = {name: value for name, value in said.items() if callable(value)}
        self._by_key = {name: values for name, values in annotations.items() if not explicit[name] and values}
        self._known: dict[tuple[Any, ...], tuple[int, object]] = {}
        """Places by the identities of what is said, with that itself, which must live as long."""
        first = self._merged({})
        self._places = {first: 0}
        self.table: list[Options] = [first]

    @property
    def says_nothing(self) -> bool:
        """Whether all tasks have the first options of the table."""
        return not self._by_key and not self._by_function

    def option(self, key: Key) -> int:
        """Return the place in ``table`` of a task's options."""
        found = {name: function(key) for name, function in self._by_function.items()}
        for name, values in self._by_key.items():
            value = values.get(key)
            if value is not None:
                found[name] = value
        if not found:
            return 0
        mark = (*found, *map(id, found.values()))
        known = self._known.get(mark)
        if known is None:
            merged = self._merged(found)
            place = self._places.get(merged)
            if place is None:
                place = self._places[merged] = len(self.table)
                self.table.append(merged)
            known = self._known[mark] = place, found
        return known[0]

    def _merged(self, found: Mapping[str, Any]) -> Options:
        given, found = self._given, {**self._for_all, **found}
        if found:
            workers = found.get("workers", given.workers)
            given = options.checked(
                found.get("priority", given.priority),
                found.get("retries", given.retries),
                workers,
                workers is not None and bool(found.get("allow_other_workers", given.allow_other_workers)),
                found.get("resources", dict(given.resources)),
                found.get("actor", given.actor),
            )
        return given if self._parent is None else options.lifted(given, self._parent)
