"""The cyclic collector while a graph is sent: it rests, and comes back as it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from windrow.client import graphs


class Node:
    """One that keeps itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def _collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(graphs, "LARGE", 1000)
    gc.collect()
    yield
    gc.unfreeze()
    gc.enable()


def _fails_while_it_rests() -> None:
    with graphs._no_collections():
        assert not gc.isenabled()
        raise ZeroDivisionError


def test_it_rests_and_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        _fails_while_it_rests()
    assert gc.isenabled()


def test_it_stays_off_where_the_program_has_switched_it_off() -> None:
    gc.disable()
    with graphs._no_collections():
        pass
    assert not gc.isenabled()


def test_much_counts_as_walked() -> None:
    with graphs._no_collections():
        nodes = [Node() for _ in range(5000)]
    assert gc.get_count()[0] < 700
    assert len(nodes) == 5000


def test_what_the_program_has_frozen_stays_so() -> None:
    kept = Node()
    gc.freeze()
    assert not _may_be_collected(kept)
    with graphs._no_collections():
        nodes = [Node() for _ in range(5000)]
    assert not _may_be_collected(kept)  # a count of all would go down with whatever else ends meanwhile
    assert nodes


def _may_be_collected(node: Node) -> bool:
    return any(one is node for one in gc.get_objects())


def test_garbage_does_not_pile_up() -> None:
    seen: list[weakref.ref[Node]] = []
    for _ in range(60):
        with graphs._no_collections():
            nodes = [Node() for _ in range(2000)]
        seen += map(weakref.ref, nodes)
        del nodes
    assert sum(ref() is not None for ref in seen) < 0.75 * len(seen)
