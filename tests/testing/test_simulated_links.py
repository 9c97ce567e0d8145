"""Links of the simulated network: what a seed can do to them, and the real sessions over them.

What they have in common with all other transports is in ``tests/transport/test_links.py``, which runs on them too.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from random import Random
from typing import Any

import pytest

from windrow import schemes, transport
from windrow.testing.links import SimulatedLink, SimulatedNetwork, pair
from windrow.testing.loop import VirtualLoop
from windrow.testing.network import Clock
from windrow.transport.lasting import Reception
from windrow.wire.messages import Close, Heartbeat, Reply, Run, TaskId

PATIENCE_S = 30.0


def two_ends(seed: int = 1) -> tuple[Clock, SimulatedLink, SimulatedLink, list[list[Any]]]:
    """Two ends, and what has arrived at the second."""
    clock = Clock()
    near, far = pair(clock, Random(seed), 0.01)
    arrived: list[list[Any]] = []
    far.on_batch = arrived.append
    near.on_batch = lambda batch: None
    return clock, near, far, arrived


def test_messages_arrive_equal_and_are_others() -> None:
    clock, near, _, arrived = two_ends()
    message = Run(TaskId(1), 2, "k", 3, b"args", inputs=[TaskId(4)], where={TaskId(4): (9, ["tcp://a"])})
    near.send([message, Close("bye")])
    while clock.step():
        pass
    assert arrived == [[message, Close("bye")]]
    assert arrived[0][0] is not message


def test_what_is_changed_after_it_was_sent_arrives_as_it_was() -> None:
    clock, near, _, arrived = two_ends()
    beat = Heartbeat({"n": 1.0})
    near.send([beat])
    beat.metrics["n"] = 2.0
    clock.step()
    assert arrived[0][0].metrics == {"n": 1.0}


def test_what_is_under_way_when_a_connection_is_severed_is_lost_and_nobody_is_told() -> None:
    clock, near, far, arrived = two_ends()
    lost: list[str] = []
    near.on_lost = far.on_lost = lost.append
    near.send([Close("under way")])
    near.sever()
    near.send([Close("too late")])
    while clock.step():
        pass
    assert (arrived, lost) == ([], [])


def test_a_reset_is_noticed_by_both_sides_each_in_its_own_time() -> None:
    clock, near, far, _ = two_ends()
    noticed: list[tuple[str, float]] = []
    near.on_lost = lambda reason: noticed.append((reason, clock.now_s))
    far.on_lost = lambda reason: noticed.append((reason, clock.now_s))
    near.reset()
    while clock.step():
        pass
    assert [reason for reason, _ in noticed] == ["the connection broke"] * 2
    assert 0 < noticed[0][1] < noticed[1][1] <= 0.01


def test_who_is_stopped_hears_nothing_not_even_the_end_until_it_goes_on() -> None:
    clock, near, far, arrived = two_ends()
    lost: list[str] = []
    far.on_lost = lost.append
    far.stop()
    near.send([Close("1")])
    near.close()
    clock.step()
    clock.step()
    assert (arrived, lost) == ([], [])
    far.go_on()
    while clock.step():
        pass
    assert (arrived, lost) == ([[Close("1")]], [""])


def test_nobody_is_reached_who_does_not_listen() -> None:
    network = SimulatedNetwork(Clock(), Random(1))
    with pytest.raises(TimeoutError, match="nobody is reached at sim://nowhere"):
        asyncio.run(network.connect("nowhere", secret=None, timeout_s=1.0))
    asyncio.run(network.listen("here", print, secret=None))
    with pytest.raises(OSError, match="is taken"):
        asyncio.run(network.listen("here", print, secret=None))


# ---------------------------------------------------------------- the real sessions, by seed


def play(seed: int) -> str:
    """Send both ways over a session whose connections break, stall and are refused; return a digest of the run."""
    rng = Random(seed)
    loop = VirtualLoop(Clock())
    network = SimulatedNetwork(loop.clock, rng, 0.02)
    ways: list[Way] = []

    async def begin() -> None:
        reception = Reception(lambda link: ways.append(Way(link, rng)))
        listener = await transport.listen("sim://scheduler", reception.accept, secret=None)
        link = await transport.connect(listener.address, secret=None, patience_s=PATIENCE_S)
        ways.insert(0, Way(link, rng))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemes, "_backends", {**schemes._backends, "sim": network})
        loop.run(begin(), 5.0)
        for _ in range(rng.randrange(5, 40)):
            loop.clock.after(rng.random() * 20.0, lambda: rng.choice([trouble, say, say])(network, ways, rng))
        loop.run_until(lambda: loop.clock.now_s > 20.0, 100.0)
        network.is_down = False
        for near, far in network.connections:
            near.go_on()
            far.go_on()
        assert len(ways) == 2, "one session"
        one, other = ways
        one.say()  # what arrives from here on shows that the connection stands again
        other.say()
        loop.run_until(lambda: one.has_all_of(other) and other.has_all_of(one), 200.0)
        one.link.close()
        loop.run_until(lambda: one.lost and other.lost, 100.0)
    assert one.lost == other.lost == [""]
    assert one.arrived == list(range(other.sent))
    assert other.arrived == list(range(one.sent))
    facts = (loop.clock.steps, loop.clock.now_s, one.sent, other.sent, len(network.connections))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


class Way:
    """One side of a session: what it has sent, and what has arrived."""

    def __init__(self, link: transport.Link, rng: Random) -> None:
        self.link, self.rng = link, rng
        self.sent = 0
        self.arrived: list[int] = []
        self.lost: list[str] = []
        link.on_lost = self.lost.append
        link.on_batch = self._take

    def _take(self, batch: list[Any]) -> None:
        self.arrived += [message.id for message in batch]

    def has_all_of(self, other: Way) -> bool:
        return len(self.arrived) == other.sent

    def say(self) -> None:
        for _ in range(self.rng.choice([1, 3, 100])):
            words = b"x" * self.rng.choice([1, 1, 30_000])
            count = self.rng.randrange(1, 4)
            self.link.send([Reply(self.sent + n, value=words) for n in range(count)])
            self.sent += count


def say(network: SimulatedNetwork, ways: list[Way], rng: Random) -> None:
    rng.choice(ways).say()


def trouble(network: SimulatedNetwork, ways: list[Way], rng: Random) -> None:
    """Break the last connection, seen or unseen, or stop one of its sides, or have nobody connect for a while."""
    ends = rng.choice(network.connections[-2:])
    what = rng.choice(["reset", "sever", "stop", "down"])
    if what == "reset":
        ends[0].reset()
    elif what == "sever":
        ends[0].sever()
    elif what == "stop":
        stopped = rng.choice(ends)
        stopped.stop()
        network.clock.after(rng.random() * 10.0, stopped.go_on)
    else:
        network.is_down = True
        network.clock.after(rng.random() * 10.0, lambda: setattr(network, "is_down", False))


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_sessions_lose_nothing_and_bring_nothing_twice(first: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    for seed in range(first, first + 10):
        assert play(seed) == play(seed), f"seed {seed}: chance that is not the seed's"
    assert caplog.text == ""
