"""Where the scheduler's services meet its core: their questions, what they hold, and whom they tell.

What lives here: `FrontDesk`, and the routing of `Ask`, `Withdraw` and a client's end. What this file must never know:
what a service does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from windrow.keys import Key
from windrow.primitives.service import Question, Service
from windrow.scheduler.news import Logged
from windrow.scheduler.state import (
    ERRED,
    MEMORY,
    RELEASED,
    ClientRecord,
    Keeper,
    ObserverRecord,
    Peer,
    SchedulerConfig,
    State,
    Unexpected,
    WorkerRecord,
)
from windrow.scheduler.transitions import let_go, need
from windrow.wire import failure
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply, Withdraw
from windrow.wire.requests import Ask


class Look(Question):
    """A question of who is no client, and only reads; it is answered at once."""

    __slots__ = ("observer",)

    def __init__(self, desk: FrontDesk, service: Service, observer: ObserverRecord, call: int) -> None:
        super().__init__(desk, service, observer.id, call)
        self.observer = observer


class FrontDesk:
    """What services may ask of the scheduler; see ``primitives.service.Desk``."""

    def __init__(self, state: State, services: Iterable[type[Service]]) -> None:
        self.state = state
        self.services: dict[str, Service] = {service.name: service(self) for service in services}
        self.questions: dict[tuple[str, int], Question] = {}

    @property
    def now_s(self) -> float:
        """The scheduler's time."""
        return self.state.now_s

    @property
    def config(self) -> SchedulerConfig:
        """The scheduler's knobs."""
        return self.state.config

    # ------------------------------------------------------------ questions

    def on_ask(self, peer: Peer[Any], call: int, request: Ask) -> None:
        """Pass a question on to its service."""
        if not isinstance(peer, ClientRecord):
            raise Unexpected("services answer clients alone")
        service = self.services.get(request.service)
        if service is None:
            error, _ = failure.dump(ValueError(f"the scheduler has no service {request.service!r}"))
            self.state.tell(peer, Reply(call, error=error))
            return
        question = Question(self, service, peer.id, call)
        self.questions[peer.id, call] = question
        self._pass_on(question, request)

    def on_look(self, observer: ObserverRecord, call: int, request: Ask) -> None:
        """Pass on a question that only reads (`wire.permissions.reads`), of who only looks."""
        self._pass_on(Look(self, self.services[request.service], observer, call), request)

    def _pass_on(self, question: Question, request: Ask) -> None:
        service = question.service
        try:
            wish = request.request
            if not isinstance(wish, msgspec.Struct):
                wish = msgspec.convert(wish, service.requests)
            service.ask(question, wish, request.blobs)
        except Exception as error:
            if question.open:
                question.refuse(error)

    def on_withdraw(self, client: ClientRecord, message: Withdraw) -> None:
        """A client waits no longer; a question that is answered already is none of our business."""
        question = self.questions.get((client.id, message.call))
        if question is not None:
            question.service.withdraw(question)

    def answer(
        self,
        question: Question,
        value: Any = None,
        blobs: Sequence[Blob] = (),
        error: BaseException | None = None,
        late: bool = False,
    ) -> None:
        """Answer a question."""
        assert question.open, f"{question} is answered twice"
        question.open = False
        pickled = None if error is None else failure.dump(error)[0]
        reply = Reply(question.call, value, list(blobs), pickled, late)
        if isinstance(question, Look):
            self.state.tell(question.observer, reply)
            return
        del self.questions[question.client, question.call]
        client = self.state.clients.get(question.client)
        if client is not None:
            client.finished = None
            self.state.tell(client, reply)

    def log(self, topics: list[str], time: float, event: Any) -> None:
        """Keep an event, and pass it on to those who have subscribed to its topics."""
        if self.state.news is not None:
            self.state.news.append(Logged(topics, event))
        events: Any = self.services.get("events")
        if events is not None:
            events.log(topics, time, event)

    def note(self, action: str, worker: WorkerRecord, **facts: Any) -> None:
        """Log that a worker has come or gone."""
        event = {"action": action, "worker": worker.address, "name": worker.name, **facts}
        self.log(["scheduler"], self.state.epoch_s + self.state.now_s, event)

    def send(self, client: str, message: Any) -> None:
        """Send a message to a client."""
        record = self.state.clients.get(client)
        if record is not None:
            self.state.report(record, message)

    # ------------------------------------------------------------ what services hold

    def hold(self, owner: str, key: Key, brief: bool = False) -> bool:
        """Want a result; if ``brief``, only until it is there or has failed."""
        state = self.state
        task = state.tasks.get(key)
        if task is None:
            return False
        if brief and task.state in (MEMORY, ERRED):
            return True
        keeper = state.clients.get(owner)
        if keeper is None:
            keeper = state.clients[owner] = Keeper(owner, brief)
        state.want(keeper, task)
        if task.state is RELEASED:
            need(state, task)
        return True

    def let_go(self, owner: str, key: Key) -> None:
        """Want a result no longer."""
        state = self.state
        keeper, task = state.clients.get(owner), state.tasks.get(key)
        if keeper is None:
            return
        if task is not None and task in keeper.wants:
            state.unwant(keeper, task)
            state.agenda.append((let_go, task))
        if not keeper.wants:
            del state.clients[owner]

    def has_task(self, key: Key) -> bool:
        """Whether there is a task of this key."""
        return key in self.state.tasks

    # ------------------------------------------------------------ what happens to clients, and time

    def is_here(self, client: str) -> bool:
        """Whether this client has not gone."""
        return client in self.state.clients

    def is_away(self, client: str) -> bool:
        """Whether the connection of this client is cut, and it may come back."""
        record = self.state.clients.get(client)
        return record is not None and record.cut_s is not None

    def returned(self, client: ClientRecord) -> None:
        """A client whose connection was cut is back."""
        for service in self.services.values():
            service.returned(client.id)

    def left(self, client: ClientRecord) -> None:
        """A client has gone: its questions are nobody's, and what it held is free."""
        for question in [question for key, question in self.questions.items() if key[0] == client.id]:
            if question.open:  # the end of another may have answered it
                question.service.withdraw(question)  # whose answer goes to nobody
        for service in self.services.values():
            service.left(client.id)

    def restarted(self) -> None:
        """All tasks are forgotten."""
        for service in self.services.values():
            service.restarted()

    def tick(self) -> None:
        """Do what is due by time alone."""
        for service in self.services.values():
            if service.is_waiting:
                service.tick()

    @property
    def is_waiting(self) -> bool:
        """Whether `tick` is to be called, about once a second."""
        return any(service.is_waiting for service in self.services.values())
