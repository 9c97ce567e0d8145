"""``/metrics``: figures in the text format of Prometheus, under the names that dashboards for Dask ask for.

What lives here: names and kinds of the figures. What this file must never know: how they are found.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from windrow import config
from windrow.observe import figures
from windrow.observe.source import Snapshot

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["text", "worker_text"]

MISSING = "# windrow: prometheus_client is not installed here; pip install prometheus_client (or windrow[dashboard])\n"


def text(snapshot: Snapshot) -> str:
    """Return all figures; where prometheus_client is not installed, a line that says so."""
    return _text(_Collector(snapshot))


def worker_text(told: Mapping[str, Any]) -> str:
    """Return the figures of a worker, out of what it tells observers."""
    return _text(_WorkerCollector(told))


def _text(collector: _Collector) -> str:
    if importlib.util.find_spec("prometheus_client") is None:
        return MISSING
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


class _Collector:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        prefix = f"{config.get('distributed.dashboard.prometheus.namespace')}_scheduler"
        snapshot = self._snapshot
        by_state = {**figures.states(snapshot), "no-worker": snapshot.overview["unrunnable"]}
        yield _gauge(f"{prefix}_clients", "Clients that are connected", {"": snapshot.overview["clients"]})
        yield _gauge(f"{prefix}_workers", "Workers by how busy they are", figures.worker_states(snapshot), "state")
        yield _gauge(f"{prefix}_tasks", "Tasks by state", by_state, "state")
        yield _gauge(f"{prefix}_task_groups", "Kinds of tasks", {"": len(snapshot.overview["prefixes"])})


class _WorkerCollector(_Collector):
    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        prefix = f"{config.get('distributed.dashboard.prometheus.namespace')}_worker"
        measured, states = self._told["metrics"], self._told["states"]
        by_state = {
            "executing": measured["executing"],
            "ready": measured["ready"],
            "waiting": states.get("waiting", 0),
            "memory": measured["in_memory"],
        }
        yield _gauge(f"{prefix}_tasks", "Tasks by state", by_state, "state")
        yield _gauge(f"{prefix}_threads", "Threads for tasks", {"": self._told["identity"]["nthreads"]})


def _gauge(name: str, what: str, values: Mapping[str, float], label: str = "") -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, what, labels=[label] if label else [])
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family
