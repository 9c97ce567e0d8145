"""The task stream, as boxes: a lane a thread, a box a row.

What lives here: `Lanes`, `boxes_of`, and the sums of what was recorded. What this file must never know: who asked for
the rows, and how boxes are drawn. Rows are columns as the scheduler gives them (``scheduler.recording.rows``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.drawing import colours
from windrow.drawing.boxes import Columns, add, boxes, in_bytes, in_seconds
from windrow.keys import from_plain, label, prefix
from windrow.wire.activity import ACTIONS, COMPUTE, DESERIALIZE, DISK_READ, DISK_WRITE, ERRED, TRANSFER

__all__ = ["GAP", "Lanes", "boxes_of", "colour", "sums", "transfers"]

GAP = 0.1
"""How much of a lane is left free above and below its boxes."""

_OTHER = {
    TRANSFER: colours.ACTIVITIES["transfer"],
    DISK_READ: colours.ACTIVITIES["disk"],
    DISK_WRITE: colours.ACTIVITIES["disk"],
    DESERIALIZE: colours.ACTIVITIES["deserialize"],
}


class Lanes:
    """Which thread of which worker is drawn at which height; they stay where they are when others come.

    Parameters
    ----------
    rows
        Whose threads are known already: those of a worker are together then, and its loop is the last of them.

    Examples
    --------
    >>> lanes = Lanes()
    >>> lanes.at("tcp://a", 11), lanes.at("tcp://a", 12), lanes.at("tcp://a", 11), len(lanes)
    (0, 1, 0, 2)
    """

    def __init__(self, rows: Mapping[str, Any] | None = None) -> None:
        self._at: dict[tuple[str, int], int] = {}
        if rows is not None:
            places = {
                (rows["addresses"][worker], thread)
                for worker, thread in zip(rows["workers"], rows["threads"], strict=True)
            }
            for address, thread in sorted(places, key=lambda place: (place[0], place[1] == 0, place[1])):
                self.at(address, thread)

    def __len__(self) -> int:
        return len(self._at)

    def at(self, address: str, thread: int) -> int:
        """Return the number of a lane."""
        return self._at.setdefault((address, thread), len(self._at))

    def names(self) -> list[str]:
        """Return what each lane is: the worker, and which of its threads."""
        counts: dict[str, int] = {}
        found = []
        for address, thread in self._at:
            counts[address] = counts.get(address, 0) + (thread != 0)
            found.append(f"{address} loop" if thread == 0 else f"{address} thread {counts[address]}")
        return found


def colour(kind: int, name: str) -> str:
    """Return the colour of a row: of a task, by its prefix.

    Examples
    --------
    >>> colour(ERRED, "inc"), colour(TRANSFER, "inc")
    ('#000000', '#cc3311')
    """
    return colours.ERRED if kind == ERRED else _OTHER.get(kind) or colours.of_prefix(name)


def boxes_of(rows: Mapping[str, Any], lanes: Lanes) -> Columns:
    """Return a box for each row; ``left`` and ``right`` are milliseconds since the epoch.

    Examples
    --------
    >>> rows = {
    ...     "addresses": ["tcp://a"], "keys": ["inc-1"], "functions": ["inc"], "words": ["int"], "workers": [0],
    ...     "kinds": [COMPUTE], "threads": [11], "starts": [10.0], "seconds": [0.5], "nbytes": [28],
    ... }
    >>> found = boxes_of(rows, Lanes())
    >>> found["left"], found["right"], found["label"], found["detail"]
    ([10000.0], [10500.0], ['inc'], ['inc-1 · 500 ms · int, 28 B · tcp://a'])
    """
    found, addresses = boxes(), rows["addresses"]
    names = ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes")
    for key, function, word, worker, kind, thread, start, seconds, nbytes in zip(
        *(rows[name] for name in names), strict=True
    ):
        key = from_plain(key)
        name, address = prefix(key, function), addresses[worker]
        lane = lanes.at(address, thread)
        add(
            found,
            (start * 1e3, (start + seconds) * 1e3),
            (lane + GAP, lane + 1 - GAP),
            colour(kind, name),
            name if kind in (COMPUTE, ERRED) else f"{ACTIONS[kind]}: {name}",
            " · ".join([label(key), in_seconds(seconds), _what(kind, word, nbytes), address]),
            alpha=1.0 if kind in (COMPUTE, ERRED) else 0.6,
        )
    return found


def _what(kind: int, word: str, nbytes: int) -> str:
    if kind == COMPUTE:
        return f"{word}, {in_bytes(nbytes)}"
    if kind == ERRED:
        return f"raised {word}"
    if kind == TRANSFER:
        return f"{in_bytes(nbytes)} from {word}"
    return f"{ACTIONS[kind]} {in_bytes(nbytes)}" if nbytes else ACTIONS[kind]


def sums(rows: Mapping[str, Any]) -> dict[str, tuple[int, float]]:
    """Return how often, and for how many seconds in all, threads did each thing: tasks by prefix, and the others.

    The longest comes first.
    """
    found: dict[str, tuple[int, float]] = {}
    for key, function, kind, seconds in zip(
        rows["keys"], rows["functions"], rows["kinds"], rows["seconds"], strict=True
    ):
        name = prefix(from_plain(key), function) if kind <= ERRED else f"({ACTIONS[kind]})"
        count, total_s = found.get(name, (0, 0.0))
        found[name] = (count + 1, total_s + seconds)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def transfers(rows: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int, float]]:
    """Return what was moved, by the workers from which and to which: how often, bytes, and seconds in all."""
    found: dict[tuple[str, str], tuple[int, int, float]] = {}
    for word, worker, kind, seconds, nbytes in zip(
        rows["words"], rows["workers"], rows["kinds"], rows["seconds"], rows["nbytes"], strict=True
    ):
        if kind == TRANSFER:
            pair = (word, rows["addresses"][worker])
            count, moved, total_s = found.get(pair, (0, 0, 0.0))
            found[pair] = (count + 1, moved + nbytes, total_s + seconds)
    return dict(sorted(found.items()))
