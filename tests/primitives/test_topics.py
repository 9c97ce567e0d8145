"""Events on a bare core: remembered by topic, passed on to subscribers."""

from __future__ import annotations

from typing import Any

from bare_core import Bare

from windrow.primitives.topics import GetEvents, Subscribe, Unsubscribe
from windrow.wire import messages as m
from windrow.wire import requests as r


def events(bare: Bare, client: Any, topic: str | None = None) -> Any:
    return bare.ask(client, "events", GetEvents(topic)).value


def heard(bare: Bare, client: Any) -> list[tuple[str, Any]]:
    return [(topic.topic, topic.event) for topic in bare.take(client, m.Topic)]


def test_events_are_remembered_under_their_topics_and_under_all() -> None:
    bare = Bare()
    a = bare.client("a")
    bare.say(a, m.Log(["x", "y"], 1.5, {"n": 1}), m.Log(["x"], 2.5, "two"))
    assert events(bare, a, "x") == [[1.5, {"n": 1}], [2.5, "two"]]
    assert events(bare, a, "y") == [[1.5, {"n": 1}]]
    assert events(bare, a) == {"x": events(bare, a, "x"), "y": events(bare, a, "y"), "all": events(bare, a, "x")}
    assert events(bare, a, "never") == []


def test_only_the_last_events_of_a_topic_are_kept() -> None:
    bare = Bare(events_kept=3)
    a = bare.client("a")
    bare.say(a, m.Log(["rare"], 0.0, "first"), *[m.Log(["x"], float(n), n) for n in range(5)])
    assert [event for _, event in events(bare, a, "x")] == [2, 3, 4]
    assert [event for _, event in events(bare, a, "rare")] == ["first"]


def test_subscribers_hear_what_is_logged_from_then_on_once_each() -> None:
    bare = Bare()
    a, b, c = bare.client("a"), bare.client("b"), bare.client("c")
    bare.say(a, m.Log(["x"], 0.0, "early"))
    bare.ask(a, "events", Subscribe(["x"]))
    bare.ask(a, "events", Subscribe(["x"]))
    bare.ask(b, "events", Subscribe(["x", "y"]))
    bare.say(c, m.Log(["x"], 1.0, 1), m.Log(["y"], 2.0, 2))
    assert heard(bare, a) == [("x", 1)]
    assert heard(bare, b) == [("x", 1), ("y", 2)]
    assert heard(bare, c) == []


def test_all_is_everything_and_nothing_twice() -> None:
    bare = Bare()
    a = bare.client("a")
    bare.ask(a, "events", Subscribe(["all"]))
    bare.say(a, m.Log(["x", "y"], 1.0, 1), m.Log(["all", "all"], 2.0, 2))
    assert heard(bare, a) == [("all", 1), ("all", 2)]
    assert len(events(bare, a, "all")) == 2


def test_the_subscription_ends_when_it_is_ended_or_its_client_goes() -> None:
    bare = Bare()
    a, b = bare.client("a"), bare.client("b")
    for client in (a, b):
        bare.ask(client, "events", Subscribe(["x"]))
    bare.ask(a, "events", Unsubscribe(["x", "never"]))
    bare.say(b, m.Log(["x"], 1.0, 1))
    assert heard(bare, a) == []
    assert heard(bare, b) == [("x", 1)]
    bare.lose(b)
    assert bare.core.desk.services["events"].subscribers == {}  # type: ignore[attr-defined]


def test_workers_log_too_and_before_the_result_that_follows() -> None:
    bare = Bare()
    a, worker = bare.client("a"), bare.worker()
    bare.ask(a, "events", Subscribe(["print"]))
    bare.submit(a, "k")
    [run] = bare.take(worker, m.Run)
    bare.say(worker, m.Log(["print"], 1.0, "working"), m.Done(run.task, run.attempt, 0.1, 1, b"v"))
    kinds = [type(message) for message in bare.take(a)]
    assert kinds == [m.Topic, m.Finished]


def test_workers_that_come_and_go_are_events_with_the_time_of_people() -> None:
    bare = Bare()
    bare.state.epoch_s = 1e9
    a, worker = bare.client("a"), bare.worker("w")
    bare.now_s = 105.0
    bare.say(a, m.Call(99, r.Retire(["tcp://w"])))
    bare.take(a)
    came, left = events(bare, a, "scheduler")
    assert came == [1e9 + 100, {"action": "add-worker", "worker": worker.address, "name": "w"}]
    assert left[0] == 1e9 + 105
    assert left[1]["action"] == "remove-worker"
    assert left[1]["reason"]
