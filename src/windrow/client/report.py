"""Clients and clusters in words.

What lives here: the text of a client's repr. What this file must never know: how the facts were got.
"""

from __future__ import annotations

from typing import Any


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
