"""Pages and plots that Dask's dashboard has and this one has not: what to look at instead.

What lives here: the table of them, and the page that answers. What this file must never know: how anything is drawn.
"""

from __future__ import annotations

from tornado.web import RequestHandler

from windrow.observe.pages import Page

__all__ = ["ABSENT", "ROUTES"]

_GPU = "windrow does not measure GPUs: nvidia-smi, or the exporter of their maker, does. The processors are here."
_DISK = (
    "windrow does not measure disks. What workers have put there is a line of the memory over time, and how long that "
    "took is in the time per action."
)
_FINE = (
    "There is no table of activities by function and span. Time by what threads did, time by function, and the profile "
    "answer the same questions."
)
_COUNTERS = "Counters of all kinds are for monitors, in the words of Prometheus."

ABSENT: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "gpu": ("GPU", _GPU, ("system", "workers")),
    "individual-gpu-memory": ("GPU memory", _GPU, ("memory",)),
    "individual-gpu-utilization": ("GPU utilization", _GPU, ("individual-cpu",)),
    "individual-rmm-memory": ("RMM memory", _GPU, ("memory",)),
    "individual-workers-disk": ("Disk per worker", _DISK, ("workers", "individual-aggregate-time-per-action")),
    "individual-workers-disk-timeseries": (
        "Disk over time",
        _DISK,
        ("individual-workers-memory-timeseries", "individual-aggregate-time-per-action"),
    ),
    "individual-bandwidth-types": (
        "Bandwidth by type",
        "Transfers are noted by who sent what to whom, and not by the type of what was sent.",
        ("individual-bandwidth-workers", "transfers"),
    ),
    "individual-fine-performance-metrics": (
        "Fine performance metrics",
        _FINE,
        ("individual-aggregate-time-per-action", "individual-compute-time-per-key", "profile"),
    ),
    "shuffle": (
        "Shuffles",
        "A shuffle is made of tasks like all others: how far they are, and what they send each other.",
        ("groups", "transfers", "memory"),
    ),
    "hardware": (
        "Hardware",
        "This page would run a benchmark on the workers. What they do achieve is shown where they work.",
        ("individual-bandwidth-workers", "workers"),
    ),
    "counters": ("Counters", _COUNTERS, ("metrics", "json/counts.json")),
    "individual-counters": ("Counters", _COUNTERS, ("metrics", "json/counts.json")),
}
"""By path: the title, what there is to say, and where to look."""


class Absent(Page):
    """A page that is elsewhere."""

    async def get(self) -> None:
        """Say that it is not there, and where to look; a program that asks hears 404."""
        title, words, instead = ABSENT[self.request.path.removeprefix(self.site.prefix).strip("/")]
        self.set_status(404)
        self.show("absent.html", title, words=words, instead=instead)


ROUTES: dict[str, type[RequestHandler]] = {f"/{path}": Absent for path in ABSENT}
