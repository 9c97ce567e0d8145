"""A worker's process, from its start to its end: its pipes, its flight recorder, and the account of its end.

What lives here: `WorkerProcess`. What this file must never know: what follows from an end, or what the worker runs.

Its stderr passes through here, and the last lines are kept for the account. On the status pipe the worker says where it
listens, that it has joined, why it could not start, that the scheduler has closed it, or that it wants another in its
place. The flight recorder is a page of shared memory where the worker's threads write the id of the task that they run,
and its heartbeat the most memory that it has seen; it outlives the worker.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import mmap
import os
import signal
import subprocess
import tempfile
import threading
import time
from array import array
from contextlib import ExitStack
from typing import IO, Any, Protocol

from msgspec import Struct

from windrow import offspring
from windrow.account import Account
from windrow.deploy import forward, gauge
from windrow.deploy.last_words import Tail, tell_apart
from windrow.plugins.scratch import discard
from windrow.wire import failure
from windrow.wire.messages import TaskId
from windrow.worker.__main__ import AGAIN, CLOSED, ENDS, FAILED, JOINED, STOP
from windrow.worker.executor import CELLS_OF_MEMORY, recorder_cells

__all__ = ["Orders", "Watcher", "WorkerProcess"]

logger = logging.getLogger("windrow.nanny")

READS_PER_TURN = 4
"""Of 64 KiB each: however much a worker writes to stderr, the loop has its turn; and all that a pipe holds is read."""


class Orders(Struct):
    """What a process is started with."""

    options: dict[str, Any]
    """What the worker is told; see `windrow.worker.__main__`."""
    env: dict[str, str]
    directory: str
    """The worker's own; what it leaves there is removed."""
    nthreads: int
    limit_bytes: int = 0


class Watcher(Protocol):
    """Whoever is told of a process."""

    def on_joined(self) -> None:
        """The worker has joined the scheduler."""

    def before_kill(self, process: WorkerProcess) -> None:
        """The process is about to be ended on purpose."""

    def on_exit(self, process: WorkerProcess, account: Account) -> None:
        """It has ended."""


class WorkerProcess:
    """One worker process; to be made on the event loop that watches it.

    Parameters
    ----------
    watcher
        Who is told.
    orders
        What to start.

    Raises
    ------
    OSError
        The system does not start it.
    """

    def __init__(self, watcher: Watcher, orders: Orders) -> None:
        self.watcher = watcher
        self.loop = asyncio.get_running_loop()
        self.address = ""
        self.directory = orders.directory
        self.limit_bytes = orders.limit_bytes
        self.joined = False
        self.closed = False
        """The scheduler has closed it in good order."""
        self.wants_successor = False
        """It has ended so that another takes its place."""
        self.expected = False
        """Its end is no death."""
        self.failed: BaseException | None = None
        """What it could not start for."""
        self.ended: asyncio.Future[Account] = self.loop.create_future()
        self.started_s = time.monotonic()
        self.now_bytes = self.peak_bytes = 0
        self.running: list[TaskId] = []
        """The tasks that its threads were running at its end."""
        self._tail = Tail()
        self._status = b""
        self._over_bytes = 0
        self._reason = ""
        self._terminate = 0.0
        # The kernel's figure of a process begins with that of the one that started it: only a larger one says anything.
        self._own_peak_bytes = gauge.own_peak_bytes()
        with ExitStack() as undo:
            self._start(orders, undo)
            undo.pop_all()

    def _start(self, orders: Orders, undo: ExitStack) -> None:
        """Start the process; ``undo`` takes back what was done until something failed."""
        gauge.kernel.look()
        cells = recorder_cells(orders.nthreads)
        with ExitStack() as passed:  # descriptors that are the process's alone, once it has them
            recorder_fd = _shared_page(8 * cells)
            passed.callback(os.close, recorder_fd)
            self._recorder = mmap.mmap(recorder_fd, 8 * cells)
            undo.callback(self._recorder.close)
            self._status_fd, status_fd = os.pipe()
            undo.callback(os.close, self._status_fd)
            passed.callback(os.close, status_fd)
            options = {
                **orders.options,
                "directory": orders.directory,
                "parent_pid": os.getpid(),
                "recorder_fd": recorder_fd,
                "cells": cells,
                "status_fd": status_fd,
            }
            self.popen = subprocess.Popen(
                offspring.command("windrow.worker.__main__"),
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(recorder_fd, status_fd),
                start_new_session=True,  # Ctrl-C in the terminal is not for it; its children can be ended with it
                env=orders.env,
            )
        stdin, stderr = self.popen.stdin, self.popen.stderr
        assert stdin is not None
        assert stderr is not None
        self._stdin: IO[bytes] = stdin
        self._stderr: IO[bytes] = stderr
        self._gauge = gauge.Gauge(self.popen.pid)
        try:
            threading.Thread(target=self._wait, name="nanny-wait", daemon=True).start()
        except RuntimeError as error:  # no room for a thread
            _kill_group(self.popen.pid)
            self.popen.communicate()
            self._gauge.close()
            raise OSError(errno.EAGAIN, str(error)) from error
        self._say(json.dumps(options).encode() + b"\n")
        os.set_blocking(self._status_fd, False)
        os.set_blocking(stderr.fileno(), False)
        self.loop.add_reader(self._status_fd, self._read_status)
        self.loop.add_reader(stderr.fileno(), self._read_stderr)

    def __repr__(self) -> str:
        return f"<WorkerProcess pid={self.pid} {'alive' if self.is_alive() else self.popen.returncode}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.popen.returncode is None

    # ------------------------------------------------------------ what is done to it

    def measure(self) -> int:
        """Return how much memory it has now."""
        held, viewed, _ = array("q", self._recorder[-8 * CELLS_OF_MEMORY :])
        self.now_bytes = self._gauge.resident_bytes(held, viewed)
        self.peak_bytes = max(self.peak_bytes, self.now_bytes)
        return self.now_bytes

    def ask_to_stop(self) -> None:
        """Ask it to close and end, by the pipe that is its lifeline; `ended` says when."""
        self.expected = True
        self._say(STOP)

    def kill(self) -> None:
        """End it, and what it has started, whatever it is doing; the watcher hears of it before."""
        self._read_status()
        self.expected = True
        self.watcher.before_kill(self)
        self._kill()

    def kill_for_memory(self, over_bytes: int, terminate: float) -> None:
        """End it for what it has; this is a death, and what it runs is to blame."""
        self._over_bytes, self._terminate = over_bytes, terminate
        self._kill()

    def _kill(self) -> None:
        if self.popen.returncode is None:
            _kill_group(self.popen.pid)

    def _say(self, line: bytes) -> None:
        try:
            self._stdin.write(line)
            self._stdin.flush()
        except (BrokenPipeError, ValueError):  # it is dead already, and its end tells why
            logger.debug("worker process %d ended before it could be told %d bytes", self.popen.pid, len(line))

    # ------------------------------------------------------------ its end

    def _wait(self) -> None:
        pid = self.popen.pid
        try:
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                _kill_group(pid)  # before the pid is given back: until then it is surely this process's group
            _, status, usage = os.wait4(pid, 0)
            code, peak_bytes = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        except ChildProcessError:  # the user's program has waited for any child, and has been given this one
            code, peak_bytes = 255, 0
        self.popen.returncode = code
        try:
            self.loop.call_soon_threadsafe(self._on_exit, code, peak_bytes)
        except RuntimeError:  # the loop is closed: nobody asks any more
            return

    def _on_exit(self, code: int, peak_bytes: int) -> None:
        self._read_stderr()
        self._read_status()
        self.loop.remove_reader(self._stderr.fileno())
        self._stop_status()
        self._stderr.close()
        self._gauge.close()
        _close_quietly(self._stdin)
        *running, _, _, peak_seen_bytes = array("q", self._recorder[:])
        self.running = [TaskId(id) for id in running if id]
        self._recorder.close()
        if self.running and not self.joined:  # it had no time to say so
            self.joined = True
            self.watcher.on_joined()
        if os.path.exists(self.directory):  # it had no time to remove it, or no longer than for a part
            threading.Thread(target=discard, args=(self.directory,), name="nanny-tidy", daemon=True).start()
        self.peak_bytes = max(self.peak_bytes, peak_seen_bytes)
        if peak_bytes > self._own_peak_bytes:
            self.peak_bytes = max(self.peak_bytes, peak_bytes)
        account = self._account(code)
        if not self.ended.done():
            self.ended.set_result(account)
        self.watcher.on_exit(self, account)

    def _account(self, code: int) -> Account:
        words = tell_apart(self._tail.lines(), crashed=code < 0)
        was_killed = code == -signal.SIGKILL and not self.expected and not self._over_bytes
        return Account(
            said=self._reason,
            exit_code=code,
            seconds=time.monotonic() - self.started_s,
            peak_bytes=self.peak_bytes,
            limit_bytes=self.limit_bytes,
            over_bytes=self._over_bytes,
            terminate=self._terminate,
            oom_kills=gauge.kernel.claim() if was_killed else None,
            last_lines=words.lines,
            fatal=words.fatal,
            stack=words.stack,
            raised="" if self.failed is None else failure.words(self.failed.__cause__ or self.failed),
        )

    # ------------------------------------------------------------ what it says

    def _read_status(self) -> None:
        while self._status_fd >= 0:
            try:
                data = os.read(self._status_fd, 65536)
            except BlockingIOError:
                return
            if not data:
                self._stop_status()
            *lines, self._status = (self._status + data).split(b"\n")
            for line in lines:
                self._hear(line.decode())

    def _hear(self, said: str) -> None:
        if said == JOINED:
            self.joined = True
            self.watcher.on_joined()
        elif said == CLOSED:
            self.closed = self.expected = True
        elif said == AGAIN:
            self.wants_successor = self.expected = True
        elif said.startswith(ENDS):
            self._reason = said.removeprefix(ENDS)
        elif said.startswith(FAILED):
            self.failed = failure.load(bytes.fromhex(said.removeprefix(FAILED)))
        else:
            self.address = said

    def _stop_status(self) -> None:
        if self._status_fd >= 0:
            self.loop.remove_reader(self._status_fd)
            os.close(self._status_fd)
            self._status_fd = -1

    def _read_stderr(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                data = os.read(self._stderr.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                self.loop.remove_reader(self._stderr.fileno())
                return
            self._tail.feed(data)
            forward.stderr.write(data)


def _kill_group(pid: int) -> None:
    """End a worker's process and all that its tasks have started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone already (on macOS, a group of zombies)
        return


def _close_quietly(file: IO[bytes]) -> None:
    try:
        file.close()
    except BrokenPipeError:  # the process is gone, and what was to be written to it does not matter
        return


def _shared_page(size: int) -> int:
    """Return a descriptor of anonymous shared memory."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("windrow-recorder")
    else:
        file, path = tempfile.mkstemp(prefix="windrow-recorder-")
        os.unlink(path)
        fd = file
    os.ftruncate(fd, size)
    return fd
