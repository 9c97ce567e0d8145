"""A worker, nanny or client that says what is another's to say: on a bare core, which believes none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attack_help import frame, shaken, until_closed

from windrow import Client, LocalCluster
from windrow.account import Account
from windrow.primitives.queue import Put
from windrow.roles import Role, token
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import ClientRecord, Task, Unexpected, WorkerRecord
from windrow.wire import messages as m
from windrow.wire import requests as r

RogueSays = Callable[["Scene"], m.Message]


class Scene:
    """Two workers with work, one of which is a rogue; a client that waits; a nanny of the honest one."""

    def __init__(self) -> None:
        self.core = SchedulerCore()
        self.honest: WorkerRecord = self.join(m.HelloWorker("tcp://honest", "honest", 1, nanny="nanny-of-honest"))
        self.rogue: WorkerRecord = self.join(m.HelloWorker("tcp://rogue", "rogue", 1, nanny="nanny-of-rogue"))
        self.nanny = self.join(m.HelloNanny("nanny-of-honest", "honest"))
        self.rogue_nanny = self.join(m.HelloNanny("nanny-of-rogue", "rogue"))
        self.client: ClientRecord = self.join(m.HelloClient("client"))
        self.say(self.client, m.Declare(b"f", "f", b"code"))
        self.submit("held", "honest")
        held = self.task("held")
        self.say(self.honest, m.Done(held.id, held.attempt, 0.1, 10_000_000))
        self.submit("theirs", "honest")
        self.submit("own", "rogue")
        assert held.holders == (self.honest,)
        assert (self.task("theirs").worker, self.task("own").worker) == (self.honest, self.rogue)

    def submit(self, key: str, where: str) -> None:
        self.say(self.client, m.Submit(b"f", [key], [b""], workers=[f"tcp://{where}"]))
        self.core.flush()

    def join(self, hello: Any) -> Any:
        return self.core.join(hello, 0.0)

    def say(self, peer: Any, *messages: Any) -> None:
        self.core.receive(peer, list(messages), 1.0)

    def task(self, key: str) -> Task:
        return self.core.state.tasks[key]

    def facts(self) -> dict[str, Any]:
        """What is not the rogue's to change."""
        state = self.core.state
        tasks = {key: (task.state, task.worker, task.attempt) for key, task in state.tasks.items()}
        del tasks["own"]
        return {
            "tasks": tasks,
            "holders": self.task("held").holders,
            "honest": (self.honest.status, list(self.honest.processing), self.honest.threads, self.honest.account),
            "workers": {address: worker for address, worker in state.workers.items() if worker is not self.rogue},
            "clients": dict(state.clients),
            "nannies": dict(state.nannies),
        }


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    check_invariants(scene.core.state)


FORGED: dict[str, RogueSays] = {
    "result of another's attempt": lambda scene: m.Done(scene.task("theirs").id, 1, 0.1, 1, b"forged"),
    "error of another's attempt": lambda scene: m.Erred(scene.task("theirs").id, 1, 0.1, b"forged", "forged"),
    "another's attempt, given back": lambda scene: m.Returned([scene.task("theirs").id], [1]),
    "another's attempt, to be made again": lambda scene: m.Rescheduled(scene.task("theirs").id, 1),
    "another's attempt, off its thread": lambda scene: m.Seceded(scene.task("theirs").id, 1, True),
    "another's attempt, stopped": lambda scene: m.Stopped(scene.task("theirs").id, 1),
    "an input of another's attempt, missing": lambda scene: m.Missing(
        scene.task("theirs").id, 1, scene.task("held").id, ["tcp://honest"]
    ),
    "an input that its own attempt does not have, missing": lambda scene: m.Missing(
        scene.task("own").id, 1, scene.task("held").id, ["tcp://honest"]
    ),
    "a copy that it was not to make": lambda scene: m.Copied(scene.task("held").id, 1, True),
    "another's value, not there": lambda scene: m.Copied(scene.task("held").id, 1, False),
    "an attempt that is yet to come": lambda scene: m.Done(scene.task("own").id, 99, 0.1, 1, b"forged"),
    "a task that there is not": lambda scene: m.Done(m.TaskId(10**9), 1, 0.1, 1, b"forged"),
    "an answer to what nobody asked": lambda scene: m.Reply(10**9, "forged", [b"forged"]),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_worker_that_says_what_is_anothers(scene: Scene, what: str) -> None:
    before = scene.facts()
    scene.say(scene.rogue, FORGED[what](scene))
    assert scene.facts() == before
    assert not [
        message
        for peer, batch in scene.core.flush()
        if peer is scene.client
        for message in batch
        if isinstance(message, m.Finished | m.Failed | m.Lost | m.Cancelled)
    ]


HELLOS: dict[str, m.Message] = {
    "another's address": m.HelloWorker("tcp://honest", "somebody", 1),
    "another's name": m.HelloWorker("tcp://somebody", "honest", 1),
}


@pytest.mark.parametrize("what", HELLOS)
def test_a_worker_that_comes_as_another(scene: Scene, what: str) -> None:
    before = scene.facts()
    with pytest.raises(Unexpected, match="is there already"):
        scene.join(HELLOS[what])
    assert scene.facts() == before


def test_a_nanny_that_tells_of_anothers_worker(scene: Scene) -> None:
    before = scene.facts()
    scene.say(scene.rogue_nanny, m.Died("tcp://honest", Account(exit_code=1), running=[scene.task("theirs").id]))
    scene.core.tick(1000.0)
    assert scene.facts() == before


@pytest.mark.parametrize("who", ["rogue", "rogue_nanny"])
def test_an_answer_to_what_another_was_asked(scene: Scene, who: str) -> None:
    """Numbers of questions follow each other, and so are known."""
    scene.say(scene.client, m.Call(7, r.RunFunction(b"call", workers=["tcp://honest"])))
    [asked] = [message for peer, batch in scene.core.flush() if peer is scene.honest for message in batch]
    assert isinstance(asked, m.Call)
    scene.say(getattr(scene, who), m.Reply(asked.id, None, [b"forged"]))
    assert scene.core.flush() == []
    scene.say(scene.honest, m.Reply(asked.id, None, [b"true"]))
    [(peer, [reply])] = scene.core.flush()
    assert peer is scene.client
    assert reply.blobs == [b"true"]


def test_what_is_for_others_to_say_at_all_ends_the_connection(scene: Scene) -> None:
    before = scene.facts()
    for message in (m.Submit(b"f", ["x"], [b""]), m.Died("tcp://honest", Account()), m.Call(1, r.Shutdown())):
        with pytest.raises(Unexpected, match="a WorkerRecord may not say"):
            scene.say(scene.rogue, message)
    assert scene.facts() == before


def test_a_worker_that_leaves_leaves_alone(scene: Scene) -> None:
    before = scene.facts()
    scene.say(scene.rogue, m.Leaving("forged", now=True), m.Close("forged"))
    assert scene.facts() == before


def test_a_client_under_the_name_of_a_service(scene: Scene) -> None:
    """What a queue holds is wanted in a name of its own."""
    scene.say(scene.client, m.Call(1, r.Ask("queues", Put("q", keys=["held"]), [b"value"])))
    held_by = [name for name in scene.core.state.clients if name != "client"]
    assert held_by, "the queue holds the result"
    for name in held_by:
        with pytest.raises(Unexpected, match="a service holds results under the name"):
            scene.join(m.HelloClient(name))


def test_a_token_of_a_lesser_role_does_not_take_anothers_place(target: LocalCluster, owner: Client) -> None:
    """Clients' ids are to be seen by who watches."""
    for role, message in ((Role.SUBMIT, b"To take the place of another client"), (Role.WATCH, b"(HelloClient)")):
        endpoint = shaken(target.scheduler_address, token(target.secret or b"", role))
        endpoint.sendall(frame(m.HelloClient(owner.id)))
        assert message + b" takes the role" in until_closed(endpoint)
    assert owner.id in target.scheduler.core.state.clients
