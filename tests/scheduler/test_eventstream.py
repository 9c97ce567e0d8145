"""Events for those who look on: bounded, and only while somebody does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from windrow.scheduler import eventstream
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.eventstream import EventStream
from windrow.scheduler.plugins import SchedulerPlugins
from windrow.wire.messages import Call, Declare, Happened, HelloClient, HelloWorker, Submit
from windrow.wire.requests import Restart


class Ear:
    """The link of an observer."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.is_congested = False

    def send(self, messages: list[Happened]) -> None:
        self.heard += [event for message in messages for event in message.events]

    def names(self) -> list[str]:
        return [event["name"] for event in self.heard]


class Stage:
    """A bare core, its plugins, and the stream."""

    def __init__(self) -> None:
        self.core = SchedulerCore()
        self.plugins = SchedulerPlugins(self.core.state, None)  # type: ignore[arg-type]
        self.stream: Any = EventStream(self.plugins)
        self.ear = Ear()

    async def told(self) -> list[str]:
        self.core.flush()
        self.plugins.tell()
        await asyncio.sleep(0)
        return self.ear.names()


def test_nothing_is_noted_while_nobody_listens() -> None:
    async def main() -> None:
        stage = Stage()
        assert stage.core.state.news is None
        stage.stream.listen(stage.ear, True)
        client = stage.core.join(HelloClient("c"), 0.0)
        stage.core.join(HelloWorker("tcp://w", "w", 1), 0.0)
        stage.core.receive(client, [Declare(b"f", "f", b""), Submit(b"f", ["a", "b"], [b"", b""])], 0.0)
        stage.core.receive(client, [Call(1, Restart())], 0.0)
        assert stage.core.state.moves is None  # a task costs nothing
        assert await stage.told() == ["add_client", "add_worker", "update_graph", "restart"]
        assert stage.ear.heard[1]["worker"] == "tcp://w"
        assert stage.ear.heard[2]["tasks"] == 2
        stage.stream.forget(stage.ear)
        assert stage.core.state.news is None
        stage.core.lost(client, "", 0.0)
        assert len(await stage.told()) == 4

    asyncio.run(main())


def test_of_too_many_their_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventstream, "EVENTS_MAX", 2)

    async def main() -> None:
        stage = Stage()
        stage.stream.listen(stage.ear, True)
        for number in range(5):
            stage.core.join(HelloClient(f"c{number}"), 0.0)
        assert await stage.told() == ["add_client", "add_client", "dropped"]
        assert stage.ear.heard[2]["count"] == 3

    asyncio.run(main())


def test_who_takes_in_nothing_is_told_nothing() -> None:
    async def main() -> None:
        stage = Stage()
        stage.stream.listen(stage.ear, True)
        stage.ear.is_congested = True
        stage.core.join(HelloClient("c"), 0.0)
        assert await stage.told() == []

    asyncio.run(main())
