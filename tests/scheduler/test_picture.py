"""The graph of tasks as a picture: single tasks, groups, and what that costs."""

from __future__ import annotations

from typing import Any

from world import World

from windrow.keys import prefix
from windrow.scheduler import census, picture
from windrow.scheduler.state import STATES, FunctionRecord, State, Task
from windrow.wire.messages import HelloObserver
from windrow.wire.requests import RecentEvents, Request, TaskGraph, TaskGroups


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


def census_steps(state: State) -> int:
    """Go on with a count until it is done; how many steps that took."""
    steps = 0
    while state.census is not None:
        census.go_on(state)
        steps += 1
    return steps


def test_groups_are_counted_some_tasks_at_a_time() -> None:
    state = State()
    diamonds(state, 400)
    assert census.groups(state)["surveyed"] is None
    assert census_steps(state) == 1  # 600 of 1,200 with the question, 600 with the first step: all are new
    state.now_s = 0.1
    found = census.groups(state)
    assert found["groups"] == [
        ["x-1f", "x", {"memory": 400, "waiting": 400}, 4000],
        ["add", "add", {"waiting": 400}, 0],
    ]
    assert found["edges"] == [0, 1]
    assert state.census is None, "one that has only just begun will do"
    state.now_s = 1.0
    again = census.groups(state)
    assert again["surveyed"] == 1.0, "what tasks take of each other is known: all are counted at once"
    assert (again["groups"], again["edges"]) == (found["groups"], found["edges"])


def test_while_the_scheduler_has_its_hands_full_tasks_are_counted_more_slowly() -> None:
    state = State()
    diamonds(state, 400)
    census.begin(state)
    assert census_steps(state) == 0
    state.now_s, state.is_pressed = 1.0, True
    census.begin(state)
    assert census_steps(state) == 1  # 600 at once, 600 with the first step


def test_a_link_goes_with_the_tasks_of_one_group_and_new_ones_are_found() -> None:
    state = State()
    diamonds(state, 1)
    census.groups(state)
    [last] = [made for key, made in state.tasks.items() if key == "add-0"]
    task(state, ("z-2", 0), inputs=[last])
    state.now_s = 1.0
    assert census.groups(state)["edges"] == [0, 1, 1, 2]
    for key in list(state.tasks):
        if key[0] == "x-1f":
            del state.tasks[key]
    state.now_s = 2.0
    found = census.groups(state)
    assert [row[0] for row in found["groups"]] == ["add", "z-2"]
    assert found["edges"] == [0, 1]


def test_links_are_followed_only_while_somebody_asks_for_groups() -> None:
    state = State()
    diamonds(state, 1)
    census.groups(state)
    assert state.links is not None
    state.now_s = census.LINKS_S + 1.0
    census.begin(state)
    assert state.links is None
    assert census.groups(state)["surveyed"] is None


def test_too_many_groups_are_one() -> None:
    state = State()
    for number in range(census.GROUPS_MAX + 5):
        task(state, (f"y-{number}", 0))
    census.groups(state)
    census_steps(state)
    state.now_s = 0.1
    found = census.groups(state)["groups"]
    assert len(found) == census.GROUPS_MAX + 1
    assert found[-1] == [census.OTHERS, census.OTHERS, {"waiting": 5}, 0]
    assert state.counted.counts == {"y": {"waiting": census.GROUPS_MAX + 5}}


def test_groups_have_the_prefix_that_tasks_have() -> None:
    state = State()
    made = task(state, ("sum-aggregate-40c5", 1, 2))
    add = FunctionRecord(1, b"d", "add", b"")
    other = task(state, "anything", add)
    census.groups(state)
    rows = census.groups(state)["groups"]
    assert [(row[0], row[1]) for row in rows] == [
        ("sum-aggregate-40c5", prefix(made.key)),
        ("add", prefix(other.key, "add")),
    ]


def test_who_looks_may_ask_for_it_and_for_what_was_logged(world: World) -> None:
    world.core.desk.log(["mine"], 7.0, {"step": 1})
    world.core.desk.log(["other"], 8.0, {"step": 2})
    observer: Any = world.core.join(HelloObserver("o"), world.now_s)

    def told(request: Request) -> Any:
        world.ask(observer, request)
        return world.answer(observer).value

    assert told(TaskGraph(10))["ids"] == []
    assert told(TaskGroups())["groups"] == []
    assert [row[1:] for row in told(RecentEvents(10, "mine"))] == [[{"step": 1}, ["mine"]]]
    [[_, event, topics]] = told(RecentEvents(1))
    assert event == {"step": 2}
    assert topics != ["all"]
