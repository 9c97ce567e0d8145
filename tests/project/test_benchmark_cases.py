"""The benchmark's cases compute what they say, on a system that runs everything at once and in line."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is no part of the package

from benchmarks import child, graphs, report, work
from benchmarks.__main__ import LEFT_OUT
from benchmarks.cases import CASES, Case, Reading, check, collection


class Inline:
    """A system whose futures are the results themselves."""

    takes_futures = True
    own_memory = True
    takes_collections = True
    shuffle = "tasks"

    def __init__(self) -> None:
        self.calls = 0
        self.tasks = 0

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        return [self.submit(function, item) for item in items]

    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
        self.calls += 1
        return None if function is work.hold else function(*args)

    def combine(self, function: Callable[[list[Any]], Any], futures: list[Any]) -> Any:
        self.calls += 1
        return function(futures)

    def result(self, future: Any) -> Any:
        return future

    def gather(self, futures: Any) -> list[Any]:
        return list(futures)

    def wait(self, futures: Any) -> None:
        pass

    def scatter(self, value: Any) -> Any:
        return value

    def compute(self, collection: Any) -> Any:
        return collection.compute(scheduler="sync")

    def persist(self, collection: Any) -> Any:
        self.tasks += len(graphs.graph_of(collection))
        return collection

    def known_tasks(self) -> int:
        return self.tasks

    def close(self) -> None:
        pass


RUNNABLE = [case for case in CASES.values() if case.run is not None]
FACTS = {
    "date": "2026-01-01",
    "cores": 2,
    "cpu": "some",
    "memory_gib": 8.0,
    "system": "Linux",
    "python": "3.11",
    "versions": {"windrow": "0.1"},
    "load_before": 0.0,
}


@pytest.mark.parametrize("case", RUNNABLE, ids=lambda case: case.name)
def test_case_runs_and_gives_a_figure(case: Case) -> None:
    assert case.run is not None
    size = 1 << 16 if case.is_rate else 20
    assert case.run(Inline(), size) >= 0 or case is CASES["persist_100k"]  # a difference of two times


@pytest.mark.parametrize(
    ("name", "tasks"),
    [("map_10k", 64), ("loop", 64), ("latency", 64), ("chain", 64), ("tree", 127), ("merge", 65), ("fan", 66)],
)
def test_case_runs_as_many_tasks_as_it_says(name: str, tasks: int) -> None:
    system, run = Inline(), CASES[name].run
    assert run is not None
    run(system, 64)
    assert system.calls == tasks


def test_no_number_is_used_twice() -> None:
    seen: list[int] = []

    class Watched(Inline):
        def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
            seen.append(args[0])
            return function(*args)

    run = CASES["map_1k"].run
    assert run is not None
    for _ in range(3):
        run(Watched(), 50)
    assert len(set(seen)) == 150


def test_a_wrong_answer_is_no_result() -> None:
    with pytest.raises(AssertionError, match="returned 1"):
        check(1, 2)


COLLECTIONS = [case for case in RUNNABLE if case.unit == "ms"]


@pytest.mark.parametrize("case", COLLECTIONS, ids=lambda case: case.name)
def test_a_wrong_result_of_a_collection_is_no_result(case: Case) -> None:
    class Wrong(Inline):
        def compute(self, collection: Any) -> Any:
            found = super().compute(collection)
            return found[1:] if isinstance(found, list) else found + 1

    assert case.run is not None
    with pytest.raises(AssertionError, match="which is wrong"):
        case.run(Wrong(), 20)


def test_no_collection_has_the_keys_of_an_earlier_one() -> None:
    first, second = (set(graphs.graph_of(graphs.array_transpose(4, number)[0])) for number in (1, 2))
    assert first.isdisjoint(second)


def test_a_collection_says_how_many_tasks_it_has_and_what_dask_takes() -> None:
    found = collection(graphs.array_mean)(Inline(), 9)
    assert isinstance(found, Reading)
    made, _ = graphs.array_mean(9, 0)
    assert found.facts["tasks"] == len(graphs.graph_of(made))
    assert 0 < found.facts["dask_ms"] < 1_000


def test_dataframes_are_shuffled_as_the_row_says() -> None:
    import dask

    seen = []

    class Watched(Inline):
        shuffle = "disk"

        def compute(self, collection: Any) -> Any:
            seen.append(dask.config.get("dataframe.shuffle.method"))
            with dask.config.set({"dataframe.shuffle.method": "tasks"}):
                return super().compute(collection)

    for name in ("join", "join_best"):
        run = CASES[name].run
        assert run is not None
        run(Watched(), 3)
    assert seen == ["tasks", "disk"]


def test_submission_ends_when_the_whole_graph_has_arrived() -> None:
    asked = 0

    class Gradual(Inline):
        def known_tasks(self) -> int:
            nonlocal asked
            asked += self.tasks > 0
            return 7 + self.tasks - (self.tasks > 0 and asked < 3)

    run = CASES["persist_100k"].run
    assert run is not None
    found = run(Gradual(), 100)
    assert asked == 3
    assert isinstance(found, Reading)
    assert found.facts["tasks"] == pytest.approx(100, rel=0.1)
    assert found.facts["all_ms"] >= found.facts["called_ms"]


def test_a_long_collection_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, runs = 0.0, 0

    def run(system: Any, size: int) -> float:
        nonlocal now_s, runs
        now_s, runs = now_s + 4, runs + 1
        return Reading(4_000, tasks=10)

    case = Case("array_mean", "", "dask_array", 100, run, "ms", needs="collections", repeats=5)
    monkeypatch.setattr(child.time, "perf_counter", lambda: now_s)
    monkeypatch.setattr(child.time, "sleep", lambda seconds: None)
    found = child.measure(case, Inline(), quick=False, limit_s=30)
    assert found["values"] == [4_000, 4_000]
    assert runs == 3  # one of them a small one, to warm up
    assert found["tasks"] == 10


@pytest.mark.parametrize("system", ["ray", "pool"])
def test_no_system_is_started_for_what_it_cannot_do(system: str) -> None:
    groups = {case.group for case in CASES.values() if case.needs == "collections"}
    assert groups
    assert groups <= LEFT_OUT[system]


def test_a_slow_system_gets_fewer_tasks_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Slow(Inline):
        def gather(self, futures: Any) -> list[Any]:
            nonlocal now_s
            now_s += 50e-6 * len(futures)
            return list(futures)

    monkeypatch.setattr(child.time, "perf_counter", lambda: now_s)
    monkeypatch.setattr(child.time, "sleep", lambda seconds: None)
    some = child.measure(CASES["map_1k"], Slow(), quick=False, limit_s=0.03)
    assert some["size"] == pytest.approx(600, abs=1)
    assert some["value"] == pytest.approx(50)
    none = child.measure(CASES["map_100k"], Slow(), quick=False, limit_s=0.03)
    assert none["value"] is None
    assert none["note"] == "would take 5 s"


def result(case: str, value: float | None, **more: Any) -> dict[str, Any]:
    return {"case": case, "value": value, "size": CASES[case].size, **more}


def test_table_shows_ratios_budgets_and_shortened_runs() -> None:
    text = report.table(
        {
            "windrow": {"map_10k": result("map_10k", 10.0), "gather": result("gather", 2.0)},
            "distributed": {"map_10k": {**result("map_10k", 2000.0), "size": 5000}, "gather": result("gather", 0.5)},
            "pool": {"map_10k": result("map_10k", None, note="not possible")},
        }
    )
    _, _, tasks, array = text.splitlines()
    assert "| ≤ 20 | **10.0** ✓ | 2,000 [5,000 tasks] (\N{MULTIPLICATION SIGN}200) |" in tasks
    assert "| ≥ 5 | **2.00** ✗ | 0.50 (\N{MULTIPLICATION SIGN}4.00) |" in array


def test_table_says_what_encryption_costs() -> None:
    found = {"map_10k": result("map_10k", 10.0), "map_10k_tls": result("map_10k_tls", 15.0)}
    found |= {"move_tcp": result("move_tcp", 2.0), "move_tls": result("move_tls", 0.5)}
    text = report.table({"windrow": found})
    assert "| **15.0** [\N{MULTIPLICATION SIGN}1.50 the time without] |" in text
    assert "| **0.50** [\N{MULTIPLICATION SIGN}4.00 the time without] |" in text
    assert text.count("the time without") == 2
    alone = report.table({"windrow": {"map_10k_tls": result("map_10k_tls", 15.0)}})
    assert "the time without" not in alone
    assert all(case.against in CASES for case in CASES.values() if case.against)


def test_cases_over_a_network_have_a_group_of_their_own() -> None:
    groups = {
        case.group: {other.over for other in CASES.values() if other.group == case.group} for case in CASES.values()
    }
    assert all(len(over) == 1 for over in groups.values())
    assert {"tcp", "tls"} <= LEFT_OUT["ray"] & LEFT_OUT["pool"]


def test_table_compares_a_collection_with_dask() -> None:
    peer = result("bag", 1_000.0, tasks=2_000)

    def row(ours: float, peer: dict[str, Any]) -> str:
        return report.table({"windrow": {"bag": result("bag", ours, tasks=2_000)}, "distributed": {"bag": peer}})

    assert "| ms | ≤ 0.5 \N{MULTIPLICATION SIGN} dask | **500** ✓ [2,000 tasks of 250 µs] |" in row(500.0, peer)
    assert "✗" in row(501.0, peer)
    assert "[2,000 tasks of 500 µs] (\N{MULTIPLICATION SIGN}2.00) |" in row(500.0, peer)
    alone = report.table({"windrow": {"bag": result("bag", 500.0, tasks=2_000)}})
    failed = row(500.0, result("bag", None, note="failed"))
    assert not {"✓", "✗"} & {*alone, *failed}


def test_page_names_its_command_and_machine() -> None:
    page = report.page({"windrow": {"chain": result("chain", 12.0)}}, FACTS, "python -m benchmarks --quick")
    assert "`python -m benchmarks --quick`" in page
    assert "2 cores of some" in page
    assert "chain of 1,000" in page


@pytest.mark.parametrize("name", report.README_ROWS)
def test_rows_of_the_front_page_exist(name: str) -> None:
    assert name in CASES


def test_pool_is_measured_by_the_command_line(tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "benchmarks.child", "pool", str(out), "latency", "chain", "--quick"]
    subprocess.run(command, cwd=root, check=True, timeout=30)
    latency, chain = (json.loads(line) for line in out.read_text().splitlines())
    assert latency["value"] > 0
    assert chain["note"] == "not possible"


def test_unknown_case_is_refused_by_name(root: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--cases", "nonsense"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode != 0
    assert "unknown case: nonsense" in done.stderr
    assert "map_10k" in done.stderr
