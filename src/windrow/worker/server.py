"""The worker's shell: connections to the scheduler and to other workers, around the core and its threads.

What lives here: `WorkerServer`. What this file must never know: how tasks are chosen (core) or run (executor).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from msgspec import Struct, field

from windrow import addressing, listening, logs, memfd, schemes, segments, tls, transport
from windrow.errors import WindrowError
from windrow.node import Server, Status
from windrow.plugins.held import Held, arrive
from windrow.plugins.scratch import Scratch, new_path
from windrow.primitives import plain
from windrow.primitives.topics import names_of
from windrow.transport import Link, Listener
from windrow.transport.room import Room
from windrow.wire import failure
from windrow.wire.blobs import Blob
from windrow.wire.messages import (
    Call,
    Close,
    Heartbeat,
    HelloWorker,
    Key,
    Log,
    Message,
    Put,
    Welcome,
)
from windrow.wire.requests import UnregisterPlugin
from windrow.worker import joining, output
from windrow.worker.answers import Answers
from windrow.worker.core import WorkerCore
from windrow.worker.executor import Executor
from windrow.worker.facade import WorkerFacade
from windrow.worker.incoming import Limits
from windrow.worker.memory import MemoryOptions, transfer_bytes
from windrow.worker.memory_settings import read_options
from windrow.worker.monitor import MemoryMonitor
from windrow.worker.observed import Observed
from windrow.worker.packing import unloadable
from windrow.worker.peers import Peers
from windrow.worker.profiler import Profiler

logger = logging.getLogger("windrow.worker")

DATA_THREADS = 4
"""So many questions for values are answered at a time: pickling and copying, which waits for nobody."""

MOVES_S = 0.005
"""How much later than a task was made ready plugins are told that it runs, if nothing else happens."""

_inproc_numbers = itertools.count(1)


class WorkerConfig(Struct, kw_only=True):
    """What a worker needs to know to start."""

    scheduler: str
    name: str | int
    nthreads: int = 1
    secret: bytes | None = None
    """The cluster's; None: what this user's runtime directory, or the scheduler file, says when the time has come."""
    certificates: tls.Security | None = None
    """Its own for TLS; None: what goes with the scheduler's address."""
    scheduler_file: str = ""
    listens: list[str] = []
    """Addresses to try until one is free; none: any port of the interface that the scheduler is reached by."""
    contact: str = ""
    """The address to tell to others, in place of that."""
    host: str = "127.0.0.1"
    """The interface that it shows itself on."""
    heartbeat_s: float = 1.0
    memory_limit: int = 0
    memory: MemoryOptions = field(default_factory=read_options)
    inline_limit: int = 16 * 1024
    nanny: str = ""
    local_directory: str = ""
    resources: dict[str, float] = {}
    echoes: bool = True
    """Whether what tasks `print` appears here too, beside at the clients."""
    dashboard_address: str | int | None = None
    http_prefix: str = ""
    profile_cycle_s: float | None = None
    """How long the stretches are of which a profile tells times; None: as configured."""


class WorkerServer(WorkerFacade, Server):
    """A worker on the running loop.

    Parameters
    ----------
    config
        Who it is, and where its scheduler is. An ``inproc://`` scheduler makes an inproc worker.
    recorder
        Cells for the flight recorder (see `Executor`).
    data
        Where values are kept: a mapping, what makes one, or a pair of that and its keyword arguments; None: in memory,
        and on disk when that is short.
    """

    kind = "worker"

    def __init__(self, config: WorkerConfig, recorder: memoryview | None = None, data: Any = None) -> None:
        Server.__init__(self)
        logs.remember()
        self.config = config
        self.secret = config.secret
        self.security = config.certificates
        """Its certificates, once known; None: there are none."""
        self.name = config.name
        self.nthreads = config.nthreads
        self.echoes = config.echoes
        self.address = ""
        incoming = transfer_bytes(config.memory, config.memory_limit)
        self.core = WorkerCore(Limits(config.memory.incoming, incoming, config.memory.question_bytes))
        self.thread_id = threading.get_ident()
        self._room = Room()
        """Whether tasks may log events; else they wait."""
        self.scheduler_address = config.scheduler
        self.client: Any = None
        """The client that tasks share, from its first use on (``get_client``)."""
        self.ended: asyncio.Future[str]
        """Done when the worker is: "" after a good close, else the reason."""
        self._inproc = config.scheduler.startswith("inproc://")
        self.held = Held(self, "worker", in_thread=self._inproc)
        self.scratch = Scratch(config.local_directory or new_path("worker"), importable=True)
        self._ending = False
        self.wants_successor = False
        """Whether it closes so that its nanny starts another in its place."""
        self.on_listening: Callable[[str], None] | None = None
        """Called with its address, before the scheduler hears of it."""
        self.validates = False
        """Whether the core checks itself after each visit of the loop."""
        self.extra: dict[str, Any] = {}
        """What it tells of itself once, when it joins."""
        self.more_metrics: dict[str, Any] = {}
        """What heartbeats tell beside the usual."""
        self.joined: asyncio.Future[None] = self.loop.create_future()
        """Done when the scheduler has taken it in, or has refused it."""
        self._telling: asyncio.TimerHandle | None = None
        self.executor = Executor(
            self.core, config.nthreads, self._wake, self.loop, config.inline_limit, recorder, shares_memory=self._inproc
        )
        self.executor.worker = self
        self.output = output.collect(self)
        """What its tasks say; None where nobody wants to know."""
        self.memory_manager = MemoryMonitor(self, config.memory, config.memory_limit, data, measures=not self._inproc)
        self.executor.keeping = self.memory_manager.keeping
        if self.memory_manager.keeping is not None:
            self.core.brought = []
        self._recorder = recorder
        self._link: Link | None = None
        self._listener: Listener | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Future[Any]] = set()
        # A pool of its own: whatever functions do, values still leave for those who need them.
        self.data_pool = ThreadPoolExecutor(DATA_THREADS, "windrow-data")
        self.peers = Peers(self)
        self.answers = Answers(self, config.memory.outgoing)
        self.outgoing = self.answers.outgoing
        self.actors = self.answers.actors
        self.profiler = Profiler(self, config.profile_cycle_s)
        self.observed = Observed(self, config.dashboard_address, config.http_prefix)
        if not self._inproc:  # the process is its own
            segments.bound_to(config.memory_limit)
        if recorder is not None:  # for the nanny, who ends a process that has too much
            memfd.held.mirror = partial(recorder.__setitem__, -3)
            memfd.viewed.mirror = partial(recorder.__setitem__, -2)

    def __repr__(self) -> str:
        return f"<Worker {self.name!r} {self.address} threads={self.nthreads} {self.core!r}>"

    async def _open(self) -> None:
        """Find the scheduler, listen for peers, join, start the threads."""
        config = self.config
        link = await joining.reach(self)
        try:
            self._listener = await self._listen()
            contact = config.contact
            if not contact and config.listens and not self._inproc:
                contact = listening.towards(self.scheduler_address, config.listens[0])
            self.address = self.core.address = listening.contact(contact, self._listener.address)
            if self.name == "":
                self.name = self.address
            if self.on_listening is not None:
                self.on_listening(self.address)
            self.observed.dashboard.start()
        except BaseException:
            link.close()
            raise
        await self._join(link)
        self.executor.start()
        self.profiler.start()
        self.memory_manager.start()
        self.scratch.sweep_later(self.loop)
        self._beat()
        await self.joined

    async def _join(self, link: Link) -> None:
        """Set plugins up, and say hello."""
        config = self.config
        try:
            await self._set_up_plugins(link)
        except BaseException:
            link.close()
            raise
        if self._ending or self.ended.done():  # meanwhile
            link.close()
            raise RuntimeError("the worker has been closed")
        self._link = link
        link.on_lost = self._lost
        link.on_batch = self._on_batch
        host = self.host if schemes.has_ports(addressing.split_address(self.address)[0]) else "127.0.0.1"
        hello = HelloWorker(
            self.address,
            self.name,
            config.nthreads,
            config.memory_limit,
            os.getpid(),
            host,
            config.nanny,
            self.scratch.planned,
            config.resources,
            self.observed.services,
            self.observed.dashboard.link,
            self.extra,
            self.peers.host,
        )
        link.send([hello])
        to = self.scheduler_address
        logs.tell(logger, self.address, "worker %r at %s joins the scheduler at %s", self.name, self.address, to)

    async def _listen(self) -> Listener:
        """Listen where nobody else does yet."""
        if self._inproc:
            own = f"inproc://worker-{os.getpid()}-{next(_inproc_numbers)}"
            return await transport.listen(own, self.answers.accept, secret=None)
        scheme, far = addressing.split_address(self.scheduler_address)
        wanted = [
            addressing.join_address(scheme, addressing.split_address(each)[1])  # it may have come to be known meanwhile
            for each in self.config.listens or [listening.beside(self.scheduler_address)]
        ]
        if scheme == "tcp" and addressing.is_loopback(addressing.split_host_port(far)[0]):
            # Its scheduler does without encryption because nobody else comes there; that is no word about the worker.
            for each in wanted:
                host = addressing.split_host_port(addressing.split_address(each)[1])[0]
                tls.chosen_scheme(scheme, host, self.security, said=True)
        for last, address in zip([*[False] * (len(wanted) - 1), True], wanted, strict=True):
            try:
                return await transport.listen(
                    address, self.answers.accept, secret=self.secret, certificates=self.security, role="worker"
                )
            except OSError as error:
                if last and len(wanted) > 1:
                    raise OSError(error.errno, f"none of {wanted[0]} to {wanted[-1]} is free: {error}") from error
                if last:
                    raise
        raise AssertionError("the last one either listens or raises")

    @property
    def link(self) -> Link | None:
        """Its connection to the scheduler."""
        return self._link

    @property
    def listen_address(self) -> str:
        """Where it listens itself; others may reach it by another address (``contact_address``)."""
        return self.address if self._listener is None else self._listener.address

    async def _set_up_plugins(self, link: Link) -> None:
        try:
            await arrive(link, self.held)
        except Exception as error:
            logger.error("worker %r cannot start: %s", self.name, error)
            self._stop(str(error))
            raise
        self.watch()

    def watch(self) -> None:
        """Have the core note moves of tasks while a plugin asks for them."""
        with self.executor.lock:
            if not self.held.watchers:
                self.core.moves = None
            elif self.core.moves is None:
                self.core.moves = []

    async def close(
        self, timeout: float | None = None, executor_wait: bool = True, nanny: bool = True, reason: str = "it closed"
    ) -> None:
        """Leave at once; with ``nanny=False`` its nanny starts another in its place."""
        self.give_up_start()
        self.joined.cancel()
        if self._link is not None and not self.ended.done():
            self._flush()
            self._link.send([Close(reason)])
        self.wants_successor = self.wants_successor or not nanny
        self._stop("" if nanny else reason)
        await asyncio.wait([self.ended])

    def _stop(self, reason: str) -> None:
        if self._ending or self.ended.done():
            return
        self._ending = True
        self.status = Status.closing
        if self.held.plugins:
            self.background(self._tear_down(reason))
        else:
            self._end(reason)

    async def _tear_down(self, reason: str) -> None:
        await self.held.close()
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.memory_manager.stop()
        self.scratch.remove()
        self.status = Status.closed
        self.ended.set_result(reason)
        self.executor.stop()
        self.profiler.stop()
        self.data_pool.shutdown(wait=False, cancel_futures=True)
        for timer in (self._heartbeat, self._telling):
            if timer is not None:
                timer.cancel()
        if self._listener is not None:
            self._listener.close()
        self.observed.close()
        if self.client is not None:
            self.client.session.close("its worker has closed")
        if self._link is not None:
            self._link.close()
        self.answers.close()
        self.peers.close()

    def _lost(self, reason: str) -> None:
        self._room.open()
        if not self.joined.done():
            self.joined.set_exception(RuntimeError(f"the scheduler has ended the connection: {reason or 'it closes'}"))
            return
        if self._link is None or not self._link.refused or self._ending or self.config.nanny:
            if reason and not self._ending and not self.config.nanny:  # which would tell
                logger.warning("worker %r ends: %s", self.name, reason)
            # Its nanny starts another: no thread of that is in a task that nobody wants.
            self._stop(reason or "the scheduler closed the connection")
        else:
            logger.warning("worker %r starts afresh: %s", self.name, reason)
            self.background(self._join_afresh(reason))

    async def _join_afresh(self, reason: str) -> None:
        """Join a scheduler that knows nothing of this worker: nothing that is here is of its."""
        self._link = None
        self.joined = self.loop.create_future()
        self.peers.forget()
        self.visit(self.core.start_afresh)
        self.executor.forget_functions()
        if self.client is not None:
            self.client.session.close("its worker has another scheduler")
            self.client = None
        for plugin in list(self.held.plugins):
            await failure.caught(self.held.obey(UnregisterPlugin("worker", plugin)))
        try:
            await self._join(await joining.reach(self))
            await self.joined
        except (OSError, RuntimeError, WindrowError) as error:
            self._stop(f"{reason}; and it could not start afresh: {error}")
            return
        self._flush()

    def _beat(self) -> None:
        if self._link is not None:
            self._link.send([Heartbeat({**self.metrics_now(), **self.more_metrics})])
        self._heartbeat = self.loop.call_later(self.config.heartbeat_s, self._beat)

    def metrics_now(self) -> dict[str, float]:
        """Return what heartbeats say: what is measured now."""
        core = self.core
        core.epoch_s = time.time() - time.perf_counter()
        times = os.times()
        facts = self.memory_manager.facts()
        if self._recorder is not None:
            self._recorder[-1] = max(int(facts["memory"]), self._recorder[-1])
        return {
            "time": time.time(),
            "cpu_s": times.user + times.system,
            **facts,
            "executing": float(core.running),
            "ready": float(len(core.ready)),
            "in_memory": float(len(core.data)),
            "received_bytes": float(core.incoming.received_bytes),
            "sent_bytes": float(self.outgoing.sent_bytes),
        }

    # ------------------------------------------------------------ the scheduler

    def _on_batch(self, messages: list[Message]) -> None:
        if not self.joined.done():
            messages = self._hear_answer(messages)
        orders: list[Any] = messages
        own = [message for message in messages if type(message) in _NOT_THE_CORES]
        if own:
            orders = [message for message in messages if type(message) is not Call and type(message) is not Close]
        for message in own:
            if type(message) is Put and not self.answers.is_here(message.value):
                # As if it had never come: who needs it will miss it, and the scheduler looks into that.
                logger.warning("the data under key %r was offered as shared memory, which is gone", message.key)
                orders = [other for other in orders if other is not message]
        self.visit(lambda: self.core.receive(orders))
        for message in own:
            if type(message) is Call:
                assert self._link is not None
                self.answers.answer(self._link, message)
        if any(type(message) is Close for message in own):
            self._stop("")

    def _hear_answer(self, messages: list[Message]) -> list[Message]:
        """Take the scheduler's answer to the hello; what is left is as from any member of the cluster."""
        for message in messages:
            if type(message) is Close:
                self.joined.set_exception(RuntimeError(f"the scheduler refuses it: {message.reason}"))
                return []
            if type(message) is Welcome:
                self.joined.set_result(None)
                break
        return [message for message in messages if type(message) is not Welcome]

    def log_event(self, topic: str | list[str] | tuple[str, ...], msg: Any) -> None:
        """Log an event, as ``Client.log_event`` does; from any thread, and before what the core has to say later."""
        event = Log(names_of(topic), time.time(), plain.checked(msg))
        if self._room.is_full and threading.get_ident() != self.thread_id:
            self._room.wait(f"the scheduler at {self.scheduler_address}")
        with self.executor.lock:
            self.core.out.append(event)
        self._wake()

    def _wake(self) -> None:
        """Executor threads call this when there is news."""
        try:
            self.loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop has ended before this thread's last task: nobody wants its result
            return

    def _flush(self) -> None:
        self.visit(self.executor.taken)

    def visit(self, change: Callable[[], None]) -> None:
        """Enter the core with news, wake threads for what is ready now, and carry away what it has to say."""
        core = self.core
        with self.executor.lock:
            change()
            requests = core.take_requests()
            self.executor.offer()
            out = core.take_out() if self._link is not None else []  # while it starts afresh, it says nothing
            dropped = core.data.take_dropped()
            moves = core.moves
            if moves is not None:
                self._tell_soon(moves)
            if self.validates:
                self._validate()
        if self.output is not None and self._link is not None:
            said = self.output.take(core.attempts)
            if said is not None:  # before the reports of these tasks' ends
                out.insert(0, said)
        if out and self._link is not None:
            self._link.send(out)
            if self._link.is_congested or self._room.is_full:
                self._room.look(self._link)
        if core.brought:
            brought, core.brought = core.brought, []
            self.memory_manager.adopt(brought)
        for address, ids in requests:
            self.peers.ask(address, ids)
        dropped.clear()  # outside the lock: the end of a value may run its class's own code
        if core.data.managed > core.data.watch:
            self.memory_manager.grown()

    def _validate(self) -> None:
        from windrow.worker.invariants import check_worker

        try:
            check_worker(self.core)
        except AssertionError:
            logger.critical("a worker's state contradicts itself; this is a defect of windrow", exc_info=True)

    def _tell_soon(self, moves: list[tuple[Key, str, str]]) -> None:
        """Have plugins told of moves, and once more of those that threads are about to make (with the lock held)."""
        if moves:
            self.core.moves = []
            self.loop.call_soon(self.held.tell, moves)
        if self.core.ready and self._telling is None:
            self._telling = self.loop.call_later(MOVES_S, self._tell_again)

    def _tell_again(self) -> None:
        self._telling = None
        self._flush()

    def when_done(
        self, future: asyncio.Future[list[Blob | None]], count: int, then: Callable[[list[Blob | None]], None]
    ) -> None:
        """Give the values that a thread or task makes to ``then``, on the loop; each is its failure if it fails."""
        self._background.add(future)

        def done(future: asyncio.Future[list[Blob | None]]) -> None:
            self._background.discard(future)
            if future.cancelled():  # with the worker, whose connections close
                return
            if self.output is not None and self.output.is_due:  # what an actor has said comes before what it returns
                self._flush()
            error = future.exception()  # result() would raise it, and a SystemExit would end the loop
            then([unloadable(error)] * count if error is not None else [*future.result()])

        future.add_done_callback(done)


_NOT_THE_CORES = frozenset({Call, Close, Put})
"""Messages that the shell looks at before the core, or instead of it."""
