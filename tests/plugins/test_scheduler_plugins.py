"""Plugins of the scheduler: each hook is called, at its time, with what it is about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from plugin_help import HEARD, Listener, Looker, fail, heard, inc, until

from windrow import Client, LocalCluster, SchedulerPlugin
from windrow.scheduler.plugins import typename
from windrow.wire import payload


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    HEARD.clear()
    yield
    HEARD.clear()


def told(client: Client, kind: str) -> list[tuple[Any, ...]]:
    """Wait for calls of a hook, and return them."""
    until(lambda: heard(kind), f"{kind} is called")
    return heard(kind)


def test_start_gets_the_scheduler_and_nothing_is_returned(client: Client, threads: LocalCluster) -> None:
    assert client.register_plugin(Listener()) is None
    assert heard("start") == [("start", threads.scheduler_address)]


def test_what_start_raises_is_raised_and_the_plugin_is_not_there(client: Client) -> None:
    class Shy(SchedulerPlugin):
        name = "shy"

        async def start(self, scheduler: Any) -> None:
            raise ArithmeticError("not today")

    with pytest.raises(ArithmeticError, match="not today"):
        client.register_plugin(Shy())
    assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins)) == []


def test_a_task_is_told_from_graph_to_memory(client: Client, threads: LocalCluster) -> None:
    client.register_plugin(Listener())
    future = client.submit(inc, 1, key="one", retries=2, priority=3)
    assert future.result() == 2
    [(_, graph)] = told(client, "update_graph")
    assert graph.pop("stimulus_id")
    assert graph == {
        "client": client.id,
        "keys": {"one"},
        "tasks": ["one"],
        "annotations": {"retries": {"one": 2}, "priority": {"one": 3.0}},
        "priority": {"one": (-3.0, 0)},
        "dependencies": {"one": set()},
    }
    until(lambda: len(heard("transition")) == 3)
    moves = heard("transition")
    assert [move[1:4] for move in moves] == [
        ("one", "released", "queued"),
        ("one", "queued", "processing"),
        ("one", "processing", "memory"),
    ]
    facts = moves[-1][4]
    [worker] = client.scheduler_info()["workers"]
    assert (facts["worker"], facts["nbytes"], facts["typename"]) == (worker, 28, "int")
    [span] = facts["startstops"]
    assert span["action"] == "compute"
    assert 0 <= span["stop"] - span["start"] < 5
    assert moves[0][4]["stimulus_id"]


def test_an_error_is_told_with_its_traceback(client: Client) -> None:
    client.register_plugin(Listener())
    future = client.submit(fail, key="bad")
    assert isinstance(future.exception(), ArithmeticError)
    until(lambda: [move for move in heard("transition") if move[3] == "erred"])
    assert "it does not add up" in heard("transition")[-1][4]["exception_text"]


def test_a_hook_finds_the_task_even_if_it_is_forgotten_since(client: Client) -> None:
    client.register_plugin(Looker())
    client.submit(inc, 1, key="gone").result()
    until(lambda: ("found", "forgotten", "gone") in HEARD, "the key is forgotten, and was found")
    assert client.run_on_scheduler(lambda dask_scheduler: "gone" in dask_scheduler.tasks) is False


def test_parties_that_come_and_leave_are_told(client: Client, threads: LocalCluster) -> None:
    client.register_plugin(Listener())
    threads.scale(2)
    client.wait_for_workers(2)
    [(_, address, is_there)] = told(client, "add_worker")
    assert is_there
    threads.scale(1)
    assert told(client, "remove_worker") == [("remove_worker", address, False)]
    with Client(threads, set_as_default=False) as other:
        assert told(client, "add_client") == [("add_client", other.id)]
    assert told(client, "remove_client") == [("remove_client", other.id)]


def test_a_restart_is_told(client: Client) -> None:
    client.register_plugin(Listener())
    client.restart()
    assert told(client, "restart") == [("restart", True)]


def test_events_are_told_by_topic(client: Client) -> None:
    client.register_plugin(Listener())
    client.log_event(["a", "b"], {"x": 1})
    told(client, "log_event")
    assert heard("log_event") == [("log_event", "a", {"x": 1}), ("log_event", "b", {"x": 1})]


def test_the_scheduler_asks_which_workers_may_go(client: Client, threads: LocalCluster) -> None:
    threads.scale(2)
    client.wait_for_workers(2)
    everybody = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.workers_to_close(n=5))
    assert len(everybody) == 2
    client.register_plugin(Listener())
    assert len(client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.workers_to_close(n=5))) == 1
    assert heard("valid_workers_downscaling") == [("valid_workers_downscaling", 2)]


def test_the_end_is_told_before_and_after(runtime_directory: object) -> None:
    with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
        client.register_plugin(Listener())
    assert heard("before_close", "close") == [("before_close", "running", 1), ("close", "closed")]


def test_what_a_hook_raises_is_logged_and_harms_nobody(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Listener):
        name = "clumsy"

        def transition(self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **facts: Any) -> None:
            raise ArithmeticError("dropped it")

    client.register_plugin(Clumsy())
    client.register_plugin(Listener())
    with caplog.at_level(logging.ERROR, "windrow.plugins"):
        assert client.submit(inc, 1).result() == 2
        until(lambda: len(heard("transition")) == 3, "the other plugin is told all the same")
    assert any("transition hook" in record.message for record in caplog.records)


def test_what_a_coroutine_hook_raises_is_logged(client: Client, threads: LocalCluster, caplog: Any) -> None:
    class Clumsy(SchedulerPlugin):
        async def add_client(self, scheduler: Any, client: str) -> None:  # type: ignore[override]
            raise ArithmeticError("dropped it")

    client.register_plugin(Clumsy())
    with caplog.at_level(logging.ERROR, "windrow.plugins"), Client(threads, set_as_default=False):
        until(lambda: any("add_client hook" in record.message for record in caplog.records))


def test_an_unregistered_plugin_hears_nothing_more(client: Client) -> None:
    client.register_plugin(Listener())
    assert client.unregister_scheduler_plugin("listener") is None
    client.submit(inc, 1).result()
    assert heard("transition") == []
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.core.state.news) is None
    with pytest.raises(ValueError, match="no scheduler plugin 'listener'"):
        client.unregister_scheduler_plugin("listener")


def test_moves_are_noted_only_for_a_plugin_that_asks(client: Client) -> None:
    class Quiet(SchedulerPlugin):
        def restart(self, scheduler: Any) -> None: ...

    client.register_plugin(Quiet())
    noted = client.run_on_scheduler(
        lambda dask_scheduler: (dask_scheduler.core.state.news, dask_scheduler.core.state.moves)
    )
    assert noted == ([], None)


def test_a_name_is_replaced_and_an_idempotent_plugin_left(client: Client) -> None:
    client.register_plugin(Listener(), name="x")
    client.register_plugin(Listener(), name="x")
    assert len(heard("start")) == 2

    class Once(Listener):
        idempotent = True

    client.register_plugin(Once(), name="x")
    assert len(heard("start")) == 2
    assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins)) == ["x"]


def test_wrong_arguments_err_at_the_call(client: Client) -> None:
    with pytest.raises(TypeError, match=r"write Listener\(\)"):
        client.register_plugin(Listener)
    with pytest.raises(TypeError, match="name must be a string"):
        client.register_plugin(Listener(), name=3)  # type: ignore[arg-type]


def test_an_asynchronous_client_awaits(runtime_directory: object) -> None:
    import asyncio

    async def scenario() -> None:
        async with (
            LocalCluster(n_workers=1, processes=False, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            assert await client.register_plugin(Listener()) is None
            assert await client.submit(inc, 1) == 2
            await client.unregister_scheduler_plugin("listener")

    asyncio.run(scenario())
    assert heard("start")


class Point:
    """Some class of a user's."""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *(
            (1, "int"),
            (2**70, "int"),
            (1.5, "float"),
            (True, "bool"),
            (None, "NoneType"),
            ("s", "str"),
            (b"b", "bytes"),
        ),
        *(([], "list"), ([1, 2], "list"), ((1, "a"), "tuple"), ((), "tuple"), ({"a": 1}, "dict"), ({1}, "set")),
        (Point(), f"{Point.__module__}.Point"),
        (range(3), None),
    ],
)
def test_the_type_of_a_small_value_shows_in_its_pickle(value: object, name: str | None) -> None:
    blob = payload.dumps(value)
    assert typename(blob, None) == name
