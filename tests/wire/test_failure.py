"""Exceptions on their way: whatever their class does, something that tells of them arrives."""

from __future__ import annotations

import asyncio
import copyreg
import pickle
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from windrow.errors import PickleError, TaskError
from windrow.wire import failure


def raised(function: Callable[..., object], *args: object) -> BaseException:
    """What a function raises, with its traceback."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def travelled(error: BaseException, who: str = "task 'k'", skip_frames: int = 0) -> BaseException:
    return failure.load(*failure.dump(error, who, skip_frames))


def names(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# ---------------------------------------------------------------- tracebacks


def down(steps: int) -> None:
    if steps:
        down(steps - 1)
    raise LookupError("at the bottom")


def for_ever() -> None:
    for_ever()


def test_a_recursion_error_travels_with_both_ends_of_its_traceback() -> None:
    error = travelled(raised(for_ever))
    assert type(error) is RecursionError
    found = names(error)
    assert len(found) == 2 * failure.FRAMES_AT_AN_END + 1
    assert found[0] == "raised"
    assert found[-1] == "for_ever"
    assert found[failure.FRAMES_AT_AN_END].endswith("frames are left out here]")


def test_a_program_that_uses_tblib_itself_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tblib import pickling_support

    # As its install() does, which cannot be undone.
    monkeypatch.setitem(copyreg.dispatch_table, RecursionError, pickling_support.pickle_exception)
    monkeypatch.setitem(copyreg.dispatch_table, TracebackType, pickling_support.pickle_traceback)
    assert type(travelled(raised(for_ever))) is RecursionError


@pytest.mark.parametrize(("frames", "left_out"), [(3, 0), (60, 0), (100, 0), (101, 1), (300, 200)])
def test_frames_left_out_are_counted(frames: int, left_out: int) -> None:
    blob, text = failure.dump(raised(down, frames - 1), skip_frames=1)  # `raised` itself is the first
    found = names(failure.load(blob))
    assert found.count("down") == frames - left_out
    note = f"[{left_out} frames are left out here]"
    assert (note in found) == (note in text) == bool(left_out)
    assert text.endswith("LookupError: at the bottom\n")


def test_lines_are_found_again() -> None:
    [_, frame] = traceback.extract_tb(travelled(raised(down, 0)).__traceback__)
    assert frame.line == 'raise LookupError("at the bottom")'


# ---------------------------------------------------------------- classes that do as they like


class Leaves(Exception):
    """Raises what is no `Exception` when it is pickled."""

    def __reduce__(self) -> Any:
        raise SystemExit(4)


class Deaf(Exception):
    """Nothing can be asked of it."""

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt

    def __str__(self) -> str:
        raise SystemExit(5)


class Frozen(Exception):
    """Refuses attributes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set")


class Exits(Exception):
    """Raises what is no `Exception` when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, (6,)


@pytest.mark.parametrize(("kind", "cause"), [(Leaves, "SystemExit: 4"), (Exits, "SystemExit: 6")])
def test_a_class_that_exits_is_named(kind: type[Exception], cause: str) -> None:
    error = travelled(raised(throw, kind("its text")))
    assert isinstance(error, PickleError)
    assert f"{kind.__name__}(its text) raised by task 'k'" in str(error)
    assert cause in str(error)
    assert names(error) == ["raised", "throw"]


def throw(error: BaseException) -> None:
    raise error


def test_of_an_exception_that_cannot_even_be_looked_at_the_name_travels() -> None:
    blob, text = failure.dump(Deaf(), "task 'k'")
    error = failure.load(blob, text)
    assert isinstance(error, PickleError)
    assert "Deaf(<its str() raised SystemExit>) raised by task 'k'" in str(error)
    assert "KeyboardInterrupt" in str(error)
    assert text.startswith("Deaf: ")


def test_a_class_that_refuses_attributes_has_its_traceback_and_cause() -> None:
    def fail() -> None:
        try:
            raise Frozen(1)
        except Frozen as error:
            raise Frozen(2) from error

    error = travelled(raised(fail))
    assert repr(error) == "Frozen(2)"
    assert repr(error.__cause__) == "Frozen(1)"
    assert names(error) == ["raised", "fail"]


def test_an_exception_that_cannot_be_loaded_says_who_raised_what(monkeypatch: pytest.MonkeyPatch) -> None:
    blob, text = failure.dump(raised(throw, Frozen(7)), "a function run on the scheduler")
    monkeypatch.delattr(sys.modules[__name__], "Frozen")
    error = failure.load(blob, text)
    assert isinstance(error, PickleError)
    assert "Frozen(7) raised by a function run on the scheduler" in str(error)
    assert "in throw" in str(error)  # the remote traceback


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_would_end_the_program_is_told_instead(kind: type[BaseException]) -> None:
    error = travelled(raised(throw, kind("bye")), "a function run on the scheduler")
    assert type(error) is TaskError
    assert str(error).startswith(f"A function run on the scheduler raised {kind.__name__}(bye)")
    assert names(error) == ["raised", "throw"]


@pytest.mark.parametrize("content", ["x" * 70_000, np.zeros(100_000), b"x" * 1_000_000], ids=["text", "array", "bytes"])
def test_a_large_exception_keeps_type_and_content(content: Any) -> None:
    error = travelled(ValueError(content))
    assert type(error) is ValueError
    assert len(error.args[0]) == len(content)


def test_its_own_cause() -> None:
    error = ValueError("once")
    error.__cause__ = error
    assert travelled(error).__cause__ is None


def test_text_that_utf_8_does_not_have() -> None:
    _, text = failure.dump(OSError("no file named \udc80"))
    assert text == "OSError: no file named \\udc80\n"


def test_groups_too_deep_to_be_told() -> None:
    error: Exception = ValueError("core")
    for _ in range(2000):
        error = ExceptionGroup("shell", [error])
    blob, text = failure.dump(error)
    assert "shell" in text
    assert "shell" in str(failure.load(blob, text))


def test_a_value_that_cannot_travel_raises_the_reason() -> None:
    stand_in = failure.Unloadable(failure.dump(TypeError("it is a lock"))[0])
    with pytest.raises(TypeError, match="it is a lock"):
        pickle.loads(pickle.dumps(stand_in))


# ---------------------------------------------------------------- users' coroutines


async def throw_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, ValueError])
def test_what_a_coroutine_raises_does_not_reach_the_loop(kind: type[BaseException]) -> None:
    async def scenario() -> None:
        result, error = await asyncio.create_task(failure.caught(throw_later(kind("bye"))))
        assert result is None
        assert type(error) is kind
        assert names(error) == ["caught", "throw_later"]

    asyncio.run(scenario())


def test_a_result_is_handed_on() -> None:
    assert asyncio.run(failure.caught(asyncio.sleep(0, 7))) == (7, None)


def test_a_cancellation_from_outside_goes_on() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(failure.caught(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(scenario())
