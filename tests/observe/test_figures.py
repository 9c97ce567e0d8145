"""Figures of the status page, of JSON and of metrics, out of what the scheduler has said."""

from __future__ import annotations

from typing import Any

import dask
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
        "prefix_bytes": {"many": 90, "few": 9},
        "needed": 3,
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
        "waiting_data": 3,
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


def tallies() -> dict[str, Any]:
    inc = {"made": 9, "forgotten": 4, "started": 8, "count": 5, "erred": 1, "suspected": 2, "seconds": 1.5}
    return {
        "clients": [5, 3],
        "workers": [7, 2],
        "recalled": [6, 0.25],
        "functions": {"inc": inc, "dec": {**dict.fromkeys(inc, 0), "forgotten": 1}},
        "semaphores": [
            {
                "name": 'a "db"',
                "max_leases": 2,
                "active": 1,
                "pending": 3,
                "acquired": 4,
                "released": 3,
                "waited_s": 2.0,
            }
        ],
        "pulse": {"ticks": 40, "tick_max_s": 0.5, "gc_s": 0.125},
    }


def test_metrics_have_the_names_that_others_know(snapshot: Snapshot) -> None:
    lines = metrics.text(snapshot, tallies(), 3).splitlines()
    for line in (
        "dask_scheduler_clients 2.0",
        "dask_scheduler_client_connections_added_total 5.0",
        "dask_scheduler_client_connections_removed_total 3.0",
        "dask_scheduler_desired_workers 3.0",
        'dask_scheduler_workers{state="saturated"} 1.0',
        "dask_scheduler_workers_added_total 7.0",
        "dask_scheduler_workers_removed_total 2.0",
        'dask_scheduler_tasks{state="memory"} 5.0',
        'dask_scheduler_tasks{state="no-worker"} 1.0',
        "dask_scheduler_task_groups 2.0",
        "dask_scheduler_tasks_forgotten_total 5.0",
        'dask_scheduler_tasks_suspicious_total{task_prefix_name="inc"} 2.0',
        'dask_scheduler_tasks_compute_seconds_total{task_prefix_name="inc"} 1.5',
        'dask_scheduler_tasks_output_bytes{task_prefix_name="many"} 90.0',
        'dask_scheduler_prefix_state_totals_total{state="memory",task_prefix_name="inc"} 5.0',
        'dask_scheduler_prefix_state_totals_total{state="forgotten",task_prefix_name="dec"} 1.0',
        "dask_scheduler_gc_collection_seconds_total 0.125",
        "dask_scheduler_tick_count_total 40.0",
        "dask_scheduler_tick_duration_maximum_seconds 0.5",
        "dask_stealing_request_count_total 6.0",
        "dask_stealing_request_cost_total 0.25",
        'dask_semaphore_max_leases{name="a \\"db\\""} 2.0',
        'dask_semaphore_acquire_total{name="a \\"db\\""} 4.0',
        'dask_semaphore_average_pending_lease_time_s{name="a \\"db\\""} 0.5',
        "# TYPE dask_scheduler_tasks gauge",
        "# TYPE dask_scheduler_tasks_forgotten_total counter",
    ):
        assert line in lines


def test_the_namespace_of_metrics_is_a_setting(snapshot: Snapshot) -> None:
    with dask.config.set({"distributed.dashboard.prometheus.namespace": "mine"}):
        text = metrics.text(snapshot, tallies(), 3)
    assert "mine_scheduler_clients 2.0" in text
    assert "dask" not in text


def told_by_a_worker() -> dict[str, Any]:
    once = {"count": 2, "bytes": 300, "seconds": 0.5}
    return {
        "identity": {"nthreads": 4},
        "metrics": {
            "executing": 2.0,
            "ready": 1.0,
            "in_memory": 9.0,
            "on_disk": 4,
            "memory": 1000.0,
            "managed": 600.0,
            "spilled": 70.0,
        },
        "states": {"waiting": 5, "running": 2},
        "transfers": {
            "incoming": 1,
            "incoming_bytes": 10,
            "received": 20,
            "received_bytes": 200,
            "outgoing": 3,
            "sent": 30,
            "sent_bytes": 330,
        },
        "spills": {"disk-write": once, "disk-read": dict.fromkeys(once, 0)},
        "pulse": {"ticks": 40, "tick_max_s": 0.5, "gc_s": 0.125},
    }


def test_a_worker_has_metrics_of_its_own() -> None:
    lines = metrics.worker_text(told_by_a_worker()).splitlines()
    for line in (
        'dask_worker_tasks{state="executing"} 2.0',
        'dask_worker_tasks{state="waiting"} 5.0',
        'dask_worker_tasks{state="memory"} 5.0',
        'dask_worker_tasks{state="disk"} 4.0',
        "dask_worker_threads 4.0",
        'dask_worker_memory_bytes{type="managed"} 600.0',
        'dask_worker_memory_bytes{type="unmanaged"} 400.0',
        'dask_worker_memory_bytes{type="spilled"} 70.0',
        "dask_worker_transfer_incoming_count 1.0",
        "dask_worker_transfer_incoming_bytes 10.0",
        "dask_worker_transfer_incoming_count_total 20.0",
        "dask_worker_transfer_outgoing_count 3.0",
        "dask_worker_transfer_outgoing_count_total 30.0",
        "dask_worker_transfer_outgoing_bytes_total 330.0",
        'dask_worker_spill_bytes_total{activity="disk-write"} 300.0',
        'dask_worker_spill_count_total{activity="disk-read"} 0.0',
        'dask_worker_spill_time_seconds_total{activity="disk-write"} 0.5',
        "dask_worker_tick_count_total 40.0",
    ):
        assert line in lines
