"""Questions to the scheduler, and those it passes on to workers.

What lives here: an answer for each request, and `Relay`, the record of a question that waits for workers' replies. What
this file must never know: sockets; the shell answers what must run code in its process (`RunOnScheduler`, `Shutdown`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from windrow.scheduler import clients, workers
from windrow.scheduler.state import (
    MEMORY,
    ClientRecord,
    Peer,
    State,
    Task,
    Unexpected,
    WorkerRecord,
)
from windrow.scheduler.transitions import lose, purge, step
from windrow.wire.messages import (
    Blob,
    Call,
    Close,
    Gather,
    GetData,
    HasWhat,
    Identity,
    Key,
    Processing,
    Put,
    Reply,
    Request,
    Restart,
    RestartWorker,
    Retire,
    RunFunction,
    Scatter,
    WhoHas,
)


class Relay(Struct, eq=False):
    """A question of a client that workers answer in parts."""

    client: ClientRecord
    call: int
    blobs: list[Blob | None]
    value: list[str]
    keys: list[Key]
    open: dict[int, tuple[WorkerRecord, list[int]]]
    """Calls under way: id -> (worker, places of its answers in ``blobs``)."""


def _answer(
    state: State, peer: Peer[Any], call: int, value: object = None, blobs: list[Blob | None] | None = None
) -> None:
    if isinstance(peer, ClientRecord):
        peer.finished = None
    state.tell(peer, Reply(call, value, blobs or []))


def _workers(state: State, names: list[str] | None) -> list[WorkerRecord]:
    if names is None:
        return list(state.workers.values())
    return [worker for worker in state.workers.values() if worker.address in names or str(worker.name) in names]


# ---------------------------------------------------------------- facts


def who_has(state: State, peer: Peer[Any], call: int, request: WhoHas) -> None:
    """Answer which workers hold which keys."""
    keys = state.tasks if request.keys is None else request.keys
    found = {key: state.tasks.get(key) for key in keys}
    value = {key: [holder.address for holder in task.holders] if task else [] for key, task in found.items()}
    _answer(state, peer, call, value)


def has_what(state: State, peer: Peer[Any], call: int, request: HasWhat) -> None:
    """Answer which keys workers hold."""
    chosen = _workers(state, request.workers)
    _answer(state, peer, call, {worker.address: [task.key for task in worker.holds] for worker in chosen})


def processing(state: State, peer: Peer[Any], call: int, request: Processing) -> None:
    """Answer which keys are on which workers to be run."""
    chosen = _workers(state, request.workers)
    _answer(state, peer, call, {worker.address: [task.key for task in worker.processing] for worker in chosen})


def identity(state: State, peer: Peer[Any], call: int, request: Identity) -> None:
    """Answer who the scheduler and its workers are (the shell adds its own address and start)."""
    _answer(state, peer, call, describe(state))


def describe(state: State) -> dict[str, Any]:
    """Return what is known of the workers, as plain data."""
    present = [worker for worker in state.workers.values() if worker.status == "running"]
    return {
        "type": "Scheduler",
        "services": {},
        "n_workers": len(present),
        "total_threads": sum(worker.nthreads for worker in present),
        "total_memory": sum(worker.memory_limit for worker in present),
        "workers": {
            worker.address: {
                "type": "Worker",
                "id": str(worker.name),
                "name": worker.name,
                "host": worker.host,
                "nthreads": worker.nthreads,
                "memory_limit": worker.memory_limit,
                "local_directory": worker.local_directory,
                "status": worker.status,
                "pid": worker.pid,
                "nanny": worker.nanny or None,
                "last_seen": worker.last_seen_s,
                "metrics": worker.metrics,
                "resources": worker.resources,
            }
            for worker in present
        },
    }


# ---------------------------------------------------------------- data


def gather(state: State, peer: Peer[Any], call: int, request: Gather) -> None:
    """Collect values: small ones are here, others are asked of their holders."""
    assert isinstance(peer, ClientRecord)
    relay = Relay(peer, call, [None] * len(request.keys), [], request.keys, {})
    asked: dict[WorkerRecord, list[int]] = {}
    for place, key in enumerate(request.keys):
        task = state.tasks.get(key)
        if task is None or task.state is not MEMORY:
            continue
        if task.value is not None:
            relay.blobs[place] = task.value
            continue
        holder = next((holder for holder in task.holders if holder.status == "running"), None)
        if holder is not None:
            asked.setdefault(holder, []).append(place)
    for holder, places in asked.items():
        ids = [state.tasks[request.keys[place]].id for place in places]
        _ask(state, relay, holder, places, GetData(ids))
    _finish_if_complete(state, relay)


def scatter(state: State, peer: Peer[Any], call: int, request: Scatter) -> None:
    """Put values on workers, dealt in turn; without any worker the scheduler itself keeps them."""
    assert isinstance(peer, ClientRecord)
    if len({len(request.keys), len(request.values), len(request.nbytes), len(request.types)}) != 1:
        raise Unexpected("the columns of Scatter differ in length")
    present = [worker for worker in _workers(state, request.workers) if worker.status == "running"]
    columns = zip(request.keys, request.values, request.nbytes, request.types, strict=True)
    for number, (key, value, nbytes, value_type) in enumerate(columns):
        task = clients.new_data(state, peer, key, value, nbytes, value_type)
        if task is None:
            continue
        for copy in range(min(request.copies, len(present))):
            worker = present[(number + copy) % len(present)]
            state.tell(worker, Put(task.id, task.key, value))
            state.add_holder(task, worker)
        if present and nbytes > state.config.inline_limit:
            task.value = None
        step(state, task, MEMORY)
    _answer(state, peer, call)


# ---------------------------------------------------------------- workers


def run_function(state: State, peer: Peer[Any], call: int, request: RunFunction) -> None:
    """Pass a function on to workers, outside the task system; without ``wait`` nobody hears of its end."""
    assert isinstance(peer, ClientRecord)
    chosen = [worker for worker in _workers(state, request.workers) if worker.status == "running"]
    relay = Relay(peer, call, [None] * len(chosen), [worker.address for worker in chosen], [], {})
    for place, worker in enumerate(chosen):
        _ask(state, relay, worker, [place], RunFunction(request.call, wait=request.wait))
    if not request.wait:
        for number in relay.open:
            del state.relays[number]
        relay.open.clear()
    _finish_if_complete(state, relay)


def restart(state: State, peer: Peer[Any], call: int, request: Restart) -> None:
    """Forget all tasks, and have nannies start their workers afresh."""
    expected = len([worker for worker in state.workers.values() if worker.status == "running"])
    purge(state, list(state.tasks.values()), "the scheduler was restarted")
    if state.desk is not None:
        state.desk.restarted()
    for worker in list(state.workers.values()):
        nanny = state.nannies.get(worker.nanny)
        if nanny is not None:
            workers.remove(state, worker, "it was restarted", blame=False)
            state.tell(nanny, RestartWorker("the client asked for a restart"))
    _answer(state, peer, call, expected)


def retire(state: State, peer: Peer[Any], call: int, request: Retire) -> None:
    """Close workers; values that only they hold are made again elsewhere."""
    chosen = _workers(state, request.workers)
    for worker in chosen:
        workers.remove(state, worker, "it was retired", blame=False)
        state.tell(worker, Close("retired"))
    _answer(state, peer, call, [worker.address for worker in chosen])


# ---------------------------------------------------------------- relays


def _ask(state: State, relay: Relay, worker: WorkerRecord, places: list[int], request: Request) -> None:
    state.next_call += 1
    relay.open[state.next_call] = (worker, places)
    state.relays[state.next_call] = relay
    state.tell(worker, Call(state.next_call, request))


def on_reply(state: State, worker: WorkerRecord, reply: Reply) -> None:
    """A worker's part of an answer."""
    relay = state.relays.pop(reply.id, None)
    if relay is None:
        return
    _, places = relay.open.pop(reply.id)
    for place, blob in zip(places, reply.blobs, strict=False):
        relay.blobs[place] = blob
        if blob is None and relay.keys:
            _not_there(state, worker, state.tasks.get(relay.keys[place]))
    _finish_if_complete(state, relay)


def _not_there(state: State, worker: WorkerRecord, task: Task | None) -> None:
    """A worker does not hold what it was thought to hold."""
    if task is not None and task.state is MEMORY and worker in task.holders:
        state.remove_holder(task, worker)
        if not task.holders and task.value is None:
            lose(state, task)


def worker_left(state: State, worker: WorkerRecord) -> None:
    """Its parts of answers will not come."""
    for number, relay in list(state.relays.items()):
        if relay.open[number][0] is worker:
            del state.relays[number], relay.open[number]
            _finish_if_complete(state, relay)


def _finish_if_complete(state: State, relay: Relay) -> None:
    if not relay.open:
        _answer(state, relay.client, relay.call, relay.value, relay.blobs)


ANSWERS: dict[type[Struct], Callable[[State, Peer[Any], int, Any], None]] = {
    WhoHas: who_has,
    HasWhat: has_what,
    Processing: processing,
    Identity: identity,
    Gather: gather,
    Scatter: scatter,
    RunFunction: run_function,
    Restart: restart,
    Retire: retire,
}
