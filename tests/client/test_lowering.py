"""Lowered graphs give what Dask's own evaluation gives, and hold what a message needs."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from zlib import crc32

import dask
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, Dict, List, Set, Task, TaskRef, Tuple, fuse_linear_task_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import compute, run

from windrow.client import nodes
from windrow.client.lowering import lower
from windrow.errors import PickleError
from windrow.wire import payload, program
from windrow.wire.program import Program

ref = TaskRef


def told(*args: Any, **kwargs: Any) -> tuple[Hashable, ...]:
    """A short account of a call, different for different arguments and containers."""
    return ("told", len(args), crc32(repr((frozen(args), frozen(kwargs))).encode()))


def frozen(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, value))
    if isinstance(value, dict):
        return "dict", [(frozen(key), frozen(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [frozen(part) for part in value]
    return value


def same(graph: dict[Any, Any], *wanted: Any) -> dict[Any, Any]:
    """Assert that results are Dask's; return them."""
    got = compute(graph, wanted)
    assert list(got) == list(wanted) or set(got) == set(wanted)
    assert tuple(got[key] for key in wanted) == tuple(dask.get(graph, list(wanted)))
    return got


def fused(*tasks: Task, key: Any = None) -> Task:
    return Task.fuse(*tasks, key=key)


# ---------------------------------------------------------------- agreement with Dask


def shared_graphs() -> dict[Any, Any]:
    """As a layer of blocks has it: one inner graph for all, with inner names for what is given."""
    inner = {"out": Task("out", told, ref("a"), ref("t"), [1]), "t": Task("t", told, ref("b"), axes=(1, 0))}
    execute = fused(Task("p", told, 1), Task("q", told, ref("p"))).func
    graph: dict[Any, Any] = {("x", i, j): Task(("x", i, j), told, i, j) for i in range(3) for j in range(3)}
    for i in range(3):
        for j in range(3):
            key = ("y", i, j)
            graph[key] = Task(key, execute, inner, "out", ("b", "a"), ref(("x", j, i)), ref(("x", i, j)))
    return graph


def graphs_that_are_given_data() -> dict[Any, Any]:
    """As the source blocks of an array have it; what is given equals what stands in the graph, here and there."""
    inner = {"out": Task("out", told, ref("t"), 1, ref("a")), "t": Task("t", told, ref("b"), dtype="f8", a=ref("a"))}
    execute = fused(Task("p", told, 1), Task("q", told, ref("p"))).func
    names = ("b", "a", "unused")
    graph: dict[Any, Any] = {
        ("y", i): Task(("y", i), execute, inner, "out", names, DataNode(None, (i, 1)), DataNode(None, 1), i)
        for i in range(6)
    }
    graph["other end"] = Task("other end", execute, inner, "t", names, DataNode(None, 2), DataNode(None, "f8"), 5)
    graph["x"] = Task("x", told, 1)
    for key, first in (("given a reference", ref("x")), ("given a call", Task(None, told, 8))):
        graph[key] = Task(key, execute, inner, "out", names, first, DataNode(None, 3), 7)
    return graph


GRAPHS: dict[str, Callable[[], tuple[dict[Any, Any], list[Any]]]] = {
    "plain": lambda: ({"x": Task("x", told, 1, a=2), "y": Task("y", told, ref("x"), ref("x"), b=ref("x"))}, ["y", "x"]),
    "data": lambda: (
        {"x": DataNode("x", [1, (2,)]), "y": Task("y", told, ref("x"), DataNode(None, (3, 4)))},
        ["x", "y"],
    ),
    "containers": lambda: (
        {
            "x": DataNode("x", 1),
            "y": Task("y", told, List(ref("x"), Tuple(ref("x"), 2), [3]), Dict({"a": ref("x"), "b": 4}), Set(ref("x"))),
            "z": List(ref("x"), Tuple(ref("y"))),
        },
        ["y", "z"],
    ),
    "nested calls": lambda: (
        {
            "x": DataNode("x", 1),
            "y": Task("y", told, List(Task(None, told, ref("x"), k=List(ref("x")))), Task(None, told, Alias("x")), z=2),
            "z": Dict({"a": Task(None, told, ref("y"))}),
        },
        ["y", "z"],
    ),
    "same call twice": lambda: (
        {"x": DataNode("x", 1), "y": (lambda call: Task("y", told, call, call))(Task(None, told, ref("x")))},
        ["y"],
    ),
    "older tasks": lambda: (
        {
            "x": 1,
            "s": "text",
            "l": ["x", (told, "x"), [1, "s"]],
            "t": (told, "x", ["x", ["s"]], {"k": "x"}, (told, "l")),
            "a": "t",
            ("n", 0): (told, ("n", 1)),
            ("n", 1): (told, (told, (told, 5))),
            "set": (told, {"x"}, frozenset(["x"])),
        },
        ["t", "l", "a", ("n", 0), "set", "s"],
    ),
    "aliases": lambda: (
        {
            "x": Task("x", told, 1),
            "a": Alias("a", "x"),
            "b": Alias("b", "a"),
            "c": Alias("c", "x"),
            "y": Task("y", told, ref("b"), Alias("c"), ref("x")),
        },
        ["y", "b", "a"],
    ),
    "fused": lambda: (
        {
            "w": DataNode("w", 7),
            "z": fused(
                Task("x", told, ref("w"), 1), Task("y", told, ref("x"), k=ref("w")), Task("z", told, ref("y"), ref("x"))
            ),
        },
        ["z"],
    ),
    "fused in fused": lambda: (
        {
            "w": DataNode("w", 7),
            "z": fused(
                fused(Task("a", told, ref("w")), Task("b", told, ref("a"), ref("w")), key="x"),
                Task("z", told, ref("x"), List(ref("w"), ref("x"))),
            ),
        },
        ["z"],
    ),
    "fused with data and alias inside": lambda: (
        {"z": fused(DataNode("d", 3), Alias("e", "d"), Task("z", told, ref("e"), Tuple(ref("e"))))},
        ["z"],
    ),
    "given hides inner": lambda: (
        {
            "w": DataNode("w", 7),
            "z": Task(
                "z",
                fused(Task("p", told, 1), Task("q", told, ref("p"))).func,
                {"i": Task("i", told, 1), "o": Task("o", told, ref("i"))},
                "o",
                ("i",),
                ref("w"),
            ),
        },
        ["z"],
    ),
    "given is the result": lambda: (
        {
            "w": DataNode("w", 7),
            "z": Task("z", fused(Task("p", told), Task("q", told, ref("p"))).func, {}, "i", ("i",), ref("w")),
        },
        ["z"],
    ),
    "given values and calls": lambda: (
        {
            "w": DataNode("w", 7),
            "z": Task(
                "z",
                fused(Task("p", told), Task("q", told, ref("p"))).func,
                {"o": Task("o", told, ref("i"), ref("j"), ref("k"))},
                "o",
                ("i", "j", "k"),
                5,
                List(ref("w")),
                Task(None, told, ref("w")),
            ),
        },
        ["z"],
    ),
    "shared inner graph that is given data": lambda: (
        graphs_that_are_given_data(),
        [*[("y", i) for i in range(6)], "other end", "given a reference", "given a call"],
    ),
    "shared inner graph": lambda: (shared_graphs(), [("y", i, j) for i in range(3) for j in range(3)]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_agreement(name: str) -> None:
    graph, wanted = GRAPHS[name]()
    same(graph, *wanted)


class Pair(NamedTuple):
    left: Any
    right: Any


def test_named_tuples_keep_their_type() -> None:
    graph = {"x": 1, "y": (operator.itemgetter(0), [Pair("x", 2)])}
    assert same(graph, "y")["y"] == Pair(1, 2)


def test_delayed_objects() -> None:
    one = dask.delayed(told)(1)
    whole = dask.delayed(told)(one, [one, {"k": (one, 2)}], k=dask.delayed([one])[0])
    same(dict(whole.__dask_graph__()), *whole.__dask_keys__())


def test_bags() -> None:
    import dask.bag as db

    bag = db.from_sequence(range(20), npartitions=4).map(operator.neg).fold(operator.add)
    graph = dict(bag.__dask_optimize__(bag.dask, bag.__dask_keys__()))
    same(graph, bag.key)


def arrays() -> dict[str, Any]:
    import dask.array as da

    x = da.ones((60, 60), chunks=(10, 10)) * np.arange(60)
    return {
        "mirror": (x + x.T).sum(),
        "rechunk": x.rechunk((25, 25)).sum(axis=0),
        "mean": x.mean(axis=0),
        "product": (x @ x.T).max(),
        "steps": x[3:40:2, ::-1].cumsum(axis=0),
        "overlap": x.map_overlap(np.negative, depth=1, boundary="none"),
    }


@pytest.mark.parametrize("name", ["mirror", "rechunk", "mean", "product", "steps", "overlap"])
@pytest.mark.parametrize("finalize", [True, False])
def test_arrays(name: str, finalize: bool) -> None:
    from dask._expr import FinalizeCompute
    from dask.base import collections_to_expr, flatten

    expr = collections_to_expr([arrays()[name]], True)
    expr = (FinalizeCompute(expr) if finalize else expr).optimize()
    graph, wanted = dict(expr.__dask_graph__()), list(flatten(expr.__dask_keys__()))
    got = compute(graph, wanted)
    for key, value in zip(wanted, dask.get(graph, wanted), strict=True):
        np.testing.assert_array_equal(got[key], value)


# ---------------------------------------------------------------- agreement on random graphs

literals = st.sampled_from([0, 1.5, "text", "n0", None, (1, 2), [3], {"k": 4}, b"b"])


@st.composite
def random_graphs(draw: st.DrawFn) -> tuple[dict[Any, Any], list[Any]]:
    graph: dict[Any, Any] = {}
    count = draw(st.integers(1, 9))

    def argument(depth: int) -> Any:
        kinds = ["literal", "data", *(["ref", "ref", "alias"] if graph else [])]
        if depth:
            kinds += ["list", "tuple", "dict", "set", "call"]
        kind = draw(st.sampled_from(kinds))
        if kind == "literal":
            return draw(literals)
        if kind == "data":
            return DataNode(None, draw(literals))
        if kind in ("ref", "alias"):
            return (ref if kind == "ref" else Alias)(draw(st.sampled_from(list(graph))))
        if kind == "set":
            return Set(Task(None, told, argument(depth - 1)))
        parts = [argument(depth - 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == "dict":
            return Dict({f"k{number}": part for number, part in enumerate(parts)}) if parts else Dict({"e": 1})
        if kind == "call":
            return Task(None, told, *parts, **({"kw": argument(depth - 1)} if draw(st.booleans()) else {}))
        return (List if kind == "list" else Tuple)(*parts)

    def node(key: str) -> Any:
        kind = draw(st.sampled_from(["data", "alias", "task", "task", "task", "list", "chain", "chain"]))
        if kind == "data":
            return DataNode(key, draw(literals))
        if kind == "alias" and graph:
            return Alias(key, draw(st.sampled_from(list(graph))))
        if kind == "list":
            made = List(argument(1), argument(2))
            made.key = key
            return made
        args = [argument(2) for _ in range(draw(st.integers(0, 3)))]
        if kind != "chain":
            return Task(key, told, *args, **({"kw": argument(1)} if draw(st.booleans()) else {}))
        chain: list[Any] = [Task(f"{key}-0", told, *args)]
        for step in range(1, draw(st.integers(2, 4))):
            before = f"{key}-{step - 1}"
            chain.append(Task(f"{key}-{step}", told, *draw(st.permutations([ref(before), argument(1), Alias(before)]))))
        return Task.fuse(*chain, key=key)

    for number in range(count):
        key = f"n{number}"
        graph[key] = node(key)
    wanted = draw(st.lists(st.sampled_from(list(graph)), min_size=1, max_size=4, unique=True))
    return graph, wanted


@settings(deadline=None, max_examples=60)
@given(random_graphs(), st.booleans())
def test_random_graphs(drawn: tuple[dict[Any, Any], list[Any]], fuse: bool) -> None:
    graph, wanted = drawn
    expected = [frozen(value) for value in dask.get(graph, wanted)]
    if fuse:
        graph = fuse_linear_task_spec(dict(graph), wanted)
    got = compute(graph, wanted)
    assert [frozen(got[key]) for key in wanted] == expected
    assert program.evaluate not in {f for batch in lower(graph, wanted) for f in batch.functions}


# ---------------------------------------------------------------- columns


def test_batches_count_on() -> None:
    graph: dict[Any, Any] = {("x", i): Task(("x", i), told, i, ref(f"known-{i % 2}")) for i in range(5)}
    graph["all"] = Task("all", told, *(ref(("x", i)) for i in range(5)))
    batches = list(lower(graph, ["all", ("x", 3)], 2))
    assert [len(batch.keys) for batch in batches] == [2, 2, 2]
    assert [batch.more for batch in batches] == [True, True, False]
    assert sorted(batches[0].known) == ["known-0", "known-1"]
    assert all(not batch.known for batch in batches[1:])
    names = [name for batch in batches for name in [*batch.known, *batch.keys]]
    assert sorted(names[number] for number in batches[-1].inputs[-1]) == [("x", i) for i in range(5)]
    assert {names[number] for batch in batches for number in batch.wanted} == {"all", ("x", 3)}


def test_a_function_stands_once_in_a_batch() -> None:
    graph: dict[Any, Any] = {f"x{i}": Task(f"x{i}", told if i % 2 else operator.neg, i) for i in range(6)}
    (batch,) = lower(graph, list(graph))
    assert len(batch.functions) == 2
    assert [batch.functions[choice] is told for choice in batch.chosen] == [int(key[1:]) % 2 == 1 for key in batch.keys]


def test_only_what_is_needed_is_kept() -> None:
    graph = {"x": 1, "y": (told, "x"), "z": (told, object)}
    (batch,) = lower(graph, ["y"])
    assert batch.keys == ["x", "y"]


def test_what_nobody_needs_may_be_anything() -> None:
    compute(
        {"y": (told, 1), None: (told, threading.Lock()), "c": Alias("c", "d"), "e": (told, "f"), "f": (told, "e")},
        ["y"],
    )


def test_tasks_of_one_shape_have_one_program() -> None:
    graph: dict[Any, Any] = {f"x{i}": DataNode(f"x{i}", i) for i in range(20)}
    for i in range(2, 20):
        # Which two are referred to decides in which order fuse gives them: by hash.
        key = f"y{i}"
        steps = (
            Task(f"a{i}", told, ref(f"x{i}"), i),
            Task(f"b{i}", told, ref(f"a{i}"), ref(f"x{i - 1}"), ref(f"x{i - 2}")),
        )
        graph[key] = fused(*steps, key=key)
    (batch,) = lower(graph, [f"y{i}" for i in range(2, 20)])
    assert sum(type(function) is Program for function in batch.functions) == 1
    same(graph, *(f"y{i}" for i in range(2, 20)))


def test_a_shared_inner_graph_is_pickled_once() -> None:
    graph = shared_graphs()
    (batch,) = lower(graph, [("y", i, j) for i in range(3) for j in range(3)])
    blobs = {id(blob) for key, blob in zip(batch.keys, batch.args, strict=True) if key[0] == "y" and key[1] != key[2]}
    assert len(blobs) <= 2


def test_a_shared_inner_graph_that_is_given_data_is_looked_through_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graphs_that_are_given_data()
    looked = []
    compiled = nodes.Programs.compiled

    def counted(programs: nodes.Programs, node: Any, seat: nodes.Seat) -> Any:
        looked.append(node.key)
        return compiled(programs, node, seat)

    monkeypatch.setattr(nodes.Programs, "compiled", counted)
    (batch,) = lower(graph, [("y", i) for i in range(6)])
    assert len(looked) == 3  # the first two, and once for all
    assert len(batch.functions) == 1


def test_a_future_among_what_a_shared_inner_graph_is_given_is_an_input() -> None:
    graph = graphs_that_are_given_data()
    for i in range(6):
        node = graph["y", i]
        graph["y", i] = Task(node.key, node.func, *node.args[:3], DataNode(None, [Future("f")]), *node.args[4:])
    batches = list(lower(graph, [("y", i) for i in range(6)]))
    assert [key for batch in batches for key in batch.known] == ["f"]
    assert [inputs for batch in batches for inputs in batch.inputs] == [[0]] * 6


def test_a_program_is_named_for_its_last_call() -> None:
    graph = {"z": fused(Task("a", abs, 1), Task("z", told, ref("a"), 2))}
    assert [function.__name__ for function in next(lower(graph, ["z"])).functions] == ["told"]


def test_a_fused_call_of_one_step_needs_no_program() -> None:
    execute = fused(Task("p", told), Task("q", told, ref("p"))).func
    graph = {"z": Task("z", execute, {"o": Task("o", told, ref("i"), 2)}, "o", ("i",), ref("w"))}
    (batch,) = lower(graph, ["z"])
    assert batch.functions == [told]


# ---------------------------------------------------------------- aliases


def test_a_wanted_alias_gives_its_name_to_the_task() -> None:
    graph = {"x": Task("x", told, 1), "a": Alias("a", "x"), "y": Task("y", told, ref("x"), ref("a"))}
    (batch,) = lower(graph, ["a", "y"])
    assert batch.keys == ["a", "y"]
    assert batch.inputs == [[], [0]]


def test_an_alias_of_what_is_wanted_too_is_a_task() -> None:
    graph = {"x": Task("x", told, 1), "a": Alias("a", "x"), "b": Alias("b", "x")}
    (batch,) = lower(graph, ["a", "x"])
    assert sorted(batch.keys) == ["a", "x"]
    (batch,) = lower(graph, ["a", "b"])
    assert sorted(batch.keys) == ["a", "b"]
    same(graph, "a", "b", "x")


# ---------------------------------------------------------------- what is outside the graph


class Future:
    """As a collection's futures are."""

    __dask_future__ = True

    def __init__(self, key: Any) -> None:
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return payload.refer(self.key) or (Future, (self.key,))


def test_keys_outside_are_known() -> None:
    graph = {"a": Alias("a", "out"), "b": Alias("b", "a"), "y": Task("y", told, ref("b"), ref("far"))}
    (batch,) = lower(graph, ["y", "b", "gone"])
    assert sorted(batch.known) == ["far", "gone", "out"]
    assert batch.keys.count("b") == 1
    known = {"out": 1, "far": 2, "gone": 3}
    assert compute(graph, ["y", "b", "gone"], known) == {"y": told(1, 2), "b": 1, "gone": 3}


def test_what_is_held_is_known_and_still_referred_to() -> None:
    graph = {"x": (told, 1), "a": "x", "y": (told, "x", ["a"]), "z": Task("z", told, ref("y"), ref("a"))}
    (batch,) = lower(graph, ["z", "y"], held={"x": None, "y": None})
    assert (sorted(batch.known), batch.keys) == (["x", "y"], ["z"])
    assert run([batch], {"x": 1, "y": 2}) == {"z": told(2, 1), "y": 2}


def test_nodes_that_are_futures_of_their_own_key_are_outside() -> None:
    class Ref(TaskRef):
        pass

    graph: dict[Any, Any] = {("x", 0): Future(("x", 0)), ("x", 1): Ref(("x", 1)), "a": Alias("a"), "b": Future("other")}
    graph["y"] = Task("y", told, ref(("x", 0)), ref(("x", 1)), ref("a"), ref("b"))
    known = {("x", 0): 1, ("x", 1): 2, "a": 3, "other": 4}
    assert compute(graph, ["y"], known) == {"y": told(1, 2, 3, 4)}
    (batch,) = lower(graph, [("x", 0), ("x", 1)])
    assert (batch.known, batch.keys, batch.wanted, batch.more) == ([("x", 0), ("x", 1)], [], [0, 1], False)


def test_futures_as_arguments_and_inside_values() -> None:
    graph: dict[Any, Any] = {
        "x": DataNode("x", 1),
        "f": Task("f", told, Future("one"), ref("x")),
        "g": Task("g", told, ref("x"), [Future("two"), {"k": Future("one")}], ref("f"), ref("three")),
        "h": Task("h", told, Task(None, told, [Future("two")], ref("three")), ref("f"), [Future("three")]),
        "d": DataNode("d", [Future("four")]),
    }
    known = {"one": 1, "two": 2, "three": 3, "four": 4}
    f = told(1, 1)
    expected = {"f": f, "g": told(1, [2, {"k": 1}], f, 3), "h": told(told([2], 3), f, [3]), "d": [4]}
    assert compute(graph, ["f", "g", "h", "d"], known) == expected
    batches = list(lower(graph, ["f", "g", "h", "d"]))
    assert sorted(key for batch in batches for key in batch.known) == sorted(known)


def test_a_resting_iterator_collects_no_futures() -> None:
    graph = {f"x{i}": Task(f"x{i}", told, i) for i in range(4)}
    batches = lower(graph, list(graph), 1)
    next(batches)
    assert payload.refer("any") is None
    batches.close()  # type: ignore[attr-defined]


# ---------------------------------------------------------------- keys


def test_keys_are_strings_numbers_and_tuples_of_these() -> None:
    keys: list[Any] = ["x", 1, 2.5, ("x", 1, ("y", 2.5))]
    assert set(same({key: Task(key, told, str(key)) for key in keys}, *keys)) == set(keys)


def test_numbers_of_numpy_become_pythons() -> None:
    graph = {("x", np.int64(3)): Task("x", told, 1), "y": Task("y", told, ref(("x", np.int32(3))))}
    (batch,) = lower(graph, ["y"])
    assert batch.keys[0] == ("x", 3)
    assert type(batch.keys[0][1]) is int


@pytest.mark.parametrize("key", [None, b"x", True, ("x", None), ("x", b"y"), frozenset(), ("x", ("y", True))])
def test_what_is_no_key_errs_at_the_call(key: Any) -> None:
    with pytest.raises(TypeError) as caught:
        lower({key: Task(key, told, 1)}, [key])
    assert repr(key) in str(caught.value) or type(key).__name__ in str(caught.value)
    with pytest.raises(TypeError):
        lower({"y": Task("y", told, ref(key))}, ["y"]).__next__()


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "graph",
    [
        {"x": Task("x", told, ref("y")), "y": Task("y", told, ref("x"))},
        {"x": Task("x", told, ref("x"))},
        {"x": Alias("x", "y"), "y": Alias("y", "x")},
    ],
)
def test_a_cycle_errs_at_the_call(graph: dict[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"cycle: '[xy]'"):
        lower(graph, ["x"])


@pytest.mark.parametrize(
    "make",
    [
        lambda lock: Task(("x", 1), told, ref("w"), lock),
        lambda lock: Task(("x", 1), told, Task(None, told, ref("w")), lock),
        lambda lock: DataNode(("x", 1), lock),
    ],
)
def test_what_cannot_travel_is_named_with_its_task(make: Callable[[Any], Any]) -> None:
    graph = {"w": DataNode("w", 1), ("x", 1): make(threading.Lock())}
    batches = lower(graph, [("x", 1)])
    with pytest.raises(PickleError, match=r"task \('x', 1\).*lock"):
        list(batches)


class Odd(Task):
    """A task with an evaluation of its own."""

    __slots__ = ()

    def __call__(self, values: Any = ()) -> Any:
        return "odd", super().__call__(values)


def test_strange_nodes_evaluate_themselves() -> None:
    graph: dict[Any, Any] = {
        "x": DataNode("x", 1),
        "y": Odd("y", told, ref("x"), ref("x"), List(ref("x"))),
        "z": Task("z", told, List(Odd(None, told, ref("y")), ref("x"))),
        "f": fused(Odd("a", told, ref("x")), Task("f", told, ref("a"))),
    }
    same(graph, "y", "z", "f")


def test_an_error_of_a_node_comes_when_it_runs() -> None:
    graph = {"x": DataNode("x", [1]), "y": Task("y", told, Set(ref("x"), List(2)))}
    batches = list(lower(graph, ["y"]))
    with pytest.raises(TypeError, match="unhashable"):
        run(batches)


def test_a_need_that_is_nowhere_is_dasks_to_tell() -> None:
    execute = fused(Task("p", told), Task("q", told, ref("p"))).func
    graph = {"z": Task("z", execute, {"o": Task("o", told, ref("lost"))}, "o", ())}
    batches = list(lower(graph, ["z"]))
    with pytest.raises((KeyError, RuntimeError)):
        run(batches)


def test_a_long_fused_chain() -> None:
    steps = [
        Task("s0", operator.add, 0, 1),
        *(Task(f"s{i}", operator.add, ref(f"s{i - 1}"), 1) for i in range(1, 3000)),
    ]
    assert compute({"z": fused(*steps, key="z")}, ["z"]) == {"z": 3000}
