"""The table of all plots, and that of all pages.

What lives here: names, titles, notes, and which functions make columns of which facts. What this file must never know:
how anything is drawn or computed.
"""

from __future__ import annotations

from windrow.observe.plots import graphs, profiles, stream, tables, tasks, times, workers
from windrow.observe.plots.plot import Boxes, Lines, Network, Page, Plot, Rows

__all__ = ["PAGES", "PLOTS", "individual_plots", "page_of"]

SNAPSHOT = ("snapshot",)
HISTORY = ("snapshot", "history")

STREAM = ("stream", "snapshot")
STATUS_LENGTH = "distributed.scheduler.dashboard.status.task-stream-length"
TASKS_LENGTH = "distributed.scheduler.dashboard.tasks.task-stream-length"
STREAM_NOTE = (
    "Each row is a thread of a worker, each box what it did. Of short tasks only some are shown. Click for the task."
)

_PLOTS = (
    Plot(
        "task-stream",
        "Task Stream",
        STREAM_NOTE,
        STREAM,
        stream.task_stream,
        Boxes("time", flipped=True, stream=STATUS_LENGTH, follow_s=30),
        stream.STREAM_LEGEND,
        height=19,
    ),
    Plot(
        "task-stream-long",
        "Task Stream, long",
        f"{STREAM_NOTE} The wheel zooms, a drag moves.",
        STREAM,
        stream.task_stream,
        Boxes("time", flipped=True, stream=TASKS_LENGTH, follow_s=120, tools="x"),
        stream.STREAM_LEGEND,
        height=36,
    ),
    Plot(
        "aggregate-time-per-action",
        "Time per action",
        "Seconds of threads by what they did, of what the task stream has recorded while somebody looked.",
        STREAM,
        stream.time_per_action,
        Boxes("seconds"),
    ),
    Plot(
        "bandwidth-workers",
        "Bandwidth between workers",
        "From which worker (down) to which (across): the darker, the more bytes a second, while somebody looked.",
        STREAM,
        stream.bandwidth,
        Boxes(),
    ),
    Plot(
        "profile-times",
        "Threads at work over time",
        "How many threads tasks of each prefix took. Choose a range with the pointer: the profile is of that.",
        ("profile",),
        profiles.over_time,
        Boxes("time", gesture="select"),
        height=11,
    ),
    Plot(
        "profile",
        "Profile",
        "Shares of the time of tasks: a box a function, below it what it calls. A click looks closer.",
        ("profile",),
        profiles.flame_graph,
        Boxes("share", texts="inside", flipped=True, tools="xy", gesture="zoom"),
        height=32,
    ),
    Plot(
        "profile-server",
        "Profile of Event Loop",
        "The same of what workers' event loops do beside tasks. A click looks closer.",
        ("profile-server",),
        profiles.server_flame_graph,
        Boxes("share", texts="inside", flipped=True, tools="xy", gesture="zoom"),
        height=32,
    ),
    Plot(
        "progress",
        "Progress",
        "Tasks by prefix and state. A bar is as long as the work; at its end: done, of all.",
        SNAPSHOT,
        tasks.progress,
        Boxes("share", hatched=True, texts="beside"),
        tasks.PROGRESS_LEGEND,
        height=18,
    ),
    Plot(
        "workers-memory",
        "Bytes stored per worker",
        "Memory of each worker's process against its limit. Click for the worker.",
        SNAPSHOT,
        workers.memory,
        Boxes("bytes", hatched=True),
        workers.MEMORY_LEGEND,
    ),
    Plot(
        "cluster-memory",
        "Bytes stored on the cluster",
        "Memory of all workers' processes together, against the sum of their limits.",
        SNAPSHOT,
        workers.cluster_memory,
        Boxes("bytes", hatched=True),
        workers.MEMORY_LEGEND[:2] + workers.MEMORY_LEGEND[4:],
        height=6,
    ),
    Plot(
        "nprocessing",
        "Tasks processing per worker",
        "Tasks that each worker has been sent, running or about to. Click for the worker.",
        SNAPSHOT,
        workers.processing,
        Boxes("count"),
        (("#228833", "threads are all taken"), ("#ddcc77", "some thread is free")),
    ),
    Plot(
        "cpu",
        "CPU per worker",
        "Processor time of each worker, in percent of one processor. Click for the worker.",
        SNAPSHOT,
        workers.cpu,
        Boxes("percent"),
    ),
    Plot(
        "occupancy",
        "Occupancy",
        "Seconds that the tasks of each worker are expected to take. Click for the worker.",
        SNAPSHOT,
        workers.occupancy,
        Boxes("seconds"),
    ),
    Plot(
        "memory-by-key",
        "Memory use per prefix",
        "Size of the results in memory by prefix, each counted once however many workers have it.",
        SNAPSHOT,
        tasks.memory_by_key,
        Boxes("bytes"),
    ),
    Plot(
        "workers",
        "Workers",
        "A click on a heading sorts; a click on a row shows the worker, its logs and call stacks.",
        ("snapshot", "now"),
        tables.workers,
        Rows(tables.WORKER_COLUMNS),
        height=0,
    ),
    Plot(
        "exceptions",
        "Exceptions",
        "Tasks that have raised and are still known, at most 50. A click shows the task.",
        SNAPSHOT,
        tables.exceptions,
        Rows(tables.EXCEPTION_COLUMNS),
        height=0,
    ),
    Plot(
        "logs",
        "Logs of the scheduler",
        "The last records, the newest first.",
        ("logs",),
        tables.logs,
        Rows(tables.LOG_COLUMNS),
        height=0,
    ),
    Plot(
        "graph",
        "Task Graph",
        "Each task, with its inputs to the left; a click shows the task. Of more than 5,000 tasks: their groups.",
        ("graph",),
        graphs.graph,
        Network(),
        graphs.GRAPH_LEGEND,
        height=34,
    ),
    Plot(
        "groups",
        "Task Groups",
        "Tasks of one collection or function together, what they take results of to the left.",
        ("groups",),
        graphs.groups,
        Network(),
        (*graphs.GRAPH_LEGEND[1:4], graphs.GRAPH_LEGEND[5], ("", "the colour of the prefix: all done")),
        height=26,
    ),
    Plot(
        "groups-table",
        "Groups",
        "The largest first; a click on a heading sorts.",
        ("groups",),
        graphs.group_rows,
        Rows(graphs.GROUP_COLUMNS),
        height=0,
    ),
    Plot(
        "events",
        "Events",
        "What was logged on any topic, by the scheduler or by client.log_event; the newest first.",
        ("events",),
        tables.events,
        Rows(tables.EVENT_COLUMNS),
        height=0,
    ),
    Plot(
        "compute-time-per-key",
        "Compute time per function",
        "Seconds of threads that the tasks of each function have taken in the scheduler's life.",
        ("tallies",),
        tasks.compute_time,
        Boxes("seconds"),
    ),
    Plot(
        "group-progress",
        "Threads per prefix over time",
        "How many threads tasks of each prefix took, by samples of what they do; of the last hours.",
        ("profile",),
        profiles.over_time,
        Boxes("time"),
    ),
    Plot(
        "contention",
        "Scheduler: event loop",
        "How late its loop comes to what is due, in the mean and at the longest of late; a tenth of a second is much.",
        ("pulse",),
        times.pulse_over_time,
        Lines("seconds", "seconds late", (("late", "mean", "#4477aa"), ("longest", "longest of late", "#cc3311"))),
    ),
    Plot(
        "scheduler-gc",
        "Scheduler: garbage collection",
        "Share of the time in which its process looks for garbage, and does nothing else.",
        ("pulse",),
        times.pulse_over_time,
        Lines("percent", "garbage", (("gc", "scheduler's process", "#aa3377"),)),
    ),
    Plot(
        "stealing",
        "Tasks that change places",
        "Tasks a second that workers are asked to give back, as others would run them sooner.",
        ("pulse",),
        times.pulse_over_time,
        Lines("count", "tasks a second", (("recalled", "given back", "#4477aa"),)),
    ),
    Plot(
        "workers-network",
        "Network per worker",
        "Bytes a second that each worker receives from others, and sends them. Click for the worker.",
        SNAPSHOT,
        workers.network,
        Boxes("bytes/s"),
        workers.NETWORK_LEGEND,
    ),
    Plot(
        "scheduler-system",
        "Scheduler: CPU",
        "Processor time of its process, in percent of one processor. A LocalCluster's is your program, too.",
        ("system",),
        times.system_over_time,
        Lines("percent", "CPU", (("cpu", "scheduler's process", "#4477aa"),)),
    ),
    Plot(
        "scheduler-memory",
        "Scheduler: memory",
        "Resident memory of the same process.",
        ("system",),
        times.system_over_time,
        Lines("bytes", "memory", (("memory", "scheduler's process", "#4477aa"),)),
    ),
    Plot(
        "scheduler-files",
        "Scheduler: files and threads",
        "Open files and sockets, and threads, of the same process.",
        ("system",),
        times.system_over_time,
        Lines("count", "count", (("files", "open files and sockets", "#4477aa"), ("threads", "threads", "#999933"))),
    ),
    Plot(
        "workers-network-timeseries",
        "Transfers over time",
        "Bytes a second that all workers receive from each other, since this dashboard was first looked at.",
        HISTORY,
        times.cluster_over_time,
        Lines("bytes/s", "bytes a second", (("received", "received", "#4477aa"), ("sent", "sent", "#228833"))),
    ),
    Plot(
        "workers-transfer-bytes",
        "Bytes received per worker",
        "Bytes a second that each worker receives from others. Click for the worker.",
        SNAPSHOT,
        workers.received,
        Boxes("bytes/s"),
    ),
    Plot(
        "tasks-timeseries",
        "Tasks over time",
        "Tasks that the scheduler knows, and those that workers have, since this dashboard was first looked at.",
        HISTORY,
        times.cluster_over_time,
        Lines("count", "tasks", (("tasks", "known", "#4477aa"), ("processing", "processing", "#228833"))),
    ),
    Plot(
        "workers-cpu-timeseries",
        "CPU over time",
        "Processor time of all workers, in percent of one processor, since this dashboard was first looked at.",
        HISTORY,
        times.cluster_over_time,
        Lines("percent", "CPU", (("cpu", "all workers", "#4477aa"),)),
    ),
    Plot(
        "workers-memory-timeseries",
        "Memory over time",
        "Memory of all workers' processes, and the size of results, since this dashboard was first looked at.",
        HISTORY,
        times.cluster_over_time,
        Lines(
            "bytes",
            "memory",
            (
                ("memory", "processes", "#4477aa"),
                ("stored", "results", "#228833"),
                ("spilled", "on disk", "#999933"),
            ),
        ),
    ),
)

PLOTS = {plot.name: plot for plot in _PLOTS}

PAGES = {
    page.path: page
    for page in (
        Page(
            "status",
            "Status",
            (
                ("cluster-memory",),
                ("workers-memory",),
                ("nprocessing", "cpu", "occupancy"),
                ("task-stream",),
                ("progress",),
            ),
            frozenset({0, 3, 4}),
        ),
        Page("workers", "Workers", (("workers",), ("workers-memory",), ("cpu",)), frozenset({0})),
        Page("tasks", "Tasks", (("task-stream-long",),), frozenset({0})),
        Page("profile", "Profile", (("profile-times",), ("profile",)), frozenset({0, 1})),
        Page("profile-server", "Profile of event loops", (("profile-server",),), frozenset({0})),
        Page(
            "memory",
            "Memory",
            (("cluster-memory",), ("workers-memory-timeseries",), ("memory-by-key",), ("workers-memory",)),
            frozenset({0, 1}),
        ),
        Page("graph", "Graph", (("graph",),), frozenset({0})),
        Page("groups", "Groups", (("groups",), ("groups-table",)), frozenset({0, 1})),
        Page(
            "system",
            "System",
            (
                ("scheduler-system",),
                ("scheduler-memory",),
                ("contention", "scheduler-gc", "scheduler-files"),
                ("workers-cpu-timeseries",),
            ),
        ),
        Page(
            "transfers",
            "Transfers",
            (
                ("workers-network-timeseries",),
                ("bandwidth-workers",),
                ("workers-network", "workers-transfer-bytes", "aggregate-time-per-action"),
            ),
            frozenset({0}),
        ),
        Page("stealing", "Balance", (("stealing",), ("nprocessing",), ("occupancy",)), frozenset({0})),
        Page("events", "Events", (("events",),), frozenset({0})),
        Page("exceptions", "Exceptions", (("exceptions",),), frozenset({0})),
        Page("logs", "Logs", (("logs",),), frozenset({0})),
    )
}


def page_of(path: str) -> Page | None:
    """Return what is at a path: a page, or a plot of its own.

    Examples
    --------
    >>> page_of("status").title, page_of("individual-progress").places, page_of("none")
    ('Status', (('progress',),), None)
    """
    if (page := PAGES.get(path)) is not None:
        return page
    plot = PLOTS.get(path.removeprefix("individual-")) if path.startswith("individual-") else None
    return None if plot is None else Page(path, plot.title, ((plot.name,),), frozenset({0}))


def individual_plots() -> dict[str, str]:
    """Return titles and paths of single plots: ``/individual-plots.json``."""
    return {f"Individual {plot.title}": f"/individual-{plot.name}" for plot in _PLOTS}
