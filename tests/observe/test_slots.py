"""A long stream of boxes in several column sources: nothing twice, the latest first, no more than is allowed."""

from __future__ import annotations

import random

import pytest

from windrow.observe.plots.slots import BATCH_ROWS, OPENING_ROWS, SLOT_ROWS, Put, Slots


class Sources:
    """What column sources hold that do as they are told."""

    def __init__(self, limit: int) -> None:
        self.slots = Slots(limit)
        self.rows: list[list[int]] = [[] for _ in range(self.slots.count)]

    def turn(self, first: int, end: int) -> list[Put]:
        puts = self.slots.put(first, end)
        for put in puts:
            held = self.rows[put.slot]
            if put.anew:
                held.clear()
            held += range(put.start, put.stop)
        if self.slots.count == 1:
            del self.rows[0][: -self.slots.limit]
        return puts

    @property
    def shown(self) -> list[int]:
        return sorted(row for held in self.rows for row in held)


def test_a_page_opens_with_the_latest_rows_and_the_others_follow() -> None:
    sources = Sources(100_000)
    sources.turn(0, 60_000)
    assert sources.shown == [*range(60_000 - OPENING_ROWS, 60_000)]
    sources.turn(0, 60_000)
    assert sources.shown == [*range(60_000 - OPENING_ROWS - BATCH_ROWS, 60_000)]
    for _ in range(20):
        sources.turn(0, 60_000)
    assert sources.shown == [*range(60_000)]
    assert sources.turn(0, 60_000) == []


@pytest.mark.parametrize("limit", [1_000, SLOT_ROWS + 1, 35_000, 100_000])
def test_whatever_comes_nothing_is_there_twice_and_the_latest_are_all_there(limit: int) -> None:
    chance = random.Random(limit)
    sources, end = Sources(limit), 70_000
    for _ in range(120):
        end += chance.choice([0, 10, 1_000, 4_000])
        sources.turn(max(0, end - limit - 3_000), end)
        shown = sources.shown
        assert len(set(shown)) == len(shown) <= limit + sources.slots.count
        kept = min(limit - limit // sources.slots.count if sources.slots.count > 1 else limit, OPENING_ROWS)
        assert shown[-min(kept, 1_000) :] == [*range(end - min(kept, 1_000), end)]
    if sources.slots.count > 1:
        assert len(sources.shown) >= limit - 2 * (limit // sources.slots.count) - 2


def test_a_stream_that_begins_anew_empties_what_was_there() -> None:
    sources = Sources(30_000)
    for end in (20_000, 20_000, 26_000, 33_000):
        sources.turn(0, end)
    sources.turn(0, 50)
    assert sources.shown == [*range(50)]


def test_a_short_stream_is_in_one_source() -> None:
    slots = Slots(1_000)
    assert slots.count == 1
    assert slots.put(0, 5_000) == [Put(0, 4_000, 5_000, anew=True)]
    assert slots.put(4_000, 5_020) == [Put(0, 5_000, 5_020, anew=False)]
