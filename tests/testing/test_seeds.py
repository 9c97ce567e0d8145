"""Five hundred seeds of the virtual cluster, and proof that they would notice: broken engines fail, with a replay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from windrow.scheduler import dispatch, workers
from windrow.scheduler.state import MEMORY, PROCESSING, QUEUED, RELEASED, State, Task, WorkerRecord
from windrow.scheduler.transitions import TRANSITIONS, drop_value, enqueue
from windrow.testing import __main__ as command
from windrow.testing.simulation import Simulation, SimulationFailed, run_seed
from windrow.transport.replay import Replay
from windrow.wire.messages import Holds
from windrow.worker.core import WorkerCore
from windrow.worker.state import Attempt

SEEDS = 150
CHUNK = 5
"""Seeds a test: few enough to find one by its failure, many enough to keep pytest's own part small."""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_cluster_survives(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run_seed(seed)


@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_same_seed_same_trace(seed: int) -> None:
    first, again = Simulation(seed), Simulation(seed)
    assert first.run() == again.run(), f"hidden nondeterminism; compare two runs of --seed {seed} --trace"
    assert first.cluster.trace == again.cluster.trace


def test_same_seed_same_trace_in_another_process_with_other_hashes() -> None:
    code = "from windrow.testing.simulation import run_seed; print([run_seed(seed) for seed in range(5)])"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_seeds_differ() -> None:
    assert len({run_seed(seed) for seed in range(10)}) == 10


# ---------------------------------------------------------------- broken engines


def no_free(patch: pytest.MonkeyPatch) -> None:
    """Values are dropped, and workers are not told."""

    def drop(state: State, task: Task) -> None:
        for holder in task.holders:
            state.remove_holder(task, holder)
        drop_value(state, task)

    patch.setitem(TRANSITIONS, (MEMORY, RELEASED), drop)


def stale_results(patch: pytest.MonkeyPatch) -> None:
    """A worker keeps the result of an attempt that it was told to forget."""
    finish = WorkerCore.finish

    def keep(core: WorkerCore, attempt: Attempt, *outcome: Any) -> None:
        core.attempts[attempt.id] = attempt
        finish(core, attempt, *outcome)

    patch.setattr(WorkerCore, "finish", keep)


def no_followers_back(patch: pytest.MonkeyPatch) -> None:
    """What was sent ahead stays when its input comes back."""

    def take_back(state: State, task: Task) -> None:
        dependents, task.dependents = task.dependents, None
        move(state, task)
        task.dependents = dependents

    move = TRANSITIONS[PROCESSING, QUEUED]
    patch.setitem(TRANSITIONS, (PROCESSING, QUEUED), take_back)


def lost_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    """Now and then a task that comes back is put into no queue."""

    def take_back(state: State, task: Task) -> None:
        move(state, task)
        if task.queue is not None:
            task.queue.remove(task)
            state.unrunnable[task] = None  # the books still agree; only nobody looks there

    move = TRANSITIONS[PROCESSING, QUEUED]
    patch.setitem(TRANSITIONS, (PROCESSING, QUEUED), take_back)


def thread_left_idle(patch: pytest.MonkeyPatch) -> None:
    """Now and then a worker with free threads is not given what it could run; nothing else than a look finds that."""
    hand_out = dispatch._hand_out

    def once(state: State, workers: dict[WorkerRecord, None]) -> bool:
        hand_out(state, workers)
        return False

    patch.setattr(dispatch, "_hand_out", once)


def silent_fetches(patch: pytest.MonkeyPatch) -> None:
    """Workers do not announce what they have fetched."""
    take_out = WorkerCore.take_out
    patch.setattr(
        WorkerCore, "take_out", lambda core: [message for message in take_out(core) if type(message) is not Holds]
    )


def swapped_inputs(patch: pytest.MonkeyPatch) -> None:
    """Inputs reach the function in another order."""
    next_attempt = WorkerCore.next_attempt

    def swapped(core: WorkerCore) -> Any:
        attempt = next_attempt(core)
        if attempt is not None and attempt.values:
            attempt.values.reverse()
        return attempt

    patch.setattr(WorkerCore, "next_attempt", swapped)


def deaf_to_secession(patch: pytest.MonkeyPatch) -> None:
    """The scheduler sends nothing in the place of a task that waits for others."""
    patch.setattr(workers, "leave_threads", lambda state, worker, task: None)


def forgetful_sessions(patch: pytest.MonkeyPatch) -> None:
    """What was under way when a connection was cut is not all sent again."""
    again = Replay.again
    patch.setattr(Replay, "again", lambda replay, count: again(replay, count)[1:])


def repeating_sessions(patch: pytest.MonkeyPatch) -> None:
    """What has arrived is sent again, too."""
    patch.setattr(Replay, "again", lambda replay, count: [batch.copy() for batch in replay._kept])


Break = Callable[[pytest.MonkeyPatch], None]
BREAKS: list[Break] = [
    no_free,
    stale_results,
    no_followers_back,
    lost_in_the_queue,
    thread_left_idle,
    silent_fetches,
    swapped_inputs,
    deaf_to_secession,
    forgetful_sessions,
    repeating_sessions,
]
ENOUGH = 60
"""Seeds within which a broken engine must be found out."""


def first_failure() -> tuple[int, str]:
    """The first seed that fails, and what it says."""
    for seed in range(ENOUGH):
        try:
            run_seed(seed)
        except SimulationFailed as error:
            return seed, str(error)
    pytest.fail(f"{ENOUGH} seeds did not notice")


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda break_it: break_it.__name__)
def test_a_broken_engine_is_found_out(break_it: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    seed, text = first_failure()
    assert f"python -m windrow.testing --seed {seed} --trace" in text


def test_a_failure_says_what_broke_how_to_replay_it_and_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    no_free(monkeypatch)
    seed, text = first_failure()
    what, replay, *trace = text.splitlines()
    assert "keeps" in what or "has let go of" in what
    assert replay == f"seed {seed}; replay: python -m windrow.testing --seed {seed} --trace"
    assert 10 < len(trace) <= 60
    assert all(" ms  " in line for line in trace)
    with pytest.raises(SimulationFailed) as again:
        run_seed(seed)
    assert str(again.value) == text


def test_a_healthy_move_in_place_of_the_real_one_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, (RELEASED, QUEUED), lambda state, task: enqueue(state, task))
    run_seed(0)


# ---------------------------------------------------------------- the command


def test_command_runs_seeds_and_says_so() -> None:
    asked = [sys.executable, "-m", "windrow.testing", "--seeds", "5"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("5 seeds, 0 failed, ")
    assert done.stderr == ""


def test_command_runs_the_seeds_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["windrow.testing", "--first", "3", "--seeds", "2"])
    assert command.main() == 0
    assert capsys.readouterr().out.startswith("2 seeds, 0 failed")


def test_command_prints_the_trace_of_a_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["windrow.testing", "--seed", "3", "--trace"])
    assert command.main() == 0
    *trace, summary = capsys.readouterr().out.splitlines()
    simulation = Simulation(3)
    simulation.run()
    assert trace == simulation.cluster.trace
    assert summary.startswith("1 seeds, 0 failed")


def test_command_fails_with_a_seed_and_tells_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_free(monkeypatch)
    seed, text = first_failure()
    monkeypatch.setattr(sys, "argv", ["windrow.testing", "--seed", str(seed)])
    assert command.main() == 1
    printed = capsys.readouterr()
    assert text in printed.err
    assert "1 seeds, 1 failed" in printed.out
