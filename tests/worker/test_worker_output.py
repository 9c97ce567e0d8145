"""What tasks print and log, as their worker hears it: by task, in whole lines, and not too much."""

from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from windrow import context
from windrow.worker import output as module
from windrow.worker.output import LINE_MAX, Output, Tee


class Task:
    """An attempt, as far as it matters here."""

    def __init__(self, key: str, id: int = 1) -> None:
        self.key = key
        self.id = id


class Seat:
    """Where a task runs."""

    def __init__(self, attempt: Task | None) -> None:
        self.attempt = attempt


def heard(output: Output, running: dict[int, object] | None = None) -> list[tuple[Any, ...]]:
    """What was said, as (key, source, text)."""
    said = output.take(running or {})
    if said is None:
        return []
    return [(key, source, text) for key, rows in zip(said.keys, said.said, strict=True) for _, source, text in rows]


def within(place: object, do: Callable[[], object]) -> None:
    """Do something as if it were done at a place."""

    def run() -> None:
        context.enter(place)  # type: ignore[arg-type]
        do()

    contextvars.copy_context().run(run)


@pytest.fixture
def output() -> Output:
    return Output(lambda: None, 1e6, None)


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def tee(output: Output, screen: io.StringIO) -> Tee:
    tee = Tee(screen, "stdout", output)
    output.tees.append(tee)
    return tee


# ---------------------------------------------------------------- lines


def test_a_task_is_heard_and_seen(tee: Tee, output: Output, screen: io.StringIO) -> None:
    within(Seat(Task("a")), lambda: print("hello", 3, file=tee))  # type: ignore[arg-type]
    assert heard(output) == [("a", "stdout", "hello 3")]
    assert screen.getvalue() == "hello 3\n"


@pytest.mark.parametrize("place", [None, Seat(None)], ids=["outside", "its task has ended"])
def test_who_is_no_task_is_only_seen(place: object, tee: Tee, output: Output, screen: io.StringIO) -> None:
    within(place, lambda: print("hello", end="", file=tee))  # type: ignore[arg-type]
    assert heard(output) == []
    assert screen.getvalue() == "hello"


def test_lines_of_several_tasks_do_not_run_into_each_other(tee: Tee, output: Output, screen: io.StringIO) -> None:
    first, second = Seat(Task("a", 1)), Seat(Task("b", 2))
    for place, text in ((first, "a1 "), (second, "b1 "), (first, "a2\na3 "), (second, "b2\n"), (first, "a4\n")):
        within(place, lambda text=text: tee.write(text))
    assert screen.getvalue() == "a1 a2\nb1 b2\na3 a4\n"
    assert heard(output) == [("a", "stdout", "a1 a2"), ("a", "stdout", "a3 a4"), ("b", "stdout", "b1 b2")]


def test_a_flush_shows_the_beginning_of_a_line_once(tee: Tee, output: Output, screen: io.StringIO) -> None:
    place = Seat(Task("a"))
    within(place, lambda: print("10 %", end="", flush=True, file=tee))  # type: ignore[arg-type]
    assert screen.getvalue() == "10 %"
    within(place, lambda: print("\r99 %", end="", flush=True, file=tee))  # type: ignore[arg-type]
    within(place, lambda: print("\rdone", file=tee))  # type: ignore[arg-type]
    assert screen.getvalue() == "10 %\r99 %\rdone\n"
    assert heard(output) == [("a", "stdout", "done")], "as it is on a screen"


def test_a_task_that_ends_in_the_middle_of_a_line_is_heard(tee: Tee, output: Output, screen: io.StringIO) -> None:
    task = Task("a", 7)
    within(Seat(task), lambda: tee.write("no end"))
    assert heard(output, {7: task}) == [], "it may go on"
    assert heard(output, {7: Task("a", 7)}) == [("a", "stdout", "no end")], "another attempt is not this one"
    assert screen.getvalue() == "no end"
    assert tee.held == {}


def test_an_endless_line_is_taken_in_parts_and_cut(tee: Tee, output: Output, screen: io.StringIO) -> None:
    within(Seat(Task("a")), lambda: tee.write("x" * (LINE_MAX + 10)))
    [(_, _, text)] = heard(output)
    assert text == "x" * LINE_MAX + "… (10 more characters)"
    assert len(screen.getvalue()) == LINE_MAX + 10


def test_actors_are_heard_by_their_key(tee: Tee, output: Output) -> None:
    class Stage:
        key = "counter"

    within(Stage(), lambda: tee.writelines(["one\n", "two\n"]))
    assert heard(output) == [("counter", "stdout", "one"), ("counter", "stdout", "two")]


def test_a_mute_stream_is_heard_and_not_seen(tee: Tee, output: Output, screen: io.StringIO) -> None:
    tee.is_mute = True
    within(Seat(Task("a")), lambda: print("psst", flush=True, file=tee))  # type: ignore[arg-type]
    tee.write("outside")
    assert heard(output) == [("a", "stdout", "psst")]
    assert screen.getvalue() == ""


def test_it_is_otherwise_the_stream_that_it_stands_for(tee: Tee, screen: io.StringIO) -> None:
    assert tee.isatty() is False
    assert tee.getvalue() == ""
    with pytest.raises(TypeError):
        tee.write(b"bytes")  # type: ignore[arg-type]
    for dumps in (pickle.dumps, cloudpickle.dumps):
        assert pickle.loads(dumps(tee)) is sys.stdout, "what refers to it means the stream of the other process"


def test_text_that_is_no_utf8_travels(tee: Tee, output: Output) -> None:
    from windrow.wire import messages as m

    within(Seat(Task("a")), lambda: output.note("a", "stdout", "file \udcff é"))
    said = output.take({})
    assert isinstance(said, m.Output)
    [[(_, _, text)]] = said.said
    assert text == "file \\udcff é"
    text.encode()


def test_coroutines_on_one_loop_are_told_apart(tee: Tee, output: Output) -> None:
    async def speak(key: str) -> None:
        context.enter(Seat(Task(key, ord(key))))  # type: ignore[arg-type]
        for number in range(3):
            tee.write(f"{key}{number}")
            await asyncio.sleep(0)
            tee.write("\n")

    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(speak(key)) for key in "ab"))

    asyncio.run(main())
    assert heard(output) == [(key, "stdout", f"{key}{number}") for key in "ab" for number in range(3)]


def test_a_thread_of_a_task_has_no_key(tee: Tee, output: Output, screen: io.StringIO) -> None:
    def task() -> None:
        thread = threading.Thread(target=lambda: tee.write("from elsewhere\n"))
        thread.start()
        thread.join()

    within(Seat(Task("a")), task)
    assert heard(output) == []
    assert screen.getvalue() == "from elsewhere\n"


# ---------------------------------------------------------------- how much, and when


def test_too_much_is_counted_and_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    output = Output(lambda: None, 1000, None)
    for _ in range(100):
        output.note("a", "stdout", "x" * 68)
    said = output.take({})
    assert said is not None
    assert (len(said.said[0]), said.dropped) == (40, [60]), "four seconds' worth at once"
    now[0] += 0.5
    for _ in range(10):
        output.note("b", "stdout", "x" * 68)
    said = output.take({})
    assert said is not None
    assert (len(said.said[0]), said.dropped) == (5, [5])


def test_what_is_said_is_sent_at_once_and_then_in_batches() -> None:
    async def main() -> list[tuple[str, ...]]:
        sent: list[tuple[str, ...]] = []
        first, second = asyncio.Event(), asyncio.Event()

        def send() -> None:
            said = output.take({})
            if said is not None:
                sent.append(tuple(text for _, _, text in said.said[0]))
                (second if first.is_set() else first).set()

        output = Output(send, 1e6, asyncio.get_running_loop())
        thread = threading.Thread(target=output.note, args=("a", "stdout", "1"))
        thread.start()
        await asyncio.wait_for(first.wait(), 10)
        for text in "234":
            output.note("a", "stdout", text)
        await asyncio.wait_for(second.wait(), 10)
        thread.join()
        return sent

    assert asyncio.run(main()) == [("1",), ("2", "3", "4")]


def test_nobody_is_woken_when_the_loop_has_ended() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    output = Output(lambda: None, 1e6, loop)
    output.note("a", "stdout", "too late")
    assert heard(output) == [("a", "stdout", "too late")]


# ---------------------------------------------------------------- log records


@pytest.fixture
def logged(output: Output, monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    monkeypatch.setattr(logging.Logger, "callHandlers", logging.Logger.callHandlers)
    module._attend_to_logging(output, logging.INFO)
    return logging.Logger("test.output", logging.DEBUG)


def test_records_of_tasks_are_noted_once_with_their_level(
    logged: logging.Logger, output: Output, tee: Tee, screen: io.StringIO
) -> None:
    logged.addHandler(logging.StreamHandler(tee))  # type: ignore[arg-type]

    def work() -> None:
        logged.warning("%d bottles", 3)
        logged.debug("too low")
        try:
            raise ArithmeticError("odd")
        except ArithmeticError:
            logged.exception("it broke")

    logged.error("outside")
    within(Seat(Task("a")), work)
    first, second = heard(output)
    assert first == ("a", "WARNING", "test.output: 3 bottles")
    assert second[:2] == ("a", "ERROR")
    assert second[2].startswith("test.output: it broke\nTraceback")
    assert second[2].endswith("ArithmeticError: odd")
    assert screen.getvalue().startswith("outside\n3 bottles\ntoo low\nit broke\n"), "handlers see them as ever"


def test_a_record_whose_arguments_do_not_fit_harms_nobody(logged: logging.Logger, output: Output) -> None:
    logged.addHandler(logging.NullHandler())
    within(Seat(Task("a")), lambda: logged.warning("%d bottles", "three"))
    assert heard(output) == [("a", "WARNING", "test.output: %d bottles")]
