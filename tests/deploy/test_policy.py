"""The decision of adaptive scaling: tables, and what must be true of any run of rounds."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windrow.deploy.policy import REFUSED, AdaptivePolicy, bounds

SAME = {"status": "same"}


def up(n: int) -> dict[str, Any]:
    return {"status": "up", "n": n}


def down(*names: Hashable) -> dict[str, Any]:
    return {"status": "down", "workers": list(names)}


def rounds(policy: AdaptivePolicy, count: int, target: int, there: set[Any], *proposed: Any) -> list[dict[str, Any]]:
    """So many rounds alike, with all workers there."""
    return [policy.recommend(target, plan=there, observed=there, proposed=proposed) for _ in range(count)]


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("target", "there", "expected"),
    [
        (0, 1, SAME),
        (1, 1, SAME),
        (3, 1, up(3)),
        (9, 1, up(5)),
        (9, 5, SAME),
        (0, 0, up(1)),
        (2, 5, SAME),  # the first round of several
    ],
)
def test_one_round(target: int, there: int, expected: dict[str, Any]) -> None:
    policy = AdaptivePolicy(minimum=1, maximum=5)
    names = set(range(there))
    assert policy.recommend(target, plan=names, observed=names, proposed=[0]) == expected


def test_without_a_maximum_anything_goes() -> None:
    assert AdaptivePolicy().recommend(1000, plan=set(), observed=set()) == up(1000)


def test_a_worker_goes_after_so_many_rounds_on_end() -> None:
    policy = AdaptivePolicy(wait_count=3)
    there = {0, 1, 2}
    assert rounds(policy, 3, 1, there, 2, 1) == [SAME, SAME, down(2, 1)]
    assert policy.close_counts == {}


@pytest.mark.parametrize("between", [3, 5])
def test_a_round_in_which_all_are_needed_begins_the_count_anew(between: int) -> None:
    policy = AdaptivePolicy(wait_count=2)
    there = {0, 1, 2}
    assert rounds(policy, 1, 2, there, 2) == [SAME]
    assert policy.close_counts == {2: 1}
    rounds(policy, 1, between, there)
    assert policy.close_counts == {}
    assert rounds(policy, 2, 2, there, 2) == [SAME, down(2)]


def test_each_worker_is_counted_by_itself() -> None:
    policy = AdaptivePolicy(wait_count=2)
    there = {0, 1, 2}
    assert rounds(policy, 1, 2, there, 0) == [SAME]
    assert rounds(policy, 1, 2, there, 1) == [SAME]
    assert policy.close_counts == {1: 1}
    assert rounds(policy, 1, 1, there, 1, 0) == [down(1)]
    assert policy.close_counts == {0: 1}


def test_no_more_go_than_are_too_many() -> None:
    policy = AdaptivePolicy(minimum=2, wait_count=1)
    assert rounds(policy, 1, 0, {0, 1, 2, 3}, 3, 2, 1, 0) == [down(3, 2)]


def test_those_that_have_not_come_go_first_the_newest_before_all() -> None:
    policy = AdaptivePolicy(wait_count=1)
    plan = {0, 1, 9, 10}
    assert policy.absent(1, plan, observed={0, 1}) == [10, 9]
    assert policy.recommend(1, plan=plan, observed={0, 1}, proposed=[1, 0]) == down(10, 9, 1)
    assert policy.absent(4, plan, observed={0, 1}) == []


def test_those_that_were_proposed_before_are_proposed_again() -> None:
    policy = AdaptivePolicy(wait_count=3)
    policy.recommend(3, plan={0, 1, 2, 7}, observed={0})
    assert policy.close_counts == {7: 1}
    policy.recommend(4, plan={0, 1, 2, 7, 8}, observed={0})
    assert policy.close_counts == {7: 2}


def test_strangers_are_not_closed() -> None:
    policy = AdaptivePolicy(wait_count=1)
    assert rounds(policy, 1, 1, {0, 1}, "stranger", 1) == [down(1)]


def test_one_that_could_not_go_is_left_alone_for_a_while() -> None:
    policy = AdaptivePolicy(wait_count=2)
    assert rounds(policy, 2, 1, {0, 1}, 1) == [SAME, down(1)]
    policy.refused([1])
    asked = rounds(policy, 2 * REFUSED + 2, 1, {0, 1}, 1)
    assert asked == [SAME] * (2 * REFUSED + 1) + [down(1)]


# ---------------------------------------------------------------- workers that do not come


def test_workers_that_go_without_having_come_are_asked_for_less_and_less_often() -> None:
    policy = AdaptivePolicy()
    asked = [policy.recommend(2, plan=set(), observed=set())["status"] for _ in range(40)]
    assert [number for number, status in enumerate(asked) if status == "up"] == [0, 1, 4, 9, 18, 35]


def test_more_work_asks_at_once_all_the_same() -> None:
    policy = AdaptivePolicy()
    for _ in range(3):
        policy.recommend(2, plan=set(), observed=set())
    assert policy.vain == 1
    assert policy.recommend(3, plan=set(), observed=set()) == up(3)
    assert policy.vain == 0


def test_those_that_came_and_were_lost_are_replaced_at_once() -> None:
    policy = AdaptivePolicy()
    assert policy.recommend(2, plan=set(), observed=set()) == up(2)
    for _ in range(5):
        assert policy.recommend(2, plan={0, 1}, observed={0, 1}) == SAME
        assert policy.recommend(2, plan={0}, observed={0}) == up(2)
    assert policy.vain == 0


def test_those_that_take_long_are_waited_for() -> None:
    policy = AdaptivePolicy()
    assert policy.recommend(2, plan=set(), observed=set()) == up(2)
    assert [policy.recommend(2, plan={0, 1}, observed=set()) for _ in range(100)] == [SAME] * 100


# ---------------------------------------------------------------- any run of rounds

ROUND = st.tuples(st.integers(0, 12), st.sets(st.integers(0, 30), max_size=8), st.integers(0, 3))


@settings(max_examples=150, deadline=None)
@given(
    minimum=st.integers(0, 4),
    more=st.integers(0, 6),
    wait_count=st.integers(1, 4),
    played=st.lists(ROUND, max_size=60),
)
def test_limits_hold_and_nobody_goes_unannounced(
    minimum: int, more: int, wait_count: int, played: list[tuple[int, set[int], int]]
) -> None:
    policy = AdaptivePolicy(minimum, minimum + more, wait_count)
    plan: set[Any] = set(range(minimum))
    observed: set[Any] = set(plan)
    names = iter(range(minimum, 10_000))
    candidates: list[set[Any]] = []
    for target, idle, arrivals in played:
        wanted = policy.clamp(target)
        excess = len(plan) - wanted
        proposed = [name for name in sorted(observed) if name % 31 in idle][: max(0, excess)]
        candidates.append(set(proposed) | (plan - observed) if excess > 0 else set())
        recommendation = policy.recommend(target, plan=plan, observed=observed, proposed=proposed)
        if recommendation["status"] == "up":
            assert len(plan) < recommendation["n"] <= policy.maximum
            while len(plan) < recommendation["n"]:
                plan.add(next(names))
        elif recommendation["status"] == "down":
            going = set(recommendation["workers"])
            assert going <= plan
            assert len(plan) - len(going) >= max(wanted, policy.minimum)
            for name in going:
                assert all(name in before for before in candidates[-wait_count:]), f"{name} was not always proposed"
                assert len(candidates) >= wait_count
            plan -= going
            observed -= going
        observed |= set(sorted(plan - observed)[:arrivals])
        assert policy.minimum <= len(plan) <= policy.maximum


# ---------------------------------------------------------------- limits in cores and memory


def never() -> int:
    raise AssertionError("nobody needs to know")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (0, inf)),
        ({"minimum": 1, "maximum": 4}, (1, 4)),
        ({"minimum_cores": 9}, (3, inf)),
        ({"maximum_cores": 9}, (0, 2)),
        ({"minimum": 5, "minimum_cores": 9}, (5, inf)),
        ({"maximum": 1, "maximum_cores": 9}, (0, 1)),
        ({"minimum_memory": "5 GiB", "maximum_memory": "9.9 GiB"}, (3, 4)),
        ({"minimum_cores": 8, "maximum_memory": 4 * 2**30}, (2, 2)),
    ],
)
def test_limits_come_to_workers(limits: dict[str, Any], expected: tuple[int, float]) -> None:
    assert bounds(**limits, threads=lambda: 4, memory=lambda: 2 * 2**30) == expected


def test_what_a_worker_has_is_asked_for_where_it_is_needed() -> None:
    assert bounds(1, 2, threads=never, memory=never) == (1, 2)
    with pytest.raises(AssertionError):
        bounds(1, 2, maximum_cores=3, threads=never, memory=never)


def test_limits_below_one_worker_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maximum_cores=3.*less than one worker"):
        bounds(maximum_cores=3, threads=lambda: 4, memory=never)
