"""The nanny: starts a worker process, watches it from outside, says why it died, and starts the next.

What lives here: `Nanny`: its arguments, what its worker is told, and its connection to the scheduler. What this file
must never know: what the worker runs, when a process is started (`deploy.supervisor`), and how (`deploy.process`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
import warnings
from collections.abc import Mapping
from typing import Any

from windrow import config as configuration
from windrow import keywords, startup, system, tls
from windrow.account import Account
from windrow.deploy import forward, heritage
from windrow.deploy.process import Orders, WorkerProcess
from windrow.deploy.supervisor import Supervisor
from windrow.deploy.whereabouts import Whereabouts
from windrow.node import Status
from windrow.plugins.calling import answer_call
from windrow.plugins.held import Held, arrive
from windrow.plugins.scratch import Scratch, new_path
from windrow.preload import Preloads, configured
from windrow.primitives import plain
from windrow.primitives.topics import names_of
from windrow.transport import Link
from windrow.wire import failure
from windrow.wire.messages import (
    Call,
    Close,
    Died,
    HelloNanny,
    Log,
    Message,
    Reply,
    RestartWorker,
)
from windrow.wire.requests import RegisterPlugin, RunFunction, UnregisterPlugin

logger = logging.getLogger("windrow.nanny")

FLUSH_S = 0.5
"""How long a close waits for what workers wrote to be passed on."""

_NO_EFFECT = {
    "services": "nannies have no services of their own",
    "port": "a nanny does not listen; the worker's port is worker_port",
}

Ports = int | str | list[int] | None


class Nanny(Supervisor):
    """A supervisor of one worker, which is a process of its own, on the running event loop.

    Parameters
    ----------
    scheduler_ip, scheduler_port
        The scheduler's address; or its host, and its port. By default what ``scheduler-address`` is configured to be.
    scheduler_file
        A file that says address and secret, and may come to be there later.
    worker_port
        The worker's port, or a range "9000:9100" of which it takes one that is free; 0: any.
    nthreads
        The worker's threads for tasks; by default as many as there are cores.
    local_directory
        Where the worker and the nanny make directories of their own.
    name
        Under which the worker is known; by default its address.
    memory_limit
        Bytes, or "4 GiB", or a fraction of the machine's memory; "auto": a share that goes with the threads; None or
        0: no limit. A worker that has more than ``distributed.worker.memory.terminate`` of it is ended, and another is
        started.
    validate
        Whether the worker checks itself at each step.
    quiet
        Log deaths of workers as information only.
    resources, host, interface, protocol, contact_address
        See `Worker`. ``listen_address="tcp://10.0.0.1:9000"`` is host and port in one.
    silence_logs
        The level below which the worker logs nothing.
    death_timeout
        How long the start may take, in seconds or as "30s".
    preload, preload_argv
        What the worker loads at its start; ``preload_nanny``, ``preload_nanny_argv``: what the nanny does.
    security
        As of `Worker`; the worker has it through its standard input, like the secret.
    worker_class
        A subclass of `Worker`, or its dotted name, to make there; by default what ``windrow.worker-class`` says.
    env
        Environment variables for the worker, above this program's own.
    config
        Settings for the worker, as a tree or by dotted keys; above those that this program has set.
    secret
        The cluster's; by default what the scheduler file or this user's runtime directory says of the scheduler. The
        worker has it through its standard input.
    services, reconnect, port
        Accepted; they have no meaning here.
    **worker_kwargs
        Further arguments of the worker's class: ``lifetime``, ``data``, …

    Raises
    ------
    WorkerStartError
        (From ``await``.) The worker did not come up; what it raised is chained.
    TimeoutError
        (From ``await``.) Not within ``death_timeout``.

    Examples
    --------
    >>> async with Nanny("tcp://127.0.0.1:8786", nthreads=2) as nanny:  # doctest: +SKIP
    ...     await nanny.finished()
    """

    kind = "nanny"

    def __init__(
        self,
        scheduler_ip: str | None = None,
        scheduler_port: int | None = None,
        scheduler_file: str | os.PathLike[str] | None = None,
        worker_port: Ports = 0,
        nthreads: int | None = None,
        local_directory: str | None = None,
        services: object = None,
        name: str | int | None = None,
        memory_limit: str | float | None = "auto",
        reconnect: bool = True,
        validate: bool = False,
        quiet: bool = False,
        resources: dict[str, float] | None = None,
        silence_logs: int | str | None = None,
        death_timeout: str | float | None = None,
        preload: str | list[str] | None = None,
        preload_argv: list[str] | list[list[str]] | None = None,
        preload_nanny: str | list[str] | None = None,
        preload_nanny_argv: list[str] | list[list[str]] | None = None,
        security: object = None,
        contact_address: str | None = None,
        listen_address: str | None = None,
        worker_class: type | str | None = None,
        env: Mapping[str, Any] | None = None,
        interface: str | None = None,
        host: str | None = None,
        port: Ports = None,
        protocol: str | None = None,
        config: Mapping[str, Any] | None = None,
        secret: bytes | None = None,
        **worker_kwargs: Any,
    ) -> None:
        keywords.remark("Nanny", {"services": services, "port": port}, _NO_EFFECT)
        if not reconnect:
            warnings.warn("Nanny(reconnect=False) has no effect: a nanny always comes back", UserWarning, stacklevel=2)
        _check_host(host, interface, listen_address, worker_port)
        self.config = configuration.nested(config or {})
        self.nthreads = _checked_nthreads(nthreads)
        self.memory_limit = system.parse_memory_limit(memory_limit, self.nthreads)
        if memory_limit != "auto":
            system.check_room(memory_limit, self.memory_limit)
        terminate: Any = self.setting("distributed.worker.memory.terminate")
        monitor: Any = self.setting("distributed.worker.memory.monitor-interval")
        super().__init__(
            name,
            self.memory_limit or 0,
            float(terminate or 0.0),
            configuration.parse_timedelta(monitor),
            quiet,
            None if death_timeout is None else configuration.parse_timedelta(death_timeout),
        )
        self.address = self.id
        self.where = Whereabouts(scheduler_ip, scheduler_port, scheduler_file, secret, tls.checked("Nanny", security))
        self.local_home = local_directory or ""
        self.env = heritage.text_of(env)
        chosen: Any = worker_class or self.setting("windrow.worker-class")
        self.worker_class: type | str | None = chosen
        asked = {
            "port": worker_port or None,
            "resources": resources,
            "silence_logs": silence_logs,
            "death_timeout": death_timeout,
            "preload": preload,
            "preload_argv": preload_argv,
            "contact_address": contact_address,
            "validate": validate or None,
            "interface": interface,
            "host": host or listen_address,
            "protocol": protocol,
        }
        _check_worker_kwargs(self.worker_class, worker_kwargs)
        self.worker_kwargs = {**{key: value for key, value in asked.items() if value is not None}, **worker_kwargs}
        self.preloads = Preloads(self, *configured("nanny", preload_nanny, preload_nanny_argv))
        self.held = Held(self, "nanny", in_thread=True)
        self.scratch = Scratch(new_path("nanny", self.local_home))
        self.grace_s = 0.0
        self._link: Link | None = None
        self._joining: asyncio.Task[None] | None = None
        """The search for the next scheduler, when one was lost."""

    def __repr__(self) -> str:
        return f"<Nanny {self.name!r} pid={self.pid} restarts={self.restarts}>"

    # ------------------------------------------------------------ facts

    @property
    def scheduler_addr(self) -> str:
        """The scheduler's address, "" while a scheduler file is awaited."""
        return self.where.address

    @property
    def secret(self) -> bytes | None:
        """The cluster's secret, once known."""
        return self.where.secret

    @property
    def security(self) -> tls.Security | None:
        """The certificates with which it and its worker speak TLS, once known; None: there are none."""
        return self.where.certificates

    @property
    def plugins(self) -> dict[str, Any]:
        """The plugins that are set up here, by name."""
        return self.held.plugins

    @property
    def local_directory(self) -> str:
        """A directory of the nanny's own; made now, and removed when it closes."""
        return self.scratch.path

    def setting(self, key: str) -> object:
        """Return a setting as the worker has it."""
        branch: object = self.config
        for part in key.split("."):
            if not isinstance(branch, Mapping) or part not in branch:
                return configuration.get(key)
            branch = branch[part]
        return branch

    # ------------------------------------------------------------ start

    async def _open(self) -> None:
        """Join the scheduler, start the worker's process, and wait for the worker to join."""
        if await self._join():
            if self.preloads:
                await self.preloads.start()
            await self.instantiate()

    async def _join(self) -> bool:
        """Join the scheduler; return False where this has been closed meanwhile."""
        link = await self.where.connect()
        if self._closing:
            link.close()
            return False
        try:
            await arrive(link, self.held)
        except RuntimeError as error:
            link.close()
            logger.error("the nanny of %s cannot start: %s", self._who, error)
            raise
        self._link = link
        link.on_lost = self._on_lost
        link.on_batch = self._on_batch
        link.send([HelloNanny(self.id, "" if self.name is None else self.name)])
        return True

    def _on_lost(self, reason: str) -> None:
        """Join the next scheduler, as the worker does, if this one went without a goodbye, or another one answers."""
        if self._link is None or self._closing:
            return
        if reason or self._link.refused:
            self._joining = self.loop.create_task(self._join_again())
            return
        self._is_last = True  # the scheduler has closed; a worker that has joined it hears of that, and ends by itself
        if self.process is None or not self.process.joined:
            self._background_task(self.close())

    async def _join_again(self) -> None:
        for name in list(self.held.plugins):
            await failure.caught(self.held.remove(name))
        before = self.where.address, self.secret
        self.where.look_again()
        _, error = await failure.caught(self._join())
        if error is not None:
            logger.warning("the nanny of %s is without a scheduler: %s", self._who, failure.words(error))
            return
        process = self.process
        if (self.where.address, self.secret) != before and process is not None and not process.joined:
            process.kill()  # it looks for the former scheduler, or with its secret; the next one does not

    def _orders(self) -> Orders:
        assert self.secret is not None
        kwargs = {
            "name": self.name,
            "nthreads": self.nthreads,
            "memory_limit": self.memory_limit or 0,
            **self.worker_kwargs,
        }
        options = {
            **heritage.order(self.worker_class, kwargs, heritage.settings(self.config, self.env)),
            "nanny": self.id,
            "echoes": self.where.near is None,  # what tasks `print` appears here too; not where clients print already
            "scheduler": self.scheduler_addr,
            "secret": self.secret.hex(),
            "certificates": None if self.security is None else self.security.to_record(),
            "path": heritage.path(),
            "startup": startup.calls(),
        }
        env = heritage.environment(self.env, self.setting)
        directory = new_path("worker", self.local_home)
        return Orders(options, env, directory, self.nthreads, self.memory_limit or 0)

    # ------------------------------------------------------------ what is asked of the nanny itself

    def _on_batch(self, messages: list[Message]) -> None:
        for message in messages:
            if type(message) is RestartWorker and self.process is not None:
                self.process.kill()
            elif type(message) is Call:
                self._background_task(self._answer(message))

    async def _answer(self, call: Call) -> None:
        request = call.request
        if isinstance(request, RegisterPlugin | UnregisterPlugin):
            blob = await self.held.answer(request, then=self._after_setup)
        elif type(request) is RunFunction:
            blob = await answer_call(request.call, self, f"the nanny of {self._who}")
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

    def log_event(self, topic: str | list[str] | tuple[str, ...], msg: Any) -> None:
        """Log an event, as ``Client.log_event`` does; from any thread."""
        event = Log(names_of(topic), time.time(), plain.checked(msg))
        self.loop.call_soon_threadsafe(lambda: self._send([event]))

    async def close(self, timeout: float = 5.0, reason: str = "") -> None:
        """End the worker and all that it has started; at once, as nothing of it is wanted any more.

        With `grace_s` it has so long to end by itself: the scheduler has closed, and its plugins are torn down.
        """
        if self.status is Status.closed:
            return
        self.status = Status.closing
        self.expect_end()
        process = self.process
        if process is not None:
            if self.grace_s:
                await asyncio.wait([process.ended], timeout=self.grace_s)
            process.kill()
            await asyncio.wait([process.ended], timeout=timeout)
        self._finish(None)
        await self.held.close()
        if self.preloads:
            await self.preloads.teardown()
        self.scratch.remove()
        self.status = Status.closed
        await forward.stderr.drained(FLUSH_S)

    # ------------------------------------------------------------ the end of a worker

    def _tell_end(self, process: WorkerProcess, account: Account) -> None:
        """Tell the scheduler of its worker's end; of one that is expected it is told before, and then again."""
        if process.address:
            self._send([Died(process.address, account, process.expected, process.running)])

    def _leave(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
        if self._link is not None:
            self._link.send([Close("closed")])
            self._link.close()


def _checked_nthreads(nthreads: int | None) -> int:
    if nthreads is None:
        return system.cpu_count()
    if isinstance(nthreads, bool) or not isinstance(nthreads, int) or nthreads < 1:
        raise ValueError(f"nthreads must be an int of at least 1, or None, not {nthreads!r}")
    return nthreads


def _check_host(host: str | None, interface: str | None, listen_address: str | None, worker_port: Ports) -> None:
    """Refuse arguments that say the same thing twice."""
    if listen_address is None:
        return
    others = {"host": host, "interface": interface, "worker_port": worker_port or None}
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"listen_address={listen_address!r} and {name}={value!r} say the same thing; give one")


def _check_worker_kwargs(make: object, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that the worker's class does not take; of a class that is but named, its process says so."""
    if not kwargs or isinstance(make, str):
        return
    from windrow.worker.arguments import check_times
    from windrow.worker.worker import Worker

    check_times(kwargs)
    parameters = inspect.signature(make if isinstance(make, type) else Worker).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        known = [name for name in parameters if name not in {"self", "scheduler_ip", "scheduler_port"}]
        own = [name for name in inspect.signature(Nanny).parameters if name != "worker_kwargs"]
        keywords.refuse_unknown("Nanny", kwargs, {*known, *own})
