"""Nodes of Dask graphs: what each kind is, and its arguments as plain objects or as steps of a program.

What lives here: the only knowledge of `dask._task_spec`. What this file must never know: which tasks are needed, their
order, how they are pickled, messages.

Dask is imported when the first graph comes, since it takes as long as all of windrow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

from windrow.client.functions import name_of
from windrow.wire import program
from windrow.wire.program import Program, Step

__all__ = ["Kinds", "Programs", "Seat", "Unexpressed", "arguments", "futures_in", "modern", "spec"]

Seat: TypeAlias = Callable[[Any], Any]
"""From the key of a task to the object that stands for its result in arguments."""

LITERAL, REFERENCE, ALIAS, DATA, CONTAINER, TASK, STRANGE = range(7)


class Unexpressed(Exception):
    """A node that can be said neither with plain arguments nor with a program."""


@functools.cache
def spec() -> ModuleType:
    """Dask's module of nodes."""
    from dask import _task_spec

    module: ModuleType = _task_spec
    return module


def modern(key: Any, node: Any, graph: Mapping[Any, Any]) -> Any:
    """A node for what is none yet: a task as a tuple, a list, a key, a future, a value."""
    dask = spec()
    if isinstance(node, dask.GraphNode):
        return node
    if _is_future(type(node)):
        return dask.Alias(key, node.key)
    made = dask.convert_legacy_task(key, node, graph)
    return made if isinstance(made, dask.GraphNode) else dask.DataNode(key, made)


def futures_in(graph: Mapping[Any, Any]) -> list[Any]:
    """The futures in a graph's tasks, their arguments and containers among these; to explain what is wrong with one.

    Examples
    --------
    >>> futures_in({"x": [1, (sum, [2])]})
    []
    """
    node = spec().GraphNode
    found: dict[int, Any] = {}
    stack: list[Any] = list(graph.values())
    while stack:
        part = stack.pop()
        if isinstance(part, node):
            stack += [
                getattr(part, "value", None),
                *getattr(part, "args", ()),
                *(getattr(part, "kwargs", None) or {}).values(),
            ]
        elif isinstance(part, dict):
            stack += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            stack += part
        elif getattr(type(part), "__dask_future__", False) is True:
            found[id(part)] = part
    return list(found.values())


def _is_future(kind: type) -> bool:
    return issubclass(kind, spec().TaskRef) or getattr(kind, "__dask_future__", False) is True


class Kinds(dict[type, int]):
    """Which kind of node a type is, found out once a type.

    Examples
    --------
    >>> Kinds()[int] == LITERAL
    True
    """

    def __missing__(self, kind: type) -> int:
        dask = spec()
        if not issubclass(kind, dask.GraphNode):
            found = REFERENCE if _is_future(kind) else LITERAL
        elif kind is dask.Alias:
            found = ALIAS
        elif kind is dask.DataNode:
            found = DATA
        elif kind in _builders():
            found = CONTAINER
        elif kind is dask.Task:
            found = TASK
        else:
            found = STRANGE
        self[kind] = found
        return found


@functools.cache
def _builders() -> dict[type, tuple[Callable[[Any], Any], Callable[..., Any]]]:
    """How to make each of Dask's containers: here from a list, and as a step of a program."""
    dask = spec()
    return {
        dask.List: (list, program.as_list),
        dask.Tuple: (tuple, program.as_tuple),
        dask.Set: (set, program.as_set),
        dask.Dict: (_in_pairs, program.as_dict),
    }


_CASTS: dict[Any, tuple[Callable[[Any], Any], Callable[..., Any]]] = {
    list: (list, program.as_list),
    tuple: (tuple, program.as_tuple),
    set: (set, program.as_set),
    frozenset: (frozenset, program.as_frozenset),
}


def _in_pairs(parts: list[Any]) -> dict[Any, Any]:
    return program.as_dict(*parts)


def _cast(node: Any) -> tuple[Callable[[Any], Any], Callable[..., Any]] | None:
    """How to make the container that a task makes, if it does only that: converted graphs have them so."""
    if node.func is spec()._identity_cast and len(node.kwargs) == 1:
        typ = node.kwargs.get("typ")
        if type(typ) is type:
            return _CASTS.get(typ)
    return None


# ---------------------------------------------------------------- plain arguments


def arguments(parts: Iterable[Any], kinds: Kinds, seat: Seat) -> list[Any]:
    """Arguments with plain objects for nodes, and seats for references.

    Raises
    ------
    Unexpressed
        There is a call in them.

    Examples
    --------
    >>> arguments([1, spec().List(spec().TaskRef("x"), 2)], Kinds(), str.upper)
    [1, ['X', 2]]
    """
    made: list[Any] = []
    for part in parts:
        kind = kinds[type(part)]
        if kind == LITERAL:
            made.append(part)
        elif kind == REFERENCE:
            made.append(seat(part.key))
        elif kind == DATA:
            made.append(part.value)
        elif kind == ALIAS:
            made.append(seat(part.target))
        else:
            builders = _builders()[type(part)] if kind == CONTAINER else _cast(part) if kind == TASK else None
            if builders is None:
                raise Unexpressed
            try:
                made.append(builders[0](arguments(part.args, kinds, seat)))
            except (TypeError, ValueError):  # what cannot be in a set, half a pair: an error of the task's
                raise Unexpressed from None
    return made


# ---------------------------------------------------------------- programs


class Programs:
    """Programs by shape, so that tasks of the same shape have the same function."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._programs: dict[Hashable, Callable[..., Any]] = {}

    def compiled(self, node: Any, seat: Seat) -> tuple[Callable[..., Any], list[Any]]:
        """The function of a node and its arguments.

        Raises
        ------
        Unexpressed
            It refers to what is not in it, or is of a kind that is not Dask's own.

        Examples
        --------
        >>> from operator import add, mul
        >>> dask = spec()
        >>> function, values = Programs(Kinds()).compiled(
        ...     dask.Task("z", add, dask.Task(None, mul, dask.TaskRef("x"), 2), 1), {"x": 5}.get
        ... )
        >>> values, function(*values)
        ([5, 2, 1], 11)
        """
        compiler = _Compiler(self._kinds, seat)
        try:
            result = compiler.place(node, None)
        except RecursionError:
            raise Unexpressed from None
        steps = compiler.steps
        # The functions live as long as the graph, so their ids stand for them.
        shape = (tuple([(id(function), places, names) for function, places, names in steps]), result)
        function = self._programs.get(shape)
        if function is None:
            function = self._programs[shape] = _function(steps, result, len(compiler.values))
        return function, compiler.values


def _function(steps: list[Step], result: int, count: int) -> Callable[..., Any]:
    """A program, or its only function if that would do the same."""
    if len(steps) == 1:
        function, places, names = steps[0]
        if not names and places == tuple(range(count)):
            return function
    return Program(name_of(steps[-1][0]) if steps else "identity", steps, result)


class _Frame:
    """A graph inside a node: places of values by its own keys, and what it is given from around it.

    What is given gets its place at its first use: it comes in the order of a hash, which differs between tasks of one
    shape.
    """

    __slots__ = ("around", "given", "places")

    def __init__(self, given: dict[Any, Any], around: _Frame | None) -> None:
        self.given = given
        self.around = around
        self.places: dict[Any, int] = {}


class _Compiler:
    """One node on its way to steps; places are those of `windrow.wire.program.Step`."""

    def __init__(self, kinds: Kinds, seat: Seat) -> None:
        self.steps: list[Step] = []
        self.values: list[Any] = []
        self._kinds = kinds
        self._seat = seat
        self._seated: dict[int, int] = {}

    def place(self, part: Any, frame: _Frame | None) -> int:
        """The place of a node's or an argument's value."""
        kind = self._kinds[type(part)]
        if kind == REFERENCE:
            return self._by_key(part.key, frame)
        if kind in (TASK, CONTAINER):
            return self._call(part, frame)
        if kind == ALIAS:
            return self._by_key(part.target, frame)
        if kind == STRANGE:
            raise Unexpressed
        return self._value(part.value if kind == DATA else part)

    def _value(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _by_key(self, key: Any, frame: _Frame | None) -> int:
        if frame is not None:
            place = frame.places.get(key)
            if place is None:
                if key not in frame.given:
                    raise Unexpressed
                place = frame.places[key] = self.place(frame.given[key], frame.around)
            return place
        value = self._seat(key)
        place = self._seated.get(id(value))
        if place is None:
            place = self._seated[id(value)] = self._value(value)
        return place

    def _call(self, node: Any, frame: _Frame | None) -> int:
        function = node.func
        if function is spec()._execute_subgraph:
            return self._graph(node, frame)
        places = self._places(node.args, frame)
        names: tuple[str, ...] = ()
        builders = _builders().get(type(node)) or _cast(node)
        if builders is not None:
            function = builders[1]
        elif node.kwargs:
            names = tuple(node.kwargs)
            places += self._places(node.kwargs.values(), frame)
        self.steps.append((function, tuple(places), names))
        return -len(self.steps)

    def _places(self, parts: Iterable[Any], frame: _Frame | None) -> list[int]:
        kinds, values = self._kinds, self.values
        places = []
        for part in parts:
            if kinds[type(part)] == LITERAL:
                places.append(len(values))
                values.append(part)
            else:
                places.append(self.place(part, frame))
        return places

    def _graph(self, node: Any, frame: _Frame | None) -> int:
        """A graph inside: its nodes become steps, as far as they are needed."""
        if node.kwargs or len(node.args) < 3 or not isinstance(node.args[0], dict):
            raise Unexpressed
        inner, result, names, *given = node.args
        within = _Frame(dict(zip(names, given, strict=False)), frame)
        places = within.places
        rank: dict[Any, int] | None = None
        begun = set()
        stack = [result]
        while stack:
            key = stack[-1]
            if key in places:
                stack.pop()
                continue
            if key in within.given:
                return self._by_key(key, within)  # nothing inside is needed
            if key not in inner:
                raise Unexpressed
            needs = [need for need in inner[key].dependencies if need not in places and need not in within.given]
            if needs:
                if key in begun:
                    raise Unexpressed  # a cycle, or a need that is nowhere
                begun.add(key)
                if len(needs) > 1:
                    # In the order of the graph, not the set's: that differs between tasks of one shape.
                    rank = rank or {name: number for number, name in enumerate(inner)}
                    needs.sort(key=lambda need, rank=rank: rank.get(need, -1), reverse=True)  # type: ignore[misc]
                stack += needs
                continue
            places[key] = self.place(inner[key], within)
            stack.pop()
        return places[result]
