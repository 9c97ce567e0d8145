"""What a worker can say of its tasks to whoever asks: their states, and where in their code they are.

What lives here: the answer to `Report`, and functions that clients run on workers (`RunFunction`). What this file must
never know: who asks.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from windrow import logs, versions
from windrow.keys import Key
from windrow.wire.requests import Report
from windrow.worker import executor
from windrow.worker.state import Attempt

__all__ = ["call_stacks", "recent_logs", "report", "states", "threads_of_tasks"]


async def report(request: Report, worker: Any) -> bytes:
    """Return, in MessagePack, what a worker is asked to say: pairs for mappings by key, as keys may be tuples."""
    found: Any
    if request.what == "logs":
        found = logs.recent("worker", request.n)
    elif request.what == "stacks":
        found = list((await call_stacks(request.keys, worker)).items())
    elif request.what == "states":
        found = states(request.keys, worker)
    else:
        found = versions.versions(request.packages)
    return msgspec.msgpack.encode(found)


def states(keys: list[Key] | None, dask_worker: Any) -> list[tuple[Key, str]]:
    """Return the state of each attempt that is here, as (key, state); of all when ``keys`` is None."""
    wanted = None if keys is None else set(keys)
    with dask_worker.executor.lock:
        attempts = list(dask_worker.core.attempts.values())
    return [(attempt.key, attempt.state) for attempt in attempts if wanted is None or attempt.key in wanted]


async def call_stacks(keys: list[Key] | None, dask_worker: Any) -> dict[Key, list[str]]:
    """Return the frames of each task that runs here, outermost first, as text; of all when ``keys`` is None.

    Nothing is kept for this while tasks run: their frames are found by the frames of the executor below them.
    """
    wanted = None if keys is None else set(keys)
    found: dict[Key, list[str]] = {}
    in_threads = [(key, frames) for _, key, frames in _in_threads(dask_worker)]
    for key, frames in [*in_threads, *_on_loop(dask_worker)]:
        if wanted is None or key in wanted:
            found[key] = traceback.StackSummary.extract((frame, line) for frame, line in frames).format()
    return found


Frames = list[tuple[FrameType, int]]


def threads_of_tasks(worker: Any) -> dict[int, Key]:
    """Return the keys of the tasks that run in threads of a worker, by the thread's identifier."""
    return {thread: key for thread, key, _ in _in_threads(worker)}


def _in_threads(worker: Any) -> Iterator[tuple[int, Key, Frames]]:
    for thread, top in sys._current_frames().items():
        frames: Frames = []
        frame: FrameType | None = top
        while frame is not None:
            if frame.f_code.co_filename == executor.__file__:
                attempt = frame.f_locals.get("attempt")
                owner = frame.f_locals.get("self")
                if frames and isinstance(attempt, Attempt) and owner is worker.executor:
                    yield thread, attempt.key, frames[::-1]
                    break
            else:
                frames.append((frame, frame.f_lineno))
            frame = frame.f_back


def _on_loop(worker: Any) -> Iterator[tuple[Key, Frames]]:
    for task in asyncio.all_tasks():
        key: Key | None = None
        frames: Frames = []
        awaited: Any = task.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            if frame is None:
                break
            place = frame.f_locals.get("place")
            if key is not None:
                frames.append((frame, frame.f_lineno))
            elif frame.f_code.co_filename == executor.__file__ and isinstance(place, executor.OnLoop):
                key = place.key if place.executor is worker.executor else None
            awaited = awaited.cr_await
        if key is not None and frames:
            yield key, frames


def recent_logs(dask_worker: Any) -> list[tuple[str, str]]:
    """Return the log records of this worker as (level, text), newest first."""
    return logs.recent("worker", None, dask_worker.address)
