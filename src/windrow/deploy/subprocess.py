"""`SubprocessCluster`: the scheduler and each worker in a process of its own, on this machine.

What lives here: the function, the parties that it makes its cluster of, and their processes. What this file must never
know: what such a process does (`deploy.party`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from windrow import addressing, logs, offspring, tls
from windrow import security as secrets
from windrow.deploy import arguments, forward
from windrow.deploy.elsewhere import Elsewhere, certificates_of, checked_plain, configured, dotted
from windrow.deploy.party import Order
from windrow.deploy.spec import SpecCluster
from windrow.errors import WorkerStartError

__all__ = ["SubprocessCluster", "SubprocessScheduler", "SubprocessWorker"]

START_S = 30.0


class _Process:
    """A process of this machine, in a session of its own; all of it is on the running loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = self.loop.create_future()
        own_fd, status_fd = os.pipe()
        self._own_status = os.fdopen(own_fd, "rb", buffering=0)
        try:
            self.popen = subprocess.Popen(
                offspring.command("windrow.deploy.party"),
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(status_fd,),
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        except BaseException:
            self._own_status.close()
            raise
        finally:
            os.close(status_fd)
        self.order: dict[str, Any] = {
            "status_fd": status_fd,
            "parent_pid": os.getpid(),
            "path": [entry or os.getcwd() for entry in sys.path],
        }
        threading.Thread(target=self._reap, name="party-wait", daemon=True).start()

    async def open(self) -> _Process:
        assert self.popen.stderr is not None
        self.status = await self._reader(self._own_status)
        self.stderr = await self._reader(self.popen.stderr)
        return self

    async def _reader(self, file: Any) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return reader

    def _reap(self) -> None:
        pid = self.popen.pid
        try:
            if hasattr(os, "waitid"):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                _kill_group(pid)  # before the pid is given back: until then it is surely this process's group
            code = self.popen.wait()
        except ChildProcessError:  # the program has waited for any child, and has been given this one
            code = self.popen.returncode = 255
        try:
            self.loop.call_soon_threadsafe(self._on_exit, code)
        except RuntimeError:  # the loop is closed: nobody asks any more
            return

    def _on_exit(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self.popen.stdin is not None
        return self.popen.stdin

    def write(self, data: bytes) -> None:
        """Write to its standard input, in a thread: it reads when its interpreter is up."""
        threading.Thread(target=self._write, args=(data,), name="party-order", daemon=True).start()

    def _write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (BrokenPipeError, ValueError):  # it is dead, or hung up; its end tells why
            return

    def hang_up(self) -> None:
        """End its lifeline."""
        try:
            self._stdin.close()
        except BrokenPipeError:  # it is gone
            return

    def kill(self) -> None:
        """End it and all that descends from it."""
        import psutil

        if self.popen.returncode is not None:
            return
        try:
            tree = psutil.Process(self.popen.pid).children(recursive=True)
        except psutil.Error:  # gone meanwhile
            tree = []
        _kill_group(self.popen.pid)
        for child in tree:
            try:
                child.kill()
            except psutil.Error:  # gone with its parent
                continue

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        code = await asyncio.shield(self._exit)
        if code >= 0:
            return f"exited with code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal has no name
            return f"was killed by signal {-code}"


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone already (on macOS, a group of zombies)
        return


class _Subprocess(Elsewhere):
    """A party in a process of this machine."""

    async def _launch(self) -> _Process:
        process = _Process()
        try:
            return await process.open()
        except BaseException:
            process.kill()
            raise

    def _hear(self, data: bytes, lines: list[bytes]) -> None:
        forward.stderr.write(data)


class SubprocessScheduler(_Subprocess):
    """A scheduler in a process of its own.

    Parameters
    ----------
    scheduler_kwargs
        Keywords of `Scheduler`: plain values, which travel as JSON.
    timeout
        How many seconds its start may take.
    certificates
        Its `Security`, which goes to its standard input.

    Raises
    ------
    TypeError
        A keyword cannot travel.
    RuntimeError
        (From ``await``.) It did not start; the message has its last words.

    Examples
    --------
    >>> async with SubprocessScheduler({"host": "127.0.0.1"}) as scheduler:  # doctest: +SKIP
    ...     print(scheduler.address)
    """

    def __init__(
        self,
        scheduler_kwargs: dict[str, Any] | None = None,
        timeout: float = START_S,
        certificates: tls.Security | None = None,
    ) -> None:
        super().__init__(None, None, timeout)
        self.scheduler_kwargs = checked_plain({"port": 0, **(scheduler_kwargs or {})}, "scheduler_kwargs")
        self.secret = secrets.new_secret()
        self.security = certificates

    async def start(self) -> None:
        """Start the process, and wait until the scheduler listens."""
        await super().start()
        if self.address is not None:
            secrets.remember(self.address, self.secret, self.security)  # for the workers that are started here

    def _order(self) -> Order:
        options = {**self.scheduler_kwargs, "secret": self.secret.hex()}
        if self.security is not None:
            options["security"] = self.security.to_record()
        return Order({"scheduler": {"cls": "windrow.Scheduler", "options": options}}, config=configured())


class SubprocessWorker(_Subprocess):
    """A worker in a process of its own.

    Parameters
    ----------
    scheduler
        The scheduler's address.
    worker_class
        A class, or its dotted name: a nanny, which starts the worker in a process beside its own, or a worker.
    name
        The worker's name.
    worker_kwargs
        Keywords of that class: plain values, which travel as JSON.
    timeout
        How many seconds its start may take.

    Raises
    ------
    TypeError
        A keyword cannot travel.
    WorkerStartError
        (From ``await``.) It did not start; the message has its last words.

    Examples
    --------
    >>> async with SubprocessWorker("tcp://127.0.0.1:8786", name="a") as worker:  # doctest: +SKIP
    ...     await worker.finished()
    """

    failure = WorkerStartError

    def __init__(
        self,
        scheduler: str,
        worker_class: str | type = "windrow.Nanny",
        name: Any = None,
        worker_kwargs: dict[str, Any] | None = None,
        timeout: float = START_S,
    ) -> None:
        super().__init__(addressing.normalize(scheduler), checked_plain(name, "name"), timeout)
        self.worker_class = dotted(worker_class, "worker_class")
        self.worker_kwargs = checked_plain(worker_kwargs or {}, "worker_kwargs")

    def _order(self) -> Order:
        assert self.scheduler is not None
        secret = secrets.secret_for(self.scheduler)
        options = {"name": self.name, **self.worker_kwargs}
        party = {"cls": self.worker_class, "options": options}
        return Order({"worker": party}, self.scheduler, secret.hex(), certificates_of(self.scheduler), configured())


class SubprocessSpecCluster(SpecCluster):
    """What `SubprocessCluster` returns: a `SpecCluster` that shows itself by that name."""

    _kind = "SubprocessCluster"


def SubprocessCluster(
    host: str | None = None,
    scheduler_port: int = 0,
    scheduler_kwargs: dict[str, Any] | None = None,
    dashboard_address: str | int | None = ":8787",
    worker_class: str | type = "windrow.Nanny",
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    worker_kwargs: dict[str, Any] | None = None,
    silence_logs: int | str | bool | None = logging.WARNING,
    security: Any = None,
    **kwargs: Any,
) -> SpecCluster:
    """Start a cluster whose scheduler and workers are processes of their own, on this machine.

    They end with this program, however it ends. What a `LocalCluster` does in this process is done in theirs: this
    program may be busy, or stopped in a debugger, and the cluster goes on.

    Parameters
    ----------
    host, scheduler_port
        Where the scheduler listens: loopback, and any port that is free.
    scheduler_kwargs
        Further keywords of `Scheduler`.
    dashboard_address
        Where the dashboard listens, as in `LocalCluster`.
    worker_class
        What workers are made from, or its dotted name; by default nannies.
    n_workers, threads_per_worker
        As in `LocalCluster`: by default they share the machine's cores.
    worker_kwargs
        Further keywords of the workers' class; ``memory_limit`` is a share of the machine's memory by default.
    silence_logs, security
        As in `LocalCluster`.
    **kwargs
        Keywords of `SpecCluster`, such as ``asynchronous`` and ``name``.

    Returns
    -------
    SpecCluster
        It scales and adapts as any.

    Raises
    ------
    TypeError
        A keyword in ``scheduler_kwargs`` or ``worker_kwargs`` cannot travel as JSON; the message names it.
    RuntimeError
        A process did not start; the message has its last words. Or this is Windows.

    Examples
    --------
    >>> from windrow import Client
    >>> with SubprocessCluster(n_workers=1) as cluster, Client(cluster) as client:  # doctest: +SKIP
    ...     client.submit(sum, [1, 2]).result()
    3
    """
    if sys.platform == "win32":
        raise RuntimeError("SubprocessCluster does not work on Windows: use LocalCluster")
    arguments.check_counts(n_workers, threads_per_worker, scheduler_port)
    certificates = tls.checked("SubprocessCluster", security)
    place = arguments.chosen_place(host, None, None, True, scheduler_port, certificates)
    if place.protocol == "tls":
        certificates = tls.with_certificates(certificates)
    host = place.host
    n, threads = arguments.split(n_workers, threads_per_worker, True)
    scheduler_options = {
        "host": host,
        "port": scheduler_port,
        "protocol": place.protocol,
        "dashboard_address": dashboard_address,
        **(scheduler_kwargs or {}),
    }
    worker_options = {"host": host, "nthreads": threads, **(worker_kwargs or {})}
    limit = worker_options.get("memory_limit", "auto")
    worker_options["memory_limit"] = arguments.memory_limit_bytes(limit, n, threads)
    worker = {
        "cls": SubprocessWorker,
        "options": {
            "worker_class": dotted(worker_class, "worker_class"),
            "worker_kwargs": checked_plain(worker_options, "worker_kwargs"),
        },
    }
    scheduler = {
        "cls": SubprocessScheduler,
        "options": {
            "scheduler_kwargs": checked_plain(scheduler_options, "scheduler_kwargs"),
            "certificates": certificates,
        },
    }
    return SubprocessSpecCluster(
        workers=dict.fromkeys(range(n), worker),
        scheduler=scheduler,
        worker=worker,
        silence_logs=logs.checked_level(silence_logs) or False,
        **{"name": "SubprocessCluster", **kwargs},
    )
