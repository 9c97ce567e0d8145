"""The virtual cluster by hand: a few plays whose end is known, so that the seeds' judge can be trusted."""

from __future__ import annotations

from random import Random

import pytest

from windrow.testing.virtual import VirtualClient, VirtualCluster, Work, checksum


class Stage:
    """A cluster with some workers and a client."""

    def __init__(self, workers: int = 2, nanny: bool = True, seed: int = 1) -> None:
        self.cluster = VirtualCluster(Random(seed))
        self.workers = [self.cluster.add_worker(nanny=nanny) for _ in range(workers)]
        self.client = VirtualClient(self.cluster, "c")

    def play(self, steps: int = 100_000) -> None:
        """Let things happen until nothing is left to happen."""
        while steps and self.cluster.clock.step():
            steps -= 1
        assert steps, "it goes on and on"

    def until(self, line: str) -> None:
        """Let things happen until the trace says so."""
        while not any(line in said for said in self.cluster.trace):
            assert self.cluster.clock.step(), f"nothing is left to happen, and never: {line}"

    def outcome(self, key: str) -> tuple[str, int | None]:
        """What the client's future says."""
        future = self.client.futures[key]
        return future.status, future.value


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_values_are_checksums_over_their_inputs(stage: Stage) -> None:
    stage.client.submit("a", Work(1), [])
    stage.client.submit("b", Work(2), ["a"])
    stage.play()
    a = checksum(1, [])
    assert stage.outcome("a") == ("finished", a)
    assert stage.outcome("b") == ("finished", checksum(2, [a]))
    assert checksum(2, [a]) != checksum(2, [a + 1])


def test_large_values_are_gathered(stage: Stage) -> None:
    stage.client.submit("a", Work(1, nbytes=5000), [])
    stage.play()
    assert stage.outcome("a") == ("finished", checksum(1, []))
    assert any("GetData" in line for line in stage.cluster.trace)


def test_failures_reach_dependents(stage: Stage) -> None:
    stage.client.submit("a", Work(1, kind="fail"), [])
    stage.client.submit("b", Work(2), ["a"])
    stage.play()
    assert [stage.outcome(key)[0] for key in "ab"] == ["error", "error"]
    assert stage.client.futures["b"].error == stage.client.futures["a"].error


def test_flaky_tasks_end_well_with_enough_retries(stage: Stage) -> None:
    stage.client.submit("a", Work(1, kind="flaky", fails=2), [], retries=2)
    stage.client.submit("b", Work(2, kind="flaky", fails=2), [], retries=1)
    stage.play()
    assert [stage.outcome(key)[0] for key in "ab"] == ["finished", "error"]
    assert stage.cluster.runs["a"] == 3


def test_poison_ends_as_killed_worker_and_the_innocent_survive(stage: Stage) -> None:
    stage.client.submit("poison", Work(1, kind="poison", duration_s=0.01), [])
    for number in range(20):
        stage.client.submit(f"k{number}", Work(number + 2), [])
    stage.play()
    assert stage.outcome("poison")[0] == "error"
    assert {stage.outcome(f"k{number}")[0] for number in range(20)} == {"finished"}


def test_death_of_a_worker_loses_nothing(stage: Stage) -> None:
    for number in range(30):
        stage.client.submit(f"k{number}", Work(number, duration_s=0.01, nbytes=5000), [])
    stage.until("ran k5")
    stage.workers[0].die("killed")
    stage.play()
    assert {stage.outcome(f"k{number}") for number in range(30)} == {
        ("finished", checksum(number, [])) for number in range(30)
    }


def test_workers_under_nannies_are_replaced(stage: Stage) -> None:
    stage.play()
    stage.workers[0].die("killed")
    stage.play()
    assert len(stage.cluster.workers) == 2


def test_workers_without_nannies_are_not() -> None:
    stage = Stage(nanny=False)
    stage.play()
    stage.workers[0].die("killed")
    stage.play()
    assert len(stage.cluster.workers) == 1


def test_a_late_worker_takes_part(stage: Stage) -> None:
    for number in range(30):
        stage.client.submit(f"k{number}", Work(number, duration_s=0.05), [])
    stage.until("ran k3")
    late = stage.cluster.add_worker()
    stage.play()
    assert any(f"{late.name} ran" in line for line in stage.cluster.trace)


def test_values_are_fetched_from_the_next_holder_or_made_again_when_fetches_fail(stage: Stage) -> None:
    stage.cluster.fetch_failures = 0.5
    stage.client.submit("a", Work(1, duration_s=1e-5, nbytes=5000), [])
    for number in range(10):
        stage.client.submit(f"k{number}", Work(number + 2, duration_s=0.05), ["a"])
    stage.play()
    assert any("Missing" in line for line in stage.cluster.trace)
    a = checksum(1, [])
    assert stage.outcome("k9") == ("finished", checksum(11, [a]))


def test_nothing_is_left_when_the_client_goes(stage: Stage) -> None:
    for number in range(10):
        stage.client.submit(f"k{number}", Work(number), [])
    stage.until("ran k0")
    stage.client.close()
    stage.play()
    assert not stage.cluster.core.state.tasks
    assert not any(worker.core.data for worker in stage.cluster.workers.values())


def test_a_report_that_is_older_than_its_future_is_dropped(stage: Stage) -> None:
    stage.client.submit("a", Work(1), [])
    stage.until("scheduler -> <Client")  # the report is on its way
    stage.client.release(["a"])
    stage.client.submit("a", Work(1), [])
    stage.play()
    assert stage.outcome("a") == ("finished", checksum(1, []))
    assert stage.cluster.runs["a"] == 2


def test_recall_brings_work_from_a_slow_worker_to_a_fast_one() -> None:
    stage = Stage(workers=0)
    slow = stage.cluster.add_worker(slowness=1000.0)
    for number in range(40):
        stage.client.submit(f"k{number}", Work(number, duration_s=1e-4), [])
    stage.until("ran k0")
    fast = stage.cluster.add_worker()
    stage.play()
    ran = [sum(f"{worker.name} ran" in line for line in stage.cluster.trace) for worker in (slow, fast)]
    assert sum(ran) == 40
    assert ran[1] > 30
