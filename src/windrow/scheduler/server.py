"""The scheduler's shell: listeners and links around the core, its ticks, and what must run code in its process.

What lives here: `SchedulerServer`. What this file must never know: how anything is decided.

All that arrives in one turn of the event loop is handled before one flush, which sends one frame a peer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from windrow import addressing, config, listening, logs, schemes, security, tls, transport
from windrow.dashboard.dashboard import Dashboard
from windrow.errors import NotAllowed
from windrow.node import Server, Status
from windrow.plugins import scratch
from windrow.roles import Role, token
from windrow.scheduler import requests
from windrow.scheduler.answers import Answers
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.facade import SchedulerView
from windrow.scheduler.plugins import SchedulerPlugins
from windrow.scheduler.state import (
    ClientRecord,
    NannyRecord,
    ObserverRecord,
    Peer,
    SchedulerConfig,
    Unexpected,
    WorkerRecord,
)
from windrow.transport import Link, Listener, inproc
from windrow.transport.asker import Asker
from windrow.transport.gate import Gate
from windrow.transport.lasting import Reception
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import Close, HelloClient, Message, Reply, Welcome
from windrow.wire.requests import Request

logger = logging.getLogger("windrow.scheduler")

TICK_S = 0.025

SHOWN_BY = (
    "distributed.dashboard.graph-max-items",
    "distributed.dashboard.prometheus.namespace",
    "distributed.scheduler.dashboard.status.task-stream-length",
    "distributed.scheduler.dashboard.tasks.task-stream-length",
)
"""Settings that the dashboard's process is told of, as a program may have set them."""

PRESSED_SHARE = 0.6
"""Of a processor: a process that takes more between two ticks has its hands full."""

SLOW_TICK_S = 1.0
"""Where only a service waits for the time to pass (leases of locks)."""

_numbers = itertools.count(1)


def read_config() -> SchedulerConfig:
    """Return the core's knobs as they are configured."""
    allowed = config.get("distributed.scheduler.allowed-failures")
    return SchedulerConfig(
        allowed_failures=int(allowed),  # type: ignore[call-overload]
        inline_limit=config.size_bytes("windrow.inline-limit"),
        worker_ttl_s=_worker_ttl_s(),
        guards_memory=config.get("distributed.worker.memory.terminate") not in (False, None, 0),
        manages_memory=bool(config.get("distributed.scheduler.active-memory-manager.start")),
        manage_memory_every_s=config.seconds("distributed.scheduler.active-memory-manager.interval"),
        lease_timeout_s=_lease_timeout_s(),
        impossible_s=_seconds_or_never("windrow.scheduler.cannot-run-warning"),
        no_workers_timeout_s=_seconds_or_never("distributed.scheduler.no-workers-timeout"),
        standstill_s=_seconds_or_never("windrow.scheduler.standstill-warning"),
        unknown_s=config.seconds("distributed.scheduler.unknown-task-duration"),
        rows_kept=_rows_kept(),
        events_kept=int(config.get("distributed.admin.low-level-log-length")),  # type: ignore[call-overload]
        output_bytes=config.size_bytes("windrow.output.bytes"),
        task_output_bytes=config.size_bytes("windrow.output.task-bytes"),
        output_s=config.seconds("windrow.output.forget-after"),
        sent=sent,
    )


def sent(blob: Shared, memory: str) -> Blob:
    """Return what goes over the wire of shared arguments: an offer to who has the same memory, to others all of them.

    Examples
    --------
    >>> from windrow.wire import payload, sharing
    >>> shared = sharing.packed([memoryview(payload.dumps("x"))])
    >>> payload.loads(sent(shared, ""))
    'x'
    """
    from windrow import segments
    from windrow.wire import failure, payload, sharing  # ctypes, which is below, is not for those who never need it

    try:
        sharing.attach(blob)  # which it is, unless a client beyond this process says what no client of ours does
        return sharing.offer(blob) if memory and memory == segments.token() else sharing.plain(blob)
    except OSError as error:
        return payload.dumps(failure.Unloadable(failure.dump(error, "the arguments of a task")[0]))


def _worker_ttl_s() -> float:
    return _seconds_or_never("distributed.scheduler.worker-ttl")


def _seconds_or_never(key: str) -> float:
    return math.inf if config.get(key) is None else config.seconds(key)


def _rows_kept() -> int:
    return int(config.get("distributed.scheduler.dashboard.tasks.task-stream-length"))  # type: ignore[call-overload,no-any-return]


def _ready_after_s() -> float | None:
    key = "windrow.dashboard.ready-after"
    return None if config.get(key) is None else config.seconds(key)


def _lease_timeout_s() -> float:
    key = "distributed.scheduler.locks.lease-timeout"
    return math.inf if str(config.get(key)).strip().lower() == "inf" else config.seconds(key)


class SchedulerServer(Server):
    """A scheduler on the running loop.

    Parameters
    ----------
    secret
        The cluster's secret.
    listens
        Where to listen for other processes; nowhere: for parties of this process alone.
    contact
        The address to tell to others, in place of the first of these.
    on_shutdown
        Called when a client asks for the end of the cluster; by default it closes.
    settings
        The core's knobs; by default as they are configured.
    local_directory
        Where to make its own directory.
    dashboard_address, http_prefix
        Where the dashboard listens (None: nowhere), and what is before its paths; see `Dashboard`.
    certificates
        For TLS; by default temporary ones, where it is to listen with TLS.
    """

    kind = "scheduler"

    def __init__(
        self,
        secret: bytes,
        listens: Sequence[str] = ("tcp://127.0.0.1:0",),
        contact: str = "",
        on_shutdown: Callable[[], None] | None = None,
        settings: SchedulerConfig | None = None,
        local_directory: str = "",
        dashboard_address: str | int | None = None,
        http_prefix: str | None = None,
        certificates: tls.Security | None = None,
    ) -> None:
        super().__init__()
        logs.remember()
        if any(address.startswith("tls://") for address in listens):
            certificates = tls.with_certificates(certificates)
        self.security = certificates
        """Its certificates, if it has any."""
        self.id = f"Scheduler-{uuid.uuid4()}"
        self.secret = secret
        self._listens = list(listens)
        self._contact = contact
        self.core = SchedulerCore(settings or read_config())
        now_s = asyncio.get_running_loop().time()
        self.core.state.epoch_s = time.time() - now_s
        self.core.state.worked_s = now_s
        self.started = time.time()
        self.address = ""
        self.inproc_address = f"inproc://scheduler-{os.getpid()}-{next(_numbers)}"
        self.on_change: Callable[[], None] | None = None
        """Called after a party has joined or left."""
        self.on_scale: Callable[[int], Coroutine[Any, Any, None]] | None = None
        """Has the cluster have so many workers; None where nobody here can."""
        self.on_shutdown = on_shutdown
        self.dashboard = Dashboard(
            dashboard_address,
            self._make_observable,
            _host_of(self._listens),
            http_prefix,
            _ready_after_s() if self._listens else None,  # who keeps all in one process is started no other unasked
        )
        self._observable: str | None = None
        """Where observers reach it, once one was to come."""
        self.tell: Callable[[logging.Logger, int, str, str], object] = _log
        """How deaths are logged; where a program's stderr may be full, by what waits for nobody."""
        self._listeners: list[Listener] = []
        self._links: dict[Link, Peer[Any] | None] = {}
        self._reception = Reception(self._accept)
        self._gate = Gate(logger)
        self._cut: set[Link] = set()
        """Those whose connection is gone, and may come back."""
        self._flush_due = False
        self._tick: asyncio.TimerHandle | None = None
        self._tick_is_slow = False
        self._ticked = (0.0, 0.0)
        """When the last tick was, and how much processor time this process had taken by then."""
        self._published: list[Path] = []
        self.validates = False
        """Whether the core checks itself after each step."""
        self._closing = False
        self._closed = False
        self._house: Asker | None = None
        self._house_link: Link | None = None
        self.scratch = scratch.Scratch(scratch.new_path("scheduler", local_directory), importable=True)
        self.view = SchedulerView(self)
        """What plugins and functions in this process see."""
        self.plugins = SchedulerPlugins(self.core.state, self.view)
        self.answers = Answers(self, self.plugins)

    def __repr__(self) -> str:
        return f"<Scheduler {self.address} {self.core!r}>"

    async def _open(self) -> None:
        """Listen. On tcp, this user's other processes find the secret in the runtime directory."""
        self._listeners.append(await transport.listen(self.inproc_address, self._accept, secret=None))
        self.address = self.inproc_address
        for wanted in self._listens:
            self._listeners.append(
                await transport.listen(wanted, self._reception.accept, secret=self.secret, certificates=self.security)
            )
        far = [listener.address for listener in self._listeners[1:]]
        if far:
            self.address = listening.contact(self._contact, far[0])
            self._observable = far[0]
            for wanted, address in zip(self._listens, list(far), strict=True):
                far += _loopback(wanted, address)
        for address in dict.fromkeys([self.address, *far] if far else ()):
            self._published.append(security.publish(address, self.secret, self.security, id=self.id))
            inproc.neighbours[address] = self.inproc_address
        self.dashboard.start()
        self._tell("the scheduler is at %s", self.address)
        if self.dashboard.link:
            self._tell("the dashboard is at %s", self.dashboard.link)
        self.scratch.sweep_later(self.loop)

    @property
    def listeners(self) -> list[Listener]:
        """What accepts connections."""
        return list(self._listeners)

    @property
    def listen_address(self) -> str:
        """Where it listens itself; others may reach it by another address (``contact_address``)."""
        return self._listeners[1].address if len(self._listeners) > 1 else self.address

    async def close(self, timeout: float | None = None, reason: str = "") -> None:
        """Tell everybody, and stop."""
        if self._closing:
            await asyncio.wait([self.ended])
            return
        self._closing = True
        self._tell("the scheduler at %s closes", self.address)
        self.give_up_start()
        await self._prepare_end()
        await self.dashboard.close()
        self.answers.close()
        await self.plugins.end("before_close")
        self.status = Status.closed
        self._closed = True
        for address in [address for address, near in inproc.neighbours.items() if near == self.inproc_address]:
            del inproc.neighbours[address]
        for listener in self._listeners:
            listener.close()
        self._reception.close()
        if self._tick is not None:
            self._tick.cancel()
        for link in list(self._links):
            link.send([Close(f"the scheduler is closed{reason and f': {reason}'}")])
            link.close()
        for path in self._published:
            security.withdraw(path)
        await self.plugins.end("close")
        self.scratch.remove()
        self.ended.set_result("")

    async def _prepare_end(self) -> None:
        """Do what comes first when it closes; for subclasses."""

    # ------------------------------------------------------------ links

    def _accept(self, link: Link) -> None:
        self._links[link] = None
        link.on_cut = lambda reason: self._on_cut(link)
        link.on_resumed = lambda: self._on_resumed(link)
        link.on_lost = lambda reason: self._lost(link, reason)
        link.on_batch = lambda messages: self._receive(link, messages)

    def _receive(self, link: Link, messages: list[Message]) -> None:
        now_s = self.loop.time()
        peer = self._links.get(link)
        try:
            if link.role is not Role.ADMINISTER:
                messages = self._gate.let_through(link, messages)
                if not messages:
                    return
            if peer is None and self.answers.is_arrival(link, messages):
                return
            if peer is None:
                self._check_name(link, messages[0])
                peer = self.core.join(messages[0], now_s)
                self.answers.arrived(link)
                peer.link = link
                self._links[link] = peer
                if type(peer) is WorkerRecord:
                    link.send([Welcome()])
                messages = messages[1:]
                self._tell("%s has joined", _named(peer))
                self._changed()
            if type(peer) is ClientRecord:
                messages = self.answers.answer(link, self.answers.unblocked(link, messages))
            elif type(peer) is ObserverRecord:
                unblocked = self.answers.unblocked(link, messages)
                messages = [message for message in unblocked if not self.answers.heed_observer(link, message)]
            self.core.receive(peer, messages, now_s)
        except (Unexpected, NotAllowed) as refusal:
            logger.warning("closing the connection of %s: %s", link.remote, refusal)
            link.send([Close(str(refusal))])
            link.close()
        self.flush_soon()

    def _check_name(self, link: Link, hello: Message) -> None:
        """Refuse a client the name of one that has proved more: it would take its place."""
        former = self.core.state.clients.get(hello.id) if type(hello) is HelloClient else None
        held = former.link if former is not None else None
        if isinstance(held, Link) and held.role > link.role:
            raise NotAllowed("To take the place of another client", str(held.role), str(link.role))

    def _lost(self, link: Link, reason: str) -> None:
        peer = self._links.pop(link, None)
        self._cut.discard(link)
        self._gate.forget(link)
        self.answers.forget(link)
        if peer is not None and not self._closed:
            if self._closing and type(peer) is ObserverRecord:  # the dashboard's process, which has been ended
                reason = "the scheduler closes"
            self._tell("%s has left: %s", _named(peer), reason or "the connection is closed")
            self.core.lost(peer, reason, self.loop.time())
            self.flush_soon()
            self._changed()

    def _on_cut(self, link: Link) -> None:
        peer = self._links.get(link)
        if self._closed:
            link.close()
            return
        if peer is None or not self.core.is_here(peer):  # it has to say hello, or to hear that it may go
            self.loop.call_later(link.patience_s, lambda: link.close() if link.is_cut else None)
            return
        self._tell("%s is cut off; it may come back within %g s", _named(peer), link.patience_s)
        self._cut.add(link)
        self.core.cut(peer, link.patience_s, self.loop.time())
        self.flush_soon()
        self._changed()

    def _on_resumed(self, link: Link) -> None:
        peer = self._links.get(link)
        if link in self._cut and peer is not None:
            self._tell("%s is back", _named(peer))
            self._cut.discard(link)
            self.core.resumed(peer, self.loop.time())
            self.flush_soon()
            self._changed()

    def _tell(self, text: str, *args: object) -> None:
        logs.tell(logger, self.id, text, *args)

    def _changed(self) -> None:
        if self.on_change is not None:
            self.loop.call_soon(self.on_change)

    def flush_soon(self) -> None:
        """Send what is to be said, at the end of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        for peer, messages in self.core.flush():
            link = peer.link
            if isinstance(link, Link):
                link.send(messages)
        self.plugins.tell()
        if self._cut:
            self._close_given_up()
        if self.core.state.obituaries:
            self._log_deaths()
        if self.core.state.remarks:
            self._log_remarks()
        if self.validates:
            self._validate()
        if not self._closed:
            self._tick_soon()

    def _close_given_up(self) -> None:
        for link in list(self._cut):
            peer = self._links[link]
            if peer is not None and not self.core.is_here(peer):
                link.close()  # who comes back is told so

    def _validate(self) -> None:
        from windrow.scheduler.invariants import check_invariants

        try:
            check_invariants(self.core.state)
        except AssertionError:
            logger.critical("the scheduler's state contradicts itself; this is a defect of windrow", exc_info=True)

    def _log_deaths(self) -> None:
        """Say what died, and who is blamed: a nanny, whose log has all that is known, does not know tasks' keys."""
        for account in self.core.state.obituaries:
            ran = ", ".join(map(repr, account.tasks)) or "no task"
            died = "has died: " if account.exit_code is None else ""
            who = f"worker {account.name!r} (pid {account.pid})"
            self.tell(logger, logging.WARNING, f"{who} {died}{account.end}; it was running {ran}", self.id)
        self.core.state.obituaries.clear()

    def _log_remarks(self) -> None:
        """Say what does not go on, and who was told of it."""
        for remark in self.core.state.remarks:
            self.tell(logger, logging.WARNING if remark.is_warning else logging.INFO, remark.text, self.id)
        self.core.state.remarks.clear()

    def _tick_soon(self) -> None:
        """Set the clock, if time alone may make something due; an idle scheduler does not tick."""
        if self._tick is not None and not self._tick_is_slow:
            return
        if self.core.is_busy():
            delay_s = TICK_S
        elif self.core.is_waiting():
            delay_s = SLOW_TICK_S
        else:
            return
        if self._tick is not None:
            if delay_s == SLOW_TICK_S:
                return
            self._tick.cancel()
        self._tick = self.loop.call_later(delay_s, self._on_tick)
        self._tick_is_slow = delay_s == SLOW_TICK_S

    def _on_tick(self) -> None:
        self._tick = None
        now_s, spent_s = self.loop.time(), time.process_time()
        before_s, before_spent_s = self._ticked
        self._ticked = now_s, spent_s
        self.core.tick(now_s, is_pressed=spent_s - before_spent_s > PRESSED_SHARE * (now_s - before_s))
        self._flush()

    # ------------------------------------------------------------ questions that only the shell can answer

    def identity(self) -> dict[str, Any]:
        """Return the scheduler's description of itself and its workers, as plain data."""
        described = requests.describe(self.core.state)
        behind_s = time.time() - self.loop.time()
        for worker in described["workers"].values():
            worker["last_seen"] += behind_s
        described["services"] = {} if self.dashboard.port is None else {"dashboard": self.dashboard.port}
        described["dashboard_link"] = self.dashboard.link
        return {"id": self.id, "address": self.address, "started": self.started, **described}

    async def _make_observable(self) -> dict[str, Any]:
        """Return how the dashboard's process reaches this scheduler; one without a port gets one of its own for it."""
        if self._observable is None:
            listener = await transport.listen("tcp://127.0.0.1:0", self._accept, secret=self.secret)
            self._listeners.append(listener)
            self._observable = listener.address
            if self._closing:  # meanwhile
                listener.close()
        certificates = None if self.security is None else self.security.to_record()
        return {
            "address": self._observable,
            "secret": token(self.secret, Role.WATCH).hex(),
            "certificates": certificates,
            "party": "scheduler",
            "settings": {
                name: found for name in SHOWN_BY if (found := config.get(name)) != config.DEFAULTS[name].default
            },
        }

    # ------------------------------------------------------------ what this process asks of the scheduler

    def is_own(self, link: Link) -> bool:
        """Whether a connection is this process's own."""
        return link is self._house_link

    async def ask(self, request: Request) -> Reply:
        """Ask what clients may ask; what the reply holds as an error is raised."""
        return await self._own_client().ask(request)

    def say(self, message: Message) -> None:
        """Say what clients may say."""
        self._own_client().link.send([message])

    def _own_client(self) -> Asker:
        if self._house is None:
            near, far = inproc.pair(self.loop, self.loop, "scheduler")
            record = ClientRecord(self.id, "")
            record.link = far
            self._links[far] = record
            self._house_link = far
            far.on_lost = lambda reason: None
            far.on_batch = lambda messages: self._receive(far, messages)
            self._house = Asker(near)
        return self._house


def _loopback(wanted: str, listening_at: str) -> list[str]:
    """Return by what else parties on this machine reach what listens on all interfaces."""
    scheme, location = addressing.split_address(wanted)
    if not schemes.has_ports(scheme):
        return []
    host, _ = addressing.split_host_port(location)
    if host not in {"", "0.0.0.0", "::"}:
        return []
    scheme, location = addressing.split_address(listening_at)
    port = addressing.split_host_port(location)[1]
    near = {"": ["127.0.0.1"], "0.0.0.0": ["127.0.0.1"], "::": ["::1"]}[host]
    return [addressing.join_address(scheme, addressing.join_host_port(each, port)) for each in near]


def _named(peer: Peer[Any]) -> str:
    """Return who a peer is, for the log."""
    if isinstance(peer, WorkerRecord):
        return f"worker {peer.name!r} at {peer.address}"
    if isinstance(peer, ClientRecord):
        return f"client {peer.id}"
    if isinstance(peer, NannyRecord):
        return f"the nanny of worker {peer.name!r}" if peer.name != "" else f"the nanny {peer.id}"
    return f"the observer {peer.id}" if isinstance(peer, ObserverRecord) else type(peer).__name__


def _log(to: logging.Logger, level: int, text: str, party: str) -> None:
    to.log(level, "%s", text, extra={"party": party})


def _host_of(listens: list[str]) -> str | None:
    """Return the host that a dashboard of no host of its own shares."""
    if not listens or not schemes.has_ports(addressing.split_address(listens[0])[0]):
        return None
    return addressing.split_host_port(addressing.split_address(listens[0])[1])[0]
