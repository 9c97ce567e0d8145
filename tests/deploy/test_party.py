"""What runs in a process of a cluster manager's: specifications into parties, their start, their end."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from windrow.deploy import party
from windrow.deploy.party import Order
from windrow.deploy.process_interface import ProcessInterface
from windrow.system import cpu_count


class Recorded(ProcessInterface):
    """A party that writes down what becomes of it."""

    def __init__(self, told: list[str], label: str, error: Exception | None = None) -> None:
        super().__init__(None, label)
        self.told = told
        self.error = error

    async def start(self) -> None:
        if self.error is not None:
            raise self.error
        await super().start()

    async def close(self) -> None:
        self.told.append(f"close {self.name}")
        await super().close()

    def expect_end(self) -> None:
        self.told.append(f"expect {self.name}")


class Leading(Recorded):
    """One that others depend on."""

    on_shutdown: Any = None


def test_parties_live_until_all_have_ended() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        parties = {label: Recorded(told, label) for label in "ab"}

        def started() -> None:
            told.append("started")
            for one in parties.values():
                one._finished.set()

        await party.run(parties, asyncio.Event(), started)
        return told

    assert asyncio.run(run()) == ["started", "expect a", "expect b", "close a", "close b"]


def test_who_depends_on_others_goes_first() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        scheduler = Leading(told, "scheduler")
        stopping = asyncio.Event()
        await party.run({"s": scheduler, "w": Recorded(told, "worker")}, stopping, lambda: scheduler.on_shutdown())
        assert stopping.is_set()
        return told

    assert asyncio.run(run())[2:] == ["close worker", "close scheduler"]


def test_one_that_cannot_start_closes_all() -> None:
    told: list[str] = []

    async def run() -> None:
        await party.run({"a": Recorded(told, "a"), "b": Recorded(told, "b", ValueError("no room"))}, asyncio.Event())

    with pytest.raises(ValueError, match="no room"):
        asyncio.run(run())
    assert {"close a", "close b"} <= set(told)


def test_a_stop_does_not_wait_for_a_start() -> None:
    class Slow(Recorded):
        def __await__(self) -> Generator[Any, None, Any]:
            return asyncio.Event().wait().__await__()

    async def run() -> list[str]:
        told: list[str] = []
        stopping = asyncio.Event()
        stopping.set()
        await party.run({"a": Slow(told, "a")}, stopping, lambda: told.append("started"))
        return told

    assert asyncio.run(run()) == ["expect a", "close a"]


@pytest.mark.parametrize("options", [{}, {"nthreads": 1}])
def test_workers_of_a_scheduler_elsewhere_listen_where_it_reaches_them(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windrow.addressing.own_ip", lambda towards: f"10.0.0.9 towards {towards}")
    far = Order({"w": {"cls": "windrow.Worker", "options": dict(options)}}, "tcp://10.0.0.1:8786")
    party._within_reach(far)
    assert far.parties["w"]["options"] == {**options, "host": "10.0.0.9 towards 10.0.0.1"}


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [("tcp://127.0.0.1:1", {}), ("tcp://10.0.0.1:1", {"host": "h"}), ("tcp://10.0.0.1:1", {"interface": "eth0"})],
)
def test_where_workers_listen_is_left_to_who_says_so(scheduler: str, options: dict[str, Any]) -> None:
    order = Order({"w": {"cls": "windrow.Worker", "options": dict(options)}}, scheduler)
    party._within_reach(order)
    assert order.parties["w"]["options"] == options


def test_several_workers_share_the_cores() -> None:
    order = Order({label: {"cls": "windrow.Worker", "options": {}} for label in "ab"})
    order.parties["b"]["options"]["nthreads"] = 7
    party._share(order)
    assert [one["options"]["nthreads"] for one in order.parties.values()] == [max(1, cpu_count() // 2), 7]
