"""Graphs: many tasks of which a client wants a few, in one part or several."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler.state import ClientRecord, Unexpected
from windrow.wire.messages import Declare, Graph, TaskOptions

PLAIN = [TaskOptions()]


def graph(world: World, client: ClientRecord, tasks: dict[Any, list[int]], wanted: list[int], **more: Any) -> None:
    """Send a part: tasks with the numbers of their inputs, all of one function."""
    if b"f" not in client.declared:
        world.say(client, Declare(b"f", "f", b"code"))
    count = len(tasks)
    message = Graph(
        more.pop("graph", 1),
        more.pop("known", []),
        list(tasks),
        more.pop("functions", [b"f"]),
        more.pop("chosen", [0] * count),
        [b""] * count,
        list(tasks.values()),
        wanted,
        more.pop("options", PLAIN),
        **more,
    )
    world.say(client, message)


def test_tasks_run_in_the_order_in_which_they_came(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.teach(client)
    graph(world, client, {"a": [], "b": [], "c": [0, 1], "d": [2]}, [3])
    assert world.settle(worker) == ["a", "b", "c", "d"]
    assert world.heard(client) == ["finished d=1"]
    assert world.states("a", "b", "c", "d") == ["released", "released", "released", "memory"]


def test_what_is_in_between_is_freed_and_the_end_of_the_wish_forgets_all(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": [], "b": [0]}, [1])
    world.settle(worker)
    assert world.heard(client) == ["finished b=1"]
    world.release(client, "b")
    assert world.states("a", "b") == ["forgotten", "forgotten"]
    world.clear()


def test_keys_may_be_tuples(world: World) -> None:
    client, worker = world.client(), world.worker()
    key: Any = ("x", 0, (1, 2))
    graph(world, client, {key: []}, [0])
    assert world.settle(worker) == [key]
    assert world.heard(client) == [f"finished {key}=1"]


def test_inputs_that_are_there_are_named_by_key_and_numbered_first(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "x")
    world.done(worker, "x", value=b"7")
    world.clear()
    graph(world, client, {"a": [0]}, [1], known=["x"])
    assert world.heard(worker) == ["run a(x)"]
    world.done(worker, "a")
    world.clear()


def test_an_input_that_is_gone_cancels_what_needs_it_and_nothing_else(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": [0], "b": [1], "c": []}, [2, 3], known=["gone"])
    assert world.settle(worker) == ["c"]
    assert sorted(world.heard(client)) == [
        "cancelled b: an input of it is not known to the scheduler any more",
        "finished c=1",
    ]


def test_a_task_that_is_there_is_not_made_again_and_what_only_it_needed_is_not_made_at_all(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "b")
    world.done(worker, "b")
    world.clear()
    graph(world, client, {"a": [], "b": [0], "c": [1]}, [2])
    assert world.states("a") == ["forgotten"]
    assert world.settle(worker) == ["c"]
    assert world.heard(client) == ["finished c=1"]


def test_an_error_spreads_to_what_comes_later(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": []}, [0])
    world.erred(worker, "a")
    world.clear()
    graph(world, client, {"b": [0], "c": [1]}, [2], known=["a"], graph=2)
    assert world.heard(client) == ["failed c: boom"]


def test_parts_begin_before_the_last_one_is_there_and_keep_their_results(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": []}, [], more=True)
    assert world.settle(worker) == ["a"]
    assert world.states("a") == ["memory"]
    graph(world, client, {"b": [0]}, [1])
    assert world.settle(worker) == ["b"]
    assert world.heard(client) == ["finished b=1"]
    assert world.states("a") == ["released"]
    assert list(world.state.clients) == [client.id]


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": [], "b": [0]}, [], more=True)
    world.lose(client)
    assert world.states("a", "b") == ["forgotten", "forgotten"]
    assert not world.state.clients
    world.clear()
    assert not worker.processing


def test_what_is_cancelled_in_the_middle_cancels_what_comes_later(world: World) -> None:
    client = world.client()
    world.worker()
    graph(world, client, {"a": [], "b": [0]}, [1], more=True)
    world.cancel(client, "b", force=True)
    world.clear()
    graph(world, client, {"c": [1]}, [2])
    assert [words.partition(":")[0] for words in world.heard(client)] == ["cancelled c"]
    world.clear()


def test_two_graphs_at_a_time_have_their_own_numbers(world: World) -> None:
    client, worker = world.client(), world.worker()
    graph(world, client, {"a": []}, [], graph=1, more=True)
    graph(world, client, {"x": []}, [], graph=2, more=True)
    graph(world, client, {"b": [0]}, [1], graph=1)
    graph(world, client, {"y": [0]}, [1], graph=2)
    assert world.settle(worker) == ["a", "x", "b", "y"]
    assert world.task("b").inputs == [world.task("a")]
    assert world.task("y").inputs == [world.task("x")]
    world.clear()


def test_options_are_by_task(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    options = [TaskOptions(), TaskOptions(priority=3.0, retries=2, workers=[str(second.name)])]
    graph(world, client, {"a": [], "b": []}, [0, 1], options=options, option=[0, 1])
    assert (world.task("b").priority, world.task("b").retries, world.task("a").retries) == (3.0, 2, 0)
    assert world.keys(second) == ["b"]
    assert world.keys(first) == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"chosen": [5]},
        {"chosen": []},
        {"options": []},
        {"option": [4]},
        {"option": [0, 0]},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(world: World, wrong: dict[str, Any]) -> None:
    client = world.client()
    with pytest.raises(Unexpected, match="Graph"):
        graph(world, client, {"a": []}, [0], **wrong)


@pytest.mark.parametrize(("inputs", "wanted"), [([7], [0]), ([], [9]), ([0, 0], [1])])
def test_numbers_that_name_nothing_are_refused(world: World, inputs: list[int], wanted: list[int]) -> None:
    client = world.client()
    with pytest.raises(Unexpected, match="Graph"):
        graph(world, client, {"z": [], "a": inputs}, wanted)


def test_a_restart_in_the_middle_is_the_end_of_it(world: World) -> None:
    from windrow.wire.requests import Restart

    client = world.client()
    world.worker()
    graph(world, client, {"a": []}, [], more=True)
    world.ask(client, Restart())
    world.clear()
    graph(world, client, {"b": [0]}, [1])
    assert [words.partition(":")[0] for words in world.heard(client)] == ["cancelled b"]
    assert not world.state.tasks


def test_what_only_a_task_takes_that_errs_at_once_is_not_made(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "bad")
    world.keys(worker)
    world.erred(worker, "bad")
    world.heard(client)
    graph(world, client, {"a": [], "b": [0, 1]}, [2], known=["bad"])
    assert world.states("a", "b") == ["released", "erred"]
    assert world.heard(client) == ["failed b: boom"]
    world.clear()


def test_what_another_client_has_made_is_kept_for_later_parts(world: World) -> None:
    client, other = world.client(), world.client("other")
    worker = world.worker()
    world.submit(other, "a")
    assert world.settle(worker) == ["a"]
    graph(world, client, {"a": []}, [], more=True)
    world.release(other, "a")
    assert world.states("a") == ["memory"]
    graph(world, client, {"b": [0]}, [1])
    assert world.settle(worker) == ["b"]
    assert world.heard(client) == ["finished b=1"]
    world.clear()


def test_what_is_a_recipe_only_is_made_for_later_parts(world: World) -> None:
    client, other = world.client(), world.client("other")
    worker = world.worker()
    graph(world, other, {"a": [], "b": [0]}, [1])
    assert world.settle(worker) == ["a", "b"]
    assert world.states("a") == ["released"]
    graph(world, client, {"a": []}, [], more=True)
    world.release(other, "b")
    assert world.settle(worker) == ["a"]
    graph(world, client, {"c": [0]}, [1])
    assert world.settle(worker) == ["c"]
    assert world.heard(client) == ["finished c=1"]
    world.clear()
