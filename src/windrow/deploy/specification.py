"""Specifications of workers: what of them is a matter of reading and counting.

What lives here: the names that an entry stands for, how many cores and how much memory it has, and how many entries are
meant. What this file must never know: clusters; what is there.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Collection, Hashable, Mapping
from typing import Any

from windrow import config

__all__ = ["Spec", "count", "entries_of", "memory_of", "names_of", "resolve", "threads_of"]

Spec = dict[str, Any]
"""``{"cls": a class or its dotted name, "options": its keywords}``; with ``"group"``, several workers."""

THREADS = ("nthreads", "ncores", "threads", "cores")
MEMORY = ("memory_limit", "memory")

ELSEWHERE = ("distributed", "dask.distributed")
"""Packages whose classes programs for Dask name, and which stand for windrow's own."""


def resolve(cls: Any) -> Any:
    """Return a class, or what a dotted name names; the names of Dask's own classes stand for windrow's.

    Examples
    --------
    >>> resolve("windrow.deploy.spec.SpecCluster").__name__, resolve("distributed.Nanny").__module__
    ('SpecCluster', 'windrow.deploy.nanny')
    """
    if not isinstance(cls, str):
        return cls
    module, _, name = cls.rpartition(".")
    if not module:
        raise ValueError(f"{cls!r} is no class, and no dotted name of one such as 'windrow.Worker'")
    return getattr(importlib.import_module("windrow" if module in ELSEWHERE else module), name)


def names_of(entry: Hashable, spec: Mapping[str, Any]) -> list[Any]:
    """Return the names of the workers that an entry stands for.

    Examples
    --------
    >>> names_of(0, {}), names_of(0, {"group": ["-a", "-b"]})
    ([0], ['0-a', '0-b'])
    """
    if "group" not in spec:
        return [entry]
    return [f"{entry}{suffix}" for suffix in spec["group"]]


def entries_of(names: Collection[Any], specs: Mapping[Any, Mapping[str, Any]]) -> list[Any]:
    """Return the entries that these workers belong to, by their names or the entries' own.

    Examples
    --------
    >>> entries_of(["0-b", 1], {0: {"group": ["-a", "-b"]}, 1: {}, 2: {}})
    [0, 1]
    """
    wanted = set(names)
    return [entry for entry, spec in specs.items() if entry in wanted or not wanted.isdisjoint(names_of(entry, spec))]


def threads_of(spec: Mapping[str, Any] | None) -> int:
    """Return how many threads a worker has; ValueError where its options do not say.

    Examples
    --------
    >>> threads_of({"cls": "Worker", "options": {"nthreads": 2}})
    2
    """
    return int(_option(spec, THREADS, "threads", "cores="))


def memory_of(spec: Mapping[str, Any] | None) -> int:
    """Return how much memory a worker has, in bytes; ValueError where its options do not say.

    Examples
    --------
    >>> memory_of({"cls": "Worker", "options": {"memory_limit": "2 GiB"}})
    2147483648
    """
    return config.parse_bytes(_option(spec, MEMORY, "memory", "memory="))


def _option(spec: Mapping[str, Any] | None, names: tuple[str, ...], what: str, argument: str) -> Any:
    options = (spec or {}).get("options") or {}
    options = {**options, **(options.get("worker_kwargs") or {}), **(options.get("worker_options") or {})}
    for name in names:
        if options.get(name) not in (None, 0, "auto"):
            return options[name]
    raise ValueError(
        f"nothing says how much {what} a new worker has, so {argument} means no number of workers: give worker= one of "
        f"the options {', '.join(names)}, or scale by number"
    )


def count(
    n: object, memory: str | float | None = None, cores: object = None, spec: Mapping[str, Any] | None = None
) -> int:
    """Return how many workers are meant: ``n``, or so many that they have this memory and so many cores together.

    Examples
    --------
    >>> count(1, cores=5, spec={"cls": "Worker", "options": {"nthreads": 2}})
    3
    """
    if n is None:
        n = 0
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be a number of workers, not {n!r}")
    target = n
    if memory is not None:
        target = max(target, math.ceil(config.parse_bytes(memory) / memory_of(spec)))
    if cores is not None:
        if isinstance(cores, bool) or not isinstance(cores, int | float) or cores < 0:
            raise ValueError(f"cores must be a number, not {cores!r}")
        target = max(target, math.ceil(cores / threads_of(spec)))
    return target
