"""Figures out of a snapshot, in the forms that pages, JSON and metrics have in common.

What lives here: pure functions of a `Snapshot`. What this file must never know: HTTP, and where a snapshot comes from.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from windrow.observe.source import Snapshot

__all__ = ["STATES", "bytes_text", "counts", "states", "status", "worker_rows", "worker_states"]

STATES = ("released", "waiting", "queued", "processing", "memory", "erred")
"""The states of tasks, in the order of a task's life."""

ROWS_MAX = 500
"""So many workers, and so many kinds of tasks, are in one answer."""


def states(snapshot: Snapshot) -> dict[str, int]:
    """Return how many tasks are in each state, by the last count."""
    total = dict.fromkeys(STATES, 0)
    for by_state in snapshot.overview["prefixes"].values():
        for state, count in by_state.items():
            total[state] = total.get(state, 0) + count
    return total


def counts(snapshot: Snapshot) -> dict[str, int]:
    """Return the figures of ``/json/counts.json``."""
    overview, workers = snapshot.overview, snapshot.identity["workers"].values()
    by_state = states(snapshot)
    loads = worker_states(snapshot)
    return {
        "bytes": overview["bytes"],
        "clients": overview["clients"],
        "cores": sum(worker["nthreads"] for worker in workers),
        "erred": by_state["erred"],
        "hosts": len({worker["host"] for worker in workers}),
        "idle": loads["idle"],
        "memory": by_state["memory"],
        "processing": by_state["processing"],
        "queued": by_state["queued"],
        "released": by_state["released"],
        "saturated": loads["saturated"],
        "tasks": overview["tasks"],
        "unrunnable": overview["unrunnable"],
        "waiting": by_state["waiting"],
        "waiting_data": overview["needed"],
        "workers": len(workers),
    }


def worker_states(snapshot: Snapshot) -> dict[str, int]:
    """Return how many workers are idle, partially saturated, saturated, paused, retiring."""
    found = Counter(
        _load(worker, snapshot.overview["workers"].get(address, {}))
        for address, worker in snapshot.identity["workers"].items()
    )
    return {name: found[name] for name in ("idle", "partially_saturated", "saturated", "paused", "retiring")}


def _load(worker: dict[str, Any], counted: dict[str, Any]) -> str:
    if worker["status"] == "paused":
        return "paused"
    if worker["status"] != "running":
        return "retiring"
    if counted.get("idle", True):
        return "idle"
    return "saturated" if counted.get("saturated") else "partially_saturated"


def worker_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return a row a worker, in the order of their names: 2 before 10."""
    rows = [
        {
            "address": address,
            "name": str(worker["name"]),
            "host": worker["host"],
            "pid": worker["pid"],
            "status": worker["status"],
            "nthreads": worker["nthreads"],
            "cpu": snapshot.cpu.get(address),
            "memory": int(worker["metrics"].get("memory", 0)),
            "memory_limit": worker["memory_limit"],
            "managed": int(worker["metrics"].get("managed", 0)),
            "spilled": int(worker["metrics"].get("spilled", 0)),
            "unmanaged_old": int(worker["metrics"].get("unmanaged_old", 0)),
            "executing": int(worker["metrics"].get("executing", 0)),
            "last_seen": worker["last_seen"],
            "resources": worker["resources"],
            "local_directory": worker["local_directory"],
            "dashboard_link": worker["dashboard_link"],
            "processing": 0,
            "stored": 0,
            "stored_bytes": 0,
            "occupancy": 0.0,
            **{
                name: value for name, value in snapshot.overview["workers"].get(address, {}).items() if name in _COUNTED
            },
        }
        for address, worker in snapshot.identity["workers"].items()
    ]
    return sorted(rows, key=lambda row: (len(row["name"]), row["name"]) if row["name"].isdigit() else (99, row["name"]))


_COUNTED = frozenset({"processing", "stored", "stored_bytes", "occupancy"})


def status(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the status page draws: ``/json/status.json``."""
    identity, overview = snapshot.identity, snapshot.overview
    workers = worker_rows(snapshot)
    kinds = sorted(overview["prefixes"].items(), key=lambda kind: -sum(kind[1].values()))
    return {
        "address": identity["address"],
        "id": identity["id"],
        "started": identity["started"],
        "totals": {
            **counts(snapshot),
            "memory_used": sum(row["memory"] for row in workers),
            "memory_limit": identity["total_memory"],
            "cpu": sum(snapshot.cpu.values()),
        },
        "counted_ago": None if overview["counted"] is None else overview["now"] - overview["counted"],
        "workers": workers[:ROWS_MAX],
        "tasks": [_task_row(prefix, found) for prefix, found in kinds[:ROWS_MAX]],
    }


def _task_row(prefix: str, found: dict[str, int]) -> dict[str, Any]:
    return {"prefix": prefix, **{state: found.get(state, 0) for state in STATES}}


def bytes_text(count: float) -> str:
    """Return a size for people.

    Examples
    --------
    >>> bytes_text(0), bytes_text(1536), bytes_text(3 * 2**30)
    ('0 B', '1.5 KiB', '3.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
