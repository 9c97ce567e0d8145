"""How a cluster looks: its text, its table in a notebook, its logs.

What lives here: `Log`, `Logs`, and functions from plain facts to text and HTML. What this file must never know:
clusters, and how the facts were got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from windrow.client.report import bytes_in_words

__all__ = ["Log", "Logs", "as_html", "as_text"]


def escape(text: str) -> str:
    """Return text as it stands in HTML.

    Examples
    --------
    >>> escape("<b>")
    '&lt;b&gt;'
    """
    import html  # its table of entities is not for those who only start a cluster

    return html.escape(text)


class Log(str):
    """Lines of a log, newest first.

    Examples
    --------
    >>> Log("it <broke>")._repr_html_()
    '<pre><code>it &lt;broke&gt;</code></pre>'
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<pre><code>{escape(self)}</code></pre>"


class Logs(dict[str, Log]):
    """The logs of several parties, by name; a notebook shows them folded.

    Examples
    --------
    >>> print(Logs({"Scheduler": Log("all is well")})._repr_html_())
    <details><summary>Scheduler</summary><pre><code>all is well</code></pre></details>
    """

    def _repr_html_(self) -> str:
        return "\n".join(
            f"<details><summary>{escape(str(name))}</summary>{Log(log)._repr_html_()}</details>"
            for name, log in self.items()
        )


def memory_in_words(workers: Iterable[Mapping[str, Any]]) -> str:
    """Return the workers' memory together; "" where there are none, or one of them has no limit.

    Examples
    --------
    >>> memory_in_words([{"memory_limit": 2**30}, {"memory_limit": 2**30}]), memory_in_words([{"memory_limit": 0}])
    ('2.00 GiB', '')
    """
    limits = [worker.get("memory_limit") or 0 for worker in workers]
    return bytes_in_words(sum(limits)) if limits and all(limits) else ""


def as_text(kind: str, name: str, address: str, status: str, workers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a cluster's `repr`.

    Examples
    --------
    >>> as_text("LocalCluster", "a", "tcp://127.0.0.1:1", "running", {"x": {"nthreads": 2, "memory_limit": 2**30}})
    "LocalCluster(a, 'tcp://127.0.0.1:1', workers=1, threads=2, memory=1.00 GiB)"
    """
    head = f"{kind}({name}, {address!r}"
    if status != "running":
        return f"{head}, {status})"
    threads = sum(worker["nthreads"] for worker in workers.values())
    memory = memory_in_words(workers.values())
    return f"{head}, workers={len(workers)}, threads={threads}" + (f", memory={memory})" if memory else ")")


def as_html(
    kind: str, name: str, address: str, status: str, link: str, more: Mapping[str, str], info: Mapping[str, Any]
) -> str:
    """Return a cluster as a notebook shows it: a table of facts, and a folded one of the workers.

    Parameters
    ----------
    kind, name, address, status
        What the cluster is.
    link
        Its dashboard; "" for none.
    more
        Further rows.
    info
        What its scheduler says of itself.

    Examples
    --------
    >>> "<b>LocalCluster</b> a" in as_html("LocalCluster", "a", "tcp://127.0.0.1:1", "closed", "", {}, {"workers": {}})
    True
    """
    workers: Mapping[str, Mapping[str, Any]] = info.get("workers", {})
    rows = {"Scheduler": escape(address), "Status": escape(status)}
    if link:
        rows["Dashboard"] = _anchor(link)
    rows["Workers"] = str(len(workers))
    rows["Threads"] = str(sum(worker["nthreads"] for worker in workers.values()))
    rows["Memory"] = memory_in_words(workers.values()) or ("no limit" if workers else "0 B")
    rows.update({label: escape(value) for label, value in more.items()})
    facts = "".join(
        f'<tr><th style="text-align: left">{escape(label)}</th>{_cell(row)}</tr>' for label, row in rows.items()
    )
    return (
        f'<div class="windrow-cluster"><p><b>{escape(kind)}</b> {escape(name)}</p>'
        f"<table><tbody>{facts}</tbody></table>{_workers_table(workers)}</div>"
    )


def _workers_table(workers: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("Name", "Address", "Status", "Threads", "Memory", "Process", "Directory")
    head = "".join(_cell(column, "th") for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, _worker_cells(address, each)))}</tr>" for address, each in workers.items())
    return (
        f"<details><summary>Workers ({len(workers)})</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _worker_cells(address: str, worker: Mapping[str, Any]) -> list[str]:
    limit = worker.get("memory_limit")
    return [
        escape(str(worker.get("name", ""))),
        escape(address),
        escape(str(worker.get("status", ""))),
        str(worker["nthreads"]),
        bytes_in_words(limit) if limit else "no limit",
        escape(str(worker.get("pid", ""))),
        escape(str(worker.get("local_directory", ""))),
    ]


def _cell(content: str, tag: str = "td") -> str:
    return f'<{tag} style="text-align: left">{content}</{tag}>'


def _anchor(link: str) -> str:
    """Return a link; only of a kind that a page may have, whatever the template of the configuration says."""
    if not link.startswith(("http://", "https://", "/")):
        return escape(link)
    return f'<a href="{escape(link)}" target="_blank">{escape(link)}</a>'
