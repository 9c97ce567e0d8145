"""The table of a task's moves: a scenario for each legal pair, and a refusal of each other one.

The scenarios drive the core by messages alone; which moves they lead to is recorded at the table.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import World

from windrow.scheduler import transitions
from windrow.scheduler.state import (
    ERRED,
    FORGOTTEN,
    MEMORY,
    PROCESSING,
    QUEUED,
    RELEASED,
    STATES,
    WAITING,
    Failure,
    FunctionRecord,
    State,
    Task,
    WorkerRecord,
)
from windrow.scheduler.transitions import TRANSITIONS
from windrow.wire.messages import Done, Retry, TaskId

Scenario = Callable[[World], None]

SCENARIOS: dict[tuple[str, str], Scenario] = {}


def leads(*pairs: tuple[str, str]) -> Callable[[Scenario], Scenario]:
    """Say which moves a scenario makes."""

    def note(scenario: Scenario) -> Scenario:
        for pair in pairs:
            assert pair not in SCENARIOS, pair
            SCENARIOS[pair] = scenario
        return scenario

    return note


@leads((RELEASED, WAITING), (WAITING, QUEUED), (QUEUED, PROCESSING), (PROCESSING, MEMORY))
def a_chain_runs(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    assert world.settle(worker) == ["a", "b"]


@leads((MEMORY, RELEASED), (RELEASED, FORGOTTEN))
def values_are_released(world: World) -> None:
    a_chain_runs(world)
    [client] = world.state.clients.values()
    world.release(client, "a", "b")
    assert world.states("a", "b") == ["forgotten", "forgotten"]


@leads((RELEASED, QUEUED))
def a_lost_value_is_made_again(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.large(worker, *world.keys(worker))
    world.lose(worker)
    assert world.states("a") == [QUEUED]


@leads((RELEASED, MEMORY))
def data_is_scattered(world: World) -> None:
    world.scatter(world.client(), a=b"1")
    assert world.states("a") == [MEMORY]


@leads((RELEASED, ERRED))
def an_input_has_erred_already(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    world.submit(client, "b", after=["a"])
    assert world.states("b") == [ERRED]


@leads((WAITING, PROCESSING), (PROCESSING, WAITING))
def a_task_sent_ahead_comes_back(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.chain(client, "a", "b")
    assert world.keys(worker) == ["a", "b"]
    world.lose(worker)
    assert world.states("a", "b") == [QUEUED, WAITING]


@leads((WAITING, ERRED), (PROCESSING, ERRED))
def an_error_spreads(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    world.keys(worker)
    world.erred(worker, "a")
    assert world.states("a", "b") == [ERRED, ERRED]


@leads((WAITING, RELEASED), (QUEUED, RELEASED))
def waiting_tasks_are_released(world: World) -> None:
    client = world.client()
    world.chain(client, "a", "b")
    world.release(client, "a", "b")
    assert world.states("a", "b") == [FORGOTTEN, FORGOTTEN]


@leads((PROCESSING, RELEASED))
def a_running_task_is_released(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.release(client, "a")
    assert world.states("a") == [FORGOTTEN]


@leads((QUEUED, WAITING))
def an_input_of_a_queued_task_is_lost(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "x")
    world.submit(client, "b", after=["a"])
    world.keys(worker)
    world.large(worker, "a", seconds=1.0)
    world.keys(worker)  # x takes the thread before b can
    assert world.states("b") == [QUEUED]
    world.lose(worker)
    assert world.states("a", "b") == [QUEUED, WAITING]


@leads((PROCESSING, QUEUED))
def an_attempt_dies_with_its_worker(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    assert world.states("a") == [QUEUED]


@leads((QUEUED, ERRED))
def an_input_fits_into_no_worker(world: World) -> None:
    worker, client = world.worker(memory_limit=1000), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.large(worker, "a", nbytes=1001)
    world.submit(client, "b", after=["a"])
    assert world.states("b") == [ERRED]


@leads((ERRED, RELEASED))
def an_erred_task_is_tried_again(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    world.say(client, Retry(["a"]))
    assert world.states("a") == [QUEUED]


@leads((MEMORY, ERRED))
def an_actor_goes_with_its_worker(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", actor=True)
    world.done(worker, "a")
    world.lose(worker)
    assert world.states("a") == [ERRED]


def test_every_legal_pair_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(TRANSITIONS)


@pytest.mark.parametrize("pair", sorted(TRANSITIONS), ids=lambda pair: "-".join(pair))
def test_legal_pair_is_reached(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    move = TRANSITIONS[pair]

    def noted(state: State, task: Task) -> None:
        made.append(pair)
        move(state, task)

    monkeypatch.setitem(TRANSITIONS, pair, noted)
    SCENARIOS[pair](World())
    assert made


ILLEGAL = [(before, after) for before in STATES for after in STATES if (before, after) not in TRANSITIONS]


@pytest.mark.parametrize("pair", ILLEGAL, ids=lambda pair: "-".join(pair))
def test_illegal_pair_raises_and_changes_nothing(pair: tuple[str, str]) -> None:
    before, after = pair
    task = Task(TaskId(1), "a", None, b"", state=before)
    state = State()
    with pytest.raises(AssertionError, match=f"no way from {before} to {after} for <Task 1 'a' {before}>"):
        transitions.step(state, task, after)
    assert task.state == before
    assert not state.agenda
    assert not state.dirty


# ---------------------------------------------------------------- promises at both ends of a move


def test_a_result_before_its_inputs_is_not_believed(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.chain(client, "a", "b")
    world.keys(worker)
    run = world.run(worker, "b")
    world.say(worker, Done(run.task, run.attempt, 0.0, 10, b"invented"))
    assert world.states("b") == [WAITING]
    assert world.heard(worker) == ["free b"]
    assert world.heard(client) == []
    world.done(worker, "a")
    assert world.heard(worker) == ["run b#2(a)"]
    assert world.heard(client) == ["finished a=1"]


def test_keep_refuses_a_task_whose_inputs_are_missing() -> None:
    worker = WorkerRecord("tcp://w", "w", 1, 0.0)
    task = Task(TaskId(1), "a", None, b"", state=PROCESSING, missing=1, worker=worker)
    with pytest.raises(AssertionError, match="before its inputs"):
        transitions.step(State(), task, MEMORY)


def test_erring_needs_a_failure() -> None:
    with pytest.raises(AssertionError):
        transitions.step(State(), Task(TaskId(1), "a", None, b"", state=WAITING), ERRED)


def test_a_wanted_task_cannot_be_forgotten(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    task = world.task("a")
    task.state = RELEASED
    with pytest.raises(AssertionError):
        transitions.step(world.state, task, FORGOTTEN)
    task.state = QUEUED


def test_settle_works_off_what_decisions_add() -> None:
    state, task, seen = State(), Task(TaskId(1), "a", None, b""), []

    def second(state: State, task: Task) -> None:
        seen.append("second")

    def first(state: State, task: Task) -> None:
        seen.append("first")
        state.agenda.append((second, task))

    state.agenda.append((first, task))
    transitions.settle(state)
    assert seen == ["first", "second"]
    assert not state.agenda


def test_failure_record_is_shared_not_copied() -> None:
    failure = Failure("a", b"", "")
    state = State()
    source = Task(TaskId(1), "a", None, b"", state=ERRED, failure=failure)
    task = Task(TaskId(2), "b", FunctionRecord(1, b"f", "f", b""), b"", inputs=[source])
    transitions.need(state, task)
    assert task.failure is failure


def test_a_forgotten_task_refers_to_nothing(world: World) -> None:
    client = world.client()
    world.chain(client, "a", "b", "c")
    tasks = [world.task(key) for key in "abc"]
    world.release(client, "a", "b", "c")
    for task in tasks:  # records are not tracked by the collector: a circle would stay for ever
        assert (task.state, task.inputs, task.dependents, task.clients, task.holders) == (FORGOTTEN, (), None, (), ())
        assert (task.worker, task.queue, task.failure) == (None, None, None)


def test_a_waiting_task_may_become_a_mere_recipe_and_wait_again(world: World) -> None:
    worker, client = world.worker(nthreads=2), world.client()
    world.submit(client, "x", "e")
    world.submit(client, "a", after=["x"])
    world.submit(client, "b", after=["a", "e"])
    world.keys(worker)
    world.release(client, "a")
    world.erred(worker, "e")  # b errs, and nobody needs a any more
    assert world.states("a", "b") == [RELEASED, ERRED]
    world.want(client, "a")
    assert world.states("a") == [WAITING]
    world.done(worker, "x")
    assert world.heard(worker) == ["run a(x)"]
    world.clear()
