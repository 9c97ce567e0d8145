"""Workers and nannies: they join, hold, miss, go silent, die; who is blamed, what becomes of tasks and values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import World

from windrow.errors import KilledWorker
from windrow.scheduler.state import Unexpected
from windrow.wire import failure
from windrow.wire.messages import Close, Failed, Heartbeat, Retry

# ---------------------------------------------------------------- joining


def test_worker_is_known_by_what_it_said(world: World) -> None:
    worker = world.worker("w", 3, memory_limit=5, pid=6, host="h", nanny="n", local_directory="/tmp/x")
    assert worker.address == "tcp://w"
    facts = (worker.name, worker.nthreads, worker.memory_limit, worker.pid, worker.host, worker.local_directory)
    assert facts == ("w", 3, 5, 6, "h", "/tmp/x")
    assert list(world.state.workers) == ["tcp://w"]


def test_worker_without_threads_counts_as_one(world: World) -> None:
    assert world.worker("w", 0).nthreads == 1


def test_second_worker_of_a_name_is_refused_with_advice(world: World) -> None:
    world.worker("w")
    with pytest.raises(Unexpected, match=r"named 'w' is there already \(tcp://w\); give this one another name"):
        world.worker("w", address="tcp://other")
    assert len(world.state.workers) == 1


def test_second_worker_at_an_address_is_refused(world: World) -> None:
    world.worker("w")
    with pytest.raises(Unexpected, match="address tcp://w is there already"):
        world.worker("v", address="tcp://w")


def test_a_worker_that_was_silent_gives_way_to_the_next_at_its_address(world: World) -> None:
    client = world.client()
    former = world.worker("w")
    world.submit(client, "a")
    assert world.keys(former) == ["a"]
    world.tick(6.0)
    worker = world.worker("w", address="tcp://w")
    assert list(world.state.workers.values()) == [worker]
    assert world.heard(worker) == ["run a#2"]


def test_name_is_free_again_when_its_worker_has_gone(world: World) -> None:
    world.say(world.worker("w"), Close())
    world.worker("w")


def test_name_of_a_lost_worker_is_free(world: World) -> None:
    worker, _ = world.nursed("w")
    world.lose(worker)
    assert world.worker("w", address="tcp://again").status == "running"


def test_the_next_worker_of_a_nanny_replaces_the_lost_one_at_once(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    successor = world.worker("w2", nanny=nanny.id)
    assert list(world.state.workers.values()) == [successor]
    assert world.heard(successor) == ["run a#2"]


# ---------------------------------------------------------------- a worker goes


@pytest.mark.parametrize("how", ["close", "lost"])
def test_attempts_of_a_worker_that_goes_run_elsewhere(world: World, how: str) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", "b")
    assert (world.keys(first), world.keys(second)) == (["a"], ["b"])
    world.say(first, Close()) if how == "close" else world.lose(first)
    world.done(second, "b")
    assert world.heard(second) == ["run a#2"]
    world.clear()


def test_value_that_only_a_dead_worker_held_is_made_again_and_reported_lost(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.large(first, *world.keys(first))
    world.clear()
    world.lose(first)
    assert world.heard(client) == ["lost a"]
    assert world.heard(second) == ["run a#2"]
    world.large(second, "a")
    assert world.heard(client) == ["finished a"]


def test_small_value_survives_its_worker(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.done(first, *world.keys(first), value=b"7")
    world.clear()
    world.lose(first)
    world.submit(client, "b", after=["a"])
    assert world.heard(second) == ["run b(a=7)"]
    assert world.heard(client) == []


def test_value_that_another_worker_holds_too_survives(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    world.submit(client, "a", workers=["w1"])
    world.large(first, *world.keys(first))
    world.submit(client, "long", workers=["w1"], function="g")
    world.submit(client, "b", after=["a"])
    world.clear()
    [fetcher] = [worker for worker in (second, third) if worker.processing]
    world.holds(fetcher, "a")
    world.lose(first)
    assert world.states("a") == ["memory"]
    assert world.heard(client) == []
    world.clear()


def test_unwanted_lost_value_is_not_made_again(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    world.large(first, *world.keys(first))
    world.submit(client, "b", after=["a"])
    world.done(first, *world.keys(first))
    world.release(client, "a")
    world.clear()
    world.lose(first)
    assert world.states("a", "b") == ["released", "memory"]
    assert world.heard(second) == []


def test_waiting_dependent_of_a_lost_value_waits_again(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", "x")
    world.submit(client, "b", after=["a", "x"])
    world.keys(second)
    world.large(first, *world.keys(first))
    world.clear()
    world.lose(first)
    assert world.task("b").missing == 2
    assert world.heard(client) == ["lost a"]
    world.done(second, "x")
    assert world.heard(second) == ["run a#2", "run b(a, x)"]
    assert world.heard(client) == ["finished x=1"]


def test_running_dependent_of_a_lost_value_is_taken_back(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.large(first, *world.keys(first))
    world.submit(client, "long", workers=["w1"], function="g")
    world.submit(client, "b", after=["a"])
    assert world.heard(second) == ["run b(a@w1)"]
    world.clear()
    world.lose(first)
    assert world.heard(second) == ["free b", "run a#2", "run b#2(a)"]
    assert world.heard(client) == ["lost a"]


def test_a_chain_of_lost_values_is_made_again_from_the_first(world: World) -> None:
    client = world.client()
    first = world.worker()
    world.chain(client, "a", "b", "c")
    for _ in "abc":
        world.large(first, *world.keys(first))
    world.release(client, "a", "b")
    world.clear()
    world.lose(first)
    assert world.heard(client) == ["lost c"]
    second = world.worker()
    assert world.settle(second) == ["a", "b", "c"]
    world.clear()


def test_loss_of_an_idle_worker_is_no_event(world: World) -> None:
    worker = world.worker()
    world.lose(worker)
    world.lose(worker)
    assert not world.state.workers
    assert not world.core.is_busy()


# ---------------------------------------------------------------- blame


@pytest.fixture
def strict() -> Iterator[World]:
    """A world where no task may survive a death."""
    world = World(allowed_failures=0)
    yield world
    assert world.unclaimed() == {}


def killed(failed: Failed) -> KilledWorker:
    """The error inside a report."""
    error = failure.load(failed.error)
    assert isinstance(error, KilledWorker)
    return error


def sentences(world: World, key: str) -> list[str]:
    """What is told of the deaths of a task's workers."""
    return [account.sentence for account in world.task(key).deaths or ()]


def test_task_errs_after_one_death_more_than_allowed_and_names_each(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    for number in range(4):
        worker = world.worker(pid=number)
        assert world.keys(worker) == ["a"]
        world.lose(worker, f"reason {number}")
    [failed] = world.take(client)
    error = killed(failed)
    assert (error.key, error.allowed_failures) == ("a", 3)
    assert [account.sentence for account in error.accounts] == [
        f"worker 'w{number + 1}' (pid {number}): reason {number}" for number in range(4)
    ]
    assert "reason 2" in failed.text
    assert world.heard(world.worker()) == []


def test_dependents_of_a_killer_err_with_it(strict: World) -> None:
    client = strict.client()
    worker = strict.worker()
    strict.chain(client, "a", "b")
    strict.keys(worker)
    strict.lose(worker)
    [failed] = strict.take(client)
    assert failed.keys == ["a", "b"]
    assert killed(failed).key == "a"


def test_without_an_account_the_first_of_what_threads_could_run_are_blamed(strict: World) -> None:
    client = strict.client()
    strict.teach(client)
    worker = strict.worker(nthreads=2)
    strict.submit(client, "a", "b", "c", "d")
    strict.keys(worker)
    strict.lose(worker)
    assert strict.states("a", "b", "c", "d") == ["erred", "erred", "queued", "queued"]
    assert [report.keys for report in strict.take(client)] == [["a"], ["b"]]


def test_what_was_sent_ahead_cannot_have_run_and_is_not_blamed(strict: World) -> None:
    client = strict.client()
    strict.teach(client)
    worker = strict.worker(nthreads=2)
    strict.submit(client, "x")
    strict.submit(client, "y", after=["x"])
    strict.submit(client, "z")
    assert sorted(strict.keys(worker)) == ["x", "y", "z"]
    strict.lose(worker)
    assert strict.states("x", "z") == ["erred", "erred"]
    assert sorted(key for report in strict.take(client) for key in report.keys) == ["x", "y", "z"]
    assert strict.task("y").failure is strict.task("x").failure


def test_the_flight_recorder_alone_says_who_was_running(strict: World) -> None:
    client = strict.client()
    strict.teach(client)
    worker, nanny = strict.nursed("w")
    strict.submit(client, "a", "b", "c")
    strict.keys(worker)
    strict.lose(worker)
    strict.died(nanny, worker, "killed by SIGSEGV", running=["b"])
    assert strict.states("a", "b", "c") == ["queued", "erred", "queued"]
    [failed] = strict.take(client)
    [account] = killed(failed).accounts
    assert account.sentence == "worker 'w' (pid 7): killed by SIGSEGV"
    assert (account.address, account.tasks) == (worker.address, ("b",))


def test_an_empty_flight_recorder_blames_nobody(strict: World) -> None:
    client = strict.client()
    worker, nanny = strict.nursed("w")
    strict.submit(client, "a")
    strict.keys(worker)
    strict.lose(worker)
    strict.died(nanny, worker, running=[])
    assert strict.states("a") == ["queued"]


def test_a_flight_recorder_may_name_what_is_not_there_any_more(strict: World) -> None:
    client = strict.client()
    worker, nanny = strict.nursed("w")
    strict.submit(client, "a", "b")
    strict.keys(worker)
    strict.release(client, "a")
    strict.clear()
    strict.lose(worker)
    strict.died(nanny, worker, running=["a"])
    assert strict.states("a", "b") == ["forgotten", "queued"]


def test_an_expected_end_blames_nobody(strict: World) -> None:
    client = strict.client()
    worker, nanny = strict.nursed("w")
    strict.submit(client, "a")
    strict.keys(worker)
    strict.died(nanny, worker, "scaled down", running=["a"], expected=True)
    strict.lose(worker)
    assert strict.states("a") == ["queued"]


def test_an_expected_end_after_the_loss_blames_nobody(strict: World) -> None:
    client = strict.client()
    worker, nanny = strict.nursed("w")
    strict.submit(client, "a")
    strict.keys(worker)
    strict.lose(worker)
    strict.died(nanny, worker, "scaled down", running=["a"], expected=True)
    assert strict.states("a") == ["queued"]


def test_a_good_bye_blames_nobody(strict: World) -> None:
    client, worker = strict.client(), strict.worker()
    strict.submit(client, "a")
    strict.keys(worker)
    strict.say(worker, Close("scaled down"))
    assert strict.states("a") == ["queued"]


def test_deaths_are_forgotten_when_an_erred_task_is_retried(strict: World) -> None:
    client = strict.client()
    strict.submit(client, "a")
    for _ in range(2):
        worker = strict.worker()
        strict.keys(worker)
        strict.lose(worker)
        [failed] = strict.take(client)
        assert len(killed(failed).deaths) == 1
        strict.say(client, Retry(["a"]))


# ---------------------------------------------------------------- nannies


def test_tasks_stay_put_until_the_nanny_s_account(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    spare = world.worker("spare")
    world.submit(client, "a", workers=["w"], allow_other_workers=True)
    world.keys(worker)
    world.lose(worker)
    assert world.states("a") == ["processing"]
    assert world.core.is_busy()
    assert world.heard(spare) == []
    world.died(nanny, worker)
    assert world.heard(spare) == ["run a#2"]
    assert sentences(world, "a") == ["worker 'w' (pid 7): killed by SIGKILL"]


def test_an_account_may_come_before_the_loss(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    world.died(nanny, worker, "exit code 3", running=["a"])
    assert world.states("a") == ["processing"]
    world.done(worker, "a")  # what it said last is still on its way
    assert world.heard(client) == ["finished a=1"]
    world.submit(client, "b")
    world.keys(worker)
    world.lose(worker)
    assert world.states("b") == ["queued"]
    assert world.task("b").deaths is None  # the recorder had a
    assert not world.state.workers


def test_without_an_account_in_time_tasks_move_on(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    world.tick(after=0.9)
    assert world.states("a") == ["processing"]
    world.tick(after=0.1)
    assert world.states("a") == ["queued"]
    [death] = sentences(world, "a")
    assert "gave no account" in death


def test_a_second_loss_does_not_put_off_the_end_of_the_wait(world: World) -> None:
    worker, _ = world.nursed("w")
    world.lose(worker)
    world.now_s += 0.9
    world.lose(worker)
    world.tick(after=0.1)
    assert not world.state.workers


def test_a_late_account_is_ignored(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    world.tick(after=1.0)
    world.died(nanny, worker)
    assert len(world.task("a").deaths or []) == 1


def test_a_nanny_cannot_speak_for_another_s_worker(world: World) -> None:
    worker, _ = world.nursed("w")
    stranger = world.nanny("stranger")
    world.died(stranger, worker, expected=True)
    assert worker.status == "running"


@pytest.mark.parametrize("how", ["close", "lost"])
def test_a_worker_whose_nanny_has_gone_is_not_waited_for(world: World, how: str) -> None:
    worker, nanny = world.nursed("w")
    world.say(nanny, Close()) if how == "close" else world.lose(nanny)
    assert worker.status == "running"
    world.lose(worker)
    assert not world.state.workers


def test_an_old_connection_of_a_nanny_that_came_back_changes_nothing(world: World) -> None:
    old = world.nanny("n")
    new = world.nanny("n")
    world.lose(old)
    assert world.state.nannies == {"n": new}


def test_no_new_task_goes_to_a_lost_worker(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w", nthreads=4)
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    world.submit(client, "b")
    world.submit(client, "c", workers=["w"])
    assert world.heard(worker) == []
    assert world.states("b", "c") == ["queued", "queued"]


def test_nothing_is_sent_ahead_to_a_lost_worker(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w", nthreads=4)
    world.submit(client, "a")
    world.keys(worker)
    world.lose(worker)
    world.submit(client, "b", after=["a"])
    assert world.heard(worker) == []


def test_an_account_counts_though_somebody_else_holds_the_link_open(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    world.died(nanny, worker, "was killed", running=["a"])
    spare = world.worker()
    world.tick(after=0.9)
    assert world.heard(spare) == []
    world.tick(after=0.2)
    assert world.heard(spare) == ["run a#2"]
    [death] = sentences(world, "a")
    assert "was killed" in death


def test_a_nanny_s_next_worker_takes_the_place_of_its_last(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(worker)
    again = world.worker("again", nanny=nanny.id)
    assert list(world.state.workers.values()) == [again]
    assert world.heard(again) == ["run a#2"]
    assert not world.task("a").deaths


def test_an_account_is_not_used_for_a_later_worker_at_the_same_address(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.died(nanny, worker, "the account of the first", running=[])
    world.say(worker, Close())
    later = world.worker("w")
    world.submit(client, "a")
    world.keys(later)
    world.lose(later, "the end of the second")
    assert sentences(world, "a") == ["worker 'w' (pid 0): the end of the second"]


# ---------------------------------------------------------------- silence


def test_silent_worker_without_a_nanny_is_taken_out(world: World) -> None:
    client = world.client()
    silent, spare = world.workers(2)
    world.submit(client, "a")
    world.keys(silent)
    world.now_s += 200
    world.say(spare, Heartbeat())
    world.tick(after=99.9)
    assert world.state.workers == {"tcp://w1": silent, "tcp://w2": spare}
    world.tick(after=0.2)
    assert list(world.state.workers.values()) == [spare]
    assert world.heard(spare) == ["run a#2"]
    [death] = sentences(world, "a")
    assert "silent for more than 300 s" in death
    assert "worker-ttl" in death
    assert type(world.take(silent)[-1]) is Close


def test_a_nanny_vouches_for_its_silent_worker(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.submit(client, "holds the GIL")
    world.keys(worker)
    world.tick(after=10_000)
    assert worker.status == "running"
    world.lose(nanny)
    world.tick()
    assert not world.state.workers
    assert type(world.take(worker)[-1]) is Close


def test_heartbeat_keeps_a_worker_and_brings_its_facts(world: World) -> None:
    worker = world.worker()
    for _ in range(3):
        world.now_s += 200
        world.say(worker, Heartbeat({"memory": 5.0}))
        world.tick()
    assert worker.metrics == {"memory": 5.0}
    assert worker.status == "running"


def test_silent_worker_is_told_to_close(world: World) -> None:
    silent = world.worker()
    world.tick(after=301)
    [close] = world.take(silent)
    assert type(close) is Close
