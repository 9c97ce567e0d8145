"""The worker's core: run, wait, fetch, free, recall; whatever is forgotten leaves no trace."""

from __future__ import annotations

from lone import Lone, run

from windrow.wire.messages import Done, Erred, Free, FreeFunctions, Function, Put, Recall, Run, TaskId


def free(*tasks: int) -> Free:
    """A `Free` message."""
    return Free([TaskId(task) for task in tasks])


def recall(*tasks: int) -> Recall:
    """A `Recall` message."""
    return Recall([TaskId(task) for task in tasks])


# ---------------------------------------------------------------- run


def test_attempt_runs_and_its_result_is_kept_and_reported(lone: Lone) -> None:
    lone.hear(run(1))
    attempt = lone.start()
    assert attempt is not None
    assert (attempt.id, attempt.number, attempt.key, attempt.values) == (1, 1, "k1", None)
    assert lone.core.running == 1
    lone.core.finish(attempt, "value", 0.25, 99, b"blob", b"type")
    assert lone.core.take_out() == [Done(TaskId(1), 1, 0.25, 99, b"blob", b"type")]
    assert lone.value(1) == "value"
    assert lone.core.running == 0
    assert not lone.core.attempts


def test_attempt_that_raises_is_reported_and_leaves_nothing(lone: Lone) -> None:
    lone.hear(run(1))
    attempt = lone.start()
    assert attempt is not None
    lone.core.fail(attempt, 0.5, b"error", "text")
    assert lone.core.take_out() == [Erred(TaskId(1), 1, 0.5, b"error", "text")]
    assert lone.is_empty()
    assert lone.core.running == 0


def test_nothing_to_run(lone: Lone) -> None:
    assert lone.start() is None
    assert lone.core.running == 0


def test_attempts_run_by_priority_and_then_in_order(lone: Lone) -> None:
    lone.hear(run(1), run(2), run(3, priority=1.0), run(4))
    assert lone.starts() == [3, 1, 2, 4]


def test_out_is_taken_once(lone: Lone) -> None:
    lone.hear(run(1))
    lone.run_all()
    assert lone.said() == ["done 1#1"]
    assert lone.said() == []


# ---------------------------------------------------------------- inputs


def test_inputs_come_in_the_order_of_their_positions(lone: Lone) -> None:
    lone.hear(run(1), run(2))
    first, second = lone.start(), lone.start()
    lone.finish(second, "two")
    lone.finish(first, "one")
    lone.said()
    lone.hear(run(3, 1, 2, 1))
    attempt = lone.start()
    assert attempt is not None
    assert attempt.values == ["two", "one"]


def test_attempt_sent_ahead_runs_after_its_input_in_the_same_visit(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), run(3, 1, 2))
    first = lone.start()
    assert lone.start() is None
    lone.finish(first, "one")
    second = lone.start()
    assert second is not None
    assert (second.id, second.values) == (2, ["one"])
    lone.finish(second)
    assert lone.starts() == [3]
    assert lone.said() == ["done 1#1", "done 2#1"]


def test_attempt_waits_for_the_last_of_its_inputs(lone: Lone) -> None:
    lone.hear(run(1), run(2), run(3, 1, 1, 2))
    first, second = lone.start(), lone.start()
    lone.finish(first)
    assert lone.start() is None
    lone.finish(second)
    assert lone.starts() == [3]
    assert lone.said() == ["done 1#1", "done 2#1"]


def test_shipped_input_is_kept_packed_for_all_who_need_it(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, shipped={1: b"one"}), run(3, 1, 1))
    first, second = lone.start(), lone.start()
    assert first is not None
    assert second is not None
    assert first.values == second.values
    assert lone.value(1) == b"one"


def test_unpacked_value_replaces_the_packed_one(lone: Lone) -> None:
    lone.hear(Put(TaskId(1), "k1", b"one"))
    packed = lone.core.data[1]
    lone.core.data.unpacked(1, packed, "one")  # type: ignore[arg-type]
    assert lone.core.data[1] == "one"


def test_unpacked_value_does_not_bring_back_what_was_freed_or_replaced(lone: Lone) -> None:
    lone.hear(Put(TaskId(1), "k1", b"one"))
    packed = lone.core.data[1]
    lone.hear(free(1))
    lone.core.data.unpacked(1, packed, "one")  # type: ignore[arg-type]
    assert lone.is_empty()
    lone.hear(Put(TaskId(1), "k1", b"new"))
    lone.core.data.unpacked(1, packed, "one")  # type: ignore[arg-type]
    assert lone.value(1) == b"new"


def test_scattered_data_is_held_until_it_is_freed(lone: Lone) -> None:
    lone.hear(Put(TaskId(1), "k1", b"one"))
    assert lone.value(1) == b"one"
    lone.hear(free(1))
    assert lone.is_empty()


def test_input_that_is_nowhere_is_missing(lone: Lone) -> None:
    lone.hear(run(2, 1, 1))
    assert lone.said() == ["missing 2#1 for 1"]
    assert lone.is_empty()


def test_missing_input_withdraws_from_those_that_were_found(lone: Lone) -> None:
    lone.hear(run(1), run(3, 1, 1, 2))
    assert lone.said() == ["missing 3#1 for 2"]
    assert not lone.core.waiting_for
    assert lone.run_all() == [1]
    assert lone.said() == ["done 1#1"]


def test_input_freed_under_a_ready_attempt_is_missing(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, shipped={1: b"one"}), run(3))
    lone.hear(free(1))
    assert lone.starts() == [3]
    assert lone.said() == ["missing 2#1 for 1"]


def test_input_freed_under_a_running_attempt_is_still_its(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, shipped={1: b"one"}))
    attempt = lone.start()
    lone.hear(free(1))
    assert attempt is not None
    assert len(attempt.values or []) == 1
    lone.finish(attempt)
    assert lone.said() == ["done 2#1"]


# ---------------------------------------------------------------- fetch


def test_input_is_fetched_and_announced(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    assert lone.asks() == {"a": [1]}
    assert lone.start() is None
    lone.fetched(1, b"one")
    assert lone.said() == ["holds 1"]
    assert lone.value(1) == b"one"
    assert lone.starts() == [2]


def test_many_inputs_of_one_holder_are_one_question_and_one_announcement(lone: Lone) -> None:
    lone.hear(run(4, 1, 1, 2, 3, where={1: ["a"], 2: ["a"], 3: ["a"]}))
    assert lone.asks() == {"a": [1, 2, 3]}
    for task in (1, 2, 3):
        lone.fetched(task, b"")
    assert lone.said() == ["holds 1 2 3"]
    assert lone.starts() == [4]


def test_input_that_many_wait_for_is_fetched_once(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}), run(3, 1, 1, where={1: ["a"]}))
    assert lone.asks() == {"a": [1]}
    lone.fetched(1, b"one")
    assert lone.starts() == [2, 3]
    assert lone.said() == ["holds 1"]


def test_readers_are_spread_over_holders(lone: Lone) -> None:
    holders = ["a", "b", "c"]
    lone.hear(run(9, 1, 1, 2, 3, where={1: holders, 2: holders, 3: holders}))
    assert {address: len(ids) for address, ids in lone.asks().items()} == {"a": 1, "b": 1, "c": 1}


def test_each_holder_is_asked_in_turn(lone: Lone) -> None:
    lone.hear(run(2, 1, 3, where={3: ["a", "b", "c"]}))
    assert lone.asks() == {"a": [3]}
    lone.fetched(3, None)
    assert lone.asks() == {"b": [3]}
    lone.fetched(3, None)
    assert lone.asks() == {"c": [3]}
    lone.fetched(3, b"three")
    assert lone.starts() == [2]
    assert lone.said() == ["holds 3"]


def test_input_that_no_holder_gives_is_missing_for_all_who_wait(lone: Lone) -> None:
    where = {3: ["a", "b"]}
    lone.hear(run(4, 1, 3, where=where), run(5, 2, 3, where=where), run(6))
    assert lone.asks() == {"b": [3]}
    lone.fetched(3, None)
    assert lone.asks() == {"a": [3]}
    lone.fetched(3, None)
    assert lone.said() == ["missing 4#1 for 3 tried b a", "missing 5#2 for 3 tried b a"]
    assert lone.starts() == [6]
    assert not lone.core.waiting_for
    assert not lone.core.fetching


def test_attempt_that_gives_up_one_input_does_not_wait_for_its_others(lone: Lone) -> None:
    lone.hear(run(3, 1, 1, 2, where={1: ["a"], 2: ["b"]}))
    lone.asks()
    lone.fetched(1, None)
    assert lone.said() == ["missing 3#1 for 1 tried a"]
    lone.fetched(2, b"two")
    assert lone.is_empty()
    assert lone.said() == []


def test_a_missing_input_may_be_fetched_anew(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    lone.asks()
    lone.fetched(1, None)
    lone.hear(run(2, 2, 1, where={1: ["b"]}))
    assert lone.asks() == {"b": [1]}
    lone.fetched(1, b"one")
    assert lone.starts() == [2]
    assert lone.said() == ["missing 2#1 for 1 tried a", "holds 1"]


def test_answer_that_nobody_waits_for_any_more_is_dropped(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    lone.asks()
    lone.hear(free(2))
    lone.fetched(1, b"one")
    assert lone.is_empty()
    assert lone.said() == []


def test_answer_to_nothing_is_dropped(lone: Lone) -> None:
    lone.fetched(1, b"one")
    assert lone.is_empty()


def test_fetch_that_lost_its_reader_serves_the_next(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    assert lone.asks() == {"a": [1]}
    lone.hear(free(2), run(3, 1, 1, where={1: ["a"]}))
    assert lone.asks() == {}
    lone.fetched(1, b"one")
    assert lone.starts() == [3]
    assert lone.said() == ["holds 1"]


def test_holds_are_not_told_before_what_was_said_earlier(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}), run(3), run(5, 1, 4, where={4: ["a"]}))
    lone.asks()
    lone.fetched(1, b"")
    lone.finish(lone.start())
    lone.fetched(4, b"")
    assert lone.said() == ["holds 1", "done 2#1", "holds 4"]


def test_late_answer_leaves_alone_who_waits_for_the_value_to_be_made_here(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    lone.asks()
    lone.hear(free(2))
    lone.hear(run(1, 2), run(2, 2, 1))  # made again, on this very worker
    lone.fetched(1, b"old")
    assert lone.said() == []
    assert 1 not in lone.core.data
    assert lone.run_all() == [1, 2]
    assert lone.said() == ["done 1#2", "done 2#2"]


def test_late_failure_leaves_alone_who_waits_for_the_value_to_be_made_here(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    lone.asks()
    lone.hear(free(2))
    lone.hear(run(1, 2), run(2, 2, 1))
    lone.fetched(1, None)
    assert lone.said() == []
    assert lone.run_all() == [1, 2]
    assert lone.said() == ["done 1#2", "done 2#2"]


def test_old_copy_of_a_value_goes_when_it_is_to_be_made_here(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    lone.asks()
    lone.fetched(1, b"old")
    lone.hear(free(2), run(1, 2))
    lone.hear(recall(1))
    assert lone.said() == ["holds 1", "returned 1#2"]
    assert lone.is_empty()


# ---------------------------------------------------------------- free


def test_free_of_a_ready_attempt(lone: Lone) -> None:
    lone.hear(run(1), run(2), free(1))
    assert lone.starts() == [2]


def test_free_of_a_running_attempt_drops_its_result(lone: Lone) -> None:
    lone.hear(run(1))
    attempt = lone.start()
    lone.hear(free(1))
    lone.finish(attempt)
    assert lone.is_empty()
    assert lone.core.running == 0
    assert lone.said() == ["ghosts 1", "ghosts 0"]


def test_free_of_a_running_attempt_drops_its_failure(lone: Lone) -> None:
    lone.hear(run(1))
    attempt = lone.start()
    assert attempt is not None
    lone.hear(free(1))
    lone.core.fail(attempt, 0.1, b"", "")
    assert lone.core.running == 0
    assert lone.said() == ["ghosts 1", "ghosts 0"]


def test_free_of_several_running_attempts_counts_each(lone: Lone) -> None:
    lone.hear(run(1), run(2), run(3))
    first, second, _ = lone.start(), lone.start(), lone.start()
    lone.hear(free(1, 2))
    lone.finish(second)
    lone.finish(first)
    assert lone.said()[-1] == "ghosts 0"
    assert lone.core.ghosts == 0
    assert lone.core.running == 1


def test_free_of_what_does_not_run_makes_no_ghost(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), run(4, 1, 3, where={3: ["a"]}), free(1, 2, 4))
    lone.asks()
    assert lone.said() == []


def test_free_of_a_waiting_attempt_leaves_its_input(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), free(2))
    assert lone.run_all() == [1]
    assert lone.said() == ["done 1#1"]


def test_free_of_one_of_two_that_wait_leaves_the_other(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), run(3, 1, 1), free(2))
    assert lone.run_all() == [1, 3]
    assert lone.said() == ["done 1#1", "done 3#1"]


def test_free_of_a_fetching_attempt(lone: Lone) -> None:
    lone.hear(run(3, 1, 1, 2, where={1: ["a"], 2: ["a"]}))
    lone.asks()
    lone.fetched(1, b"one")
    lone.said()
    lone.hear(free(3))
    lone.fetched(2, b"two")
    assert lone.value(1) == b"one"  # it was announced, and is the scheduler's to free
    assert 2 not in lone.core.data
    lone.hear(free(1))
    assert lone.is_empty()


def test_free_of_a_value(lone: Lone) -> None:
    lone.hear(run(1))
    lone.run_all()
    lone.said()
    lone.hear(free(1))
    assert lone.is_empty()


def test_free_of_the_unknown_is_harmless(lone: Lone) -> None:
    lone.hear(free(7))


def test_follower_whose_input_s_attempt_was_freed_is_freed_with_it(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1))
    lone.core.receive([free(2, 1)])
    assert lone.starts() == []
    assert lone.is_empty()


# ---------------------------------------------------------------- recall


def test_recall_gives_back_what_has_not_started(lone: Lone) -> None:
    lone.hear(run(1), run(2, 3), run(3))
    attempt = lone.start()
    lone.hear(recall(1, 2, 3, 99))
    assert lone.said() == ["returned 2#3 3#1"]
    assert lone.start() is None
    lone.finish(attempt)
    assert lone.said() == ["done 1#1"]


def test_recall_is_answered_even_when_nothing_is_given_back(lone: Lone) -> None:
    lone.hear(recall(1))
    assert lone.said() == ["returned"]


def test_recall_of_what_has_finished_gives_nothing_back(lone: Lone) -> None:
    lone.hear(run(1))
    lone.run_all()
    lone.hear(recall(1))
    assert lone.said() == ["done 1#1", "returned"]
    assert lone.value(1) == "v"


def test_recall_of_a_waiting_attempt(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), recall(2))
    assert lone.said() == ["returned 2#1"]
    assert lone.run_all() == [1]
    assert lone.said() == ["done 1#1"]


def test_recall_of_a_fetching_attempt(lone: Lone) -> None:
    lone.hear(run(2, 1, 1, where={1: ["a"]}))
    assert lone.asks() == {"a": [1]}
    lone.hear(recall(2))
    assert lone.said() == ["returned 2#1"]
    lone.fetched(1, b"one")
    assert lone.is_empty()


# ---------------------------------------------------------------- attempts that replace others


def test_new_attempt_after_a_running_one_was_freed_runs_for_itself(lone: Lone) -> None:
    lone.hear(run(1, 1))
    old = lone.start()
    lone.hear(free(1), run(1, 2))
    new = lone.start()
    lone.finish(new, "new")
    lone.finish(old, "old")
    assert lone.said() == ["ghosts 1", "done 1#2", "ghosts 0"]
    assert lone.value(1) == "new"


def test_old_result_that_comes_first_does_not_pass_for_the_new(lone: Lone) -> None:
    lone.hear(run(1, 1), run(2))
    old = lone.start()
    lone.hear(free(1), run(1, 2), run(3, 1, 1))
    lone.finish(old, "old")
    assert 1 not in lone.core.data
    assert lone.run_all() == [1, 2, 3]
    assert lone.said() == ["ghosts 1", "ghosts 0", "done 1#2", "done 2#1", "done 3#1"]


def test_old_failure_does_not_pass_for_the_new(lone: Lone) -> None:
    lone.hear(run(1, 1))
    old = lone.start()
    assert old is not None
    lone.hear(free(1), run(1, 2))
    lone.core.fail(old, 0.1, b"", "")
    assert lone.said() == ["ghosts 1", "ghosts 0"]
    assert lone.run_all() == [1]
    assert lone.said() == ["done 1#2"]


def test_freed_and_sent_again_while_ready_runs_once(lone: Lone) -> None:
    lone.hear(run(1, 1), free(1), run(1, 2))
    assert lone.run_all() == [1]
    assert lone.said() == ["done 1#2"]


def test_freed_and_sent_again_while_it_waits_runs_once(lone: Lone) -> None:
    lone.hear(run(1), run(2, 1, 1), free(2), run(2, 2, 1))
    assert lone.run_all() == [1, 2]
    assert lone.said() == ["done 1#1", "done 2#2"]


# ---------------------------------------------------------------- functions


def test_functions_are_kept_until_they_are_freed(lone: Lone) -> None:
    lone.hear(Function(1, "f", b"code"), Function(2, "g", b"code"))
    lone.hear(FreeFunctions([1, 99]))
    assert list(lone.core.functions) == [2]
    assert lone.core.forgotten_functions == [1, 99]


# ---------------------------------------------------------------- descriptions


def test_repr_counts_what_matters(lone: Lone) -> None:
    lone.hear(run(1), run(2), Put(TaskId(3), "k3", b""))
    lone.start()
    assert repr(lone.core) == "<WorkerCore ready=1 running=1 holds=1>"


# ---------------------------------------------------------------- what takes resources


def taking(task: int) -> Run:
    message = run(task)
    message.takes = True
    return message


def test_the_end_of_a_freed_attempt_that_takes_resources_is_told(lone: Lone) -> None:
    lone.hear(taking(1))
    attempt = lone.start()
    lone.hear(free(1))
    assert lone.said() == ["ghosts 1"]
    lone.finish(attempt)
    assert lone.said() == ["ghosts 0", "stopped 1#1"]
    assert lone.is_empty()


def test_one_that_has_left_the_threads_takes_resources_all_the_same(lone: Lone) -> None:
    lone.hear(taking(1))
    attempt = lone.start()
    assert attempt is not None
    lone.core.leave(attempt)
    lone.core.take_out()
    lone.hear(free(1))
    assert lone.said() == []
    lone.core.fail(attempt, 0.1, b"", "")
    assert lone.said() == ["stopped 1#1"]


def test_one_that_had_not_begun_takes_nothing_from_now_on(lone: Lone) -> None:
    lone.hear(taking(1), run(2), free(1, 2))
    assert lone.said() == ["stopped 1#1"]


def test_an_end_that_is_told_anyway_is_told_once(lone: Lone) -> None:
    lone.hear(taking(1))
    lone.finish(lone.start())
    lone.hear(free(1))
    assert lone.said() == ["done 1#1"]
