"""A worker's memory in fact: it is measured, values are written to disk, tasks are held back, and words are said.

What lives here: `MemoryMonitor`, which is ``worker.memory_manager``. What this file must never know: the rules
(`memory`), how a value is written (`spill`), how the scheduler is told.

One thread writes, beginning with the first value that has to go; it enters the worker's lock before and after each
value, never meanwhile. What tasks have made since the last measurement counts at once (`Store.brim`): no task starts
while there is too much and the thread has still something to write, so that tasks that make arrays faster than the disk
takes them cannot outrun the next measurement.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any

from windrow import memfd, segments, system
from windrow.errors import PickleError, in_bytes
from windrow.node import Status
from windrow.wire import activity, payload
from windrow.wire.messages import TaskId
from windrow.worker import compression, memory
from windrow.worker.keeping import Keeping
from windrow.worker.memory import MemoryOptions
from windrow.worker.spill import Disk, MaxSpillExceeded, is_full, remove
from windrow.worker.store import Packed
from windrow.worker.words import largest

if TYPE_CHECKING:
    from windrow.worker.facade import WorkerFacade
    from windrow.worker.store import Store

logger = logging.getLogger("windrow.worker.memory")

TELL_EVERY_S = 60.0
"""The same warning is not given more often."""

PAUSE_WORDS_S = 1.0
"""A pause is spoken of when it has lasted so long: one that writing to disk ends soon is no news."""

STEP = 0.05
"""Results of so much of the limit call for a measurement of their own: the process may have grown by more than them."""

DISK_RETRY_S = 5.0
"""How long a disk that was full, or failed, is left alone."""

LARGE_BYTES = 2**20
"""For a copy of so much it is looked whether there is room."""

TRIM_EVERY_S = 10.0
"""How often what the allocator keeps is asked back, while a worker is paused and has nothing more to write."""


class MemoryMonitor:
    """Watches over one worker's memory.

    Parameters
    ----------
    worker
        Whose memory it is.
    options
        The settings.
    limit
        The worker's limit in bytes, 0 for none.
    data
        A mapping for the values, or what makes one (see `keeping.new_mapping`); None: they are kept here, and spilled.
    measures
        Whether the process is the worker's own, so that its size says something about the worker.

    Examples
    --------
    >>> client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': 4294967296}
    """

    def __init__(
        self, worker: WorkerFacade, options: MemoryOptions, limit: int, data: Any = None, measures: bool = True
    ) -> None:
        self.options = options
        self._worker = worker
        self._limit = limit
        self._measures = measures
        self._codec = compression.codec(options.compression)
        self._unmanaged = memory.Unmanaged(options.recent_s)
        self._process = 0
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[str, float] = {}
        self._idle_disk_until_s = 0.0
        self._write_due = False
        self._trimmed_s = 0.0
        self._paused_since_s: float | None = None
        """When the present pause began; None when nothing is to be said of it (any more)."""
        self._stopped = False
        self._copying = 0
        self.keeping = None if data is None else Keeping(data, worker.scratch, self._later)
        self.disk = Disk(lambda: worker.scratch.path, options.max_spill, self._codec, self._discard)

    def __repr__(self) -> str:
        return f"<MemoryMonitor limit={in_bytes(self._limit)} process={in_bytes(self._process)} {self.disk!r}>"

    # ------------------------------------------------------------ what code on the worker sees

    @property
    def memory_limit(self) -> int | None:
        """The worker's limit in bytes, None for none."""
        return self._limit or None

    @memory_limit.setter
    def memory_limit(self, limit: int | None) -> None:
        self._limit = limit or 0

    @property
    def memory_target_fraction(self) -> float | bool:
        """Of managed memory: beyond it values go to disk; False: never for that reason."""
        return _or_false(self.options.target)

    @memory_target_fraction.setter
    def memory_target_fraction(self, fraction: float | bool | None) -> None:
        self.options.target = fraction or None

    @property
    def memory_spill_fraction(self) -> float | bool:
        """Of the process's memory: beyond it values go to disk; False: never for that reason."""
        return _or_false(self.options.spill)

    @memory_spill_fraction.setter
    def memory_spill_fraction(self, fraction: float | bool | None) -> None:
        self.options.spill = fraction or None

    @property
    def memory_pause_fraction(self) -> float | bool:
        """Of the process's memory: beyond it no task starts; False: the worker never pauses."""
        return _or_false(self.options.pause)

    @memory_pause_fraction.setter
    def memory_pause_fraction(self, fraction: float | bool | None) -> None:
        self.options.pause = fraction or None

    @property
    def memory_terminate_fraction(self) -> float | bool:
        """Of the process's memory: beyond it the nanny ends the worker; False: it does not."""
        return _or_false(self.options.terminate)

    @property
    def max_spill(self) -> int | bool:
        """How many bytes may lie on disk; False: any number."""
        return False if self.options.max_spill is None else self.options.max_spill

    @property
    def spills(self) -> bool:
        """Whether values go to disk."""
        return self.keeping is None and self.options.spills(self._limit)

    # ------------------------------------------------------------ the loop's side

    def start(self) -> None:
        """Begin to watch."""
        if self.keeping is not None:
            self._start_thread()
        self._judge()
        if self._limit:
            self._timer = self._worker.loop.call_later(self.options.interval_s, self._beat)

    def stop(self) -> None:
        """Watch no more, and write nothing more."""
        self._stopped = True
        self.disk.close()
        if self._timer is not None:
            self._timer.cancel()
        self._queue.put(None)

    def wake(self) -> None:
        """Have values written until there is room."""
        if self.spills and not self._stopped and not self._write_due and not self._worker.core.data.tried_all:
            self._write_due = True
            self._start_thread()
            self._queue.put(self._write)

    def grown(self) -> None:
        """Results have come beyond what the store watches for: measure, or have values written."""
        store = self._worker.core.data
        if store.managed > store.measure_at:
            self.look()
        else:
            self.wake()

    def _beat(self) -> None:
        if self._stopped:
            return
        self._timer = self._worker.loop.call_later(self.options.interval_s, self._beat)
        self.look()

    def look(self) -> None:
        """Measure, and pause or resume the worker, or have values written, if that is due."""
        core = self._worker.core
        self._judge()
        if (core.data.is_pressed or core.paused) and segments.give_back():
            self._judge()
        if core.data.is_blocked and time.monotonic() >= self._idle_disk_until_s:
            core.data.block(False)
        paused = self._measures and memory.is_too_full(self.options, self._limit, self._process)
        if paused is not core.paused:
            self._worker.visit(lambda: core.pause(paused))
            self._paused_since_s = time.monotonic() if paused else None
        elif self._paused_since_s is not None and time.monotonic() - self._paused_since_s >= PAUSE_WORDS_S:
            self._paused_since_s = None
            self._say_pause()
        if self._worker.status in (Status.running, Status.paused):
            self._worker.status = Status.paused if paused else Status.running
        if core.data.is_pressed:
            self.wake()
        elif paused:
            self._trim_soon()

    def _judge(self) -> None:
        """Measure, and tell the store its marks; from any thread."""
        self._process = resident_bytes()
        store = self._worker.core.data
        with self._worker.executor.lock:
            process = self._process if self._measures else store.managed
            options = self.options if self.keeping is None else KEEPS_ALL
            guards = self._limit and options.terminate is not None
            most_inputs = self._limit if guards else math.inf
            step = STEP * self._limit if self._limit else math.inf
            was_brimful = store.is_brimful
            store.set_marks(memory.marks(options, self._limit, process, store.managed), most_inputs, step)
            if was_brimful and not store.is_brimful:
                # the process has shrunk: there may be nothing to write any more, after which tasks would be offered
                self._worker.executor.offer()

    @contextmanager
    def room_for(self, nbytes: int) -> Iterator[bool]:
        """Say whether there is room for a copy of so many bytes, and keep it until that is made."""
        lock = self._worker.executor.lock
        limit = self._limit * (self.options.pause or 1.0)
        is_large = bool(limit) and self._measures and nbytes >= LARGE_BYTES
        process = resident_bytes() if is_large else 0
        with lock:
            has_room = not is_large or process + self._copying + nbytes <= limit
            self._copying += nbytes
        try:
            yield has_room
        finally:
            with lock:
                self._copying -= nbytes

    def facts(self) -> dict[str, float]:
        """Return what the heartbeat tells: bytes."""
        store = self._worker.core.data
        self._process = resident_bytes()
        with self._worker.executor.lock:
            managed, elsewhere = store.managed, store.elsewhere
        if self.keeping is not None:
            managed, elsewhere = managed + elsewhere, 0
        unmanaged = max(0, self._process - managed)
        return {
            "memory": float(self._process),
            "managed": float(managed),
            "spilled": float(elsewhere),
            "spilled_disk": float(self.disk.used),
            "unmanaged_old": float(self._unmanaged.old(self._worker.loop.time(), unmanaged)),
        }

    # ------------------------------------------------------------ the writing thread

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="windrow-spill", daemon=True)
            self._thread.start()

    def _later(self, do: Callable[[], None]) -> None:
        """Have something done by the thread; from any thread, and from the end of any object."""
        self._queue.put(do)

    def _discard(self, path: str) -> None:
        self._queue.put(lambda: remove(path))

    def _serve(self) -> None:
        while (do := self._queue.get()) is not None:
            try:
                do()
            except Exception:  # a user's class or mapping may raise anything where it is let go
                logger.exception("the thread that writes values to disk goes on after an error")
            del do

    def _write(self) -> None:
        """Write values until there is room, or nothing more can be written."""
        self._write_due = False  # who finds that more has come from here on has it looked at again
        store, lock = self._worker.core.data, self._worker.executor.lock
        while not self._stopped:
            room = self.disk.room
            with lock:
                going = store.next_out(room)
                dropped = store.take_dropped()
                nbytes = store.size(going[0]) if going is not None else 0
                self._worker.executor.offer()
            dropped.clear()
            if going is None:
                self._look_why_it_ends(store)
                return
            id, value = TaskId(going[0]), going[1]
            del going
            goes_on = self._write_one(store, id, value, nbytes)
            del value
            segments.give_back()  # where that was in shared memory, it is free now
            self._judge()
            if not goes_on:
                return

    def _write_one(self, store: Store, id: TaskId, value: object, nbytes: int) -> bool:
        """Write one value; return whether another one may be tried."""
        lock, start = self._worker.executor.lock, perf_counter()
        try:
            spilled = self.disk.write(value, nbytes)
        except (MaxSpillExceeded, OSError) as error:
            with lock:
                store.cannot_go(for_good=False)
            self._leave_disk_alone(error)
            return False
        except BaseException as error:  # as a rule a PickleError; a user's __reduce__ may raise anything
            with lock:
                store.cannot_go(for_good=True)
            self._say_stuck(value, error)
            return True
        notes = self._worker.core.notes
        if notes is not None:
            spent_s = perf_counter() - start
            notes.spent(activity.DISK_WRITE, id, threading.get_ident(), start, spent_s, spilled.stored)
        with lock:
            store.went_out(spilled)
            dropped = store.take_dropped()
            self._worker.executor.offer()
        dropped.clear()
        return True

    def _look_why_it_ends(self, store: Store) -> None:
        if store.is_pressed and self.disk.room < max(store.sizes.values(), default=0):
            self._leave_disk_alone(MaxSpillExceeded())

    def _leave_disk_alone(self, error: Exception) -> None:
        if self._stopped:
            return
        self._idle_disk_until_s = time.monotonic() + DISK_RETRY_S
        with self._worker.executor.lock:
            self._worker.core.data.block(True)
            self._worker.executor.offer()
        held = in_bytes(self._worker.core.data.managed)
        if isinstance(error, MaxSpillExceeded):
            limit = in_bytes(self.disk.limit or 0)
            self._tell(
                "max-spill",
                f"no more than {limit} may lie on disk (distributed.worker.memory.max-spill), and that is used up: "
                f"{held} of values stay in memory. Raise it, release futures, or have more workers",
            )
            return
        remedy = "free some of it, or put the workers' directories elsewhere (local_directory=, temporary-directory)"
        what = "is full" if isinstance(error, OSError) and is_full(error) else f"cannot be written to ({error})"
        where = self._worker.scratch.planned
        self._tell("disk", f"the disk of {where} {what}: {held} of values stay in memory; {remedy}")

    def adopt(self, ids: list[TaskId]) -> None:
        """Have values that came from elsewhere kept where they are to be."""
        for id in ids:
            self._later(partial(self._adopt, id))

    def _adopt(self, id: TaskId) -> None:
        core, lock, keeping = self._worker.core, self._worker.executor.lock, self.keeping
        assert keeping is not None
        with lock:
            packed, key = core.data.get(id), core.names.get(id)
        if type(packed) is not Packed or key is None:
            return
        kept = keeping.keep(key, payload.loads(packed.blob, copy=True), payload.nbytes(packed.blob))
        with lock:
            if core.data.get(id) is packed:
                core.data.put_elsewhere(id, kept)
            dropped = core.data.take_dropped()
        del packed, kept
        dropped.clear()

    # ------------------------------------------------------------ words

    def _tell(self, kind: str, words: str) -> None:
        now_s = time.monotonic()
        if now_s - self._told.get(kind, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told[kind] = now_s
            logger.warning("worker %r: %s", self._worker.config.name, words)

    def _say_stuck(self, value: object, error: BaseException) -> None:
        why = str(error) if isinstance(error, PickleError) else repr(error)
        self._tell("stuck", f"a value of type {type(value).__qualname__} stays in memory, and cannot go to disk: {why}")

    def _say_pause(self) -> None:
        store, options = self._worker.core.data, self.options
        part = 100 * self._process / self._limit
        with self._worker.executor.lock:
            held = {id: store.size(id) for id in store}
            names = dict(self._worker.core.names)
        unmanaged = max(0, self._process - store.managed)
        advice = (
            "Most of it is no task's result: running tasks, libraries' caches, or what the allocator keeps."
            if 2 * unmanaged > self._process
            else "Release futures, make tasks' results smaller, or have more or larger workers."
        )
        self._tell(
            "paused",
            f"its process takes {in_bytes(self._process)}, {part:.0f} % of its limit of {in_bytes(self._limit)}; "
            f"it starts no task until that is below {100 * (options.pause or 0):.0f} % "
            f"(distributed.worker.memory.pause). Results in memory: {in_bytes(store.managed)}, on disk: "
            f"{in_bytes(store.elsewhere)}{largest(held, names)}. {advice}",
        )

    # ------------------------------------------------------------ what the allocator keeps

    def _trim_soon(self) -> None:
        """Have garbage collected and freed memory given back to the system, now and then."""
        now_s = time.monotonic()
        if now_s - self._trimmed_s >= TRIM_EVERY_S:
            self._trimmed_s = now_s
            self._start_thread()
            self._later(trim)


KEEPS_ALL = MemoryOptions(target=None, spill=None)
"""The settings of a store whose values are kept elsewhere."""


def _or_false(fraction: float | None) -> float | bool:
    return False if fraction is None else fraction


def trim() -> None:
    """Collect garbage, and have the C library give free memory back to the system, where it can."""
    gc.collect()
    import ctypes

    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if malloc_trim is not None:
        malloc_trim(0)


def resident_bytes() -> int:
    """Return how much memory this process takes.

    Examples
    --------
    >>> resident_bytes() > 2**20
    True
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)
    held, viewed = memfd.held.total(), memfd.viewed.total()
    if not held and not viewed:
        return resident
    return system.bytes_of_process(resident, system.shared_bytes(), held, viewed)
