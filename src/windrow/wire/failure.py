"""A task's exception on its way: the exception itself, its remote traceback, and the chain of its causes.

What lives here: `dump` on the side where it was raised, `load` where it is raised again, and `caught`, which keeps what
a user's coroutine raises from ending the event loop. What this file must never know: tasks and who waits for them.

`dump` is total: whatever an exception's class does, something that tells of it travels. An exception that cannot be
pickled, or cannot be unpickled again, travels as a `PickleError` that names it and holds its text; its traceback and
causes still come along.
"""

from __future__ import annotations

import asyncio
import copyreg
import pickle
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace, TracebackType
from typing import Any, TypeAlias, TypeVar

from windrow.errors import PickleError, TaskError
from windrow.wire import payload
from windrow.wire.blobs import Blob

T = TypeVar("T")

CAUSES_MAX = 8
TEXT_CHARS_MAX = 100_000
WORDS_CHARS_MAX = 1000

FRAMES_AT_AN_END = 50
"""So many of the outermost frames travel, and of the innermost; a frame between them says how many are left out."""

_LEFT_OUT_FILE = "<windrow>"

_ENDS_A_PROGRAM = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
"""Raised again on a client these would end the user's program, or the coroutine that waits there."""

_Frame: TypeAlias = tuple[str, str, int, str]
"""(file, function, line, module)"""

_Link: TypeAlias = tuple[Blob, list[_Frame], bool, str]
"""(exception, traceback, whether the next link is its cause rather than its context, who raised what)"""


def dump(error: BaseException, who: str = "a task", skip_frames: int = 0) -> tuple[bytes, str]:
    """Return an exception as (bytes for `load`, formatted traceback); raises nothing.

    Parameters
    ----------
    error
        The exception, with its traceback. What would end the program that loads it becomes a `TaskError`.
    who
        Who raised it, for the message of an exception that cannot travel.
    skip_frames
        How many of the outermost frames are windrow's own, and left out.

    Examples
    --------
    >>> blob, text = dump(ValueError("no"))
    >>> load(blob)
    ValueError('no')
    """
    try:
        return _dump_whole(error, who, skip_frames)
    except BaseException as reason:  # a user's class may do anything where it is looked at; its name is left
        said = _said(error, who)
        stand_in = PickleError(said, _name_of(error), words(reason))
        only: list[_Link] = [(pickle.dumps(stand_in, 5), [], False, said)]
        return pickle.dumps(only, 5), _sendable(f"{words(error)}\n")


def _dump_whole(error: BaseException, who: str, skip_frames: int) -> tuple[bytes, str]:
    frames = _skip(error.__traceback__, skip_frames)
    if isinstance(error, _ENDS_A_PROGRAM):
        raised = f"{type(error).__name__}({_text_of(error)})"
        error = TaskError(f"{who[:1].upper()}{who[1:]} raised {raised}; the process that ran it goes on.")
    chain: list[_Link] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and len(chain) < CAUSES_MAX and id(link) not in seen:
        seen.add(id(link))
        is_cause = link.__cause__ is not None
        link_frames = _dump_frames(frames if link is error else link.__traceback__)
        chain.append((_dump_one(link, who), link_frames, is_cause, _said(link, who)))
        link = link.__cause__ if is_cause else None if link.__suppress_context__ else link.__context__
    return pickle.dumps(chain, 5), _sendable(_format(error, frames))


def load(blob: Blob, text: str = "") -> BaseException:
    """Return the exception that `dump` took, with its remote frames as its traceback."""
    data: Any = payload.loads(blob)
    first: BaseException | None = None
    above: BaseException | None = None
    above_is_cause = False
    for packed, frames, is_cause, said in data:
        error = _load_one(packed, said, text)
        BaseException.with_traceback(error, _load_traceback(frames))
        if above is None:
            first = error
        else:
            # As the interpreter does it: a user's class may refuse attributes, as frozen dataclasses do.
            BaseException.__setattr__(above, "__cause__" if above_is_cause else "__context__", error)
        above, above_is_cause = error, is_cause
    assert first is not None, "a failure holds at least one exception"
    try:
        return first
    finally:  # the traceback leads back to this frame: it must not lead from here to the exception
        del first, above, error


async def caught(awaitable: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    """Await what a user wrote; return (its result, None) or (None, what it raised, with one frame of ours outermost).

    An event loop ends when one of its tasks raises `SystemExit` or `KeyboardInterrupt`, and takes a user's own
    `asyncio.CancelledError` for its task's cancellation. Only a cancellation from outside is raised here.

    Examples
    --------
    >>> import asyncio, sys
    >>> async def leave():
    ...     sys.exit(3)
    >>> asyncio.run(caught(leave()))
    (None, SystemExit(3))
    """
    try:
        return await awaitable, None
    except BaseException as error:  # whatever it raises is its outcome
        own = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and own is not None and own.cancelling():
            raise
        return None, error


class Unloadable:
    """Stands for a value that cannot travel: unpickling it raises the reason.

    Examples
    --------
    >>> import pickle
    >>> blob = pickle.dumps(Unloadable(dump(TypeError("it is a lock"))[0]))
    >>> pickle.loads(blob)
    Traceback (most recent call last):
    TypeError: it is a lock
    """

    def __init__(self, failure: bytes) -> None:
        self.failure = failure

    def __reduce__(self) -> tuple[Callable[[bytes], object], tuple[bytes]]:
        return _raise, (self.failure,)


def _raise(failure: bytes) -> object:
    raise load(failure)


# ---------------------------------------------------------------- the exception


def _dump_one(error: BaseException, who: str) -> Blob:
    name = _name_of(error)
    try:
        blob = _pickle(error, name)
        if type(payload.loads(blob)) is not type(error) and type(error).__module__ != "__main__":
            raise TypeError(f"it comes back as another type than {name}")
        return blob
    except BaseException as reason:  # any class may fail in any way to be pickled or rebuilt; the message says how
        culprit = reason.culprit if isinstance(reason, PickleError) else name
        cause = reason.cause if isinstance(reason, PickleError) else words(reason)
        return pickle.dumps(PickleError(_said(error, who), culprit, cause), 5)


def _pickle(error: BaseException, name: str) -> Blob:
    from windrow.wire import by_value  # cloudpickle, which it imports, is not for those who never need it

    class Bare(by_value.Pickler):
        """Leaves out what tblib's own reduction adds where a program has installed it: whole tracebacks, and causes."""

        def reducer_override(self, thing: object) -> object:
            if issubclass(type(thing), BaseException) and _is_of_tblib(copyreg.dispatch_table.get(type(thing))):
                return thing.__reduce_ex__(5)
            return super().reducer_override(thing)

    try:
        return Bare().stream(error)
    except Exception:  # any class may fail in any way; payload's error names the part that cannot travel
        return payload.dumps(error, f"exception {name}")


def _is_of_tblib(reduction: object) -> bool:
    function = getattr(reduction, "func", reduction)
    return str(getattr(function, "__module__", "")).startswith("tblib.")


def _load_one(packed: Blob, said: str, text: str) -> BaseException:
    try:
        error = payload.loads(packed)
    except Exception as reason:  # its class may live in a module that is only there on the worker
        remotely = f"; remotely it read:\n{text}" if text else ""
        return PickleError(said, f"it cannot be unpickled here{remotely}", words(reason))
    return error if isinstance(error, BaseException) else PickleError(said, repr(error), "no exception")


# ---------------------------------------------------------------- its words


def words(error: BaseException) -> str:
    """Return an exception as ``type: text``, whatever its class does when it is asked.

    Examples
    --------
    >>> words(SystemExit(3))
    'SystemExit: 3'
    """
    return f"{type(error).__name__}: {_text_of(error)}"


def _said(error: BaseException, who: str) -> str:
    return f"The exception {_name_of(error)}({_text_of(error)}) raised by {who}"


def _name_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        return f"{str(error)[:WORDS_CHARS_MAX]}"
    except BaseException as reason:  # a user's __str__ may raise; that must not hide the error itself
        return f"<its str() raised {type(reason).__name__}>"


def _sendable(text: str) -> str:
    """Return a text as messages can hold it: at the most so long, and of characters that UTF-8 has."""
    return text[-TEXT_CHARS_MAX:].encode(errors="backslashreplace").decode()


# ---------------------------------------------------------------- its traceback


def _skip(frames: TracebackType | None, count: int) -> TracebackType | None:
    while frames is not None and count > 0:
        frames, count = frames.tb_next, count - 1
    return frames


def _ends(frames: TracebackType | None) -> tuple[list[TracebackType], int, list[TracebackType]]:
    """Return (the outermost frames, how many are left out after them, the innermost frames)."""
    outermost: list[TracebackType] = []
    innermost: deque[TracebackType] = deque(maxlen=FRAMES_AT_AN_END)
    count = 0
    while frames is not None:
        (outermost if count < FRAMES_AT_AN_END else innermost).append(frames)
        frames, count = frames.tb_next, count + 1
    return outermost, count - len(outermost) - len(innermost), list(innermost)


def _left_out(count: int) -> str:
    return f"[{count} frames are left out here]"


def _dump_frames(frames: TracebackType | None) -> list[_Frame]:
    outermost, left_out, innermost = _ends(frames)
    between: list[_Frame] = [(_LEFT_OUT_FILE, _left_out(left_out), 1, "windrow")] if left_out else []
    return [*map(_dump_frame, outermost), *between, *map(_dump_frame, innermost)]


def _dump_frame(frame: TracebackType) -> _Frame:
    code, module = frame.tb_frame.f_code, frame.tb_frame.f_globals.get("__name__")
    return code.co_filename, code.co_name, frame.tb_lineno, module if type(module) is str else "?"


def _load_traceback(frames: list[_Frame]) -> TracebackType | None:
    if not frames:
        return None
    import tblib

    chain: SimpleNamespace | None = None
    for file, function, line, module in reversed(frames):
        code = SimpleNamespace(co_filename=file, co_name=function)
        frame = SimpleNamespace(f_globals={"__name__": module, "__file__": file}, f_code=code, f_lineno=line)
        chain = SimpleNamespace(tb_frame=frame, tb_lineno=line, tb_next=chain)
    return tblib.Traceback(chain).as_traceback()  # type: ignore[no-any-return]  # and in no variable: see `load`


def _format(error: BaseException, frames: TracebackType | None) -> str:
    try:
        # A negative limit keeps the innermost frames, of causes too.
        told = traceback.TracebackException(type(error), error, frames, limit=-2 * FRAMES_AT_AN_END, compact=True)
        left_out = _ends(frames)[1]
        if left_out:
            between = traceback.FrameSummary(_LEFT_OUT_FILE, 1, _left_out(left_out), lookup_line=False, line="")
            told.stack[:-FRAMES_AT_AN_END] = [*traceback.extract_tb(frames, FRAMES_AT_AN_END), between]
        return "".join(told.format())
    except Exception as reason:  # a group in a group in a group ... is too deep to be told
        return f"{words(error)}\n(its traceback cannot be shown: {type(reason).__name__})\n"
