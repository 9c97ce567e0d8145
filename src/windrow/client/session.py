"""The client's books and its mouth: entries by key, the outgoing queue, reports from the scheduler.

What lives here: what is shared between the user's threads and the IO loop, behind one lock. What this file must never
know: `Future` and `Client` (they hold a session, never the other way), pickling, how a link is made.

Order is everything: what leaves is appended under the lock, in the same breath as the books change, so that the numbers
of Release and Cancel agree with the order of messages, and a report's ``seen`` tells which entry it is about.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from windrow import errors
from windrow.client.entry import BAD, CANCELLED, ERROR, FINISHED, LOST, PENDING, UNDONE, Entry, Latch, Waiter
from windrow.client.functions import Declared, Function
from windrow.client.options import Options
from windrow.roles import Role
from windrow.transport.room import Room
from windrow.wire import messages as m
from windrow.wire import requests as r
from windrow.wire.blobs import Blob
from windrow.wire.payload import nbytes

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from windrow.transport import Link

log = logging.getLogger("windrow.client")

MERGE_MAX = 4096
"""Tasks in one Submit at most, when single ones are merged."""

RELEASES_MAX = 4096
"""Futures released in one turn of the loop at most: a million dropped at once must not keep all else waiting."""


class Question(Latch):
    """A `Call` under way; opens with its reply, or without one when the connection is gone."""

    __slots__ = ("id", "reply")

    def __init__(self, number: int) -> None:
        super().__init__(1)
        self.id = number
        self.reply: m.Reply | None = None


class Session:
    """Everything between one client and its scheduler, but the link itself.

    Any thread may call anything but ``attach``, ``flush``, ``close`` and the handlers of reports, which belong to the
    loop. ``gone`` opens when the link is.
    """

    def __init__(self, id: str, name: str = "", worker: str = "") -> None:
        self.id = id
        self.lock = threading.Lock()
        self.entries: dict[m.Key, Entry] = {}
        self.status = "connecting"
        self.reason = "it is not connected yet: use 'with', or 'await' an asynchronous client"
        self.number = 0
        self.restarts = 0
        self.placing: set[m.Key] = set()
        """Keys of data that is being scattered."""
        self.share_again_s = 0.0
        """When, by the clock of this process, it is tried again to share memory with workers."""
        self.seed: int | None = None
        """What names of large contents depend on, beside these; with it they are made faster (`payload.digest`)."""
        self.remote = ""
        self.is_cut = False
        """Whether the connection is gone and may come back: what is sent meanwhile waits in the link."""
        self.loop: AbstractEventLoop | None = None
        self.thread_id = 0
        self.wake_due = False
        self.room = Room()
        """Whether threads may submit; else they wait."""
        self.released: deque[Entry] = deque()
        self.gone = Latch(1)
        self.on_topic: Callable[[m.Topic], None] | None = None
        """Takes events of topics that were subscribed to; called on the loop, with the lock held."""
        self._outgoing: list[m.Message] = [m.HelloClient(id, name, worker)]
        self._tail: m.Submit | None = None
        self._tail_options: Options | None = None
        self._declared = Declared()
        self._questions: dict[int, Question] = {}
        self._asked = 0
        self._link: Link | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            m.Finished: self._on_finished,
            m.Failed: self._on_failed,
            m.Lost: self._on_lost_results,
            m.Cancelled: self._on_cancelled,
            m.Topic: self._on_topic,
            m.Reply: self._on_reply,
            m.Call: self._on_call,
            m.Close: self._on_close,
        }

    # ---------------------------------------------------------------- the loop's side

    @property
    def is_near(self) -> bool:
        """Whether what is sent is handed over as it is, within this process."""
        return self.remote.startswith("inproc://")

    def attach(self, link: Link, loop: AbstractEventLoop) -> None:
        """Begin to use a link, on its loop."""
        assert self._link is None, "a session has one link in its life"
        self._link = link
        self.remote = link.remote
        self.loop = loop
        self.thread_id = threading.get_ident()
        if link.role is Role.WATCH:
            self._outgoing = [m.HelloObserver(self.id)]
        self.status = "watching" if link.role is Role.WATCH else "running"
        link.on_batch = self.on_batch
        link.on_lost = self.on_lost
        link.on_cut = self._on_cut
        link.on_resumed = self._on_resumed
        self.flush()

    def flush(self) -> None:
        """Send all that is due, as one frame."""
        self.wake_due = False
        with self.lock:
            if self.released:
                self._release(RELEASES_MAX)
            if self.released and self.loop is not None and not self.wake_due:  # the rest at the loop's next turn
                self.wake_due = True
                self.loop.call_soon(self.flush)
            batch = self._outgoing
            if not batch:
                return
            self._outgoing = []
            self._tail = None
            self.room.taken()
        if self._link is not None:
            self._link.send(batch)
            self.room.look(self._link)

    def _release(self, most: int) -> None:
        released, entries, keys = self.released, self.entries, []
        for _ in range(min(len(released), most)):
            entry = released.popleft()
            entry.refs -= 1
            if entry.refs <= 0 and entries.get(entry.key) is entry:
                del entries[entry.key]
                keys.append(entry.key)
        if keys and self.status == "running":
            self.number += 1
            self._append(m.Release(keys, self.number))

    def on_batch(self, batch: list[m.Message]) -> None:
        """Handle what the scheduler sent; one turn at the lock for all of it."""
        handlers = self._handlers
        with self.lock:
            for message in batch:
                handlers[type(message)](message)

    def _on_finished(self, message: m.Finished) -> None:
        seen, get = message.seen, self.entries.get
        kinds = message.types or repeat(None, len(message.keys))
        for key, value, kind in zip(message.keys, message.values, kinds, strict=True):
            entry = get(key)
            if entry is None or seen < entry.born:
                continue
            entry.status = FINISHED
            entry.value = value
            entry.detail = kind
            waiter = entry.waiter
            if waiter is not None:
                entry.waiter = None
                waiter.settle(entry)

    def _current(self, seen: int, keys: list[m.Key]) -> list[Entry]:
        """The entries among ``keys`` that a report with this ``seen`` is about."""
        entries = self.entries
        return [entry for key in keys if (entry := entries.get(key)) is not None and seen >= entry.born]

    def _on_failed(self, message: m.Failed) -> None:
        detail = (message.error, message.text)
        for entry in self._current(message.seen, message.keys):
            entry.settle(ERROR, detail=detail)

    def _on_lost_results(self, message: m.Lost) -> None:
        for entry in self._current(message.seen, message.keys):
            entry.status, entry.value, entry.detail = LOST, None, None

    def _on_cancelled(self, message: m.Cancelled) -> None:
        for entry in self._current(message.seen, message.keys):
            # Out of the books: the scheduler wants no Release for it, and the key may be submitted anew.
            del self.entries[entry.key]
            entry.settle(CANCELLED, detail=message.reason)

    def _on_topic(self, message: m.Topic) -> None:
        if self.on_topic is not None:
            self.on_topic(message)

    def _on_reply(self, message: m.Reply) -> None:
        question = self._questions.pop(message.id, None)
        if question is not None:
            question.reply = message
            question.open()

    def _on_call(self, message: m.Call) -> None:
        import pickle

        refusal = NotImplementedError(f"a client does not answer {type(message.request).__name__}")
        self._append(m.Reply(message.id, error=pickle.dumps(refusal)))
        self.wake()

    def _on_close(self, message: m.Close) -> None:
        reason = message.reason or "it was shut down"
        self._end(f"the scheduler at {self.remote} closed the connection: {reason}")

    def _on_cut(self, reason: str) -> None:
        self.is_cut = True

    def _on_resumed(self) -> None:
        self.is_cut = False

    def on_lost(self, reason: str) -> None:
        """Take note that the link is gone."""
        self.gone.open()
        words = f": {reason}" if reason else ""
        self.end(f"the connection to the scheduler at {self.remote} was lost{words}")

    # ---------------------------------------------------------------- the end

    def end(self, reason: str) -> None:
        """Nothing more comes or goes; whoever waits is let go. Again is harmless."""
        with self.lock:
            self._end(reason)

    def _end(self, reason: str) -> None:
        if self.status != "closed":
            self.status = "closed"
            self.reason = reason
            self.thread_id = 0
        self._outgoing, self._tail = [], None
        self.room.open()
        for entry in list(self.entries.values()):
            if entry.status in UNDONE:
                del self.entries[entry.key]
                entry.settle(CANCELLED, detail=self.reason)
        questions, self._questions = list(self._questions.values()), {}
        for question in questions:
            question.open()

    def forked(self) -> None:
        """This process is a copy of the one that has the loop and the link: nothing comes or goes here."""
        self.lock = threading.Lock()  # another thread may have held it, and there is no other thread here
        self.room = Room()
        self.loop = None
        self.end("this process was forked from the one that has the client. Make a client of this process's own")

    def close(self, reason: str) -> None:
        """Say goodbye, on the loop: what is due leaves first."""
        if self.is_open:
            with self.lock:
                self._append(m.Close(reason))
            self.flush()
        self.end(reason)
        if self._link is None:
            self.gone.open()
        else:
            self._link.close()

    # ---------------------------------------------------------------- sending, from any thread

    def wake(self) -> None:
        """Have the loop flush soon; many calls before it does are one."""
        loop = self.loop
        if self.wake_due or loop is None or self.status == "closed":
            return
        self.wake_due = True
        try:
            loop.call_soon_threadsafe(self.flush)
        except RuntimeError:
            # The loop is closed: its cluster went first. Nobody is left to tell.
            self.status, self.reason = "closed", f"the event loop that served {self.remote} is closed"

    def _append(self, message: m.Message) -> None:
        self._outgoing.append(message)
        self._tail = None

    @property
    def is_open(self) -> bool:
        """Whether questions can be asked, though perhaps nothing else."""
        return self.status in ("running", "watching")

    def check_open(self) -> None:
        """Raise ClosedClientError unless messages can leave; NotAllowed if they would be refused."""
        if self.status == "watching":
            raise errors.NotAllowed("To submit work and hold results", str(Role.SUBMIT), str(Role.WATCH))
        if self.status != "running":
            raise errors.ClosedClientError(f"This client takes no work: {self.reason}.")

    def greet(self, request: r.Request) -> None:
        """Say this in the first frame; nobody waits for the answer."""
        assert self.status == "connecting", "the first frame has left"
        self._append(m.Call(0, request))

    def ask(self, request: r.Request) -> Question:
        """Send a `Call`; the question opens with its reply."""
        with self.lock:
            if not self.is_open:
                self.check_open()
            self._asked += 1
            question = Question(self._asked)
            self._questions[question.id] = question
            self._append(m.Call(question.id, request))
        self.wake()
        return question

    def withdraw(self, question: Question) -> None:
        """Wait no longer for the answer of a service: it comes at once then, with a value or without."""
        with self.lock:
            if self.status != "running" or question.id not in self._questions:
                return
            self._append(m.Withdraw(question.id))
        self.wake()

    def _wait_for_room(self) -> None:
        """Wait while the scheduler does not take what is sent; not on the loop, which is what sends it."""
        if threading.get_ident() != self.thread_id:
            self.room.wait(f"the scheduler at {self.remote}")

    def say(self, message: m.Message) -> None:
        """Send a message that has no answer."""
        if self.room.is_full:
            self._wait_for_room()
        with self.lock:
            self.check_open()
            self._append(message)
        self.wake()

    def drop_question(self, question: Question) -> None:
        """Nobody waits for this reply any more."""
        self._questions.pop(question.id, None)

    # ---------------------------------------------------------------- tasks

    def submit(
        self,
        function: Function,
        key: m.Key,
        blob: Blob,
        inputs: Sequence[m.Key],
        options: Options,
    ) -> Entry:
        """Make an entry and send the task, unless the key is held; merges with neighbours that left just before."""
        if self.room.is_full:
            self._wait_for_room()
        with self.lock:
            if key in self.entries and (entry := self._held(key)) is not None:
                entry.refs += 1
                return entry
            if self.status != "running":
                self.check_open()
            if inputs:
                self._check_inputs(inputs)
            tail = self._tail
            if (
                tail is not None
                and tail.function == function.digest
                and (options is self._tail_options or options == self._tail_options)
                and len(tail.keys) < MERGE_MAX
            ):
                if inputs and not tail.inputs:
                    tail.inputs = [[] for _ in tail.keys]
                tail.keys.append(key)
                tail.args.append(blob)
                if tail.inputs:
                    tail.inputs.append(list(inputs))
            else:
                columns = [list(inputs)] if inputs else []
                self._append_submit(function, [key], [blob], columns, options)
            self.room.add(len(blob) if type(blob) is bytes else nbytes(blob))
            self.entries[key] = entry = Entry(key, self.number)
        if not self.wake_due:
            self.wake()
        return entry

    def submit_many(
        self,
        function: Function,
        keys: list[m.Key],
        blobs: list[Blob],
        inputs: list[list[m.Key]],
        options: Options,
    ) -> list[Entry]:
        """An entry for each key, in order; those not held already leave as one Submit."""
        if self.room.is_full:
            self._wait_for_room()
        with self.lock:
            self.check_open()
            self.room.add(sum(map(nbytes, blobs)))
            entries = self.entries
            fresh = dict.fromkeys(keys)
            new = entries.keys().isdisjoint(fresh)
            if not new and self.released:
                self._release(len(self.released))
                new = entries.keys().isdisjoint(fresh)
            for column in inputs:
                self._check_inputs(column)
            if new and len(fresh) == len(keys):
                # The usual case, without a Python-level loop over what is held.
                born = self.number
                self._append_submit(function, keys, blobs, inputs, options)
                made = [Entry(key, born) for key in keys]
                entries.update(zip(keys, made, strict=True))
            else:
                made = self._submit_some(function, keys, blobs, inputs, options)
        if not self.wake_due:
            self.wake()
        return made

    def _submit_some(
        self, function: Function, keys: list[m.Key], blobs: list[Blob], inputs: list[list[m.Key]], options: Options
    ) -> list[Entry]:
        entries, born, made = self.entries, self.number, []
        new: list[int] = []
        for position, key in enumerate(keys):
            entry = entries.get(key)
            if entry is None:
                entries[key] = entry = Entry(key, born)
                new.append(position)
            else:
                entry.refs += 1
            made.append(entry)
        if new:
            self._append_submit(
                function,
                [keys[position] for position in new],
                [blobs[position] for position in new],
                [inputs[position] for position in new] if inputs else [],
                options,
            )
        return made

    def _append_submit(
        self, function: Function, keys: list[m.Key], blobs: list[Blob], inputs: list[list[m.Key]], options: Options
    ) -> None:
        self._declared.declare(function, self._outgoing)
        workers = None if options.workers is None else list(options.workers)
        submit = m.Submit(
            function.digest,
            keys,
            blobs,
            inputs,
            options.priority,
            options.retries,
            workers,
            options.allow_other_workers,
            dict(options.resources),
            options.actor,
        )
        self._outgoing.append(submit)
        self._tail, self._tail_options = submit, options

    def submit_graph(self, graph: m.Graph, functions: Iterable[Function], wanted: Iterable[m.Key]) -> list[Entry]:
        """Send a part of a graph; an entry for each key that is wanted of it."""
        if self.room.is_full:
            self._wait_for_room()
        with self.lock:
            self.check_open()
            self._check_inputs(graph.known, "a graph refers to it and does not make it")
            for function in functions:
                self._declared.declare(function, self._outgoing)
            self._append(graph)
            self.room.add(sum(map(nbytes, graph.args)))
            made = []
            for key in wanted:
                entry = self._held(key)
                if entry is None:
                    self.entries[key] = entry = Entry(key, self.number)
                else:
                    entry.refs += 1
                made.append(entry)
        if not self.wake_due:
            self.wake()
        return made

    def drop_graph(self, number: int | None, entries: Iterable[Entry]) -> None:
        """Make no futures on what was wanted of a graph; and no more parts of it come, if it has a number here."""
        with self.lock:
            if number is not None and self.status == "running":
                self._append(m.Graph(number, [], [], [], [], [], [], [], []))
        self.released.extend(entries)
        self.wake()

    def hold_those(self, keys: Iterable[m.Key]) -> dict[m.Key, Entry]:
        """One more reference on each of these that is held; their entries."""
        with self.lock:
            if self.released:
                self._release(len(self.released))
            entries = self.entries
            held = {key: entries[key] for key in keys if key in entries} if entries else {}
            for entry in held.values():
                entry.refs += 1
            return held

    def _check_inputs(self, inputs: Iterable[m.Key], how: str = "it was given as an argument") -> None:
        for key in inputs:
            if key not in self.entries:
                raise errors.FutureCancelledError(
                    key, f"{how}, and this client does not hold it (cancelled, released, lost, or another client's)"
                )

    def _held(self, key: m.Key) -> Entry | None:
        """The entry of a key that futures are still on, now that those dropped before this moment are counted down.

        A task that is submitted under the key of one just dropped must not get the old one's end.
        """
        if self.released and key in self.entries:
            self._release(len(self.released))
        return self.entries.get(key)

    def hold(self, key: m.Key) -> Entry | None:
        """One more reference on a key, if it is held."""
        with self.lock:
            entry = self._held(key)
            if entry is not None:
                entry.refs += 1
            return entry

    def want(self, key: m.Key) -> Entry:
        """Hold a task that exists on the scheduler already."""
        with self.lock:
            self.check_open()
            entry = self.entries.get(key)
            if entry is not None:
                entry.refs += 1
                return entry
            self._append(m.Want([key]))
            self.entries[key] = entry = Entry(key, self.number)
        self.wake()
        return entry

    def scatter(self, keys: list[m.Key]) -> tuple[list[Entry], set[m.Key]]:
        """Entries for data about to be scattered, and the keys among them that are new."""
        with self.lock:
            self.check_open()
            new: set[m.Key] = set()
            made = []
            for key in keys:
                entry = self._held(key)
                if entry is None:
                    self.entries[key] = entry = Entry(key, self.number)
                    new.add(key)
                else:
                    entry.refs += 1
                made.append(entry)
            return made, new

    def place(self, entries: Iterable[Entry]) -> None:
        """Scattered data is in memory, whether or not a Finished has said so."""
        with self.lock:
            for entry in entries:
                if entry.status == PENDING:
                    entry.settle(FINISHED)

    def cancel(self, entries: Iterable[Entry], force: bool, reason: str) -> None:
        """Drop these keys for all `Future` objects on them, at once on this side."""
        with self.lock:
            held = [entry for entry in dict.fromkeys(entries) if self.entries.get(entry.key) is entry]
            if not held:
                return
            if self.status == "running":
                self.number += 1
                self._append(m.Cancel([entry.key for entry in held], self.number, force, reason))
            self._drop(held, reason)
        self.wake()

    def _drop(self, entries: Iterable[Entry], reason: str) -> None:
        for entry in entries:
            del self.entries[entry.key]
            entry.settle(CANCELLED, detail=reason)

    def forget_all(self, entries: Iterable[Entry], reason: str) -> None:
        """The scheduler has forgotten these (a restart): cancelled here, with nothing to send."""
        self.restarts += 1
        with self.lock:
            self._drop([entry for entry in entries if self.entries.get(entry.key) is entry], reason)

    def retry(self, entries: Iterable[Entry]) -> None:
        """Run erred tasks again; the others are left alone."""
        with self.lock:
            self.check_open()
            erred = [entry for entry in dict.fromkeys(entries) if entry.status == ERROR]
            for entry in erred:
                entry.status, entry.detail = PENDING, None
            if erred:
                self._append(m.Retry([entry.key for entry in erred]))
        self.wake()

    # ---------------------------------------------------------------- waiting

    def latch(self, entries: Iterable[Entry], fail_fast: bool = False, count: int | None = None) -> Latch | None:
        """A latch on those not done (on ``count`` of them; default all); None when there is nothing to wait for."""
        with self.lock:
            if self.status == "closed":
                self._end(self.reason)
            entries = list(entries)
            undone = [entry for entry in entries if entry.status in UNDONE]
            done = len(entries) - len(undone)
            if not undone or (count is not None and done >= count):
                return None
            if fail_fast and done and any(entry.status in BAD for entry in entries):
                return None
            latch = Latch(len(undone) if count is None else count - done, fail_fast)
            for entry in undone:
                if entry.waiter is None:
                    entry.waiter = latch
                else:
                    entry.enlist(latch)
            return latch

    def unlatch(self, latch: Waiter, entries: Iterable[Entry]) -> None:
        """Take a waiter off entries that are still under way."""
        with self.lock:
            for entry in dict.fromkeys(entries):
                if entry.waiter is not None:
                    entry.delist(latch)

    def enlist(self, entry: Entry, waiter: Waiter) -> None:
        """Tell ``waiter`` when this entry is done; now, if it is."""
        with self.lock:
            if entry.status in UNDONE:
                entry.enlist(waiter)
            else:
                waiter.settle(entry)
