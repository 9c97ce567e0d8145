"""An executor for tests, and the loop's part of a worker played by the test."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from windrow.wire import failure, payload
from windrow.wire.messages import Done, Erred, Function, Ghosts, Run, Seceded, TaskId
from windrow.worker.core import WorkerCore
from windrow.worker.executor import Executor

LIMIT_S = 10.0


def double(x: Any) -> Any:
    return 2 * x


class Gate:
    """A door between a test and its tasks, which run in the same process."""

    def __init__(self) -> None:
        self.entered: queue.Queue[object] = queue.Queue()
        self.opened = threading.Event()

    def wait(self, value: object = None) -> object:
        """A task comes in, and waits until the test opens."""
        self.entered.put(value)
        assert self.opened.wait(LIMIT_S)
        return value

    def await_entry(self) -> object:
        """The test waits until a task is inside."""
        return self.entered.get(timeout=LIMIT_S)


GATES: dict[str, Gate] = {}


def through(gate: str, value: object = None) -> object:
    """Task: wait at a gate."""
    return GATES[gate].wait(value)


class Shop:
    """An executor with its core, and the loop's part of a worker played by the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, nthreads: int = 1, inline_limit: int = 1000) -> None:
        self.core = WorkerCore()
        self.wakes: queue.Queue[str] = queue.Queue()
        self.cells = memoryview(bytearray(8 * nthreads)).cast("q")
        wake = lambda: self.wakes.put(threading.current_thread().name)  # noqa: E731
        self.executor = Executor(self.core, nthreads, wake, loop, inline_limit, self.cells)
        self.heard: list[Any] = []
        self.functions: dict[Callable[..., Any], int] = {}
        self.executor.start()

    def hear(self, *messages: Any) -> None:
        """Messages of the scheduler arrive."""
        with self.executor.lock:
            self.core.receive(list(messages))
            self.executor.offer()
            dropped = self.core.data.take_dropped()
        dropped.clear()

    def number(self, function: Callable[..., Any]) -> int:
        """The number of a function, which the worker is sent when it is new."""
        number = self.functions.get(function)
        if number is None:
            number = self.functions[function] = len(self.functions) + 1
            self.hear(Function(number, getattr(function, "__name__", "?"), payload.dumps(function)))
        return number

    def order(self, task: int, function: Callable[..., Any], *args: object, inputs: tuple[int, ...] = ()) -> Run:
        """An attempt, not yet sent."""
        blob = payload.dumps((args, {}))
        return Run(
            TaskId(task), 1, f"k{task}", self.number(function), blob, 0.0, True, [TaskId(source) for source in inputs]
        )

    def submit(self, task: int, function: Callable[..., Any], *args: object) -> None:
        """An attempt arrives."""
        self.hear(self.order(task, function, *args))

    def outcomes(self, count: int = 1) -> list[Any]:
        """Carry away what is said until there are so many outcomes; return them."""
        while len(self.heard) < count:
            self.wakes.get(timeout=LIMIT_S)
            with self.executor.lock:
                self.executor.taken()
                self.heard += [message for message in self.core.take_out() if type(message) not in (Ghosts, Seceded)]
                dropped = self.core.data.take_dropped()
                self.executor.offer()
            dropped.clear()
        assert len(self.heard) == count, self.heard
        heard, self.heard = self.heard, []
        return heard

    def done(self, task: int, function: Callable[..., Any], *args: object) -> Done:
        """Run one attempt that succeeds."""
        self.submit(task, function, *args)
        [done] = self.outcomes()
        assert type(done) is Done, failure.load(done.error)
        return done

    def erred(self, task: int, function: Callable[..., Any], *args: object) -> tuple[BaseException, Erred]:
        """Run one attempt that fails."""
        self.submit(task, function, *args)
        [erred] = self.outcomes()
        assert type(erred) is Erred, erred
        return failure.load(erred.error, erred.text), erred

    def close(self) -> None:
        """Let gates open, and threads end."""
        for gate in GATES.values():
            gate.opened.set()
        GATES.clear()
        self.executor.stop()
        for thread in self.executor._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def wait_until_idle(shop: Shop) -> None:
    """Wait until all threads wait for work (the condition tells, under the executor's own lock)."""
    end = time.monotonic() + LIMIT_S
    while True:
        with shop.executor.lock:
            if shop.executor._idle == len(shop.executor._threads) and not shop.core.ready:
                return
        assert time.monotonic() < end
        time.sleep(0)
