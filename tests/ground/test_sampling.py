"""Trees of stacks: counted, merged, sent, and remembered for long in little room."""

from __future__ import annotations

import sys

import pytest

from windrow import sampling
from windrow.sampling import Frame, History, add, described, from_plain, merge, new_tree, stack, to_plain

F, G, H = ("f", "a.py", 1), ("g", "a.py", 9), ("h", "b.py", 1)


def test_stacks_that_begin_alike_share_branches() -> None:
    tree = new_tree()
    for frames in ([F, G], [F, H], [F], [H]):
        add(tree, frames)
    assert tree == [4, {F: [3, {G: [1, {}], H: [1, {}]}], H: [1, {}]}]


def test_merging_leaves_the_other_tree_alone() -> None:
    tree, other = new_tree(), new_tree()
    add(tree, [F])
    add(other, [F, G])
    merge(tree, other)
    merge(tree, other)
    assert tree == [3, {F: [3, {G: [2, {}]}]}]
    assert other == [1, {F: [1, {G: [1, {}]}]}]


def test_a_tree_survives_the_way() -> None:
    tree = new_tree()
    for frames in ([F, G], [F, H]):
        add(tree, frames)
    assert from_plain(to_plain(tree)) == tree


def test_people_are_told_functions_and_their_first_lines() -> None:
    tree = new_tree()
    here = ("test", __file__, 1)
    add(tree, [here, ("made", "<string>", 3)])
    told = described(tree)
    assert (told["identifier"], told["count"]) == ("root", 1)
    [child] = told["children"].values()
    assert child["identifier"] == f"test;{__file__};1"
    assert child["description"]["line"].startswith('"""Trees of stacks')
    [inner] = child["children"].values()
    assert inner["description"] == {"name": "made", "filename": "<string>", "line_number": 3, "line": ""}


def _base(depth: int) -> list[Frame] | None:
    return _deep(depth)


def _deep(depth: int) -> list[Frame] | None:
    return stack(sys._getframe(), _base.__code__) if depth == 1 else _deep(depth - 1)


def test_a_stack_is_told_from_its_base_on_and_no_deeper_than_is_sensible() -> None:
    found = _base(3)
    assert found == [("_deep", __file__, _deep.__code__.co_firstlineno)] * 3
    assert len(_base(sampling.DEPTH_MAX + 50) or ()) == sampling.DEPTH_MAX
    assert stack(sys._getframe(), _base.__code__) is None
    assert stack(None, _base.__code__) is None


def test_a_history_is_asked_for_a_kind_and_a_time() -> None:
    history = History(cycle_s=1.0)
    for now_s, kind, frames in ((10.0, "x", [F]), (10.9, "y", [G]), (11.0, "x", [F, G]), (15.0, "x", [H])):
        history.add(kind, frames, now_s)
    assert history.between(None, None, None)[0][0] == 4
    assert history.between(None, None, "y")[0] == [1, {G: [1, {}]}]
    assert history.between(10.95, 12.0, None)[0] == [1, {F: [1, {G: [1, {}]}]}]
    assert history.between(12.0, None, "x")[0] == [1, {H: [1, {}]}]
    assert history.between(None, 9.0, None)[0] == [0, {}]
    assert history.between(100.0, None, None)[1] == [(10.0, {"x": 1, "y": 1}), (11.0, {"x": 1}), (15.0, {"x": 1})]


def test_what_is_old_is_remembered_by_the_minute_and_then_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "CYCLES_FINE", 10)
    monkeypatch.setattr(sampling, "CYCLES_COARSE", 4)
    history = History(cycle_s=1.0)
    for second in range(200):
        history.add("x" if second % 2 else "y", [F], float(second))
    assert history.between(None, None, None)[0][0] == 200
    assert len(history.cycles) == 4 + 10
    assert [cycle.start_s for cycle in history.cycles] == [0.0, 61.0, 122.0, 183.0, *map(float, range(190, 200))]
    assert {kind: tree[0] for kind, tree in history.cycles[0].trees.items()} == {"x": 30, "y": 31}
    for second in range(200, 1000):
        history.add("x", [F], float(second))
    starts = [cycle.start_s for cycle in history.cycles]
    assert starts == sorted(starts)
    assert len(starts) <= 4 + 10
    assert 3 * 61 + 10 < history.between(None, None, None)[0][0] <= 4 * 61 + 10
