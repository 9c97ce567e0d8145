"""Bags give on the cluster what they give with threads."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import collection_data as data
import collection_tasks as tasks
import dask
import dask.bag as db
import pandas as pd
import pytest
from collection_help import agree, cases, same

from windrow import Client


@pytest.fixture
def bags(words: pd.DataFrame) -> SimpleNamespace:
    """Bags of `lines` of source text, of their words' `names`, of `numbers`, and of `rows`."""
    texts = [line for lines in data.sources().values() for line in lines[:80]]
    table = words.head(400)
    return SimpleNamespace(
        lines=db.from_sequence(texts, npartitions=6),
        names=db.from_sequence(list(table.word), npartitions=5),
        numbers=db.from_sequence(range(200), npartitions=7),
        rows=db.from_sequence(table.to_dict("records"), npartitions=5),
    )


def _in_order(items: Any) -> Any:
    return sorted(items, key=repr)


def _words_of(line: str) -> Iterator[str]:
    """A generator, as a function of a partition may be one."""
    yield from line.replace("(", " ").replace(".", " ").split()


def _longer(one: str, other: str) -> str:
    return max(one, other, key=lambda word: (len(word), word))


OPERATIONS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "map": lambda b: b.numbers.map(tasks.inc),
    "map_with_more": lambda b: b.numbers.map(tasks.add, b.numbers).map(tasks.keywords, 1, key=b.numbers.sum()),
    "starmap": lambda b: db.zip(b.numbers, b.numbers.map(tasks.double)).starmap(operator.mul),
    "filter_remove": lambda b: [b.numbers.filter(lambda n: n % 3), b.numbers.remove(lambda n: n > 9)],
    "map_partitions": lambda b: b.numbers.map_partitions(lambda part: [sum(part)]),
    "flatten": lambda b: b.lines.map(_words_of).map(list).flatten(),
    "pluck": lambda b: b.rows.pluck("word"),
    "pluck_of_many": lambda b: b.rows.pluck(["module", "line"]),
    "texts": lambda b: b.lines.str.strip().str.upper(),
    "fold": lambda b: b.numbers.fold(operator.add, initial=0),
    "fold_of_texts": lambda b: b.names.fold(_longer, split_every=2),
    "reduction": lambda b: b.numbers.reduction(sum, max),
    "statistics": lambda b: [b.numbers.sum(), b.numbers.mean(), b.numbers.std(), b.numbers.var(), b.numbers.count()],
    "extremes": lambda b: [b.names.max(), b.numbers.min(), b.numbers.any(), b.numbers.all()],
    "topk": lambda b: b.names.topk(5, key=lambda word: (len(word), word)),
    "frequencies": lambda b: b.names.frequencies().map_partitions(_in_order),
    "frequencies_in_order": lambda b: b.numbers.map(lambda n: n % 7).frequencies(sort=True),
    "distinct": lambda b: b.names.distinct().map_partitions(_in_order),
    "groupby_tasks": lambda b: (
        b.names.groupby(len, shuffle="tasks", npartitions=3).map(_group).map_partitions(_in_order)
    ),
    "groupby_tasks_of_many": lambda b: (
        b.names.repartition(18).groupby(lambda w: w[0], shuffle="tasks", max_branch=3).map(_group)
    ),
    "foldby": lambda b: b.rows.foldby(
        lambda row: row["module"], lambda total, row: total + row["length"], 0, operator.add, 0
    ),
    "join": lambda b: b.names.join(["import", "def", "self"], on_self=tasks.identity, on_other=tasks.identity),
    "join_with_delayed": lambda b: b.names.join(dask.delayed(["import", "self"]), tasks.identity, tasks.identity),
    "product": lambda b: b.numbers.filter(lambda n: n < 12).product(db.from_sequence("abc", npartitions=2)),
    "accumulate": lambda b: b.numbers.accumulate(operator.add),
    "accumulate_from": lambda b: b.numbers.accumulate(operator.add, initial=100),
    "take": lambda b: b.numbers.take(5, npartitions=2, compute=False),
    "concat_zip": lambda b: [db.concat([b.numbers, b.names]), db.zip(b.numbers, b.numbers.map(str))],
    "repartition": lambda b: [b.numbers.repartition(3), b.numbers.repartition(20), b.numbers.repartition(1)],
    "random_sample": lambda b: b.numbers.random_sample(0.3, random_state=42),
    "from_delayed": lambda b: db.from_delayed([dask.delayed(range)(n) for n in range(4)]).map(tasks.double),
    "from_url_like_map": lambda b: db.range(50, npartitions=6).map(lambda n: n**3),
    "to_dataframe": lambda b: b.rows.to_dataframe(),
    "to_delayed": lambda b: b.numbers.to_delayed(),
    "item": lambda b: [b.numbers.sum().apply(str), dask.delayed(tasks.add)(b.numbers.sum(), b.numbers.max())],
    "many_kinds": lambda b: db.from_sequence([None, 1.5, "text", b"bytes", (1, (2,)), {"a": [3]}, frozenset([4])], 2),
}


def _group(pair: tuple[Any, list[str]]) -> tuple[Any, list[str]]:
    return pair[0], sorted(pair[1])


@cases(OPERATIONS)
def test_operations(client: Client, bags: SimpleNamespace, build: Callable[[SimpleNamespace], Any]) -> None:
    made = build(bags)
    agree(client, *(made if isinstance(made, list) else [made]))


def test_operations_with_threads_as_workers(client_of_threads: Client, bags: SimpleNamespace) -> None:
    agree(client_of_threads, bags.numbers.map(tasks.inc).sum(), bags.names.topk(3, key=len), bags.rows.pluck("word"))


def test_words_of_text_files(client: Client, text_files: str) -> None:
    lines = db.read_text(text_files)
    assert lines.npartitions == len(data.MODULES)
    agree(client, lines.map(len).sum(), lines.map(_words_of).map(list).flatten().topk(3, key=len))
    small = db.read_text(text_files, blocksize="4 KiB")
    assert small.npartitions > lines.npartitions
    agree(client, small.map(len).sum(), small.count())


def test_words_of_text_files_with_their_paths(client: Client, text_files: str) -> None:
    """Here a task of Dask's gives a generator, which cannot travel, to the one task that makes a list of it."""
    lines = db.read_text(text_files, blocksize="4 KiB", include_path=True)
    agree(client, lines.pluck(0).count(), lines.pluck(1).distinct().map_partitions(_in_order))


def test_to_textfiles(client: Client, bags: SimpleNamespace, tmp_path: Path) -> None:
    written = bags.rows.map(json.dumps).to_textfiles(str(tmp_path / "*.json.gz"))
    assert len(written) == bags.rows.npartitions
    agree(client, db.read_text(written).map(json.loads))
    same(db.read_text(written).map(json.loads).compute(), bags.rows.compute(scheduler="threads"))


def test_iteration_and_length_use_the_cluster(client: Client, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    bag = db.from_sequence(range(6), npartitions=3).map(tasks.noted, trace)
    assert list(bag) == [0, 1, 2, 3, 4, 5]
    assert bag.take(2) == (0, 1)
    assert len(tasks.lines(tmp_path / "trace")) == 6 + 2


def test_iterators_become_lists_where_they_end_a_task(client: Client) -> None:
    agree(client, db.from_sequence(["a b", "c"], npartitions=2).map_partitions(lambda part: map(str.split, part)))
