"""What a worker holds: values by task id, live, packed as they travelled, or elsewhere; and which may go to disk.

What lives here: `Store`, `Packed`, `Elsewhere`. What this file must never know: how a value is pickled or written, who
asks for it, threads; like the core it stands behind the worker's lock.

Sizes are kept of values from `CRUMB_BYTES` on: smaller ones cost more to write than they take, and a table of them
would cost every trivial task something. The order of use is kept only from half of the first threshold on.

A value goes to disk in two steps, because writing takes longer than anybody may hold the lock: it is named
(`next_out`), and, when it is written, what stands for it takes its place (`went_out`), unless it was freed meanwhile.
What is read back is live again, and its file is kept: as values do not change, it can go again
without being written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import inf
from typing import ClassVar

from msgspec import Struct

from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import TaskId
from windrow.wire.payload import nbytes as blob_bytes
from windrow.worker.memory import Marks

CRUMB_BYTES = 1024
"""Values below this size are not counted, and stay in memory."""


class LostValueError(Exception):
    """A value that is not in memory is not to be had any more, and must be made again."""


class Packed(Struct, eq=False):
    """A value as it travelled; the thread that first needs it unpickles it.

    What is in shared memory stays packed: whoever needs it has a view of its own.
    """

    blob: Blob

    @property
    def stays(self) -> bool:
        """Whether it stays so when it is used."""
        return type(self.blob) is Shared


class Elsewhere:
    """Stands for a value that is not in memory. Whoever has it can have the value, even if it was freed meanwhile.

    Parameters
    ----------
    nbytes
        The size of the value in memory.
    """

    __slots__ = ("nbytes",)

    stays: ClassVar[bool] = False
    """Whether it stays there when it is used."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def load(self) -> object:
        """Return the value; `LostValueError` when it cannot be had. In a thread that may wait."""
        raise NotImplementedError

    def pack(self) -> Blob:
        """Return the value as it travels; otherwise as `load`."""
        raise NotImplementedError


class Store(dict[int, object]):
    """Values by task id.

    What leaves the store is not let go at once: the end of a value may run its class's own code (``__del__``), which
    must not happen under the worker's lock. It waits in `dropped` for whoever takes it outside.

    Examples
    --------
    >>> store = Store()
    >>> store.receive(7, b"blob")
    >>> store.drop([7, 8])
    >>> len(store), len(store.take_dropped())
    (0, 1)
    """

    __slots__ = (
        "_draining",
        "_going",
        "_held_back",
        "brim",
        "dropped",
        "elsewhere",
        "files",
        "is_blocked",
        "managed",
        "marks",
        "measure_at",
        "most_inputs",
        "near",
        "sizes",
        "stuck",
        "tried_all",
        "watch",
    )

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[object] = []
        self.sizes: OrderedDict[int, int] = OrderedDict()
        """Those in memory that may go, the least recently used first."""
        self.stuck: dict[int, int] = {}
        """Those in memory that cannot be written."""
        self.files: dict[int, Elsewhere] = {}
        """What stands for those that are elsewhere, or would if they left memory again."""
        self.managed = 0
        """The size of those in memory."""
        self.elsewhere = 0
        """The size that those that are elsewhere would have in memory."""
        self.marks = Marks()
        self.most_inputs = inf
        """More than so many bytes of inputs are too much for one task."""
        self.near = self.brim = inf
        """What is compared for every task: beyond the one sizes and the order of use matter; beyond the other no task
        may start, as there is too much, or as the worker is paused."""
        self.measure_at = inf
        """With more than so many managed bytes it is time to measure again."""
        self.watch = inf
        """With more than so many there is something to be done about them."""
        self.is_blocked = False
        """Whether nothing can be written for a while."""
        self._held_back = False
        self.tried_all = False
        """Whether nothing more can go just now."""
        self._draining = False
        self._going: tuple[int, object] | None = None

    # ------------------------------------------------------------ what comes and goes

    def receive(self, id: int, blob: Blob) -> None:
        """Hold a value as it came."""
        if id in self:
            self.drop([id])
        self[id] = Packed(blob)
        size = blob_bytes(blob)
        if size >= CRUMB_BYTES:
            self.count(id, size)

    def count(self, id: int, nbytes: int) -> None:
        """Take down the size of a value that has just been put in, if it is no crumb."""
        self.sizes[id] = nbytes
        self.managed += nbytes
        self.tried_all = self.is_blocked

    def unpacked(self, id: int, packed: Packed | Elsewhere, value: object) -> None:
        """A thread has unpickled a value: hold it so from now on, if it is still held."""
        if self.get(id) is not packed:
            return
        self[id] = value
        if isinstance(packed, Elsewhere):
            self.elsewhere -= packed.nbytes
            self.count(id, packed.nbytes)

    def repacked(self, id: int, value: object, blob: Blob) -> None:
        """A value that is live lies in shared memory too: hold it so, not twice, if it is still held."""
        if self.get(id) is value:
            self.dropped.append(value)
            self[id] = Packed(blob)

    def put_elsewhere(self, id: int, marker: Elsewhere) -> None:
        """Hold what stands for a value, which has come here or was made here."""
        if id in self:
            self.drop([id])
        self[id] = self.files[id] = marker
        self.elsewhere += marker.nbytes

    def drop(self, ids: Iterable[int]) -> None:
        """Hold these no more."""
        has_sizes = self.managed or self.files
        for id in ids:
            if id in self:
                self.dropped.append(self.pop(id))
                if has_sizes:
                    self._forget(id)

    def _forget(self, id: int) -> None:
        size = self.sizes.pop(id, None)
        if size is None:
            size = self.stuck.pop(id, None)
        marker = self.files.pop(id, None)
        if marker is not None:
            self.dropped.append(marker)
        if size is not None:
            self.managed -= size
        elif marker is not None:
            self.elsewhere -= marker.nbytes

    def absent(self, ids: Iterable[TaskId]) -> TaskId | None:
        """Return the first id that is not held, None when all are."""
        return next((id for id in ids if id not in self), None)

    def take_dropped(self) -> list[object]:
        """Take what is held no more, to let it go outside the lock."""
        dropped, self.dropped = self.dropped, []
        return dropped

    def size(self, id: int) -> int:
        """Return the size of a value, 0 for a crumb."""
        size = self.sizes.get(id)
        if size is None:
            size = self.stuck.get(id)
        if size is None:
            size = self.files[id].nbytes if id in self.files else 0
        return size

    def used(self, ids: Iterable[int]) -> None:
        """Take down that these are being used; to be called when `managed` is beyond `near`."""
        sizes = self.sizes
        for id in ids:
            if id in sizes:
                sizes.move_to_end(id)

    # ------------------------------------------------------------ what goes to disk

    def set_marks(self, marks: Marks, most_inputs: float = inf, step: float = inf) -> None:
        """Take the thresholds of a new measurement; the next one is due when ``step`` more bytes are held."""
        self.marks = marks
        self.measure_at = self.managed + step
        self.watch = min(marks.press, self.measure_at)
        self.most_inputs = most_inputs
        self.near = min(marks.press / 2, most_inputs)
        self.brim = -1 if self._held_back else marks.brim

    def hold_back(self, held_back: bool) -> None:
        """Have every value be too much, or no more."""
        self._held_back = held_back
        self.brim = -1 if held_back else self.marks.brim

    @property
    def is_brimful(self) -> bool:
        """Whether nothing more should be made before something has gone to disk, which it can."""
        return self.managed > self.marks.brim and not self.tried_all

    def block(self, is_blocked: bool) -> None:
        """Take down that nothing can be written for a while, or can again."""
        self.is_blocked = self.tried_all = is_blocked

    @property
    def is_pressed(self) -> bool:
        """Whether something ought to go to disk."""
        return self.managed > self.goal

    @property
    def goal(self) -> float:
        """How many managed bytes are to stay."""
        marks = self.marks
        if self.managed > marks.start:
            self._draining = True
        elif self.managed <= marks.stop:
            self._draining = False
        return min(marks.target, marks.stop if self._draining else inf)

    def next_out(self, room: float = inf) -> tuple[int, object] | None:
        """Return the value that is to be written next, and its id; None when there is none, or nothing calls for it.

        What need not be written again leaves memory here and now. ``room`` is how many bytes can be written.
        """
        assert self._going is None, "one value goes at a time"
        while self.is_pressed:
            id = self._oldest(room)
            if id is None:
                self.tried_all = True
                return None
            marker = self.files.get(id)
            if marker is None:
                self._going = id, self[id]
                return self._going
            self._leave(id, marker)
        return None

    def _oldest(self, room: float) -> int | None:
        """Return the least recently used value that can go."""
        return next((id for id, size in self.sizes.items() if size <= room or id in self.files), None)

    def _leave(self, id: int, marker: Elsewhere) -> None:
        self.dropped.append(self[id])
        self[id] = marker
        size = self.sizes.pop(id)
        self.managed -= size
        self.elsewhere += marker.nbytes

    def went_out(self, marker: Elsewhere) -> None:
        """The value that was to be written is; it leaves memory, unless it was freed meanwhile."""
        id, is_held = self._gone()
        if is_held:
            self.files[id] = marker
            self._leave(id, marker)

    def cannot_go(self, for_good: bool) -> None:
        """The value that was to be written could not be: it stays; ``for_good`` if it is no use to try again."""
        id, is_held = self._gone()
        if not for_good:
            self.tried_all = True
        elif is_held:
            self.stuck[id] = self.sizes.pop(id)

    def _gone(self) -> tuple[int, bool]:
        """Return which value was being written, and whether it is held as it was then."""
        assert self._going is not None
        (id, value), self._going = self._going, None
        return id, self.get(id) is value and id in self.sizes

    def check(self) -> None:
        """Raise AssertionError if two sides of any fact disagree."""
        for id, marker in self.files.items():
            assert id in self, f"{id} is gone, and has a file"
            assert self[id] is marker or id in self.sizes, f"{id} is in memory, and not counted"
        outside = {id: marker for id, marker in self.files.items() if self.get(id) is marker}
        inside = {**self.sizes, **self.stuck}
        assert len(inside) == len(self.sizes) + len(self.stuck), "some may go, and cannot"
        assert not inside.keys() & outside.keys(), "some are here and elsewhere"
        assert inside.keys() <= self.keys(), "some are counted, and gone"
        assert self.managed == sum(inside.values()), f"{self.managed} bytes are not {inside}"
        assert self.elsewhere == sum(value.nbytes for value in outside.values()), f"{self.elsewhere} are not {outside}"
