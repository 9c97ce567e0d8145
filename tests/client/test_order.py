"""The order of tasks: complete, inputs first, few results alive at a time, linear."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from graphlib import CycleError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.client.order import ordered


def peak(inputs: Sequence[Sequence[int]], wanted: Sequence[int], order: Sequence[int]) -> int:
    """The most results that are alive at a time; also checks that inputs come first."""
    uses = [0] * len(inputs)
    for node in order:
        for need in inputs[node]:
            uses[need] += 1
    for node in wanted:
        uses[node] += 1
    alive: set[int] = set()
    most = 0
    for node in order:
        assert alive.issuperset(inputs[node])
        alive.add(node)
        most = max(most, len(alive))
        for need in inputs[node]:
            uses[need] -= 1
            if not uses[need]:
                alive.discard(need)
    assert alive == set(wanted)
    return most


def needed(inputs: Sequence[Sequence[int]], wanted: Sequence[int]) -> set[int]:
    found = set(wanted)
    stack = list(wanted)
    while stack:
        for need in inputs[stack.pop()]:
            if need not in found:
                found.add(need)
                stack.append(need)
    return found


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    count = draw(st.integers(1, 30))
    inputs = [sorted(draw(st.sets(st.integers(0, node - 1), max_size=4))) if node else [] for node in range(count)]
    names = list(range(count))
    random.Random(draw(st.integers(0, 9))).shuffle(names)  # so that numbers tell nothing
    renamed: list[list[int]] = [[] for _ in names]
    for node, needs in enumerate(inputs):
        renamed[names[node]] = [names[need] for need in needs]
    return renamed, draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))


@given(graphs())
def test_all_that_is_needed_once_and_inputs_first(graph: tuple[list[list[int]], list[int]]) -> None:
    inputs, wanted = graph
    order = ordered(inputs, wanted)
    assert len(order) == len(set(order))
    assert set(order) == needed(inputs, wanted)
    peak(inputs, wanted, order)


def test_nothing_wanted_is_nothing_done() -> None:
    assert ordered([[], [0]], []) == []


def test_a_task_that_is_wanted_twice_runs_once() -> None:
    assert ordered([[], [0]], [1, 1, 0]) == [0, 1]


def test_a_cycle_is_told() -> None:
    with pytest.raises(CycleError) as caught:
        ordered([[2], [0], [1], [2]], [3])
    assert caught.value.args[1][0] in (0, 1, 2)
    with pytest.raises(CycleError):
        ordered([[0]], [0])


def test_a_cycle_that_nobody_needs_is_none() -> None:
    assert ordered([[0], []], [1]) == [1]


def tree(leaves: int, fan: int) -> tuple[list[list[int]], list[int]]:
    inputs: list[list[int]] = [[] for _ in range(leaves)]
    level = list(range(leaves))
    while len(level) > 1:
        groups = [level[start : start + fan] for start in range(0, len(level), fan)]
        level = list(range(len(inputs), len(inputs) + len(groups)))
        inputs += groups
    return inputs, level


def test_a_tree_keeps_a_few_results_a_level() -> None:
    inputs, wanted = tree(4096, 4)
    assert peak(inputs, wanted, ordered(inputs, wanted)) <= 3 * 6 + 2


def square(side: int) -> tuple[list[list[int]], list[int]]:
    """x + x.T by blocks: block (i, j) of the result needs blocks (i, j) and (j, i) of x."""
    blocks = side * side
    inputs: list[list[int]] = [[] for _ in range(blocks)]
    for row in range(side):
        inputs += [sorted({row * side + column, column * side + row}) for column in range(side)]
    return inputs, list(range(blocks, 2 * blocks))


def test_mirrored_blocks_are_done_together() -> None:
    inputs, wanted = square(20)
    order = ordered(inputs, wanted)
    assert peak(inputs, wanted, order) <= 400 + 1  # all results, and hardly an input beside them


def test_a_shuffle_goes_group_by_group() -> None:
    # 5 groups of 5 results need all 5 pieces of their group; wanted in an order that jumps between groups.
    sources = [[] for _ in range(5)]
    pieces = [[group] for group in range(5) for _ in range(5)]
    results = [[5 + group * 5 + part for part in range(5)] for group in range(5) for _ in range(5)]
    inputs: list[list[int]] = [*sources, *pieces, *results]
    wanted = [30 + (number % 5) * 5 + number // 5 for number in range(25)]
    order = ordered(inputs, wanted)
    groups = [(node - 30) // 5 for node in order if node >= 30]
    assert groups == sorted(groups, key=groups.index), "a group is finished before the next begins"


def test_no_more_alive_than_in_dasks_order() -> None:
    from dask._task_spec import Task, TaskRef
    from dask.order import order as order_of

    for inputs, wanted in (square(12), tree(300, 8)):
        graph = {node: Task(node, sum, *map(TaskRef, needs)) for node, needs in enumerate(inputs)}
        theirs = order_of(graph)
        mine = peak(inputs, wanted, ordered(inputs, wanted))
        assert mine <= peak(inputs, wanted, sorted(graph, key=theirs.__getitem__))


def test_a_result_with_very_many_users_costs_no_more() -> None:
    inputs: list[list[int]] = [[], *[[0] for _ in range(40_000)]]
    start = time.process_time()
    assert len(ordered(inputs, range(1, 40_001))) == 40_001
    assert time.process_time() - start < 5  # to look at all users for each of them takes minutes


def test_a_long_chain_needs_no_stack() -> None:
    inputs: list[list[int]] = [[], *[[node] for node in range(20_000)]]
    assert ordered(inputs, [20_000]) == list(range(20_001))
