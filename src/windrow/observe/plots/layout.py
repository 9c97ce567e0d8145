"""Where nodes of a graph are drawn: sources to the left, what takes their results to the right of them.

What lives here: `layered`, pure and without randomness: the same graph looks the same each time. What this file must
never know: what the nodes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

__all__ = ["layered"]

SWEEPS = 2


def layered(count: int, edges: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return x and y of each node; ``edges`` are places of a source and of its target, one after the other.

    x is the longest way from a source; y is between 0 and 1, near to what a node is connected with. Nodes without
    edges stand in a block to the left of all others.

    Examples
    --------
    >>> layered(3, [0, 2, 1, 2])
    ([0.0, 0.0, 1.0], [0.25, 0.75, 0.5])
    """
    sources: list[list[int]] = [[] for _ in range(count)]
    targets: list[list[int]] = [[] for _ in range(count)]
    for source, target in zip(edges[::2], edges[1::2], strict=True):
        sources[target].append(source)
        targets[source].append(target)
    depth = _depths(sources, targets)
    layers: dict[int, list[int]] = {}
    alone = []
    for node in range(count):
        if sources[node] or targets[node]:
            layers.setdefault(depth[node], []).append(node)
        else:
            alone.append(node)
    y = [0.5] * count
    x = [float(each) for each in depth]
    for nodes in layers.values():
        _spread(nodes, y)
    for _ in range(SWEEPS):
        _sweep([layers[at] for at in sorted(layers, reverse=True)], targets, y)
        _sweep([layers[at] for at in sorted(layers)], sources, y)
    high = max(1, ceil(sqrt(len(alone))))
    for place, node in enumerate(alone):
        column, row = divmod(place, high)
        x[node], y[node] = -1 - 0.35 * column, (row + 0.5) / high
    return x, y


def _depths(sources: list[list[int]], targets: list[list[int]]) -> list[int]:
    """Return the longest way to each node; one that is in a circle, as groups may be, is where it was reached first."""
    depth = [0] * len(sources)
    missing = [len(each) for each in sources]
    ready = [node for node, count in enumerate(missing) if not count]
    while ready:
        node = ready.pop()
        for target in targets[node]:
            depth[target] = max(depth[target], depth[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return depth


def _sweep(layers: list[list[int]], near: list[list[int]], y: list[float]) -> None:
    for nodes in layers:
        wanted = {node: sum([y[other] for other in near[node]]) / len(near[node]) for node in nodes if near[node]}
        nodes.sort(key=lambda node: wanted.get(node, y[node]))
        _spread(nodes, y)


def _spread(nodes: list[int], y: list[float]) -> None:
    for place, node in enumerate(nodes):
        y[node] = (place + 0.5) / len(nodes)
