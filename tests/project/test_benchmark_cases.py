"""The benchmark's cases compute what they say, on a system that runs everything at once and in line."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is no part of the package

from benchmarks import child, report
from benchmarks.cases import CASES, Case, check


class Inline:
    """A system whose futures are the results themselves."""

    takes_futures = True
    own_memory = True

    def __init__(self) -> None:
        self.calls = 0

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        return [self.submit(function, item) for item in items]

    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
        self.calls += 1
        return function(*args)

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
    assert case.run(Inline(), size) >= 0


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
