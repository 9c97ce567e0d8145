"""Threads wait while there is no room: who fills it, who empties it, who is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from windrow import config
from windrow.transport import Link, room
from windrow.transport.room import Room


class FakeLink:
    """Stands for a link: what waits in it is what a test says."""

    def __init__(self, waiting_bytes: int) -> None:
        self.waiting_bytes = waiting_bytes
        self.is_congested = waiting_bytes > 0
        self.on_drained = lambda: None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(config, "size_bytes", lambda key: {"windrow.backlog-limit": 100}[key])
    return Room()


@contextmanager
def waiting(full: Room) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=full.wait, args=("somebody",))
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_added_fills_it_and_what_is_taken_is_looked_for_in_the_link(small: Room) -> None:
    small.add(60)
    assert not small.is_full
    small.add(60)
    assert small.is_full
    small.taken()
    link = FakeLink(101)
    small.look(cast(Link, link))
    assert small.is_full
    with waiting(small) as thread:
        assert thread.is_alive()
        link.on_drained()
    assert not small.is_full
    small.add(60)
    assert not small.is_full


def test_a_link_with_little_in_it_makes_room(small: Room) -> None:
    small.add(101)
    small.taken()
    with waiting(small):
        small.look(cast(Link, FakeLink(100)))


def test_a_link_that_is_full_fills_it(small: Room) -> None:
    small.look(cast(Link, FakeLink(101)))
    assert small.is_full
    assert repr(small) == "<Room due=0 of 100 full>"


def test_who_waits_for_long_says_so(
    small: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "SLICE_S", 0.01)
    monkeypatch.setattr(room, "TELL_AFTER_S", 0.01)
    told = threading.Event()
    monkeypatch.setattr(room.logger, "warning", lambda *args: (logging.getLogger("x").warning(*args), told.set()))
    small.add(101)
    with waiting(small):
        assert told.wait(10)
        small.open()
    assert "somebody does not take what it is sent; threads that have more for it wait" in caplog.text
