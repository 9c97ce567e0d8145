"""Where actors act: what the core keeps of them, and in which thread and order their methods run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from lone import Lone, run

from windrow import context
from windrow.errors import ActorLostError, PickleError, TaskError
from windrow.wire import failure, payload
from windrow.wire.messages import Free, TaskId
from windrow.wire.requests import ActorCall
from windrow.worker.actors import Stage
from windrow.worker.core import WorkerCore
from windrow.worker.state import Hosted
from windrow.worker.store import Packed

LIMIT_S = 10.0

# ---------------------------------------------------------------- the core


def made(lone: Lone, task: int = 1, instance: object = "instance") -> None:
    """An attempt makes an actor."""
    lone.hear(run(task))
    attempt = lone.start()
    assert attempt is not None
    lone.core.host(attempt, instance, 0.1, 10, b"proxy")


def test_the_instance_stays_and_the_value_is_its_proxy(lone: Lone) -> None:
    made(lone)
    [done] = lone.core.take_out()
    assert (done.task, done.value) == (1, b"proxy")
    assert lone.core.actors[1].instance == "instance"
    lone.hear(run(2, 1, 1))
    attempt = lone.start()
    assert attempt is not None
    [value] = attempt.values or []
    assert isinstance(value, Packed)
    assert value.blob == b"proxy"
    lone.finish(attempt)
    assert lone.said() == ["done 2#1"]


def test_it_is_let_go_outside_of_the_lock(lone: Lone) -> None:
    made(lone)
    lone.said()
    lone.hear(Free([TaskId(1)]))
    assert lone.core.actors == {}
    assert any(isinstance(item, Hosted) for item in lone.core.data.take_dropped())


def test_an_attempt_that_was_freed_while_it_ran_leaves_no_actor(lone: Lone) -> None:
    lone.hear(run(1))
    attempt = lone.start()
    assert attempt is not None
    lone.hear(Free([TaskId(1)]))
    lone.core.host(attempt, "instance", 0.1, 10, b"proxy")
    assert lone.core.actors == {}
    assert lone.said() == ["ghosts 1", "ghosts 0"]


# ---------------------------------------------------------------- the stage


class Cast:
    """An actor that tells where it runs."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.other: Any = None

    @property
    def broken(self) -> None:
        raise SystemExit(3)

    def note(self, value: Any) -> Any:
        self.seen.append(value)
        return value

    def thread(self) -> str:
        return threading.current_thread().name

    def place(self) -> Any:
        place = context.place()
        assert place is not None
        place.secede()
        place.rejoin()
        return place.key, place.priority, place.seceded

    def wait(self) -> bool:
        self.entered.set()
        return self.gate.wait(LIMIT_S)

    async def soon(self, value: Any) -> Any:
        await asyncio.sleep(0)
        place = context.place()
        assert place is not None
        return value, place.key, threading.current_thread().name

    def later(self, value: Any) -> Any:
        return self.soon(value)

    def leave(self) -> None:
        raise SystemExit(3)

    def sealed(self) -> Any:
        return threading.Lock()


class Play:
    """A stage with one actor, a loop in a thread, and no worker around them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop_thread = threading.Thread(target=self.loop.run_forever, name="the loop")
        self.loop_thread.start()
        self.others = ThreadPoolExecutor(4, "others")
        self.worker = SimpleNamespace(core=WorkerCore(), loop=self.loop, address="tcp://w", client="a client")
        self.stage = self.worker.actors = Stage(self.worker, self.others)
        self.cast = Cast()
        self.worker.core.actors[1] = Hosted("cast", 2.0, self.cast)

    def begin(self, name: str, *args: Any, on_loop: bool = False, attribute: bool = False) -> Future[Any]:
        """A call arrives."""
        return self.stage.answer(ActorCall("cast", name, payload.dumps((args, {})), attribute, on_loop, TaskId(1)))

    def call(self, name: str, *args: Any, **how: bool) -> Any:
        """A call, and its result."""
        value, error = self.begin(name, *args, **how).result(LIMIT_S)
        if error is not None:
            raise failure.load(error)
        return payload.loads(value)

    def close(self) -> None:
        """End all threads."""
        self.cast.gate.set()
        self.stage.stop()
        self.others.shutdown()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.loop_thread.join(LIMIT_S)
        self.loop.close()


@pytest.fixture
def play() -> Iterator[Play]:
    play = Play()
    yield play
    play.close()


def test_methods_run_in_one_thread_in_order(play: Play) -> None:
    assert play.call("thread").startswith("windrow-actor")
    first = play.begin("wait")
    rest = [play.begin("note", number) for number in range(20)]
    assert play.cast.entered.wait(LIMIT_S)
    assert play.cast.seen == []
    play.cast.gate.set()
    assert [payload.loads(future.result(LIMIT_S)[0]) for future in [first, *rest]] == [True, *range(20)]
    assert play.cast.seen == list(range(20))


def test_a_method_knows_where_it_runs(play: Play) -> None:
    assert play.call("place") == ("cast", 2.0, True)


def test_attributes_do_not_wait_for_a_method(play: Play) -> None:
    call = play.begin("wait")
    assert play.cast.entered.wait(LIMIT_S)
    assert play.call("seen", attribute=True) == []
    play.cast.gate.set()
    call.result(LIMIT_S)


def test_coroutines_run_on_the_loop_beside_a_method(play: Play) -> None:
    call = play.begin("wait")
    assert play.cast.entered.wait(LIMIT_S)
    assert play.call("soon", 1) == (1, "cast", "the loop")
    assert play.call("thread", on_loop=True) == "the loop"
    play.cast.gate.set()
    call.result(LIMIT_S)
    assert play.call("later", 2) == (2, "cast", "the loop")


@pytest.mark.parametrize("on_loop", [False, True])
def test_whatever_a_method_raises_is_its_outcome(play: Play, on_loop: bool) -> None:
    with pytest.raises(TaskError, match=r"raised SystemExit\(3\)"):
        play.call("leave", on_loop=on_loop)
    with pytest.raises(TypeError, match="argument"):
        play.call("leave", 1, on_loop=on_loop)
    with pytest.raises(TaskError, match=r"raised SystemExit\(3\)"):
        play.call("broken", attribute=True)
    assert play.call("note", 1) == 1


@pytest.mark.parametrize("on_loop", [False, True])
def test_a_result_that_cannot_travel_is_told(play: Play, on_loop: bool) -> None:
    with pytest.raises(PickleError, match="the result of 'sealed' of actor 'cast'"):
        play.call("sealed", on_loop=on_loop)


def test_an_actor_that_is_not_here_any_more(play: Play) -> None:
    play.worker.core.actors.clear()
    with pytest.raises(ActorLostError, match="'cast' is gone"):
        play.call("note", 1)


def test_a_stopped_stage_answers(play: Play) -> None:
    play.stage.stop()
    with pytest.raises(RuntimeError):
        play.call("note", 1)


def test_nobody_else_may_call_at_once(play: Play) -> None:
    assert not play.stage.may_call_at_once(TaskId(1), "note")
    assert play.stage.call_at_once(TaskId(1), "note", (3,), {}) == (3, None)
    assert isinstance(play.stage.call_at_once(TaskId(1), "leave", (), {})[1], SystemExit)
    assert context.place() is None
