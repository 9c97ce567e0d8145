"""A worker as a plain state machine: what it was told to run, what it holds, what it waits for.

What lives here: `WorkerCore`. What this file must never know: sockets, clocks, how a function is called, what a value
is. It stands behind one lock: the loop enters with messages, and an executor thread with its result, which then takes
its next attempt in the same visit. What it has to say collects in ``out`` (to the scheduler) and ``incoming`` (what is
to be asked of other workers), and the loop carries it away.

A value that was fetched from a peer is announced (`Holds`), as the scheduler frees only what it knows to be here; one
that arrives when nobody here waits for it any more is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from windrow.runqueue import RunQueue
from windrow.wire.blobs import Blob
from windrow.wire.messages import (
    Copied,
    Copy,
    Done,
    Erred,
    Free,
    FreeFunctions,
    Function,
    Ghosts,
    Holds,
    Key,
    Missing,
    Paused,
    Put,
    Recall,
    Record,
    Rescheduled,
    Returned,
    Run,
    Seceded,
    Stopped,
    TaskId,
)
from windrow.worker.incoming import LAST, Incoming, Limits
from windrow.worker.recording import Notes
from windrow.worker.state import READY, RUNNING, WAITING, Attempt, Hosted
from windrow.worker.store import CRUMB_BYTES, Elsewhere, Packed, Store


class WorkerCore:
    """A worker's decisions.

    Parameters
    ----------
    limits
        How much may be fetched at a time.

    Examples
    --------
    >>> core = WorkerCore()
    >>> core.receive([Run(7, 1, "inc-7", 1, b"")])
    >>> attempt = core.next_attempt()
    >>> core.finish(attempt, 8, seconds=0.1, nbytes=28)
    >>> [type(message).__name__ for message in core.take_out()]
    ['Done']
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.address = ""
        """Where peers reach this worker."""
        self.data = Store()
        self.actors: dict[int, Hosted] = {}
        self.attempts: dict[int, Attempt] = {}
        self.functions: dict[int, Function] = {}
        self.forgotten_functions: list[int] = []
        self.ready: RunQueue[Attempt] = RunQueue()
        self.waiting_for: dict[int, list[Attempt]] = {}
        self.incoming = Incoming(limits or Limits())
        self.fetching = self.incoming.fetches
        self.copying: dict[int, Copy] = {}
        """Copies that the scheduler has asked for, and that are not here yet."""
        self.running = 0
        self.paused = False
        """Whether nothing more is to start, as memory is short."""
        self.ghosts = 0
        self.out: list[Any] = []
        self.names: dict[int, Key] = {}
        """Keys of values that were made here, or put here."""
        self.brought: list[TaskId] | None = None
        """Values that were put or copied here, and nobody has looked at yet; None where nobody will."""
        self.moves: list[tuple[Key, str, str]] | None = None
        """Moves of tasks, for plugins: (key, start, finish); None while nobody asks."""
        self.notes: Notes | None = None
        """What threads have done; None while nobody looks."""
        self.epoch_s = 0.0
        """When the clock of these notes was 0, in seconds since the epoch; the shell sets it."""

    def __repr__(self) -> str:
        return f"<WorkerCore ready={len(self.ready)} running={self.running} holds={len(self.data)}>"

    # ------------------------------------------------------------ what the scheduler says

    def receive(self, messages: list[Any]) -> None:
        """Take messages from the scheduler, in order."""
        for message in messages:
            HANDLERS[type(message)](self, message)

    def on_run(self, run: Run) -> None:
        """Take an attempt; ready at once, or when its inputs are here."""
        attempt = Attempt(
            run.task,
            run.attempt,
            run.key,
            run.function,
            run.args,
            run.priority,
            run.inline,
            run.inputs,
            run.actor,
            run.takes,
        )
        self.attempts[run.task] = attempt
        if run.task in self.data:
            self.data.drop([run.task])  # a copy of a value that was lost elsewhere, and is now made anew
        for id, blob in run.shipped.items():
            self.data.receive(id, blob)
        if self.moves is not None:
            self.moves.append((run.key, "released", "waiting"))
        if run.inputs and not self._await_inputs(attempt, run.where):
            return
        if not attempt.missing:
            self._make_ready(attempt)

    def _make_ready(self, attempt: Attempt) -> None:
        attempt.state = READY
        self.ready.push(attempt)
        if self.moves is not None:
            self.moves.append((attempt.key, "waiting", "ready"))

    def _await_inputs(self, attempt: Attempt, where: dict[TaskId, tuple[int, list[str]]]) -> bool:
        for index, id in enumerate(attempt.inputs):
            if id in self.data:
                continue
            if id in where or id in self.attempts:
                if id in where:
                    nbytes, holders = where[id]
                    self.incoming.want(id, holders, nbytes, (-attempt.priority, attempt.id))
                else:
                    attempt.ahead = True
                self.waiting_for.setdefault(id, []).append(attempt)
                attempt.missing += 1
            else:
                self._give_up(attempt, id, [], entered=attempt.inputs[:index])
                return False
        return True

    def _give_up(self, attempt: Attempt, input: TaskId, tried: list[str], entered: list[TaskId]) -> None:
        self.out.append(Missing(attempt.id, attempt.number, input, tried))
        del self.attempts[attempt.id]
        self._note(attempt, "released")
        self._withdraw(attempt, entered)

    def _note(self, attempt: Attempt, finish: str) -> None:
        if self.moves is not None:
            running = "long-running" if attempt.seceded else "executing"
            self.moves.append((attempt.key, running if attempt.state is RUNNING else attempt.state, finish))

    def on_free(self, message: Free) -> None:
        """Forget attempts and values."""
        for id in message.tasks:
            self.copying.pop(id, None)
            attempt = self.attempts.pop(id, None)
            name = self.names.pop(id, None)
            if name is not None and self.moves is not None:
                self.moves.append((name, "memory", "released"))
            if attempt is not None:
                self._note(attempt, "released")
                self._withdraw(attempt, attempt.inputs)
                if attempt.state is RUNNING and not attempt.seceded:
                    self._count_ghosts(1)
                if attempt.takes and attempt.state is not RUNNING:
                    self.out.append(Stopped(attempt.id, attempt.number))
            if id in self.actors:
                self.data.dropped.append(self.actors.pop(id))
        self.data.drop(message.tasks)

    def _count_ghosts(self, change: int) -> None:
        """An attempt was freed while it runs, or such a one has ended: its thread is taken, or free again."""
        self.ghosts += change
        self.out.append(Ghosts(self.ghosts))

    def _withdraw(self, attempt: Attempt, inputs: list[TaskId]) -> None:
        """Take an attempt out of where it stands: the queue, or the lists of what it waits for."""
        if attempt.state is READY:
            self.ready.remove(attempt)
        for id in inputs:
            waiting = self.waiting_for.get(id)
            if waiting is not None and attempt in waiting:
                waiting.remove(attempt)
                if not waiting:
                    del self.waiting_for[id]

    def on_recall(self, message: Recall) -> None:
        """Give back what has not started."""
        back = Returned([], [])
        for id in message.tasks:
            attempt = self.attempts.get(id)
            if attempt is not None and attempt.state is not RUNNING:
                del self.attempts[id]
                self._note(attempt, "released")
                self._withdraw(attempt, attempt.inputs)
                back.tasks.append(attempt.id)
                back.attempts.append(attempt.number)
        self.out.append(back)

    def on_put(self, message: Put) -> None:
        """Hold scattered data."""
        self.data.receive(message.task, message.value)
        self.names[message.task] = message.key
        if self.brought is not None:
            self.brought.append(message.task)

    def on_copy(self, message: Copy) -> None:
        """Fetch a value to hold it; one that is being fetched for an attempt comes once for both."""
        id = message.task
        if id in self.data or not message.holders:
            self.out.append(Copied(id, message.number, id in self.data))
            return
        self.copying[id] = message
        self.incoming.want(id, message.holders, message.nbytes, LAST)

    def on_function(self, message: Function) -> None:
        """Learn a function."""
        self.functions[message.function] = message

    def on_free_functions(self, message: FreeFunctions) -> None:
        """Forget functions."""
        for number in message.functions:
            self.functions.pop(number, None)
        self.forgotten_functions.extend(message.functions)

    def on_record(self, message: Record) -> None:
        """Note what threads do, or no more."""
        if message.apart_s is None:
            if self.notes:
                self.out.append(self.notes.take(self.epoch_s))
            self.notes = None
        elif self.notes is None:
            self.notes = Notes(message.apart_s)
        else:
            self.notes.apart_s = message.apart_s

    def start_afresh(self) -> None:
        """Forget all that is a scheduler's, for the sake of another; what runs goes on, and its threads are taken."""
        self.on_free(Free([*self.attempts, *self.data, *self.actors]))  # type: ignore[list-item]
        self.on_free_functions(FreeFunctions(list(self.functions)))
        self.incoming = Incoming(self.incoming.limits)
        self.fetching = self.incoming.fetches
        for books in (self.copying, self.waiting_for, self.names):
            books.clear()
        if self.brought is not None:
            self.brought.clear()
        self.notes = None
        self.out.clear()
        if self.paused:
            self.out.append(Paused(True))
        if self.ghosts:
            self.out.append(Ghosts(self.ghosts))

    # ------------------------------------------------------------ what threads say

    def next_attempt(self) -> Attempt | None:
        """Take the next attempt to run, with its inputs' values; None when none is ready."""
        data = self.data
        if data.managed > data.brim and not self.may_start():
            return None
        while self.ready:
            attempt = self.ready.pop()
            if attempt.inputs:
                absent = data.absent(attempt.inputs)
                if absent is not None:  # freed under its feet: the scheduler sorts it out
                    attempt.state = WAITING
                    self._give_up(attempt, absent, [], attempt.inputs)
                    continue
                if data.managed > data.near or data.elsewhere:
                    if attempt.ahead and self._is_too_heavy(attempt):
                        continue
                    data.used(attempt.inputs)
                attempt.values = [data[id] for id in attempt.inputs]
            if self.moves is not None:
                self.moves.append((attempt.key, "ready", "executing"))
            attempt.state = RUNNING
            self.running += 1
            return attempt
        return None

    def _is_too_heavy(self, attempt: Attempt) -> bool:
        """Give back an attempt that was sent before its inputs' sizes were known, if they do not fit into memory."""
        if sum([self.data.size(id) for id in attempt.inputs]) <= self.data.most_inputs:
            return False
        attempt.state = WAITING
        del self.attempts[attempt.id]
        self._note(attempt, "rescheduled")
        self.out.append(Rescheduled(attempt.id, attempt.number))
        return True

    def finish(
        self,
        attempt: Attempt,
        value: object,
        seconds: float,
        nbytes: int,
        blob: Blob | None = None,
        value_type: bytes | None = None,
    ) -> None:
        """An attempt has its result."""
        id = attempt.id
        if not self._ended(attempt):
            return
        del self.attempts[id]
        self.data[id] = value
        if nbytes >= CRUMB_BYTES:
            self.data.count(id, nbytes)
        self.names[id] = attempt.key
        if self.moves is not None:
            self._note(attempt, "memory")
        self.out.append(Done(id, attempt.number, seconds, nbytes, blob, value_type))
        waiting = self.waiting_for.pop(id, None)
        if waiting is not None:
            self._arrived(waiting)

    def finish_elsewhere(
        self, attempt: Attempt, marker: Elsewhere, seconds: float, blob: Blob | None, value_type: bytes | None
    ) -> None:
        """An attempt has its result, which is kept elsewhere."""
        self.finish(attempt, marker, seconds, marker.nbytes, blob, value_type)
        if self.data.get(attempt.id) is marker:
            self.data.put_elsewhere(attempt.id, marker)

    def host(self, attempt: Attempt, instance: object, seconds: float, nbytes: int, proxy: Blob) -> None:
        """An attempt has made an actor, which stays; its value, here as everywhere, is a proxy of it.

        The proxy is kept packed: each task that takes it has one of its own, which ends with the task.
        """
        if self.attempts.get(attempt.id) is attempt:
            self.actors[attempt.id] = Hosted(attempt.key, attempt.priority, instance)
        self.finish(attempt, Packed(proxy), seconds, 0, proxy)  # the instance cannot go anywhere

    def lost(self, attempt: Attempt, input: TaskId) -> None:
        """An attempt has not begun: one of its inputs, which was on disk, cannot be read back."""
        self.data.drop([input])
        if self._ended(attempt):
            del self.attempts[attempt.id]
            self._note(attempt, "released")
            self.out.append(Missing(attempt.id, attempt.number, input, [self.address]))

    def fail(self, attempt: Attempt, seconds: float, error: Blob, text: str) -> None:
        """An attempt raised."""
        if not self._ended(attempt):
            return
        del self.attempts[attempt.id]
        self._note(attempt, "error")
        self.out.append(Erred(attempt.id, attempt.number, seconds, error, text))

    def reschedule(self, attempt: Attempt, unopened: bool = False) -> None:
        """An attempt asks to be made again, perhaps elsewhere; ``unopened``: its arguments could not be opened."""
        if self._ended(attempt):
            del self.attempts[attempt.id]
            self._note(attempt, "rescheduled")
            self.out.append(Rescheduled(attempt.id, attempt.number, unopened))

    def _ended(self, attempt: Attempt) -> bool:
        """Take note that an attempt runs no more; False if it was freed meanwhile, and its outcome is nobody's."""
        if not attempt.seceded:
            self.running -= 1
        if self.attempts.get(attempt.id) is attempt:
            return True
        if not attempt.seceded:
            self._count_ghosts(-1)
        if attempt.takes:
            self.out.append(Stopped(attempt.id, attempt.number))
        return False

    def pause(self, paused: bool) -> None:
        """Start nothing more, or go on."""
        if paused is not self.paused:
            self.paused = paused
            self.data.hold_back(paused)
            self.out.append(Paused(paused))

    def may_start(self) -> bool:
        """Say whether memory allows for another attempt to start."""
        return not self.paused and not self.data.is_brimful

    def leave(self, attempt: Attempt) -> None:
        """A running attempt takes no thread any more."""
        self._note(attempt, "long-running")
        attempt.seceded = True
        self.running -= 1
        if self.attempts.get(attempt.id) is attempt:
            self.out.append(Seceded(attempt.id, attempt.number, True))
        else:
            self._count_ghosts(-1)

    def come_back(self, attempt: Attempt) -> None:
        """An attempt that had left takes a thread again."""
        self._note(attempt, "executing")
        attempt.seceded = False
        self.running += 1
        if self.attempts.get(attempt.id) is attempt:
            self.out.append(Seceded(attempt.id, attempt.number, False))
        else:
            self._count_ghosts(1)

    def _arrived(self, waiting: Iterable[Attempt]) -> None:
        for attempt in waiting:
            attempt.missing -= 1
            if not attempt.missing:
                self._make_ready(attempt)

    # ------------------------------------------------------------ what peers say

    def fetched(self, id: TaskId, blob: Blob | None) -> None:
        """A peer's answer: the value, or None when it has none or cannot be reached."""
        fetch = self.incoming.answered(id)
        waiting, copy = self.waiting_for.get(id, ()), self.copying.get(id)
        if fetch is None or not (waiting or copy) or id in self.attempts:
            return  # nobody wants it any more, or it is being made here by now
        if blob is None:
            if fetch.holders:
                self.incoming.ask_next(id, fetch)
                return
            for attempt in list(waiting):
                self._give_up(attempt, id, fetch.tried, attempt.inputs)
            self._copied(id, False)
            return
        self.incoming.received += 1
        self.incoming.received_bytes += fetch.nbytes
        self.data.receive(id, blob)
        self._came(id)

    def _came(self, id: TaskId) -> None:
        """A value that was to be fetched is here."""
        waiting = self.waiting_for.get(id)
        if waiting:
            del self.waiting_for[id]
            last = self.out[-1] if self.out else None
            if type(last) is Holds:
                last.tasks.append(id)
            else:
                self.out.append(Holds([id]))
            self._arrived(waiting)
        self._copied(id, True)

    def _copied(self, id: TaskId, held: bool) -> None:
        copy = self.copying.pop(id, None)
        if copy is not None:
            self.out.append(Copied(id, copy.number, held))
            if held:
                self.names[id] = copy.key
                if self.brought is not None:
                    self.brought.append(id)

    # ------------------------------------------------------------ what the loop takes away

    def take_out(self) -> list[Any]:
        """Take what is to be said to the scheduler; what is noted of tasks goes before word of their end."""
        out, self.out = self.out, []
        if self.notes:
            out.insert(0, self.notes.take(self.epoch_s))
        return out

    def take_requests(self) -> list[tuple[str, list[TaskId]]]:
        """Take what is to be asked of peers now, as (address, ids)."""
        return self.incoming.take(self._is_wanted)

    def _is_wanted(self, id: int) -> bool:
        """Say whether a value that has not been asked for yet is still to be fetched."""
        task = TaskId(id)
        if id in self.data:  # it has come by another way
            self._came(task)
            return False
        return id not in self.attempts and (id in self.waiting_for or id in self.copying)


HANDLERS: dict[type, Callable[[WorkerCore, Any], None]] = {
    Run: WorkerCore.on_run,
    Free: WorkerCore.on_free,
    Recall: WorkerCore.on_recall,
    Put: WorkerCore.on_put,
    Copy: WorkerCore.on_copy,
    Function: WorkerCore.on_function,
    FreeFunctions: WorkerCore.on_free_functions,
    Record: WorkerCore.on_record,
}
