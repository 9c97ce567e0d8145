"""The scheduler is asked no more often than once a second, however many look."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from windrow.observe import source
from windrow.transport import inproc
from windrow.wire.messages import Call, HelloObserver, Reply
from windrow.wire.requests import Identity, Overview


class FakeScheduler:
    """Answers what a source asks, and keeps what it was asked."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        near, self.link = inproc.pair(loop, loop, "scheduler")
        self.heard: list[Any] = []
        self.cpu_s = 0.0
        self.time = 0.0
        self.link.on_lost = lambda reason: None
        self.link.on_batch = self._take
        self.source = source.Source(near)

    def asked(self) -> int:
        return sum(type(message) is Call and type(message.request) is Identity for message in self.heard)

    def _take(self, messages: list[Any]) -> None:
        self.heard += messages
        metrics = {"time": self.time, "cpu_s": self.cpu_s}
        answers = {Identity: {"workers": {"w": {"pid": 1, "metrics": metrics}}}, Overview: {}}
        self.link.send([Reply(call.id, answers[type(call.request)]) for call in messages if type(call) is Call])


def test_all_who_look_at_a_time_share_an_answer() -> None:
    async def main() -> None:
        fake = FakeScheduler()
        snapshots = await asyncio.gather(*(fake.source.snapshot() for _ in range(20)))
        assert len({id(snapshot) for snapshot in snapshots}) == 1
        assert await fake.source.snapshot() is snapshots[0]  # a moment later
        assert fake.asked() == 1
        assert type(fake.heard[0]) is HelloObserver

    asyncio.run(main())


def test_nobody_looks_and_nothing_is_asked_later_it_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        fake = FakeScheduler()
        first = await fake.source.snapshot()
        assert first.cpu == {}  # measured once
        fake.cpu_s, fake.time = 3.0, 2.0
        monkeypatch.setattr(source, "FRESH_S", 0.0)
        assert (await fake.source.snapshot()).cpu == {"w": 1.5}
        assert (await fake.source.snapshot()).cpu == {"w": 1.5}  # no heartbeat since
        assert fake.asked() == 3

    asyncio.run(main())


def test_a_scheduler_that_goes_is_told_to_who_waits_and_to_who_comes_later() -> None:
    async def main() -> None:
        fake = FakeScheduler()
        fake.link.on_batch = lambda messages: fake.link.close()
        with pytest.raises(ConnectionError):
            await fake.source.snapshot()
        with pytest.raises(ConnectionError):
            await fake.source.snapshot()
        assert fake.source.ended.done()

    asyncio.run(main())


def test_a_scheduler_that_does_not_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        fake = FakeScheduler()
        monkeypatch.setattr(source, "ANSWER_S", 0.01)
        fake.link.on_batch = lambda messages: None
        with pytest.raises(TimeoutError):
            await fake.source.snapshot()
        monkeypatch.setattr(source, "ANSWER_S", 10)
        monkeypatch.setattr(source, "FRESH_S", 0.0)
        fake.link.on_batch = fake._take
        assert (await fake.source.snapshot()).overview == {}

    asyncio.run(main())
