"""A scheduler that does nothing by itself: it writes down what a client sends, and says what a test tells it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from windrow.runtime import LoopThread
from windrow.transport.inproc import pair
from windrow.wire import failure, payload
from windrow.wire import messages as m
from windrow.wire import requests as r

LIMIT_S = 5.0


class FakeScheduler:
    """Also the cluster object that a client is given."""

    scheduler_address = "inproc://fake"
    status = "running"
    dashboard_link = "http://127.0.0.1:8787/status"
    secret = b""

    def __init__(self, asynchronous: bool = False) -> None:
        self.loop_thread = None if asynchronous else LoopThread()
        self.got: list[Any] = []
        self.frames: list[list[Any]] = []
        self.changed = threading.Condition()
        self.seen = 0
        self.link: Any = None
        self.lost: list[str] = []
        self.closed = 0
        self.replies: dict[type, Callable[[Any], m.Reply]] = {r.Identity: lambda request: m.Reply(0, identity())}

    async def connect_inproc(self) -> Any:
        import asyncio

        loop = asyncio.get_running_loop()
        ours, theirs = pair(loop, loop, "fake")
        self.link = ours
        ours.on_lost = self.lost.append
        ours.on_batch = self.on_batch
        return theirs

    def close(self) -> None:
        self.closed += 1

    # ------------------------------------------------------------ what the client says

    def on_batch(self, batch: list[Any]) -> None:
        with self.changed:
            self.frames.append(batch)
            for message in batch:
                self.got.append(message)
                if isinstance(message, m.Release | m.Cancel):
                    self.seen = message.number
                if isinstance(message, m.Call) and type(message.request) in self.replies:
                    reply = self.replies[type(message.request)](message.request)
                    reply.id = message.id
                    self.link.send([reply])
            self.changed.notify_all()

    def of(self, kind: type) -> list[Any]:
        """Messages of one kind so far; of requests, if it is one."""
        with self.changed:
            requests = [x.request for x in self.got if isinstance(x, m.Call)]
            return [x for x in [*self.got, *requests] if isinstance(x, kind)]

    def wait_for(self, kind: type, count: int = 1) -> list[Any]:
        """At least so many messages of one kind."""
        with self.changed:
            ok = self.changed.wait_for(lambda: len(self.of(kind)) >= count, LIMIT_S)
        assert ok, f"{len(self.of(kind))} {kind.__name__} came instead of {count}: {self.got}"
        return self.of(kind)

    def tasks(self) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
        """Arguments by key, of tasks without inputs."""
        return {
            key: payload.loads(blob)
            for submit in self.of(m.Submit)
            for key, blob in zip(submit.keys, submit.args, strict=True)
        }

    def keys(self) -> list[str]:
        return [key for submit in self.of(m.Submit) for key in submit.keys]

    # ------------------------------------------------------------ what the client hears

    def send(self, *messages: Any) -> None:
        self.link._loop.call_soon_threadsafe(self.link.send, list(messages))

    def finish(self, values: dict[str, Any], seen: int | None = None) -> None:
        blobs = [payload.dumps(value) for value in values.values()]
        self.send(m.Finished(self.seen if seen is None else seen, list(values), blobs))

    def finish_large(self, *keys: str, kind: type = bytes) -> None:
        self.send(m.Finished(self.seen, list(keys), [None] * len(keys), [payload.dumps(kind)] * len(keys)))

    def fail(self, error: BaseException, *keys: str, seen: int | None = None) -> None:
        blob, text = failure.dump(error)
        self.send(m.Failed(self.seen if seen is None else seen, list(keys), blob, text))

    def cut(self, reason: str = "reset by peer") -> None:
        self.link._loop.call_soon_threadsafe(self.link.abort, reason)

    def stop(self) -> None:
        if self.loop_thread is not None:
            self.loop_thread.stop()


def identity(workers: int = 2) -> dict[str, Any]:
    return {
        "type": "Scheduler",
        "id": "Scheduler-1",
        "address": "tcp://127.0.0.1:8786",
        "workers": {
            f"tcp://127.0.0.1:{4000 + n}": {
                "name": n,
                "host": "127.0.0.1",
                "nthreads": 2,
                "memory_limit": 2**30,
                "status": "running",
            }
            for n in range(workers)
        },
    }


def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own, with a limit."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.0005)
