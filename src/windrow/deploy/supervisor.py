"""One worker process at a time, kept going: started, started again when it dies, given up, or ended when asked.

What lives here: `Supervisor`, the policy. What this file must never know: schedulers, and what a worker is told.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import uuid
from collections.abc import Coroutine
from typing import Any

from windrow.account import Account, Cause
from windrow.deploy import forward, gauge
from windrow.deploy.process import Orders, WorkerProcess
from windrow.errors import WorkerStartError
from windrow.node import Server, Status

__all__ = ["Supervisor"]

logger = logging.getLogger("windrow.nanny")

START_FAILURES_MAX = 3
"""A worker that could not be started, or ended without having joined, so often in a row is given up."""
RETRY_S = 0.2
"""How long to wait after the first such failure; after each further one `RETRY_FACTOR` times as long."""
RETRY_FACTOR = 5
PATIENCE = 0.8
"""The part of a time limit for which a worker that was asked to stop is waited for."""
HEARSAY_S = 0.1
"""A signal to all processes of a job has reached the worker too, whose second one would end it at once: so long until
it has said so."""
HASTE = 10
"""So many times as often as configured is memory looked at that would soon be too much."""

_REMEDIES = {
    errno.EAGAIN: "raise the limit of processes and threads (ulimit -u), or have fewer of them",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or have fewer of them open",
    errno.ENFILE: "the whole system has too many files open",
    errno.ENOMEM: "have fewer workers, or free memory",
}
"""What to do where the system does not start a process."""


class Supervisor(Server):
    """Keeps a worker process going, on the running event loop; the base of `Nanny`.

    A subclass says what to start (`_orders`), and tells whom it concerns (`_tell_end`, `_leave`).

    Parameters
    ----------
    name
        The worker's.
    limit_bytes
        The worker's memory limit; 0: none.
    terminate
        The part of it beyond which the worker is ended; 0: none.
    monitor_s
        How often its memory is looked at.
    quiet
        Log deaths as information only.
    death_timeout_s
        See `Server`.
    """

    ended: asyncio.Future[WorkerStartError | None]
    """Done when there will be no worker any more: it was closed or retired (None), or is given up."""

    def __init__(
        self,
        name: str | int | None,
        limit_bytes: int,
        terminate: float,
        monitor_s: float,
        quiet: bool = False,
        death_timeout_s: float | None = None,
    ) -> None:
        super().__init__(death_timeout_s)
        self.id = f"Nanny-{uuid.uuid4()}"
        self.name = name
        self.quiet = quiet
        self.terminate = terminate
        """The part of its memory limit beyond which the worker is ended; 0: none."""
        self.process: WorkerProcess | None = None
        """The worker's process; None before the first, and where the last could not be started."""
        self.restarts = 0
        self._terminate_bytes = terminate * limit_bytes
        self._monitor_s = monitor_s
        self._started: set[asyncio.Future[None]] = set()
        """Who waits for the next worker to join."""
        self._background: set[asyncio.Task[None]] = set()
        self._closing = False
        self._is_last = False
        """When this worker has ended no other is started, and that is the end of this nanny."""
        self._is_down = False
        """No other is started until somebody says so."""
        self._has_joined = False
        self._start_failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None

    def _orders(self) -> Orders:
        """Return what to start."""
        raise NotImplementedError("a subclass knows what to start")

    def _tell_end(self, process: WorkerProcess, account: Account) -> None:
        """Tell whom it concerns of a worker's end; of one that is expected it is told before, and then again."""
        raise NotImplementedError("a subclass knows whom to tell")

    def _leave(self) -> None:
        """There will be no worker any more."""
        raise NotImplementedError("a subclass knows whom to tell")

    def _background_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ------------------------------------------------------------ facts

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self.process.pid if self.process is not None else None

    @property
    def worker_address(self) -> str:
        """The worker's address, "" until it has joined."""
        return self.process.address if self.process is not None else ""

    @property
    def worker_dir(self) -> str:
        """The worker's own directory, which is there from its first use on; "" while there is no worker."""
        return self.process.directory if self.process is not None else ""

    def is_alive(self) -> bool:
        """Whether there is a worker process."""
        return self.process is not None and self.process.is_alive()

    @property
    def _who(self) -> str:
        if self.name is None:
            return f"the worker at {self.worker_address}" if self.worker_address else "a worker"
        return f"worker {self.name!r}"

    # ------------------------------------------------------------ start

    async def instantiate(self) -> Status:
        """Start the worker if there is none, and wait for it to join.

        Raises
        ------
        WorkerStartError
            It does not come up.
        """
        if self.process is not None and self.process.expected:
            await asyncio.wait([self.process.ended])
        self._is_down = False
        if self._closing or self.is_alive():
            return self.status
        joined = self._next_joined()
        try:
            if self._retry is not None:
                self._retry.cancel()
            self._spawn()
            either: list[asyncio.Future[Any]] = [joined, self.ended]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._started.discard(joined)
        if self.ended.done() and (given_up := self.ended.result()) is not None:
            raise given_up
        return self.status

    def _next_joined(self) -> asyncio.Future[None]:
        joined: asyncio.Future[None] = self.loop.create_future()
        self._started.add(joined)
        return joined

    def _spawn(self) -> None:
        """Start a process; where the system will not, try again later, and in the end give up."""
        self.process = None
        try:
            self.process = WorkerProcess(self, self._orders())
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "see what the system says of it")
            self._start_failed(f"its process could not be started: {error}; {remedy}")
        else:
            self._watch_memory()

    def _respawn(self) -> None:
        self.restarts += 1
        self._spawn()

    def _start_failed(self, what: str, last_words: str = "", error: BaseException | None = None) -> None:
        """Count a start in vain, and start again after a while, or give the worker up."""
        self._start_failures += 1
        final = error is not None and not self._has_joined and _is_final(error)
        if self._start_failures < START_FAILURES_MAX and not final:
            delay_s = RETRY_S * RETRY_FACTOR ** (self._start_failures - 1)
            self._warn(f"{self._who} did not come up: {what}; the next start is in {delay_s:g} s")
            self._retry = self.loop.call_later(delay_s, self._respawn)
            return
        attempts = ":" if final else f" in {START_FAILURES_MAX} attempts; the last time"
        message = f"{self._who} did not come up{attempts} {what}{last_words}"
        text = f"{message}; no other is started in its place{_traceback(error)}"
        forward.stderr.log(logger, logging.ERROR, text, self.id)
        given_up = WorkerStartError(message)
        given_up.__cause__ = error
        self._finish(given_up)

    def _warn(self, text: str) -> None:
        level = logging.INFO if self.quiet else logging.WARNING
        forward.stderr.log(logger, level, text, self.id)  # after the last words, which are on their way there

    def _finish(self, error: WorkerStartError | None) -> None:
        """There will be no worker any more."""
        self.expect_end()
        self._leave()
        if not self.ended.done():
            self.ended.set_result(error)

    # ------------------------------------------------------------ the end of a worker on purpose

    async def leave(self) -> None:
        """Send the worker away in good order (it hands over what it holds), start no other, and close."""
        process = self.process
        if process is not None and process.joined and process.is_alive():
            await asyncio.sleep(HEARSAY_S)
            if not process.closed and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
            await asyncio.wait([process.ended])
        await self.close()

    async def kill(self, timeout: float = 5.0, reason: str = "its nanny was asked to") -> None:
        """Have the worker close, and end its process if it has not in 80 % of the time; `instantiate` starts another.

        Parameters
        ----------
        timeout
            In seconds.
        reason
            For the log.
        """
        self._is_down = True
        process = self.process
        if process is None or not process.is_alive():
            return
        logger.info("the nanny of %s has it stop: %s", self._who, reason)
        process.ask_to_stop()
        await asyncio.wait([process.ended], timeout=PATIENCE * timeout)
        if process.is_alive():
            process.kill()
        await asyncio.wait([process.ended], timeout=(1 - PATIENCE) * timeout)

    async def restart(self, timeout: float = 30.0, reason: str = "a restart") -> str:
        """Start the worker afresh; ``"OK"`` when it has joined, ``"timed out"`` when it has not in time."""
        if self._closing or self.process is None:
            return "OK"  # there is none, and what comes next is fresh
        self.restarts += 1
        try:
            async with asyncio.timeout(timeout):
                await self.kill(PATIENCE * timeout, reason)
                await self.instantiate()
        except TimeoutError:
            return "timed out"
        finally:
            self._is_down = False
        return "OK"

    async def close_gracefully(self, reason: str = "") -> None:
        """When the worker ends, for whatever reason, start no other, and close."""
        self.status = Status.closing_gracefully
        self._is_last = True

    def expect_end(self) -> None:
        """From here on the worker's end is no death, and no other is started."""
        self._closing = True
        for timer in (self._retry, self._watch):
            if timer is not None:
                timer.cancel()
        if self.process is not None:
            self.process.expected = True

    # ------------------------------------------------------------ memory

    def _watch_memory(self) -> None:
        """End a worker that has too much; look again soon, and sooner the faster it nears that."""
        process = self.process
        limit_bytes = self._terminate_bytes
        if not limit_bytes or process is None or not process.is_alive():
            return
        gauge.kernel.look()
        before_bytes, now_bytes = process.now_bytes, process.measure()
        if now_bytes > limit_bytes:
            process.kill_for_memory(now_bytes, self.terminate)
            return
        interval_s = self._monitor_s
        growth_bytes = now_bytes - before_bytes
        if growth_bytes > 0:
            left = (limit_bytes - now_bytes) / growth_bytes
            interval_s *= min(1.0, max(1 / HASTE, left / 2))
        self._watch = self.loop.call_later(interval_s, self._watch_memory)

    # ------------------------------------------------------------ what the process tells (`Watcher`)

    def on_joined(self) -> None:
        """The worker has joined the scheduler."""
        self._start_failures = 0
        self._has_joined = True
        for waiting in self._started:
            if not waiting.done():
                waiting.set_result(None)

    def before_kill(self, process: WorkerProcess) -> None:
        """The worker is about to be ended."""
        self._tell_end(process, Account(said="its nanny ended it"))

    def on_exit(self, process: WorkerProcess, account: Account) -> None:
        """The worker's process has ended: tell the scheduler, and start the next, unless none is wanted."""
        self._tell_end(process, account)
        if self._watch is not None:
            self._watch.cancel()
        if self._closing:
            return
        if not process.expected and process.joined:
            self._log_death(process, account)
        if self._is_down:
            return
        if process.closed or self._is_last:
            logger.info("%s (pid %d) has closed", self._who, process.pid)
            self._finish(None)
            self._background_task(self.close())
        elif process.joined or process.expected:
            self._respawn()
        else:
            self._start_failed(f"it {account.end}", account.words, process.failed)

    def _log_death(self, process: WorkerProcess, account: Account) -> None:
        next_step = "another is started" if not (self._is_last or self._is_down) else "no other is started"
        meaning = "" if account.cause is Cause.exit else f". {account.meaning}"
        details = f"\n{account.details}" if account.details else ""
        self._warn(f"{self._who} (pid {process.pid}) {account.end}; {next_step}{meaning}{details}")


def _is_final(error: BaseException) -> bool:
    """Whether a start that has failed so would fail again."""
    cause = error.__cause__ or error
    return not isinstance(cause, OSError | MemoryError) or isinstance(cause, ImportError)


def _traceback(error: BaseException | None) -> str:
    if error is None:
        return ""
    import traceback

    return "\n" + "".join(traceback.format_exception(error)).rstrip()
