"""Functions: each goes once to each worker that needs it, and is freed when nobody names it any more."""

from __future__ import annotations

from world import World

from windrow.wire.messages import Declare, FreeFunctions, Function, Run, Undeclare


def test_function_goes_once_to_each_worker_that_needs_it(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", "b")
    world.submit(client, "x", function="g")
    kinds = [[type(message) for message in world.take(worker)] for worker in (first, second)]
    assert kinds == [[Function, Run], [Function, Run]]
    world.done(first, "a")
    function, _ = world.take(first)
    assert (type(function), function.name) == (Function, "g")
    assert world.heard(client) == ["finished a=1"]


def test_function_is_freed_when_no_task_and_no_client_names_it(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    function, _ = world.take(worker)
    world.say(client, Undeclare([b"f"]))
    assert b"f" in world.state.functions
    world.release(client, "a")
    assert world.take(worker)[1:] == [FreeFunctions([function.function])]
    assert not world.state.functions


def test_function_without_tasks_is_freed_when_its_last_client_undeclares_it(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    function, _ = world.take(worker)
    world.say(second, Declare(b"f", "f", b"code of f"))
    world.release(first, "a")
    assert world.heard(worker) == ["free a"]
    world.say(first, Undeclare([b"f"]))
    assert world.take(worker) == []
    world.say(second, Undeclare([b"f", b"never heard of"]))
    assert world.take(worker) == [FreeFunctions([function.function])]


def test_worker_that_never_had_a_function_is_not_told_to_free_it(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    world.release(client, "a")
    world.worker()
    world.say(client, Undeclare([b"f"]))


def test_function_freed_and_declared_again_is_sent_again(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.release(client, "a")
    world.say(client, Undeclare([b"f"]))
    world.clear()
    world.submit(client, "b")
    assert [type(message) for message in world.take(worker)] == [Function, Run]
