"""One system, one group of cases, one fresh process: ``python -m benchmarks.child SYSTEM OUT CASE…``.

What lives here: warming up, choosing a size that ends in time, repeating, and writing each result as one line of JSON
at once, so that what was measured survives a later hang. What this module must never know: the other systems.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.cases import CASES, Case, fresh, resident_bytes
from benchmarks.systems import MODULES, SYSTEMS, System

SETTLE_S = 0.2
"""Pause before each repetition, in which a system may drop what the last one left."""

REPEATED_PART = 5
"""A collection is not run again once its runs have taken this part of the limit."""


def fitting_size(case: Case, system: System, limit_s: float) -> tuple[int, float]:
    """A size that ends within the limit, and the estimated seconds of the full one."""
    assert case.run is not None
    if case.unit not in {"us", "B"} or case.size <= 300 or case.needs == "collections":
        return case.size, 0.0
    probe = min(max(case.size // 20, 100), 1_000)
    start = time.perf_counter()
    case.run(system, probe)
    estimate_s = (time.perf_counter() - start) / probe * case.size
    if estimate_s <= limit_s:
        return case.size, estimate_s
    return int(case.size * limit_s / estimate_s), estimate_s


def measure(case: Case, system: System, *, quick: bool, limit_s: float) -> dict[str, Any]:
    """Run one case: the median of its repetitions, and what it took to get there."""
    if not case.suits(system):
        return {"case": case.name, "value": None, "note": "not possible"}
    if quick:
        case = shrunk(case)
    assert case.run is not None
    size, estimate_s = fitting_size(case, system, limit_s)
    if size < case.least * case.size:
        return {"case": case.name, "value": None, "note": f"would take {estimate_s:,.0f} s"}
    # A slow system is not asked for the same minute three times.
    repeats = 1 if quick or estimate_s * case.repeats > 2 * limit_s else case.repeats
    if case.needs == "collections":
        case.run(system, max(size // 100, 4))  # workers and client have imported what the collection needs
    values: list[float] = []
    start = time.perf_counter()
    for _ in range(repeats):
        gc.collect()
        time.sleep(SETTLE_S)
        values.append(case.run(system, size))
        if case.needs == "collections" and time.perf_counter() - start > limit_s / REPEATED_PART:
            break
    return {
        "case": case.name,
        "value": statistics.median(values),
        "values": values,
        "size": size,
        "unit": case.unit,
        "resident": resident_bytes(),
        **getattr(values[-1], "facts", {}),
    }


def shrunk(case: Case) -> Case:
    """A case of a tenth of the size, for a first look."""
    import dataclasses

    return dataclasses.replace(case, size=max(case.size // 10, min(case.size, 100)))


def warm_up(system: System) -> None:
    """Every worker has started and imported; every path has run once."""
    system.gather(system.map(work.inc, fresh(1_000)))
    system.result(system.submit(work.inc, fresh(1)[0]))
    if system.takes_futures:
        system.result(system.combine(work.total, [system.submit(work.inc, number) for number in fresh(20)]))


def start_up_s(system: str) -> float:
    """Seconds from asking for a cluster to its first result; the module itself is imported before."""
    __import__(MODULES[system])
    start = time.perf_counter()
    made = SYSTEMS[system]("")
    assert made.result(made.submit(work.inc, 1)) == 2
    seconds = time.perf_counter() - start
    made.close()
    return seconds


def import_s(system: str) -> float:
    """Seconds that importing takes in a fresh interpreter."""
    program = f"import time; start = time.perf_counter(); import {MODULES[system]}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="measure one system (used by python -m benchmarks)")
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--limit", type=float, default=30.0)
    options = parser.parse_args()

    with options.out.open("a", encoding="utf-8") as out:

        def report(result: dict[str, Any]) -> None:
            print(json.dumps(result), file=out, flush=True)

        cases = [CASES[name] for name in options.cases]
        if cases[0].run is None:
            once = import_s if cases[0].name == "import" else start_up_s
            report({"case": cases[0].name, "value": once(options.system), "unit": "s"})
            return
        system = SYSTEMS[options.system](cases[0].over)
        warm_up(system)
        for case in cases:
            try:
                report(measure(case, system, quick=options.quick, limit_s=options.limit))
            except Exception as error:  # the next case may still work, and this one is reported as failed
                report(
                    {"case": case.name, "value": None, "note": "failed", "error": f"{type(error).__name__}: {error}"}
                )
        system.close()


if __name__ == "__main__":
    main()
