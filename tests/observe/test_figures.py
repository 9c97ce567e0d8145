"""Figures of the status page, of JSON and of metrics, out of what the scheduler has said."""

from __future__ import annotations

from typing import Any

import pytest

from windrow.observe import figures, metrics
from windrow.observe.source import Snapshot


def worker(name: object, **facts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "host": "h",
        "pid": 1,
        "status": "running",
        "nthreads": 2,
        "memory_limit": 100,
        "metrics": {"memory": 7.0},
        "last_seen": 0.0,
        "resources": {},
        "local_directory": "",
        "dashboard_link": "",
        **facts,
    }


def load(processing: int = 0, idle: bool = False, saturated: bool = False) -> dict[str, Any]:
    counts = {"processing": processing, "stored": 3, "stored_bytes": 30, "occupancy": 0.5}
    return {**counts, "idle": idle, "saturated": saturated}


@pytest.fixture
def snapshot() -> Snapshot:
    workers = {
        "tcp://a": worker(10, host="other"),
        "tcp://b": worker(9, metrics={}),
        "tcp://c": worker("x", status="closing_gracefully"),
        "tcp://d": worker(0, status="paused"),
        "tcp://e": worker(1),
    }
    identity = {"id": "S", "address": "tcp://s", "started": 1.0, "total_memory": 500, "workers": workers}
    overview = {
        "now": 7.0,
        "counted": 4.0,
        "tasks": 12,
        "prefixes": {"few": {"memory": 1}, "many": {"memory": 4, "erred": 2, "queued": 3}},
        "bytes": 99,
        "erred": [],
        "clients": 2,
        "unrunnable": 1,
        "workers": {
            "tcp://a": load(5, saturated=True),
            "tcp://b": load(1),
            "tcp://d": load(),
            "tcp://e": load(idle=True),
        },
    }
    return Snapshot(identity, overview, {"tcp://a": 1.5})


def test_counts(snapshot: Snapshot) -> None:
    assert figures.counts(snapshot) == {
        "bytes": 99,
        "clients": 2,
        "cores": 10,
        "erred": 2,
        "hosts": 2,
        "idle": 1,
        "memory": 5,
        "processing": 0,
        "queued": 3,
        "released": 0,
        "saturated": 1,
        "tasks": 12,
        "unrunnable": 1,
        "waiting": 0,
        "workers": 5,
    }
    assert figures.worker_states(snapshot) == {
        "idle": 1,
        "partially_saturated": 1,
        "saturated": 1,
        "paused": 1,
        "retiring": 1,
    }


def test_what_the_status_page_draws(snapshot: Snapshot) -> None:
    drawn = figures.status(snapshot)
    assert [row["name"] for row in drawn["workers"]] == ["0", "1", "9", "10", "x"]
    row = drawn["workers"][3]
    assert (row["cpu"], row["memory"], row["processing"], row["stored_bytes"]) == (1.5, 7, 5, 30)
    assert (drawn["workers"][2]["cpu"], drawn["workers"][2]["memory"]) == (None, 0)  # before its first heartbeat
    assert [row["prefix"] for row in drawn["tasks"]] == ["many", "few"]
    assert drawn["tasks"][1] == {"prefix": "few", **dict.fromkeys(figures.STATES, 0), "memory": 1}
    assert drawn["counted_ago"] == 3.0
    assert (drawn["totals"]["memory_used"], drawn["totals"]["memory_limit"]) == (28, 500)


def test_however_many_there_are_an_answer_has_its_limit(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "ROWS_MAX", 1)
    drawn = figures.status(snapshot)
    assert (len(drawn["workers"]), len(drawn["tasks"]), drawn["totals"]["workers"]) == (1, 1, 5)


def test_metrics_have_the_names_that_others_know(snapshot: Snapshot) -> None:
    lines = metrics.text(snapshot).splitlines()
    assert "dask_scheduler_clients 2.0" in lines
    assert 'dask_scheduler_workers{state="saturated"} 1.0' in lines
    assert 'dask_scheduler_tasks{state="memory"} 5.0' in lines
    assert 'dask_scheduler_tasks{state="no-worker"} 1.0' in lines
    assert "# TYPE dask_scheduler_tasks gauge" in lines


def test_metrics_without_the_library_say_so(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = metrics.text(snapshot)
    assert text.startswith("# ")
    assert text.count("\n") == 1
    assert "pip install" in text
