"""How a cluster looks: its text, its table in a notebook, its logs.

What lives here: `Log`, `Logs`, and functions from plain facts to text and HTML. What this file must never know:
clusters, and how the facts were got.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow import looks
from windrow.looks import escape, memory_in_words

__all__ = ["Log", "Logs", "as_html", "as_text"]


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


def as_text(kind: str, name: str, address: str, status: str, workers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a cluster's `repr`.

    Examples
    --------
    >>> as_text("LocalCluster", "a", "tcp://127.0.0.1:1", "running", {"x": {"nthreads": 2, "memory_limit": 2**30}})
    "LocalCluster(a, 'tcp://127.0.0.1:1', workers=1, threads=2, memory=1.00 GiB)"
    """
    head = f"{kind}({address!r}" if name == kind else f"{kind}({name}, {address!r}"
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
    rows: dict[str, object] = {"Scheduler": address, "Status": status}
    if link:
        rows["Dashboard"] = looks.anchor(link)
    return looks.card(kind, name, {**rows, **looks.totals(info), **more}, looks.workers(info))
