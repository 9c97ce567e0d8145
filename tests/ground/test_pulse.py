"""The pulse of a loop: measured while somebody looks, and by nobody else paid for."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from windrow import pulse
from windrow.pulse import Pulse


async def ticks(beating: Pulse, count: int) -> dict[str, float]:
    async with asyncio.timeout(5.0):
        while (facts := beating.facts())["ticks"] < count:
            await asyncio.sleep(0)
    return facts


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY_S", 0.001)


@pytest.mark.usefixtures("fast")
def test_a_turn_that_takes_long_shows_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        beating = Pulse()
        await ticks(beating, 1)
        time.sleep(0.15)  # the loop stands still
        assert beating.facts()["tick_max_s"] >= 0.15  # before it turns again
        facts = await ticks(beating, 3)
        assert facts["tick_max_s"] >= 0.15
        monkeypatch.setattr(pulse, "RECENT_S", 0.0)
        assert (await ticks(beating, int(facts["ticks"]) + 4))["tick_max_s"] < 0.15
        beating.stop()

    asyncio.run(main())


@pytest.mark.usefixtures("fast")
def test_collections_take_time() -> None:
    async def main() -> None:
        beating = Pulse()
        gc.collect()
        assert beating.facts()["gc_s"] == 0.0  # nobody has looked
        gc.collect()
        assert beating.facts()["gc_s"] > 0.0
        beating.stop()

    asyncio.run(main())


@pytest.mark.usefixtures("fast")
def test_nobody_looks_and_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        before = list(gc.callbacks)
        beating = Pulse()
        assert gc.callbacks == before
        beating.facts()
        assert len(gc.callbacks) == len(before) + 1
        monkeypatch.setattr(pulse, "LASTS_S", 0.0)
        async with asyncio.timeout(5.0):
            while gc.callbacks != before:
                await asyncio.sleep(0)
        assert "stopped" in repr(beating)
        beating.stop()

    asyncio.run(main())
