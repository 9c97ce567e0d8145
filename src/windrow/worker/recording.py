"""What threads of a worker have done, noted while somebody looks.

What lives here: `Notes`. What this file must never know: clocks, threads; both are told to it. Who looks, and at what.

There are no notes while nobody looks: then a task costs one comparison with None. While pages are open, short tasks are
passed over but for one in ``apart_s``, which costs two comparisons and a count; so a page is the same load whether
tasks take a microsecond or a minute.
"""

from __future__ import annotations

from collections import deque

from windrow.wire import activity
from windrow.wire.messages import Executed, TaskId

__all__ = ["Notes"]


class Notes:
    """Rows that have not left yet.

    Parameters
    ----------
    apart_s
        What takes so long or longer is noted, and of shorter attempts one in so long; with 0, every one.

    Examples
    --------
    >>> notes = Notes(apart_s=0.01)
    >>> for start in (5.0, 5.001, 5.002):
    ...     notes.ended(TaskId(7), True, 11, start, 0.0005, 28, "int")
    >>> executed = notes.take(epoch_s=1000.0)
    >>> executed.starts, executed.left_out
    ([1005.0], 2)
    """

    __slots__ = ("_rows", "apart_s", "due_s", "left_out")

    def __init__(self, apart_s: float) -> None:
        self.apart_s = apart_s
        self.due_s = 0.0
        """From when on the next short attempt is noted."""
        self.left_out = 0
        """How many attempts have ended without a note since rows were taken."""
        # Threads put rows in without the core's lock, and the loop takes them out: a deque does each in one step.
        self._rows: deque[tuple[TaskId, int, int, float, float, int, str]] = deque()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def ended(
        self, task: TaskId, ok: bool, thread: int, start_s: float, seconds: float, nbytes: int, word: str
    ) -> None:
        """Note an attempt, or count it."""
        if seconds < self.apart_s:
            if start_s < self.due_s:
                self.left_out += 1
                return
            self.due_s = start_s + self.apart_s
        kind = activity.COMPUTE if ok else activity.ERRED
        self._rows.append((task, kind, thread, start_s, seconds, nbytes, word))

    def spent(
        self, kind: int, task: TaskId, thread: int, start_s: float, seconds: float, nbytes: int = 0, word: str = ""
    ) -> None:
        """Note what was done for a task, if it took long enough to be seen."""
        if seconds >= self.apart_s:
            self._rows.append((task, kind, thread, start_s, seconds, nbytes, word))

    def take(self, epoch_s: float) -> Executed:
        """Take the rows; ``epoch_s`` is when the clock of their starts was 0, in seconds since the epoch."""
        rows = [self._rows.popleft() for _ in range(len(self._rows))]
        left_out, self.left_out = self.left_out, 0
        numbers: dict[str, int] = {}
        return Executed(
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [epoch_s + row[3] for row in rows],
            [row[4] for row in rows],
            [row[5] for row in rows],
            [numbers.setdefault(row[6], len(numbers)) for row in rows],
            list(numbers),
            left_out,
        )
