"""Tables give on the cluster what they give with threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import collection_data as data
import collection_tasks as tasks
import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from collection_help import agree, cases, same
from dask.dataframe.utils import assert_eq

from windrow import Client


@pytest.fixture
def frames(words: pd.DataFrame, days: pd.DataFrame, entities: pd.DataFrame) -> SimpleNamespace:
    """Tables `words` and `vocabulary`, `days` with times as index, and `entities`."""
    table = words.head(3000)
    return SimpleNamespace(
        words=dd.from_pandas(table, npartitions=6),
        vocabulary=dd.from_pandas(data.vocabulary(table), npartitions=3),
        days=dd.from_pandas(days, npartitions=5),
        entities=dd.from_pandas(entities, npartitions=4),
    )


def _span(part: pd.DataFrame) -> pd.DataFrame:
    return part.assign(first=part.line.min(), last=part.line.max())


def _range_of(group: pd.DataFrame) -> float:
    return float(group["share"].max() - group["share"].min())


def _by_module(f: SimpleNamespace) -> Any:
    return f.words.groupby("module")


Build = Callable[[SimpleNamespace], Any]

ROWWISE: dict[str, Build] = {
    "columns": lambda f: [f.words[["word", "line"]], f.words.word, f.words.dtypes.astype(str), f.words.columns],
    "arithmetic": lambda f: (f.words.line * 2 - f.words.column) / (1 + f.words.length),
    "assign": lambda f: f.words.assign(upper=f.words.word.str.upper(), long=f.words.length > 6),
    "filter": lambda f: f.words[(f.words.length > 6) & (f.words.module != "heapq")],
    "query_eval": lambda f: [f.words.query("length > 6 and line < 50"), f.words.eval("line + column")],
    "isin_between": lambda f: f.words[f.words.word.isin(["def", "class"]) | f.words.line.between(3, 5)],
    "apply_map": lambda f: [
        f.words.word.map(len, meta=("word", "i8")),
        f.words.apply(lambda row: row["word"][: row["column"]], axis=1, meta=(None, "str")),
    ],
    "texts": lambda f: f.words.word.str.replace("e", "3").str.cat(f.words.module, sep="."),
    "times": lambda f: [f.days.index.to_series().dt.isocalendar().week, f.days.index.month],
    "fillna": lambda f: [f.days.fillna({"curve": 0}), f.days.curve.ffill(), f.days.curve.bfill()],
    "dropna_isna": lambda f: [f.days.dropna(), f.days.curve.isna().sum()],
    "astype_rename": lambda f: f.words.astype({"line": "f4"}).rename(columns={"line": "row"}),
    "where_mask_clip": lambda f: [f.words.share.where(f.words.line > 5, -1), f.words.line.clip(5, 40)],
    "map_partitions": lambda f: f.words.map_partitions(_span),
    "map_partitions_of_two": lambda f: f.words.line.map_partitions(tasks.add, f.words.line.sum(), meta=("line", "i8")),
    "map_overlap": lambda f: f.days.curve.map_overlap(lambda s: s.diff(2), before=2, after=0),
    "loc": lambda f: [f.days.loc["2024-02-27":"2024-03-02"], f.words.loc[100:150, ["word"]], f.days.loc["2024-12"]],
    "partitions": lambda f: [f.words.partitions[2:4], f.words.get_partition(5)],
    "head_tail": lambda f: [f.words.head(7, compute=False), f.words.tail(3, compute=False)],
    "explode_melt": lambda f: [
        f.words.assign(both=f.words.apply(lambda r: [r.line, r.column], axis=1, meta=(None, "O"))).explode("both"),
        f.entities.melt(id_vars="name", value_vars=["codepoint", "block"]),
    ],
    "to_timestamp_like": lambda f: dd.to_datetime(f.entities.codepoint, unit="s"),
    "concat": lambda f: [dd.concat([f.words, f.words]), dd.concat([f.days.curve, f.days.month], axis=1)],
    "to_array": lambda f: [f.words[["line", "length"]].to_dask_array(lengths=True).sum(axis=0), f.words.line.values],
    "to_bag": lambda f: f.entities.to_bag(),
    "to_delayed": lambda f: f.entities.to_delayed(),
    "sample": lambda f: f.words.sample(frac=0.1, random_state=3),
    "shift_diff": lambda f: [f.days.curve.shift(1), f.days.curve.diff()],
    "cumulative": lambda f: [f.words.length.cumsum(), f.days.curve.cummax()],
}

REDUCTIONS: dict[str, Build] = {
    "length_sum_mean": lambda f: [f.words.size, f.words.length.sum(), f.words[["line", "share"]].mean()],
    "std_var_sem": lambda f: [f.words.share.std(), f.words.share.var(), f.words[["line", "share"]].sem()],
    "skew_of_gaps": lambda f: [f.days.curve.mean(), f.days.curve.count(), f.days.curve.sum(min_count=1)],
    "extremes": lambda f: [f.words.line.max(), f.words.share.idxmax(), f.words.word.min(), f.days.curve.idxmin()],
    "corr_cov": lambda f: [f.words[["line", "share", "length"]].corr(), f.words[["line", "share"]].cov()],
    "quantile": lambda f: [f.words.share.quantile([0.1, 0.5]), f.words[["line", "share"]].quantile(0.5)],
    "describe": lambda f: [f.words[["line", "share"]].describe(), f.days.curve.describe()],
    "value_counts": lambda f: [f.words.module.value_counts(), f.words.line.max()],
    "nunique": lambda f: [f.words.word.nunique(), f.words[["module", "length"]].nunique()],
    "nlargest": lambda f: [f.words.share.nlargest(5), f.words.nsmallest(3, ["length", "share"])],
    "mode": lambda f: f.words.length.mode(),
    "memory": lambda f: f.entities.codepoint.memory_usage(index=False),
    "reduction": lambda f: f.words.length.reduction(lambda s: s.sum(), aggregate=lambda s: s.sum()),
    "pivot_table": lambda f: f.days.categorize("weekday").pivot_table(
        index="month", columns="weekday", values="curve", aggfunc="mean"
    ),
}

GROUPS: dict[str, Build] = {
    "sum_mean_count": lambda f: [
        _by_module(f).length.sum(),
        _by_module(f)[["line", "share"]].mean(),
        _by_module(f).size(),
        _by_module(f).word.count(),
    ],
    "std_var": lambda f: [_by_module(f).share.std(), _by_module(f)[["line", "share"]].var(ddof=0)],
    "nunique_first_last": lambda f: [
        _by_module(f).word.nunique(),
        _by_module(f).word.first(),
        _by_module(f).line.last(),
    ],
    "extremes": lambda f: [_by_module(f).line.max(), _by_module(f).share.idxmin()],
    "median": lambda f: _by_module(f).share.median(),
    "many_aggregations": lambda f: f.words.groupby("module").agg({"line": ["min", "max"], "share": ["mean", "std"]}),
    "named_aggregations": lambda f: _by_module(f).agg(longest=("length", "max"), mean=("line", "mean")),
    "lists": lambda f: _by_module(f).length.agg(list),
    "custom": lambda f: _by_module(f).length.agg(
        dd.Aggregation("spread", lambda s: (s.min(), s.max()), lambda low, high: (low.min(), high.max()), _spread)
    ),
    "two_keys": lambda f: f.words.groupby(["module", "length"]).line.sum(),
    "key_of_function": lambda f: f.words.groupby(f.words.line % 7).length.mean(),
    "cumulative": lambda f: _by_module(f).length.cumsum(),
    "value_counts": lambda f: _by_module(f).length.value_counts(),
    "categories": lambda f: f.words.categorize("module").groupby("module", observed=True).length.sum(),
}

MANY_GROUPS: dict[str, Build] = {
    "one_output": lambda f: f.words.groupby("word").line.agg(["count", "mean", "std", "min"]),
    "many_outputs": lambda f: f.words.groupby("word").agg({"line": "sum", "share": "std"}, split_out=3),
    "nunique": lambda f: f.words.groupby("word").module.nunique(split_out=2),
    "two_keys": lambda f: f.words.groupby(["word", "module"]).size(split_out=3),
    "apply": lambda f: f.words.groupby("word")[["share"]].apply(_range_of, meta=("share", "f8")),
    "transform": lambda f: f.words.groupby("word").line.transform("min", meta=("line", "i8")),
    "shift": lambda f: f.words.groupby("length").share.shift(1, meta=("share", "f8")).count(),
    "drop_duplicates": lambda f: [
        f.words.drop_duplicates("word")[["word"]],
        f.words[["module", "length"]].drop_duplicates(split_out=2),
        f.words.word.unique(),
    ],
    "value_counts": lambda f: f.words.word.value_counts(split_out=3),
}

MERGES: dict[str, Build] = {
    "inner": lambda f: f.words.merge(f.vocabulary, on="word"),
    "left": lambda f: f.words.merge(f.vocabulary[f.vocabulary.initial == "s"], on="word", how="left"),
    "right": lambda f: f.words[f.words.line < 10].merge(f.vocabulary, on="word", how="right"),
    "outer": lambda f: f.words[f.words.line < 10].merge(f.vocabulary.query("initial > 'm'"), on="word", how="outer"),
    "other_names": lambda f: f.words.merge(
        f.vocabulary.rename(columns={"word": "text"}), left_on="word", right_on="text", suffixes=("", "_too")
    ),
    "two_columns": lambda f: f.words.merge(
        f.words[["module", "line", "word"]].drop_duplicates(), on=["module", "line"]
    ),
    "with_pandas": lambda f: f.words.merge(pd.DataFrame({"module": data.MODULES, "number": range(6)}), on="module"),
    "small_with_large": lambda f: f.words.merge(f.vocabulary.repartition(npartitions=1), on="word"),
    "broadcast": lambda f: f.words.merge(f.vocabulary, on="word", broadcast=True),
    "leftsemi": lambda f: f.words.merge(f.vocabulary.query("is_module"), on="word", how="leftsemi"),
    "of_aggregates": lambda f: f.words.merge(_by_module(f).line.max().rename("last").reset_index(), on="module"),
}

INDEXED: dict[str, Build] = {
    "join": lambda f: f.words.set_index("word").join(f.vocabulary.set_index("word"), how="inner"),
    "join_of_column": lambda f: f.words.join(f.vocabulary.set_index("word"), on="word"),
    "merge_of_times": lambda f: f.days[["curve"]].merge(f.days[["month"]], left_index=True, right_index=True),
    "merge_asof": lambda f: dd.merge_asof(
        f.days[["curve"]].reset_index(), f.days[["month"]].partitions[1:3].reset_index(), on="time"
    ),
    "set_index": lambda f: f.entities.set_index("codepoint"),
    "set_index_with_divisions": lambda f: f.entities.set_index("codepoint", divisions=[0, 200, 900, 10_000]),
    "set_index_of_text": lambda f: f.words.set_index("word").index.value_counts(),
    "set_index_sorted": lambda f: f.days.reset_index().set_index("time", sorted=True),
    "sort_values": lambda f: f.entities.sort_values("codepoint", ignore_index=True),
    "sort_values_down": lambda f: f.entities.sort_values(["block", "name"], ascending=False),
    "repartition": lambda f: [
        f.words.repartition(npartitions=2),
        f.words.repartition(npartitions=11),
        f.days.repartition(freq="90D"),
        f.words.repartition(divisions=[0, 50, 2999]),
        f.entities.repartition(partition_size="2 KiB"),
    ],
    "rolling": lambda f: [f.days.curve.rolling(5).mean(), f.days[["curve", "month"]].rolling("2D").max()],
    "rolling_centred": lambda f: f.days.curve.rolling(4, center=True, min_periods=1).std(),
    "resample": lambda f: [f.days.curve.resample("W").mean(), f.days.month.resample("1ME").count()],
    "resample_of_many": lambda f: f.days[["curve", "month"]].resample("3D").agg(["min", "max"]),
    "reset_index": lambda f: f.days.reset_index().time.max(),
}


def _spread(low: Any, high: Any) -> Any:
    return high - low


def _collections(made: Any) -> list[Any]:
    return made if isinstance(made, list) else [made]


@cases(ROWWISE)
def test_rows(client: Client, frames: SimpleNamespace, build: Build) -> None:
    agree(client, *_collections(build(frames)), twice=False)


@cases(REDUCTIONS)
def test_reductions(client: Client, frames: SimpleNamespace, build: Build) -> None:
    agree(client, *_collections(build(frames)), twice=False)


@cases(GROUPS)
def test_groups(client: Client, frames: SimpleNamespace, build: Build) -> None:
    agree(client, *_collections(build(frames)), twice=False)


@cases(MANY_GROUPS)
def test_many_groups(client: Client, frames: SimpleNamespace, build: Build) -> None:
    agree(client, *_collections(build(frames)), ordered=False, twice=False)


@cases(MERGES)
def test_merges(client: Client, frames: SimpleNamespace, build: Build) -> None:
    agree(client, *_collections(build(frames)), ordered=False, twice=False)


@cases(INDEXED)
def test_indexes(client: Client, frames: SimpleNamespace, build: Build) -> None:
    ordered = build not in (INDEXED["join"], INDEXED["set_index_of_text"])
    agree(client, *_collections(build(frames)), ordered=ordered, twice=False)


def test_shuffle_puts_equal_values_into_one_partition(client: Client, frames: SimpleNamespace) -> None:
    for shuffled in (frames.words.shuffle("word", npartitions=5), frames.words.shuffle(on=["module", "length"])):
        agree(client, shuffled, ordered=False)
    parts = dask.compute(*frames.words.shuffle("word", npartitions=5).to_delayed())
    assert len(parts) == 5
    words = [set(part.word) for part in parts]
    assert sum(map(len, words)) == len(set.union(*words))
    assert sum(map(len, parts)) == 3000


@pytest.mark.parametrize("method", ["tasks", None])
def test_shuffle_by_the_method_that_is_asked_for(client: Client, words: pd.DataFrame, method: str | None) -> None:
    """More partitions than one stage of a shuffle by tasks can hold."""
    table = dd.from_pandas(words[["word", "line"]], npartitions=40)
    with dask.config.set({"dataframe.shuffle.method": method}):
        total = table.shuffle("word", max_branch=8).map_partitions(lambda part: part.groupby("word").line.sum())
        got = total.compute()
    assert got.to_dict() == words.groupby("word").line.sum().to_dict()


def test_the_checks_of_dask_itself_hold(
    client: Client, frames: SimpleNamespace, words: pd.DataFrame, days: pd.DataFrame, entities: pd.DataFrame
) -> None:
    table = words.head(3000)
    assert_eq(frames.words, table, scheduler=client)
    assert_eq(frames.words.groupby("module").share.mean(), table.groupby("module").share.mean(), scheduler=client)
    assert_eq(frames.entities.set_index("codepoint"), entities.set_index("codepoint").sort_index(), scheduler=client)
    assert_eq(frames.days.persist().curve.rolling(3).sum(), days.curve.rolling(3).sum(), scheduler=client)


# ---------------------------------------------------------------- files


def test_read_csv(client: Client, csv_files: str, words: pd.DataFrame) -> None:
    table = dd.read_csv(csv_files, keep_default_na=False)
    assert table.npartitions == len(data.MODULES)
    agree(client, table, table.word.str.len().sum(), table.groupby("module").line.max())
    assert len(table) == len(words)
    assert table.groupby("word").size().compute().to_dict() == words.groupby("word").size().to_dict()


def test_read_csv_in_blocks(client: Client, csv_files: str) -> None:
    table = dd.read_csv(csv_files, blocksize="16 KiB", keep_default_na=False, include_path_column=True)
    assert table.npartitions > len(data.MODULES)
    agree(client, table[["word", "line"]], table.path.nunique())


def test_to_csv(client: Client, frames: SimpleNamespace, words: pd.DataFrame, tmp_path: Path) -> None:
    names = frames.words.to_csv(str(tmp_path / "part-*.csv"), index=False)
    assert len(names) == 6
    same(
        "".join(Path(name).read_text().split("\n", 1)[1] for name in names),
        words.head(3000).to_csv(index=False, header=False),
    )
    frames.words.to_csv(str(tmp_path / "one.csv"), index=False, single_file=True)
    same((tmp_path / "one.csv").read_text(), words.head(3000).to_csv(index=False))


def test_read_parquet(client: Client, parquet_files: str, days: pd.DataFrame) -> None:
    table = dd.read_parquet(parquet_files, calculate_divisions=True, split_row_groups=True)
    assert table.npartitions == 4
    assert table.known_divisions
    agree(client, table, table.loc["2024-03-01":"2024-03-05"], table[["curve"]].mean())
    agree(client, dd.read_parquet(parquet_files, columns=["month"], filters=[("month", ">", 10)]))
    assert len(dd.read_parquet(parquet_files)) == len(days)


def test_to_parquet(client: Client, frames: SimpleNamespace, words: pd.DataFrame, tmp_path: Path) -> None:
    frames.words.to_parquet(tmp_path / "plain")
    assert_eq(pd.read_parquet(tmp_path / "plain").rename_axis(None), words.head(3000))
    frames.words.to_parquet(tmp_path / "parts", partition_on="module", write_index=False)
    again = dd.read_parquet(tmp_path / "parts")
    same(again.line.sum().compute(), words.head(3000).line.sum())
    assert len(again[again.module == "shlex"]) == (words.head(3000).module == "shlex").sum()


def test_from_map_and_from_array(client: Client) -> None:
    agree(client, dd.from_map(_squares, [0, 10, 20], count=10))
    agree(client, dd.from_dask_array(dask.array.ones((30, 2), chunks=(10, 2)).cumsum(axis=0), columns=["a", "b"]))
    agree(client, dd.from_delayed([dask.delayed(_squares)(start, count=3) for start in range(4)], meta=_squares(0, 1)))


def _squares(start: int, count: int) -> pd.DataFrame:
    numbers = np.arange(start, start + count)
    return pd.DataFrame({"n": numbers, "square": numbers**2})


def test_length_head_and_iteration_use_the_cluster(client: Client, words: pd.DataFrame, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    table = dd.from_pandas(words.head(100), npartitions=2).map_partitions(tasks.noted, trace, meta=words.head(0))
    assert len(table) == 100
    assert list(table.head(2).word) == list(words.word[:2])
    assert [row.line for row in table.itertuples()] == list(words.line[:100])
    assert len(tasks.lines(tmp_path / "trace")) == 2 + 1 + 2


def test_categories_keep_to_their_order(client: Client, frames: SimpleNamespace) -> None:
    order = pd.CategoricalDtype(["string", "shlex", "heapq", "calendar", "bisect", "textwrap"], ordered=True)
    typed = frames.words.assign(module=frames.words.module.astype(order))
    agree(client, typed, typed.module.cat.codes, typed.groupby("module", observed=False).line.sum())
    unknown = frames.words.module.astype("category")
    assert not unknown.cat.known
    agree(client, unknown.cat.as_known())


def test_a_long_program(client: Client, csv_files: str) -> None:
    """What people write: read, clean, join, group, sort."""
    table = dd.read_csv(csv_files, keep_default_na=False)
    table = table[table.length > 2].assign(initial=table.word.str[0])
    often = table.groupby("word").size().rename("times").reset_index()
    joined = table.merge(often[often.times > 5], on="word")
    agree(client, joined.groupby(["module", "initial"]).times.mean().reset_index(), ordered=False)


def test_operations_with_threads_as_workers(client_of_threads: Client, frames: SimpleNamespace) -> None:
    agree(client_of_threads, frames.words.merge(frames.vocabulary, on="word"), ordered=False)
    agree(client_of_threads, frames.words.groupby("word").share.std().sum(), frames.days.curve.resample("W").mean())
