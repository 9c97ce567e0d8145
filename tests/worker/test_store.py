"""The store: what is held, and what waits to be let go outside the lock."""

from __future__ import annotations

import builtins
import gc
import itertools
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from windrow.wire.blobs import Shared
from windrow.wire.messages import TaskId
from windrow.worker.memory import Marks
from windrow.worker.store import Elsewhere, Packed, Store


class Value:
    """Something that can be watched."""


def test_what_is_dropped_lives_until_it_is_taken() -> None:
    store = Store()
    value = Value()
    alive = weakref.ref(value)
    store[1] = value
    del value
    store.drop([1, 2])
    assert 1 not in store
    assert alive() is not None
    store.take_dropped()
    gc.collect()
    assert alive() is None
    assert store.take_dropped() == []


def test_what_is_overwritten_is_dropped() -> None:
    store = Store()
    store[1] = "old"
    store.receive(1, b"new")
    assert store.take_dropped() == ["old"]
    packed = store[1]
    assert type(packed) is Packed
    assert packed.blob == b"new"


def test_an_unpacked_value_takes_the_place_of_its_own_blob_only() -> None:
    store = Store()
    store.receive(1, b"first")
    first = store[1]
    assert type(first) is Packed
    store.receive(1, b"second")
    store.unpacked(1, first, "first")
    assert type(store[1]) is Packed
    second = store[1]
    assert type(second) is Packed
    store.unpacked(1, second, "second")
    assert store[1] == "second"


def test_absent_names_the_first_that_is_not_held() -> None:
    store = Store()
    store[1] = None  # None is a value like any other
    assert store.absent([TaskId(1)]) is None
    assert store.absent([TaskId(1), TaskId(3), TaskId(2)]) == 3


# ---------------------------------------------------------------- sizes


def test_sizes_are_kept_of_what_is_no_crumb() -> None:
    store = filled(a := 5000, b := 2000)
    store[9] = "crumb"
    store.receive(8, bytes(4000))
    store.receive(7, b"crumb")
    assert store.managed == a + b + 4000
    assert [store.size(id) for id in (0, 1, 7, 8, 9, 99)] == [a, b, 0, 4000, 0, 0]
    store.drop([0, 7, 9])
    assert store.managed == b + 4000
    store.receive(8, bytes(1500))  # in the place of the other
    assert store.managed == b + 1500
    store.check()


def filled(*sizes: int, marks: Marks | None = None) -> Store:
    """Values 0, 1, … of these sizes; each is a list of its own."""
    store = Store()
    if marks is not None:
        store.set_marks(marks)
    for id, nbytes in enumerate(sizes):
        store[id] = [id]
        store.count(id, nbytes)
    return store


def test_when_something_is_to_be_done_about_what_comes() -> None:
    store = filled(4000)
    store.set_marks(Marks(target=6000), step=1000)
    assert (store.watch, store.measure_at) == (5000, 5000)
    store.set_marks(Marks(target=3000), step=1000)
    assert (store.watch, store.measure_at) == (3000, 5000)


# ---------------------------------------------------------------- what goes


class File(Elsewhere):
    """Stands for a value that is nowhere."""

    __slots__ = ()


def goes(store: Store, room: float = float("inf")) -> int | None:
    """One value goes to disk; return its id."""
    going = store.next_out(room)
    if going is None:
        return None
    store.went_out(File(store.size(going[0])))
    store.check()
    return going[0]


def test_the_least_recently_used_goes_first_down_to_the_target() -> None:
    store = filled(2000, 2000, 2000, 2000, marks=Marks(target=5000))
    store.used([0, 1])
    assert [goes(store), goes(store), goes(store)] == [2, 3, None]
    assert (store.managed, store.elsewhere) == (4000, 4000)
    assert isinstance(store[2], File)
    assert store[1] == [1]


def test_a_process_that_is_too_large_goes_on_until_it_is_small_enough() -> None:
    store = filled(2000, 2000, 2000, 2000, marks=Marks(start=7000, stop=3000))
    assert [goes(store) for _ in range(4)] == [0, 1, 2, None]
    store[9] = []
    store.count(9, 4000)  # between the two marks: nothing goes before it is beyond the upper one
    assert goes(store) is None


def test_what_is_read_back_is_live_and_goes_again_without_being_written() -> None:
    store = filled(2000, 2000, marks=Marks(target=2500))
    assert goes(store) == 0
    marker = store[0]
    assert isinstance(marker, File)
    store.unpacked(0, marker, [0])
    assert store[0] == [0]
    assert store.next_out() == (1, [1])  # as the other was used later
    store.went_out(File(2000))
    store.unpacked(1, store.files[1], [1])
    assert store.next_out() is None, "0 leaves memory, and need not be written"
    assert store[0] is marker
    store.check()


def test_what_was_freed_while_it_was_written_is_not_kept() -> None:
    store = filled(2000, 2000, marks=Marks(target=1000))
    assert store.next_out() == (0, [0])
    store.drop([0])
    store.went_out(marker := File(2000))
    assert 0 not in store
    assert marker not in store.files.values()
    assert store.managed == 2000
    store.check()


def test_what_was_made_anew_while_it_was_written_stays() -> None:
    store = filled(2000, marks=Marks(target=1000))
    assert store.next_out() == (0, [0])
    store.drop([0])
    store[0] = "anew"
    store.count(0, 2000)
    store.went_out(File(2000))
    assert store[0] == "anew"
    store.check()


def test_what_cannot_be_written_is_not_tried_again() -> None:
    store = filled(2000, 2000, marks=Marks(target=1000))
    assert store.next_out() == (0, [0])
    store.cannot_go(for_good=True)
    assert goes(store) == 1
    assert goes(store) is None
    assert store.tried_all
    assert store.managed == 2000
    store.drop([0])
    assert store.managed == 0
    store.check()


def test_what_does_not_fit_on_disk_is_passed_over() -> None:
    store = filled(5000, 2000, 3000, marks=Marks(target=1000))
    assert [goes(store, 3000), goes(store, 3000), goes(store, 3000)] == [1, 2, None]


def test_no_task_starts_at_the_brim_while_something_can_go() -> None:
    store = filled(2000, 2000, marks=Marks(target=1000, brim=3000))
    assert store.is_brimful
    store.next_out()
    store.cannot_go(for_good=False)
    assert not store.is_brimful, "nobody waits for what does not go"
    store[2] = []
    store.count(2, 2000)
    assert store.is_brimful, "a new value may be worth another try"
    assert [goes(store), goes(store)] == [0, 1]
    assert not store.is_brimful


def test_nobody_waits_for_a_disk_that_is_left_alone() -> None:
    store = filled(2000, 2000, marks=Marks(target=1000, brim=3000))
    store.block(True)
    store[2] = []
    store.count(2, 2000)
    assert not store.is_brimful
    store.block(False)
    assert store.is_brimful


def test_a_marker_of_a_value_elsewhere_counts_as_elsewhere() -> None:
    store = Store()
    store.put_elsewhere(1, File(500))
    store.put_elsewhere(1, File(700))
    assert (store.elsewhere, store.managed, store.size(1)) == (700, 0, 700)
    store.check()
    store.drop([1])
    assert store.elsewhere == 0
    assert not store.files


Steps = st.lists(
    st.tuples(
        st.sampled_from(["hold", "receive", "drop", "use", "begin", "end", "fail", "stuck", "read", "mark"]),
        st.integers(0, 5),
        st.integers(1, 9),
    ),
    max_size=80,
)


@given(Steps)
def test_whatever_happens_each_value_is_what_it_was(steps: list[tuple[str, int, int]]) -> None:
    store, model, versions = Store(), dict[int, object](), itertools.count()
    contents: dict[int, object] = {}
    """What each marker's file holds, by the marker's identity."""
    kept: list[Elsewhere] = []
    going: tuple[int, object] | None = None
    for step, id, size in steps:
        if step == "hold" and id not in store:
            store[id] = model[id] = ["value", next(versions)]
            store.count(id, 1000 * size + 24)
        elif step == "receive":
            blob = bytes([next(versions) % 256]) * 1000 * size
            store.receive(id, blob)
            model[id] = blob
        elif step == "drop":
            store.drop([id])
            model.pop(id, None)
        elif step == "use":
            store.used([id, id + 1])
        elif step == "mark":
            store.set_marks(Marks(1000 * size, 2000 * size, 500 * size, 3000 * size))
        elif step == "begin" and going is None:
            going = store.next_out(1000 * (size + 3))
        elif step == "end" and going is not None:
            value = going[1]
            marker = File(store.size(going[0]) or 1)
            kept.append(marker)
            contents[builtins.id(marker)] = value.blob if isinstance(value, Packed) else value
            store.went_out(marker)
            going = None
        elif step in ("fail", "stuck") and going is not None:
            store.cannot_go(for_good=step == "stuck")
            going = None
        elif step == "read" and isinstance(store.get(id), Elsewhere):
            marker = store.files[id]
            store.unpacked(id, marker, contents[builtins.id(marker)])
        store.check()
        for name, value in store.items():
            found = value.blob if isinstance(value, Packed) else value
            if isinstance(found, Elsewhere):
                found = contents[builtins.id(found)]
            assert found == model[name]
        assert store.keys() == model.keys()
    dropped = store.take_dropped()
    assert store.managed + store.elsewhere == sum(store.size(id) for id in store), dropped


def test_a_live_value_gives_way_to_the_one_in_shared_memory() -> None:
    store, value, blob = Store(), [1] * 1000, Shared(1, 2, 3, 4, [5])
    store[1] = value
    store.count(1, 8000)
    store.repacked(1, value, blob)
    held: Any = store[1]
    assert held.blob is blob
    assert held.stays
    assert not Packed(b"").stays
    assert store.managed == 8000
    assert store.take_dropped() == [value]
    store.check()


def test_a_value_that_was_freed_or_made_anew_meanwhile_does_not() -> None:
    store = Store()
    store.repacked(1, "freed", b"blob")
    assert 1 not in store
    store[1] = "new"
    store.repacked(1, "old", b"blob")
    assert store[1] == "new"
