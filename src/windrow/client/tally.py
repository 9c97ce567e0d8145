"""How far futures are: counted from this client's own books, and joined with what the scheduler says of their inputs.

What lives here: `Tally`, `Pace` and the `Picture` that they make. What this file must never know: clocks, how it is
shown, how the scheduler is asked.

A tick of a display costs no more for a million futures than for ten thousand: those that are done are not looked at
again, and of the others a part is looked at in turn. So a future that is lost when it was done once counts as done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from windrow.client.entry import CANCELLED, ERROR, UNDONE, Entry
from windrow.keys import Key

STEP_ENTRIES = 20_000
"""So many are looked at in a tick: a few milliseconds."""
WINDOW_S = 15.0
"""The rate is that of the last so many seconds."""
MESSAGE_MAX = 200


class Row(NamedTuple):
    """Tasks of one group, by what has become of them."""

    name: str
    done: int
    erred: int
    processing: int
    waiting: int
    dropped: int
    message: str = ""
    """What the first that erred said."""

    @property
    def total(self) -> int:
        """How many there are."""
        return self.done + self.erred + self.processing + self.waiting + self.dropped

    @property
    def ended(self) -> int:
        """How many of them will do nothing more."""
        return self.done + self.erred + self.dropped


class Picture(NamedTuple):
    """What a display shows."""

    rows: tuple[Row, ...]
    elapsed_s: float
    rate: float | None
    """Tasks that end in a second; None while nobody knows."""
    is_over: bool = False
    """Whether all futures have come to their ends."""

    @property
    def whole(self) -> Row:
        """All rows in one."""
        rows = self.rows
        return Row(
            "",
            sum(row.done for row in rows),
            sum(row.erred for row in rows),
            sum(row.processing for row in rows),
            sum(row.waiting for row in rows),
            sum(row.dropped for row in rows),
        )

    @property
    def left_s(self) -> float | None:
        """How long the rest takes at this rate; None while nobody knows."""
        whole = self.whole
        left = whole.total - whole.ended
        if not left or self.is_over:
            return 0.0
        return left / self.rate if self.rate else None


class _Group:
    """A row under way."""

    __slots__ = ("counts", "message")

    def __init__(self) -> None:
        self.counts = {"done": 0, "erred": 0, "undone": 0, "dropped": 0}
        self.message = ""


class Tally:
    """Counts entries of this client.

    Parameters
    ----------
    entries
        The entries; each counts once, however often it is there.
    group
        Makes the name of a row of a key.
    complete
        Whether those count that are done already.

    Examples
    --------
    >>> tally = Tally([Entry("inc-1", 0), Entry("inc-2", 0, status=ERROR, detail=(b"", "ValueError: no"))], str)
    >>> tally.step()
    >>> [(row.name, row.erred, row.waiting, row.message) for row in tally.rows({})]
    [('inc-1', 0, 1, ''), ('inc-2', 1, 0, 'ValueError: no')]
    """

    def __init__(self, entries: Iterable[Entry], group: Callable[[Key], str], complete: bool = True) -> None:
        self._groups: dict[str, _Group] = {}
        self._pending: list[tuple[Entry, _Group]] = []
        self._kept: list[tuple[Entry, _Group]] = []
        self._at = 0
        self.keys: list[Key] = []
        """Of those that are counted."""
        for entry in dict.fromkeys(entries):
            if not complete and entry.status not in UNDONE:
                continue
            name = group(entry.key)
            one = self._groups.get(name)
            if one is None:
                one = self._groups[name] = _Group()
            one.counts["undone"] += 1
            self._pending.append((entry, one))
            self.keys.append(entry.key)

    def step(self, n: int = STEP_ENTRIES) -> None:
        """Look at the next ``n`` that were under way when last looked at."""
        for entry, group in islice(self._pending, self._at, self._at + n):
            status = entry.status
            if status in UNDONE:
                self._kept.append((entry, group))
                continue
            counts = group.counts
            counts["undone"] -= 1
            if status == ERROR:
                counts["erred"] += 1
                group.message = group.message or _last_words(entry)
            else:
                counts["dropped" if status == CANCELLED else "done"] += 1
        self._at += n
        if self._at >= len(self._pending):
            self._pending, self._kept, self._at = self._kept, [], 0

    def finish(self) -> None:
        """Look at all of them."""
        self.step(len(self._pending))
        self.step(len(self._pending))

    def rows(self, inputs: Mapping[str, list[int]]) -> tuple[Row, ...]:
        """Return all rows: of these entries, and of their inputs as the scheduler counts them; inputs come first."""
        found = []
        for name in dict.fromkeys([*(name for name in inputs if name not in self._groups), *self._groups]):
            done, erred, processing, waiting, dropped = inputs.get(name, (0, 0, 0, 0, 0))
            group, message = self._groups.get(name), ""
            if group is not None:
                own, message = group.counts, group.message
                done, erred, dropped = done + own["done"], erred + own["erred"], dropped + own["dropped"]
                waiting += own["undone"]
            found.append(Row(name, done, erred, processing, waiting, dropped, message))
        return tuple(found)


def _last_words(entry: Entry) -> str:
    """Return what an error says of itself, on a line."""
    text = entry.detail[1] if isinstance(entry.detail, tuple) else ""
    lines = text.strip().splitlines()
    said = next((line for line in reversed(lines) if line[:1].strip()), "") if lines else ""
    return said if len(said) <= MESSAGE_MAX else f"{said[:MESSAGE_MAX]}…"


class Pace:
    """How fast something goes on.

    Examples
    --------
    >>> pace = Pace()
    >>> [pace.rate(done, now_s) for done, now_s in ((10, 0.0), (10, 1.0), (30, 4.0))]
    [None, None, 5.0]
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, done: int, now_s: float) -> float | None:
        """Take note that so much is done now; return how much is done in a second, None while nobody knows."""
        seen = self._seen
        if not seen or now_s - seen[-1][0] >= WINDOW_S / 60:
            seen.append((now_s, done))
        while len(seen) > 2 and now_s - seen[1][0] >= WINDOW_S:
            seen.popleft()
        first_s, before = seen[0]
        return (done - before) / (now_s - first_s) if now_s > first_s and done > before else None
