"""How many workers are asked for, which can be missed, and since when nothing is to be done."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler import replicas, scaling
from windrow.scheduler.scaling import adaptive_target, missable, workers_to_close
from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire.messages import Ghosts, Heartbeat, Seceded
from windrow.wire.requests import AdaptiveTarget, Retire, RunFunction, Scatter, WorkersToClose

MB = 1_000_000
TARGET_S = 5.0


def keys(count: int, of: str = "x") -> list[str]:
    return [f"{of}{number}" for number in range(count)]


def wanted(world: World, **options: Any) -> int:
    """How many workers are asked for, with nothing left unsaid."""
    world.flush()
    return adaptive_target(world.state, TARGET_S, **options)


def data_on(world: World, client: ClientRecord, worker: WorkerRecord, *keys: str, nbytes: int = MB) -> None:
    """Large scattered data that one worker holds, and nobody else."""
    values = [b"v" for _ in keys]
    world.ask(client, Scatter(list(keys), values, [nbytes] * len(keys), [None] * len(keys), [worker.address]))
    world.clear()


def names(chosen: list[WorkerRecord]) -> list[Any]:
    return [worker.name for worker in chosen]


# ---------------------------------------------------------------- how many


def test_nothing_to_do_asks_for_nobody(world: World) -> None:
    assert wanted(world) == 0
    world.workers(3)
    assert wanted(world) == 0


@pytest.mark.parametrize(
    ("tasks", "seconds", "expected"),
    [
        (1, 0.001, 1),  # whatever it is, somebody must do it
        (10, 0.5, 1),
        (100, 0.5, 10),
        (101, 0.5, 11),
        (10, 60.0, 10),  # a thread each, and no more
        (1_000, 0.001, 1),
    ],
)
def test_work_is_shared_out_over_the_time(world: World, tasks: int, seconds: float, expected: int) -> None:
    client = world.client()
    world.teach(client, seconds)
    world.submit(client, *keys(tasks))
    assert wanted(world) == expected


def test_what_workers_were_sent_counts_too(world: World) -> None:
    client = world.client()
    world.teach(client, 1.0)
    [worker] = world.workers(1)
    world.submit(client, *keys(20))
    assert len(world.keys(worker)) == 1
    assert wanted(world) == 4


def test_a_function_that_is_not_known_takes_what_is_configured() -> None:
    for unknown_s, expected in ((0.5, 10), (5.0, 100), (0.01, 1)):
        world = World(unknown_s=unknown_s)
        world.submit(world.client(), *keys(100))
        assert wanted(world) == expected


def test_functions_count_by_what_each_takes(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001, "quick")
    world.teach(client, 10.0, "slow")
    world.submit(client, *keys(5_000, "quick"), function="quick")
    assert wanted(world) == 1
    world.submit(client, *keys(5, "slow"), function="slow")  # far behind in the queue
    assert wanted(world) == 11  # 5 s and 50 s


def test_threads_of_workers_are_counted(world: World) -> None:
    client = world.client()
    world.teach(client, 1.0)
    world.submit(client, *keys(100))
    assert wanted(world) == 20
    assert wanted(world, nthreads=4) == 5
    world.worker(nthreads=2)
    world.worker(nthreads=6)
    assert wanted(world, nthreads=1) == 5
    world.clear()


def test_what_waits_for_others_asks_for_nobody(world: World) -> None:
    client = world.client()
    world.teach(client, 60.0)
    world.chain(client, *keys(50))
    assert wanted(world) == 1
    [worker] = world.workers(1)
    world.keys(worker)
    assert wanted(world) == 1


def test_what_has_left_its_thread_asks_for_none(world: World) -> None:
    client = world.client()
    world.teach(client, 60.0)
    [worker, _] = world.workers(2)
    world.submit(client, "a")
    assert world.keys(worker) == ["a"]
    assert wanted(world) == 1
    run = world.run(worker, "a")
    world.say(worker, Seceded(run.task, run.attempt, True))
    assert wanted(world) == 1  # where it lives
    world.submit(client, *keys(2, "b"))
    assert wanted(world) == 2
    world.clear()


# ---------------------------------------------------------------- longer than expected


def test_tasks_of_an_unknown_function_ask_for_more_the_longer_they_run(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.submit(client, *keys(20))
    world.keys(worker)
    assert wanted(world) == 2
    for after, expected in ((1.0, 8), (1.5, 20), (100.0, 20)):
        world.tick(after)
        assert wanted(world) == expected


def test_one_straggler_of_a_known_function_says_nothing_about_the_others(world: World) -> None:
    client = world.client()
    world.teach(client, 0.1)
    first, second = world.workers(2)
    world.submit(client, *keys(200))
    world.clear()
    world.tick(30.0)
    running = next(iter(second.processing)).key
    world.done(second, running, seconds=0.1)
    world.clear()
    assert wanted(world) == 4
    world.tick(30.0)  # now both are late
    assert wanted(world) == 199
    world.clear()
    assert first.processing


def test_work_behind_a_straggler_asks_for_others(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    [worker] = world.workers(1)
    world.submit(client, *keys(8))
    assert len(world.keys(worker)) == 8  # it was to take no time
    assert wanted(world) == 1
    world.tick(10.0)
    assert wanted(world) == 8
    world.clear()


def test_what_has_left_its_thread_is_not_late(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.submit(client, "a")
    assert world.keys(worker) == ["a"]
    run = world.run(worker, "a")
    world.say(worker, Seceded(run.task, run.attempt, True))
    world.submit(client, "b")
    assert world.keys(worker) == ["b"]
    assert wanted(world) == 1
    world.tick(100.0)
    assert wanted(world) == 1  # there is one task


# ---------------------------------------------------------------- what asks for workers or resources


def test_resources_are_counted_beside_threads(world: World) -> None:
    client = world.client()
    world.teach(client, 10.0)
    world.worker(nthreads=8, resources={"GPU": 2.0})
    world.submit(client, *keys(12), resources={"GPU": 1.0})
    assert wanted(world) == 6
    world.clear()


def test_what_runs_and_takes_resources_counts_with_what_waits_for_them(world: World) -> None:
    client = world.client()
    world.teach(client, 3600.0)
    world.worker(nthreads=8, resources={"GPU": 1.0})
    world.submit(client, "x0", resources={"GPU": 1.0})
    assert wanted(world) == 1
    world.submit(client, "x1", resources={"GPU": 1.0})
    assert wanted(world) == 2
    world.clear()


@pytest.mark.parametrize("asked", [{"resources": {"TPU": 1.0}}, {"workers": ["elsewhere"]}])
def test_what_nobody_may_run_asks_for_one_at_the_most(world: World, asked: Any) -> None:
    client = world.client()
    world.submit(client, *keys(500), **asked)
    assert wanted(world) == 1
    world.worker("here", resources={"GPU": 1.0})
    assert wanted(world) == 1


def test_what_only_one_worker_may_run_asks_for_no_others(world: World) -> None:
    client = world.client()
    world.teach(client, 10.0)
    first, second = world.workers(2)
    world.submit(client, *keys(50), workers=["w2"])
    assert len(world.keys(first)) == 0
    assert len(world.keys(second)) == 1
    assert wanted(world) == 1
    world.submit(client, *keys(3, "y"))
    assert wanted(world) == 4
    world.clear()


def test_what_is_asked_of_a_host_may_ask_for_more_on_it(world: World) -> None:
    client = world.client()
    world.teach(client, 10.0)
    world.worker("a", host="here")
    world.submit(client, *keys(50), workers=["here"])
    assert wanted(world) == 50
    world.clear()


def test_work_of_a_worker_that_has_ended_is_not_forgotten(world: World) -> None:
    client = world.client()
    world.teach(client, 10.0)
    worker, _ = world.nursed("a")
    world.submit(client, "x0")
    assert world.keys(worker) == ["x0"]
    world.lose(worker)
    assert worker.status == "lost"
    assert wanted(world) == 1


# ---------------------------------------------------------------- memory, and what cannot be missed


def test_full_memory_asks_for_as_many_again(world: World) -> None:
    client = world.client()
    first, second = [world.worker(memory_limit=10 * MB) for _ in range(2)]
    data_on(world, client, first, "a", nbytes=8 * MB)
    assert wanted(world) == 2  # one alone could not hold twice as much
    data_on(world, client, second, "b", nbytes=5 * MB)
    assert wanted(world) == 4
    world.workers(2, memory_limit=10 * MB)
    assert wanted(world) == 3


def test_paused_workers_are_of_no_help_and_stay(world: World) -> None:
    client = world.client()
    world.teach(client, 10.0)
    full, busy = [world.worker(name, memory_limit=10 * MB) for name in ("full", "busy")]
    world.submit(client, "x", workers=["busy"], allow_other_workers=True)
    world.clear()
    data_on(world, client, full, "a", nbytes=MB)
    full.status = "paused"
    world.state.open_or_idle(full)
    assert adaptive_target(world.state, TARGET_S) == 2
    assert names(missable(world.state, n=2)) == ["busy"]
    assert missable(world.state, target=1, idle_only=True) == []
    full.status = "running"
    world.state.open_or_idle(full)
    assert busy.processing


def test_workers_without_a_limit_are_never_full(world: World) -> None:
    client = world.client()
    first, _ = world.workers(2)
    data_on(world, client, first, "a", nbytes=8_000 * MB)
    assert wanted(world) == 1


def test_nobody_who_works_is_given_up(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    for worker in world.workers(3):
        world.submit(client, f"on {worker.name}")
        world.keys(worker)
    world.worker("idle")
    assert wanted(world) == 3


def test_small_results_keep_no_worker(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.submit(client, "a")
    world.done(worker, "a")
    world.clear()
    assert worker.stored > 0
    assert wanted(world) == 0
    world.submit(client, "b")
    world.large(worker, "b")
    world.clear()
    assert wanted(world) == 1


def test_idle_workers_with_little_data_can_be_missed(world: World) -> None:
    client = world.client()
    busy = world.worker("busy", memory_limit=10 * MB)
    world.submit(client, "x")
    world.keys(busy)
    first, second = [world.worker(name, memory_limit=10 * MB) for name in ("one", "two")]
    data_on(world, client, first, "a", nbytes=6 * MB)
    state = world.state
    assert names(missable(state)) == ["two"]
    assert names(missable(state, memory_ratio=1.0)) == ["two", "one"]
    assert names(missable(state, n=3)) == ["two", "one", "busy"]
    assert names(missable(state, n=3, idle_only=True)) == ["two", "one"]
    assert names(missable(state, target=2)) == ["two"]
    assert names(missable(state, n=3, minimum=2)) == ["two"]
    assert missable(state, target=3) == []
    together = {busy: 0, second: 0}
    assert names(missable(state, n=1, key=lambda worker: together.get(worker, worker))) == ["one"]
    assert sorted(names(missable(state, n=3, key=lambda worker: together.get(worker, worker)))) == [
        "busy",
        "one",
        "two",
    ]
    assert workers_to_close(state, n=1) == ["tcp://two"]
    assert workers_to_close(state, n=2, attribute="name") == ["two", "one"]


def test_nobody_can_be_missed_while_all_work(world: World) -> None:
    client = world.client()
    for worker in world.workers(2):
        world.submit(client, f"on {worker.name}", workers=[worker.address])
        world.keys(worker)
    assert missable(world.state) == []
    assert missable(world.state, target=0, idle_only=True) == []


def test_a_worker_with_a_queue_of_its_own_works(world: World) -> None:
    client = world.client()
    worker = world.worker("slow", nthreads=1)
    world.say(worker, Ghosts(1))  # its thread is taken by what nobody wants any more
    world.submit(client, "a", workers=["slow"], allow_other_workers=True)
    world.clear()
    assert not worker.processing
    assert scaling.is_working(worker)
    assert missable(world.state, n=1, idle_only=True) == []


def test_who_has_left_its_thread_or_is_an_actor_keeps_its_worker(world: World) -> None:
    client = world.client()
    first, second, _third = world.workers(3)
    world.submit(client, "waits", workers=["w1"], allow_other_workers=True)
    world.submit(client, "actor", actor=True, workers=["w2"], allow_other_workers=True)
    world.keys(first)
    run = world.run(first, "waits")
    world.say(first, Seceded(run.task, run.attempt, True))
    world.done(second, "actor")
    world.clear()
    assert names(missable(world.state, n=3)) == ["w3"]


def test_the_last_that_may_run_a_task_stays(world: World) -> None:
    client = world.client()
    for name in ("a", "b"):
        world.worker(name, resources={"GPU": 1.0})
    world.worker("c")
    world.worker("plain")
    world.submit(client, "first")  # on a
    world.clear()
    busy = next(worker for worker in world.state.workers.values() if worker.processing)
    world.submit(client, "later", after=["first"], resources={"GPU": 1.0})  # waits, and is in no queue
    world.submit(client, "named", after=["first"], workers=["c"])
    world.submit(client, "free", after=["first"], workers=["plain"], allow_other_workers=True)
    assert world.states("later", "named", "free") == ["waiting"] * 3
    chosen = names(missable(world.state, n=4, idle_only=True))
    assert chosen == (["b", "plain"] if busy.name == "a" else ["a", "plain"])
    assert len(names(missable(world.state, n=4))) == 2
    world.release(client, "later", "named", "free")
    assert len(missable(world.state, n=4)) == 4


def test_finished_tasks_keep_nobody(world: World) -> None:
    client = world.client()
    first, _ = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    world.done(first, "a")
    world.clear()
    assert len(missable(world.state, n=2)) == 2


def test_plugins_keep_workers(world: World) -> None:
    world.workers(3)
    world.state.may_go = lambda workers: [worker for worker in workers if worker.name != "w1"]
    assert names(missable(world.state, n=3)) == ["w2", "w3"]
    assert wanted(world) == 1
    assert missable(world.state, n=3, key=lambda worker: "all") == []


# ---------------------------------------------------------------- asked by clients


def test_clients_ask_how_many_and_which(world: World) -> None:
    client = world.client()
    world.submit(client, *keys(20))
    world.ask(client, AdaptiveTarget(TARGET_S, nthreads=2))
    assert world.answer(client).value == 1
    world.ask(client, AdaptiveTarget(1.0, nthreads=2))
    assert world.answer(client).value == 5
    world.release(client, *keys(20))
    world.worker(7)
    world.worker("b")
    world.ask(client, WorkersToClose(n=1))
    assert world.answer(client).value == [["tcp://7", 7]]
    world.ask(client, WorkersToClose(target=1, groups={"tcp://7": 0, "tcp://b": 0}))
    assert world.answer(client).value == []


def test_a_time_that_is_none_is_refused(world: World) -> None:
    client = world.client()
    world.ask(client, AdaptiveTarget(0.0))
    assert world.answer(client).error is not None


def test_those_that_have_got_work_since_they_were_chosen_stay(world: World) -> None:
    client = world.client()
    first, _ = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    assert world.keys(first) == ["a"]
    world.ask(client, Retire(["w1", "w2"], close=False, idle_only=True))
    assert world.answer(client).value == ["tcp://w2"]
    assert first.status == "running"
    assert [worker.status for worker in world.state.workers.values()] == ["running", replicas.CLOSING]


# ---------------------------------------------------------------- since when nothing is done


def test_idle_since_the_last_result(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    core = world.core
    world.now_s = 200.0
    world.submit(client, "a")
    assert core.idle_since_s is None
    world.flush()
    assert core.idle_since_s is None
    world.now_s = 300.0
    world.done(worker, "a")
    world.now_s = 400.0
    world.say(worker, Heartbeat())
    assert core.idle_since_s == 300.0
    world.clear()


def test_work_between_two_looks_is_noticed(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.submit(client, "a")
    world.done(worker, "a")
    world.clear()
    assert world.core.idle_since_s == 100.0
    world.now_s = 200.0
    world.submit(client, "b")
    world.done(worker, "b")
    world.now_s = 300.0
    world.scatter(client, c=b"1")
    world.clear()
    assert world.core.idle_since_s == 300.0


@pytest.mark.parametrize("asked", [{}, {"workers": ["elsewhere"]}, {"resources": {"TPU": 1.0}}])
def test_what_cannot_run_yet_is_to_be_done(world: World, asked: Any) -> None:
    client = world.client()
    world.submit(client, "a", **asked)
    world.now_s = 200.0
    assert world.core.idle_since_s is None
    world.release(client, "a")
    assert world.core.idle_since_s == 200.0


def test_a_function_that_runs_outside_of_tasks_is_something_to_do(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.ask(client, RunFunction(b"call"))
    assert world.core.idle_since_s is None
    world.reply(worker, b"done", to=world.question(worker))
    assert world.core.idle_since_s is not None
    world.answer(client)


def test_who_comes_and_goes_does_nothing(world: World) -> None:
    client = world.client()
    [worker] = world.workers(1)
    world.submit(client, "a")
    world.done(worker, "a")
    world.clear()
    assert world.core.idle_since_s == 100.0
    world.now_s = 200.0
    late = world.worker("late")
    world.client()
    world.lose(late)
    assert world.core.idle_since_s == 100.0
