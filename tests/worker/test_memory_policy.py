"""Thresholds of memory: measured bytes in, marks and decisions out."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.worker.memory import Marks, MemoryOptions, Unmanaged, is_too_full, marks, transfer_bytes

OFF = MemoryOptions(target=None, spill=None, pause=None, terminate=None, transfer=None)


@pytest.mark.parametrize(
    ("options", "limit", "process", "managed", "expected"),
    [
        # Of a limit of 1000: target 600, spill 700, pause 800, as they are by default.
        (MemoryOptions(), 1000, 0, 0, Marks(600, 700, 600, 750)),
        (MemoryOptions(), 1000, 300, 200, Marks(600, 600, 500, 650)),
        (MemoryOptions(), 1000, 900, 100, Marks(600, 0, 0, 0)),  # all that is managed has to go
        (MemoryOptions(), 1000, 500, 900, Marks(600, 700, 600, 750)),  # sizes are estimates, and may be too large
        (MemoryOptions(), 0, 10**12, 10**12, Marks()),  # no limit
        (OFF, 1000, 900, 500, Marks()),
        (MemoryOptions(spill=None), 1000, 300, 200, Marks(600, inf, inf, 700)),
        (MemoryOptions(target=None), 1000, 300, 200, Marks(inf, 600, 600, 650)),
        (MemoryOptions(pause=None), 1000, 300, 200, Marks(600, 600, 500, inf)),
        (MemoryOptions(target=None, spill=None), 1000, 300, 200, Marks(inf, inf, inf, inf)),
        (MemoryOptions(pause=0.3), 1000, 300, 200, Marks(600, 600, 500, 600)),  # held back by pausing alone
    ],
)
def test_marks(options: MemoryOptions, limit: int, process: int, managed: int, expected: Marks) -> None:
    assert marks(options, limit, process, managed) == expected


@given(
    st.integers(1, 10**6),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.sampled_from([None, 0.2, 0.5, 0.9]),
    st.sampled_from([None, 0.3, 0.7]),
    st.sampled_from([None, 0.4, 0.8]),
)
def test_marks_keep_their_order(
    limit: int, process: int, managed: int, target: float | None, spill: float | None, pause: float | None
) -> None:
    found = marks(MemoryOptions(target=target, spill=spill, pause=pause), limit, process, managed)
    assert found.brim >= found.press, "nothing is held back for the sake of what nobody writes"
    assert min(found.target, found.start, found.stop, found.brim) >= 0
    assert found.stop <= found.start


@pytest.mark.parametrize(
    ("options", "limit", "process", "expected"),
    [
        (MemoryOptions(), 1000, 800, False),
        (MemoryOptions(), 1000, 801, True),
        (MemoryOptions(), 0, 10**12, False),
        (OFF, 1000, 10**12, False),
    ],
)
def test_when_a_worker_is_too_full(options: MemoryOptions, limit: int, process: int, expected: bool) -> None:
    assert is_too_full(options, limit, process) is expected


@pytest.mark.parametrize(
    ("options", "limit", "expected"), [(MemoryOptions(), 1000, 100), (MemoryOptions(), 0, inf), (OFF, 1000, inf)]
)
def test_transfers(options: MemoryOptions, limit: int, expected: float) -> None:
    assert transfer_bytes(options, limit) == expected


@pytest.mark.parametrize(
    ("options", "limit", "expected"),
    [
        (MemoryOptions(), 1000, True),
        (MemoryOptions(), 0, False),
        (MemoryOptions(target=None), 1000, True),
        (MemoryOptions(spill=None), 1000, True),
        (OFF, 1000, False),
    ],
)
def test_whether_values_go_to_disk(options: MemoryOptions, limit: int, expected: bool) -> None:
    assert options.spills(limit) is expected


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 100)), min_size=1), st.integers(1, 50))
def test_old_memory_is_the_least_that_was_seen_lately(steps: list[tuple[int, int]], recent_s: int) -> None:
    unmanaged, now_s, seen = Unmanaged(recent_s), 0, []
    for pause_s, nbytes in steps:
        now_s += pause_s
        seen.append((now_s, nbytes))
        assert unmanaged.old(now_s, nbytes) == min(size for then_s, size in seen if now_s - then_s <= recent_s)
