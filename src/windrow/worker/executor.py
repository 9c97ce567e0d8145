"""The threads that run tasks: each takes an attempt from the core, runs it, hands in the result, and takes the next.

What lives here: `Executor`, and how one attempt is run. What this file must never know: connections, the scheduler.

A hop between two threads costs about 95 us, a lock less than one: so a thread that has finished a task enters the core
itself, under its lock, and leaves with the next attempt. The loop is woken once for many results.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from windrow.errors import TaskError
from windrow.wire import failure, payload
from windrow.wire.messages import Blob
from windrow.worker.core import WorkerCore
from windrow.worker.sizes import size_of
from windrow.worker.state import Attempt
from windrow.worker.store import Packed


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
        A cell a thread, where the id of the task that it runs is written: readable after a crash.
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
        self._functions: dict[int, Callable[..., Any]] = {}
        self._cells = recorder if recorder is not None else memoryview(bytearray(8 * nthreads)).cast("q")
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"windrow-task-{slot}", daemon=True)
            for slot in range(nthreads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have idle threads end, and busy ones after their task."""
        with self.lock:
            self._stopped = True
            self._ready.notify_all()

    def offer(self) -> None:
        """Let idle threads know of ready attempts (with the lock held)."""
        if self._idle and self.core.ready:
            self._ready.notify(min(self._idle, len(self.core.ready)))

    def taken(self) -> None:
        """Say that the loop takes the news away now (with the lock held)."""
        self._wake_due = False
        if self.core.forgotten_functions:
            for number in self.core.forgotten_functions:
                self.core.data.dropped.append(self._functions.pop(number, None))
            self.core.forgotten_functions.clear()

    def _serve(self, slot: int) -> None:
        core, lock, cells = self.core, self.lock, self._cells
        attempt: Attempt | None = None
        while True:
            if attempt is None:
                with lock:
                    attempt = self._await_attempt()
                if attempt is None:
                    return
            cells[slot] = attempt.id
            try:
                finish = self._run(attempt)
            except BaseException as error:  # a thread that ended would take its slot along
                finish = _give_account(attempt, error)
            with lock:
                finish(core)
                attempt = core.next_attempt()
                wake = not self._wake_due
                self._wake_due = True
            # A thread that waits keeps no result alive; and if nobody wants it, its end is not inside the lock.
            del finish
            if attempt is None:
                cells[slot] = 0
            if wake:
                self._wake()

    def _await_attempt(self) -> Attempt | None:
        while not self._stopped:
            attempt = self.core.next_attempt()
            if attempt is not None:
                return attempt
            if self.core.out and not self._wake_due:  # it has given up an attempt, and the loop is to tell
                self._wake_due = True
                self._wake()
            self._idle += 1
            self._ready.wait()
            self._idle -= 1
        return None

    # ------------------------------------------------------------ one attempt

    def _run(self, attempt: Attempt) -> Callable[[WorkerCore], None]:
        """Run an attempt; return what enters its outcome into the core."""
        start = perf_counter()
        try:
            function = self._functions.get(attempt.function) or self._load(attempt.function)
            if attempt.values is None:
                args, kwargs = payload.loads(attempt.args, copy=self._copy)  # type: ignore[misc]
            else:
                args, kwargs = self._arguments(attempt)
            start = perf_counter()
            value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                value, raised = asyncio.run_coroutine_threadsafe(failure.caught(value), self.loop).result()
                if raised is not None:
                    return self._failed(attempt, perf_counter() - start, raised)
            seconds = perf_counter() - start
            nbytes = size_of(value)
            blob, value_type = self._inline(attempt, value, nbytes) if attempt.inline else (None, None)
        except BaseException as error:  # whatever a task or its result raises is its outcome
            return self._failed(attempt, perf_counter() - start, error)
        finally:
            attempt.values = None
        return lambda core: core.finish(attempt, value, seconds, nbytes, blob, value_type)

    def _load(self, number: int) -> Callable[..., Any]:
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
        return function  # type: ignore[no-any-return]

    def _arguments(self, attempt: Attempt) -> tuple[Any, Any]:
        values = attempt.values
        assert values is not None
        unpacked: list[tuple[int, Packed]] = []
        for index, value in enumerate(values):
            if type(value) is Packed:
                values[index] = payload.loads(value.blob, copy=self._copy)
                unpacked.append((index, value))
        if unpacked:
            with self.lock:
                for index, packed in unpacked:
                    self.core.data.unpacked(attempt.inputs[index], packed, values[index])
        with payload.resolving(values):
            call: Any = payload.loads(attempt.args, copy=self._copy)
        return call  # type: ignore[no-any-return]

    def _inline(self, attempt: Attempt, value: object, nbytes: int) -> tuple[Blob | None, bytes | None]:
        """Pickle a small result to ride along; of a large one, its type."""
        try:
            if nbytes <= self.inline_limit:
                blob = payload.dumps(value, f"the result of task {attempt.key!r}")
                if type(blob) is bytes and len(blob) <= self.inline_limit:
                    return blob, None
            kind = payload.dumps(type(value))
            return None, kind if type(kind) is bytes else None
        except BaseException:  # as a rule a PickleError; it stays here, live, and who gathers it is told why
            return None, None

    def _failed(self, attempt: Attempt, seconds: float, error: BaseException) -> Callable[[WorkerCore], None]:
        blob, text = failure.dump(error, f"task {attempt.key!r}", skip_frames=1)
        return lambda core: core.fail(attempt, seconds, blob, text)


def _give_account(attempt: Attempt, error: BaseException) -> Callable[[WorkerCore], None]:
    """Make an attempt's failure of what went wrong with it outside its function, out of plain text."""
    blob, text = failure.dump(
        TaskError(f"Task {attempt.key!r} has ended without an outcome: {failure.words(error)}. Its worker goes on.")
    )
    return lambda core: core.fail(attempt, 0.0, blob, text)
