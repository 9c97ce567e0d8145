"""Trees of what was on the stack: samples of threads, counted by who called whom, over time.

What lives here: stacks, trees, their merging, and `History`. What this file must never know: threads, clocks, what a
task is.

A tree is a pair of a count and its branches by frame; a frame is the place of a function in its file. So a sample of a
stack of thirty functions costs thirty look-ups, and a tree grows with the code that is run, not with the time.
"""

from __future__ import annotations

import linecache
from collections import deque
from collections.abc import Iterable
from types import CodeType, FrameType
from typing import Any, TypeAlias

from msgspec import Struct

__all__ = ["DEPTH_MAX", "Cycle", "Frame", "History", "Tree", "add", "described", "merge", "new_tree", "stack"]

Frame: TypeAlias = tuple[str, str, int]
"""A function: its name, its file, and its first line there."""

Tree: TypeAlias = list[Any]
"""``[count, {frame: tree}]``."""

DEPTH_MAX = 200
"""So many functions of a stack are told apart, from the outermost one on; what is deeper counts as the last of them."""

CYCLES_FINE = 600
CYCLES_COARSE = 240
COARSE_S = 60.0
"""How much is remembered: so many cycles as they are, and older ones together, a minute each."""


def new_tree() -> Tree:
    """Return a tree of nothing."""
    return [0, {}]


def add(tree: Tree, frames: Iterable[Frame], weight: int = 1) -> None:
    """Count a stack, outermost function first, as so many.

    Examples
    --------
    >>> tree = new_tree()
    >>> add(tree, [("f", "a.py", 1), ("g", "a.py", 9)]); add(tree, [("f", "a.py", 1)])
    >>> tree
    [2, {('f', 'a.py', 1): [2, {('g', 'a.py', 9): [1, {}]}]}]
    """
    tree[0] += weight
    for frame in frames:
        branch = tree[1].get(frame)
        if branch is None:
            branch = tree[1][frame] = [0, {}]
        branch[0] += weight
        tree = branch


def merge(tree: Tree, other: Tree) -> None:
    """Add what another tree has counted.

    Examples
    --------
    >>> tree, other = new_tree(), new_tree()
    >>> add(other, [("f", "a.py", 1)])
    >>> merge(tree, other); merge(tree, other); tree
    [2, {('f', 'a.py', 1): [2, {}]}]
    """
    pairs = [(tree, other)]
    while pairs:
        into, source = pairs.pop()
        into[0] += source[0]
        for frame, branch in source[1].items():
            mine = into[1].get(frame)
            if mine is None:
                mine = into[1][frame] = [0, {}]
            pairs.append((mine, branch))


def stack(top: FrameType | None, base: CodeType) -> list[Frame] | None:
    """Return the functions of a stack above the innermost one whose code is ``base``, outermost first.

    None if that is not on the stack.
    """
    frames: list[Frame] = []
    frame = top
    while frame is not None:
        code = frame.f_code
        if code is base:
            frames.reverse()
            return frames[:DEPTH_MAX]
        frames.append((code.co_qualname, code.co_filename, code.co_firstlineno))
        frame = frame.f_back
    return None


class Cycle(Struct, eq=False):
    """What was counted in a stretch of time, by the kind of task."""

    start_s: float
    stop_s: float
    trees: dict[str, Tree]


class History:
    """Trees over time.

    Parameters
    ----------
    cycle_s
        How long a stretch is of which times are told.

    Examples
    --------
    >>> history = History(cycle_s=1.0)
    >>> for now_s in (10.0, 10.5, 11.2):
    ...     history.add("inc", [("inc", "a.py", 1)], now_s)
    >>> history.between(None, None, None)[0], [cycle.start_s for cycle in history.cycles]
    ([3, {('inc', 'a.py', 1): [3, {}]}], [10.0, 11.2])
    """

    def __init__(self, cycle_s: float = 1.0) -> None:
        self.cycle_s = cycle_s
        self.cycles: deque[Cycle] = deque()
        self._coarse = 0
        """How many of the oldest cycles are several in one."""

    def add(self, kind: str, frames: list[Frame], now_s: float, weight: int = 1) -> None:
        """Count a stack as so many."""
        last = self.cycles[-1] if self.cycles else None
        if last is None or now_s - last.start_s >= self.cycle_s:
            last = Cycle(now_s, now_s, {})
            self.cycles.append(last)
            if len(self.cycles) - self._coarse > CYCLES_FINE:
                self._compact()
        last.stop_s = now_s
        tree = last.trees.get(kind)
        if tree is None:
            tree = last.trees[kind] = new_tree()
        add(tree, frames, weight)

    def _compact(self) -> None:
        """Put the oldest fine cycle to the newest coarse one, or make another coarse one of it."""
        place = self._coarse
        fine = self.cycles[place]
        coarse = self.cycles[place - 1] if place else None
        if coarse is None or fine.stop_s - coarse.start_s > COARSE_S:
            self._coarse += 1
            if self._coarse > CYCLES_COARSE:
                self.cycles.popleft()
                self._coarse -= 1
            return
        for kind, tree in fine.trees.items():
            merge(coarse.trees.setdefault(kind, new_tree()), tree)
        coarse.stop_s = fine.stop_s
        del self.cycles[place]

    def between(
        self, start_s: float | None, stop_s: float | None, kind: str | None
    ) -> tuple[Tree, list[tuple[float, dict[str, int]]]]:
        """Return a tree of all between two times, and how many samples there are of each kind, by the time.

        The tree is of one ``kind``, or of all; the counts are of all times.
        """
        total, counts = new_tree(), []
        for cycle in self.cycles:
            counts.append((cycle.start_s, {name: int(tree[0]) for name, tree in cycle.trees.items()}))
            if (start_s is not None and cycle.stop_s < start_s) or (stop_s is not None and cycle.start_s > stop_s):
                continue
            for name, tree in cycle.trees.items():
                if kind is None or name == kind:
                    merge(total, tree)
        return total, counts


# ---------------------------------------------------------------- forms


def to_plain(tree: Tree) -> list[Any]:
    """Return a tree as lists only, to be sent.

    Examples
    --------
    >>> tree = new_tree()
    >>> add(tree, [("f", "a.py", 1)])
    >>> to_plain(tree), from_plain(to_plain(tree)) == tree
    ([1, [['f', 'a.py', 1, [1, []]]]], True)
    """
    return [tree[0], [[*frame, to_plain(branch)] for frame, branch in tree[1].items()]]


def from_plain(plain: list[Any]) -> Tree:
    """Return a tree out of lists."""
    return [plain[0], {(name, file, line): from_plain(branch) for name, file, line, branch in plain[1]}]


def described(tree: Tree, frame: Frame = ("root", "", 0)) -> dict[str, Any]:
    """Return a tree as people know it: dicts with ``count``, ``identifier``, ``description`` and ``children``.

    Examples
    --------
    >>> tree = new_tree()
    >>> add(tree, [("f", "a.py", 1)])
    >>> list(described(tree)["children"]), described(tree)["count"]
    (['f;a.py;1'], 1)
    """
    name, file, line = frame
    children = [described(branch, inner) for inner, branch in tree[1].items()]
    return {
        "identifier": name if frame == ("root", "", 0) else f"{name};{file};{line}",
        "description": {
            "name": name,
            "filename": file,
            "line_number": line,
            "line": linecache.getline(file, line).strip() if line and not file.startswith("<") else "",
        },
        "count": tree[0],
        "children": {child["identifier"]: child for child in children},
    }
