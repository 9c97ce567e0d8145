"""From a Dask graph to columns of tasks: what is needed, in the order to run it, pickled.

What lives here: which tasks a graph comes down to, their numbers, functions, payloads, and inputs. What this file must
never know: the session, futures' entries, messages.

A node becomes a function and its arguments, in which other tasks are positions (`windrow.wire.payload`): plain lists
and dictionaries take the place of Dask's containers, so that a worker unpickles the arguments and calls the function.
A node with calls inside (a fused chain, a task as an argument) becomes a `Program`, one for all nodes of its shape.
What neither can express travels as it is, and evaluates itself. An alias is no task, unless it is wanted beside its
target.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError
from operator import is_
from typing import Any, TypeAlias

from windrow.client import nodes
from windrow.client.nodes import Unexpressed
from windrow.client.order import ordered
from windrow.errors import PickleError
from windrow.keys import Key, checked
from windrow.wire import payload, program
from windrow.wire.blobs import Blob

__all__ = ["BATCH", "Batch", "lower"]

BATCH = 4096
"""Tasks in a batch: enough that what a message costs is nothing beside them, and few enough that workers begin soon."""

Seats: TypeAlias = dict[int, int]
"""Of one task: numbers of its inputs to their positions, which are 0, 1, … in this order."""

Task: TypeAlias = tuple[Callable[..., Any], Blob, list[int]]
"""Function, arguments, numbers of the inputs."""


@dataclass(slots=True)
class Batch:
    """A part of a graph, as columns.

    Within a graph a task is its number: of each batch, those in ``known`` come first, then those in ``keys``, counted
    on from batch to batch.

    Attributes
    ----------
    known
        Keys that the graph refers to, or that are wanted, and that it does not hold: results that exist already.
    keys
        The key of each task; inputs come before their users, in this batch or an earlier one.
    functions
        The functions that tasks of this batch call, each once.
    chosen
        For each task the place of its function in ``functions``.
    args
        For each task the pickle of its ``(args, kwargs)``.
    inputs
        For each task the numbers that its payload refers to, in order of position, each once.
    wanted
        Which of this batch's numbers are wanted.
    more
        Whether another batch follows.
    """

    known: list[Key] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    functions: list[Callable[..., Any]] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    args: list[Blob] = field(default_factory=list)
    inputs: list[list[int]] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    more: bool = True


def lower(
    graph: Mapping[Any, Any],
    wanted: Iterable[Any],
    batch_size: int = BATCH,
    *,
    held: Container[Any] = (),
    carries_futures: Callable[[Callable[..., Any]], bool] = lambda function: False,
    keep: Callable[[Blob], Blob] = payload.own,
) -> Iterator[Batch]:
    """Turn a graph into batches of tasks.

    Parameters
    ----------
    graph
        Key to node of `dask._task_spec`, or to a task of the older kind (tuples, lists, keys, values). The caller keeps
        it, and with it the futures inside, until the batches are sent.
    wanted
        Keys whose results are wanted. Only tasks that they need are kept.
    batch_size
        The most tasks in a batch.
    held
        Keys of the graph whose results exist already: taken for known, their nodes left aside. To leave them out of the
        graph instead would make mere text of them in tasks of the older kind.
    carries_futures
        Whether there are futures in a function, as in a closure. Such a function becomes an argument of its tasks,
        where futures become results. Asked once of each.
    keep
        Makes a blob independent of the objects that it was made of.

    Returns
    -------
    iterator of Batch
        At least one. Arguments are pickled as it is read.

    Raises
    ------
    TypeError, ValueError
        A key is none (`windrow.keys`), or the graph has a cycle; at the call.
    PickleError
        An argument cannot travel; names the task. While the batches are read.

    Examples
    --------
    >>> from operator import add
    >>> from dask._task_spec import Task, TaskRef
    >>> graph = {"x": 1, "y": Task("y", add, TaskRef("x"), TaskRef("elsewhere")), "unused": 2}
    >>> [batch] = lower(graph, ["y"])
    >>> batch.known, batch.keys, batch.functions[1], batch.inputs, batch.wanted
    (['elsewhere'], ['x', 'y'], <built-in function add>, [[], [1, 0]], [2])
    """
    return _Lowering(_Plan(graph, wanted, held), carries_futures, keep).batches(batch_size)


# ---------------------------------------------------------------- which tasks, in which order


class _Plan:
    """The graph over small numbers (*places*), culled and in order.

    A key's place is that of the node that makes its value, so an alias has its target's. Keys that the graph does not
    hold have no place; ``outside`` has those that are needed.
    """

    def __init__(self, graph: Mapping[Any, Any], wanted: Iterable[Any], held: Container[Any]) -> None:
        self.wanted: dict[Any, None] = dict.fromkeys(wanted)
        self.aliases: dict[Any, Any] = {}
        self.names: list[Any] = []
        self.nodes: list[Any] = []
        self.place: dict[Any, int] = {}
        self.outside: dict[Any, None] = {}
        known, alias, modern = nodes.spec().GraphNode, nodes.spec().Alias, nodes.modern
        for key, node in graph.items():
            if key in held:
                continue
            if not isinstance(node, known):
                node = modern(key, node, graph)
            if type(node) is not alias:
                self._add(key, node)
            elif node.target != key:  # what stands for itself is elsewhere
                self.aliases[key] = node.target
        if self.aliases:
            self._settle_aliases(alias)
        self.order = self._ordered()

    def target(self, key: Any) -> Any:
        """What a key stands for, at the end of its chain of aliases."""
        start = key
        for _ in range(len(self.aliases) + 1):
            if key not in self.aliases:
                return key
            key = self.aliases[key]
        raise _cycle(start)

    def _add(self, key: Any, node: Any) -> None:
        self.place[key] = len(self.names)
        self.names.append(key)
        self.nodes.append(node)

    def _settle_aliases(self, alias: Callable[[Any, Any], Any]) -> None:
        """Give aliases the places of their targets, and to the target the name of its first wanted alias.

        A wanted alias becomes a task if its target's own name is wanted too, or given away, or is not in the graph.
        """
        taken = {self.place[key] for key in self.wanted if key in self.place}
        targets = {key: self.target(key) for key in self.aliases}
        for key in self.wanted:
            if key in targets:
                place = self.place.get(targets[key])
                if place is None or place in taken:
                    self._add(key, alias(key, targets[key]))
                else:
                    taken.add(place)
                    self.names[place] = key
        for key, target in targets.items():
            if target in self.place:
                self.place.setdefault(key, self.place[target])

    def _ordered(self) -> list[int]:
        """Places of the needed tasks in order; their names are checked, and what they need of outside is noted."""
        placed = self.place
        inputs: list[list[int]] = []
        open_ended: list[tuple[int, Any]] = []
        for node in self.nodes:
            keys = node.dependencies
            try:
                needs = [placed[key] for key in keys]
            except KeyError:
                open_ended.append((len(inputs), keys))
                needs = [placed[key] for key in keys if key in placed]
            if len(needs) > 1:
                # A set's order means nothing; the graph's own is mostly that of neighbours.
                needs = sorted(set(needs)) if self.aliases else sorted(needs)
            inputs.append(needs)
        try:
            order = ordered(inputs, [placed[key] for key in self.wanted if key in placed])
        except CycleError as error:
            raise _cycle(self.names[error.args[1][0]]) from None
        if open_ended:
            needed = set(order)
            for place, keys in open_ended:
                if place in needed:
                    self.outside.update((self.target(key), None) for key in keys if key not in placed)
        self.outside.update((key, None) for key in self.wanted if key not in placed)
        _check(self.names, order)
        return order


def _check(names: list[Any], order: list[int]) -> None:
    """Replace the names of needed tasks by keys, or raise what `checked` raises."""
    plain: set[Any] = set()
    for place in order:
        name = names[place]
        if type(name) is tuple and name:
            # Chunks of a collection have the same text in front and small numbers behind.
            for part in name:
                kind = type(part)
                if not (part in plain if kind is str else kind is int and -(2**63) <= part < 2**63):
                    break
            else:
                continue
            if type(name[0]) is str:
                checked(name[0])
                plain.add(name[0])
        names[place] = checked(name)


def _cycle(key: Any) -> ValueError:
    return ValueError(f"the graph has a cycle: {key!r} needs its own result. Look at what makes this key")


# ---------------------------------------------------------------- tasks to functions and payloads


class _Late(Exception):
    """A task refers to a key that was not known to be outside the graph: a future that only pickling finds."""

    def __init__(self, key: Any) -> None:
        self.key = key


def _no_seat(key: Any) -> object:
    raise Unexpressed


class _Shared:
    """What is the same for all nodes that share one inner graph, and give it references alone."""

    __slots__ = ("blob", "function", "graph", "names", "places", "result")

    def __init__(self, node: Any, function: Callable[..., Any], blob: Blob, places: list[int]) -> None:
        self.graph, self.result, self.names = node.args[:3]
        self.function = function
        self.blob = blob
        self.places = places
        """Which of what is given is the input at each position."""


class _Alike:
    """What is the same for all nodes that share one inner graph, and give it values alone."""

    __slots__ = ("function", "graph", "names", "places", "result", "values")

    def __init__(self, node: Any, function: Callable[..., Any], values: list[Any]) -> None:
        self.graph, self.result, self.names = node.args[:3]
        self.function = function
        self.values = values
        """What the function is called with,"""
        self.places = [value.place if type(value) is _Given else -1 for value in values]
        """and which of what is given stands there in place of it; -1: none."""


class _Given:
    """Stands for what a node gives to its inner graph, while that is looked through for all nodes that share it."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


class _Lowering:
    """One graph on its way into batches."""

    def __init__(
        self, plan: _Plan, carries_futures: Callable[[Callable[..., Any]], bool], keep: Callable[[Blob], Blob]
    ) -> None:
        spec = nodes.spec()
        self._plan = plan
        self._carries_futures = carries_futures
        self._keep = keep
        self._carrying: dict[int, bool] = {}
        self._at = 0
        """The place of the task that is being lowered."""
        self._number = [-1] * len(plan.nodes)
        """For each place the number that its task was given."""
        self._outside: dict[Any, int] = {}
        self._count = 0
        self._kinds = nodes.Kinds()
        self._programs = nodes.Programs(self._kinds)
        self._task_kind, self._reference_kind, self._execute = spec.Task, spec.TaskRef, spec._execute_subgraph
        self._references = payload.references(16)
        self._of_references: dict[int, Blob] = {}
        self._graphs: dict[int, _Shared | _Alike | None] = {}
        self._data_kind = spec.DataNode
        self._collection = payload.collecting()

    # ------------------------------------------------------------ batches

    def batches(self, size: int) -> Iterator[Batch]:
        """All of it."""
        plan = self._plan
        wanted = {plan.place[key] for key in plan.wanted if key in plan.place}
        batch = Batch()
        for key in plan.outside:
            self._meet(key, batch)
        batch.wanted += [self._outside[key] for key in plan.wanted if key not in plan.place]
        done = 0
        while True:
            # No collecting while this generator rests: its caller may pickle futures for other ends.
            with self._collection:
                done = self._fill(batch, done, size, wanted)
            batch.more = done < len(plan.order)
            yield batch
            if not batch.more:
                return
            batch = Batch()

    def _meet(self, key: Any, batch: Batch) -> None:
        """Number a key outside the graph."""
        batch.known.append(checked(key))
        self._outside[key] = self._count
        self._count += 1

    def _fill(self, batch: Batch, done: int, size: int, wanted: set[int]) -> int:
        """Lower tasks into a batch, from the ``done``-th on; return how many are done."""
        plan, number, table = self._plan, self._number, dict[int, int]()
        order = plan.order
        keys, chosen, args, inputs = batch.keys, batch.chosen, batch.args, batch.inputs
        while done < len(order) and len(keys) < size:
            self._at = place = order[done]
            try:
                function, blob, needs = self._lowered(plan.nodes[place])
                if id(function) not in table and self._carries(function):
                    function, blob, needs = self._called(plan.nodes[place])
            except _Late as late:
                if keys:  # what is known has its numbers before the tasks of its batch
                    return done
                self._meet(late.key, batch)
                continue
            choice = table.get(id(function))
            if choice is None:
                choice = table[id(function)] = len(batch.functions)
                batch.functions.append(function)
            keys.append(plan.names[place])
            chosen.append(choice)
            args.append(blob)
            inputs.append(needs)
            if place in wanted:
                batch.wanted.append(self._count)
            number[place] = self._count
            self._count += 1
            done += 1
        return done

    # ------------------------------------------------------------ one task

    def _lowered(self, node: Any) -> Task:
        kind = type(node)
        try:
            if kind is self._task_kind:
                if node.func is self._execute:
                    return self._fused(node)
                return self._plain(node)
            seats: Seats = {}
            values = nodes.arguments([node], self._kinds, self._seats_in(seats))
            return program.identity, self._pickled((values[0],), {}, seats), list(seats)
        except Unexpressed:
            pass
        try:
            return self._compiled(node)
        except Unexpressed:
            return self._as_it_is(node)

    def _plain(self, node: Any) -> Task:
        """A call whose arguments are references, values and containers of these."""
        seats: Seats = {}
        seat = self._seats_in(seats)
        args = nodes.arguments(node.args, self._kinds, seat)
        if node.kwargs:
            values = nodes.arguments(node.kwargs.values(), self._kinds, seat)
            blob = self._pickled(tuple(args), dict(zip(node.kwargs, values, strict=True)), seats)
        elif len(args) == len(seats) and all(map(is_, args, self._references)):
            # References alone, in order: all such payloads with so many are the same.
            known = self._of_references.get(len(args))
            blob = known if known is not None else self._pickled(tuple(args), {}, seats)
            self._of_references[len(args)] = blob
        else:
            blob = self._pickled(tuple(args), {}, seats)
        return node.func, blob, list(seats)

    def _compiled(self, node: Any) -> Task:
        """A node with calls inside."""
        seats: Seats = {}
        function, values = self._programs.compiled(node, self._seats_in(seats))
        return function, self._pickled(tuple(values), {}, seats), list(seats)

    def _carries(self, function: Callable[..., Any]) -> bool:
        """Whether there are futures in a function; the graph keeps it, so its id stands for it."""
        known = self._carrying.get(id(function))
        if known is None:
            known = self._carrying[id(function)] = self._carries_futures(function)
        return known

    def _called(self, node: Any) -> Task:
        """A node whose function holds futures: that goes into the payload itself, and what calls it is the function."""
        seats: Seats = {}
        try:
            function, values = self._programs.compiled(node, self._seats_in(seats))
        except Unexpressed:
            return self._as_it_is(node)
        return operator.call, self._pickled((function, *values), {}, seats), list(seats)

    def _fused(self, node: Any) -> Task:
        """A node that carries a graph; one object for many nodes, if a layer has made it."""
        args = node.args
        graph = id(args[0])
        shared = self._graphs.get(graph)
        if shared is not None and shared.result == args[1] and shared.names == args[2]:
            if isinstance(shared, _Alike):
                values = self._values(args)
                if values is not None:
                    filled = [
                        value if place < 0 else values[place]
                        for value, place in zip(shared.values, shared.places, strict=True)
                    ]
                    seats: Seats = {}
                    return shared.function, self._pickled(tuple(filled), {}, seats), list(seats)
            else:
                given = self._distinct(args)
                if given is not None:
                    return shared.function, shared.blob, [given[place] for place in shared.places]
        task = self._compiled(node)
        if graph not in self._graphs:
            self._graphs[graph] = None  # seen once: most are, and are not worth keeping
        elif shared is None:
            given = self._distinct(args)
            if given is None:
                self._graphs[graph] = self._alike(node)
            elif set(task[2]) <= set(given):
                self._graphs[graph] = _Shared(node, task[0], task[1], [given.index(number) for number in task[2]])
        return task

    def _alike(self, node: Any) -> _Alike | None:
        """What this node has in common with others of its inner graph, if it gives values alone."""
        if self._values(node.args) is None:
            return None
        marks = [self._data_kind(None, _Given(place)) for place in range(len(node.args) - 3)]
        try:
            function, values = self._programs.compiled(
                self._task_kind(None, node.func, *node.args[:3], *marks), _no_seat
            )
        except Unexpressed:
            return None
        return _Alike(node, function, values)

    def _values(self, args: tuple[Any, ...]) -> list[Any] | None:
        """What is given to an inner graph, if it is values alone, one for each name."""
        kinds, found = self._kinds, []
        for part in args[3:]:
            kind = kinds[type(part)]
            if kind == nodes.DATA:
                found.append(part.value)
            elif kind == nodes.LITERAL:
                found.append(part)
            else:
                return None
        return found if len(found) == len(args[2]) else None

    def _distinct(self, args: tuple[Any, ...]) -> list[int] | None:
        """The numbers of what is given to an inner graph, if it is references alone, one for each name, none twice."""
        number_of, kind = self._number_of, self._reference_kind
        needs = []
        for part in args[3:]:
            if type(part) is not kind:
                return None
            needs.append(number_of(part.key))
        if len(needs) != len(args[2]) or len(set(needs)) != len(needs):
            return None
        return needs

    def _as_it_is(self, node: Any) -> Task:
        """A node that evaluates itself on the worker."""
        seats: Seats = {}
        seat = self._seats_in(seats)
        keys = tuple(node.dependencies)
        values = [seat(key) for key in keys]
        return program.evaluate, self._pickled((node, keys, *values), {}, seats), list(seats)

    # ------------------------------------------------------------ inputs

    def _number_of(self, key: Any) -> int:
        place = self._plan.place.get(key, -1)
        if place >= 0:
            number = self._number[place]
            if number >= 0:
                return number
        # Not made by this graph before its user, so it exists already.
        key = self._plan.target(key)
        outside = self._outside.get(key)
        if outside is None:
            raise _Late(key)
        return outside

    def _seats_in(self, seats: Seats) -> nodes.Seat:
        number_of, references, placed, numbers = self._number_of, self._references, self._plan.place, self._number

        def seat(key: Any) -> object:
            place = placed.get(key, -1)
            number = numbers[place] if place >= 0 else -1
            if number < 0:
                number = number_of(key)
            position = seats.setdefault(number, len(seats))
            if position >= len(references):
                payload.references(2 * position)
            return references[position]

        return seat

    def _pickled(self, args: tuple[Any, ...], kwargs: dict[str, Any], seats: Seats) -> Blob:
        """The payload; futures that are found only while pickling get seats behind the others."""
        try:
            blob = payload.dumps((args, kwargs), borrow=True)
            found = self._collection.take()
            if not found:
                return blob if type(blob) is bytes else self._keep(blob)
            # They were given positions from 0 on, which others may hold: pickle again, with a seat for each.
            for key in found:
                self._collection.put(key, seats.setdefault(self._number_of(key), len(seats)))
            blob = payload.dumps((args, kwargs), borrow=True)
        except PickleError as error:
            task = f"An argument of task {self._plan.names[self._at]!r}"
            raise PickleError(task, error.culprit, error.cause) from error.__cause__
        again = self._collection.take()
        assert len(again) == len(found), "pickling twice has found different futures"
        return blob if type(blob) is bytes else self._keep(blob)
