"""The scheduler as a plain state machine: messages and the time in, messages out.

What lives here: `SchedulerCore`, which finds the handler for a message, and gathers what is to be sent at the end of
a tick. What this file must never know: sockets, clocks, threads, random numbers, logs. The shell (server) moves bytes;
the virtual cluster (windrow.testing) moves messages on a virtual clock; both drive this class and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from windrow.primitives.catalog import SERVICES
from windrow.scheduler import (
    balance,
    census,
    clients,
    copies,
    graphs,
    recording,
    replicas,
    requests,
    scaling,
    watch,
    workers,
)
from windrow.scheduler.dispatch import dispatch
from windrow.scheduler.following import Following
from windrow.scheduler.memory_manager import MemoryManager
from windrow.scheduler.notes import MARK_S
from windrow.scheduler.services import FrontDesk
from windrow.scheduler.state import (
    ClientRecord,
    Keeper,
    NannyRecord,
    ObserverRecord,
    Peer,
    SchedulerConfig,
    State,
    Unexpected,
    WorkerRecord,
)
from windrow.scheduler.transitions import settle
from windrow.scheduler.watch import Watch
from windrow.wire import failure, permissions
from windrow.wire.messages import (
    Call,
    Cancel,
    Cancelled,
    Close,
    Copied,
    Declare,
    Died,
    Done,
    Erred,
    Executed,
    Failed,
    Finished,
    Ghosts,
    Graph,
    Heartbeat,
    HelloClient,
    HelloNanny,
    HelloObserver,
    HelloWorker,
    Holds,
    Leaving,
    Log,
    Missing,
    Output,
    Paused,
    Release,
    Reply,
    Rescheduled,
    Retry,
    Returned,
    Seceded,
    Stopped,
    Submit,
    Supply,
    Undeclare,
    Want,
    Withdraw,
)
from windrow.wire.requests import Ask

Handler = Callable[[State, Any, Any], None]


def _on_call(state: State, peer: Peer[Any], message: Call) -> None:
    answer = requests.ANSWERS.get(type(message.request))
    if type(message.request) is Ask:
        state.desk.on_ask(peer, message.id, message.request)
    elif answer is None:
        error, _ = failure.dump(ValueError(f"the scheduler has no answer to {type(message.request).__name__}"))
        state.tell(peer, Reply(message.id, error=error))
    else:
        answer(state, peer, message.id, message.request)


def _on_question(state: State, observer: ObserverRecord, message: Call) -> None:
    request = message.request
    if type(request) in requests.FOR_OBSERVERS:
        _on_call(state, observer, message)
    elif type(request) is Ask and permissions.reads(request):
        state.desk.on_look(observer, message.id, request)
    else:
        error = PermissionError(f"an observer only looks: it may not ask for {type(request).__name__}")
        state.tell(observer, Reply(message.id, error=failure.dump(error)[0]))


def _on_withdraw(state: State, client: ClientRecord, message: Withdraw) -> None:
    state.desk.on_withdraw(client, message)


def _on_log(state: State, peer: Peer[Any], message: Log) -> None:
    state.desk.log(message.topics, message.time, message.event)


def _on_output(state: State, worker: WorkerRecord, message: Output) -> None:
    kept: Any = state.desk.services["output"]
    kept.add(worker.address, message)


def _client_leaves(state: State, client: ClientRecord, message: Close) -> None:
    clients.leave(state, client)


def _worker_leaves(state: State, worker: WorkerRecord, message: Close) -> None:
    workers.on_close(state, worker, message)


def _observer_leaves(state: State, observer: ObserverRecord, message: Close) -> None:
    """Nothing depends on it."""


def _nanny_leaves(state: State, nanny: NannyRecord, message: Close) -> None:
    workers.lost_nanny(state, nanny)


HANDLERS: dict[type[Peer[Any]], dict[type[Struct], Handler]] = {
    ClientRecord: {
        Declare: clients.on_declare,
        Undeclare: clients.on_undeclare,
        Submit: clients.on_submit,
        Graph: graphs.on_graph,
        Want: clients.on_want,
        Release: clients.on_release,
        Cancel: clients.on_cancel,
        Retry: clients.on_retry,
        Withdraw: _on_withdraw,
        Log: _on_log,
        Call: _on_call,
        Close: _client_leaves,
    },
    WorkerRecord: {
        Done: workers.on_done,
        Erred: workers.on_erred,
        Returned: workers.on_returned,
        Missing: workers.on_missing,
        Holds: workers.on_holds,
        Copied: workers.on_copied,
        Ghosts: workers.on_ghosts,
        Seceded: workers.on_seceded,
        Rescheduled: workers.on_rescheduled,
        Stopped: workers.on_stopped,
        Paused: workers.on_paused,
        Executed: recording.on_executed,
        Log: _on_log,
        Output: _on_output,
        Heartbeat: workers.on_heartbeat,
        Supply: workers.on_supply,
        Leaving: replicas.on_leaving,
        Reply: requests.on_reply,
        Close: _worker_leaves,
    },
    NannyRecord: {
        Died: workers.on_died,
        Log: _on_log,
        Reply: requests.on_reply,
        Close: _nanny_leaves,
    },
    ObserverRecord: {
        Call: _on_question,
        Close: _observer_leaves,
    },
}


class SchedulerCore:
    """The scheduler's decisions.

    Parameters
    ----------
    config
        Knobs; the defaults are those of production.

    Examples
    --------
    >>> core = SchedulerCore()
    >>> worker = core.join(HelloWorker("tcp://w", "w", 1), now_s=0.0)
    >>> client = core.join(HelloClient("c"), now_s=0.0)
    >>> core.receive(client, [Declare(b"f", "inc", b""), Submit(b"f", ["inc-1"], [b""])], now_s=0.0)
    >>> [(peer, messages)] = core.flush()
    >>> peer is worker, [type(message).__name__ for message in messages]
    (True, ['Function', 'Run'])
    """

    def __init__(self, config: SchedulerConfig | None = None) -> None:
        self.state = State(config)
        self.state.watch = Watch()
        self.desk = self.state.desk = FrontDesk(self.state, (*SERVICES, MemoryManager, Following))

    def __repr__(self) -> str:
        state = self.state
        return (
            f"<SchedulerCore tasks={len(state.tasks)} queued={len(state.queue)} "
            f"workers={len(state.workers)} clients={len(state.clients)}>"
        )

    def join(self, hello: Struct, now_s: float) -> Peer[Any]:
        """Take the first message of a new connection; `Unexpected` when it is no greeting or is refused."""
        state = self.state
        state.now_s = now_s
        joined: Peer[Any] | str
        if type(hello) is HelloClient:
            joined = clients.join(state, hello)
        elif type(hello) is HelloWorker:
            joined = workers.join(state, hello)
        elif type(hello) is HelloNanny:
            joined = workers.join_nanny(state, hello)
        elif type(hello) is HelloObserver:
            joined = ObserverRecord(hello.id)
        else:
            joined = f"the first message of a connection must be a greeting, not {type(hello).__name__}"
        self._settle()
        if isinstance(joined, str):
            raise Unexpected(joined)
        return joined

    def receive(self, peer: Peer[Any], messages: list[Any], now_s: float) -> None:
        """Take messages of a peer that has joined; `Unexpected` when one is not for it to say."""
        state = self.state
        state.now_s = now_s
        if type(peer) is WorkerRecord:
            if state.workers.get(peer.address) is not peer:
                return  # it has been taken out; what it still says is of forgotten attempts
            peer.last_seen_s = now_s
        elif isinstance(peer, ClientRecord) and peer.left:
            return  # it has said goodbye, or another has taken its place
        elif now_s - state.notes.marked_s >= MARK_S:
            state.notes.mark(state.next_id, now_s)
        handlers = HANDLERS[type(peer)]
        leaves = handlers[Close]
        agenda = state.agenda
        for message in messages:
            handler = handlers.get(type(message))
            if handler is None:
                raise Unexpected(f"a {type(peer).__name__} may not say {type(message).__name__}")
            handler(state, peer, message)
            if agenda:
                settle(state)
            if handler is leaves:
                break  # what follows a goodbye is nobody's
        if type(peer) is WorkerRecord and peer.progress_s == now_s and messages:
            state.worked_s = now_s
        if state.gone:
            self._settle()

    def lost(self, peer: Peer[Any], reason: str, now_s: float) -> None:
        """A peer's connection has ended."""
        state = self.state
        state.now_s = now_s
        if isinstance(peer, ClientRecord):
            clients.leave(state, peer)
        elif isinstance(peer, WorkerRecord):
            workers.lost(state, peer, reason)
        elif isinstance(peer, NannyRecord):
            workers.lost_nanny(state, peer)
        self._settle()

    def cut(self, peer: Peer[Any], patience_s: float, now_s: float) -> None:
        """A peer's connection is gone; it tries to come back for so long, and what it is told meanwhile waits."""
        state = self.state
        state.now_s = now_s
        if not self.is_here(peer):
            return
        peer.cut_s, peer.patience_s = now_s, patience_s
        state.cut[peer] = None
        if isinstance(peer, WorkerRecord):
            workers.cut(state, peer)
        self._give_up()
        self._settle()

    def resumed(self, peer: Peer[Any], now_s: float) -> None:
        """A peer is back: all that it has said comes now, nothing of it twice, and what it was told arrives."""
        state = self.state
        state.now_s = now_s
        if peer not in state.cut:
            return
        del state.cut[peer]
        peer.cut_s = None
        if isinstance(peer, WorkerRecord):
            workers.resumed(state, peer)
        elif isinstance(peer, ClientRecord):
            self.desk.returned(peer)
        self._settle()

    def is_here(self, peer: Peer[Any]) -> bool:
        """Say whether a peer has joined, and has not left or been given up."""
        state = self.state
        if isinstance(peer, WorkerRecord):
            return state.workers.get(peer.address) is peer
        if isinstance(peer, ClientRecord):
            return state.clients.get(peer.id) is peer
        return isinstance(peer, NannyRecord) and state.nannies.get(peer.id) is peer

    def tick(self, now_s: float, is_pressed: bool = False) -> None:
        """Do what is due by time alone; to be called every ``stall_s / 2`` or so while `is_busy`.

        ``is_pressed`` says whether this process takes all the time that it can get.
        """
        state = self.state
        state.now_s, state.is_pressed = now_s, is_pressed
        workers.look_for_silence(state)
        self._give_up()
        copies.look_for_silence(state)
        balance.rebalance(state)
        census.go_on(state)
        recording.lapse(state)
        if self.desk.is_waiting:
            self.desk.tick()
        watch.look(state)
        self._settle()

    def _settle(self) -> None:
        """Work the agenda off, and answer for workers and nannies that were taken out."""
        state = self.state
        settle(state)
        while state.gone:
            requests.party_left(state, state.gone.pop())
            self._give_up()
            settle(state)

    def _give_up(self) -> None:
        """Take out clients and nannies that have not come back in time; a worker's client goes with its worker."""
        state = self.state
        for peer in list(state.cut):
            assert peer.cut_s is not None
            is_over = state.now_s - peer.cut_s >= peer.patience_s
            if isinstance(peer, ClientRecord) and (is_over or (peer.worker and peer.worker not in state.workers)):
                clients.leave(state, peer)
            elif isinstance(peer, NannyRecord) and is_over:
                workers.lost_nanny(state, peer)

    def is_busy(self) -> bool:
        """Say whether ticks are needed: something runs, is copied or counted, or a worker's end is not settled."""
        state = self.state
        if state.copies or state.census is not None:
            return True
        return any(w.processing or (w.status == "lost" and w.cut_s is None) for w in state.workers.values())

    def is_waiting(self) -> bool:
        """Say whether something is due by time alone, though not soon: a tick a second is enough."""
        return bool(self.state.cut) or self.desk.is_waiting or watch.is_needed(self.state)

    @property
    def idle_since_s(self) -> float | None:
        """Since when nothing was done, in the time that it is told; None while something is to be done.

        To be asked every now and then; what ``no work for so long`` is to lead to is the shell's business.
        """
        return scaling.idle_since_s(self.state)

    def flush(self) -> list[tuple[Peer[Any], list[Any]]]:
        """Place what can be placed, and return what is to be sent, a list a peer."""
        state = self.state
        dispatch(state)
        if not state.dirty:
            return []
        sent: list[tuple[Peer[Any], list[Any]]] = []
        for peer in state.dirty:
            if type(peer) is Keeper:
                self._drop_words(peer)
                continue
            sent.append((peer, peer.out))
            peer.out = []
            peer.dirty = False
            if type(peer) is ClientRecord:
                peer.finished = None
        state.dirty = []
        if state.agenda:  # a keeper has let go of what is done
            self._settle()
            sent += self.flush()
        return sent

    def _drop_words(self, keeper: Keeper) -> None:
        """Nobody listens to a keeper's reports; a brief one wants no longer what they are about."""
        state = self.state
        said, keeper.out, keeper.dirty, keeper.finished = keeper.out, [], False, None
        if keeper.brief:
            for message in said:
                if isinstance(message, Finished | Failed | Cancelled):
                    clients.drop(state, keeper, message.keys)
            if not keeper.wants:
                state.clients.pop(keeper.id, None)
