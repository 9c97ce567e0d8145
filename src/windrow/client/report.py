"""Clients and clusters in words.

What lives here: the text of a client's repr, and its table in a notebook. What this file must never know: how the facts
were got.
"""

from __future__ import annotations

from typing import Any

from windrow import looks
from windrow.looks import bytes_in_words


def describe_identity(status: str, identity: dict[str, Any] | None) -> str:
    """Return the repr of a client whose scheduler described itself so.

    Examples
    --------
    >>> worker = {"nthreads": 2, "memory_limit": 2**30}
    >>> describe_identity("running", {"address": "tcp://127.0.0.1:8786", "workers": {"a": worker, "b": worker}})
    "<Client: 'tcp://127.0.0.1:8786' processes=2 threads=4, memory=2.00 GiB>"
    >>> describe_identity("closed", None)
    '<Client: No scheduler connected>'
    """
    if status not in ("running", "watching"):
        return "<Client: No scheduler connected>"
    if identity is None:
        return "<Client: scheduler gives no answer>"
    workers = identity["workers"].values()
    threads = sum(worker["nthreads"] for worker in workers)
    memory = sum(worker["memory_limit"] for worker in workers)
    size = f", memory={bytes_in_words(memory)}" if memory else ""
    return f"<Client: {identity.get('address', '')!r} processes={len(workers)} threads={threads}{size}>"


def as_html(id: str, status: str, how: str, link: str | None, more: str) -> str:
    """Return a client as a notebook shows it.

    Parameters
    ----------
    id, status
        Which client, and whether it is connected.
    how
        By what it found its scheduler.
    link
        Its dashboard.
    more
        HTML of its cluster or scheduler.

    Examples
    --------
    >>> "<b>Client</b> Client-1" in as_html("Client-1", "running", "an address", None, "")
    True
    """
    rows: dict[str, object] = {"Status": status, "Connected by": how}
    if link:
        rows["Dashboard"] = looks.anchor(link)
    return looks.card("Client", id, rows, more)
