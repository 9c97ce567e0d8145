"""Floor 3: a worker. A pure core (state, core), the threads that run tasks (executor), and the shell (server)."""

from __future__ import annotations

_PUBLIC = ("DEFAULT_METRICS", "DEFAULT_STARTUP_INFORMATION", "Worker")
"""Names that programs for Dask import from here; they are loaded when they are asked for."""


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'windrow.worker' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("windrow.worker.worker"), name)
