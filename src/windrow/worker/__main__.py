"""``python -m windrow.worker``: one worker process, started by a nanny.

What lives here: how a process becomes a worker, and ends. What this file must never know: who starts it, or why.

It reads one line of JSON from its standard input (its `WorkerConfig`, the secret, the path to import from); the rest of
that pipe is its lifeline: when it ends, so does the process. On the descriptor ``status_fd`` it writes its address
once it has joined. Nothing secret is ever on the command line or in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read the options, then be a worker until the scheduler or the lifeline ends."""
    options: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's program, which then closes its cluster
    _die_with(options["parent_pid"])
    threading.Thread(target=_watch_lifeline, name="lifeline", daemon=True).start()
    import faulthandler

    faulthandler.enable()
    for entry in options["path"]:
        if entry not in sys.path:
            sys.path.append(entry)
    try:
        import uvloop
    except ImportError:
        code = asyncio.run(_serve(options))
    else:
        code = uvloop.run(_serve(options))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads may still be in a task, and nothing of it is wanted


async def _serve(options: dict[str, Any]) -> int:
    import msgspec

    from windrow.worker.server import WorkerConfig, WorkerServer

    config = msgspec.convert(options["config"], WorkerConfig)
    worker = WorkerServer(config, bytes.fromhex(options["secret"]), _recorder(options["recorder_fd"], config.nthreads))
    await worker.start()
    import gc

    gc.collect()
    gc.freeze()  # what is here now stays; no collection need ever look at it again
    os.write(options["status_fd"], (worker.address + "\n").encode())
    os.close(options["status_fd"])
    reason = await worker.finished
    if reason:
        print(f"windrow worker {config.name} ends: {reason}", file=sys.stderr)
    return 0


def _recorder(fd: int, nthreads: int) -> memoryview | None:
    if fd < 0:
        return None
    import mmap

    return memoryview(mmap.mmap(fd, 8 * nthreads)).cast("q")


def _watch_lifeline() -> None:
    """End with the nanny, whatever the event loop is doing."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def _die_with(parent_pid: int) -> None:
    """Have the kernel end this process with its parent, even while a task's C code holds the interpreter."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the call
        os._exit(0)


if __name__ == "__main__":
    main()
