"""The virtual cluster: the real cores, on a virtual clock, over a network that a seed drives.

What lives here: `VirtualCluster` with its workers (a real `WorkerCore`, whose threads are events) and clients (a model
of what the real one keeps). What this file must never know: which scenario is played (simulation).

A task's arguments are a `Work`: what the task does, how long it takes, and how large its result claims to be. Its value
is a checksum over its own salt and its inputs' values, so that a wrong input anywhere shows in the end.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from windrow.account import Account
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import SchedulerConfig
from windrow.testing.agreement import Agreement
from windrow.testing.explaining import Explaining
from windrow.testing.lines import End, Line
from windrow.testing.network import Clock
from windrow.wire.blobs import Blob
from windrow.wire.messages import (
    Call,
    Cancel,
    Cancelled,
    Close,
    Declare,
    Died,
    Failed,
    Finished,
    Graph,
    HelloClient,
    HelloNanny,
    HelloWorker,
    Key,
    Lost,
    Release,
    Reply,
    RestartWorker,
    Submit,
    TaskOptions,
    Topic,
    Want,
    Withdraw,
)
from windrow.wire.requests import ActorCall, Ask, Gather, Request, Restart, Scatter
from windrow.worker.core import WorkerCore
from windrow.worker.incoming import Limits
from windrow.worker.state import Attempt
from windrow.worker.store import Packed

INLINE_LIMIT = 1000


class Inner(Struct, array_like=True):
    """A task that another one submits and waits for."""

    key: str
    salt: int
    duration_s: float = 0.001
    inner: list[Inner] = []


class Work(Struct, array_like=True):
    """What a virtual task does."""

    salt: int
    kind: str = "ok"
    """ok, fail (raises), flaky (raises on its first attempts), poison (kills its worker)"""
    duration_s: float = 0.001
    nbytes: int = 10
    fails: int = 0
    leaves: int = 0
    """How often it leaves its thread and comes back in turn; an odd number: it ends outside."""
    reschedules: int = 0
    inner: list[Inner] = []
    takes: dict[str, float] = {}


def checksum(salt: int, inputs: list[int]) -> int:
    """Return the value of a task from its salt and its inputs' values."""
    return zlib.crc32(msgspec.msgpack.encode([salt, inputs]))


def value_of(work: Work | Inner, inputs: list[int]) -> int:
    """Return the value of a task from its inputs' values and those that it waits for."""
    return checksum(work.salt, inputs + [value_of(inner, []) for inner in work.inner])


_work = msgspec.msgpack.Decoder(Work).decode
_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.decode


class VirtualWorker:
    """A worker: a real core, and threads that are events."""

    def __init__(
        self,
        cluster: VirtualCluster,
        name: str,
        nthreads: int,
        nanny: str,
        slowness: float = 1.0,
        resources: dict[str, float] | None = None,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.address = f"sim://{name}"
        self.nthreads = nthreads
        self.nanny = nanny
        self.slowness = slowness
        self.core = WorkerCore(cluster.limits)
        self.resources = resources or {}
        self.running: list[Attempt] = []
        """Those that have threads."""
        self.outside: list[Attempt] = []
        """Those that have left them."""
        self.returning: deque[Attempt] = deque()
        """Those that want one again."""
        self.works: dict[Attempt, Work] = {}
        self.client: VirtualClient | None = None
        """What its tasks submit others with."""
        self.alive = True
        self.failures: dict[Key, int] = {}
        self.life = 1
        self._join()

    def _join(self) -> None:
        self.to_scheduler = self.cluster.connect(
            HelloWorker(self.address, self.name, self.nthreads, nanny=self.nanny, resources=self.resources),
            self._receive,
            self._cut_off,
            self._start_afresh,
        )

    def _start_afresh(self) -> None:
        """The scheduler does not know it any more: its nanny starts another, or it joins as a new one."""
        if not self.alive:
            return
        if self.nanny in self.cluster.nannies:
            self.die("it was given up")
            return
        cluster = self.cluster
        cluster.ended[self.address] = None
        cluster.log(f"{self.name} starts afresh")
        cluster.on_end(self)
        self.close_client()
        self.client = None
        self.life += 1
        self.core.start_afresh()
        for attempt in [attempt for attempt in self.outside if self.works[attempt].inner]:
            self.outside.remove(attempt)  # its client is closed, and says so to it
            del self.works[attempt]
            self.core.fail(attempt, 0.0, b"", "")
        self._join()
        self.go_on()

    def _receive(self, messages: list[Any]) -> None:
        if self.alive:
            for message in messages:
                if type(message) is Call and type(message.request) is ActorCall:
                    hosted = self.core.actors.get(message.request.task)
                    answer: list[Blob | None] = [None, _pack("gone")] if hosted is None else [_pack(hosted.key), None]
                    self.to_scheduler.send([Reply(message.id, blobs=answer)])
                elif type(message) is Call:
                    blobs: list[Blob | None] = [self.serve(id) for id in message.request.tasks]  # type: ignore[union-attr]
                    self.to_scheduler.send([Reply(message.id, blobs=blobs)])
                elif type(message) is Close:
                    self._retire()
                else:
                    self.core.receive([message])
            self.go_on()

    def _cut_off(self) -> None:
        self.die("cut off from the scheduler")

    def serve(self, id: int) -> bytes | None:
        """Return a value as it would travel to a peer."""
        value = self.core.data.get(id)
        if value is None:
            return None
        return value.blob if isinstance(value, Packed) else _pack(value)  # type: ignore[return-value]

    def go_on(self) -> None:
        """Start what threads can start, and carry away what the core has to say."""
        while len(self.running) < self.nthreads and self.returning:
            self._come_back(self.returning.popleft())
        while len(self.running) < self.nthreads and (attempt := self.core.next_attempt()) is not None:
            self.running.append(attempt)
            work = self.works[attempt] = _work(attempt.args)  # type: ignore[arg-type]
            if work.inner:
                self._later(attempt, lambda attempt=attempt: self._wait_for_others(attempt))  # type: ignore[misc]
            else:
                self._go_on_with(attempt)
        for address, ids in self.core.take_requests():
            self._ask(address, ids)
        self.core.data.take_dropped()
        out = self.core.take_out()
        if out:
            self.to_scheduler.send(out)

    def _later(self, attempt: Attempt, then: Callable[[], None]) -> None:
        """Let an attempt run for a while."""
        duration = self.works[attempt].duration_s * self.slowness * (0.5 + self.cluster.rng.random())
        self.cluster.clock.after(duration, lambda: then() if self.alive else None)

    # ------------------------------------------------------------ leaving a thread, and coming back

    def _go_on_with(self, attempt: Attempt) -> None:
        """The next stretch of an attempt: it ends, or leaves its thread, or wants one again."""
        work = self.works[attempt]
        if not work.leaves:
            self._later(attempt, lambda: self._end(attempt, work))
            return
        work.leaves -= 1
        self._later(attempt, lambda: self._want_back(attempt) if attempt.seceded else self._leave(attempt))

    def _leave(self, attempt: Attempt) -> None:
        self.running.remove(attempt)
        self.outside.append(attempt)
        self.core.leave(attempt)
        if not self.works[attempt].inner:
            self._go_on_with(attempt)
        self.go_on()

    def _want_back(self, attempt: Attempt) -> None:
        self.outside.remove(attempt)
        self.returning.append(attempt)
        self.go_on()

    def _come_back(self, attempt: Attempt) -> None:
        self.running.append(attempt)
        self.core.come_back(attempt)
        self._go_on_with(attempt)

    def _wait_for_others(self, attempt: Attempt) -> None:
        """An attempt submits others with its worker's client, and leaves its thread until they are done."""
        if self.client is None:
            id = f"client of {self.name}" if self.life == 1 else f"client {self.life} of {self.name}"
            self.client = VirtualClient(self.cluster, id, self.address)
        client, inner = self.client, self.works[attempt].inner
        for each in inner:
            work = Work(each.salt, duration_s=each.duration_s, inner=each.inner)
            client.submit(each.key, work, [], priority=attempt.priority + 0.001)
            client.held[each.key] = client.held.get(each.key, 0) + 1
        self._leave(attempt)

        def settled() -> bool:
            futures = [client.futures.get(each.key) for each in inner]
            missing = [future for future in futures if future is not None and future.value is None]
            if any(future.status != "cancelled" for future in missing):
                return False
            for each, future in zip(inner, futures, strict=True):
                expected = value_of(each, [])
                cancelled = future is None or future.status == "cancelled"
                assert cancelled or future.value == expected, f"{attempt.key} gets a wrong value of {each.key}"  # type: ignore[union-attr]
                client.held[each.key] -= 1
                if not client.held[each.key] and future is not None:
                    client.release([each.key])
            if self.alive:
                self._want_back(attempt)
            return True

        client.waiting.append(settled)

    def close_client(self) -> None:
        """The client of its tasks goes with it."""
        if self.client is not None and not self.client.closed:
            self.client.close()

    def _end(self, attempt: Attempt, work: Work) -> None:
        if work.kind == "poison":
            self.die("poisoned")
            return
        (self.outside if attempt.seceded else self.running).remove(attempt)
        del self.works[attempt]
        self.cluster.log(f"{self.name} ran {attempt.key} attempt {attempt.number}")
        self.cluster.runs[attempt.key] = self.cluster.runs.get(attempt.key, 0) + 1
        seen = self.cluster.failures.get(attempt.key, 0)
        if seen < work.reschedules:
            self.cluster.failures[attempt.key] = seen + 1
            self.core.reschedule(attempt)
        elif work.kind == "fail" or (work.kind == "flaky" and seen < work.fails):
            self.cluster.failures[attempt.key] = seen + 1
            self.core.fail(attempt, 0.0, _pack(attempt.key), "")
        else:
            inputs: list[Any] = [_unpack(v.blob) if isinstance(v, Packed) else v for v in attempt.values or ()]  # type: ignore[arg-type]
            value = value_of(work, inputs)
            seconds = work.duration_s * self.slowness
            if attempt.actor:
                self.core.host(attempt, work, seconds, work.nbytes, _pack(value))
                self.go_on()
                return
            blob = _pack(value) if attempt.inline and work.nbytes <= INLINE_LIMIT else None
            self.core.finish(attempt, value, seconds, work.nbytes, blob)
        self.go_on()

    def _ask(self, address: str, ids: list[Any]) -> None:
        cluster, life = self.cluster, self.life
        cluster.log(f"{self.name} asks {address} for {ids}")

        def arrive() -> None:
            peer = cluster.workers.get(address)
            partitioned = cluster.rng.random() < cluster.fetch_failures
            alive = peer is not None and peer.alive and not partitioned
            answers = [(id, peer.serve(id) if alive and peer is not None else None) for id in ids]
            cluster.clock.after(cluster.rng.random() * cluster.delay_s, lambda: self._answered(answers, life))

        cluster.clock.after(cluster.rng.random() * cluster.delay_s, arrive)

    def _answered(self, answers: list[tuple[Any, bytes | None]], life: int) -> None:
        if self.alive and life == self.life:
            for id, blob in answers:
                self.core.fetched(id, blob)
            self.go_on()

    def _retire(self) -> None:
        """The scheduler has closed it; no other is started."""
        self.alive = False
        self.cluster.log(f"{self.name} retires")
        del self.cluster.workers[self.address]
        self.cluster.on_end(self)
        self.close_client()
        self.cluster.disconnect(self.to_scheduler)

    def leave(self, held_nothing: bool = False) -> None:
        """Close in good order, in the middle of whatever it does; no other is started."""
        self.alive = False
        if not held_nothing:
            self.cluster.ended[self.address] = None
        self.cluster.log(f"{self.name} leaves")
        del self.cluster.workers[self.address]
        self.cluster.on_end(self)
        self.close_client()
        self.to_scheduler.send([Close("it was asked to")])
        nanny = self.cluster.nannies.get(self.nanny)
        if nanny is not None:  # what a worker says may be lost, if it is cut off when it leaves
            delay = self.cluster.rng.random() * self.cluster.delay_s * 4
            self.cluster.clock.after(delay, lambda: nanny.send([Died(self.address, Account("it left"), True)]))

    def die(self, why: str, expected: bool = False) -> None:
        """End at once, as by SIGKILL; the nanny, if there is one, gives an account and starts another."""
        if not self.alive:
            return
        self.alive = False
        self.cluster.ended[self.address] = None
        self.cluster.log(f"{self.name} dies: {why}")
        del self.cluster.workers[self.address]
        self.cluster.on_end(self)
        self.close_client()
        self.cluster.disconnect(self.to_scheduler)
        nanny = self.cluster.nannies.get(self.nanny)
        if nanny is not None:
            running = [attempt.id for attempt in [*self.running, *self.outside]]
            delay = self.cluster.rng.random() * self.cluster.delay_s * 4
            if self.cluster.rng.random() < 0.9:  # an account may also never come
                died = Died(self.address, Account(said=why), expected, running)
                self.cluster.clock.after(delay, lambda: nanny.send([died]))
            self.cluster.clock.after(delay + 0.05, lambda: self.cluster.replace(self))


class VirtualFuture(Struct, eq=False):
    """What a client knows of one key."""

    key: Key
    born: int
    status: str = "pending"
    value: int | None = None
    error: Any = None


class VirtualClient:
    """A client: futures by key, reports taken as the real client takes them."""

    def __init__(self, cluster: VirtualCluster, id: str, worker: str = "") -> None:
        self.cluster = cluster
        self.id = id
        self.futures: dict[Key, VirtualFuture] = {}
        self.released = 0
        self.calls: dict[int, list[Key]] = {}
        self.questions: dict[int, Callable[[Reply], None]] = {}
        self.next_call = 0
        self.closed = False
        self.held: dict[Key, int] = {}
        """How many tasks of a worker wait for a key."""
        self.warnings: list[str] = []
        """What it was warned of."""
        self.on_gone: Callable[[], None] = lambda: None
        self.waiting: list[Callable[[], bool]] = []
        """Called after each report, until they return True."""
        self.to_scheduler = cluster.connect(HelloClient(id, worker=worker), self._receive, self._gone, self._gone)
        self.to_scheduler.send([Declare(b"work", "work", b"code")])

    def submit(
        self,
        key: Key,
        work: Work,
        inputs: list[Key],
        retries: int = 0,
        priority: float = 0.0,
        actor: bool = False,
        options: TaskOptions | None = None,
    ) -> None:
        """Want a task; one that is wanted already is not sent again."""
        if key not in self.futures:
            self.futures[key] = VirtualFuture(key, self.released)
            columns = [inputs] if inputs else []
            asked = options or TaskOptions()
            where = asked.workers, asked.allow_other_workers, asked.resources
            submit = Submit(b"work", [key], [_pack(work)], columns, priority, retries, *where, actor)
            self.to_scheduler.send([submit])

    def scatter(self, key: Key, value: int, nbytes: int) -> None:
        """Put a value on a worker."""
        self.futures[key] = VirtualFuture(key, self.released)
        self.cluster.scattered[key] = None
        self.next_call += 1
        request = Scatter([key], [_pack(value)], [nbytes], [None])
        self.to_scheduler.send([Call(self.next_call, request)])

    def send_graph(self, graph: Graph, wanted: list[Key]) -> None:
        """Send a part of a graph, and want some of its tasks."""
        self.to_scheduler.send([graph])
        for key in wanted:
            self.futures.setdefault(key, VirtualFuture(key, self.released))

    def send_data(self, service: str, data: object, then: Callable[[Reply], None]) -> None:
        """Ask a service something that is plain data."""
        self.call(Ask(service, data), then)

    def release(self, keys: list[Key]) -> None:
        """Drop futures."""
        self.released += 1
        for key in keys:
            del self.futures[key]
        self.to_scheduler.send([Release(keys, self.released)])

    def cancel(self, keys: list[Key], force: bool) -> None:
        """Give tasks up."""
        self.released += 1
        for key in keys:
            del self.futures[key]
        self.to_scheduler.send([Cancel(keys, self.released, force)])

    def restart(self) -> None:
        """Have all tasks forgotten and all workers restarted."""
        self.next_call += 1
        self.to_scheduler.send([Call(self.next_call, Restart())])

    def ask(
        self,
        service: str,
        request: Struct,
        blobs: list[Blob] | None = None,
        then: Callable[[Reply], None] | None = None,
    ) -> int:
        """Ask one of the scheduler's services; return the number of the call."""
        self.next_call += 1
        if then is not None:
            self.questions[self.next_call] = then
        self.to_scheduler.send([Call(self.next_call, Ask(service, request, blobs or []))])
        return self.next_call

    def call(self, request: Request, then: Callable[[Reply], None]) -> None:
        """Ask the scheduler itself."""
        self.next_call += 1
        self.questions[self.next_call] = then
        self.to_scheduler.send([Call(self.next_call, request)])

    def withdraw(self, call: int) -> None:
        """Wait no longer for a service's answer."""
        self.to_scheduler.send([Withdraw(call)])

    def want(self, keys: list[Key]) -> None:
        """Make futures on tasks that exist."""
        new = [key for key in dict.fromkeys(keys) if key not in self.futures]
        for key in new:
            self.futures[key] = VirtualFuture(key, self.released)
        if new:
            self.to_scheduler.send([Want(new)])

    def _gone(self) -> None:
        """It has given up to come back, or was given up; or it is closed."""
        self.closed = True
        self.on_gone()

    def close(self) -> None:
        """Leave without a word."""
        self.closed = True
        self.cluster.disconnect(self.to_scheduler)

    def _receive(self, messages: list[Any]) -> None:
        for message in messages:
            if type(message) is Reply:
                self._on_reply(message)
                continue
            if type(message) is Topic:
                self.warnings.append(message.event["text"])
                continue
            for index, key in enumerate(message.keys):
                future = self.futures.get(key)
                if future is None or message.seen < future.born:
                    continue
                if type(message) is Finished:
                    blob = message.values[index]
                    future.status = "finished"
                    future.value = None if blob is None else _unpack(blob)  # type: ignore[arg-type]
                    if blob is None:
                        self._gather([key])
                elif type(message) is Failed:
                    future.status, future.error = "error", message.error
                elif type(message) is Lost:
                    future.status = "lost"
                elif type(message) is Cancelled:
                    future.status, future.error = "cancelled", message.reason

        self.waiting = [settled for settled in self.waiting if not settled()]

    def _gather(self, keys: list[Key]) -> None:
        self.next_call += 1
        self.calls[self.next_call] = keys
        self.to_scheduler.send([Call(self.next_call, Gather(keys))])

    def _on_reply(self, reply: Reply) -> None:
        if reply.id in self.questions:
            self.questions.pop(reply.id)(reply)
        again = []
        for key, blob in zip(self.calls.pop(reply.id, []), reply.blobs, strict=False):
            future = self.futures.get(key)
            if future is not None and blob is not None and future.value is None:
                future.value = _unpack(blob)  # type: ignore[arg-type]
            elif future is not None and blob is None and future.status == "finished" and future.value is None:
                again.append(key)
        if again:
            self._gather(again)


class VirtualCluster:
    """A scheduler core, workers and clients on one virtual clock.

    Parameters
    ----------
    rng
        Draws delays and all else that chance decides.
    delay_s
        The longest time that a message takes.
    """

    def __init__(self, rng: Random, delay_s: float = 0.002, allowed_failures: int = 3) -> None:
        self.rng = rng
        self.delay_s = delay_s
        self.clock = Clock()
        self.fetch_failures = 0.0
        self.trace: list[str] = []
        self.runs: dict[Key, int] = {}
        self.failures: dict[Key, int] = {}
        self.on_end: Callable[[VirtualWorker], None] = lambda worker: None
        """Told when a worker has ended, for whatever reason."""
        self.core = SchedulerCore(
            SchedulerConfig(
                allowed_failures=allowed_failures, inline_limit=INLINE_LIMIT, account_timeout_s=0.5, lease_timeout_s=0.5
            )
        )
        self.explaining = Explaining(self.core.state)
        self.agreement = Agreement(self.core.state)
        self.workers: dict[str, VirtualWorker] = {}
        self.ended: dict[str, None] = {}
        """Addresses of workers that have died, or left without being asked to."""
        self.scattered: dict[Key, None] = {}
        self.watchers: list[Callable[[], None]] = []
        """To be called whenever the scheduler has heard something."""
        self.limits = Limits()
        """What each worker fetches at a time."""
        self.supply: Callable[[], dict[str, float]] = dict
        """What a new worker has of resources."""
        self.nannies: dict[str, End] = {}
        self.lasting = False
        """Whether connections that are made from here on may be cut, and go on."""
        self.lines: list[Line] = []
        self._flush_due = False
        self._ticking = False
        self._count = 0

    def log(self, line: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.clock.now_s * 1e3:10.3f} ms  {line}")

    # ------------------------------------------------------------ parties

    def add_worker(
        self, nthreads: int = 1, nanny: bool = True, slowness: float = 1.0, resources: dict[str, float] | None = None
    ) -> VirtualWorker:
        """Start a worker, with a nanny of its own or none."""
        self._count += 1
        nanny_id = f"nanny-{self._count}" if nanny else ""
        if nanny:
            self.nannies[nanny_id] = self.connect(
                HelloNanny(nanny_id, nanny_id), lambda messages: self._ask_nanny(nanny_id, messages), lambda: None
            )
        return self._start_worker(nthreads, nanny_id, slowness, self.supply() if resources is None else resources)

    def _start_worker(self, nthreads: int, nanny: str, slowness: float, resources: dict[str, float]) -> VirtualWorker:
        self._count += 1
        worker = VirtualWorker(self, f"w{self._count}", nthreads, nanny, slowness, resources)
        self.workers[worker.address] = worker
        self.log(f"{worker.name} starts with {nthreads} threads")
        return worker

    def _ask_nanny(self, nanny: str, messages: list[Any]) -> None:
        for message in messages:
            assert type(message) is RestartWorker, message
            for worker in [worker for worker in self.workers.values() if worker.nanny == nanny]:
                worker.die("restarted", expected=True)

    def replace(self, dead: VirtualWorker) -> None:
        """A nanny starts its next worker."""
        self._start_worker(dead.nthreads, dead.nanny, dead.slowness, dead.resources)

    # ------------------------------------------------------------ connections

    def connect(
        self,
        hello: Struct,
        receive: Callable[[list[Any]], None],
        on_lost: Callable[[], None],
        on_refused: Callable[[], None] = lambda: None,
    ) -> End:
        """Open a connection to the scheduler; return the party's end."""
        line = Line(self, hello, receive, on_lost, on_refused, self.lasting)
        self.lines.append(line)
        return line.near

    def disconnect(self, end: End) -> None:
        """Break a connection: what is under way is lost, and both ends learn of it in time."""
        end.line.drop()

    def after_scheduler(self, only_looked: bool = False) -> None:
        """Check what must be true, and have what the scheduler has to say sent soon; at once, if it has only looked."""
        check_invariants(self.core.state)
        for watch in self.watchers:
            watch()
        if not self._flush_due:  # batches by tick: several messages may be handled before one flush
            self._flush_due = True
            self.clock.after(0.0 if only_looked else self.rng.random() * self.delay_s * 0.2, self._flush)
        if not self._ticking and (self.core.is_busy() or self.core.is_waiting()):
            self._ticking = True
            self.clock.after(0.025 if self.core.is_busy() else 0.2, self._tick)

    def _flush(self) -> None:
        self._flush_due = False
        for peer, messages in self.core.flush():
            for message in messages:
                self.log(f"scheduler -> {peer!r} {str(message)[:400]}")
            link = peer.link
            if isinstance(link, End):
                link.send(messages)
        check_invariants(self.core.state)
        self.explaining.look()
        self.agreement.look(list(self.workers.values()))

    def _tick(self) -> None:
        self._ticking = False
        only_looks = not (self.core.is_busy() or self.core.state.cut or self.core.desk.is_waiting)
        self.core.tick(self.clock.now_s)
        self.after_scheduler(only_looks)
