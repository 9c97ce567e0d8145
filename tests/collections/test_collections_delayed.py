"""Delayed calls give on the cluster what they give with threads."""

from __future__ import annotations

import dataclasses
import operator
from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import collection_tasks as tasks
import dask
import numpy as np
import pandas as pd
import pytest
from collection_help import agree, cases, same, until
from dask import delayed

from windrow import Client

Pair = namedtuple("Pair", ["left", "right"])


@dataclasses.dataclass
class Order:
    item: Any
    number: Any = 1


inc = delayed(tasks.inc)
add = delayed(tasks.add)


def _chain() -> Any:
    x = delayed(0)
    for _ in range(50):
        x = inc(x)
    return x


def _tree() -> Any:
    level = [inc(number) for number in range(32)]
    while len(level) > 1:
        level = [add(*pair) for pair in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def _diamonds() -> Any:
    x = inc(1)
    for _ in range(10):
        x = add(inc(x), inc(x))
    return x


def _decorated() -> Any:
    @delayed
    def area(width: int, height: int = 2) -> int:
        return width * height

    return area(3) + area(area(1), height=area(2))


def _several_results() -> list[Any]:
    quotient, rest = delayed(divmod, nout=2)(17, 5)
    return [quotient, rest, add(quotient, rest)]


def _attributes_and_methods() -> list[Any]:
    point = delayed(tasks.Point)(1, inc(1))
    return [point.x, point.moved(dx=inc(2)), point.moved(1, 1).moved(dy=5).y, delayed("a,b").split(",")[1].upper()]


CALLS: dict[str, Callable[[], Any]] = {
    "one": lambda: inc(1),
    "chain": _chain,
    "tree": _tree,
    "diamonds": _diamonds,
    "decorated": _decorated,
    "keywords": lambda: delayed(tasks.keywords)(1, inc(1), left=inc(2), right=[inc(3), {"a": inc(4)}]),
    "operators": lambda: [
        -((inc(1) * 2 - inc(2)) ** 2),
        inc(1) > inc(0),
        abs(delayed(-3)),
        delayed([3, 4])[inc(0)],
        5 // inc(1),
    ],
    "several_results": _several_results,
    "attributes_and_methods": _attributes_and_methods,
    "in_list": lambda: delayed(sum)([inc(1), 2, [inc(3)][0]]),
    "in_nested_containers": lambda: delayed(tasks.identity)({"a": [inc(1), (inc(2), {inc(3)})], "b": {"c": inc(4)}}),
    "as_keys_of_dict": lambda: delayed(tasks.identity)({inc(1): inc(2)}),
    "in_named_tuple": lambda: delayed(tasks.identity)(Pair(inc(1), [inc(2)])),
    "in_dataclass": lambda: delayed(tasks.identity)(Order(inc(1), number=[inc(2)])),
    "in_slice": lambda: delayed(operator.getitem)(list(range(10)), slice(inc(1), inc(5), 2)),
    "container_itself": lambda: [delayed([inc(1), inc(2)]), delayed({"a": inc(1)}), delayed((inc(1), 5))],
    "not_traversed": lambda: delayed([1, [2, 3]], traverse=False),
    "pure": lambda: [delayed(tasks.add, pure=True)(1, 2), delayed(tasks.add, pure=True)(1, 2)],
    "named": lambda: delayed(tasks.add)(inc(1, dask_key_name="first"), 2, dask_key_name=("second", 2)),
    "partial": lambda: delayed(partial(tasks.add, 10))(inc(1)),
    "class_as_function": lambda: delayed(complex)(inc(1), imag=inc(2)),
    "builtin": lambda: [delayed(max)(inc(1), inc(5), 3), delayed(len)([inc(1)]), delayed(str.join)(",", ["a", "b"])],
    "lambda_and_closure": lambda: delayed(lambda x, shift=5: x + shift)(inc(1)),
    "same_argument_twice": lambda: add(inc(1), inc(1)),
    "literals": lambda: [delayed(None), delayed(5), delayed("text"), delayed(b"bytes"), delayed(1.5)],
    "no_arguments": lambda: delayed(dict)(),
    "result_that_is_callable": lambda: delayed(operator.methodcaller)("upper")("text"),
    "texts_that_look_like_keys": lambda: delayed(tasks.keywords)("first", inc(1, dask_key_name="first"), name="first"),
    "tuples_that_look_like_tasks": lambda: delayed(tasks.identity)([(sum, [1, 2]), ("x", 0)]),
    "arrays_and_tables": lambda: [delayed(np.arange)(5) + inc(1), delayed(pd.Series)([inc(1), 2]).sum()],
    "kinds_of_results": lambda: [
        delayed(tasks.identity)(x) for x in ({1, 2}, frozenset([3]), 10**30, True, ..., range(4))
    ],
    "bound": lambda: delayed(tasks.Point(1, 2)).moved(dx=inc(0)),
    "dask_inside": lambda: delayed(tasks.add)(dask.array.arange(10, chunks=3).sum(), dask.bag.range(4, 2).sum()),
    "collection_as_argument": lambda: delayed(np.sort)(dask.array.arange(10, chunks=3)[::-1]),
    "table_as_argument": lambda: delayed(len)(dask.dataframe.from_pandas(pd.DataFrame({"a": range(7)}), npartitions=3)),
    "optimized": lambda: dask.optimize(add(inc(1), inc(2)), _tree()),
}


@cases(CALLS)
def test_calls(client: Client, build: Callable[[], Any]) -> None:
    made = build()
    agree(client, *(made if isinstance(made, list | tuple) else [made]))


def test_calls_with_threads_as_workers(client_of_threads: Client) -> None:
    agree(client_of_threads, _tree(), *_several_results(), *_attributes_and_methods())


def test_a_call_that_two_others_need_runs_once(client: Client, tmp_path: Path) -> None:
    once = delayed(tasks.noted)(5, str(tmp_path / "trace"))
    assert dask.compute(inc(once), add(once, once), [once]) == (6, 10, [5])
    assert len(tasks.lines(tmp_path / "trace")) == 1


def test_impure_calls_run_each_time(client: Client, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    assert sum(dask.compute(*(delayed(tasks.noted)(1, str(trace)) for _ in range(3)))) == 3
    assert len(tasks.lines(trace)) == 3
    assert sum(dask.compute(*(delayed(tasks.noted, pure=True)(2, str(trace)) for _ in range(3)))) == 6
    assert len(tasks.lines(trace)) == 3 + 1


def test_calls_run_again_when_their_result_is_gone(client: Client, tmp_path: Path) -> None:
    x = delayed(tasks.noted)(5, str(tmp_path / "trace"))
    assert x.compute() == 5
    until(lambda: not client.who_has(), "the result is forgotten")
    assert x.compute() == 5
    assert len(tasks.lines(tmp_path / "trace")) == 2


@pytest.mark.parametrize("size", [10, 300_000])
def test_constants_of_any_size_arrive(client: Client, size: int) -> None:
    """The large one is of 2.4 MB, and needed by many calls."""
    constant = np.arange(size)
    by_value = [delayed(np.sum)(constant), delayed(tasks.keywords)(more=[constant[:5]])[1]["more"][0]]
    shared = delayed(constant)
    agree(client, *by_value, *(shared[number] for number in range(5)), delayed(operator.add)(constant, shared))


def test_a_result_of_many_bytes_passes_between_workers(client: Client, addresses: dict[int, str]) -> None:
    first, second = addresses.values()
    with dask.annotate(workers=[first]):
        large = delayed(np.arange)(400_000)
    with dask.annotate(workers=[second]):
        here = delayed(np.sum)(large)
    there = client.compute(here, optimize_graph=False)
    assert there.result() == 400_000 * 399_999 // 2


def test_a_loop_of_calls_over_files(client: Client, text_files: str, tmp_path: Path) -> None:
    """What people write: a loop that reads, transforms and writes, and a last call that waits for all."""
    import glob

    @delayed
    def count(path: str) -> dict[str, int]:
        return {Path(path).stem: len(Path(path).read_bytes())}

    @delayed
    def merge(parts: list[dict[str, int]]) -> dict[str, int]:
        return {name: size for part in parts for name, size in part.items()}

    names = sorted(glob.glob(text_files))
    result = merge([count(name) for name in names]).compute()
    same(result, {Path(name).stem: Path(name).stat().st_size for name in names})


def test_what_is_defined_here_travels_by_value(client: Client) -> None:
    factor = 3

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

        def scaled(self) -> int:
            return self.x * factor

    assert delayed(Local)(inc(1)).scaled().compute() == 6
    assert delayed(Local(5)).scaled().compute() == 15


def _count_up(n: int) -> Iterator[int]:
    yield from range(n)


def test_what_cannot_travel_is_used_where_it_was_made(client: Client) -> None:
    """A generator, for example, that one other task makes a list of."""
    lists = [delayed(list)(delayed(_count_up)(n % 10)) for n in range(1000)]
    assert list(dask.compute(*lists)) == [list(range(n % 10)) for n in range(1000)]
