"""``python -m benchmarks``: run the cases on every system that is here, and write the table.

What lives here: the command line, the order of the runs, and the time limit of each. What this module must never
know: how a system is driven, or how a cell is worded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.machine import facts
from benchmarks.systems import ROOT, SYSTEMS, TITLES, is_installed

MARKS = ("<!-- figures: written by python -m benchmarks -->", "<!-- end of figures -->")

COLLECTIONS = {case.group for case in CASES.values() if case.needs == "collections"}
NETWORK = {case.group for case in CASES.values() if case.over}
LEFT_OUT = {
    "pool": {"graph", "memory", "import", *NETWORK, *COLLECTIONS},  # nothing there that a pool could do
    "ray": {"memory", *NETWORK, *COLLECTIONS},  # Ray keeps its tasks in processes of its own
}
"""Groups that a system is not started for."""


def names_of(text: str, known: dict[str, Any], what: str) -> list[str]:
    """A comma-separated list, checked against what there is."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown {what}: {', '.join(unknown)}; there are: {', '.join(known)}")
    return names


def run_child(system: str, cases: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One group on one system in a fresh process; what it measured before it ended or was ended."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder, "out.jsonl"), Path(folder, "stderr")
        command = [sys.executable, "-m", "benchmarks.child", system, str(out), *cases, "--limit", str(options.limit)]
        command += ["--quick"] * options.quick
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # windrow is not installed as peers are, with its bytecode
        with errors.open("wb") as stderr:
            child = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
            )
            note = "failed"
            try:
                child.wait(timeout=options.timeout)
            except subprocess.TimeoutExpired:
                note = "timed out"
            finally:  # whatever the system leaves behind must not disturb the next one
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        found = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        missing = [case for case in cases if case not in {result["case"] for result in found}]
        if missing:
            tail = errors.read_text(errors="replace").strip().splitlines()[-3:]
            error = f"exit code {child.returncode}: " + " / ".join(tail)
            found += [{"case": case, "value": None, "note": note, "error": error} for case in missing]
        return found


def run_group(system: str, cases: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A group, repeated here where each repetition needs a process of its own."""
    case = CASES[cases[0]]
    if case.run is not None:
        return run_child(system, cases, options)
    results = [run_child(system, cases, options)[0] for _ in range(1 if options.quick else case.repeats)]
    values = [result["value"] for result in results if result["value"] is not None]
    if len(values) < len(results):
        return [result for result in results if result["value"] is None][:1]
    return [{"case": case.name, "value": statistics.median(values), "values": values, "unit": case.unit}]


def run_all(options: argparse.Namespace) -> report.Results:
    """Every group on every system, the systems taking turns."""
    results: report.Results = {system: {} for system in options.systems}
    for group in dict.fromkeys(CASES[name].group for name in options.cases):
        cases = [name for name in options.cases if CASES[name].group == group]
        for system in options.systems:
            if group in LEFT_OUT.get(system, ()):
                continue
            for result in run_group(system, cases, options):
                results[system][result["case"]] = result
                value = result["value"]
                shown = f"{report.number(value)} {CASES[result['case']].unit}" if value is not None else result["note"]
                print(f"{TITLES[system]:20} {result['case']:13} {shown} {result.get('error', '')}", file=sys.stderr)
    return results


def write(results: report.Results, about: dict[str, Any], options: argparse.Namespace) -> None:
    """The page, the JSON beside it, and the short table of the README where asked for."""
    command = "python -m benchmarks " + " ".join(sys.argv[1:])
    if options.update:
        before = json.loads(options.output.with_suffix(".json").read_text(encoding="utf-8"))
        results = {system: {**rows, **results.get(system, {})} for system, rows in before["results"].items()}
        command = f"{before['command']}` and, some rows again, `{command}"
    page = report.page(results, about, command.strip())
    if options.output is None:
        print(page)
    else:
        options.output.write_text(page, encoding="utf-8")
        raw = {"command": command.strip(), "machine": about, "results": results}
        options.output.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        before, opening, rest = text.partition(MARKS[0])
        _, closing, after = rest.partition(MARKS[1])
        if not (opening and closing):
            raise SystemExit(f"{options.readme} lacks the marks {MARKS}; put them where the table is to stand")
        block = report.readme_block(results, about)
        options.readme.write_text(f"{before}{opening}\n{block}\n{closing}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", help=f"some of: {', '.join(CASES)}, or of the groups of cases", default="all")
    parser.add_argument(
        "--peers", help=f"some of: {', '.join(list(SYSTEMS)[1:])}; 'none' for windrow alone", default="all"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, one repetition: a first look")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the page here and FILE.json beside it")
    parser.add_argument("--update", action="store_true", help="keep the rows of FILE.json that are not measured now")
    parser.add_argument("--readme", type=Path, metavar="README.md", help="replace the short table in this file")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds that one repetition of a row may take (30)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that a group may take before it is ended")
    options = parser.parse_args()
    groups = {case.group: case for case in CASES.values()}
    wanted = list(CASES) if options.cases == "all" else names_of(options.cases, {**CASES, **groups}, "case")
    options.cases = [name for name, case in CASES.items() if name in wanted or case.group in wanted]
    peers = {name: None for name in SYSTEMS if name != "windrow"}
    if options.peers == "all":
        chosen = [name for name in peers if is_installed(name)]
    else:
        chosen = [] if options.peers == "none" else names_of(options.peers, peers, "peer")
    options.systems = ["windrow", *chosen]
    about = facts()
    write(run_all(options), about, options)


if __name__ == "__main__":
    main()
