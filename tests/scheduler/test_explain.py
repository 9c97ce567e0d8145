"""Why a task is where it is: a scenario for each sentence."""

from __future__ import annotations

import pytest
from world import World

from windrow.primitives.semaphore import Acquire
from windrow.wire.messages import (
    Call,
    Ghosts,
    Heartbeat,
    HelloClient,
    Rescheduled,
    Seceded,
    Submit,
)
from windrow.wire.requests import Ask, Retire


@pytest.fixture
def world() -> World:
    """A world whose messages nobody has to claim: what is told is the test, not what is sent."""
    return World()


def first(text: str) -> str:
    return text.splitlines()[0]


# ---------------------------------------------------------------- queued


def test_a_queued_task_names_who_has_the_thread_and_how_many_are_first(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "x", "y")
    world.submit(client, "urgent", priority=5.0)
    world.submit(client, "z")
    world.flush()
    world.tick(after=3.0)
    assert first(world.why("z")) == (
        "'z' is queued: it stands behind 2 tasks, which is work for about 1 s; the one thread on worker 'a' is taken, "
        "for longest by 'urgent' (3 s)."
    )
    world.submit(client, "more", priority=7.0)
    assert "behind 3 tasks, 1 of them of a higher priority" in world.why("z")
    assert "it stands first" in world.why("more")


def test_before_the_batch_leaves_a_task_says_so(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "x")
    assert (
        first(world.why("x"))
        == "'x' is queued: worker 'a' has a thread free for it: it is handed out with the next batch."
    )
    world.flush()
    assert "it runs on worker 'a'" in world.why("x")


def test_a_task_with_large_inputs_stands_in_the_queue_of_who_has_them(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "big")
    world.large(a, "big", nbytes=5_000_000_000, seconds=1.0)
    world.submit(client, "blocker", workers=["a"])
    world.flush()
    world.worker("b")
    world.submit(client, "taker", after=["big"], function="g")
    world.flush()
    told = world.why("taker")
    assert "worker 'a' has 4.7 GiB of its inputs, and in its queue it stands first" in told
    assert "the one thread on worker 'a' is taken, for longest by 'blocker'" in told
    idle = world.why(worker="b")
    assert "1 task in the queue of worker 'a': bringing the first one's inputs here takes 5 s" in idle


def test_resources_are_told_with_who_holds_them_and_for_how_long(world: World) -> None:
    client = world.client()
    world.worker("w1", 2)
    world.worker("w2", 2, resources={"GPU": 1})
    world.submit(client, "train-6", resources={"GPU": 1})
    world.flush()
    world.tick(after=12.0)
    world.submit(client, "train-7", resources={"GPU": 1})
    world.flush()
    held = "it asks for GPU=1: worker 'w2' has GPU=1, held by 'train-6' for 12 s"
    assert first(world.why("train-7")) == f"'train-7' is queued: {held}."
    world.submit(client, "train-8", resources={"GPU": 1})
    assert "among those that ask for the same it stands behind 1 task" in world.why("train-8")
    assert "1 queued task asks" not in world.why(worker="w2")
    assert "2 queued tasks ask for GPU=1, and what it has of that is taken" in world.why(worker="w2")
    assert "2 queued tasks ask for GPU=1, and it has no resources" in world.why(worker="w1")


def test_resources_of_a_cancelled_task_that_still_runs_are_told(world: World) -> None:
    client = world.client()
    world.worker("a", resources={"GPU": 1})
    world.submit(client, "old", resources={"GPU": 1})
    world.flush()
    world.cancel(client, "old")
    world.submit(client, "new", resources={"GPU": 1})
    world.flush()
    assert "worker 'a' has GPU=1, held by 1 by a cancelled task that still runs" in world.why("new")


# ---------------------------------------------------------------- waiting


def test_a_waiting_task_is_followed_to_the_root(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "b", workers=["alice"])
    world.chain(client, "b", "d", "e")
    told = first(world.why("e"))
    assert told.startswith(
        "'e' is waiting: it waits for its input: 'd' (waiting). 2 steps down, at the root (1 waiting, 1 queued), is "
        "'b': no worker can run it now: it names worker 'alice'"
    )


def test_of_several_inputs_the_worst_is_the_root(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "fine")
    world.submit(client, "never", resources={"GPU": 1})
    world.flush()
    world.tick(after=2.0)
    world.submit(client, "sum", after=["fine", "never"])
    assert first(world.why("sum")).startswith(
        "'sum' is waiting: it waits for 2 of its 2 inputs: 'fine' (on worker 'a' for 2 s) and 'never' (queued). "
        "Of 'never': no worker can run it now: it asks for GPU=1; of 1 worker none has GPU"
    )


# ---------------------------------------------------------------- on a worker


def test_a_running_task_is_compared_with_others_of_its_function(world: World) -> None:
    client = world.client()
    world.teach(client, seconds=0.5)
    world.worker("a")
    world.submit(client, "x")
    world.flush()
    assert "f takes 500 ms as a rule (1 run)" in world.why("x")
    world.tick(after=10.0)
    assert (
        "it runs on worker 'a', where it has been for 10 s; f takes 500 ms as a rule (1 run), and this is 20 times"
        in (world.why("x"))
    )
    assert "it takes no inputs, so that any worker with a free thread would have done" in world.why("x")


def test_a_function_that_has_never_finished(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "x")
    world.flush()
    assert "f has not finished before, so nobody knows how long it takes" in world.why("x")


def test_a_task_sent_ahead_waits_for_a_thread_or_for_its_input(world: World) -> None:
    client = world.client()
    world.teach(client)
    world.worker("a")
    world.submit(client, "x", "y")
    world.submit(client, "after-x", after=["x"])
    world.flush()
    world.tick(after=4.0)
    assert (
        "it has been on worker 'a' for 4 s, and waits for a thread behind 1 task; 'x' is there for longest (4 s)"
        in (world.why("y"))
    )
    assert "it is on worker 'a' already, right behind what it waits for there: 'x'" in world.why("after-x")


def test_transfers_are_told_with_bytes_and_holders(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "big")
    world.large(a, "big", nbytes=3_000_000)
    b = world.worker("b")
    world.submit(client, "taker", after=["big"], workers=["b"])
    world.flush()
    world.tick(after=1.5)
    told = world.why("taker")
    assert "worker 'b' fetches 1 input (2.9 MiB) for it from worker 'a'; it was sent there 1.5 s ago" in told
    assert "it asks for 'b', which 1 of 2 workers can give" in told
    assert "0 B of its large inputs are there, and worker 'a' has 2.9 MiB: it could start here sooner" in told
    world.holds(b, "big")
    assert "it runs on worker 'b'" in world.why("taker")
    world.cut(a)
    world.done(b, "taker")
    world.submit(client, "again", after=["big"], workers=["b"])
    world.flush()
    assert "it runs on worker 'b'" in world.why("again")


def test_an_input_whose_holder_is_cut_off(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "big")
    world.large(a, "big")
    world.worker("b")
    world.submit(client, "taker", after=["big"], workers=["b"])
    world.flush()
    world.cut(a)
    world.tick(after=2.0)
    assert "worker 'a', which alone has its input 'big', has been cut off for 2 s; it is waited for for 28 s more" in (
        world.why("taker")
    )


def test_a_worker_that_gives_no_sign_of_life(world: World) -> None:
    client = world.client()
    world.nursed("a")
    world.submit(client, "x")
    world.flush()
    world.tick(after=4.0)
    assert "no sign of life" not in world.why("x")
    world.tick(after=3.0)
    assert "it is on worker 'a', which has given no sign of life for 7 s: it is stopped, or" in world.why("x")


def test_a_worker_that_is_away_paused_or_leaves(world: World) -> None:
    client = world.client()
    a, nanny = world.nursed("a")
    world.submit(client, "x")
    world.flush()
    world.cut(a)
    world.tick(after=1.0)
    assert "it is on worker 'a', which has been cut off for 1 s; it is waited for for 29 s more" in world.why("x")
    assert "it has been cut off for 1 s, and may come back within 29 s" in world.why(worker="a").lower()
    world.back(a)
    world.lose(a)
    assert "it is on worker 'a', which ended" in world.why("x")
    assert "its nanny's account is awaited" in world.why(worker="a").lower()
    world.died(nanny, a, "killed by SIGKILL", running=["x"])
    assert "worker 'a' ended while it was there: killed by SIGKILL" in world.why("x").replace("Worker", "worker")
    assert "there are no workers at all" in world.why("x")


def test_a_recalled_task(world: World) -> None:
    client = world.client()
    world.teach(client)
    a = world.worker("a")
    world.submit(client, "x", "y")
    world.flush()
    b = world.worker("b")
    world.tick(after=1.0)
    assert "worker 'a', where it has been for 1 s without being started, was asked to give it back" in world.why("y")
    world.returned(a, "y")
    world.flush()
    told = world.why("y")
    assert "Attempts: 2. Less than 1 ms ago worker 'a' gave it back unstarted: it had no news for a while" in told
    world.done(b, "y")


def test_a_task_that_left_its_thread_names_what_its_worker_waits_for(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "outer")
    world.flush()
    run = world.run(a, "outer")
    world.say(a, Seceded(run.task, run.attempt, True))
    assert "it has been on worker 'a' for less than 1 ms, and has left its thread to wait (or is a coroutine)" in (
        world.why("outer")
    )
    inside = world._join(HelloClient("inside", worker=a.address))
    world.submit(inside, "inner", resources={"GPU": 1})
    assert "tasks of that worker wait for 'inner' (queued)" in world.why("outer")


def test_a_lock_is_named_with_its_holder(world: World) -> None:
    client = world.client()
    a, b = world.worker("a"), world.worker("b")
    world.submit(client, "x", "y")
    world.flush()
    for worker, lease in ((b, "first"), (a, "second")):
        inside = world._join(HelloClient(f"inside-{worker.name}", worker=worker.address))
        world.say(inside, Call(1, Ask("semaphores", Acquire("file.h5", lease, 1))))
    key = next(iter(a.processing)).key
    assert isinstance(key, str)
    run = world.run(a, key)
    world.say(a, Seceded(run.task, run.attempt, True))
    world.tick(after=12.0)
    assert (
        "it has waited for the lock or semaphore 'file.h5' for 12 s; it is held by a task on worker 'b'"
        in world.why(key)
    )


# ---------------------------------------------------------------- done, failed, unknown


def test_a_result_says_where_it_is_and_what_its_time_went_on(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "first")
    world.flush()
    world.tick(after=5.0)
    world.submit(client, "x")
    world.done(a, "first", seconds=5.0)
    world.flush()
    world.now_s += 4.0
    world.large(a, "x", nbytes=2_000_000, seconds=3.0)
    world.tick(after=10.0)
    told = world.why("x")
    assert first(told) == "'x' is finished: it is done: its result (1.9 MiB) is with worker 'a'."
    assert (
        "Time: submitted 14 s ago, less than 1 ms until it was sent to a worker (inputs, queues), 1 s on the worker "
        "before or after it ran (transfers, waiting for a thread), 3 s of running."
    ) in told


def test_the_time_of_quick_tasks_is_not_kept(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "x")
    world.done(a, "x", seconds=0.05)
    assert world.state.notes.run_of(world.task("x").id) is None


def test_an_error_names_its_root(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.chain(client, "x", "y", "z")
    world.erred(a, "x", "Traceback (most recent call last):\n  File f\nValueError: no such file\nin /tmp")
    assert first(world.why("x")) == "'x' has failed: its error is ValueError: no such file."
    assert first(world.why("z")) == (
        "'z' has failed: it was not run: 'x', which it depends on, has failed: ValueError: no such file."
    )


def test_deaths_are_told(world: World) -> None:
    client = world.client()
    world.submit(client, "x")
    for name in ("a", "b", "c", "d"):
        worker = world.worker(name)
        world.flush()
        world.lose(worker, f"the end of {name}")
    told = first(world.why("x"))
    assert "KilledWorker: Task 'x' was running on 4 workers that died" in told
    assert all(f"worker '{name}'" in told and f"the end of {name}" in told for name in "abcd")


def test_why_a_task_was_run_again(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "x", retries=1)
    world.erred(a, "x", "OSError: disk full")
    world.tick(after=2.0)
    world.flush()
    run = world.run(a, "x")
    world.say(a, Rescheduled(run.task, run.attempt))
    world.flush()
    told = world.why("x")
    assert "Attempts: 3. 2 s ago it raised on worker 'a', and is tried again: OSError: disk full." in told
    assert "Less than 1 ms ago it asked on worker 'a' to be run again (Reschedule)." in told


def test_a_lost_result_says_with_whom_it_went(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "x")
    world.large(a, "x")
    world.lose(a, "the connection broke")
    world.worker("b")
    world.flush()
    assert ("its result was lost (worker 'a', which alone had it, has ended: the connection broke)") in world.why("x")


def test_an_input_that_could_not_be_had(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "big")
    world.large(a, "big")
    b = world.worker("b")
    world.submit(client, "taker", after=["big"], workers=["b"])
    world.flush()
    world.missing(b, "taker", "big", a)
    assert "worker 'b' could not get its input 'big' from those that were to have it" in world.why("taker")
    assert "its result was lost (no worker that was to have it had it)" in world.why("big")


def test_what_is_kept_for_others_says_so(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.chain(client, "x", "y")
    world.settle(a)
    world.release(client, "x")
    assert "nobody needs its result now; it is remembered, as 1 task was made of it" in world.why("x")


def test_unknown_keys_and_keys_as_text(world: World) -> None:
    client = world.client()
    world.worker("a")
    assert first(world.why("nope")).startswith("'nope' is not known: the scheduler does not know it")
    assert "there is no such worker; there are 'a'" in world.why(worker="zoe").lower()
    world.submit(client, "declares-f")
    world.say(client, Submit(b"f", [("x", 0)], [b""]))
    world.flush()
    assert first(world.why("('x', 0)")).startswith("('x', 0) is ")


# ---------------------------------------------------------------- several, workers, everything


def test_several_tasks_are_summed_up_with_what_they_need(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    world.submit(client, "x")
    world.done(a, "x")
    world.submit(client, *(f"gpu-{number}" for number in range(30)), resources={"GPU": 1})
    world.submit(client, "sum", after=[f"gpu-{number}" for number in range(30)])
    world.flush()
    told = world.why("x", "sum", "nope", several=True).splitlines()
    assert told[0] == "33 tasks: 1 not known, 1 finished, 1 waiting, 30 queued."
    assert told[1] == (
        "  30 tasks, such as 'gpu-0', which is queued: no worker can run it now: it asks for GPU=1; "
        "of 1 worker none has GPU."
    )
    assert told[2].startswith("    To do: start a worker with resources={'GPU': 1.0}")
    assert world.why("x", several=True) == "1 task: 1 finished. All are done."
    assert world.why("nope", "no", several=True) == "2 tasks: 2 not known."


def test_an_idle_worker_says_why(world: World) -> None:
    client = world.client()
    a, b = world.worker("a"), world.worker("b")
    world.submit(client, "x")
    world.flush()
    busy, idle = (a, b) if a.processing else (b, a)
    assert "on it, for longest 'x'" in world.why(worker=str(busy.name))
    assert "Nothing is queued: 1 task is on other workers." in world.why(worker=idle.address)
    world.submit(client, "never", workers=["alice"])
    assert "1 task can run on no worker that is there" in world.why(worker=str(idle.name))
    world.say(idle, Ghosts(1))
    assert "1 thread is taken by cancelled tasks that still run" in world.why(worker=str(idle.name))
    world.pause(idle)
    assert "It has paused, as its memory is short" in world.why(worker=str(idle.name))


def test_a_retiring_worker_says_so(world: World) -> None:
    client = world.client()
    world.worker("a")
    world.submit(client, "x")
    world.flush()
    world.ask(client, Retire(["a"], close=False))
    assert "It is to leave: it starts nothing more" in world.why(worker="a")
    assert "no worker can run it now: the one worker, 'a', is retiring" in world.why("x") or "'x' is" in world.why("x")


def test_everything_at_once(world: World) -> None:
    client = world.client()
    a = world.worker("a")
    assert (
        world.why() == "1 worker (1 running), 0 tasks: 0 queued, 0 on workers. Nothing is in the way of anything.\n"
        "  Free threads: worker 'a'."
    )
    world.submit(client, *(f"gpu-{number}" for number in range(3)), resources={"GPU": 1})
    world.submit(client, "x")
    world.flush()
    world.tick(after=30.0)
    world.say(a, Heartbeat())
    told = world.why().splitlines()
    assert told[0] == (
        "1 worker (1 running), 4 tasks: 3 queued, 1 on workers. No worker has finished anything for 30 s."
    )
    assert told[1].startswith(
        "  3 tasks, such as 'gpu-0', which is queued: no worker can run it now: it asks for GPU=1"
    )
    assert told[3].startswith(
        "  1 task, such as 'x', which is on a worker: it runs on worker 'a', where it has been for 30 s"
    )
