"""What clients say: submit, want, release, cancel, retry, declare; and what they are told."""

from __future__ import annotations

import pytest
from world import World

from windrow.wire.messages import (
    Close,
    Declare,
    Failed,
    Finished,
    Function,
    Retry,
    Run,
    Submit,
    Undeclare,
)

# ---------------------------------------------------------------- submit


def test_submitted_task_runs_and_is_reported(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    assert world.heard(worker) == ["run a"]
    world.done(worker, "a", value=b"5")
    assert world.heard(client) == ["finished a=5"]


def test_run_carries_what_the_client_gave(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", priority=2.5)
    function, run = world.take(worker)
    assert function == Function(function.function, "f", b"code of f")
    assert run == Run(run.task, 1, "a", function.function, b"args of a", 2.5, True)


def test_tasks_wait_for_the_first_worker(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    assert world.states("a") == ["queued"]
    assert world.heard(world.worker()) == ["run a"]


def test_many_results_of_one_batch_leave_as_one_report(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a", "b", "c")
    world.done(worker, *world.keys(worker))
    assert world.heard(client) == ["finished a=1 b=1 c=1"]


def test_result_too_large_to_ride_along_is_reported_with_its_type(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.done(worker, *world.keys(worker), value=None, nbytes=10**6, value_type=b"ndarray")
    assert world.take(client) == [Finished(0, ["a"], [None], [b"ndarray"])]


def test_same_key_twice_in_one_message_is_one_task(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "a")
    assert world.heard(worker) == ["run a"]


def test_second_client_joins_the_task_of_the_first(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.submit(second, "a")
    assert world.heard(worker) == ["run a"]
    world.done(worker, "a")
    assert world.heard(first) == world.heard(second) == ["finished a=1"]


def test_key_that_is_done_is_reported_at_once_to_the_newcomer_only(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.done(worker, *world.keys(worker))
    assert world.heard(first) == ["finished a=1"]
    world.submit(second, "a")
    assert world.heard(second) == ["finished a=1"]


def test_key_that_has_erred_is_reported_at_once(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.keys(worker)
    world.erred(worker, "a", "no")
    assert world.heard(first) == ["failed a: no"]
    world.submit(second, "a")
    assert world.heard(second) == ["failed a: no"]


def test_submit_of_an_undeclared_function_is_cancelled_with_a_reason(world: World) -> None:
    client = world.client()
    world.say(client, Submit(b"?", ["a", "b"], [b"", b""]))
    [told] = world.heard(client)
    assert told.startswith("cancelled a b: ")
    assert "function" in told


def test_submit_on_a_forgotten_input_is_cancelled_and_the_rest_goes_on(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "x")
    world.keys(worker)
    world.say(client, Submit(b"f", ["a", "b"], [b"", b""], [["gone"], ["x"]]))
    [told] = world.heard(client)
    assert told == "cancelled a: its input 'gone' is not known to the scheduler any more"
    assert world.states("a", "b") == ["forgotten", "waiting"]


def test_task_cannot_be_its_own_input(world: World) -> None:
    client = world.client()
    world.submit(client, "a", after=["a"])
    assert world.heard(client) == ["cancelled a: its input 'a' is not known to the scheduler any more"]


def test_an_input_that_is_named_twice_is_refused(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    world.submit(client, "b", after=["a", "a"])
    assert world.heard(client) == ["cancelled b: it names an input twice"]
    assert world.states("a", "b") == ["queued", "forgotten"]


def test_declaring_twice_is_harmless(world: World) -> None:
    client = world.client()
    world.say(client, Declare(b"f", "f", b"1"), Declare(b"f", "f", b"1"))
    world.say(client, Undeclare([b"f"]))
    assert not world.state.functions


# ---------------------------------------------------------------- want


def test_want_reports_what_is_in_memory_and_follows_what_is_not(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a", "b")
    world.keys(worker)
    world.done(worker, "a")
    world.clear()
    world.want(second, "a", "b")
    assert world.heard(second) == ["finished a=1"]
    world.done(worker, "b")
    assert world.heard(second) == ["finished b=1"]
    assert world.heard(first) == ["finished b=1"]


def test_want_of_an_unknown_key_is_cancelled(world: World) -> None:
    client = world.client()
    world.want(client, "a")
    assert world.heard(client) == ["cancelled a: the scheduler does not know it any more"]


def test_want_keeps_a_value_that_its_maker_releases(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.done(worker, *world.keys(worker))
    world.want(second, "a")
    world.clear()
    world.release(first, "a")
    assert world.states("a") == ["memory"]
    assert world.heard(worker) == []


def test_want_of_a_recipe_makes_the_value_again(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    world.settle(worker)
    world.release(client, "a")
    world.clear()
    assert world.states("a", "b") == ["released", "memory"]
    world.want(client, "a")
    assert world.heard(worker) == ["run a#2"]
    world.done(worker, "a")
    assert world.heard(client) == ["finished a=1"]


# ---------------------------------------------------------------- release


def test_release_frees_the_value_and_forgets_the_task(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.done(worker, *world.keys(worker))
    world.clear()
    world.release(client, "a")
    assert world.heard(worker) == ["free a"]
    assert world.states("a") == ["forgotten"]


def test_values_released_together_are_freed_in_one_message(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a", "b", "c")
    world.done(worker, *world.keys(worker))
    world.clear()
    world.release(client, "a", "b", "c")
    assert world.heard(worker) == ["free a b c"]


def test_release_of_a_running_task_frees_its_attempt(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.release(client, "a")
    assert world.heard(worker) == ["free a"]
    assert world.states("a") == ["forgotten"]


def test_release_of_a_queued_task_tells_no_worker(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b")
    assert world.heard(worker) == ["run a"]
    world.release(client, "b")
    assert world.states("b") == ["forgotten"]


def test_release_by_one_of_two_clients_changes_nothing(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.submit(second, "a")
    world.keys(worker)
    world.release(first, "a")
    assert world.states("a") == ["processing"]
    world.done(worker, "a")
    assert world.heard(second) == ["finished a=1"]


def test_released_input_lives_while_a_dependent_needs_it_and_its_recipe_while_one_exists(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    assert world.heard(worker) == ["run a"]
    world.release(client, "a")
    world.done(worker, "a")
    assert world.heard(worker) == ["run b(a)"]
    world.done(worker, "b")
    assert world.heard(worker) == ["free a"]
    assert world.states("a", "b") == ["released", "memory"]
    assert world.heard(client) == ["finished b=1"]
    world.release(client, "b")
    assert world.heard(worker) == ["free b"]
    assert world.states("a", "b") == ["forgotten", "forgotten"]


def test_release_of_the_last_forgets_a_chain_of_any_length_without_recursion(world: World) -> None:
    client = world.client()
    keys = [f"k{number}" for number in range(40)]
    world.chain(client, *keys)
    world.release(client, *keys[:-1])
    assert set(world.states(*keys)) == {"queued", "waiting"}
    world.release(client, keys[-1])
    assert set(world.states(*keys)) == {"forgotten"}


def test_release_of_what_is_not_wanted_or_not_known_is_harmless(world: World) -> None:
    first, second = world.client(), world.client()
    world.submit(first, "a")
    world.release(second, "a", "never heard of")
    assert world.states("a") == ["queued"]


# ---------------------------------------------------------------- seen


def test_reports_carry_the_number_of_the_last_release(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b", "c")
    world.keys(worker)
    world.release(client, "c")
    world.cancel(client, "c")
    world.done(worker, "a")
    [finished] = world.take(client)
    assert finished.seen == 2
    world.keys(worker)
    world.erred(worker, "b")
    [failed] = world.take(client)
    assert (type(failed), failed.seen) == (Failed, 2)


def test_reports_before_and_after_a_release_never_share_a_message(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    start = client.seen
    world.submit(client, "a", "b")
    world.keys(worker)
    world.done(worker, "a")
    world.release(client, "a")
    world.done(worker, "b")
    assert [(report.seen, report.keys) for report in world.take(client)] == [(start, ["a"]), (start + 1, ["b"])]
    assert world.heard(worker) == ["free a"]


def test_failures_before_and_after_a_release_never_share_a_message(world: World) -> None:
    worker, client, other = world.worker(), world.client(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    world.submit(other, "x")
    world.release(client, "nothing")
    world.submit(client, "b", after=["a"])
    assert [(report.seen, report.keys) for report in world.take(client)] == [(0, ["a"]), (1, ["b"])]
    assert world.heard(worker) == ["run x"]


# ---------------------------------------------------------------- cancel


def test_cancelled_task_is_freed_and_its_canceller_told_nothing(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.cancel(client, "a")
    assert world.heard(worker) == ["free a"]
    assert world.heard(client) == []
    assert world.states("a") == ["forgotten"]


def test_cancel_takes_dependents_along(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b", "c")
    world.submit(client, "x")
    world.keys(worker)
    world.cancel(client, "a", reason="by the user")
    assert world.heard(client) == ["cancelled b c: by the user"]
    assert world.heard(worker) == ["free a", "run x"]
    assert world.states("a", "b", "c") == ["forgotten"] * 3


def test_cancel_takes_finished_and_erred_dependents_along(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.submit(client, "b", "c", after=["a"])
    world.done(worker, *world.keys(worker))
    world.keys(worker)
    world.done(worker, "b")
    world.keys(worker)
    world.erred(worker, "c")
    world.clear()
    world.cancel(client, "a")
    assert world.heard(client) == ["cancelled c b: cancelled"]
    assert world.heard(worker) == ["free a b"]


def test_cancel_leaves_what_another_client_wants(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.submit(second, "a")
    world.keys(worker)
    world.cancel(first, "a")
    assert world.states("a") == ["processing"]
    world.done(worker, "a")
    assert world.heard(second) == ["finished a=1"]
    assert world.heard(first) == []


def test_cancel_of_an_input_takes_the_dependent_of_another_client_along(world: World) -> None:
    first, second = world.client(), world.client()
    world.submit(first, "a")
    world.submit(second, "b", after=["a"])
    world.cancel(first, "a", reason="enough")
    assert world.heard(second) == ["cancelled b: enough"]


def test_cancel_by_force_takes_it_from_everybody(world: World) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.submit(first, "a")
    world.submit(second, "a")
    world.keys(worker)
    world.cancel(first, "a", force=True)
    assert world.heard(second) == ["cancelled a: cancelled"]
    assert world.heard(worker) == ["free a"]


def test_cancel_leaves_the_inputs(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    world.keys(worker)
    world.cancel(client, "b")
    assert world.states("a", "b") == ["processing", "forgotten"]
    world.done(worker, "a")
    assert world.heard(client) == ["finished a=1"]


def test_cancel_of_the_unknown_is_harmless(world: World) -> None:
    world.cancel(world.client(), "a", force=True)


def test_cancelled_key_can_be_submitted_anew(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    old = world.run(worker, "a")
    world.cancel(client, "a")
    world.submit(client, "a")
    world.clear()
    assert world.run(worker, "a").task != old.task
    world.done(worker, "a")
    [finished] = world.take(client)
    assert finished.seen == 1


# ---------------------------------------------------------------- errors, retries, retry


def test_error_spreads_to_all_dependents_at_once_with_the_same_failure(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b", "c")
    world.keys(worker)
    world.erred(worker, "a", "bad luck")
    [failed] = world.take(client)
    assert failed == Failed(0, ["a", "b", "c"], b"bad luck", "bad luck")
    assert len({id(world.task(key).failure) for key in "abc"}) == 1
    assert world.task("c").failure.root == "a"  # type: ignore[union-attr]


def test_dependent_of_an_erred_task_errs_as_it_is_submitted(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    assert world.heard(client) == ["failed a: boom"]
    world.chain(client, "a", "b", "c")
    assert world.heard(client) == ["failed a b c: boom"]
    assert world.states("a", "b", "c") == ["erred"] * 3


def test_error_of_an_unwanted_input_reaches_the_dependent(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    world.release(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    assert world.heard(client) == ["failed b: boom"]
    assert world.states("a", "b") == ["released", "erred"]


def test_sibling_of_an_error_goes_on(world: World) -> None:
    worker, client = world.worker(nthreads=2), world.client()
    world.submit(client, "a", "x")
    world.submit(client, "b", after=["a", "x"])
    world.keys(worker)
    world.erred(worker, "a")
    assert world.heard(client) == ["failed a b: boom"]
    world.done(worker, "x")
    assert world.heard(client) == ["finished x=1"]


def test_retries_are_used_up_before_it_errs(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", retries=2)
    assert world.heard(worker) == ["run a"]
    world.erred(worker, "a")
    assert world.heard(worker) == ["run a#2"]
    world.erred(worker, "a")
    assert world.heard(worker) == ["run a#3"]
    assert world.heard(client) == []
    world.erred(worker, "a", "the third")
    assert world.heard(client) == ["failed a: the third"]
    assert world.heard(worker) == []


def test_retry_runs_the_root_of_an_error_and_all_below_again(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b", "c")
    world.keys(worker)
    world.erred(worker, "a")
    world.clear()
    world.say(client, Retry(["c"]))
    assert world.heard(worker) == ["run a#2"]
    assert world.settle(worker) == []
    world.done(worker, "a")
    assert world.settle(worker) == ["b", "c"]
    assert world.heard(client) == ["finished a=1", "finished b=1 c=1"]


def test_retry_of_a_task_whose_root_was_released_runs_the_recipe(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    world.release(client, "a")
    world.keys(worker)
    world.erred(worker, "a")
    world.clear()
    world.say(client, Retry(["b"]))
    assert world.settle(worker) == ["a", "b"]
    assert world.heard(client) == ["finished b=1"]


def test_retry_of_what_has_not_erred_is_harmless(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.keys(worker)
    world.say(client, Retry(["a", "never heard of"]))
    assert world.states("a") == ["processing"]


# ---------------------------------------------------------------- a client goes


@pytest.mark.parametrize("how", ["close", "lost"])
def test_client_that_goes_wants_nothing_any_more(world: World, how: str) -> None:
    worker, first, second = world.worker(), world.client(), world.client()
    world.chain(first, "a", "b")
    world.submit(first, "shared")
    world.submit(second, "shared")
    assert world.heard(worker) == ["run a"]
    world.say(first, Close()) if how == "close" else world.lose(first)
    assert world.heard(worker) == ["free a", "run shared"]
    assert list(world.state.clients.values()) == [second]
    world.done(worker, "shared")
    assert world.heard(second) == ["finished shared=1"]


def test_client_that_goes_frees_its_functions(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.clear()
    world.lose(client)
    assert [type(message).__name__ for message in world.take(worker)] == ["Free", "FreeFunctions"]
    assert not world.state.functions
    assert not world.state.tasks


def test_loss_of_a_client_that_closed_is_nothing_new(world: World) -> None:
    client, other = world.client(), world.client()
    world.submit(other, "a")
    world.say(client, Close())
    world.lose(client)
    assert world.states("a") == ["queued"]


def test_reports_before_and_after_a_cancel_never_share_a_message(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    start = client.seen
    world.submit(client, "a", "b", "c")
    world.keys(worker)
    world.done(worker, "a")
    world.cancel(client, "c")
    world.done(worker, "b")
    assert [(report.seen, report.keys) for report in world.take(client)] == [(start, ["a"]), (start + 1, ["b"])]
    assert world.heard(worker) == ["free c"]


def test_error_above_a_diamond_reaches_its_end_once(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "top")
    world.submit(client, "left", "right", after=["top"])
    world.submit(client, "end", after=["left", "right"])
    world.keys(worker)
    world.erred(worker, "top")
    assert world.heard(client) == ["failed top left right end: boom"]
