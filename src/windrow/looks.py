"""How things look in a notebook: facts and tables as HTML that needs nothing else.

What lives here: pieces of HTML, and what is drawn of a scheduler and its workers. What this file must never know: where
the facts come from.

There is no colour, font, script or image in it. All that is inherited from the page around it, so that it is right in
dark and in light, and where a page may load nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Html", "anchor", "bytes_in_words", "card", "escape", "facts", "folded", "scheduler", "table", "workers"]

WORKERS_MAX = 20
"""So many workers are in a table."""

_LEFT = ' style="text-align: left"'


class Html(str):
    """Text that is HTML, and not to be escaped."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Return a value as it stands in HTML; what is HTML already stays as it is.

    Examples
    --------
    >>> escape("<b>"), escape(Html("<b>")), escape(7)
    ('&lt;b&gt;', '<b>', '7')
    """
    if isinstance(value, Html):
        return value
    import html  # its table of entities is not for those who only start a cluster

    return Html(html.escape(str(value)))


def bytes_in_words(count: int) -> str:
    """Return a size as people read it.

    Examples
    --------
    >>> bytes_in_words(3 * 2**20)
    '3.00 MiB'
    """
    size = float(count)
    for unit in ("B", "kiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.2f} {unit}" if unit != "B" else f"{count} B"


def anchor(link: str) -> Html:
    """Return a link; only of a kind that a page may have, whatever the template of the configuration says.

    Examples
    --------
    >>> anchor("javascript:alert(1)"), anchor("/proxy/8787/status")[:26]
    ('javascript:alert(1)', '<a href="/proxy/8787/statu')
    """
    if not link.startswith(("http://", "https://", "/")):
        return escape(link)
    # JupyterLab takes colour and line from links in widgets
    attributes = f'href="{escape(link)}" target="_blank" rel="noreferrer" style="text-decoration: underline"'
    return Html(f"<a {attributes}>{escape(link)}</a>")


def facts(rows: Mapping[str, object]) -> Html:
    """Return a table of facts, one a row.

    Examples
    --------
    >>> facts({"Key": "<x>"}).count("&lt;x&gt;")
    1
    """
    cells = "".join(f"<tr><th{_LEFT}>{escape(name)}</th>{_cell(value)}</tr>" for name, value in rows.items())
    return Html(f"<table><tbody>{cells}</tbody></table>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table with a head."""
    head = "".join(_cell(column, "th") for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def folded(summary: object, body: str) -> Html:
    """Return what shows when its summary is clicked; the body is HTML."""
    return Html(f"<details><summary>{escape(summary)}</summary>{body}</details>")


def card(kind: str, name: object, rows: Mapping[str, object], *more: str) -> Html:
    """Return one thing: what it is, its facts, and more HTML.

    Examples
    --------
    >>> card("Future", "inc-1", {"Status": "pending"}).startswith('<div class="windrow"><p><b>Future</b> inc-1</p>')
    True
    """
    head = f"<p><b>{escape(kind)}</b> {escape(name)}</p>"
    return Html(f'<div class="windrow">{head}{facts(rows)}{"".join(more)}</div>')


# ---------------------------------------------------------------- a scheduler and its workers


def memory_in_words(workers: Iterable[Mapping[str, Any]]) -> str:
    """Return the workers' memory together; "" where there are none, or one of them has no limit.

    Examples
    --------
    >>> memory_in_words([{"memory_limit": 2**30}, {"memory_limit": 2**30}]), memory_in_words([{"memory_limit": 0}])
    ('2.00 GiB', '')
    """
    limits = [worker.get("memory_limit") or 0 for worker in workers]
    return bytes_in_words(sum(limits)) if limits and all(limits) else ""


def totals(info: Mapping[str, Any]) -> dict[str, object]:
    """Return rows of what a scheduler's workers are together, out of its description of itself."""
    present: Mapping[str, Mapping[str, Any]] = info.get("workers", {})
    count = max(len(present), info.get("n_workers", 0))
    return {
        "Workers": count,
        "Threads": max(info.get("total_threads", 0), sum(worker["nthreads"] for worker in present.values())),
        "Memory": memory_in_words(present.values()) or ("no limit" if present else "0 B"),
    }


def workers(info: Mapping[str, Any], most: int = WORKERS_MAX) -> Html:
    """Return a folded table of workers, out of their scheduler's description of itself."""
    present: Mapping[str, Mapping[str, Any]] = info.get("workers", {})
    columns = ("Name", "Address", "Status", "Threads", "Memory", "Process", "Directory")
    rows = [_worker_row(address, worker) for address, worker in list(present.items())[:most]]
    count = max(len(present), info.get("n_workers", 0))
    rest = f"<p>and {count - len(rows)} more</p>" if count > len(rows) else ""
    return folded(f"Workers ({count})", table(columns, rows) + rest)


def scheduler(info: Mapping[str, Any], most: int = WORKERS_MAX) -> Html:
    """Return a scheduler and its workers, out of its description of itself."""
    rows: dict[str, object] = {}
    if info.get("dashboard_link"):
        rows["Dashboard"] = anchor(str(info["dashboard_link"]))
    if info.get("started"):
        import time

        rows["Started"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info["started"]))
    return card("Scheduler", info.get("address", ""), {**rows, **totals(info)}, workers(info, most))


def _worker_row(address: str, worker: Mapping[str, Any]) -> list[object]:
    limit = worker.get("memory_limit")
    return [
        worker.get("name", ""),
        address,
        worker.get("status", ""),
        worker["nthreads"],
        bytes_in_words(limit) if limit else "no limit",
        worker.get("pid", ""),
        worker.get("local_directory", ""),
    ]


def _cell(content: object, tag: str = "td") -> str:
    return f"<{tag}{_LEFT}>{escape(content)}</{tag}>"
