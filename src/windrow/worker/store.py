"""What a worker holds: values by task id, live, or packed as they travelled.

What lives here: `Store` and `Packed`. What this file must never know: how a value is pickled, who asks for it, threads;
like the core it stands behind the worker's lock.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from windrow.wire.messages import Blob, TaskId


class Packed(Struct, eq=False):
    """A value as it travelled; the thread that first needs it unpickles it."""

    blob: Blob


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

    __slots__ = ("dropped",)

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[object] = []

    def receive(self, id: int, blob: Blob) -> None:
        """Hold a value as it came."""
        if id in self:
            self.dropped.append(self[id])
        self[id] = Packed(blob)

    def unpacked(self, id: int, packed: Packed, value: object) -> None:
        """A thread has unpickled a value: hold it so from now on, if it is still held."""
        if self.get(id) is packed:
            self[id] = value

    def drop(self, ids: Iterable[int]) -> None:
        """Hold these no more."""
        for id in ids:
            if id in self:
                self.dropped.append(self.pop(id))

    def absent(self, ids: Iterable[TaskId]) -> TaskId | None:
        """Return the first id that is not held, None when all are."""
        return next((id for id in ids if id not in self), None)

    def take_dropped(self) -> list[object]:
        """Take what is held no more, to let it go outside the lock."""
        dropped, self.dropped = self.dropped, []
        return dropped
