"""The core as a whole: greetings, who may say what, ticks, flushes, and what it says of itself."""

from __future__ import annotations

import pytest
from world import World

from windrow.account import Account
from windrow.scheduler.core import HANDLERS, SchedulerCore
from windrow.scheduler.state import ClientRecord, NannyRecord, Unexpected, WorkerRecord
from windrow.wire.messages import (
    Cancelled,
    Close,
    Declare,
    Died,
    Done,
    Failed,
    Finished,
    Free,
    Heartbeat,
    HelloClient,
    HelloNanny,
    HelloWorker,
    Message,
    Release,
    Reply,
    RestartWorker,
    Returned,
    Run,
    Submit,
    TaskId,
    Want,
)

SAMPLES: list[Message] = [
    HelloClient("c"),
    HelloWorker("tcp://x", "x", 1),
    HelloNanny("n", "n"),
    Want([]),
    Release([], 1),
    Finished(0, [], []),
    Failed(0, [], b""),
    Cancelled(0, [], ""),
    Run(TaskId(1), 1, "a", 1, b""),
    Free([]),
    Done(TaskId(1), 1, 0.0, 0),
    Returned([], []),
    Heartbeat(),
    Died("tcp://x", Account(said="gone")),
    RestartWorker(),
    Reply(1),
    Close(),
]

WORKER_SAYS = {"Done", "Returned", "Heartbeat", "Reply", "Close"}
CLIENT_SAYS = {"Want", "Release", "Close", "Reply"}
NANNY_SAYS = {"Died", "Close", "Reply"}

kinds = pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)


# ---------------------------------------------------------------- who may say what


@kinds
def test_first_message_must_be_a_greeting(message: Message) -> None:
    core = SchedulerCore()
    if type(message).__name__.startswith("Hello"):
        core.join(message, 0.0)
    else:
        with pytest.raises(Unexpected, match=f"must be a greeting, not {type(message).__name__}"):
            core.join(message, 0.0)


@kinds
def test_a_worker_may_say_what_workers_say(world: World, message: Message) -> None:
    worker = world.worker()
    if type(message).__name__ in WORKER_SAYS:
        world.say(worker, message)
    else:
        with pytest.raises(Unexpected, match=f"a WorkerRecord may not say {type(message).__name__}"):
            world.say(worker, message)


@kinds
def test_a_client_may_say_what_clients_say(world: World, message: Message) -> None:
    client = world.client()
    if type(message) in HANDLERS[ClientRecord]:
        assert type(message).__name__ in CLIENT_SAYS
        world.say(client, message)
    else:
        with pytest.raises(Unexpected, match=f"a ClientRecord may not say {type(message).__name__}"):
            world.say(client, message)


@kinds
def test_a_nanny_may_say_what_nannies_say(world: World, message: Message) -> None:
    nanny = world.nanny("n")
    if type(message) in HANDLERS[NannyRecord]:
        assert type(message).__name__ in NANNY_SAYS
        world.say(nanny, message)
    else:
        with pytest.raises(Unexpected, match=f"a NannyRecord may not say {type(message).__name__}"):
            world.say(nanny, message)


def test_what_came_before_the_unexpected_was_handled(world: World) -> None:
    client = world.client()
    with pytest.raises(Unexpected):
        world.say(client, Want(["a"]), Heartbeat())
    assert world.heard(client) == ["cancelled a: the scheduler does not know it any more"]


@pytest.mark.parametrize(("args", "inputs"), [([b""], []), ([b"", b"", b""], []), ([b"", b""], [[]])])
def test_columns_of_different_length_are_unexpected(world: World, args: list[bytes], inputs: list[list[str]]) -> None:
    client = world.client()
    world.submit(client, "x")
    with pytest.raises(Unexpected, match="columns of Submit differ in length"):
        world.say(client, Submit(b"f", ["a", "b"], list(args), inputs))
    assert world.states("x", "a", "b") == ["queued", "forgotten", "forgotten"]


def test_columns_of_different_length_are_unexpected_in_returned(world: World) -> None:
    with pytest.raises(Unexpected):
        world.say(world.worker(), Returned([TaskId(1)], []))


def test_a_client_that_joins_again_before_its_loss_is_noticed_leaves_nothing_behind() -> None:
    world = World()
    first = world.client("c")
    world.submit(first, "a")
    second = world.client("c")
    world.lose(first)
    world.lose(second)
    assert not world.state.tasks
    assert not world.state.functions


# ---------------------------------------------------------------- flush


def test_nothing_is_sent_twice(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    assert len(world.core.flush()) == 1
    assert world.core.flush() == []
    assert worker.out == []


def test_each_peer_gets_one_batch(world: World) -> None:
    client = world.client()
    world.teach(client)
    workers = world.workers(2)
    world.submit(client, *"abcdefgh")
    sent = world.core.flush()
    assert sorted(peer.address for peer, _ in sent) == [worker.address for worker in workers]
    assert [len(batch) for _, batch in sent] == [5, 5]  # a Function and four Runs


def test_nothing_is_decided_before_the_flush(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    assert worker.out == []
    assert world.heard(worker) == ["run a"]


def test_high_priority_that_comes_in_the_same_tick_goes_first(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.submit(client, "b", priority=1)
    assert world.heard(worker) == ["run b"]


# ---------------------------------------------------------------- busy


def test_ticks_are_needed_while_something_runs(world: World) -> None:
    client = world.client()
    assert not world.core.is_busy()
    world.submit(client, "a")
    worker = world.worker()
    assert not world.core.is_busy()
    world.keys(worker)
    assert world.core.is_busy()
    world.done(worker, "a")
    assert not world.core.is_busy()
    world.clear()


def test_ticks_are_needed_while_an_account_is_awaited(world: World) -> None:
    worker, nanny = world.nursed("w")
    world.lose(worker)
    assert world.core.is_busy()
    world.died(nanny, worker)
    assert not world.core.is_busy()


# ---------------------------------------------------------------- descriptions


def test_repr_counts_what_matters(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b")
    world.keys(worker)
    assert repr(world.core) == "<SchedulerCore tasks=2 queued=1 workers=1 clients=1>"
    assert repr(worker) == "<Worker 'w1' tcp://w1 running processing=1 holds=0>"
    assert repr(client) == "<Client c1 wants=2>"
    assert repr(world.task("b")) == "<Task 2 'b' queued>"


def test_peers_have_no_link_of_the_core_s_making(world: World) -> None:
    assert [world.worker().link, world.client().link, world.nanny("n").link] == [None, None, None]
    assert {type(peer) for peer in (world.worker(), world.client())} == {WorkerRecord, ClientRecord}


# ---------------------------------------------------------------- scale


def test_a_chain_of_thousands_is_a_loop_and_no_recursion() -> None:
    world = World()
    client = world.client()
    keys = [f"k{number}" for number in range(5000)]
    client_says = world.core.receive
    client_says(client, [Declare(b"f", "f", b"")], 0.0)
    inputs: list[list[str]] = [[], *([key] for key in keys[:-1])]
    client_says(client, [Submit(b"f", keys, [b""] * len(keys), inputs)], 0.0)
    client_says(client, [Release(keys, 1)], 0.0)
    assert not world.state.tasks
