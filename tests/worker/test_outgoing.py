"""Answers to peers: so many at a time, and until the network has taken them."""

from __future__ import annotations

from typing import Any

import pytest

from windrow.transport import Link
from windrow.wire.messages import Message, TaskId
from windrow.wire.requests import GetData
from windrow.worker.core import WorkerCore
from windrow.worker.outgoing import Outgoing, Then


class Wire(Link):
    """A connection that the test congests."""

    def __init__(self) -> None:
        super().__init__("tcp://peer")
        self.sent: list[int] = []
        self.is_slow = False
        """Whether the next thing that is sent congests it."""

    def _start(self) -> None:
        raise AssertionError

    def send(self, messages: list[Message]) -> None:
        self.sent += [message.id for message in messages]  # type: ignore[union-attr]
        self.is_congested = self.is_slow

    def close(self) -> None:
        raise AssertionError

    def abort(self, reason: str) -> None:
        raise AssertionError

    def drain(self) -> None:
        self.is_congested = False
        self.on_drained()


class Office:
    """Collects values when the test says so."""

    def __init__(self, limit: int) -> None:
        self.core = WorkerCore()
        self.open: list[tuple[list[TaskId], Then]] = []
        self.outgoing = Outgoing(lambda asked, then: self.open.append((asked.tasks, then)), self.core, limit)

    def ask(self, link: Wire, *calls: int) -> None:
        for call in calls:
            self.outgoing.ask(link, call, GetData([TaskId(call)]))

    def collected(self) -> None:
        ids, then = self.open.pop(0)
        then([b"value" for _ in ids], [])


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_so_many_are_answered_at_a_time_in_order(wire: Wire) -> None:
    office = Office(2)
    office.ask(wire, 1, 2, 3, 4)
    assert [ids for ids, _ in office.open] == [[1], [2]]
    while office.open:
        office.collected()
    assert wire.sent == [1, 2, 3, 4]
    assert office.outgoing.active == 0


def test_one_at_a_time_while_the_worker_is_paused(wire: Wire) -> None:
    office = Office(5)
    office.core.pause(True)
    office.ask(wire, 1, 2, 3)
    assert len(office.open) == 1
    office.collected()
    assert len(office.open) == 1
    office.core.pause(False)
    office.collected()
    office.collected()
    assert wire.sent == [1, 2, 3]


def test_an_answer_is_under_way_until_the_network_has_taken_it(wire: Wire) -> None:
    office, other = Office(1), Wire()
    wire.is_slow = True
    office.ask(wire, 1)
    office.ask(other, 2)
    office.collected()
    assert not office.open
    wire.drain()
    assert len(office.open) == 1
    wire.drain()  # again is harmless
    assert office.outgoing.active == 1
    office.collected()
    assert other.sent == [2]
    assert office.outgoing.active == 0


def test_a_connection_that_ends_gives_its_place_to_others(wire: Wire) -> None:
    office, other = Office(1), Wire()
    wire.is_slow = True
    office.ask(wire, 1, 3)
    office.ask(other, 2)
    office.collected()
    office.outgoing.lost(wire)
    office.collected()
    assert (wire.sent, other.sent) == ([1], [2])
    assert not office.open
    assert office.outgoing.active == 0


def test_who_does_not_take_its_answers_gets_no_more_and_keeps_nobody_waiting(wire: Wire) -> None:
    office, other = Office(2), Wire()
    wire.is_slow = True
    office.ask(wire, 1)
    office.collected()
    office.ask(wire, 2, 3, 4)
    office.ask(other, 5)
    assert [ids for ids, _ in office.open] == [[5]]
    office.collected()
    assert (wire.sent, other.sent) == ([1], [5])
    wire.is_slow = False
    wire.drain()
    while office.open:
        office.collected()
    assert wire.sent == [1, 2, 3, 4]
    assert office.outgoing.active == 0


def test_one_peer_has_so_many_answers_under_way(wire: Wire) -> None:
    office, other = Office(50), Wire()
    office.ask(wire, *range(40))
    office.ask(other, 50)
    assert [ids for ids, _ in office.open] == [[0], [1], [2], [3], [50]]
    wire.is_slow = True
    for _ in range(4):  # collected before the first of them congested the connection
        office.collected()
    assert [ids for ids, _ in office.open] == [[50]]
    wire.is_slow = False
    wire.drain()
    while office.open:
        office.collected()
    assert (wire.sent, other.sent) == (list(range(40)), [50])
    assert repr(office.outgoing) == "<Outgoing active=0 waiting=0>"


def test_one_that_is_congested_by_other_words_is_answered_when_it_is_not(wire: Wire) -> None:
    office = Office(1)
    wire.is_congested = True
    office.ask(wire, 1)
    assert not office.open
    wire.drain()
    office.collected()
    assert wire.sent == [1]


def test_a_connection_that_ends_while_values_are_collected(wire: Wire) -> None:
    office: Any = Office(1)
    office.ask(wire, 1)
    office.outgoing.lost(wire)
    office.collected()
    assert office.outgoing.active == 0
