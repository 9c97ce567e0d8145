"""``python -m windrow.worker``: one worker process, started by a nanny.

What lives here: how a process becomes a worker, and ends. What this file must never know: who starts it, or why.

It reads one line of JSON from its standard input (the worker's arguments, the secret, the path to import from); the
rest of that pipe is its lifeline: when it ends, so does the process, and all that its tasks have started; `STOP` on it
asks the worker to close. On the descriptor ``status_fd`` it writes a line each: its address, before the scheduler hears
of it (so that no death of a worker that the scheduler knows is without an account); `JOINED`, or `FAILED` and the
exception, in hex; and `CLOSED`, when it has been closed in good order, or is about to be, `AGAIN`, when it has ended so
that another takes its place, or `ENDS` and why it has otherwise.
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
from functools import partial
from typing import TYPE_CHECKING, Any

from windrow import context, offspring, startup, system
from windrow.runtime import new_loop
from windrow.when_imported import when_imported

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

LIFELINE_S = 1.0
"""How much later than the scheduler's connection the lifeline may be seen to end, where both were one process's."""

JOINED = "joined"
CLOSED = "closed"
AGAIN = "again"
FAILED = "failed "
ENDS = "ends "
STOP = b"stop\n"


def main() -> None:
    """Read the options, then be a worker until the scheduler or the lifeline ends."""
    options: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    system.raise_open_files()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's program, which then closes its cluster
    lifeline = offspring.take_lifeline()
    offspring.die_with(options["parent_pid"])
    watcher = threading.Thread(
        target=offspring.watch_lifeline, args=(lifeline, _end_with_tasks, _hear), name="lifeline", daemon=True
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
        startup.run(options["startup"])
        with asyncio.Runner(loop_factory=new_loop) as runner:
            code = runner.run(_serve(options))
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
    status_fd = options["status_fd"]
    os.set_inheritable(status_fd, False)
    try:
        worker = await _started(options, status_fd)
    except Exception as error:  # whatever it is, whoever waits for the nanny is to have it
        from windrow.wire import failure

        _say(status_fd, FAILED + failure.dump(error, "the start of a worker")[0].hex())
        return 1
    _say(status_fd, JOINED)
    loop = asyncio.get_running_loop()
    _stop.then = lambda: loop.call_soon_threadsafe(_close_soon, worker)
    if _stop.asked:
        _close_soon(worker)
    import gc

    gc.collect()
    gc.freeze()  # what is here now stays; no collection need ever look at it again
    reason = await worker.ended
    if worker.wants_successor:
        _say(status_fd, AGAIN)
    elif reason:
        _say(status_fd, ENDS + " ".join(reason.split()))
        _tell(f"windrow worker {worker.name} ends: {reason}\n")
        return 1
    else:
        _say(status_fd, CLOSED)
    return 0


async def _started(options: dict[str, Any], status_fd: int) -> WorkerServer:
    """Make the worker, and have it listen and join."""
    from windrow import security, tls
    from windrow.worker import inherited, output

    scheduler = options["scheduler"]
    certificates = options.get("certificates")
    security.remember(
        scheduler, bytes.fromhex(options["secret"]), tls.Security.from_record(certificates) if certificates else None
    )
    given = inherited.Inherited(
        options["nanny"], options["directory"], options["echoes"], _recorder(options["recorder_fd"], options["cells"])
    )
    make, kwargs = _wanted(options)
    inherited.leave(given)
    worker = make(scheduler, **kwargs)
    when_imported("dask.config", _be_what_dask_computes_on)
    if worker.output is not None:
        output.attend(worker.output)
    worker.on_listening = partial(_say, status_fd)
    _leave_on_sigterm(worker, status_fd)
    await worker
    return worker


def _leave_on_sigterm(worker: WorkerServer, status_fd: int) -> None:
    """Have the first SIGTERM send the worker away in good order, for good, and the second one end it at once."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        _say(status_fd, CLOSED)  # whatever comes now, nobody wants another in its place
        worker.background(worker.leave())

    loop.add_signal_handler(signal.SIGTERM, leave)


class _Stop:
    """The nanny's wish that the worker closes, which may come before there is one."""

    asked = False
    then: Callable[[], object] | None = None


_stop = _Stop()


def _hear(said: bytes) -> None:
    if STOP.strip() in said:
        _stop.asked = True
        if _stop.then is not None:
            _stop.then()


def _close_soon(worker: WorkerServer) -> None:
    closing = asyncio.ensure_future(worker.close(reason="its nanny asked it to"))
    _stop.then = lambda: closing  # which keeps it, and asks for nothing more


def _be_what_dask_computes_on(config: Any) -> None:
    config.set(scheduler=context.Get(context.AtHand()))
    for name in context.BY_TASKS:
        if config.get(name, None) is None:
            config.set({name: "tasks"})


def _say(status_fd: int, line: str) -> None:
    try:
        os.write(status_fd, f"{line}\n".encode())
    except BrokenPipeError:  # the nanny is gone, and so will this process be, by its lifeline
        return


def _wanted(options: dict[str, Any]) -> tuple[Callable[..., WorkerServer], dict[str, Any]]:
    """Return the class of the worker, and its arguments: plain ones, or pickled where they are not plain."""
    make, kwargs, trees = options["class"], options["kwargs"], options["config"]
    if options["pickled"]:
        import pickle

        make, kwargs, trees = pickle.loads(bytes.fromhex(options["pickled"]))
    from windrow import config

    for tree in trees:
        config.adopt(tree)
    if isinstance(make, str):
        import importlib

        module, _, name = make.rpartition(".")
        make = getattr(importlib.import_module(module), name)
    if make is None:
        from windrow.worker.worker import Worker

        make = Worker
    return make, kwargs


def _recorder(fd: int, cells: int) -> memoryview:
    import mmap

    return memoryview(mmap.mmap(fd, 8 * cells)).cast("q")


def _end_with_tasks() -> None:
    """End this process together with what tasks have started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
