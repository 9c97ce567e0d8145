"""Tasks that no worker can run: who is told, when, how often, and in which words; and what is said of a standstill."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.errors import NoValidWorkerError, NoWorkerError
from windrow.scheduler.state import ClientRecord
from windrow.wire import failure
from windrow.wire.messages import Call, Failed, HelloClient, HelloObserver, Topic
from windrow.wire.requests import AdaptiveTarget, Retire


@pytest.fixture
def world() -> World:
    """A world whose messages nobody has to claim but for warnings, which these tests claim all."""
    return World()


def pass_time(world: World, seconds: float, step_s: float = 1.0) -> None:
    """The time passes as the shell lets it pass while something is queued."""
    for _ in range(round(seconds / step_s)):
        assert world.core.is_waiting() or world.core.is_busy(), "nobody would look"
        for worker in world.state.workers.values():
            worker.last_seen_s = world.now_s
        world.tick(after=step_s)


def warned(world: World, client: ClientRecord) -> list[dict[str, Any]]:
    return [message.event for message in world.take(client) if type(message) is Topic]


def warnings_in_5_s(world: World, client: ClientRecord) -> list[str]:
    """What a client is warned of within five seconds; nothing more comes in the next minute."""
    pass_time(world, 5.0)
    texts = [event["text"] for event in warned(world, client)]
    pass_time(world, 60.0)
    assert warned(world, client) == []
    return texts


# ---------------------------------------------------------------- a test a cause


def test_no_workers_at_all(world: World) -> None:
    client = world.client()
    world.submit(client, "x", "y")
    [text] = warnings_in_5_s(world, client)
    assert text == (
        "No worker can run 2 tasks, such as 'x' now: there are no workers at all. To do: start workers, such as with "
        "cluster.scale(n), or with 'windrow worker' and the scheduler's address. They wait until then."
    )
    assert "there are no workers at all" in world.why("x")


def test_ten_thousand_tasks_and_one_warning(world: World) -> None:
    client = world.client()
    world.workers(2)
    world.core.receive(client, [], world.now_s)
    world.submit(client, "inc-0", resources={"GPU": 1}, function="inc")
    many = [f"inc-{number}" for number in range(1, 10_000)]
    world._check = lambda: None  # type: ignore[method-assign]  # all of them after each step would take a minute
    world.submit(client, *many, resources={"GPU": 1}, function="inc")
    [text] = warnings_in_5_s(world, client)
    assert text == (
        "No worker can run 10,000 tasks, such as 'inc-0' now: 'inc-0' asks for GPU=1; of 2 workers none has GPU. To "
        "do: start a worker with resources={'GPU': 1.0} (--resources 'GPU=1'), or ask for less. They wait until then."
    )


def test_less_of_a_resource_than_is_asked_for(world: World) -> None:
    client = world.client()
    world.worker("a", resources={"MEM": 4e9})
    world.worker("b", resources={"MEM": 1e9})
    world.submit(client, "x", resources={"MEM": 10e9})
    [text] = warnings_in_5_s(world, client)
    assert "it asks for MEM=1e+10; the most that a worker has is MEM=4e+09 (worker 'a')" in text


def test_resources_that_no_worker_has_together(world: World) -> None:
    client = world.client()
    world.worker("a", resources={"GPU": 1})
    world.worker("b", resources={"MEM": 1})
    world.submit(client, "x", resources={"GPU": 1, "MEM": 1})
    [text] = warnings_in_5_s(world, client)
    assert "it asks for GPU=1 MEM=1; no worker has all of it; the nearest, 'a', has GPU=1" in text


def test_a_name_that_nobody_has(world: World) -> None:
    client = world.client()
    world.worker(7, host="10.0.0.1")
    world.worker(8, host="10.0.0.1")
    world.submit(client, "x", workers=["alice"])
    [text] = warnings_in_5_s(world, client)
    assert (
        "it names worker 'alice'; there is no worker of this name, address or host; there are 7 and 8 (on '10.0.0.1')"
    ) in text


def test_a_host_where_nobody_is(world: World) -> None:
    client = world.client()
    world.worker("a", host="10.0.0.1")
    world.submit(client, "x", workers=["10.0.0.7"])
    [text] = warnings_in_5_s(world, client)
    assert (
        "names worker '10.0.0.7'; there is no worker of this name, address or host; there is only 'a' (on '10.0.0.1')"
        in (text)
    )


def test_a_named_worker_without_what_is_asked_for(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.worker("b", resources={"GPU": 1})
    world.submit(client, "x", workers=["a"], resources={"GPU": 1})
    [text] = warnings_in_5_s(world, client)
    assert "it names worker 'a' and asks for GPU=1; worker 'a' has no GPU" in text


def test_all_workers_have_paused(world: World) -> None:
    client = world.client()
    for worker in world.workers(2):
        world.pause(worker)
    world.submit(client, "x")
    [text] = warnings_in_5_s(world, client)
    assert "all 2 workers are paused, as the memory is short. To do: give workers more memory" in text


def test_the_one_worker_that_could_has_paused(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.pause(world.worker("b"))
    world.submit(client, "x", workers=["b"])
    [text] = warnings_in_5_s(world, client)
    assert "it names worker 'b'; worker 'b' could, and is paused, as the memory is short" in text


def test_its_worker_is_retiring(world: World) -> None:
    client = world.client()
    worker = world.worker("a")
    world.submit(client, "busy")
    world.flush()
    world.ask(client, Retire(["a"], close=False))
    assert worker.status == "closing_gracefully"
    world.submit(client, "x")
    [text] = warnings_in_5_s(world, client)
    assert "the one worker, 'a', is retiring. To do: start other workers" in text


def test_its_worker_is_cut_off(world: World) -> None:
    client = world.client()
    worker = world.worker("a")
    world.cut(worker, patience_s=1000.0)
    world.submit(client, "x")
    [text] = warnings_in_5_s(world, client)
    assert "the one worker, 'a', is cut off. To do: look whether machine and network are up" in text


def test_inputs_that_only_fit_where_nobody_runs(world: World) -> None:
    client = world.client()
    small = world.worker("small", memory_limit=1_000_000)
    large = world.worker("large", memory_limit=9_000_000)
    world.submit(client, "big", workers=["small"])
    world.large(small, "big", nbytes=5_000_000)
    world.pause(large)
    world.submit(client, "x", after=["big"])
    [text] = warnings_in_5_s(world, client)
    assert "worker 'large' could, and is paused, as the memory is short" in text


def test_inputs_that_fit_nowhere_are_an_error_at_once(world: World) -> None:
    client = world.client()
    small = world.worker("small", memory_limit=1_000_000)
    world.submit(client, "big")
    world.large(small, "big", nbytes=5_000_000)
    world.submit(client, "x", after=["big"])
    assert "MemoryError: Task 'x' was not run: its inputs take 4.8 MiB together" in world.why("x")


def test_an_input_that_nobody_can_run(world: World) -> None:
    """Who has submitted what depends on it is told, of the root; the other client is not."""
    owner, other, stranger = world.client(), world.client(), world.client()
    world.worker("a")
    world.submit(owner, "root", workers=["alice"])
    world.submit(owner, "middle", after=["root"])
    world.submit(other, "top", after=["middle"])
    world.release(owner, "root", "middle")
    world.submit(stranger, "fine")
    pass_time(world, 5.0)
    [event] = warned(world, other)
    assert event["key"] == "root"
    assert "it names worker 'alice'" in event["text"]
    assert warned(world, owner) == warned(world, stranger) == []
    assert "2 steps down, at the root (1 waiting, 1 queued), is 'root': no worker can run it now" in world.why("top")


def test_scattered_data_whose_worker_is_cut_off(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.scatter(client, 1_000_000, data=b"1")
    b = world.worker("b")
    world.submit(client, "x", after=["data"], workers=["b"])
    world.flush()
    world.cut(a, patience_s=1000.0)
    world.missing(b, "x", "data", a)
    [text] = warnings_in_5_s(world, client)
    assert "its input 'data' is with 'a' alone, which is cut off" in text


# ---------------------------------------------------------------- whom, and how often


def test_nobody_is_warned_of_what_is_over_in_time(world: World) -> None:
    client = world.client()
    world.submit(client, "x")
    pass_time(world, 2.0)
    world.worker("a")
    pass_time(world, 20.0)
    assert warned(world, client) == []


def test_who_comes_later_is_told_too_and_a_new_cause_is_new(world: World) -> None:
    first, second = world.client(), world.client()
    world.worker("a")
    world.submit(first, "x", resources={"GPU": 1})
    pass_time(world, 5.0)
    assert len(warned(world, first)) == 1
    world.submit(first, "y", resources={"GPU": 1})
    world.submit(second, "z", resources={"GPU": 1})
    pass_time(world, 5.0)
    assert (len(warned(world, first)), len(warned(world, second))) == (0, 1)
    world.submit(first, "w", resources={"FPGA": 1})
    pass_time(world, 5.0)
    [event] = warned(world, first)
    assert (event["key"], event["count"], event["cause"]["kind"]) == ("w", 1, "resource")


def test_a_cause_that_has_gone_and_comes_again_is_told_again(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "x", resources={"GPU": 1})
    pass_time(world, 5.0)
    assert len(warned(world, client)) == 1
    world.cancel(client, "x")
    world.tick(after=2.0)
    world.submit(client, "y", resources={"GPU": 1})
    pass_time(world, 5.0)
    assert len(warned(world, client)) == 1


def test_what_tasks_submit_is_told_to_programs(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    inside = world._join(HelloClient("inside", worker=a.address))
    world.submit(inside, "x", resources={"GPU": 1})
    pass_time(world, 5.0)
    assert len(warned(world, client)) == 1
    assert warned(world, inside) == []
    assert [remark.is_warning for remark in world.state.remarks] == [False]


def test_without_anybody_to_tell_the_log_has_it(world: World) -> None:
    a = world.worker("a")
    inside = world._join(HelloClient("inside", worker=a.address))
    world.submit(inside, "x", resources={"GPU": 1})
    pass_time(world, 20.0)
    [remark] = world.state.remarks
    assert remark.is_warning
    assert "No worker can run task 'x' now: it asks for GPU=1" in remark.text


def test_while_workers_are_being_started_their_lack_is_no_news(world: World) -> None:
    client = world.client()
    world.submit(client, "x")
    for _ in range(25):
        world.ask(client, AdaptiveTarget(5.0))
        pass_time(world, 1.0)
    assert warned(world, client) == []
    for _ in range(10):
        world.ask(client, AdaptiveTarget(5.0))
        pass_time(world, 1.0)
    assert len(warned(world, client)) == 1


def test_who_only_looks_starts_no_workers(world: World) -> None:
    client, observer = world.client(), world._join(HelloObserver("metrics"))
    world.submit(client, "x")
    for number in range(5):
        world.say(observer, Call(number, AdaptiveTarget(5.0)))
        pass_time(world, 1.0)
    assert len(warned(world, client)) == 1


def test_warnings_can_be_switched_off() -> None:
    world = World(impossible_s=float("inf"))
    client = world.client()
    world.submit(client, "x")
    pass_time(world, 60.0)
    assert warned(world, client) == []


def test_an_idle_scheduler_does_not_look(world: World) -> None:
    client = world.client()
    world.worker("a")
    assert not world.core.is_waiting()
    world.submit(client, "x", resources={"GPU": 1})
    world.flush()
    assert world.core.is_waiting()
    world.cancel(client, "x")
    world.flush()
    assert not world.core.is_waiting()


# ---------------------------------------------------------------- no-workers-timeout


def test_tasks_err_when_there_was_no_worker_for_too_long() -> None:
    world = World(no_workers_timeout_s=10.0)
    client = world.client()
    world.submit(client, "x")
    pass_time(world, 8.0)
    world.submit(client, "later")
    pass_time(world, 4.0)
    failed = [message for message in world.take(client) if type(message) is Failed]
    assert [message.keys for message in failed] == [["x"]]
    error = failure.load(failed[0].error)
    assert isinstance(error, NoWorkerError)
    assert (error.task, error.timeout) == ("x", 10.0)
    pass_time(world, 6.0)
    assert world.states("x", "later") == ["erred", "erred"]


def test_tasks_err_when_no_worker_could_run_them_for_too_long() -> None:
    world = World(no_workers_timeout_s=10.0)
    client = world.client()
    world.worker("a")
    world.submit(client, "x", resources={"GPU": 1}, workers=["a"])
    world.submit(client, "after", after=["x"])
    pass_time(world, 11.0)
    [message] = [message for message in world.take(client) if type(message) is Failed]
    assert message.keys == ["x", "after"]
    error = failure.load(message.error)
    assert isinstance(error, NoValidWorkerError)
    assert (error.worker_restrictions, error.resource_restrictions) == (("a",), {"GPU": 1.0})
    assert "it names worker 'a' and asks for GPU=1; worker 'a' has no GPU" in str(error)


# ---------------------------------------------------------------- nothing moves


def standstills(world: World) -> list[str]:
    return [remark.text for remark in world.state.remarks if remark.is_warning]


def test_a_standstill_is_told_once_with_what_is_stuck(world: World) -> None:
    """A worker does not give back what it was asked for: its loop hangs, perhaps."""
    client = world.client()
    world.teach(client)
    world.worker("a")
    world.submit(client, "x", "y", "z")
    world.flush()
    world.worker("b")
    pass_time(world, 29.0)
    assert standstills(world) == []
    pass_time(world, 60.0)
    [text] = standstills(world)
    lines = text.splitlines()
    assert lines[0] == "nothing has moved for 30 s, though 1 worker ('b') could run what waits elsewhere:"
    assert "was asked to give it back, so that another can run it; the answer is awaited" in lines[1]


def test_a_long_task_is_no_standstill(world: World) -> None:
    client = world.client()
    world.workers(2)
    world.chain(client, "long", "after")
    world.flush()
    pass_time(world, 120.0)
    assert standstills(world) == []


def test_progress_is_no_standstill(world: World) -> None:
    client = world.client()
    world.teach(client)
    a = world.worker("a")
    world.submit(client, *(f"x{number}" for number in range(9)))
    world.flush()
    world.worker("b")
    for number in range(8):
        pass_time(world, 20.0)
        world.done(a, f"x{number}")
    assert standstills(world) == []


def test_what_was_forgotten_in_no_queue_is_found_again(world: World) -> None:
    """It was set aside for an input whose worker was cut off, and another has brought the input meanwhile."""
    client = world.client()
    a = world.worker("a")
    world.scatter(client, 1_000_000, data=b"1")
    b, c = world.worker("b"), world.worker("c")
    world.submit(client, "x", after=["data"], workers=["b"])
    world.flush()
    world.cut(a, patience_s=1000.0)
    world.missing(b, "x", "data", a)
    world.holds(c, "data")
    assert "it was set aside for an input that is there again" in world.why("x")
    pass_time(world, 2.0)
    world.flush()
    assert world.states("x") == ["processing"]
