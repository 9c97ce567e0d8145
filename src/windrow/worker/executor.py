"""The threads that run tasks: each takes an attempt from the core, runs it, hands in the result, and takes the next.

What lives here: `Executor`, `Seat`, and how one attempt is run. What this file must never know: connections, the
scheduler.

A task may leave its thread's place to another (`Seat.secede`): when it says so, when it waits for other tasks, and when
it is a coroutine, which runs on the loop. A thread whose task has left ends with that task, or waits for a place to
become free again (`Seat.rejoin`); so no more threads have places than the worker has. Threads that a task starts may
know its seat, during the task and after it: one of them at a time moves it, and none when the task has ended.

A hop between two threads costs about 95 us, a lock less than one: so a thread that has finished a task enters the core
itself, under its lock, and leaves with the next attempt. The loop is woken once for many results.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from threading import get_ident
from time import perf_counter
from typing import Any

from windrow import context
from windrow.errors import Reschedule, TaskError
from windrow.keys import Key
from windrow.primitives import actor
from windrow.wire import activity, failure, payload, sharing
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import STAYS, TaskId
from windrow.worker.core import WorkerCore
from windrow.worker.keeping import Keeping
from windrow.worker.sizes import size_of
from windrow.worker.state import Attempt
from windrow.worker.store import Elsewhere, LostValueError, Packed

logger = logging.getLogger("windrow.worker")

Outcome = Callable[[WorkerCore], None]
"""Enters what became of an attempt into the core."""


class Seat:
    """Where a task runs in a thread (`context.Place`): a place among the worker's threads, which it may leave."""

    __slots__ = ("attempt", "cell", "executor", "returning", "slot")

    def __init__(self, executor: Executor, slot: int) -> None:
        self.executor = executor
        self.cell: int | None = None
        """Its cell of the flight recorder while it runs outside of the threads."""
        self.slot: int | None = slot
        """The number of the place; None when the thread has left it."""
        self.returning = False
        """Whether somebody waits to take a place again."""
        self.attempt: Attempt | None = None
        """What runs here; changed under the executor's lock only."""

    @property
    def key(self) -> Key:
        """The key of the task that runs here."""
        attempt = self.attempt
        if attempt is None:
            raise RuntimeError("the task that started this thread has ended")
        return attempt.key

    @property
    def priority(self) -> float:
        """Its priority."""
        attempt = self.attempt
        return 0.0 if attempt is None else attempt.priority

    @property
    def worker(self) -> Any:
        """The worker."""
        return self.executor.worker

    @property
    def owner(self) -> object:
        """The attempt; None when it has ended."""
        return self.attempt

    @property
    def seceded(self) -> bool:
        """Whether the thread has left its place."""
        return self.slot is None

    def secede(self) -> None:
        """Leave the place to another thread; again is harmless."""
        self.executor.leave(self, runs_on=True)

    def step_aside(self) -> Callable[[bool], None] | None:
        """Leave the place to another thread, to wait; return what ends that, if it has left."""
        attempt = self.executor.leave(self, runs_on=False)
        return None if attempt is None else partial(self.executor.come_back, self, attempt)

    def rejoin(self) -> None:
        """Wait for a place, and take it; again is harmless."""
        attempt = self.attempt
        if attempt is not None:
            self.executor.come_back(self, attempt)


class OnLoop:
    """Where a coroutine runs (`context.Place`): it takes no thread."""

    __slots__ = ("attempt", "cell", "executor")

    seceded = True

    def __init__(self, executor: Executor, attempt: Attempt) -> None:
        self.executor = executor
        self.cell: int | None = None
        self.attempt = attempt

    @property
    def key(self) -> Key:
        """The key of the task that runs here."""
        return self.attempt.key

    @property
    def priority(self) -> float:
        """Its priority."""
        return self.attempt.priority

    @property
    def worker(self) -> Any:
        """The worker."""
        return self.executor.worker

    @property
    def owner(self) -> object:
        """The attempt."""
        return self.attempt

    def secede(self) -> None:
        """Do nothing: it takes no thread."""

    def step_aside(self) -> None:
        """Do nothing: it takes no thread."""

    def rejoin(self) -> None:
        """Do nothing: it takes no thread."""


CELLS_OF_MEMORY = 3
CELLS_OUTSIDE = 64
"""So many tasks that run outside of the threads leave a trace in the flight recorder; the others cannot be blamed."""


def recorder_cells(nthreads: int) -> int:
    """Return how many cells a flight recorder has: for each thread, for some outside, and three about memory.

    Those are: the bytes of segments that the process has, and of its views of them (`windrow.memfd`); and the most
    memory that was seen.

    Examples
    --------
    >>> recorder_cells(2)
    69
    """
    return nthreads + CELLS_OUTSIDE + CELLS_OF_MEMORY


class Executor:
    """Threads over a core.

    Parameters
    ----------
    core
        The worker's decisions; entered under ``lock`` only.
    nthreads
        How many tasks run at a time.
    wake
        Called from a thread, once, when there is news for the loop; `taken` re-arms it.
    loop
        Where coroutine functions run.
    shares_memory
        Whether the scheduler is in this process, so that what it sends must be copied before a task may change it.
    recorder
        Cells where the ids of tasks that run are written: readable after a crash. See `recorder_cells`.
    """

    def __init__(
        self,
        core: WorkerCore,
        nthreads: int,
        wake: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        inline_limit: int,
        recorder: memoryview | None = None,
        shares_memory: bool = False,
    ) -> None:
        self.core = core
        self.lock = threading.Lock()
        self.loop = loop
        self.inline_limit = inline_limit
        self._copy = shares_memory
        self._wake = wake
        self._wake_due = False
        self._ready = threading.Condition(self.lock)
        self._idle = 0
        self._stopped = False
        self.worker: Any = None
        """What tasks get from ``get_worker()``."""
        self.keeping: Keeping | None = None
        """Where results are kept, if that is not here."""
        self._waiting: deque[Seat] = deque()  # those that have left and want a place again
        self._given = threading.Condition(self.lock)
        self._functions: dict[int, Callable[..., Any]] = {}
        size = 8 * recorder_cells(nthreads)
        self._cells = recorder if recorder is not None else memoryview(bytearray(size)).cast("q")
        self._free_cells = list(range(nthreads, len(self._cells) - CELLS_OF_MEMORY))
        self.seats: dict[int, Seat] = {}
        """Who sits in each thread that may run tasks, by the thread's identifier."""
        self._threads = [self._new_thread(slot) for slot in range(nthreads)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have idle threads end, and busy ones after their task."""
        with self.lock:
            self._stopped = True
            self._ready.notify_all()
            self._given.notify_all()

    def offer(self) -> None:
        """Let idle threads know of ready attempts (with the lock held)."""
        if self._idle and self.core.ready and self.core.may_start():
            self._ready.notify(min(self._idle, len(self.core.ready)))

    def taken(self) -> None:
        """Say that the loop takes the news away now (with the lock held)."""
        self._wake_due = False
        if self.core.forgotten_functions:
            for number in self.core.forgotten_functions:
                self.core.data.dropped.append(self._functions.pop(number, None))
            self.core.forgotten_functions.clear()

    def forget_functions(self) -> None:
        """Load each function anew before its next call."""
        with self.lock:
            self.core.data.dropped.append(self._functions)
            self._functions = {}

    def _new_thread(self, slot: int) -> threading.Thread:
        return threading.Thread(target=self._serve, args=(Seat(self, slot),), name=f"windrow-task-{slot}", daemon=True)

    def _serve(self, seat: Seat) -> None:
        thread = get_ident()
        self.seats[thread] = seat
        try:
            self._serve_seat(seat)
        finally:
            del self.seats[thread]

    def _serve_seat(self, seat: Seat) -> None:
        core, lock, cells = self.core, self.lock, self._cells
        context.enter(seat)
        attempt: Attempt | None = None
        while True:
            if attempt is None:
                with lock:
                    attempt = self._await_attempt(seat)
                if attempt is None:
                    return
            try:
                finish = self._run(attempt)
            except BaseException as error:  # a thread that ended would take its slot along
                finish = _give_account(attempt, error)
            with lock:
                finish(core)
                slot = seat.slot
                if slot is None or self._waiting:
                    self._end_here(seat)
                    attempt = slot = None
                else:
                    attempt = seat.attempt = core.next_attempt()
                    cells[slot] = 0 if attempt is None else attempt.id
                wake = not self._wake_due
                self._wake_due = True
            # A thread that waits keeps no result alive; and if nobody wants it, its end is not inside the lock.
            del finish
            if wake:
                self._wake()
            if slot is None:  # the place is another thread's now
                return

    def _end_here(self, seat: Seat) -> None:
        """A task has ended, and with it its thread (with the lock held): its place, if it has one, is another's."""
        seat.attempt = None
        if seat.slot is not None:
            self._give_up(seat)
        elif seat.returning:  # a thread that the task had started wants a place for it, too late
            self._waiting.remove(seat)
            self._given.notify_all()
        self._free_cell(seat.cell)
        seat.cell = None

    def _await_attempt(self, seat: Seat) -> Attempt | None:
        while not self._stopped:
            if self._waiting:
                self._give_up(seat)
                return None
            attempt = seat.attempt = self.core.next_attempt()
            if attempt is not None:
                assert seat.slot is not None
                self._cells[seat.slot] = attempt.id
                return attempt
            if self.core.out and not self._wake_due:  # it has given up an attempt, and the loop is to tell
                self._wake_due = True
                self._wake()
            self._idle += 1
            self._ready.wait()
            self._idle -= 1
        return None

    # ------------------------------------------------------------ leaving a place, and coming back

    def leave(self, seat: Seat, runs_on: bool) -> Attempt | None:
        """Take a thread from its place, which goes to one that waits for it, or to a new one.

        Return what has left; None if it had left already, or cannot because there are no more threads to be had.
        """
        with self.lock:
            slot, attempt = seat.slot, seat.attempt
            if slot is None or attempt is None or seat.returning:
                return None
            if self._waiting:
                self._give_up(seat)
            else:
                try:
                    self._new_thread(slot).start()
                except RuntimeError:
                    return None
                seat.slot = None
                self._cells[slot] = 0
            self.core.leave(attempt)
            if runs_on:
                seat.cell = self._take_cell(attempt)
        self._tell()
        return attempt

    def come_back(self, seat: Seat, attempt: Attempt, waits: bool = True) -> None:
        """Wait until a place is free, and take it; those that have run longer go before what has not started.

        With ``waits=False`` it runs on without a place if none is free.
        """
        with self.lock:
            if seat.attempt is not attempt or seat.slot is not None or seat.returning:
                return
            if not waits and len(self._waiting) >= self._idle:
                seat.cell = self._take_cell(attempt)
                return
            self._waiting.append(seat)
            self._ready.notify()
            seat.returning = True
            while seat.slot is None and seat.attempt is attempt and not self._stopped:
                self._given.wait()
            seat.returning = False
            if seat.attempt is not attempt:
                return
            if seat.slot is None:
                self._waiting.remove(seat)
                return
            self._free_cell(seat.cell)
            seat.cell = None
            self.core.come_back(attempt)
        self._tell()

    def _give_up(self, seat: Seat) -> None:
        """Hand a place to the first that waits for one (with the lock held)."""
        heir = self._waiting.popleft()
        slot = seat.slot
        assert slot is not None
        assert heir.attempt is not None, "who waits for a place has a task to go on with"
        heir.slot, seat.slot = slot, None
        self._cells[slot] = heir.attempt.id
        self._given.notify_all()

    def _take_cell(self, attempt: Attempt) -> int | None:
        """Note (with the lock held) that an attempt runs outside of the threads; None if there is no room for it."""
        if not self._free_cells:
            return None
        cell = self._free_cells.pop()
        self._cells[cell] = attempt.id
        return cell

    def _free_cell(self, cell: int | None) -> None:
        if cell is not None:
            self._cells[cell] = 0
            self._free_cells.append(cell)

    def _tell(self) -> None:
        """Have the loop carry away what the core has to say."""
        with self.lock:
            due, self._wake_due = self._wake_due, True
        if not due:
            self._wake()

    # ------------------------------------------------------------ one attempt

    def _run(self, attempt: Attempt) -> Outcome:
        """Run an attempt; return what enters its outcome into the core."""
        start = perf_counter()
        try:
            function = self._functions.get(attempt.function) or self._load(attempt)
            if attempt.values is None:
                args, kwargs = _loaded(attempt.args, self._copy)
            else:
                args, kwargs = self._arguments(attempt)
            start = perf_counter()
            value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                return self._start_on_loop(attempt, value, start)
            return self._finished(attempt, value, start, perf_counter() - start)
        except _Lost as lost:
            input = lost.input
            return lambda core: core.lost(attempt, input)
        except _Unopened:
            return lambda core: core.reschedule(attempt, unopened=True)
        except BaseException as error:  # whatever a task or its result raises is its outcome
            return self._failed(attempt, start, perf_counter() - start, error)
        finally:
            attempt.values = None

    def _finished(
        self, attempt: Attempt, value: object, start: float, seconds: float, thread: int | None = None
    ) -> Outcome:
        nbytes = size_of(value)
        notes = self.core.notes
        if notes is not None:
            if seconds < notes.apart_s and start < notes.due_s:  # as `Notes.ended` would: for most, no call
                notes.left_out += 1
            else:
                thread = get_ident() if thread is None else thread
                notes.ended(attempt.id, True, thread, start, seconds, nbytes, _type_name(type(value)))
        if attempt.actor:
            address = self.worker.address if self.worker is not None else ""
            proxy = payload.dumps(actor.proxy_of(value, address, attempt.key, attempt.id), "the class of an actor")
            return lambda core: core.host(attempt, value, seconds, nbytes, proxy)
        blob, value_type = self._inline(attempt, value, nbytes) if attempt.inline else (None, None)
        if self.keeping is not None:
            kept = self.keeping.keep(attempt.key, value, nbytes)
            return lambda core: core.finish_elsewhere(attempt, kept, seconds, blob, value_type)
        return lambda core: core.finish(attempt, value, seconds, nbytes, blob, value_type)

    # ------------------------------------------------------------ coroutines

    def _start_on_loop(self, attempt: Attempt, coroutine: Coroutine[Any, Any, Any], start: float) -> Outcome:
        """Let a coroutine run on the loop, and its thread go on; it is as if it had seceded."""
        place = OnLoop(self, attempt)

        async def run() -> Any:
            context.enter(place)
            return await coroutine

        running = run()
        watched = failure.caught(running)

        def done(future: Future[tuple[Any, BaseException | None]]) -> None:
            # The result is pickled, and its end may run anything: in a thread, not on the loop that calls this.
            try:
                threading.Thread(target=self._end_on_loop, args=(place, future, start), daemon=True).start()
            except RuntimeError:  # no more threads are to be had
                self._end_on_loop(place, future, start)

        def begin(core: WorkerCore) -> None:
            core.leave(attempt)
            place.cell = self._take_cell(attempt)
            try:
                future = asyncio.run_coroutine_threadsafe(watched, self.loop)
            except RuntimeError:  # the loop has ended, and the worker with it
                for each in (watched, running, coroutine):
                    each.close()
            else:
                future.add_done_callback(done)

        return begin

    def _end_on_loop(self, place: OnLoop, future: Future[tuple[Any, BaseException | None]], start: float) -> None:
        attempt, seconds = place.attempt, perf_counter() - start
        try:
            if future.cancelled():
                if self._stopped:
                    return  # with the worker
                raise asyncio.CancelledError  # by itself, or by another task on the loop
            value, raised = future.result()
            finish = (
                self._finished(attempt, value, start, seconds, thread=0)
                if raised is None
                else self._failed(attempt, start, seconds, raised, own_frames=2, thread=0)
            )
        except BaseException as error:  # as in `_run`
            finish = self._failed(attempt, start, seconds, error, thread=0)
        with self.lock:
            finish(self.core)
            self._free_cell(place.cell)
        self._tell()

    def _note(self, kind: int, task: TaskId, start: float, nbytes: int = 0) -> None:
        """Note what a thread has done for a task just now, if somebody looks."""
        notes = self.core.notes
        if notes is not None:
            notes.spent(kind, task, get_ident(), start, perf_counter() - start, nbytes)

    def _load(self, attempt: Attempt) -> Callable[..., Any]:
        number, start = attempt.function, perf_counter()
        with self.lock:
            message = self.core.functions[number]
        try:
            function: Any = payload.loads(message.code)
        except Exception as error:  # importing a user's module may raise anything
            raise TaskError(
                f"The function {message.name!r} cannot be loaded on this worker: {type(error).__name__}: {error}. "
                "Is its module installed, or on the path, where the workers run?"
            ) from error
        self._functions[number] = function
        self._note(activity.DESERIALIZE, attempt.id, start)
        return function  # type: ignore[no-any-return]

    def _arguments(self, attempt: Attempt) -> tuple[Any, Any]:
        values = attempt.values
        assert values is not None
        unpacked: list[tuple[int, Packed | Elsewhere]] = []
        for index, value in enumerate(values):
            kind = type(value)
            if kind is Packed:
                start = perf_counter()
                loaded = values[index] = payload.loads(value.blob, copy=self._copy)  # type: ignore[attr-defined]
                self._note(activity.DESERIALIZE, attempt.id, start)
                # Proxies are not shared: what a task binds ends with it.
                if type(loaded) is not actor.Actor and not value.stays:  # type: ignore[attr-defined]
                    unpacked.append((index, value))  # type: ignore[arg-type]
            elif issubclass(kind, Elsewhere):
                start = perf_counter()
                values[index] = _brought(attempt.inputs[index], value)  # type: ignore[arg-type]
                self._note(activity.DISK_READ, attempt.id, start, value.nbytes)  # type: ignore[attr-defined]
                if not kind.stays:
                    unpacked.append((index, value))  # type: ignore[arg-type]
        if unpacked:
            with self.lock:
                for index, packed in unpacked:
                    self.core.data.unpacked(attempt.inputs[index], packed, values[index])
        with payload.resolving(values):
            return _loaded(attempt.args, self._copy)

    def _inline(self, attempt: Attempt, value: object, nbytes: int) -> tuple[Blob | None, bytes | None]:
        """Pickle a small result to ride along; of a large one, its type."""
        if nbytes <= self.inline_limit:
            try:
                blob = payload.dumps(value, f"the result of task {attempt.key!r}")
            except BaseException:  # as a rule a PickleError; it stays here, live, and who gathers it is told why
                return None, STAYS
            if type(blob) is bytes and len(blob) <= self.inline_limit:
                return blob, None
        try:
            kind = payload.dumps(type(value))
        except BaseException:  # a class may raise anything
            return None, None
        return None, kind if type(kind) is bytes else None

    def _failed(
        self,
        attempt: Attempt,
        start: float,
        seconds: float,
        error: BaseException,
        own_frames: int = 1,
        thread: int | None = None,
    ) -> Outcome:
        notes = self.core.notes
        if notes is not None:
            thread = get_ident() if thread is None else thread
            notes.ended(attempt.id, False, thread, start, seconds, 0, _type_name(type(error)))
        if isinstance(error, Reschedule):
            return lambda core: core.reschedule(attempt)
        blob, text = failure.dump(error, f"task {attempt.key!r}", skip_frames=own_frames)
        return lambda core: core.fail(attempt, seconds, blob, text)


def _type_name(kind: type) -> str:
    """Return the name of a type, with its module; a class may say anything of that."""
    module = type.__getattribute__(kind, "__module__")
    name: str = type.__dict__["__qualname__"].__get__(kind)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name


class _Lost(Exception):
    """An input that was elsewhere is not to be had."""

    def __init__(self, input: TaskId) -> None:
        super().__init__(input)
        self.input = input


class _Unopened(Exception):
    """Arguments were offered as memory that cannot be opened here."""


def _loaded(args: Blob, copy: bool) -> tuple[Any, Any]:
    """Return the arguments of a call."""
    if type(args) is Shared and not sharing.attached(args):
        raise _Unopened
    return payload.loads(args, copy=copy)  # type: ignore[return-value]


def _brought(input: TaskId, marker: Elsewhere) -> object:
    """Return an input that is elsewhere."""
    try:
        return marker.load()
    except LostValueError as error:
        logger.warning("%s; it will be made again", error)
        raise _Lost(input) from error


def _give_account(attempt: Attempt, error: BaseException) -> Outcome:
    """Make an attempt's failure of what went wrong with it outside its function, out of plain text."""
    blob, text = failure.dump(
        TaskError(f"Task {attempt.key!r} has ended without an outcome: {failure.words(error)}. Its worker goes on.")
    )
    return lambda core: core.fail(attempt, 0.0, blob, text)
