"""A task's exception on its way: the exception itself, its remote traceback, and the chain of its causes.

What lives here: `dump` on the side where it was raised, `load` where it is raised again. What this file must never
know: tasks and who waits for them.

An exception that cannot be pickled, or cannot be unpickled again, travels as a `PickleError` that names it and holds
its text; its traceback and causes still come along.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

from windrow.errors import PickleError
from windrow.wire import payload
from windrow.wire.messages import Blob

CAUSES_MAX = 8
TEXT_CHARS_MAX = 100_000

_Link: TypeAlias = tuple[Blob, dict[str, Any] | None, bool]
"""(exception, traceback, whether the next link is its cause rather than its context)"""


def dump(error: BaseException, what: str = "a task", skip_frames: int = 0) -> tuple[bytes, str]:
    """Return an exception as (bytes for `load`, formatted traceback).

    Parameters
    ----------
    error
        The exception, with its traceback.
    what
        Who raised it, for the message of an exception that cannot travel.
    skip_frames
        How many of the outermost frames are windrow's own, and left out.

    Examples
    --------
    >>> blob, text = dump(ValueError("no"))
    >>> load(blob)
    ValueError('no')
    """
    chain: list[_Link] = []
    link: BaseException | None = error
    while link is not None and len(chain) < CAUSES_MAX:
        frames = _skip(link.__traceback__, skip_frames if link is error else 0)
        is_cause = link.__cause__ is not None
        chain.append((_dump_one(link, what), _dump_traceback(frames), is_cause))
        link = link.__cause__ if is_cause else None if link.__suppress_context__ else link.__context__
    lines = traceback.format_exception(type(error), error, _skip(error.__traceback__, skip_frames))
    return pickle.dumps(chain, 5), "".join(lines)[-TEXT_CHARS_MAX:]


def load(blob: Blob, text: str = "") -> BaseException:
    """Return the exception that `dump` took, with its remote frames as its traceback."""
    data: Any = payload.loads(blob)
    first: BaseException | None = None
    above: BaseException | None = None
    above_is_cause = False
    for packed, frames, is_cause in data:
        error = _load_one(packed, text)
        error.__traceback__ = _load_traceback(frames)
        if above is None:
            first = error
        elif above_is_cause:
            above.__cause__ = error
        else:
            above.__context__ = error
        above, above_is_cause = error, is_cause
    assert first is not None, "a failure holds at least one exception"
    return first


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


def _skip(frames: TracebackType | None, count: int) -> TracebackType | None:
    while frames is not None and count > 0:
        frames, count = frames.tb_next, count - 1
    return frames


def _dump_one(error: BaseException, what: str) -> bytes:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    try:
        blob = payload.dumps(error, f"exception {name}")
        if type(payload.loads(blob)) is not type(error) and type(error).__module__ != "__main__":
            raise TypeError(f"it comes back as another type than {name}")
        return pickle.dumps(blob, 5) if not isinstance(blob, bytes) else blob
    except Exception as reason:  # any class may fail in any way to be pickled or rebuilt; the message says how
        culprit = reason.culprit if isinstance(reason, PickleError) else name
        cause = reason.cause if isinstance(reason, PickleError) else f"{type(reason).__name__}: {reason}"
        stand_in = PickleError(f"The exception {name}({_text_of(error)}) raised by {what}", culprit, cause)
        return pickle.dumps(stand_in, 5)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception as reason:  # a user's __str__ may raise; that must not hide the error itself
        return f"<its str() raised {type(reason).__name__}>"


def _load_one(packed: bytes, text: str) -> BaseException:
    try:
        error = pickle.loads(packed)
    except Exception as reason:  # its class may live in a module that is only there on the worker
        return PickleError(
            "A task's exception",
            f"it cannot be unpickled here; remotely it read:\n{text}",
            f"{type(reason).__name__}: {reason}",
        )
    return error if isinstance(error, BaseException) else PickleError("A task's exception", repr(error), "no exception")


def _dump_traceback(frames: TracebackType | None) -> dict[str, Any] | None:
    if frames is None:
        return None
    import tblib

    return dict(tblib.Traceback(frames).as_dict())


def _load_traceback(frames: dict[str, Any] | None) -> TracebackType | None:
    if frames is None:
        return None
    import tblib

    made: TracebackType | None = tblib.Traceback.from_dict(frames).as_traceback()
    return made
