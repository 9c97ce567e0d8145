"""``/metrics``: figures in the text format of Prometheus, under the names that dashboards for Dask ask for.

What lives here: names and kinds of the figures. What this file must never know: how they are found.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from windrow import config
from windrow.observe import figures
from windrow.observe.source import Snapshot

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

__all__ = ["MISSING", "is_there", "text", "worker_text"]

MISSING = "# windrow: prometheus_client is not installed here; pip install prometheus_client (or windrow[dashboard])\n"

Values: TypeAlias = float | Mapping[Any, float]
"""One number; or one for each value of a label, or for each tuple of values of several."""


def is_there() -> bool:
    """Say whether prometheus_client is installed."""
    return importlib.util.find_spec("prometheus_client") is not None


def text(snapshot: Snapshot, tallies: Mapping[str, Any], desired: int) -> str:
    """Return all figures.

    Parameters
    ----------
    snapshot, tallies
        What the scheduler has said.
    desired
        How many workers the work at hand asks for.
    """
    return _text(lambda: _of_scheduler(snapshot, tallies, desired))


def worker_text(told: Mapping[str, Any]) -> str:
    """Return the figures of a worker, out of what it tells observers."""
    return _text(lambda: _of_worker(told))


def _text(families: Any) -> str:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(families()))
    return generate_latest(registry).decode()


class _Collector:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families


def _prefix(party: str) -> str:
    return f"{config.get('distributed.dashboard.prometheus.namespace')}_{party}"


# ---------------------------------------------------------------- the scheduler


def _of_scheduler(snapshot: Snapshot, tallies: Mapping[str, Any], desired: int) -> Iterator[Metric]:
    prefix, overview = _prefix("scheduler"), snapshot.overview
    by_state, stranded = figures.states(snapshot), overview["unrunnable"]
    by_state |= {"queued": max(0, by_state["queued"] - stranded), "no-worker": stranded}
    (clients_added, clients_removed), (workers_added, workers_removed) = tallies["clients"], tallies["workers"]
    yield _gauge(f"{prefix}_clients", "Clients that are connected", overview["clients"])
    yield _counter(f"{prefix}_client_connections_added", "Clients that have come", clients_added)
    yield _counter(f"{prefix}_client_connections_removed", "Clients that have gone", clients_removed)
    yield _gauge(f"{prefix}_desired_workers", "Workers that the work at hand asks for", desired)
    yield _gauge(f"{prefix}_workers", "Workers by how busy they are", figures.worker_states(snapshot), "state")
    yield _counter(f"{prefix}_workers_added", "Workers that have come", workers_added)
    yield _counter(f"{prefix}_workers_removed", "Workers that have gone", workers_removed)
    yield _gauge(f"{prefix}_tasks", "Tasks by state", by_state, "state")
    yield _gauge(f"{prefix}_task_groups", "Kinds of tasks", len(overview["prefixes"]))
    sizes = overview["prefix_bytes"]
    yield _gauge(f"{prefix}_tasks_output_bytes", "Results in memory", sizes, "task_prefix_name")
    yield from _of_functions(prefix, tallies["functions"])
    yield from _of_pulse(prefix, tallies["pulse"])
    yield from _of_recalls(tallies["recalled"])
    yield from _of_semaphores(tallies["semaphores"])


def _of_functions(prefix: str, functions: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    def each(fact: str) -> dict[str, float]:
        return {name: totals[fact] for name, totals in functions.items()}

    label = "task_prefix_name"
    forgotten = sum(each("forgotten").values())
    yield _counter(f"{prefix}_tasks_forgotten", "Tasks that nobody needed any more", forgotten)
    yield _counter(f"{prefix}_tasks_suspicious", "Deaths that tasks are blamed for", each("suspected"), label)
    yield _counter(f"{prefix}_tasks_compute_seconds", "Time that tasks have run", each("seconds"), label)
    moves = {
        (name, state): totals[fact]
        for name, totals in functions.items()
        for state, fact in (
            ("processing", "started"),
            ("memory", "count"),
            ("erred", "erred"),
            ("forgotten", "forgotten"),
        )
    }
    yield _counter(f"{prefix}_prefix_state_totals", "Moves of tasks into a state", moves, label, "state")


def _of_recalls(recalled: tuple[int, float]) -> Iterator[Metric]:
    prefix = _prefix("stealing")
    yield _counter(f"{prefix}_request_count", "Tasks that workers were asked to give back", recalled[0])
    yield _counter(f"{prefix}_request_cost", "Seconds that these were expected to take", recalled[1])


def _of_semaphores(semaphores: list[dict[str, Any]]) -> Iterator[Metric]:
    prefix = _prefix("semaphore")

    def each(fact: str) -> dict[str, float]:
        return {semaphore["name"]: semaphore[fact] for semaphore in semaphores}

    waits = {each["name"]: each["waited_s"] / max(1, each["acquired"]) for each in semaphores}
    yield _gauge(f"{prefix}_max_leases", "Leases that may be out at once", each("max_leases"), "name")
    yield _gauge(f"{prefix}_active_leases", "Leases that are out", each("active"), "name")
    yield _gauge(f"{prefix}_pending_leases", "Who waits for a lease", each("pending"), "name")
    yield _counter(f"{prefix}_acquire", "Leases that were given out", each("acquired"), "name")
    yield _counter(f"{prefix}_release", "Leases that came back", each("released"), "name")
    yield _gauge(f"{prefix}_average_pending_lease_time_s", "How long a lease was waited for", waits, "name")


def _of_pulse(prefix: str, pulse: Mapping[str, float]) -> Iterator[Metric]:
    yield _counter(f"{prefix}_gc_collection_seconds", "Time of the garbage collector, while looked at", pulse["gc_s"])
    yield _counter(f"{prefix}_tick_count", "Turns of the event loop's clock, while looked at", pulse["ticks"])
    longest = "The longest time between two of these turns, of late"
    yield _gauge(f"{prefix}_tick_duration_maximum_seconds", longest, pulse["tick_max_s"])


# ---------------------------------------------------------------- a worker


def _of_worker(told: Mapping[str, Any]) -> Iterator[Metric]:
    prefix = _prefix("worker")
    measured, states, transfers = told["metrics"], told["states"], told["transfers"]
    by_state = {
        "executing": measured["executing"],
        "ready": measured["ready"],
        "waiting": states.get("waiting", 0),
        "memory": measured["in_memory"] - measured["on_disk"],
        "disk": measured["on_disk"],
    }
    memory = {
        "managed": measured["managed"],
        "unmanaged": max(0.0, measured["memory"] - measured["managed"]),
        "spilled": measured["spilled"],
    }
    yield _gauge(f"{prefix}_tasks", "Tasks by state", by_state, "state")
    yield _gauge(f"{prefix}_threads", "Threads for tasks", told["identity"]["nthreads"])
    yield _gauge(f"{prefix}_memory_bytes", "Memory by what it is for", memory, "type")
    for name, what, fact in _TRANSFERS:
        yield _gauge(f"{prefix}_transfer_{name}", what, transfers[fact])
    for name, what, fact in _TRANSFER_TOTALS:
        yield _counter(f"{prefix}_transfer_{name}", what, transfers[fact])
    for fact, unit in (("bytes", "bytes"), ("count", "count"), ("seconds", "time_seconds")):
        spills = {activity: counted[fact] for activity, counted in told["spills"].items()}
        yield _counter(f"{prefix}_spill_{unit}", "Values that went to disk, or came back", spills, "activity")
    yield from _of_pulse(prefix, told["pulse"])


_TRANSFERS = (
    ("incoming_count", "Questions to others that have no answer yet", "incoming"),
    ("incoming_bytes", "What these are to bring", "incoming_bytes"),
    ("outgoing_count", "Answers to others that are under way", "outgoing"),
)
_TRANSFER_TOTALS = (
    ("incoming_count", "Values that came from others", "received"),
    ("incoming_bytes", "Their size", "received_bytes"),
    ("outgoing_count", "Values that went to others", "sent"),
    ("outgoing_bytes", "Their size", "sent_bytes"),
)


# ---------------------------------------------------------------- kinds of figures


def _gauge(name: str, what: str, values: Values, *labels: str) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _fill(GaugeMetricFamily(name, what, labels=labels), values)


def _counter(name: str, what: str, values: Values, *labels: str) -> Metric:
    """Return a counter; ``_total`` is put behind its name."""
    from prometheus_client.core import CounterMetricFamily

    return _fill(CounterMetricFamily(name, what, labels=labels), values)


def _fill(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    if not isinstance(values, Mapping):
        family.add_metric([], values)
        return family
    for key, value in values.items():
        family.add_metric(key if isinstance(key, tuple) else [key], value)
    return family
