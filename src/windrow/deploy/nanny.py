"""The nanny: starts a worker process, watches it from outside, says why it died, and starts the next.

What lives here: `Nanny`, its worker's process, and the account of a death. What this file must never know: what the
worker runs.

A worker's stderr passes through the nanny, which keeps the last lines for the account. On the status pipe the worker
says where it listens, that it has joined, and that the scheduler has closed it: then no other takes its place. The
flight recorder is a page of shared memory where the worker's threads write the id of the task that they run, and its
heartbeat the most memory that it has seen; it outlives the worker.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from array import array
from collections import deque
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import IO, Any

from msgspec import Struct

from windrow import addressing, config, offspring, security, system, transport
from windrow.deploy import forward
from windrow.errors import WorkerStartError
from windrow.node import Server, Status
from windrow.plugins.calling import answer_call
from windrow.plugins.held import Held, arrive
from windrow.plugins.scratch import Scratch, new_path
from windrow.primitives import plain
from windrow.primitives.topics import names_of
from windrow.transport import Link, inproc
from windrow.wire import failure
from windrow.wire.messages import (
    Call,
    Close,
    Died,
    HelloNanny,
    Log,
    Message,
    RegisterPlugin,
    Reply,
    RestartWorker,
    RunFunction,
    TaskId,
    UnregisterPlugin,
)
from windrow.worker.__main__ import CLOSED, JOINED
from windrow.worker.executor import recorder_cells

logger = logging.getLogger("windrow.nanny")

LAST_LINES = 20
LINE_BYTES = 4096
"""So much of the end of a line is kept for the account."""
READS_PER_TURN = 4
"""Of 64 KiB each: however much a worker writes to stderr, the loop has its turn; and all that a pipe holds is read."""
START_FAILURES_MAX = 3
"""A worker that could not be started, or ended without having joined, so often in a row is given up."""
RETRY_S = 0.2
"""How long to wait after the first such failure; after each further one `RETRY_FACTOR` times as long."""
RETRY_FACTOR = 5
FLUSH_S = 0.5
"""How long a close waits for what workers wrote to be passed on."""

_REMEDIES = {
    errno.EAGAIN: "raise the limit of processes and threads (ulimit -u), or have fewer of them",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or have fewer of them open",
    errno.ENFILE: "the whole system has too many files open",
    errno.ENOMEM: "have fewer workers, or free memory",
}
"""What to do where the system does not start a process."""


class Account(Struct, frozen=True):
    """What the nanny knows of a worker's end."""

    exit_code: int
    """As `subprocess.Popen.returncode`: negative for a signal."""
    seconds: float
    peak_bytes: int
    last_lines: tuple[str, ...]

    @property
    def cause(self) -> str:
        """How it ended, without its last words."""
        if self.exit_code < 0:
            try:
                name = signal.Signals(-self.exit_code).name
            except ValueError:  # a real-time signal has no name
                name = f"signal {-self.exit_code}"
            end = f"was killed by {name}"
        else:
            end = f"exited with code {self.exit_code}"
        return f"{end} after {self.seconds:.1f} s (peak memory {self.peak_bytes / 2**20:.0f} MiB)"

    @property
    def words(self) -> str:
        """Its last words, to follow the cause."""
        return f"; its last words: {' | '.join(self.last_lines)}" if self.last_lines else ""

    def __str__(self) -> str:
        return self.cause + self.words


class _Process:
    """One worker process: its pipes, its flight recorder, its end."""

    def __init__(self, nanny: Nanny) -> None:
        self.nanny = nanny
        self.loop = nanny.loop
        self.address = ""
        self.joined = False
        self.closed = False
        """The scheduler has closed it in good order."""
        self.expected = False
        self.ended: asyncio.Future[Account] = self.loop.create_future()
        self.started_s = time.monotonic()
        self._lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._partial = b""
        self._status = b""
        self.running: list[TaskId] = []
        """The tasks that its threads were running at its end."""
        # The kernel's figure of a process begins with that of the one that started it: only a larger one says anything.
        self._own_peak_bytes = _own_peak_bytes()
        with ExitStack() as undo:
            self._start(undo)
            undo.pop_all()

    def _start(self, undo: ExitStack) -> None:
        """Start the process; ``undo`` takes back what was done until something failed."""
        nanny = self.nanny
        self.directory = new_path("worker", nanny.local_home)
        cells = recorder_cells(nanny.nthreads)
        size = 8 * cells
        with ExitStack() as passed:  # descriptors that are the process's alone, once it has them
            recorder_fd = _shared_page(size)
            passed.callback(os.close, recorder_fd)
            self._recorder = mmap.mmap(recorder_fd, size)
            undo.callback(self._recorder.close)
            self._status_fd, status_fd = os.pipe()
            undo.callback(os.close, self._status_fd)
            passed.callback(os.close, status_fd)
            options = {
                **nanny.wanted(),
                "nanny": nanny.id,
                "directory": self.directory,
                "echoes": nanny.echoes,
                "scheduler": nanny.scheduler_addr,
                "secret": nanny.secret.hex(),
                "path": [entry or os.getcwd() for entry in sys.path],
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
                env=nanny.environment(),
            )
        stdin, stderr = self.popen.stdin, self.popen.stderr
        assert stdin is not None
        assert stderr is not None
        self._stdin: IO[bytes] = stdin
        self._stderr: IO[bytes] = stderr
        try:
            threading.Thread(target=self._wait, name="nanny-wait", daemon=True).start()
        except RuntimeError as error:  # no room for a thread
            _kill_group(self.popen.pid)
            self.popen.communicate()
            raise OSError(errno.EAGAIN, str(error)) from error
        try:
            stdin.write(json.dumps(options).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:  # it is dead already; its end tells why
            logger.debug("a worker process ended before it read its options")
        os.set_blocking(self._status_fd, False)
        os.set_blocking(stderr.fileno(), False)
        self.loop.add_reader(self._status_fd, self._read_status)
        self.loop.add_reader(stderr.fileno(), self._read_stderr)

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
        _close_quietly(self._stdin)
        *running, peak_seen_bytes = array("q", self._recorder[:])
        self.running = [TaskId(id) for id in running if id]
        self._recorder.close()
        if os.path.exists(self.directory):  # it had no time to remove it, or no longer than for a part
            threading.Thread(target=shutil.rmtree, args=(self.directory, True), name="nanny-tidy", daemon=True).start()
        if peak_bytes <= self._own_peak_bytes:
            peak_bytes = peak_seen_bytes
        lines = [line.decode(errors="replace") for line in (*self._lines, self._partial)]
        last = tuple(line for line in lines if line.strip())
        account = Account(code, time.monotonic() - self.started_s, peak_bytes, last)
        if not self.ended.done():
            self.ended.set_result(account)
        self.nanny.on_exit(self, account)

    def _read_status(self) -> None:
        if self._status_fd < 0:
            return
        try:
            data = os.read(self._status_fd, 4096)
        except BlockingIOError:
            return
        if not data:
            self._stop_status()
        *lines, self._status = (self._status + data).split(b"\n")
        for line in lines:
            said = line.decode()
            if said == JOINED:
                self.joined = True
                self.nanny.on_joined()
            elif said == CLOSED:
                self.closed = self.expected = True
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
            *lines, partial = (self._partial + data).split(b"\n")
            self._partial = partial[-LINE_BYTES:]
            self._lines.extend(line[-LINE_BYTES:] for line in lines)
            forward.stderr.write(data)

    def kill(self) -> None:
        """End it, and what it has started, whatever it is doing; the scheduler hears of it before."""
        self._read_status()
        self.expected = True
        self.nanny.tell_end(self, "its nanny ended it")
        if self.popen.returncode is None:
            _kill_group(self.popen.pid)


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


def _own_peak_bytes() -> int:
    """Return the most memory that this program has had: what a child's peak begins with.

    ``ru_maxrss`` would include that of whoever started this program.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # no such file, or in another form: not Linux
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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


def _is_plain(value: object) -> bool:
    """Whether JSON brings this back as it was."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


class Nanny(Server):
    """A supervisor of one worker, which is a process of its own, on the running event loop.

    Parameters
    ----------
    scheduler_ip, scheduler_port
        The scheduler's address; or its host, and its port.
    nthreads
        The worker's threads for tasks; by default as many as there are cores.
    name
        Under which the worker is known; by default its address.
    local_directory
        Where the worker and the nanny make directories of their own.
    env
        Further environment variables for the worker.
    worker_class
        A subclass of `Worker` to make there.
    death_timeout
        How long the start may take, in seconds or as "30s".
    secret
        The cluster's; by default what this user's runtime directory says of the scheduler. The worker has it through
        its standard input.
    **worker_kwargs
        For the worker's class: ``memory_limit``, ``resources``, …

    Raises
    ------
    WorkerStartError
        (From ``await``.) The worker did not come up.

    Examples
    --------
    >>> async with Nanny("tcp://127.0.0.1:8786", nthreads=2) as nanny:  # doctest: +SKIP
    ...     await nanny.finished()
    """

    ended: asyncio.Future[WorkerStartError | None]
    """Done when there will be no worker any more: it was closed or retired (None), or is given up."""

    def __init__(
        self,
        scheduler_ip: str | None = None,
        scheduler_port: int | None = None,
        *,
        nthreads: int | None = None,
        name: str | int | None = None,
        local_directory: str | None = None,
        env: dict[str, Any] | None = None,
        worker_class: type | None = None,
        death_timeout: str | float | None = None,
        secret: bytes | None = None,
        **worker_kwargs: Any,
    ) -> None:
        super().__init__(None if death_timeout is None else config.parse_timedelta(death_timeout))
        self.id = f"Nanny-{uuid.uuid4()}"
        self.scheduler_addr = addressing.normalize(str(scheduler_ip))
        self.secret = secret if secret is not None else security.secret_for(self.scheduler_addr)
        near = inproc.neighbours.get(self.scheduler_addr)
        self._reports_to = near or self.scheduler_addr
        self.echoes = near is None
        """Whether what tasks `print` appears here too; not where clients print already."""
        self.name = name
        self.nthreads = nthreads or system.cpu_count()
        self.local_home = local_directory or ""
        self.worker_class = worker_class
        self.worker_kwargs = worker_kwargs
        self.env = {name: str(value) for name, value in (env or {}).items()}
        self.held = Held(self, "nanny", in_thread=True)
        self.scratch = Scratch(new_path("nanny", self.local_home))
        self._started: set[asyncio.Future[None]] = set()
        """Who waits for the next worker to join."""
        self._background: set[asyncio.Task[None]] = set()
        self.restarts = 0
        self.grace_s = 0.0
        self._process: _Process | None = None
        self._link: Link | None = None
        self._closing = False
        self._start_failures = 0
        self._retry: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Nanny {self.name!r} pid={self.pid} restarts={self.restarts}>"

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._process.popen.pid if self._process is not None else None

    @property
    def worker_address(self) -> str:
        """The worker's address, "" until it has joined."""
        return self._process.address if self._process is not None else ""

    def environment(self) -> dict[str, str]:
        """Return the environment of worker processes: what is configured, beneath what is set here, beneath `env`."""
        configured: dict[str, object] = {}
        for key in ("distributed.nanny.pre-spawn-environ", "distributed.nanny.environ"):
            setting = config.get(key)
            if isinstance(setting, dict):
                configured.update(setting)
        lowest = {name: str(value) for name, value in configured.items()}
        return {**lowest, "PYTHONHASHSEED": "6640", **os.environ, **self.env}

    def wanted(self) -> dict[str, Any]:
        """Return the worker's class and arguments, as its process reads them."""
        kwargs = {"name": self.name, "nthreads": self.nthreads, **self.worker_kwargs}
        if self.worker_class is None and _is_plain(kwargs):
            return {"pickled": "", "kwargs": kwargs}
        import cloudpickle

        from windrow.worker.worker import Worker

        return {"pickled": cloudpickle.dumps((self.worker_class or Worker, kwargs)).hex(), "kwargs": {}}

    async def _open(self) -> None:
        """Join the scheduler, start the worker's process, and wait for the worker to join."""
        link = await transport.connect(self._reports_to, secret=self.secret)
        if self._closing:  # meanwhile
            link.close()
            return
        try:
            await arrive(link, self.held)
        except RuntimeError as error:
            link.close()
            logger.error("the nanny of worker %r cannot start: %s", self.name, error)
            raise
        self._link = link
        link.on_lost = lambda reason: None
        link.on_batch = self._on_batch
        link.send([HelloNanny(self.id, "" if self.name is None else self.name)])
        joined = self._next_joined()
        self._spawn()
        either: list[asyncio.Future[Any]] = [joined, self.ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._started.discard(joined)
        if self.ended.done() and (given_up := self.ended.result()) is not None:
            raise given_up

    def _next_joined(self) -> asyncio.Future[None]:
        joined: asyncio.Future[None] = self.loop.create_future()
        self._started.add(joined)
        return joined

    def _spawn(self) -> None:
        """Start a process; where the system will not, try again later, and in the end give up."""
        self._process = None
        try:
            self._process = _Process(self)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "see what the system says of it")
            self._start_failed(f"its process could not be started: {error}; {remedy}")

    def _respawn(self) -> None:
        self.restarts += 1
        self._spawn()

    def _start_failed(self, account: str, last_words: str = "") -> None:
        """Count a start in vain, and start again after a while, or give the worker up."""
        self._start_failures += 1
        if self._start_failures < START_FAILURES_MAX:
            delay_s = RETRY_S * RETRY_FACTOR ** (self._start_failures - 1)
            self._warn(f"worker {self.name!r} did not come up: {account}; the next start is in {delay_s:g} s")
            self._retry = self.loop.call_later(delay_s, self._respawn)
            return
        attempts = f"did not come up in {START_FAILURES_MAX} attempts"
        message = f"worker {self.name!r} {attempts}; the last time {account}{last_words}"
        forward.stderr.log(logger, logging.ERROR, f"{message}; no other is started in its place")
        self._finish(WorkerStartError(message))

    def _warn(self, text: str) -> None:
        forward.stderr.log(logger, logging.WARNING, text)  # after the last words, which are on their way there

    def _finish(self, error: WorkerStartError | None) -> None:
        """Leave: there will be no worker any more."""
        self.expect_end()
        if self._link is not None:
            self._link.send([Close("closed")])
            self._link.close()
        if not self.ended.done():
            self.ended.set_result(error)

    def _on_batch(self, messages: list[Message]) -> None:
        for message in messages:
            if type(message) is RestartWorker and self._process is not None:
                self._process.kill()
            elif type(message) is Call:
                self._background_task(self._answer(message))

    def on_joined(self) -> None:
        """The worker has joined the scheduler."""
        self._start_failures = 0
        for waiting in self._started:
            if not waiting.done():
                waiting.set_result(None)

    # ------------------------------------------------------------ what is asked of the nanny itself

    def _background_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _answer(self, call: Call) -> None:
        request = call.request
        if isinstance(request, RegisterPlugin | UnregisterPlugin):
            blob = await self.held.answer(request, then=self._after_setup)
        elif type(request) is RunFunction:
            blob = await answer_call(request.call, self, f"the nanny of worker {self.name!r}")
        else:
            error = ValueError(f"a nanny has no answer to {type(request).__name__}")
            blob = None
            self._send([Reply(call.id, error=failure.dump(error)[0])])
        if blob is not None:
            self._send([Reply(call.id, blobs=[blob])])

    async def _after_setup(self, plugin: Any) -> None:
        if getattr(plugin, "restart", False):
            await self.restart()

    def _send(self, messages: list[Message]) -> None:
        if self._link is not None:
            self._link.send(messages)

    async def restart(self, timeout: float = 30.0, reason: str = "") -> str:
        """Start the worker afresh; ``"OK"`` when it has joined, ``"timed out"`` when it has not in time."""
        if self._closing or self._process is None:
            return "OK"  # there is none, and what comes next is fresh
        joined = self._next_joined()
        try:
            self._process.kill()
            either: list[asyncio.Future[Any]] = [joined, self.ended]
            done, _ = await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._started.discard(joined)
        return "OK" if joined in done else "timed out"

    @property
    def plugins(self) -> dict[str, Any]:
        """The plugins that are set up here, by name."""
        return self.held.plugins

    @property
    def local_directory(self) -> str:
        """A directory of the nanny's own; made now, and removed when it closes."""
        return self.scratch.path

    def is_alive(self) -> bool:
        """Whether there is a worker process."""
        return self._process is not None and self._process.popen.returncode is None

    def log_event(self, topic: str | list[str] | tuple[str, ...], msg: Any) -> None:
        """Log an event, as ``Client.log_event`` does; from any thread."""
        event = Log(names_of(topic), time.time(), plain.checked(msg))
        self.loop.call_soon_threadsafe(lambda: self._send([event]))

    # ------------------------------------------------------------ the end of a process

    def tell_end(self, process: _Process, account: str) -> None:
        """Tell the scheduler of its worker's end; of one that is expected it is told before, and then again."""
        if self._link is not None and process.address:
            self._link.send([Died(process.address, account, process.expected, process.running)])

    def on_exit(self, process: _Process, account: Account) -> None:
        """The worker's process has ended: tell the scheduler, and start the next, unless none is wanted."""
        self.tell_end(process, str(account))
        if self._closing:
            return
        if process.closed:
            logger.info("worker %r (pid %d) was closed by the scheduler", self.name, process.popen.pid)
            self._finish(None)
        elif process.expected:
            self._respawn()
        elif process.joined:
            # Without its last words, which are on their way to stderr.
            self._warn(f"worker {self.name!r} (pid {process.popen.pid}) {account.cause}; another is started")
            self._respawn()
        else:
            self._start_failed(f"it {account.cause}", account.words)

    def expect_end(self) -> None:
        """From here on the worker's end is no death, and no other is started."""
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
        if self._process is not None:
            self._process.expected = True

    async def close(self, timeout: float = 2.0, reason: str = "") -> None:
        """End the worker and all that it has started; at once, as nothing of it is wanted any more.

        With `grace_s` it has so long to end by itself: the scheduler has closed, and its plugins are torn down.
        """
        self.status = Status.closing
        self.expect_end()
        process = self._process
        if process is not None:
            if self.grace_s:
                await asyncio.wait([process.ended], timeout=self.grace_s)
            process.kill()
            await asyncio.wait([process.ended], timeout=timeout)
        self._finish(None)
        await self.held.close()
        self.scratch.remove()
        self.status = Status.closed
        await forward.stderr.drained(FLUSH_S)
