"""The check of the checker: each fact that is bent is found, and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import World

from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import ERRED, MEMORY, PROCESSING, QUEUED, RELEASED, WAITING, Failure
from windrow.wire.messages import TaskId


def full_world() -> World:
    """A task in each state: mem, run, wait (for run), queued, err, and released (a recipe of needs)."""
    world = World()
    worker, client = world.worker("w"), world.client()
    world.chain(client, "released", "needs")
    world.submit(client, "mem", "err")
    for key in ("released", "needs", "mem", "err"):
        world.flush()
        world.erred(worker, key) if key == "err" else world.done(worker, key, seconds=1.0)
    world.release(client, "released")
    world.submit(client, "run", "queued")
    world.submit(client, "wait", after=["run"])
    world.flush()
    expected = [RELEASED, MEMORY, ERRED, PROCESSING, QUEUED, WAITING]
    assert world.states("released", "mem", "err", "run", "queued", "wait") == expected
    return world


Bend = Callable[[World], object]

BENDS: dict[str, Bend] = {
    "decisions are left over": lambda w: w.state.agenda.append((lambda state, task: None, w.task("run"))),
    "tables of tasks differ": lambda w: w.state.by_id.pop(w.task("run").id),
    "table by id names another": lambda w: w.state.by_id.update({w.task("run").id: w.task("wait")}),
    "unknown state": lambda w: setattr(w.task("run"), "state", "dozing"),
    "waiters": lambda w: setattr(w.task("run"), "waiters", 2),
    "missing": lambda w: setattr(w.task("wait"), "missing", 2),
    "missing of a finished task": lambda w: setattr(w.task("mem"), "missing", 1),
    "dependents": lambda w: w.task("run").dependents.clear(),  # type: ignore[union-attr]
    "inputs": lambda w: setattr(w.task("wait"), "inputs", []),
    "client does not want": lambda w: w.state.clients["c1"].wants.pop(w.task("mem")),
    "client is not listed": lambda w: setattr(w.task("mem"), "clients", ()),
    "kept for nobody": lambda w: w.state.unwant(w.state.clients["c1"], w.task("err")),
    "not needed": lambda w: setattr(w.task("released"), "state", WAITING),
    "needed, and nobody makes it": lambda w: setattr(w.task("queued"), "state", RELEASED),
    "worker of a queued task": lambda w: setattr(w.task("queued"), "worker", w.task("run").worker),
    "no worker": lambda w: setattr(w.task("run"), "worker", None),
    "failure of a task that has not erred": lambda w: setattr(w.task("mem"), "failure", Failure("", b"", "")),
    "erred without failure": lambda w: setattr(w.task("err"), "failure", None),
    "value of a task not in memory": lambda w: setattr(w.task("run"), "value", b""),
    "in memory without a value": lambda w: (
        setattr(w.task("mem"), "value", None),
        w.state.remove_holder(w.task("mem"), w.state.workers["tcp://w"]),
    ),
    "in no queue": lambda w: setattr(w.task("queued"), "queue", None),
    "processing of another's task": lambda w: w.state.workers["tcp://w"].processing.update({w.task("mem"): None}),
    "holder does not hold": lambda w: w.state.workers["tcp://w"].holds.pop(w.task("mem")),
    "holds what is not in memory": lambda w: w.state.workers["tcp://w"].holds.update({w.task("run"): None}),
    "expected load": lambda w: setattr(w.state.workers["tcp://w"], "expected_s", 99.0),
    "recalled": lambda w: w.state.workers["tcp://w"].recalled.update({w.task("mem"): None}),
    "idle though busy": lambda w: w.state.idle.update({w.state.workers["tcp://w"]: None}),
    "gone, but still listed": lambda w: w.state.open.update({w.worker("x"): w.state.workers.pop("tcp://x")}),  # type: ignore[dict-item]
    "count of a queue": lambda w: setattr(w.state.queue, "_count", 7),
    "count of a function's tasks": lambda w: setattr(w.state.functions[b"f"], "made", 0),
    "count of a function's clients": lambda w: setattr(w.state.functions[b"f"], "declared", 0),
    "status of a worker": lambda w: setattr(w.state.workers["tcp://w"], "status", "closed"),
    "key of a task": lambda w: setattr(w.task("mem"), "key", "other"),
}


def test_a_world_in_order_passes() -> None:
    check_invariants(full_world().state)


@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS.keys())
def test_each_bent_fact_is_found(bend: Bend) -> None:
    world = full_world()
    bend(world)
    with pytest.raises(AssertionError):
        check_invariants(world.state)


def test_the_message_names_task_and_fact() -> None:
    world = full_world()
    world.task("run").waiters = 5
    with pytest.raises(AssertionError, match=r"<Task \d+ 'run' processing> counts 5 waiters of 1"):
        check_invariants(world.state)


def test_a_forgotten_input_is_found() -> None:
    world = full_world()
    source = world.task("run")
    del world.state.tasks["run"]
    del world.state.by_id[TaskId(source.id)]
    with pytest.raises(AssertionError, match="forgotten"):
        check_invariants(world.state)
