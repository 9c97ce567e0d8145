"""The pool: what is used again, when not, and what is let go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import dask.config
import pytest

from windrow import memfd, segments
from windrow.segments import COARSE, Owned, Pool, capacity_for

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")

KIB = 1024
MIB = 1024 * KIB


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


MakePool = Callable[..., Pool]


@pytest.fixture
def new_pool(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePool]:
    pools: list[Pool] = []
    monkeypatch.setattr(Pool, "_start_sweeper", lambda self: None)  # the test sweeps

    def make(idle_bytes_max: float = 64 * MIB, **options: float) -> Pool:
        pools.append(Pool(idle_bytes_max, clock=clock, **options))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def put(pool: Pool, *parts: bytes) -> Owned:
    owned = pool.put([memoryview(part) for part in parts])
    assert owned is not None
    return owned


def test_what_was_put_is_there(new_pool: MakePool) -> None:
    parts = [b"first", b"", b"x" * 100_000, b"last"]
    owned = put(new_pool(), *parts)
    assert [bytes(part) for part in owned.view().parts([len(part) for part in parts])] == parts


@pytest.mark.parametrize("size", [1, 4095, 4096, 64 * KIB, 2 * MIB - 4096, 2 * MIB, 5 * MIB + 1])
def test_all_sizes_come_through_first_and_again(new_pool: MakePool, size: int) -> None:
    pool = new_pool()
    for byte in (b"a", b"b"):
        owned = put(pool, byte * size)
        part = owned.view().parts([size])[0]
        assert bytes(part) == byte * size
        del part, owned
    assert repr(pool).startswith("<Pool in use: 0, idle: 1,")


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of some MiB are copied by several threads already."""
    monkeypatch.setattr(segments, "SHARE_BYTES", 2 * MIB)
    monkeypatch.setattr(segments, "_copiers_max", lambda: 3)


def uneven() -> list[bytes]:
    return [os.urandom(size) for size in (100, 3 * MIB + 1, 0, 70_000, 4 * MIB - 7, 12_345)]


@pytest.mark.usefixtures("several")
def test_what_several_threads_copy_is_whole(new_pool: MakePool) -> None:
    pool = new_pool()
    for _ in range(2):
        parts = uneven()
        owned = put(pool, *parts)
        assert [bytes(part) for part in owned.view().parts([len(part) for part in parts])] == parts
        del owned


@pytest.mark.usefixtures("several")
def test_a_segment_may_hold_more_than_before() -> None:
    """Its first pages are huge already, the others are to be made yet."""
    segment = segments.Segment(memfd.create(32 * MIB), 32 * MIB)
    segment.fill([memoryview(bytes(3 * MIB))], 3 * MIB + 4096)
    assert segment.touched == 4 * MIB
    parts = uneven()
    lengths = [len(part) for part in parts]
    segment.fill([memoryview(part) for part in parts], memfd.offsets(lengths)[1])
    assert segment.touched == 8 * MIB
    assert [bytes(part) for part in memfd.View(segment.fd, segment.touched).parts(lengths)] == parts
    segment.close()


@pytest.mark.usefixtures("several")
def test_where_no_thread_can_be_started_one_copies_all(new_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(segments.ThreadPoolExecutor, "submit", refuse)
    parts = uneven()
    owned = put(new_pool(), *parts)
    assert [bytes(part) for part in owned.view().parts([len(part) for part in parts])] == parts


def test_a_segment_is_used_again(new_pool: MakePool) -> None:
    pool = new_pool()
    first = put(pool, b"x" * 100_000)
    segment, generation = first.segment, first.generation
    del first
    again = put(pool, b"y" * 99_000)
    assert again.segment is segment
    assert again.generation == generation + 1


def test_not_while_it_is_in_use(new_pool: MakePool) -> None:
    pool = new_pool()
    first = put(pool, b"x" * 100_000)
    assert put(pool, b"y" * 100_000).segment is not first.segment


def test_not_while_somebody_reads_it(new_pool: MakePool) -> None:
    pool = new_pool()
    first = put(pool, b"x" * 100_000)
    segment, part = first.segment, first.view().parts([100_000])[0]
    del first
    second = put(pool, b"y" * 100_000)
    assert second.segment is not segment
    assert bytes(part) == b"x" * 100_000
    del part
    assert put(pool, b"z" * 100_000).segment is segment


def test_the_tightest_one_that_fits_is_taken_and_none_that_is_far_too_large(new_pool: MakePool) -> None:
    pool = new_pool()
    owned = [put(pool, b"x" * size) for size in (100 * KIB, 150 * KIB, 1000 * KIB)]
    middle = owned[1].segment
    owned.clear()
    assert put(pool, b"y" * 120 * KIB).segment is middle
    assert put(pool, b"y" * 300 * KIB).segment.capacity < 1000 * KIB


@pytest.mark.parametrize("size", [5000, 70_000, 10**6, 3 * MIB, 2**28 + 4096])
def test_little_of_a_capacity_is_more_than_is_needed(size: int) -> None:
    capacity = capacity_for(size)
    assert size <= capacity <= size * (1 + 1 / COARSE) + max(4096, 2 * MIB if size >= 2 * MIB else 0)


def test_no_more_lies_idle_than_may(new_pool: MakePool) -> None:
    pool = new_pool(idle_bytes_max=250 * KIB)
    owned = [put(pool, b"x" * 100 * KIB) for _ in range(5)]
    last = owned[-1].segment
    while owned:
        owned.pop(0)
    pool.sweep()
    assert pool.bytes <= 250 * KIB
    assert last in pool._idle


def test_with_no_room_nothing_lies_idle(new_pool: MakePool) -> None:
    pool = new_pool(idle_bytes_max=0)
    put(pool, b"x" * 100 * KIB)
    pool.sweep()
    assert pool.bytes == 0


def test_what_lies_idle_for_long_is_let_go(new_pool: MakePool, clock: Clock) -> None:
    pool = new_pool(idle_s=10.0)
    first, second = put(pool, b"x" * 100 * KIB), put(pool, b"x" * 100 * KIB)
    del first
    assert pool.sweep() == 10.0
    clock.now_s += 6
    del second
    assert pool.sweep() == 4.0
    clock.now_s += 5
    assert pool.sweep() == 5.0
    assert len(pool._segments) == 1
    clock.now_s += 5
    assert pool.sweep() is None
    assert not pool._segments


def test_when_memory_is_short_all_that_is_idle_goes_and_what_is_in_use_stays(new_pool: MakePool) -> None:
    pool = new_pool()
    kept, freed = put(pool, b"x" * 100 * KIB), put(pool, b"y" * 100 * KIB)
    del freed
    assert pool.give_back() > 100 * KIB
    assert repr(pool).startswith("<Pool in use: 1, idle: 0,")
    assert bytes(kept.view().parts([3])[0]) == b"xxx"


def test_who_reads_keeps_what_was_let_go(new_pool: MakePool) -> None:
    pool = new_pool()
    owned = put(pool, b"x" * 100 * KIB)
    part = owned.view().parts([100 * KIB])[0]
    del owned
    pool.give_back()
    assert bytes(part) == b"x" * 100 * KIB


def test_there_are_no_more_segments_than_may_be(new_pool: MakePool) -> None:
    pool = new_pool(count_max=2)
    first, second = put(pool, b"x"), put(pool, b"y")
    assert pool.put([memoryview(b"z")]) is None
    del second
    third = put(pool, b"z" * MIB)  # an idle one that does not fit goes in favour of one that does
    assert len(pool._segments) == 2
    del first, third


def test_without_descriptors_or_memory_there_is_none(new_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise OSError(24, "too many open files")

    pool = new_pool()
    with monkeypatch.context() as patch:
        patch.setattr(memfd, "create", refuse)
        assert pool.put([memoryview(b"x")]) is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        assert pool.put([memoryview(b"x")]) is None
    assert not pool._segments
    put(pool, b"x")


def test_without_huge_pages_all_works_as_well(new_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memfd.View, "collapse", lambda self, start, end: False)
    monkeypatch.setattr(segments._huge, "works", True)
    pool = new_pool()
    for byte in (b"a", b"b"):
        owned = put(pool, byte * 5 * MIB)
        assert bytes(owned.view().parts([5 * MIB])[0]) == byte * 5 * MIB
        del owned
    assert not segments._huge.works


def test_nothing_stays_open(new_pool: MakePool, clock: Clock) -> None:
    pool = new_pool()
    before, held = len(os.listdir("/proc/self/fd")), memfd.held.total()
    for round in range(20):
        owned = [put(pool, bytes(50_000 * (1 + number))) for number in range(5)]
        views = [each.view() for each in owned]
        del owned, views
        clock.now_s += round
    pool.give_back()
    assert len(os.listdir("/proc/self/fd")) == before
    assert memfd.held.total() == held


def test_a_fork_has_a_pool_of_its_own() -> None:
    owned = segments.pool().put([memoryview(b"x" * 100_000)])
    assert owned is not None
    part = owned.view().parts([100_000])[0]
    pid = os.fork()
    if not pid:
        code = 1
        try:
            other = segments.pool().put([memoryview(b"y" * 100_000)])
            assert other is not None
            assert other.segment.inode != owned.segment.inode
            assert not os.path.exists(f"/proc/self/fd/{owned.segment.fd}") or other.segment.fd == owned.segment.fd
            assert bytes(part) == b"x" * 100_000
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(owned.view().parts([100_000])[0]) == b"x" * 100_000
    del owned, part


def test_it_can_be_switched_off() -> None:
    assert segments.token()
    with dask.config.set({"windrow.shared-memory.enabled": False}):
        assert segments.token() == ""


@pytest.mark.parametrize("fraction", [True, "much", -0.1, 1.5, None])
def test_a_fraction_that_makes_no_sense_is_refused(fraction: object) -> None:
    with dask.config.set({"windrow.shared-memory.idle-fraction": fraction}):
        with pytest.raises(ValueError, match="idle-fraction"):
            segments.bound_to(MIB)
