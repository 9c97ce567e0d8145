"""What a link's role lets through, message by message."""

from __future__ import annotations

import logging

import pytest

from windrow.errors import NotAllowed
from windrow.roles import Role
from windrow.transport.base import Link
from windrow.transport.gate import KINDS_MAX, Gate
from windrow.wire import failure
from windrow.wire.messages import (
    Call,
    HelloClient,
    HelloObserver,
    HelloWorker,
    Message,
    Release,
    Reply,
    Submit,
)
from windrow.wire.requests import Gather, Identity, RunOnScheduler, Shutdown


class Ear(Link):
    """A link that keeps what is sent."""

    def __init__(self, role: Role) -> None:
        super().__init__("tcp://10.0.0.9:4")
        self.role = role
        self.sent: list[Message] = []

    def _start(self) -> None:
        raise AssertionError("nobody reads here")

    def send(self, messages: list[Message]) -> None:
        self.sent += messages

    def close(self) -> None:
        raise AssertionError("the connection stays")

    def abort(self, reason: str) -> None:
        raise AssertionError("the connection stays")


@pytest.fixture
def gate(caplog: pytest.LogCaptureFixture) -> Gate:
    caplog.set_level(logging.WARNING)
    return Gate(logging.getLogger("windrow.test"))


def test_administrators_pass(gate: Gate) -> None:
    messages: list[Message] = [HelloClient("x"), Call(1, Shutdown())]
    assert gate.let_through(Ear(Role.ADMINISTER), messages) is messages


def test_a_question_is_answered_with_the_refusal_and_the_rest_passes(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    link = Ear(Role.SUBMIT)
    work = [HelloClient("x"), Submit(b"f", ["a"], [b""])]
    assert gate.let_through(link, [*work, Call(7, Shutdown()), Call(8, Gather([]))]) == [*work, Call(8, Gather([]))]
    [reply] = link.sent
    assert isinstance(reply, Reply)
    assert reply.id == 7
    assert reply.error is not None
    error = failure.load(reply.error)
    assert isinstance(error, NotAllowed)
    assert isinstance(error, PermissionError)
    assert (error.what, error.needed, error.held) == ("To shut the cluster down (Shutdown)", "administer", "submit")
    assert "nothing was done" in str(error)
    assert caplog.messages == [f"refused to tcp://10.0.0.9:4: {error}"]


def test_a_refusal_is_logged_once_a_link_and_kind(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    link, other = Ear(Role.SUBMIT), Ear(Role.SUBMIT)
    for number in range(100):
        gate.let_through(link, [Call(number, Shutdown()), Call(number, RunOnScheduler(b""))])
    assert len(caplog.messages) == 2
    gate.let_through(other, [Call(1, Shutdown())])
    assert len(caplog.messages) == 3
    gate.forget(link)
    gate.forget(other)
    assert repr(gate) == "<Gate told=0>"


def test_names_that_a_peer_makes_up_do_not_fill_the_log(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    from windrow.wire.requests import Ask

    link = Ear(Role.SUBMIT)
    for number in range(10 * KINDS_MAX):
        gate.let_through(link, [Call(number, Ask(f"service-{number}", None))])
    assert len(caplog.messages) == KINDS_MAX


@pytest.mark.parametrize(
    ("role", "message"),
    [
        (Role.WATCH, HelloClient("x")),
        (Role.WATCH, Submit(b"f", [], [])),
        (Role.WATCH, Release([], 1)),
        (Role.SUBMIT, HelloWorker("tcp://x:1", "x", 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_asks_for_no_answer_ends_the_connection(gate: Gate, role: Role, message: Message) -> None:
    link = Ear(role)
    with pytest.raises(NotAllowed, match="takes the role"):
        gate.let_through(link, [Call(1, Identity()), message])
    assert link.sent == []


def test_watchers_may_look(gate: Gate) -> None:
    messages: list[Message] = [HelloObserver("x"), Call(1, Identity())]
    assert gate.let_through(Ear(Role.WATCH), messages) == messages
