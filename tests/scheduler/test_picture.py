"""The graph of tasks as a picture: single tasks, groups, and what that costs."""

from __future__ import annotations

from typing import Any

from world import World

from windrow.keys import prefix
from windrow.scheduler import picture
from windrow.scheduler.state import STATES, FunctionRecord, State, Task
from windrow.wire.messages import HelloObserver, RecentEvents, Request, TaskGraph, TaskGroups


def diamonds(state: State, count: int) -> None:
    """So many times: two chunks of one collection, and their sum."""
    add = FunctionRecord(1, b"d", "add", b"")
    for number in range(count):
        parts = [task(state, ("x-1f", number, side)) for side in (0, 1)]
        parts[0].state = "memory"
        parts[0].nbytes = 10
        task(state, f"add-{number}", add, parts)


def task(state: State, key: Any, function: FunctionRecord | None = None, inputs: list[Task] | None = None) -> Task:
    made = state.tasks[key] = Task(len(state.tasks) + 1, key, function, b"", state="waiting", inputs=inputs or [])
    return made


def test_few_tasks_are_told_with_what_they_take_of_each_other() -> None:
    state = State()
    diamonds(state, 1)
    found = picture.graph(state, 10)
    assert found["keys"] == ["('x-1f', 0, 0)", "('x-1f', 0, 1)", "add-0"]
    assert found["prefixes"] == ["x", "x", "add"]
    assert [found["names"][number] for number in found["states"]] == ["memory", "waiting", "waiting"]
    assert found["edges"] == [0, 2, 1, 2]
    assert found["names"] == list(STATES)


def test_an_input_that_is_forgotten_leaves_no_edge() -> None:
    state = State()
    diamonds(state, 1)
    del state.tasks["x-1f", 0, 1]
    assert picture.graph(state, 10)["edges"] == [0, 1]


def test_many_tasks_are_only_counted() -> None:
    state = State()
    diamonds(state, 4)
    assert picture.graph(state, 11) == {"tasks": 12, "names": list(STATES), "ids": None}


def test_groups_are_surveyed_some_tasks_at_a_time() -> None:
    state = State()
    diamonds(state, 400)
    assert picture.groups(state)["surveyed"] is None
    steps = 0
    while state.survey is not None:
        picture.go_on(state)
        steps += 1
    assert steps == 2  # 500 of 1,200 with the question, 1,000 with the first step
    state.now_s = 0.1
    found = picture.groups(state)
    assert found["groups"] == [
        ["x-1f", "x", {"memory": 400, "waiting": 400}, 4000],
        ["add", "add", {"waiting": 400}, 0],
    ]
    assert found["edges"] == [0, 1]
    assert state.survey is None, "one that has only just begun will do"
    state.now_s = 1.0
    picture.groups(state)
    assert state.survey is not None


def test_too_many_groups_are_one() -> None:
    state = State()
    for number in range(picture.GROUPS_MAX + 5):
        task(state, (f"y-{number}", 0))
    picture.groups(state)
    while state.survey is not None:
        picture.go_on(state)
    state.now_s = 0.1
    found = picture.groups(state)["groups"]
    assert len(found) == picture.GROUPS_MAX + 1
    assert found[-1] == [picture.OTHERS, picture.OTHERS, {"waiting": 5}, 0]


def test_groups_have_the_prefix_that_counts_have() -> None:
    made = task(State(), ("sum-aggregate-40c5", 1, 2))
    assert picture.group_of(made) == ("sum-aggregate-40c5", prefix(made.key)) == ("sum-aggregate-40c5", "sum-aggregate")


def test_who_looks_may_ask_for_it_and_for_what_was_logged(world: World) -> None:
    world.core.desk.log(["mine"], 7.0, {"step": 1})
    world.core.desk.log(["other"], 8.0, {"step": 2})
    observer: Any = world.core.join(HelloObserver("o"), world.now_s)

    def told(request: Request) -> Any:
        world.ask(observer, request)
        return world.answer(observer).value

    assert told(TaskGraph(10))["ids"] == []
    assert told(TaskGroups())["groups"] == []
    assert [event for _, event in told(RecentEvents(10, "mine"))] == [{"step": 1}]
    assert [event for _, event in told(RecentEvents(1))] == [{"step": 2}]
