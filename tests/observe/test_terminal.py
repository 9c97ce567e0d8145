"""The picture of a cluster in a terminal, out of figures."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from windrow.cli import top
from windrow.observe import figures, terminal


def worker(name: str, **facts: Any) -> dict[str, Any]:
    plain = {"cpu": 0.5, "memory": 2**20, "memory_limit": 2**30, "processing": 0, "stored": 0, "stored_bytes": 0}
    return {"name": name, "nthreads": 2, "status": "running", **plain, **facts}


def drawn(**facts: Any) -> dict[str, Any]:
    inc = {**dict.fromkeys(figures.STATES, 0), "prefix": "inc", "memory": 1234, "queued": 7}
    return {
        "address": "tcp://s",
        "totals": {
            "workers": 3,
            "cores": 6,
            "cpu": 1.5,
            "memory_used": 3 * 2**20,
            "memory_limit": 3 * 2**30,
            "tasks": 1241,
            "bytes": 2**20,
            "unrunnable": 0,
            "clients": 1,
        },
        "workers": [
            worker("a", processing=3),
            worker("b", cpu=None, memory=2**29, stored=5, stored_bytes=2048),
            worker("c", cpu=0.75, memory_limit=0, status="paused"),
        ],
        "tasks": [inc],
        "counted_ago": 0.1,
        **facts,
    }


def lines(facts: dict[str, Any], order: str = "name", width: int = 100, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal.picture(facts, order, **options))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_eighty_columns_are_enough_for_all_headings_and_names_give_way() -> None:
    long = {**dict.fromkeys(figures.STATES, 0), "prefix": "random_sample-sum-aggregate-partial", "queued": 1234567}
    many = worker("worker-of-a-long-name-on-a-host-of-a-longer-one", stored=12345, stored_bytes=2**40)
    shown = lines(drawn(tasks=[long], workers=[many]), width=80)
    assert all(len(line) <= 80 for line in shown)
    headings = "worker threads CPU memory processing results", "tasks waiting queued processing memory erred done"
    assert all(any(line.split() == row.split() for line in shown) for row in headings), shown
    cut = {words[0][:6]: words for line in shown if (words := line.split())[0].endswith("…")}
    assert cut["worker"][-3:] == ["12,345,", "1.0", "TiB"]
    assert cut["random"][1] == "1,234,567"


def names(shown: list[str]) -> list[str]:
    return [line.split()[0] for line in shown if line.split()[0] in {"a", "b", "c"}]


def test_workers_and_tasks_are_there() -> None:
    shown = lines(drawn())
    assert "3 workers, 6 threads, 1.5 processors busy" in shown[0]
    assert len(shown[0].rstrip()) <= 80
    assert "memory 3.0 MiB of 3.0 GiB" in shown[1]
    assert "1,241 tasks" in shown[1]
    [b] = [line for line in shown if line.split()[0] == "b"]
    assert "?" in b
    assert "512.0 MiB of 1.0 GiB" in b
    assert "5, 2.0 KiB" in b
    [c] = [line for line in shown if line.split()[0] == "c"]
    assert c.endswith("paused")
    assert "of" not in c
    [inc] = [line for line in shown if line.split()[0] == "inc"]
    assert inc.split()[1:3] == ["7", "1,234"]


@pytest.mark.parametrize(
    ("order", "first"),
    [("name", "abc"), ("cpu", "cab"), ("memory", "bac"), ("tasks", "abc"), ("stored", "bac")],
)
def test_workers_are_sorted(order: str, first: str) -> None:
    assert names(lines(drawn(), order)) == list(first)


def test_every_order_is_to_be_had_by_option_and_key() -> None:
    assert tuple(terminal.ORDERS) == top.ORDERS
    assert len(top.KEYS) == len(top.ORDERS)
    assert "q" not in top.KEYS


def test_what_there_is_no_room_for_is_counted() -> None:
    shown = lines(drawn(), rows=2)
    assert names(shown) == ["a", "b"]
    assert any("and 1 more" in line for line in shown)


def test_what_others_have_written_is_no_markup() -> None:
    shown = lines(drawn(workers=[worker("[red]x[/red]")]))
    assert any("[red]x[/red]" in line for line in shown)


def test_what_no_worker_may_run_and_what_is_not_counted_is_said() -> None:
    facts = drawn(tasks=[], counted_ago=None)
    facts["totals"]["unrunnable"] = 4
    shown = lines(facts)
    assert "4 that no worker may run" in shown[1]
    assert any("being counted" in line for line in shown)
