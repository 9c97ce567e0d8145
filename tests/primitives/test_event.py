"""Events: the bare service, and what programs see."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from primitive_hall import LATE, WAITING
from primitive_tasks import in_thread, until

import windrow
from windrow import Client, Event
from windrow.primitives.event import Clear, IsSet, Set, Wait

SERVICE = "flags"

# ---------------------------------------------------------------- the bare service


def test_set_lets_all_go_who_wait(hall):
    a, b = hall.client(), hall.client()
    waiting = [hall.ask(client, Wait("e")) for client in (a, b, a)]
    other = hall.ask(a, Wait("other"))
    assert [hall.now(call) for call in waiting] == [WAITING] * 3
    hall.ask(b, Set("e"))
    assert [hall.now(call) for call in waiting] == [True] * 3
    assert hall.now(other) == WAITING
    assert hall.now(hall.ask(a, Wait("e"))) is True
    assert hall.now(hall.ask(a, IsSet("e"))) is True


def test_clear(hall):
    a = hall.client()
    hall.ask(a, Set("e"))
    hall.ask(a, Clear("e"))
    hall.ask(a, Clear("e"))
    assert hall.now(hall.ask(a, IsSet("e"))) is False
    assert hall.now(hall.ask(a, Wait("e"))) == WAITING


def test_withdrawn(hall):
    a = hall.client()
    first, second = hall.ask(a, Wait("e")), hall.ask(a, Wait("e"))
    hall.withdraw(first)
    assert (hall.now(first), hall.now(second)) == (LATE, WAITING)
    hall.withdraw(second)
    assert hall.records.waiting == {}, "what nobody waits for is forgotten"


def test_an_event_stays_set_when_its_client_goes_and_a_waiting_one_is_forgotten(hall):
    a, b = hall.client("a"), hall.client("b")
    hall.ask(a, Set("e"))
    hall.ask(a, Wait("f"))
    hall.leave(a)
    assert hall.now(hall.ask(b, IsSet("e"))) is True
    assert hall.records.waiting == {}


def test_its_invariants_notice_what_is_wrong(hall):
    hall.ask(hall.client(), Wait("e"))
    hall.records.set["e"] = None
    with pytest.raises(AssertionError, match="is set, and waited for"):
        hall.records.check()


# ---------------------------------------------------------------- the object


@pytest.fixture
def event(client):
    event = Event("e")
    yield event
    event.clear()


def test_set_and_clear(event):
    assert event.is_set() is False
    assert event.wait(timeout=0) is False
    assert event.wait(timeout="10 ms") is False
    event.set()
    assert (event.is_set(), event.wait(), event.wait(0), Event("e").is_set()) == (True, True, True, True)
    event.clear()
    assert event.is_set() is False


def test_wait_in_a_thread(event):
    waits = in_thread(event.wait)
    event.set()
    assert waits() is True


def test_without_a_client():
    with pytest.raises(RuntimeError, match=r"make a Client\(\) first"):
        Event("e").set()


def test_pickles_by_name():
    copy = pickle.loads(pickle.dumps(Event("e")))
    assert (copy.name, repr(copy)) == ("e", "<Event: e>")


def test_more_tasks_wait_than_there_are_threads(client, event):
    def wait(number):
        assert windrow.Event("e").wait(timeout=20)
        return number

    futures = client.map(wait, range(12))
    until(lambda: client.run_on_scheduler(_waiting) == 12, "all wait at once, and leave their threads to others")
    client.submit(event.set, pure=False).result(20)
    assert client.gather(futures) == list(range(12))


def _waiting(dask_scheduler):
    return sum(len(waiting) for waiting in dask_scheduler.core.desk.services["flags"].waiting.values())


async def _asynchronous(address):
    async with Client(address, asynchronous=True) as client:
        event = await Event("e", client)
        waits = [asyncio.ensure_future(event.wait()) for _ in range(3)]
        assert await event.wait(timeout=0.01) is False
        await event.set()
        assert await asyncio.gather(*waits) == [True] * 3
        assert await event.is_set() is True
        await event.clear()


def test_asynchronous_client(cluster):
    asyncio.run(_asynchronous(cluster.scheduler_address))


def test_another_process(client, event, program):
    other = program("print('waits'); print(Event('e').wait()); input()")
    assert other.line() == "waits"
    event.set()
    assert other.line() == "True"
