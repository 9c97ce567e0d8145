"""Published datasets on a bare core: kept beyond their client's end, and the results that they refer to with them."""

from __future__ import annotations

from typing import Any

import pytest
from bare_core import Bare

from windrow.errors import FutureCancelledError
from windrow.primitives.datasets import Fetch, ListNames, Publish, Unpublish
from windrow.scheduler.state import MEMORY
from windrow.wire import messages as m
from windrow.wire import requests as r


@pytest.fixture
def bare() -> Bare:
    """A client a, with the results k and ("x", 0) on a worker."""
    bare = Bare()
    a, worker = bare.client("a"), bare.worker()
    bare.submit(a, "k", ("x", 0))
    while runs := bare.take(worker, m.Run):
        bare.say(worker, *[m.Done(run.task, run.attempt, 0.1, 1, b"v") for run in runs])
    bare.take(a)
    return bare


def ask(bare: Bare, request: Any, *blobs: bytes, by: str = "a") -> m.Reply:
    client = bare.state.clients.get(by) or bare.client(by)
    return bare.ask(client, "datasets", request, *blobs)


def in_memory(bare: Bare) -> list[Any]:
    return [key for key, task in bare.state.tasks.items() if task.state is MEMORY]


def test_what_is_published_outlives_its_client_with_its_results(bare: Bare) -> None:
    ask(bare, Publish(["one", ("two", 2)], [[("x", 0)], []]), b"1", b"2")
    bare.lose(bare.state.clients["a"])
    assert in_memory(bare) == [("x", 0)]
    reply = ask(bare, Fetch(["one", "never", ("two", 2)]), by="b")
    assert reply.value == [[["x", 0]], None, []]
    assert reply.blobs == [b"1", b"2"]
    assert ask(bare, ListNames(), by="b").value == ["one", ["two", 2]]


def test_results_go_when_it_is_published_no_more(bare: Bare) -> None:
    ask(bare, Publish(["one"], [["k"]]), b"1")
    bare.lose(bare.state.clients["a"])
    ask(bare, Unpublish(["one", "never"]), by="b")
    assert bare.state.tasks == {}
    assert ask(bare, ListNames(), by="b").value == []
    assert list(bare.state.clients) == ["b"]


def test_a_name_that_is_there_is_refused_and_nothing_published(bare: Bare) -> None:
    ask(bare, Publish(["one"], [[]]), b"1")
    with pytest.raises(KeyError, match=r"there already: \['one'\]"):
        ask(bare, Publish(["two", "one"], [["k"], []]), b"2", b"3")
    assert ask(bare, Fetch(["one", "two"])).blobs == [b"1"]
    bare.lose(bare.state.clients["a"])
    assert bare.state.tasks == {}


def test_override_replaces_the_value_and_what_it_holds(bare: Bare) -> None:
    ask(bare, Publish(["one"], [["k", ("x", 0)]]), b"1")
    bare.lose(bare.state.clients["a"])
    ask(bare, Publish(["one"], [["k"]], True), b"2", by="b")
    assert in_memory(bare) == ["k"]
    assert ask(bare, Fetch(["one"]), by="b").blobs == [b"2"]


def test_two_that_refer_to_the_same_hold_it_each(bare: Bare) -> None:
    ask(bare, Publish(["one", "two"], [["k"], ["k"]]), b"1", b"2")
    bare.lose(bare.state.clients["a"])
    ask(bare, Unpublish(["one"]), by="b")
    assert in_memory(bare) == ["k"]


def test_a_reference_to_what_is_gone_is_refused_and_nothing_held(bare: Bare) -> None:
    with pytest.raises(FutureCancelledError, match="knows it no more"):
        ask(bare, Publish(["one"], [["k", "gone"]]), b"1")
    bare.lose(bare.state.clients["a"])
    assert bare.state.tasks == {}
    assert bare.state.clients == {}


def test_names_survive_a_restart_and_results_do_not(bare: Bare) -> None:
    ask(bare, Publish(["one"], [["k"]]), b"1")
    bare.say(bare.state.clients["a"], m.Call(99, r.Restart()))
    bare.take(bare.state.clients["a"])
    assert bare.state.tasks == {}
    assert ask(bare, Fetch(["one"])).value == [["k"]]
    ask(bare, Unpublish(["one"]))
    assert list(bare.state.clients) == ["a"]
