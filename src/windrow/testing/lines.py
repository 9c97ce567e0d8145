"""Sessions between the scheduler and another party in the virtual cluster, over connections that a seed cuts.

What lives here: `Line`, two ends with the books of `transport.replay`, as the real links have them. What this file must
never know: who talks over it, or when it is cut. Its connections are those of `testing.links`.

What is under way when a connection is cut is lost, in both directions. Each side notices in its own time; the party
connects again, and is let in if the scheduler has not given it up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from windrow.testing.links import SimulatedLink, pair
from windrow.transport.replay import Replay
from windrow.wire.messages import Close, Resume, Resumed

if TYPE_CHECKING:
    from windrow.testing.virtual import VirtualCluster

PATIENCE_S = 8.0
"""How long a party tries to come back, in virtual time."""

MARGIN_S = 1.0
"""How much longer the scheduler waits for it."""


class _Connection(SimulatedLink):
    """One whose handler's errors end the run, and not only the connection: they are what is looked for."""

    def _deliver(self, batch: list[Any]) -> None:
        assert self._on_batch is not None
        self._on_batch(batch)


class End:
    """One end, as its owner sees it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.replay = Replay()
        self.link: SimulatedLink | None = None

    def send(self, messages: list[Any]) -> None:
        """Send a batch: now, or when there is a connection again."""
        if self.line.is_over:
            return
        if self.link is not None:
            acknowledges = self.line.lasting and self.line.cluster.rng.random() < 0.3
            self.link.send([*messages, self.replay.ack()] if acknowledges else messages)
        if self.line.lasting:
            self.replay.keep(messages)


class Line:
    """A session of one party; see `VirtualCluster.connect`."""

    def __init__(
        self,
        cluster: VirtualCluster,
        hello: Struct,
        receive: Callable[[list[Any]], None],
        on_lost: Callable[[], None],
        on_refused: Callable[[], None],
        lasting: bool,
    ) -> None:
        self.cluster = cluster
        self.lasting = lasting
        self.is_over = False
        self.peer: Any = None
        self.name = ""
        self.near, self.far = End(self), End(self)
        self._receive = receive
        self._on_lost = on_lost
        self._on_refused = on_refused
        self._party_end: SimulatedLink
        self._scheduler_end: SimulatedLink
        self._was_here = True
        self._connect()
        self.near.link, self.far.link = self._party_end, self._scheduler_end
        self.near.send([hello])

    @property
    def is_up(self) -> bool:
        """Whether it may be cut: the scheduler knows whose it is, and both sides use one connection."""
        return self.lasting and self.peer is not None and not self.is_over and self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether both sides use one connection, which stands."""
        own = self.near.link is self._party_end and self.far.link is self._scheduler_end
        return own and not self._party_end.is_severed

    @property
    def is_quiet(self) -> bool:
        """Whether both sides use one connection, and nothing is under way on it."""
        under_way = self._party_end.waiting_bytes + self._scheduler_end.waiting_bytes
        return not self.is_over and self.is_whole and not under_way

    def _connect(self) -> None:
        cluster = self.cluster
        self._party_end, self._scheduler_end = pair(cluster.clock, cluster.rng, cluster.delay_s, kind=_Connection)
        self._party_end.on_batch = self._at_party
        self._scheduler_end.on_batch = self._at_scheduler

    def _at_scheduler(self, batch: list[Any]) -> None:
        if type(batch[0]) is Resume:
            self._on_resume(batch[0])
            return
        messages = self.far.replay.take(batch)
        if not messages:
            return
        cluster = self.cluster
        for message in messages:
            cluster.log(f"scheduler <- {str(message)[:400]}")
        if self.peer is None:
            self.peer = cluster.core.join(messages.pop(0), cluster.clock.now_s)
            self.peer.link = self.far
            self.name = repr(self.peer)
        if messages:
            cluster.core.receive(self.peer, messages, cluster.clock.now_s)
        cluster.after_scheduler()

    def _at_party(self, batch: list[Any]) -> None:
        first = batch[0]
        if self.near.link is not self._party_end:
            self._answered(first)
        elif messages := self.near.replay.take(batch):
            self._receive(messages)

    # ------------------------------------------------------------ cuts

    def cut(self, outage_s: float | None) -> None:
        """Break the connection; the party tries again after so long, or never."""
        assert self.is_up
        cluster, connection = self.cluster, self._scheduler_end
        cluster.log(f"{self.peer!r} is cut off for {outage_s} s")
        self._party_end.sever()

        def scheduler_notices() -> None:
            if self.far.link is connection and not self.is_over:
                self.far.link = None
                self._was_here = cluster.core.is_here(self.peer)
                cluster.core.cut(self.peer, PATIENCE_S + MARGIN_S, cluster.clock.now_s)
                cluster.after_scheduler()

        cluster.clock.after(cluster.rng.random() * cluster.rng.choice([1.0, 50.0]) * cluster.delay_s, scheduler_notices)
        self._come_back_after(PATIENCE_S if outage_s is None else outage_s, outage_s is None)

    def _come_back_after(self, outage_s: float, gives_up: bool) -> None:
        def dial() -> None:
            if self.is_over:
                return
            if gives_up:
                self.drop()
                return
            self.near.link = None
            self._connect()
            self._party_end.send([Resume("", self.near.replay.received)])
            if self.cluster.rng.random() < 0.1:  # this one breaks too, before or after it is of use
                broken = self._party_end

                def break_off() -> None:
                    if self._party_end is broken and self.near.link is not broken:
                        broken.sever()
                        self._come_back_after(self.cluster.rng.random() * self.cluster.delay_s, False)

                self.cluster.clock.after(self.cluster.rng.random() * self.cluster.delay_s * 2, break_off)

        self.cluster.clock.after(outage_s, dial)

    def _on_resume(self, resume: Resume) -> None:
        """What the reception of the real scheduler does."""
        cluster, far = self.cluster, self.far
        cluster.log(f"scheduler <- {self.peer!r} comes back, and has {resume.count}")
        if far.link is None and self._was_here and not cluster.core.is_here(self.peer):
            self._scheduler_end.send([Close("given up")])
            return
        far.link = self._scheduler_end
        self._scheduler_end.send([Resumed(far.replay.received)])
        cluster.core.resumed(self.peer, cluster.clock.now_s)
        for batch in far.replay.again(resume.count):
            self._scheduler_end.send(batch)
        cluster.after_scheduler()

    def _answered(self, answer: Any) -> None:
        if type(answer) is Close:
            self.is_over = True
            self._on_refused()
            return
        assert type(answer) is Resumed, answer
        self.near.link = self._party_end
        for batch in self.near.replay.again(answer.count):
            self._party_end.send(batch)

    # ------------------------------------------------------------ the end

    def drop(self) -> None:
        """The party ends, or gives up: what is under way is lost, and both ends learn of it in time."""
        if self.is_over:
            return
        self.is_over = True
        self._party_end.sever()
        cluster = self.cluster

        def scheduler_notices() -> None:
            if self.peer is not None and self.far.link is not None:
                if self.lasting and cluster.rng.random() < 0.5:
                    cluster.core.cut(self.peer, PATIENCE_S + MARGIN_S, cluster.clock.now_s)
                else:  # it was on the same machine, or could not be cut
                    cluster.core.lost(self.peer, "the connection broke", cluster.clock.now_s)
                cluster.after_scheduler()

        cluster.clock.after(cluster.rng.random() * cluster.delay_s * 2, scheduler_notices)
        cluster.clock.after(cluster.rng.random() * cluster.delay_s * 2, self._on_lost)
