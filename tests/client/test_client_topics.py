"""Events at a client: how it subscribes, where handlers run, and what it shows by itself."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from fake_scheduler import FakeScheduler

from windrow import context
from windrow.client import Client
from windrow.client.topics import replay, show_print, show_warning
from windrow.primitives.topics import Subscribe, Unsubscribe
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r

LIMIT_S = 5.0


def asked(fake: FakeScheduler, kind: type) -> list[list[str]]:
    return [ask.request.topics for ask in fake.of(r.Ask) if isinstance(ask.request, kind)]


def test_prints_and_warnings_are_subscribed_to_in_the_first_frame(fake: FakeScheduler, client: Client) -> None:
    hello, ask = fake.frames[0][:2]
    assert isinstance(hello, m.HelloClient)
    assert ask.request == r.Ask("events", Subscribe(["print", "warn"]))
    assert client.session._questions == {}


def test_a_client_made_inside_a_task_does_not_print_what_tasks_print(fake: FakeScheduler) -> None:
    token = context.enter(object())  # type: ignore[arg-type]
    try:
        client = Client(fake)
    finally:
        context._place.reset(token)
    with client:
        client.scheduler_info()
        assert asked(fake, Subscribe) == []


def test_a_handler_is_called_in_the_callback_thread_in_order(fake: FakeScheduler, client: Client) -> None:
    got: queue.Queue[Any] = queue.Queue()
    assert client.subscribe_topic("x", lambda event: got.put((event, threading.current_thread().name))) is None
    fake.wait_for(r.Ask, 2)
    assert asked(fake, Subscribe)[-1] == ["x"]
    fake.send(m.Topic("x", 1.5, {"n": 1}), m.Topic("y", 2.0, 0), m.Topic("x", 2.5, 2))
    events = [got.get(timeout=LIMIT_S) for _ in range(2)]
    assert [event for event, _ in events] == [(1.5, {"n": 1}), (2.5, 2)]
    assert {name for _, name in events} == {f"callbacks of {client.id}"}


def test_a_coroutine_handler_runs_on_the_loop(fake: FakeScheduler, client: Client) -> None:
    got: queue.Queue[Any] = queue.Queue()

    async def handler(event: Any) -> None:
        got.put((event, threading.get_ident()))

    client.subscribe_topic("x", handler)
    fake.send(m.Topic("x", 1.5, 1))
    assert got.get(timeout=LIMIT_S) == ((1.5, 1), client.session.thread_id)


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_what_a_handler_raises_is_logged_and_the_next_event_comes(
    kind: str, fake: FakeScheduler, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    got: queue.Queue[Any] = queue.Queue()

    def handler(event: Any) -> None:
        got.put(event[1])
        raise ValueError("no good")

    async def coroutine(event: Any) -> None:
        handler(event)

    client.subscribe_topic("x", handler if kind == "function" else coroutine)
    fake.send(m.Topic("x", 1.0, 1), m.Topic("x", 2.0, 2))
    assert [got.get(timeout=LIMIT_S) for _ in range(2)] == [1, 2]
    client.close()
    assert "no good" in caplog.text


def test_a_handler_may_change_its_event(fake: FakeScheduler, client: Client) -> None:
    got: queue.Queue[Any] = queue.Queue()
    remembered = {"list": [1]}
    client.subscribe_topic("x", lambda event: (event[1]["list"].append(2), got.put(event[1])))
    fake.send(m.Topic("x", 1.0, remembered))
    assert got.get(timeout=LIMIT_S) == {"list": [1, 2]}
    assert remembered == {"list": [1]}


def test_a_later_handler_takes_the_place_of_the_first(fake: FakeScheduler, client: Client) -> None:
    first: list[Any] = []
    second: queue.Queue[Any] = queue.Queue()
    client.subscribe_topic("x", first.append)
    client.subscribe_topic("x", second.put)
    fake.send(m.Topic("x", 1.0, 1))
    assert second.get(timeout=LIMIT_S) == (1.0, 1)
    assert first == []


def test_unsubscribing_tells_the_scheduler_once(
    fake: FakeScheduler, client: Client, sync: Callable[[], object]
) -> None:
    client.subscribe_topic("x", print)
    client.unsubscribe_topic("x")
    sync()
    assert asked(fake, Unsubscribe) == [["x"]]
    with pytest.raises(ValueError, match="no subscription to the topic 'x'"):
        client.unsubscribe_topic("x")


def test_an_event_leaves_as_a_copy_with_its_time(
    fake: FakeScheduler, client: Client, sync: Callable[[], object]
) -> None:
    said: dict[str, Any] = {"a": (1, 2)}
    client.log_event("x", said)
    client.log_event(["x", "y"], None)
    said["a"] = "changed"
    sync()
    first, second = fake.of(m.Log)
    assert (first.topics, first.event) == (["x"], {"a": [1, 2]})
    assert (second.topics, second.event) == (["x", "y"], None)
    assert 0 <= second.time - first.time < LIMIT_S


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda client: client.log_event("x", {"a": [object()]}), r"msg\['a'\]\[0\] is an object"),
        (lambda client: client.log_event(3, "x"), "topic must be a name or a list of names"),
        (lambda client: client.get_events(3), "topic must be a name or None"),
        (lambda client: client.subscribe_topic("x", 3), "handler must be a function"),
        (lambda client: client.subscribe_topic(3, print), "topic must be a name"),
        (lambda client: client.forward_logging(3), "logger_name must be"),
    ],
)
def test_wrong_arguments_err_at_the_call(call: Callable[[Client], Any], words: str, client: Client) -> None:
    with pytest.raises(TypeError, match=words):
        call(client)


# ---------------------------------------------------------------- what clients show


@pytest.mark.parametrize(
    ("event", "out", "err"),
    [
        ({"args": ["a", "b"], "sep": "-", "end": "!\n", "file": None, "flush": True}, "a-b!\n", ""),
        ({"args": ["a", "b"], "sep": None, "end": None, "file": 2}, "", "a b\n"),
        ({"args": ["a"]}, "a\n", ""),
        ("anything", "anything\n", ""),
        ({"my": "event"}, "{'my': 'event'}\n", ""),
    ],
)
def test_prints_arrive_on_the_same_stream(event: Any, out: str, err: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_print((0.0, event))
    assert capsys.readouterr() == (out, err)


def test_a_warning_is_issued_with_its_class_and_place() -> None:
    message = payload.dumps(DeprecationWarning("old"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show_warning((0.0, {"message": message, "text": "old", "filename": "task.py", "lineno": 7}))
    [warning] = caught
    assert (warning.category, str(warning.message)) == (DeprecationWarning, "old")
    assert (warning.filename, warning.lineno) == ("task.py", 7)


@pytest.mark.parametrize("message", [None, b"no pickle", payload.dumps("no warning")])
def test_a_warning_that_cannot_be_loaded_is_shown_by_its_text(message: bytes | None) -> None:
    with pytest.warns(UserWarning, match="it is late"):
        show_warning((0.0, {"message": message, "text": "it is late", "filename": "task.py", "lineno": 7}))


def test_a_warning_that_somebody_logged_by_hand_is_shown() -> None:
    with pytest.warns(UserWarning, match="by hand"):
        show_warning((0.0, "by hand"))


# ---------------------------------------------------------------- forwarded log records


def record(**more: Any) -> dict[str, Any]:
    made = logging.LogRecord("some.package", logging.WARNING, "f.py", 3, "hello", None, None)
    return {**vars(made), "process": 0, **more}


def test_a_workers_record_is_handled_here(caplog: pytest.LogCaptureFixture) -> None:
    replay((0.0, record()))
    assert [(each.name, each.getMessage(), each.process) for each in caplog.records] == [("some.package", "hello", 0)]


@pytest.mark.parametrize(
    "more",
    [
        {"levelno": logging.DEBUG},
        {"forwarded": True},
        {"process": os.getpid(), "thread": threading.get_ident()},
    ],
)
def test_a_record_that_is_below_the_level_or_was_here_already_is_not(
    more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    replay((0.0, record(**more)))
    assert caplog.records == []


def test_what_is_replayed_is_not_forwarded_again(caplog: pytest.LogCaptureFixture) -> None:
    replay((0.0, record()))
    [handled] = caplog.records
    replay((0.0, vars(handled)))
    assert len(caplog.records) == 1


def test_standard_streams_are_looked_up_at_each_print(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    show_print((0.0, {"args": ["x"]}))
    assert stream.getvalue() == "x\n"
