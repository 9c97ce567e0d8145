"""``python -m windrow.worker``: one worker process, started by a nanny.

What lives here: how a process becomes a worker, and ends. What this file must never know: who starts it, or why.

It reads one line of JSON from its standard input (the worker's arguments, the secret, the path to import from); the
rest of that pipe is its lifeline: when it ends, so does the process, and all that its tasks have started. On the
descriptor ``status_fd`` it writes a line each: its address, before the scheduler hears of it (so that no death of a
worker that the scheduler knows is without an account); `JOINED`; and `CLOSED`, when the scheduler has closed it in good
order.
Nothing secret is ever on the command line or in the environment.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from windrow import context, offspring
from windrow.when_imported import when_imported

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

LIFELINE_S = 1.0
"""How much later than the scheduler's connection the lifeline may be seen to end, where both were one process's."""

JOINED = "joined"
CLOSED = "closed"


def main() -> None:
    """Read the options, then be a worker until the scheduler or the lifeline ends."""
    options: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's program, which then closes its cluster
    lifeline = offspring.take_lifeline()
    offspring.die_with(options["parent_pid"])
    watcher = threading.Thread(
        target=offspring.watch_lifeline, args=(lifeline, _end_with_tasks), name="lifeline", daemon=True
    )
    watcher.start()
    import faulthandler

    faulthandler.enable(all_threads=False)  # the thread at fault is what the nanny's account has room for
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a task has printed is not lost with the process
    # What the user's program finds, in its order; what only this process has (its own PYTHONPATH) comes after.
    sys.path[:] = [*options["path"], *(entry for entry in sys.path if entry not in options["path"])]
    code = 1
    try:
        try:
            import uvloop
        except ImportError:
            code = asyncio.run(_serve(options))
        else:
            code = uvloop.run(_serve(options))
    except BaseException:  # it could not start, or something is broken: the nanny passes these words on
        _tell(traceback.format_exc())
    _tell("")
    if code:  # the scheduler is gone: where the nanny is too, what tasks have started is the watcher's to end
        watcher.join(LIFELINE_S)
    os._exit(code)  # threads may still be in a task, and nothing of it is wanted


def _tell(words: str) -> None:
    """Write to stderr, and flush both streams; where nobody reads them any more, nobody misses it."""
    for stream, text in ((sys.stderr, words), (sys.stdout, "")):
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):
            continue


async def _serve(options: dict[str, Any]) -> int:
    from windrow import security
    from windrow.worker import inherited

    scheduler = options["scheduler"]
    security.remember(scheduler, bytes.fromhex(options["secret"]))
    given = inherited.Inherited(
        options["nanny"], options["directory"], options["echoes"], _recorder(options["recorder_fd"], options["cells"])
    )
    make, kwargs = _wanted(options)
    inherited.leave(given)
    worker = make(scheduler, **kwargs)
    when_imported("dask.config", _be_what_dask_computes_on)
    status_fd = options["status_fd"]
    os.set_inheritable(status_fd, False)
    starting = asyncio.ensure_future(worker.start())
    # It listens first. Then it joins, which takes the scheduler's answer, and so more turns of the loop than this.
    while not worker.address and not starting.done():
        await asyncio.sleep(0)
    if worker.address:
        _say(status_fd, worker.address)
    await starting
    _say(status_fd, JOINED)
    import gc

    gc.collect()
    gc.freeze()  # what is here now stays; no collection need ever look at it again
    reason = await worker.ended
    if reason:
        _tell(f"windrow worker {worker.name} ends: {reason}\n")
        return 1
    _say(status_fd, CLOSED)
    return 0


def _be_what_dask_computes_on(config: Any) -> None:
    config.set(scheduler=context.AtHand().get)
    if config.get("dataframe.shuffle.method", None) is None:
        config.set({"dataframe.shuffle.method": "tasks"})


def _say(status_fd: int, line: str) -> None:
    try:
        os.write(status_fd, f"{line}\n".encode())
    except BrokenPipeError:  # the nanny is gone, and so will this process be, by its lifeline
        return


def _wanted(options: dict[str, Any]) -> tuple[Callable[..., WorkerServer], dict[str, Any]]:
    """Return the class of the worker, and its arguments: plain ones, or pickled where they are not plain."""
    if options["pickled"]:
        import pickle

        make, kwargs = pickle.loads(bytes.fromhex(options["pickled"]))
        return make, kwargs
    from windrow.worker.worker import Worker

    return Worker, options["kwargs"]


def _recorder(fd: int, cells: int) -> memoryview:
    import mmap

    return memoryview(mmap.mmap(fd, 8 * cells)).cast("q")


def _end_with_tasks() -> None:
    """End this process together with what tasks have started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
