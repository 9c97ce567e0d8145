"""What workers and nannies say, and what becomes of it; the end of a worker.

What lives here: a handler for each message of a worker or nanny, and who is blamed when a worker dies. What this file
must never know: how a task is placed, or what clients say.

A message about an attempt that is not the task's present one is dropped on sight: whoever forgot the attempt has told
its worker so, in order, on the same connection.

A worker that dies under a nanny is not taken out at once: its tasks stay put for up to ``account_timeout_s`` until the
nanny's account is there, which says why it died and which tasks were running. Those alone are blamed.

A worker whose connection is cut may live, and come back with all that it has said meanwhile. While its nanny gives no
account of its end, or else as long as it said that it would try, it keeps its values. Its tasks run elsewhere as soon
as it would be back if it could: after ``silence_s`` without a nanny that vouches for it, else after its own time.
"""

from __future__ import annotations

from msgspec.structs import replace

from windrow.account import Account
from windrow.errors import KilledWorker
from windrow.keys import label
from windrow.scheduler import copies, fitting, placement, recording
from windrow.scheduler.attempts import come_back_to_threads, lay_ghost, leave_threads
from windrow.scheduler.news import Came, Left
from windrow.scheduler.notes import SLOW_S, last_line
from windrow.scheduler.state import ERRED, MEMORY, WAITING, Failure, NannyRecord, State, Task, Unexpected, WorkerRecord
from windrow.scheduler.transitions import (
    fail,
    free,
    free_id,
    lose,
    recall_followers,
    return_attempt,
    step,
    without_actor,
)
from windrow.wire import failure
from windrow.wire.messages import (
    Close,
    Copied,
    Died,
    Done,
    Erred,
    Ghosts,
    Heartbeat,
    HelloNanny,
    HelloWorker,
    Holds,
    Missing,
    Paused,
    Recall,
    Rescheduled,
    Returned,
    Seceded,
    Stopped,
    Supply,
    TaskId,
)


def _present(state: State, worker: WorkerRecord, task_id: TaskId, attempt: int) -> Task | None:
    """Return the task if this attempt of this worker is its present one."""
    task = state.by_id.get(task_id)
    if task is None or task.worker is not worker or task.attempt != attempt:
        return None
    return task


def _ending(state: State, worker: WorkerRecord, task_id: TaskId, attempt: int) -> Task | None:
    """Return the task of an attempt that is over on its worker, if it is the present one; else its ghost is laid."""
    task = state.by_id.get(task_id)
    if task is None or task.worker is not worker or task.attempt != attempt:
        if worker.haunted:
            lay_ghost(worker, task_id, attempt)
        return None
    return task


# ---------------------------------------------------------------- workers


def join(state: State, hello: HelloWorker) -> WorkerRecord | str:
    """Greet a worker, or return the reason why it cannot join."""
    for other in list(state.workers.values()):
        if (other.nanny and other.nanny == hello.nanny) or (other.status == "lost" and other.address == hello.address):
            _remove_lost(state, other, "it was replaced before its nanny gave an account", blame=False)
        elif other.address == hello.address and copies.is_silent(state, other):
            # Two processes cannot listen at one address: that one's host has ended it without a word.
            remove(state, other, "another process has taken its place at its address")
        elif other.address == hello.address:
            return f"a worker with the address {hello.address} is there already"
        elif other.name == hello.name and other.status != "lost":
            return f"a worker named {hello.name!r} is there already ({other.address}); give this one another name"
    worker = WorkerRecord(hello.address, hello.name, max(1, hello.nthreads), state.now_s)
    worker.memory_limit = hello.memory_limit
    worker.pid = hello.pid
    worker.host = hello.host
    worker.nanny = hello.nanny
    worker.local_directory = hello.local_directory
    worker.resources = dict(hello.resources)
    worker.services = hello.services
    worker.dashboard_link = hello.dashboard_link
    worker.extra = hello.extra
    worker.memory = hello.memory
    state.workers[worker.address] = worker
    state.tally.workers_added += 1
    fitting.note_limits(state)
    placement.add_worker(state, worker)
    recording.greet(state, worker)
    if state.desk is not None:
        state.desk.note("add-worker", worker)
    if state.news is not None:
        state.news.append(Came("worker", worker.address))
    return worker


def on_done(state: State, worker: WorkerRecord, message: Done) -> None:
    """An attempt has its result."""
    worker.progress_s = state.now_s
    worker.stalled = False
    task = _ending(state, worker, message.task, message.attempt)
    if task is None:
        return
    if task.missing:  # it cannot have run by our rules; do not believe it
        free(state, worker, task)
        step(state, task, WAITING)
        lay_ghost(worker, message.task, message.attempt)
        return
    function = task.function
    if function is not None:
        function.learn(message.seconds)
    if message.seconds >= SLOW_S:
        state.notes.add_run(task.id, state.now_s, worker.processing[task], message.seconds)
    task.value = message.value
    task.value_type = message.value_type
    task.nbytes = message.nbytes
    if task.actor and task.value is None:
        raise Unexpected("it has made an actor, and sends no proxy of it")
    if state.moves is not None:
        state.attempt_s = message.seconds
    step(state, task, MEMORY)


def on_erred(state: State, worker: WorkerRecord, message: Erred) -> None:
    """An attempt raised: try again while there are retries, else the task errs."""
    worker.progress_s = state.now_s
    worker.stalled = False
    task = _ending(state, worker, message.task, message.attempt)
    if task is None:
        return
    if task.function is not None:
        task.function.seconds += message.seconds
    if state.moves is not None:
        state.attempt_s = message.seconds
    if task.retries > 0:
        task.retries -= 1
        state.notes.add(state.now_s, "raised", [task.id], str(worker.name), last_line(message.text))
        return_attempt(state, task)
    else:
        fail(state, task, Failure(task.key, message.error, message.text))


def on_returned(state: State, worker: WorkerRecord, message: Returned) -> None:
    """A worker gives back what it had not started."""
    if len(message.tasks) != len(message.attempts):
        raise Unexpected("the columns of Returned differ in length")
    worker.recalled = {}
    if message.tasks:
        state.notes.add(state.now_s, "returned", message.tasks, str(worker.name), _why_returned(state, worker))
    for task_id, attempt in zip(message.tasks, message.attempts, strict=True):
        task = _ending(state, worker, task_id, attempt)
        if task is not None:
            return_attempt(state, task)


def _why_returned(state: State, worker: WorkerRecord) -> str:
    if worker.paused:
        return "its memory is short"
    if worker.status == "closing_gracefully":
        return "it is to leave"
    return "it had no news for a while, and others were idle" if worker.stalled else "others were idle"


def on_missing(state: State, worker: WorkerRecord, message: Missing) -> None:
    """An attempt could not get an input from any holder: those do not hold it, whatever we thought."""
    task = _ending(state, worker, message.task, message.attempt)
    if task is None:
        return
    return_attempt(state, task)
    source = next((source for source in task.inputs or () if source.id == message.input), None)
    what = "of which nothing is known any more" if source is None else label(source.key)
    state.notes.add(state.now_s, "missing", [task.id], str(worker.name), what)
    if source is None or source.state is not MEMORY:
        return
    for address in message.holders:
        holder = state.workers.get(address)
        if holder is not None and holder in source.holders:
            if source.function is None and source.holders == (holder,):
                # Nobody can make it again, and it may be there: it was on its way, or the way to it was blocked.
                copies.confirm(state, source, holder, [])
                if holder.cut_s is not None:  # it would be tried again and again
                    placement.set_aside(state, task)
                continue
            state.remove_holder(source, holder)
            free(state, holder, source)
            copies.stop(state, source, holder)
    if not source.holders and source.value is None:
        state.notes.add(state.now_s, "lost", [source.id], detail="no worker that was to have it had it")
        lose(state, source)


def on_holds(state: State, worker: WorkerRecord, message: Holds) -> None:
    """A worker has fetched values. Where that is out of date, it is told to free them."""
    for task_id in message.tasks:
        task = state.by_id.get(task_id)
        if task is not None and task.state is MEMORY:
            if worker not in task.holders:
                state.add_holder(task, worker)
        elif task is None or task.worker is not worker:  # one that it runs will be its own value soon
            free_id(state, worker, task_id)


def on_copied(state: State, worker: WorkerRecord, message: Copied) -> None:
    """A worker holds what it was to fetch, or could not get it; or it says what it holds."""
    task = copies.answered(state, worker, message)
    if task is not None and not message.held and worker in task.holders:
        state.remove_holder(task, worker)
        if not task.holders and task.value is None:
            state.notes.add(state.now_s, "lost", [task.id], detail=f"worker {worker.name!r} does not have it")
            lose(state, task)


def on_ghosts(state: State, worker: WorkerRecord, message: Ghosts) -> None:
    """Attempts that nobody wants any more take threads until they end, and no task can start on those."""
    worker.threads = max(0, worker.nthreads - message.count) + len(worker.seceded)
    worker.stalled = False
    state.open_or_idle(worker)


def on_seceded(state: State, worker: WorkerRecord, message: Seceded) -> None:
    """An attempt has left the worker's threads, or is back."""
    worker.progress_s = state.now_s
    worker.stalled = False
    task = _present(state, worker, message.task, message.attempt)
    if task is None:
        return
    if message.gone:
        leave_threads(state, worker, task)
        recall_followers(state, task)
    else:
        come_back_to_threads(state, worker, task)
        state.ahead.extend(task.dependents or ())


def on_rescheduled(state: State, worker: WorkerRecord, message: Rescheduled) -> None:
    """An attempt asks to be made again."""
    if message.unopened:
        worker.memory = ""  # whatever the reason: from here on it is sent all
    worker.progress_s = state.now_s
    worker.stalled = False
    task = _ending(state, worker, message.task, message.attempt)
    if task is not None:
        state.notes.add(state.now_s, "rescheduled", [task.id], str(worker.name))
        return_attempt(state, task)


def on_stopped(state: State, worker: WorkerRecord, message: Stopped) -> None:
    """A freed attempt takes no resources any more."""
    lay_ghost(worker, message.task, message.attempt)


def on_heartbeat(state: State, worker: WorkerRecord, message: Heartbeat) -> None:
    """A sign of life."""
    worker.metrics = message.metrics
    sent_s = message.metrics.get("time")
    if isinstance(sent_s, float):
        worker.behind_s = recording.clock_behind(worker.behind_s, state.epoch_s + state.now_s - sent_s)


def on_supply(state: State, worker: WorkerRecord, message: Supply) -> None:
    """A worker offers more or less of its resources; what its tasks have taken already is theirs until they end."""
    worker.lent = dict(worker.used)
    worker.resources = dict(message.resources)
    if worker.status == "running":
        placement.add_worker(state, worker)


def on_paused(state: State, worker: WorkerRecord, message: Paused) -> None:
    """A worker starts no more tasks, and gives back what it has not started; or it goes on."""
    worker.paused = message.paused
    if worker.paused and worker.status == "running":
        worker.status = "paused"
        placement.remove_worker(state, worker)
        if worker.processing:
            state.tell(worker, Recall([task.id for task in worker.processing]))
    elif not worker.paused and worker.status == "paused":
        worker.status = "running"
        placement.add_worker(state, worker)


def on_close(state: State, worker: WorkerRecord, message: Close) -> None:
    """A worker leaves in good order: nobody is blamed."""
    remove(state, worker, message.reason or "it closed", blame=False)


def lost(state: State, worker: WorkerRecord, reason: str) -> None:
    """A worker's link is gone. With a nanny its account is awaited, or is here already."""
    if state.workers.get(worker.address) is not worker:
        return
    state.cut.pop(worker, None)
    worker.cut_s = None
    if worker.account is None and worker.nanny in state.nannies:
        if worker.status != "lost":
            _await_the_rest(state, worker)
    else:
        _remove_lost(state, worker, reason or "its connection ended")


def _await_the_rest(state: State, worker: WorkerRecord) -> None:
    """Of the end of a worker's link and its nanny's account, one is here, and the other to come; or the worker is."""
    if worker.status != "lost":
        worker.status_before, worker.status = worker.status, "lost"
    worker.lost_s = state.now_s
    placement.remove_worker(state, worker)


def cut(state: State, worker: WorkerRecord) -> None:
    """A worker's connection is gone, and it may come back; where its nanny has told of its end, it will not."""
    if worker.account is not None:
        lost(state, worker, "")
    else:
        _await_the_rest(state, worker)


def resumed(state: State, worker: WorkerRecord) -> None:
    """A worker is back, and its record was right all the time: nobody is blamed for anything."""
    worker.last_seen_s = worker.progress_s = state.now_s
    worker.stalled = False
    if worker.account is not None:  # what it said last comes now, and then the end of its link
        return
    worker.status = worker.status_before
    if worker.status in ("running", "paused"):
        worker.status = "paused" if worker.paused else "running"
    for task, account in worker.suspected.items():
        if task.deaths and account in task.deaths:
            task.deaths.remove(account)
    worker.suspected.clear()
    if worker.status == "running":
        placement.add_worker(state, worker)


def _remove_lost(state: State, worker: WorkerRecord, otherwise: str, blame: bool = True) -> None:
    """Take a worker out, by its nanny's account where there is one."""
    if worker.account is not None:
        account, running = worker.account
        remove(state, worker, account, running)
    else:
        remove(state, worker, otherwise, blame=blame)


def remove(
    state: State, worker: WorkerRecord, account: Account | str, running: list[TaskId] | None = None, blame: bool = True
) -> None:
    """Take a worker out: its attempts go back to the queue, its data is made again where it was the only copy.

    ``running`` are the tasks that its flight recorder shows; without one, the first of what it was
    sent, one for each thread that was not taken.
    """
    if state.workers.get(worker.address) is not worker:
        return
    known = account if isinstance(account, Account) else Account(said=account)
    del state.workers[worker.address]
    state.tally.workers_removed += 1
    state.cut.pop(worker, None)
    worker.status = "closed"
    state.gone.append(worker)
    fitting.note_limits(state)
    placement.remove_worker(state, worker)
    if state.desk is not None:
        state.desk.note("remove-worker", worker, reason=known.end)
    if state.news is not None:
        state.news.append(Left("worker", worker.address))
    attempts = [task for task in worker.processing if not task.missing]
    if running is None:
        guilty = dict.fromkeys(attempts[: worker.threads])
    else:
        guilty = {
            task: None for id in running if (task := state.by_id.get(id)) is not None and task in worker.processing
        }
    known = replace(
        known,
        name=worker.name,
        address=worker.address,
        pid=worker.pid,
        host=worker.host,
        tasks=tuple([task.key for task in guilty]) if blame else (),
    )
    if blame:
        state.obituaries.append(known)
    state.notes.add(state.now_s, "died", [task.id for task in worker.processing], str(worker.name), known.end)
    for task in list(worker.processing):
        if task.worker is not worker:  # it came back with one before it
            continue
        if blame and task in guilty:
            _blame(state, task, known)
        else:
            return_attempt(state, task)
    copies.worker_left(state, worker)
    last = [task.id for task in worker.holds if task.holders == worker.alone and task.value is None]
    detail = f"worker {worker.name!r}, which alone had it, has ended: {known.end}"
    state.notes.add(state.now_s, "lost", last, str(worker.name), detail)
    for task in list(worker.holds):
        state.remove_holder(task, worker)
        if task in worker.actors:
            _lose_actor(state, worker, task, known.end)
        elif not task.holders and task.value is None:
            lose(state, task)


def _lose_actor(state: State, worker: WorkerRecord, task: Task, end: str) -> None:
    """An actor's state was on this worker alone: it errs, and is not made again."""
    where = f"worker {worker.name!r} at {worker.address} (pid {worker.pid}), where it lived, has ended: {end}"
    task.failure = without_actor(task, where)
    step(state, task, ERRED)


def _blame(state: State, task: Task, account: Account) -> None:
    """A task was running when its worker died: count it, and err the task when that was once too often."""
    task.deaths = [*(task.deaths or ()), account]
    if task.function is not None:
        task.function.suspected += 1
    suspicions = sum(isinstance(peer, WorkerRecord) and task in peer.suspected for peer in state.cut)
    if len(task.deaths) - suspicions > state.config.allowed_failures:
        error, text = failure.dump(KilledWorker(task.key, task.deaths, state.config.allowed_failures))
        fail(state, task, Failure(task.key, error, text))
    else:
        return_attempt(state, task)


# ---------------------------------------------------------------- nannies


def join_nanny(state: State, hello: HelloNanny) -> NannyRecord:
    """Greet a nanny."""
    nanny = NannyRecord(hello.id, hello.name)
    state.nannies[nanny.id] = nanny
    return nanny


def on_died(state: State, nanny: NannyRecord, message: Died) -> None:
    """A nanny's account of its worker's end, before or after the loss of the link."""
    worker = state.workers.get(message.address)
    if worker is None or worker.nanny != nanny.id:
        return
    if message.expected:
        remove(state, worker, message.account, blame=False)
    elif worker.status == "lost" and worker.account is None:
        remove(state, worker, message.account, message.running)
    else:  # what it said last is still on its way: the link's end comes after that
        worker.account = (message.account, message.running)
        _await_the_rest(state, worker)


def lost_nanny(state: State, nanny: NannyRecord) -> None:
    """A nanny is gone; its worker, if it lives, goes on."""
    if state.nannies.get(nanny.id) is nanny:
        del state.nannies[nanny.id]
        state.cut.pop(nanny, None)
        state.gone.append(nanny)


# ---------------------------------------------------------------- time


def look_for_silence(state: State) -> None:
    """Take out workers whose nanny gave no account in time, and those that have been silent for too long.

    A nanny that is there vouches for its worker: a task may hold the GIL for hours, and nothing but that is wrong.
    """
    config = state.config
    for worker in list(state.workers.values()):
        if worker.status == "lost" and worker.cut_s is not None:
            _look_for_return(state, worker)
        elif worker.status == "lost":
            if state.now_s - worker.lost_s >= config.account_timeout_s:
                _remove_lost(state, worker, "its connection ended, and its nanny gave no account of it")
        elif worker.nanny not in state.nannies and state.now_s - worker.last_seen_s > config.worker_ttl_s:
            account = f"it was silent for more than {config.worker_ttl_s:.0f} s (distributed.scheduler.worker-ttl)"
            remove(state, worker, account)
            state.tell(worker, Close(account))


def _look_for_return(state: State, worker: WorkerRecord) -> None:
    """Wait for a worker whose connection is cut, as long as that is worth it."""
    waited_s = state.now_s - worker.lost_s
    nanny = state.nannies.get(worker.nanny)
    vouched = nanny is not None and nanny.cut_s is None
    if not vouched and waited_s >= worker.patience_s:
        _remove_lost(state, worker, f"its connection ended, and it was not back after {worker.patience_s:g} s")
    elif worker.processing and waited_s >= (worker.patience_s if vouched else state.config.silence_s):
        _run_elsewhere(state, worker, blame=not vouched)


def _run_elsewhere(state: State, worker: WorkerRecord, blame: bool) -> None:
    """Have others run what a worker has that may come back; should it bring results, they are of forgotten attempts.

    It has probably died, and so those that it ran are suspected; one that this might convict stays until that is sure.
    """
    attempts = [task for task in worker.processing if not task.missing]
    suspects = dict.fromkeys(attempts[: worker.threads] if blame else ())
    said = "its connection ended, and it was not back soon"
    account = Account(
        said,
        name=worker.name,
        address=worker.address,
        pid=worker.pid,
        host=worker.host,
        tasks=tuple([task.key for task in suspects]),
    )
    for task in list(worker.processing):
        if task.worker is not worker:  # it came back with one before it
            continue
        if task in suspects:
            if len(task.deaths or ()) >= state.config.allowed_failures:
                continue
            task.deaths = [*(task.deaths or ()), account]
            worker.suspected[task] = account
        free(state, worker, task)
        state.notes.add(state.now_s, "cut", [task.id], str(worker.name))
        return_attempt(state, task)
