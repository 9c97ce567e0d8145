"""The table, as Markdown, from what was measured.

What lives here: wording and layout. What this module must never know: how anything was measured.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import CASES, Case
from benchmarks.systems import TITLES, WORKERS

TIMES, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
UNITS = {"us": "µs", "ms": "ms", "s": "s", "GB/s": "GB/s", "B": "B"}

README_ROWS = [
    *("map_10k", "loop", "latency", "chain", "tree", "array_transpose", "groupby", "join"),
    *("memory", "startup", "import"),
]

Results = dict[str, dict[str, dict[str, Any]]]
"""System, then case, then what the child wrote."""


def number(value: float) -> str:
    """A figure with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def budget(case: Case) -> str:
    """The budget's cell."""
    if case.share is not None:
        return f"≤ {case.share:g} {TIMES} dask"
    return "" if case.budget is None else f"{'≥' if case.is_rate else '≤'} {case.budget:,g}"


def ours(
    case: Case, result: dict[str, Any] | None, dask: dict[str, Any] | None, plain: dict[str, Any] | None = None
) -> str:
    """The cell of windrow: the figure, and whether it is within its budget."""
    if result is None:
        return ""
    if result["value"] is None:
        return str(result["note"])
    mark = {True: " ✓", False: " ✗", None: ""}[case.is_met(result["value"], dask and dask["value"])]
    return f"**{number(result['value'])}**{mark}" + at_size(result) + beside(result, plain)


def beside(result: dict[str, Any], plain: dict[str, Any] | None) -> str:
    """A remark on what encryption costs, where the same was done without it in the same run."""
    if plain is None or not plain["value"]:
        return ""
    ratio = plain["value"] / result["value"] if CASES[result["case"]].is_rate else result["value"] / plain["value"]
    return f" [{TIMES}{number(ratio)} the time without]"


def theirs(case: Case, result: dict[str, Any] | None, windrow: dict[str, Any] | None) -> str:
    """The cell of a peer: the figure, and how many times better windrow does."""
    if result is None:
        return ""
    value = result["value"]
    if value is None:
        return DASH if result["note"] == "not possible" else result["note"]
    cell = number(value) + at_size(result)
    if windrow is None or not windrow["value"] or not value:
        return cell
    ratio = windrow["value"] / value if case.is_rate else value / windrow["value"]
    return f"{cell} ({TIMES}{number(ratio)})"


def at_size(result: dict[str, Any]) -> str:
    """A remark where fewer tasks were run than the row says, or where it does not say how many there are."""
    size, case = result.get("size"), CASES[result["case"]]
    if case.unit == "ms":
        tasks = result.get("tasks")
        return f" [{tasks:,} tasks of {number(result['value'] / tasks * 1e3)} µs]" if tasks else ""
    if size is None or size >= case.size:
        return ""
    return f" [{size >> 20:,} MiB]" if case.is_rate else f" [{size:,} tasks]"


def table(results: Results, names: list[str] | None = None) -> str:
    """The rows that anything was measured for, in the order of the cases."""
    peers = [system for system in TITLES if system in results and system != "windrow"]
    measured = {name for found in results.values() for name in found}
    head = ["work", "unit", "budget", "windrow", *(TITLES[peer] for peer in peers)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * (len(head) - 2)]
    for name, case in CASES.items():
        if name not in measured or (names is not None and name not in names):
            continue
        windrow, dask = (results.get(system, {}).get(name) for system in ("windrow", "distributed"))
        cells = [
            case.title,
            UNITS[case.unit] + " a task" * (case.unit == "us"),
            budget(case),
            ours(case, windrow, dask, results.get("windrow", {}).get(case.against)),
        ]
        cells += [theirs(case, results[peer].get(name), windrow) for peer in peers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def place(facts: dict[str, Any]) -> str:
    """Machine and versions, in a sentence or two."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['date']}, {facts['cores']} cores of {facts['cpu']}, {facts['memory_gib']} GiB, {facts['system']}, "
        f"Python {facts['python']}; {versions}. Load when it began: {facts['load_before']}."
    )


def page(results: Results, facts: dict[str, Any], command: str) -> str:
    """The whole page docs/performance.md."""
    return f"""\
# Performance

This page is written by `{command}`; the same figures, with each repetition, stand in the JSON
file beside it. A figure is the median of the repetitions; ({TIMES}n) says how many times better windrow did than this
peer in the same run: that ratio means more than the figure, which moves with the machine. ✓ and ✗ say whether windrow
is within its budget, which for collections of Dask is a part of what dask.distributed took in the same run.

{place(facts)}

{table(results)}

How it is measured: every system has {WORKERS} workers of one thread, warmed up by a thousand tasks; each group of rows
runs in a fresh process, and the systems take turns, group by group. Tasks do nothing but add (`benchmarks/work.py`). A
system that would need too long for a row runs fewer tasks, as the row says, or none. `ProcessPoolExecutor` knows no
dependencies and keeps no data, so rows that need these are empty, and its gathered array has the making of it in the
time. The memory row is the growth of the process that holds both client and scheduler. The start of a cluster is timed
in a fresh process, after the import.

Collections are computed as a user would, with the client as Dask's default, from the call to the result, Dask's own
making of the graph included; the number of tasks stands in brackets, with what each took of the whole. Chunks and
partitions are small (80 kB, some hundred rows), so that the figure is the engine's. Dataframes are shuffled by tasks on
both sides, but for the row that says otherwise. The row of a large graph is the time until the scheduler knows all of
it, while the workers are kept from running it, less what Dask takes in the same process to make and optimise an equal
graph while the cyclic collector rests; ordering it counts. What Dask takes stands in the JSON file as `dask_ms`.

The rows over TCP and TLS have shared memory and unix sockets turned off: they are what two hosts would see, with
loopback for a network. [{TIMES}n the time without] compares with the same work in the same run without encryption.

The rows of arrays are measured in processes that use their memory again, as they do in a program that goes on: the
first value of a size is copied into pages that nobody has touched, which takes several times as long as the next.

One value for many processes of a host (`python -m benchmarks.readers`): of 1.07 GB that a client scatters, all
processes of a cluster of 8 workers together took 1.002 times the value, the client's own array aside, also while each
worker kept it; sent to each it would be 8 times. Placed it was in 0.8 to 1.0 s (15 s the first time, in fresh pages),
and used by a task on each worker 96 to 131 ms later, with ten other processes at work on the two processors.
A 200 MB array as an argument of `submit` took 0.11 to 0.37 s to the result, for 2.0 to 7.1 s before arguments were
mapped, on the same busy machine (40 to 80 ms of processor time for 450 to 1,560), and is in memory once.

The rows of arrays and that of 100,000 tasks were timed last; the machine then took 1.7 times as long for other rows as
this table says. A worker's first value of 256 MiB misses the budget where the host has to provide its pages first: that
takes 700 to 950 ms here. What the submission of 100,000 tasks takes moves most with what else goes on: six readings of
that evening were 14.8, 15.3, 20.0, 28.7, 33.4 and 39.8 µs a task, beside 140 and 142 for dask.distributed.

To repeat it: `make bench`, or a part: `make bench BENCH_ARGS="--quick --cases map_10k,chain --peers distributed"`.
Where the time goes: `python -m benchmarks.profile map_10k`.
"""


def readme_block(results: Results, facts: dict[str, Any]) -> str:
    """The short table of README.md, between its two markers."""
    return f"{table(results, README_ROWS)}\n\n{place(facts)}"
