"""Waiting, once for threads and coroutines alike; and the function ``wait``.

What lives here: *steps* (generators that yield each `Latch` they need open) and the two drivers that run them, one
blocking a thread, one awaiting. What this file must never know: how results are fetched and what they are.

A latch is raised by reports on the loop. A timeout is thrown into the steps as TimeoutError, so that their ``finally``
takes the latch off again; so is Ctrl-C. Neither cancels anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from windrow import context
from windrow.client.entry import CANCELLED, UNDONE, Entry, Latch
from windrow.client.options import Duration, seconds
from windrow.client.session import Session
from windrow.errors import FutureCancelledError

if TYPE_CHECKING:
    from windrow.client.future import Future

T = TypeVar("T")
Steps: TypeAlias = Generator[Latch, None, T]

What: TypeAlias = str | Callable[[], "str | tuple[str, str]"]
"""What is waited for, in words; a function where composing them costs more than a wait that is not late, which may say
what to do as well."""

GOES_ON = "It goes on; wait again, or with a longer timeout."

ALL_COMPLETED: Literal["ALL_COMPLETED"] = "ALL_COMPLETED"
FIRST_COMPLETED: Literal["FIRST_COMPLETED"] = "FIRST_COMPLETED"


# ---------------------------------------------------------------- drivers


def block(steps: Steps[T], timeout_s: float | None, what: What, at_once: bool = False) -> T:
    """Run steps to their end in this thread.

    In a task, one that is to go on ``at_once`` does not wait for a place among the worker's threads afterwards: who has
    been given a lock, for which others may wait in those places, and in ways that nobody here knows of.

    Raises
    ------
    TimeoutError
        They took longer than ``timeout_s``; what they waited for goes on.
    """
    until = None if timeout_s is None else monotonic() + timeout_s
    wait = Latch.wait if context.place() is None else partial(_wait_outside, at_once=at_once)
    try:
        latch = next(steps)
        while True:
            if wait(latch, None if until is None else until - monotonic()):
                latch = next(steps)
            else:
                latch = steps.throw(_late(what, timeout_s))
    except StopIteration as stop:
        result: T = stop.value
        return result
    except RuntimeError as error:  # what generators make of a StopIteration that a task raised
        if isinstance(error.__cause__, StopIteration):
            raise error.__cause__ from None
        raise
    finally:
        steps.close()


def _wait_outside(latch: Latch, timeout_s: float | None, at_once: bool = False) -> bool:
    """Wait inside a task: its thread's place goes to another meanwhile, so that what is waited for can run."""
    place = context.place()
    if latch.opened or place is None or place.seceded:
        return latch.wait(timeout_s)
    come_back, opened = place.step_aside(), False
    try:
        opened = latch.wait(timeout_s)
        return opened
    finally:
        if come_back is not None:
            come_back(opened and not at_once)  # whose time is over does not wait again


async def follow(steps: Steps[T], timeout_s: float | None, what: What) -> T:
    """Run steps to their end in this coroutine, on whichever loop it runs."""
    import asyncio

    loop = asyncio.get_running_loop()
    until = None if timeout_s is None else loop.time() + timeout_s
    try:
        latch = next(steps)
        while True:
            future: asyncio.Future[None] = loop.create_future()
            latch.attach(_opener(loop, future))
            try:
                async with asyncio.timeout_at(until):
                    await future
            except TimeoutError:
                latch = steps.throw(_late(what, timeout_s))
            else:
                latch = next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _opener(loop: Any, future: Any) -> Callable[[], None]:
    """What a latch calls when it opens, from any thread."""

    def resolve() -> None:
        if not future.done():
            future.set_result(None)

    def on_open() -> None:
        try:
            loop.call_soon_threadsafe(resolve)
        except RuntimeError:
            pass  # the loop of whoever waited is closed: nobody waits any more

    return on_open


def _late(what: What, timeout_s: float | None) -> TimeoutError:
    told = what if isinstance(what, str) else what()
    words, advice = (told, GOES_ON) if isinstance(told, str) else told
    return TimeoutError(f"{words}: not there after {timeout_s:g} s. {advice}")


class Done:
    """Awaits to None: an order that has left already."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


DONE = Done()


# ---------------------------------------------------------------- steps


def settled(
    session: Session, entries: Collection[Entry], fail_fast: bool = False, count: int | None = None
) -> Steps[None]:
    """Until all entries are done (or ``count`` of them; or, with ``fail_fast``, until one has failed)."""
    latch = session.latch(entries, fail_fast, count)
    if latch is None:
        return
    try:
        yield latch
    finally:
        if latch.count > 0 or count is not None:
            session.unlatch(latch, entries)


def paused(session: Session, seconds_: float) -> Steps[None]:
    """For so long, by the loop's clock."""
    latch, loop = Latch(1), session.loop
    assert loop is not None, "steps run on a session with a loop"
    loop.call_soon_threadsafe(loop.call_later, seconds_, latch.open)
    yield latch


# ---------------------------------------------------------------- wait


class DoneAndNotDone(NamedTuple):
    """What `wait` returns: two sets of futures."""

    done: set[Future]
    not_done: set[Future]


def wait(fs: Any, timeout: Duration = None, return_when: str = ALL_COMPLETED) -> Any:
    """Wait until futures are done.

    Parameters
    ----------
    fs
        A future, or a collection of futures (lists, tuples, sets, dicts, however nested).
    timeout
        Seconds, or a duration such as ``"5 s"``.
    return_when
        ``"ALL_COMPLETED"`` or ``"FIRST_COMPLETED"``.

    Returns
    -------
    DoneAndNotDone
        Sets ``done`` and ``not_done``. A task that raised is done. An awaitable of it for an asynchronous client.

    Raises
    ------
    TimeoutError
        Not done in time.
    FutureCancelledError
        One of them was cancelled.
    TypeError
        Something among them is no future.

    Examples
    --------
    >>> wait([])
    DoneAndNotDone(done=set(), not_done=set())
    """
    if timeout is not None and not isinstance(timeout, float | int | str | timedelta):
        raise TypeError(f"timeout must be seconds, not {type(timeout).__name__}: wait takes futures as one list")
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED):
        raise NotImplementedError(f"return_when must be {ALL_COMPLETED!r} or {FIRST_COMPLETED!r}, not {return_when!r}")
    from windrow.client.future import given_futures

    futures = given_futures(fs, "fs")
    if not futures:
        return DoneAndNotDone(set(), set())
    client = futures[0].bound()
    what = f"waiting for {len(futures)} futures"
    return client.run_steps(_wait(client.session, futures, return_when == FIRST_COMPLETED), seconds(timeout), what)


def _wait(session: Session, futures: list[Future], first: bool) -> Steps[DoneAndNotDone]:
    entries = entries_of(session, futures)
    yield from settled(session, entries, count=1 if first else None)
    done: set[Future] = set()
    not_done: set[Future] = set()
    for future, entry in zip(futures, entries, strict=True):
        if entry.status == CANCELLED:
            raise FutureCancelledError(entry.key, str(entry.detail))
        (not_done if entry.status in UNDONE else done).add(future)
    return DoneAndNotDone(done, not_done)


def entries_of(session: Session, futures: Iterable[Future]) -> list[Entry]:
    """The entries of futures; ValueError for those of another client."""
    entries = []
    for future in futures:
        if future.bound().session is not session:
            raise ValueError(f"{future!r} belongs to another client: ask that client, or give both the same")
        entries.append(future.entry)
    return entries
