"""The task stream: recorded while somebody asks, bounded, in keys that are still known, on one clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from world import World

from windrow.scheduler import recording
from windrow.scheduler.state import Peer, Unexpected, WorkerRecord
from windrow.wire.activity import COMPUTE, ERRED, TRANSFER
from windrow.wire.messages import Close, Executed, Heartbeat, HelloObserver, Record, TaskId
from windrow.wire.requests import TaskStream


def watch(world: World) -> Peer[Any]:
    return world.core.join(HelloObserver("o"), world.now_s)


def look(world: World, peer: Any, **request: Any) -> dict[str, Any]:
    world.ask(peer, TaskStream(**request))
    value: dict[str, Any] = world.answer(peer).value
    return value


def executed(*ids: int, kind: int = COMPUTE, start: float = 1.0, left_out: int = 0) -> Executed:
    count = len(ids)
    tasks = [TaskId(id) for id in ids]
    return Executed(
        tasks, [kind] * count, [9] * count, [start] * count, [0.5] * count, [28] * count, [0] * count, ["int"], left_out
    )


def records(world: World, worker: WorkerRecord) -> list[float | None]:
    messages = world.take(worker)
    assert {type(message) for message in messages} <= {Record}
    return [message.apart_s for message in messages]


def test_workers_note_nothing_until_somebody_asks_and_stop_when_nobody_has_for_a_while(world: World) -> None:
    worker, observer = world.worker("w"), watch(world)
    assert records(world, worker) == []
    assert look(world, observer, keep_s=15.0)["apart_s"] == recording.PAGE_APART_S
    assert records(world, worker) == [recording.PAGE_APART_S]
    world.now_s += 10.0
    look(world, observer, keep_s=15.0)
    world.tick(after=10.0)
    assert records(world, worker) == []
    world.tick(after=6.0)
    assert records(world, worker) == [None]


def test_a_worker_that_comes_later_is_told_as_well(world: World) -> None:
    observer = watch(world)
    look(world, observer)
    assert records(world, world.worker("late")) == [recording.PAGE_APART_S]


def test_many_workers_note_less_each(world: World) -> None:
    workers, observer = world.workers(100), watch(world)
    assert look(world, observer)["apart_s"] == pytest.approx(100 / recording.PAGE_ROWS_PER_S)
    world.clear()
    assert len(workers) == 100


def test_a_client_has_every_task_noted_until_it_leaves_or_says_so(world: World) -> None:
    worker, client, observer = world.worker("w"), world.client("c"), watch(world)
    look(world, client, complete=True, keep_s=math.inf, lease="a")
    look(world, client, complete=True, keep_s=math.inf, lease="b")
    look(world, observer)
    look(world, client, keep_s=0.0, lease="a")
    world.now_s += 7200.0
    assert look(world, client, keep_s=0.0, lease="other")["apart_s"] == 0.0
    assert records(world, worker) == [0.0]
    look(world, observer)
    world.say(client, Close())
    assert records(world, worker) == [recording.PAGE_APART_S]


def test_who_only_looks_gets_neither_all_nor_for_ever(world: World) -> None:
    worker, observer = world.worker("w"), watch(world)
    assert look(world, observer, complete=True, keep_s=math.inf)["apart_s"] == recording.PAGE_APART_S
    world.tick(after=recording.OBSERVER_LEASE_S)
    assert records(world, worker) == [recording.PAGE_APART_S, None]


def test_rows_have_keys_functions_and_workers(world: World) -> None:
    worker, client = world.worker("w", nthreads=2), world.client("c")
    look(world, client, complete=True)
    world.submit(client, "a", "b", function="inc")
    world.clear()
    world.say(worker, executed(world.run(worker, "a").task, left_out=3))
    world.say(worker, executed(world.run(worker, "b").task, kind=ERRED))
    world.say(worker, executed(world.run(worker, "b").task, 10**6, kind=TRANSFER))
    told = look(world, client, complete=True)
    assert told["keys"] == ["a", "b", "b", recording.GIVEN_UP]
    assert told["functions"] == ["inc", "inc", "inc", ""]
    assert told["kinds"] == [COMPUTE, ERRED, TRANSFER, TRANSFER]
    assert [told["addresses"][number] for number in told["workers"]] == ["tcp://w"] * 4
    assert (told["threads"][0], told["starts"][0], told["seconds"][0], told["nbytes"][0]) == (9, 1.0, 0.5, 28)
    assert told["words"] == ["int"] * 4
    assert (told["noted"], told["left_out"]) == (2, 3)  # transfers are no attempts
    assert (told["first"], told["since"], told["next"], told["end"]) == (0, 0, 4, 4)


def test_the_oldest_rows_go_and_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 10)
    monkeypatch.setattr(recording, "ANSWER_ROWS", 25)
    world = World(rows_kept=40)
    worker, client = world.worker("w"), world.client("c")
    look(world, client, complete=True)
    for number in range(100):
        world.say(worker, executed(10**6, start=float(number)))
    told = look(world, client, since=0, count=10**9)
    assert told["end"] == 100
    assert 100 - 50 <= told["first"] <= 100 - 40
    assert told["since"] == told["first"]
    assert told["starts"] == [float(number) for number in range(told["first"], told["first"] + 25)]
    assert told["next"] == told["first"] + 25
    assert look(world, client, since=-2)["starts"] == [98.0, 99.0]
    assert look(world, client, since=100)["starts"] == []
    assert look(world, client, since=-7, count=2)["next"] == 95


def test_times_of_a_worker_whose_clock_is_wrong_are_put_right(world: World) -> None:
    near, far, client = world.worker("near"), world.worker("far"), world.client("c")
    look(world, client, complete=True)
    world.clear()
    now_s = world.state.epoch_s + world.now_s
    world.say(near, Heartbeat({"time": now_s - 0.002}))  # the time that a message takes
    world.say(far, Heartbeat({"time": now_s + 60.0 - 0.9}))  # a minute ahead, and delayed
    world.say(far, Heartbeat({"time": now_s + 60.0 - 0.1}))
    world.say(near, executed(10**6, start=7.0))
    world.say(far, executed(10**6, start=67.0))
    starts = look(world, client, complete=True)["starts"]
    assert starts == [7.0, pytest.approx(7.1)]


@pytest.mark.parametrize(
    "wrong",
    [
        Executed([TaskId(1)], [], [1], [1.0], [1.0], [1], [0], ["x"]),
        Executed([TaskId(1)], [77], [1], [1.0], [1.0], [1], [0], ["x"]),
        Executed([TaskId(1)], [-1], [1], [1.0], [1.0], [1], [0], ["x"]),
        Executed([TaskId(1)], [0], [1], [1.0], [1.0], [1], [1], ["x"]),
        Executed([TaskId(1)], [0], [2**63], [1.0], [1.0], [1], [0], ["x"]),
        Executed([TaskId(1)], [0], [1], [1.0], [1.0], [2**63], [0], ["x"]),
    ],
    ids=["column", "kind", "kind below", "word", "thread", "size"],
)
def test_rows_that_make_no_sense_leave_nothing_behind(world: World, wrong: Executed) -> None:
    worker, client = world.worker("w"), world.client("c")
    look(world, client, complete=True)
    world.clear()
    with pytest.raises(Unexpected):
        world.say(worker, wrong)
    world.say(worker, executed(10**6))
    told = look(world, client, complete=True)
    assert {len(told[name]) for name in recording.COLUMNS} == {1}


def test_rows_that_nobody_has_asked_for_are_refused(world: World) -> None:
    with pytest.raises(Unexpected, match="nobody"):
        world.say(world.worker("w"), executed(1))
