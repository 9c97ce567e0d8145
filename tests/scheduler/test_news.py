"""What the core notes for plugins: nothing while nobody asks, and then all, in order."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler.news import Asked, Came, Left, Logged, Moved, Restarted
from windrow.wire.messages import Close, Erred, Graph, Log, TaskOptions
from windrow.wire.requests import Restart


def listen(world: World, moves: bool = True) -> list[Any]:
    """Ask for news, as a plugin does."""
    news: list[Any] = []
    world.state.news = news
    world.state.moves = news if moves else None
    return news


def brief(news: list[Any]) -> list[str]:
    """Each event in a word or two."""
    told = []
    for event in news:
        if type(event) is Moved:
            told.append(f"{event.key} {event.start}-{event.finish}")
        elif isinstance(event, Came | Left):
            told.append(f"{event.kind} {event.id} {'comes' if type(event) is Came else 'leaves'}")
        elif type(event) is Asked:
            told.append(f"asked for {' '.join(event.wanted)} of {' '.join(event.message.keys)}")
        elif type(event) is Logged:
            told.append(f"logged {event.event} on {event.topics}")
        else:
            assert type(event) is Restarted
            told.append("restarted")
    return told


@pytest.fixture
def worker(world: World) -> Any:
    return world.worker("w")


@pytest.fixture
def client(world: World) -> Any:
    return world.client("c")


def test_nothing_is_noted_while_nobody_asks(world: World, worker: Any, client: Any) -> None:
    world.submit(client, "a")
    world.done(worker, "a")
    assert world.state.news is None
    assert world.state.moves is None
    world.clear()


def test_a_task_is_told_of_from_its_coming_to_its_end(world: World, worker: Any, client: Any) -> None:
    news = listen(world)
    world.submit(client, "a")
    world.done(worker, "a", nbytes=8, seconds=0.5)
    world.release(client, "a")
    assert brief(news) == [
        "asked for a of a",
        "a released-queued",
        "a queued-processing",
        "a processing-memory",
        "a memory-released",
        "a released-forgotten",
    ]
    finished = news[3]
    assert (finished.worker, finished.nbytes, finished.seconds) == (worker.address, 8, 0.5)
    assert [event.seconds for event in news[1:] if event is not finished] == [None] * 4
    world.clear()


def test_a_task_with_inputs_waits(world: World, worker: Any, client: Any) -> None:
    news = listen(world)
    world.chain(client, "a", "b")
    world.settle(worker)
    assert next(told for told in brief(news) if told.startswith("b ")) == "b released-waiting"
    assert brief(news)[-1] == "b processing-memory"
    world.clear()


def test_an_error_is_told_with_how_long_it_took(world: World, worker: Any, client: Any) -> None:
    world.submit(client, "a")
    news = listen(world)
    run = world.run(worker, "a")
    world.say(worker, Erred(run.task, run.attempt, 0.25, b"e", "boom"))
    assert brief(news)[-1] == "a processing-erred"
    assert news[-1].seconds == 0.25
    assert news[-1].task.failure.text == "boom"
    world.clear()


def test_without_moves_the_rest_is_told(world: World, worker: Any, client: Any) -> None:
    news = listen(world, moves=False)
    world.submit(client, "a")
    world.done(worker, "a")
    assert brief(news) == ["asked for a of a"]
    world.clear()


def test_a_graph_is_told_with_what_is_wanted_of_it(world: World, worker: Any, client: Any) -> None:
    world.submit(client, "known")  # declares the function
    news = listen(world)
    graph = Graph(1, ["known"], ["a", "b"], [b"f"], [0, 0], [b"", b""], [[0], [1]], [2], [TaskOptions()])
    world.say(client, graph)
    assert brief(news)[0] == "asked for b of a b"
    assert brief(news)[1:] == ["a released-waiting", "b released-waiting"]
    world.clear()


def test_parties_come_and_leave(world: World) -> None:
    news = listen(world)
    worker, client = world.worker("w"), world.client("c")
    world.say(worker, Close())
    world.say(client, Close())
    assert brief([event for event in news if type(event) is not Logged]) == [
        "worker tcp://w comes",
        "client c comes",
        "worker tcp://w leaves",
        "client c leaves",
    ]
    world.clear()


def test_a_restart_is_told_after_the_tasks_are_gone(world: World, worker: Any, client: Any) -> None:
    world.submit(client, "a")
    news = listen(world)
    world.ask(client, Restart())
    assert "restarted" in brief(news)
    assert world.states("a") == ["forgotten"]
    world.clear()


def test_an_event_is_told_with_its_topics(world: World, client: Any) -> None:
    news = listen(world)
    world.say(client, Log(["x", "y"], 1.0, {"n": 1}))
    assert brief(news) == ["logged {'n': 1} on ['x', 'y']"]
    world.clear()
