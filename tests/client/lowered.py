"""Runs lowered graphs in this process, as a worker would run them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from windrow.client.lowering import Batch, lower
from windrow.wire import payload


def run(batches: Iterable[Batch], known: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
    """Run batches in order; results of the wanted keys. ``known`` are results that exist already."""
    values: list[Any] = []
    names: list[Any] = []
    wanted: list[int] = []
    for batch in batches:
        for key in batch.known:
            names.append(key)
            values.append((known or {})[key])
        functions = [payload.loads(payload.dumps(function)) for function in batch.functions]
        columns = zip(batch.keys, batch.chosen, batch.args, batch.inputs, strict=True)
        for key, choice, blob, inputs in columns:
            assert len(set(inputs)) == len(inputs)
            with payload.resolving([values[number] for number in inputs]):
                args, kwargs = payload.loads(blob)  # type: ignore[misc]
            names.append(key)
            values.append(functions[choice](*args, **kwargs))  # type: ignore[operator]
        wanted += batch.wanted
    return {names[number]: values[number] for number in wanted}


def compute(graph: Mapping[Any, Any], wanted: Iterable[Any], known: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
    """Lower and run."""
    return run(lower(graph, wanted, 3), known)
