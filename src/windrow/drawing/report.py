"""A report of a run: one HTML file that needs nothing else to be read.

What lives here: `Report` (what goes into one) and `render`. What this file must never know: where that comes from.

With Bokeh its figures can be moved and zoomed, and BokehJS is written into the file; without, they are pictures that
explain what the pointer is over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from msgspec import Struct

from windrow.drawing import figures, flame, stream, svg
from windrow.drawing.boxes import in_bytes, in_seconds
from windrow.wire.activity import ERRED

__all__ = ["Report", "render"]

Series = dict[str, tuple[list[float], list[float]]]

LOGS_MAX = 1000


class Report(Struct, kw_only=True):
    """What is known of a run."""

    title: str = "windrow: performance report"
    when: str
    """When it was, in words."""
    seconds: float
    code: str
    """The program's text around it."""
    rows: dict[str, Any]
    """The task stream (``scheduler.recording.rows``)."""
    lost: int = 0
    """How many older rows of the run were not kept."""
    profiles: dict[str, dict[str, Any]]
    """Trees (`windrow.sampling.described`), by what they are of."""
    series: dict[str, tuple[str, Series]]
    """Lines over time: (unit, lines) by title."""
    workers: list[dict[str, Any]]
    facts: list[tuple[str, str]]
    """What it ran on, and with."""
    logs: list[tuple[str, str]]
    """Of the scheduler: (level, text), the newest first."""


STYLE = """
:root { color-scheme: light; --ink: #1c2128; --soft: #5b6470; --line: #dde1e6; --back: #ffffff; }
body { margin: 0 auto; max-width: 76rem; padding: 0 1rem 4rem; color: var(--ink); background: var(--back);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 1.5rem 0 0; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; scroll-margin-top: 4rem; }
nav { position: sticky; top: 0; z-index: 9; background: var(--back); padding: .6rem 0;
  border-bottom: 1px solid var(--line); }
nav a { display: inline-block; margin-right: 1rem; }
a { color: #2b5c9e; text-decoration: none; }
p { color: var(--soft); margin: .3rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { font: 12px/1.45 ui-monospace, monospace; background: #f5f7f9; padding: .8rem; overflow-x: auto; }
svg .inside { font: 10px system-ui, sans-serif; fill: #ffffff; pointer-events: none; }
"""


def render(report: Report, mode: str | None = None) -> str:
    """Return the page.

    Parameters
    ----------
    report
        What is in it.
    mode
        Where BokehJS comes from: ``"inline"`` (the default), or ``"cdn"``, which makes the file smaller.

    Examples
    --------
    >>> rows = {name: [] for name in ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds")}
    >>> report = Report(
    ...     when="today", seconds=1.0, code="", rows={**rows, "nbytes": [], "addresses": []}, profiles={}, series={},
    ...     workers=[], facts=[("Python", "3.11")], logs=[],
    ... )
    >>> "<h2 id='summary'>Summary</h2>" in render(report)
    True
    """
    drawn = Drawn()
    sections = _sections(report, drawn)
    nav = "".join(f"<a href='#{_id(name)}'>{escape(name)}</a>" for name, _ in sections)
    body = "".join(f"<h2 id='{_id(name)}'>{escape(name)}</h2>{content}" for name, content in sections)
    head, scripts = drawn.scripts(mode)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(report.title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style>{head}</head>"
        f"<body><h1>{escape(report.title)}</h1><p>{escape(report.when)}</p><nav>{nav}</nav>{body}{scripts}</body>"
        "</html>\n"
    )


class Drawn:
    """The figures of a page: Bokeh's, or pictures where that is not installed."""

    def __init__(self) -> None:
        self.with_bokeh = figures.is_there()
        self._roots: list[Any] = []

    def figure(self, figure: Any) -> str:
        """Return what stands in the page for a figure of Bokeh's."""
        self._roots.append(figure)
        return f"<div id='figure-{len(self._roots) - 1}'></div>"

    def scripts(self, mode: str | None) -> tuple[str, str]:
        """Return what belongs to the head of the page, and to its end."""
        if not self._roots:
            return "", ""
        from bokeh.embed import json_item

        # "</" would end the script, wherever it stands.
        data = json.dumps([json_item(root) for root in self._roots]).replace("</", "<\\/")
        start = f"{data}.forEach((item, number) => Bokeh.embed.embed_item(item, `figure-${{number}}`));"
        return figures.resources_of(mode).render(), f"<script>{start}</script>"


def _id(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")


def _sections(report: Report, drawn: Drawn) -> list[tuple[str, str]]:
    sections = [("Summary", _summary(report)), ("Task Stream", _stream(report, drawn))]
    for name, tree in report.profiles.items():
        sections.append((name, _flame(tree, drawn)))
    sections.append(("Bandwidth", _bandwidth(report.rows)))
    sections.append(("System", _system(report, drawn)))
    lines = "\n".join(f"{level:8} {text}" for level, text in report.logs[:LOGS_MAX])
    sections.append(("Scheduler Logs", f"<pre>{escape(lines)}</pre>" if lines else "<p>There are none.</p>"))
    sections.append(("Code", f"<pre>{escape(report.code)}</pre>" if report.code else "<p>It has no source file.</p>"))
    return sections


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; numbers, and what stands below the head of a column of numbers, are to the right."""
    right = [all(isinstance(row[place], int | float | Right) for row in rows) for place in range(len(heads))]

    def cell(tag: str, value: object, place: int) -> str:
        return f"<{tag}{' class=number' if right[place] else ''}>{escape(str(value))}</{tag}>"

    top = "".join(cell("th", head, place) for place, head in enumerate(heads))
    body = "".join(f"<tr>{''.join(cell('td', value, place) for place, value in enumerate(row))}</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{top}</tr>{body}</table></div>"


class Right(str):
    """A figure with its unit."""


def _summary(report: Report) -> str:
    rows, found = report.rows, stream.sums(report.rows)
    computed = {name: sum_ for name, sum_ in found.items() if not name.startswith("(")}
    count, busy_s = sum(n for n, _ in computed.values()), sum(seconds for _, seconds in computed.values())
    erred = sum(kind == ERRED for kind in rows["kinds"])
    threads = sum(worker["nthreads"] for worker in report.workers)
    share = busy_s / (report.seconds * threads) if threads and report.seconds else 0.0
    facts = [
        ("Duration", in_seconds(report.seconds)),
        ("Tasks", f"{count:,}" + (f", of which {erred:,} raised" if erred else "")),
        ("Time in tasks", f"{in_seconds(busy_s)}: {share:.0%} of what {threads} threads could do"),
        ("Workers", f"{len(report.workers)}"),
        *report.facts,
    ]
    lost = f"<p>{report.lost:,} older rows are not shown: no more are kept.</p>" if report.lost else ""
    kinds = [
        (name, n, Right(in_seconds(total)), Right(in_seconds(total / n)), Right(f"{total / (busy_s or 1):.1%}"))
        for name, (n, total) in found.items()
    ]
    table = _table(("what", "times", "in all", "each", "of the time in tasks"), kinds)
    return _table(("", ""), facts).replace("<tr><th></th><th></th></tr>", "") + lost + (table if kinds else "")


def _stream(report: Report, drawn: Drawn) -> str:
    lanes = stream.Lanes(report.rows)
    columns = stream.boxes_of(report.rows, lanes)
    legend = (
        "<p>A box is a task, in the colour of its kind; black raised. Red is a transfer, orange disk, grey loading.</p>"
    )
    if not columns["left"]:
        return "<p>No task ran.</p>"
    if drawn.with_bokeh:
        return legend + drawn.figure(figures.stream(columns, lanes.names()))
    return legend + svg.stream(columns, lanes.names())


def _flame(tree: Mapping[str, Any], drawn: Drawn) -> str:
    if not tree["count"]:
        return "<p>Nothing was seen.</p>"
    columns = flame.boxes_of(tree)
    return drawn.figure(figures.flame(columns, "")) if drawn.with_bokeh else svg.flame(columns)


def _bandwidth(rows: Mapping[str, Any]) -> str:
    moved = [
        (source, target, n, Right(in_bytes(size)), Right(f"{in_bytes(int(size / (seconds or 1)))}/s"))
        for (source, target), (n, size, seconds) in stream.transfers(rows).items()
    ]
    return _table(("from", "to", "transfers", "moved", "at"), moved) if moved else "<p>Nothing was moved.</p>"


def _system(report: Report, drawn: Drawn) -> str:
    parts = []
    for title, (unit, series) in report.series.items():
        if drawn.with_bokeh:
            parts.append(drawn.figure(figures.lines(series, title, unit)))
        else:
            parts.append(f"<p>{escape(title)}</p>{svg.lines(series, unit)}")
    workers = [
        (
            worker["name"],
            worker["address"],
            worker["host"],
            worker["nthreads"],
            Right(in_bytes(worker["memory"])),
            Right(in_bytes(worker["memory_limit"]) if worker["memory_limit"] else "no limit"),
        )
        for worker in report.workers
    ]
    heads = ("worker", "address", "host", "threads", "memory", "of")
    return "".join(parts) + (_table(heads, workers) if workers else "<p>There was no worker.</p>")
