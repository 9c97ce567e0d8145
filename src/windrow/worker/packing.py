"""Values of a worker as they leave it: pickled, as they came, from disk, or in shared memory.

What lives here: `Packing`. What this file must never know: who has asked, and how many are answered at a time.

It runs in threads that wait for nobody, beside those of the tasks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from windrow.errors import PickleError
from windrow.wire import failure, payload, sharing
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import TaskId
from windrow.worker.store import Elsewhere, LostValueError, Packed

if TYPE_CHECKING:
    from windrow.worker.facade import WorkerFacade

__all__ = ["Packing", "packed", "unloadable"]

logger = logging.getLogger("windrow.worker")

LENT_S = 2.0
"""For so long what was read from disk for a process of this host stays in shared memory: it opens it, or asks again."""

_ABSENT = object()


class Packing:
    """Packs a worker's values.

    Parameters
    ----------
    worker
        Whose they are.
    """

    def __init__(self, worker: WorkerFacade) -> None:
        self._worker = worker
        self._turns: dict[int, threading.Lock] = {}
        self._lent: dict[TaskId, tuple[Elsewhere, Shared]] = {}
        """Values that are on disk, and were put into shared memory for somebody."""

    def values(self, ids: list[TaskId], near: bool = False) -> list[Blob | None]:
        """Return values as they travel, to a process of this host or elsewhere; None where they are not held."""
        with self._worker.executor.lock:
            held = [self._worker.core.data.get(id, _ABSENT) for id in ids]
        blobs: list[Blob | None] = []
        for id, value in zip(ids, held, strict=True):
            if value is _ABSENT:
                blobs.append(None)
            elif type(value) is Packed:
                blobs.append(_as_it_came(value.blob, near))
            elif issubclass(type(value), Elsewhere):
                bring = self._lend if near else self._brought
                blobs.append(bring(id, value))  # type: ignore[arg-type]
            else:
                blob = packed(value)
                blobs.append(self._shared(id, value, blob) if near and sharing.pays(blob) else blob)
        return blobs

    def _shared(self, id: TaskId, value: object, blob: Blob) -> Blob:
        """Return a value in memory that others of this host can map, if there is room for that.

        Whoever asks while it is copied there waits, and is given the same copy.
        """
        with self._turn(id):
            now = self._worker.core.data.get(id)
            if type(now) is Packed:
                return _as_it_came(now.blob, near=True)
            shared = self._copied(blob)
            if shared is None:
                return blob
            with self._worker.executor.lock:
                self._worker.core.data.repacked(id, value, shared)
                dropped = self._worker.core.data.take_dropped()
            dropped.clear()
            return sharing.offer(shared)

    @contextmanager
    def _turn(self, id: TaskId) -> Iterator[None]:
        """Have others who want the same value wait."""
        with self._worker.executor.lock:
            turn = self._turns.setdefault(id, threading.Lock())
        try:
            with turn:
                yield
        finally:
            with self._worker.executor.lock:
                self._turns.pop(id, None)

    def _copied(self, blob: Blob) -> Shared | None:
        with self._worker.memory_manager.room_for(payload.nbytes(blob)) as has_room:
            return sharing.share(blob) if has_room else None

    def _lend(self, id: TaskId, marker: Elsewhere) -> Blob | None:
        """As `_brought`, for a process of this host: what is large is held in shared memory for a while.

        It stays on disk for the store, which has put it there to have room.
        """
        with self._turn(id):
            lent = self._lent.get(id)
            if lent is not None and lent[0] is marker:
                return sharing.offer(lent[1])
            blob = self._brought(id, marker)
            if blob is None or not sharing.pays(blob):
                return blob
            shared = self._copied(blob)
            if shared is None:
                return blob
            self._lent[id] = marker, shared
            loop = self._worker.loop
            with suppress(RuntimeError):  # the loop is closed: the worker is about to end, and all of it goes with it
                loop.call_soon_threadsafe(loop.call_later, LENT_S, self._take_back, id, shared)
            return sharing.offer(shared)

    def _take_back(self, id: TaskId, shared: Shared) -> None:
        lent = self._lent.get(id)
        if lent is not None and lent[1] is shared:
            del self._lent[id]

    def _brought(self, id: TaskId, marker: Elsewhere) -> Blob | None:
        """Return a value that is elsewhere as it travels; None if it is not to be had any more."""
        try:
            return marker.pack()
        except LostValueError as error:
            logger.warning("%s; it will be made again", error)
            with self._worker.executor.lock:
                self._worker.core.data.drop([id])
            return None
        except BaseException as error:  # a user's mapping or class may raise anything
            return unloadable(error)


def _as_it_came(blob: Blob, near: bool) -> Blob:
    if type(blob) is not Shared:
        return blob
    return sharing.offer(blob) if near else sharing.plain(blob)


def packed(value: object) -> Blob:
    """Pickle a value for the way; of one that cannot travel, an object that raises why when it is unpickled."""
    try:
        return payload.dumps(value, "the result", borrow=True)
    except Exception as error:  # PickleError, or a MemoryError for a copy too large
        return unloadable(error)
    except BaseException as error:  # its own __reduce__ may raise SystemExit
        return unloadable(PickleError("the result", f"value: {type(value).__qualname__}", failure.words(error)))


def unloadable(error: BaseException) -> Blob:
    """Return an object that raises an error when it is unpickled."""
    return payload.dumps(failure.Unloadable(failure.dump(error, "the pickling of a result")[0]))
