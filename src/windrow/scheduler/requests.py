"""Questions to the scheduler, and those it passes on to workers.

What lives here: an answer for each request, and `Relay`, the record of a question that waits for workers' replies. What
this file must never know: sockets; the shell answers what must run code in its process (`RunOnScheduler`, `Shutdown`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from windrow.errors import ActorLostError
from windrow.scheduler import census, clients, memory_state, picture, recording, replicas, scaling, workers
from windrow.scheduler.news import Restarted
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
from windrow.wire import failure
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import Call, Key, Put, Reply, RestartWorker
from windrow.wire.requests import (
    ActorCall,
    AdaptiveTarget,
    Explain,
    Facts,
    Gather,
    GetData,
    HasWhat,
    Identity,
    Memory,
    Overview,
    Processing,
    Profile,
    Reach,
    Rebalance,
    RecentEvents,
    Recipe,
    RegisterPlugin,
    Replicate,
    Report,
    Request,
    Restart,
    RestartWorkers,
    Retire,
    RunFunction,
    Scatter,
    TaskGraph,
    TaskGroups,
    TaskStream,
    UnregisterPlugin,
    WhoHas,
    WorkerFacts,
    WorkersToClose,
)


class Relay(Struct, eq=False):
    """A question of a client that workers, or nannies, answer in parts."""

    client: Peer[Any]
    call: int
    blobs: list[Blob | None]
    value: Any
    keys: list[Key]
    open: dict[int, tuple[Peer[Any], list[int]]]
    """Calls under way: id -> (whose, places of its answers in ``blobs``)."""
    then: Callable[[], None] | None = None
    """What is done, and no more than that said, when all have answered well; else the reply value is True."""


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


def facts(state: State, peer: Peer[Any], call: int, request: Facts) -> None:
    """Answer what is known of tasks."""
    tasks = state.tasks
    chosen = tasks.values() if request.keys is None else [tasks[key] for key in request.keys if key in tasks]
    names = FACTS if request.names is None else [name for name in request.names if name in FACTS]
    _answer(state, peer, call, [[task.key, {name: FACTS[name](task) for name in names}] for task in chosen])


FACTS: dict[str, Callable[[Task], Any]] = {
    "state": lambda task: task.state,
    "function": lambda task: task.function.name if task.function is not None else None,
    "priority": lambda task: task.priority,
    "retries": lambda task: task.retries,
    "attempt": lambda task: task.attempt,
    "nbytes": lambda task: task.nbytes if task.state is MEMORY else None,
    "processing_on": lambda task: task.worker.address if task.worker is not None else None,
    "who_has": lambda task: [holder.address for holder in task.holders],
    "dependencies": lambda task: [source.key for source in task.inputs],
    "dependents": lambda task: [dependent.key for dependent in task.dependents or ()],
    "who_wants": lambda task: [client.id for client in task.clients],
    "deaths": lambda task: list(map(str, task.deaths or ())),
    "erred_on": lambda task: task.failure.root if task.failure is not None else None,
    "error": lambda task: task.failure.text if task.failure is not None else None,
}
"""What can be told of a task."""


def identity(state: State, peer: Peer[Any], call: int, request: Identity) -> None:
    """Answer who the scheduler and its workers are (the shell adds its own address and start)."""
    _answer(state, peer, call, describe(state))


def describe(state: State) -> dict[str, Any]:
    """Return what is known of the workers, as plain data."""
    # A copy, made at once: another thread may ask while workers join and leave.
    present = [worker for worker in list(state.workers.values()) if worker.status != "lost"]
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
                "services": worker.services,
                "dashboard_link": worker.dashboard_link,
            }
            for worker in present
        },
    }


def overview(state: State, peer: Peer[Any], call: int, request: Overview) -> None:
    """Answer how much of everything there is."""
    _answer(state, peer, call, census.overview(state))


def worker_facts(state: State, peer: Peer[Any], call: int, request: WorkerFacts) -> None:
    """Ask a worker what it says of itself."""
    relay = Relay(peer, call, [], None, [], {})
    worker = state.workers.get(request.address)
    if worker is not None and worker.is_alive:
        _ask(state, relay, worker, [], WorkerFacts(request.address))
    _finish_if_complete(state, relay)


def explain(state: State, peer: Peer[Any], call: int, request: Explain) -> None:
    """Answer why something is as it is."""
    from windrow import explanation  # these are large, and who never asks need not load them
    from windrow.scheduler import overviews

    _answer(state, peer, call, explanation.to_plain(overviews.answer(state, request)))


def task_graph(state: State, peer: Peer[Any], call: int, request: TaskGraph) -> None:
    """Answer what the graph looks like."""
    _answer(state, peer, call, picture.graph(state, request.limit))


def task_groups(state: State, peer: Peer[Any], call: int, request: TaskGroups) -> None:
    """Answer what its groups look like."""
    _answer(state, peer, call, census.groups(state))


def recent_events(state: State, peer: Peer[Any], call: int, request: RecentEvents) -> None:
    """Answer what was logged on a topic last: time, event, and all its topics, where it is asked for all."""
    topics: Any = None if state.desk is None else state.desk.services.get("events")
    _answer(state, peer, call, [] if topics is None else topics.latest(request.topic, max(1, request.n)))


def profile(state: State, peer: Peer[Any], call: int, request: Profile) -> None:
    """Ask workers what their tasks spend their time on. (The shell answers for the scheduler itself.)"""
    report(state, peer, call, request)


def report(state: State, peer: Peer[Any], call: int, request: Report | Profile) -> None:
    """Ask workers what they say of themselves, each in one piece."""
    chosen = [worker for worker in _workers(state, request.workers) if worker.is_alive]
    relay = Relay(peer, call, [None] * len(chosen), [worker.address for worker in chosen], [], {})
    for place, worker in enumerate(chosen):
        _ask(state, relay, worker, [place], request)
    _finish_if_complete(state, relay)


def memory(state: State, peer: Peer[Any], call: int, request: Memory) -> None:
    """Answer what memory is taken by."""
    _answer(state, peer, call, [state.epoch_s + state.now_s, memory_state.measured(state.workers.values())])


def task_stream(state: State, peer: Peer[Any], call: int, request: TaskStream) -> None:
    """Answer what threads have done."""
    _answer(state, peer, call, recording.rows(state, peer, request))


def recipe(state: State, peer: Peer[Any], call: int, request: Recipe) -> None:
    """Answer how a task, or the one that its error comes from, is made."""
    task = state.tasks.get(request.key)
    if request.failed and task is not None:
        task = None if task.failure is None else state.tasks.get(task.failure.root)
    if task is None or task.function is None:
        _answer(state, peer, call)
    else:
        value = [task.key, [source.key for source in task.inputs]]
        args = state.config.sent(task.args, "") if type(task.args) is Shared else task.args
        _answer(state, peer, call, value, [task.function.code, args])


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
        # One that is cut may come back, and answers then; or it is taken out, and the answer is that there is none.
        holder = next((holder for holder in task.holders if holder.status != "lost"), None)
        holder = holder or next((holder for holder in task.holders if holder.cut_s is not None), None)
        if holder is not None:
            asked.setdefault(holder, []).append(place)
    for holder, places in asked.items():
        ids = [state.tasks[request.keys[place]].id for place in places]
        _ask(state, relay, holder, places, GetData(ids, request.host))
    _finish_if_complete(state, relay)


def scatter(state: State, peer: Peer[Any], call: int, request: Scatter) -> None:
    """Put values on workers, dealt in turn; without any worker the scheduler itself keeps them."""
    assert isinstance(peer, ClientRecord)
    if len({len(request.keys), len(request.values), len(request.nbytes), len(request.types)}) != 1:
        raise Unexpected("the columns of Scatter differ in length")
    present = [worker for worker in _workers(state, request.workers) if worker.status == "running"]
    shared: dict[WorkerRecord, list[Shared]] = {}
    for number, value in enumerate(request.values):
        if type(value) is Shared:
            if not present:
                _answer(state, peer, call, True)
                return
            for worker in _dealt(present, number, request.copies):
                shared.setdefault(worker, []).append(value)
    if not shared:
        _place(state, peer, request, present)
        _answer(state, peer, call)
        return
    relay = Relay(peer, call, [None] * len(shared), None, [], {}, partial(_place, state, peer, request, present))
    for place, (worker, values) in enumerate(shared.items()):
        _ask(state, relay, worker, [place], Reach(values))


def _dealt(present: list[WorkerRecord], number: int, copies: int) -> list[WorkerRecord]:
    """Return the workers that get a value, by its number."""
    return [present[(number + copy) % len(present)] for copy in range(min(copies, len(present)))]


def _place(state: State, client: ClientRecord, request: Scatter, present: list[WorkerRecord]) -> None:
    columns = zip(request.keys, request.values, request.nbytes, request.types, strict=True)
    for number, (key, value, nbytes, value_type) in enumerate(columns):
        task = clients.new_data(state, client, key, value, nbytes, value_type)
        if task is None:
            continue
        for worker in _dealt(present, number, request.copies):
            state.tell(worker, Put(task.id, task.key, value))
            state.add_holder(task, worker)
        if present and (nbytes > state.config.inline_limit or type(value) is Shared):
            task.value = None
        step(state, task, MEMORY)


# ---------------------------------------------------------------- workers


def run_function(state: State, peer: Peer[Any], call: int, request: RunFunction) -> None:
    """Pass a function on to workers, outside the task system; without ``wait`` nobody hears of its end."""
    assert isinstance(peer, ClientRecord)
    chosen = [worker for worker in _workers(state, request.workers) if worker.is_alive]
    parties: list[Peer[Any]] = [*chosen]
    if request.nanny:
        parties = [state.nannies[worker.nanny] for worker in chosen if worker.nanny in state.nannies]
        if len(parties) < len(chosen):
            alone = ", ".join(worker.address for worker in chosen if worker.nanny not in state.nannies)
            _refuse(state, peer, call, ValueError(f"nanny=True: these workers have no nanny: {alone}"))
            return
    relay = Relay(peer, call, [None] * len(chosen), [worker.address for worker in chosen], [], {})
    for place, party in enumerate(parties):
        _ask(state, relay, party, [place], RunFunction(request.call, wait=request.wait))
    if not request.wait:
        for number in relay.open:
            del state.relays[number]
        relay.open.clear()
    _finish_if_complete(state, relay)


def restart(state: State, peer: Peer[Any], call: int, request: Restart) -> None:
    """Forget all tasks, and have nannies start their workers afresh."""
    expected = len([worker for worker in state.workers.values() if worker.is_alive])
    purge(state, list(state.tasks.values()), "the scheduler was restarted")
    if state.desk is not None:
        state.desk.restarted()
    if state.news is not None:
        state.news.append(Restarted())
    _start_afresh(state, list(state.workers.values()))
    _answer(state, peer, call, expected)


def restart_workers(state: State, peer: Peer[Any], call: int, request: RestartWorkers) -> None:
    """Have nannies start some workers afresh; what these ran or held is made elsewhere."""
    _start_afresh(state, [state.workers[address] for address in request.workers if address in state.workers])
    _answer(state, peer, call)


def _start_afresh(state: State, chosen: list[WorkerRecord]) -> None:
    for worker in chosen:
        nanny = state.nannies.get(worker.nanny)
        if nanny is not None:
            workers.remove(state, worker, "it was restarted", blame=False)
            state.tell(nanny, RestartWorker("the client asked for a restart"))


def retire(state: State, peer: Peer[Any], call: int, request: Retire) -> None:
    """Have workers leave when others hold what they alone hold."""
    names = request.workers
    chosen = _missable(state, request) if names is None else _workers(state, names)
    if request.idle_only:
        chosen = [worker for worker in chosen if not scaling.is_working(worker)]
    replicas.retire(state, chosen, request.close, lambda gone: _answer(state, peer, call, gone))


def _missable(state: State, request: Retire | WorkersToClose) -> list[WorkerRecord]:
    groups = request.groups
    return scaling.missable(
        state,
        memory_ratio=request.memory_ratio,
        n=request.n,
        key=(lambda worker: groups.get(worker.address, worker)) if groups else None,
        minimum=request.minimum,
        target=request.target,
        idle_only=request.idle_only,
    )


def adaptive_target(state: State, peer: Peer[Any], call: int, request: AdaptiveTarget) -> None:
    """Answer how many workers the work at hand asks for."""
    if not request.target_duration_s > 0:
        _refuse(state, peer, call, ValueError("target_duration must be a time above 0"))
        return
    if isinstance(peer, ClientRecord):  # who only looks starts no workers
        state.watch.adapted_s = state.now_s
    duration_s, nthreads = request.target_duration_s, max(1, request.nthreads)
    _answer(state, peer, call, scaling.adaptive_target(state, duration_s, nthreads, request.memory_ratio))


def workers_to_close(state: State, peer: Peer[Any], call: int, request: WorkersToClose) -> None:
    """Answer which workers can be missed."""
    _answer(state, peer, call, [[worker.address, worker.name] for worker in _missable(state, request)])


def replicate(state: State, peer: Peer[Any], call: int, request: Replicate) -> None:
    """Have so many workers hold each value."""
    tasks = _tasks(state, request.keys)
    names, n, branching_factor = request.workers, request.n, request.branching_factor
    replicas.replicate(state, tasks, n, names, branching_factor, lambda: _answer(state, peer, call))


def rebalance(state: State, peer: Peer[Any], call: int, request: Rebalance) -> None:
    """Move values from full workers to empty ones."""
    chosen = [worker for worker in _workers(state, request.workers) if worker.status == "running"]
    if request.keys is None:
        replicas.rebalance(state, None, chosen, lambda failed: _answer(state, peer, call, []))
        return
    tasks = _tasks(state, request.keys)
    found = {task.key for task in tasks if task.state is MEMORY}
    unknown = [key for key in request.keys if key not in found]
    replicas.rebalance(state, tasks, chosen, lambda failed: _answer(state, peer, call, [*unknown, *failed]))


def _tasks(state: State, keys: list[Key]) -> list[Task]:
    return [task for key in dict.fromkeys(keys) if (task := state.tasks.get(key)) is not None]


def call_actor(state: State, peer: Peer[Any], call: int, request: ActorCall) -> None:
    """Pass a call on to the worker where the actor lives."""
    assert isinstance(peer, ClientRecord)
    task = state.tasks.get(request.key)
    home = next((holder for holder in task.holders if task in holder.actors), None) if task is not None else None
    if task is None or home is None:
        peer.finished = None
        state.tell(peer, Reply(call, error=_why_not_there(request.key, task)))
        return
    relay = Relay(peer, call, [None, None], [home.address], [], {})
    request.task = task.id
    _ask(state, relay, home, [0, 1], request)


def _why_not_there(key: Key, task: Task | None) -> bytes:
    """Return the pickled reason why no actor answers under a key; of one that has failed, as it was told."""
    if task is not None and task.failure is not None and isinstance(task.failure.error, bytes):
        return task.failure.error
    if task is not None and not task.actor:
        return failure.dump(TypeError(f"{key!r} is no actor: it was submitted without actor=True"))[0]
    reason = "no future and no proxy was on it any more" if task is None else f"its task is {task.state}"
    return failure.dump(ActorLostError(key, reason))[0]


# ---------------------------------------------------------------- plugins of workers and nannies


def register_plugin(state: State, peer: Peer[Any], call: int, request: RegisterPlugin) -> None:
    """Keep a plugin for those that come later, and have those that are there set it up."""
    kept = state.plugins[request.kind]
    if request.idempotent and request.name in kept:
        _answer(state, peer, call, [])
        return
    kept[request.name] = request.plugin
    _pass_on(state, peer, call, request)


def unregister_plugin(state: State, peer: Peer[Any], call: int, request: UnregisterPlugin) -> None:
    """Forget a plugin, and have all tear it down."""
    kept = state.plugins[request.kind]
    if request.name not in kept:
        there = ", ".join(repr(name) for name in kept) or "none"
        error = ValueError(f"there is no {request.kind} plugin {request.name!r}; registered are: {there}")
        _refuse(state, peer, call, error)
        return
    del kept[request.name]
    _pass_on(state, peer, call, request)


def _pass_on(state: State, peer: Peer[Any], call: int, request: RegisterPlugin | UnregisterPlugin) -> None:
    assert isinstance(peer, ClientRecord)
    by_nanny = {worker.nanny: worker.address for worker in state.workers.values() if worker.nanny}
    parties: dict[str, Peer[Any]] = {}
    if request.kind == "worker":
        parties.update({worker.address: worker for worker in state.workers.values() if worker.is_alive})
    else:
        parties.update({by_nanny.get(nanny.id, nanny.id): nanny for nanny in state.nannies.values()})
    relay = Relay(peer, call, [None] * len(parties), list(parties), [], {})
    for place, party in enumerate(parties.values()):
        _ask(state, relay, party, [place], request)
    _finish_if_complete(state, relay)


# ---------------------------------------------------------------- relays


def _refuse(state: State, peer: Peer[Any], call: int, error: Exception) -> None:
    if isinstance(peer, ClientRecord):
        peer.finished = None
    state.tell(peer, Reply(call, error=failure.dump(error)[0]))


def _ask(state: State, relay: Relay, party: Peer[Any], places: list[int], request: Request) -> None:
    state.next_call += 1
    relay.open[state.next_call] = (party, places)
    state.relays[state.next_call] = relay
    state.tell(party, Call(state.next_call, request))


def on_reply(state: State, party: Peer[Any], reply: Reply) -> None:
    """A worker's or nanny's part of an answer; that of one who was not asked is none."""
    relay = state.relays.get(reply.id)
    if relay is None or relay.open[reply.id][0] is not party:
        return
    del state.relays[reply.id]
    _, places = relay.open.pop(reply.id)
    if reply.value is not None:
        relay.value = reply.value
    for place, blob in zip(places, reply.blobs, strict=False):
        relay.blobs[place] = blob
        if blob is None and relay.keys and isinstance(party, WorkerRecord):
            _not_there(state, party, state.tasks.get(relay.keys[place]))
    _finish_if_complete(state, relay)


def _not_there(state: State, worker: WorkerRecord, task: Task | None) -> None:
    """A worker does not hold what it was thought to hold."""
    if task is not None and task.state is MEMORY and worker in task.holders:
        state.remove_holder(task, worker)
        if not task.holders and task.value is None:
            lose(state, task)


def party_left(state: State, party: Peer[Any]) -> None:
    """Its parts of answers will not come."""
    for number, relay in list(state.relays.items()):
        if relay.open[number][0] is party:
            del state.relays[number], relay.open[number]
            _finish_if_complete(state, relay)


def _finish_if_complete(state: State, relay: Relay) -> None:
    if relay.open:
        return
    if relay.then is None:
        _answer(state, relay.client, relay.call, relay.value, relay.blobs)
    elif None in relay.blobs:
        _answer(state, relay.client, relay.call, True)
    elif isinstance(relay.client, ClientRecord) and state.clients.get(relay.client.id) is relay.client:
        relay.then()
        _answer(state, relay.client, relay.call)


ANSWERS: dict[type[Struct], Callable[[State, Peer[Any], int, Any], None]] = {
    WhoHas: who_has,
    HasWhat: has_what,
    Processing: processing,
    Facts: facts,
    Identity: identity,
    Gather: gather,
    Scatter: scatter,
    Recipe: recipe,
    RunFunction: run_function,
    Restart: restart,
    RestartWorkers: restart_workers,
    Retire: retire,
    Replicate: replicate,
    Rebalance: rebalance,
    RegisterPlugin: register_plugin,
    UnregisterPlugin: unregister_plugin,
    ActorCall: call_actor,
    Overview: overview,
    WorkerFacts: worker_facts,
    Report: report,
    Explain: explain,
    TaskStream: task_stream,
    TaskGraph: task_graph,
    TaskGroups: task_groups,
    RecentEvents: recent_events,
    Memory: memory,
    Profile: profile,
    AdaptiveTarget: adaptive_target,
    WorkersToClose: workers_to_close,
}

FOR_OBSERVERS = frozenset(
    {
        WhoHas,
        HasWhat,
        Processing,
        Facts,
        Identity,
        Overview,
        WorkerFacts,
        Report,
        AdaptiveTarget,
        WorkersToClose,
        Explain,
        TaskStream,
        TaskGraph,
        TaskGroups,
        RecentEvents,
        Memory,
        Profile,
    }
)
"""What may be asked by who only looks. (The shell answers `RecentLogs`, `Tallies` and `Versions`, too.)"""
