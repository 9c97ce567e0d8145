"""From entries back to Python objects: results, errors, whole structures of futures.

What lives here: steps (see ``waiting``) that wait, fetch what did not ride along with its report, and load. What this
file must never know: threads and loops; `Client`.

Loading happens in the waiting thread, never on the loop. Nothing loaded is kept: each call returns fresh objects.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from windrow import segments
from windrow.client import calls
from windrow.client.entry import BAD, CANCELLED, ERROR, FINISHED, Entry
from windrow.client.session import Session
from windrow.client.waiting import Steps, block, entries_of, paused, settled
from windrow.errors import FutureCancelledError, PickleError
from windrow.wire import payload, sharing
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

if TYPE_CHECKING:
    from windrow.client.future import Future

PAUSE_MAX_S = 1.0


def load(blob: Blob) -> object:
    """Load a blob that stays with its entry, so that what was loaded from it before is left alone."""
    return payload.loads(blob, copy=True)


def _load_fetched(entry: Entry, blob: Blob) -> object:
    try:
        return payload.loads(blob)
    except PickleError as error:  # the worker's account of a result that cannot travel: it did not know the key
        culprit = error.culprit.replace("value", "result", 1)
        raise PickleError(f"The result of task {entry.key!r}", culprit, error.cause) from None


def error_of(entry: Entry) -> BaseException | None:
    """Return what an entry's future raises: fresh each time, so that tracebacks do not pile up on one object."""
    if entry.status == CANCELLED:
        return FutureCancelledError(entry.key, str(entry.detail))
    if entry.status == ERROR:
        from windrow.wire import failure

        assert isinstance(entry.detail, tuple), "an entry in error has its failure beside it"
        blob, text = entry.detail
        return failure.load(blob, text)
    return None


def result(future: Future) -> Steps[Any]:
    """One result. The steps hold the future, or ``await client.submit(f).result()`` would release it while it waits."""
    client = future.bound()
    values = yield from results(client.session, [future.entry], skip=False)
    hold_actors(values, client)
    return values[0]


def exception(future: Future) -> Steps[BaseException | None]:
    """What a task raised; None if it did not, or was cancelled."""
    entry = future.entry
    yield from settled(future.bound().session, [entry])
    return error_of(entry) if entry.status == ERROR else None


def traceback(future: Future) -> Steps[TracebackType | None]:
    """The traceback of what a task raised."""
    error = yield from exception(future)
    return None if error is None else error.__traceback__


def hold_actors(values: Iterable[Any], client: Any) -> None:
    """Have proxies of actors among results keep their actors alive, by futures of this client."""
    module = sys.modules.get("windrow.primitives.actor")  # which is there as soon as there is one proxy
    if module is not None and client.session.status == "running":
        for value in values:
            if type(value) is module.Actor:
                module.keep_alive(value, client)


def is_call(future: object) -> bool:
    """Say whether this is the future of a call to an actor: for who waits, no other than one of a task."""
    module = sys.modules.get("windrow.primitives.actor")
    return module is not None and isinstance(future, module.ActorFuture)


class Bad:
    """Stands in the place of a result that is not to be had, when errors are skipped."""

    __slots__ = ()


BAD_RESULT = Bad()


def results(session: Session, entries: list[Entry], skip: bool) -> Steps[list[Any]]:
    """The results of entries, in order; raises at the first bad one, or puts `BAD_RESULT` in its place."""
    yield from settled(session, entries, fail_fast=not skip)
    blobs = [entry.value for entry in entries]
    if None not in blobs:
        loads = payload.loads
        return [loads(blob) if type(blob) is bytes else load(blob) for blob in blobs]  # type: ignore[arg-type]
    return (yield from _fetched(session, entries, skip))


def _fetched(session: Session, entries: list[Entry], skip: bool) -> Steps[list[Any]]:
    """As `results`, for when some failed or did not ride along: ask for those, again if they get lost meanwhile."""
    values: dict[Entry, Any] = {}
    left = list(dict.fromkeys(entries))
    pause_s = 0.005
    host = segments.token()
    while True:
        left = _take(left, values, skip)
        if not left:
            return [values[entry] for entry in entries]
        reply = yield from calls.ask(session, r.Gather([entry.key for entry in left], host))
        missing = 0
        for entry, blob in zip(left, reply.blobs, strict=True):
            if not sharing.attached(blob):  # the memory is gone by now, or cannot be opened: ask for the plain bytes
                host = ""
            elif blob is not None:
                values[entry] = _load_fetched(entry, blob)
            else:
                missing += entry.status == FINISHED
        left = [entry for entry in left if entry not in values]
        if missing:
            # Lost and made again meanwhile, or the report is still under way: ask again a little later.
            yield from paused(session, pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
        yield from settled(session, left, fail_fast=not skip)


def _take(entries: list[Entry], values: dict[Entry, Any], skip: bool) -> list[Entry]:
    """Take what rode along into ``values`` and see to what failed; return those that are to be asked for."""
    if not skip:
        for entry in entries:
            error = error_of(entry)
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # or frame and exception keep each other, and all that the callers' frames hold
    left = []
    for entry in entries:
        blob = entry.value
        if blob is not None:
            values[entry] = load(blob)
        elif entry.status in BAD:
            values[entry] = BAD_RESULT
        else:
            left.append(entry)
    return left


# ---------------------------------------------------------------- structures


def structure(session: Session, data: Any, skip: bool) -> Steps[Any]:
    """The same structure of lists, tuples, sets and dicts with results in place of futures."""
    from windrow.client.future import Future, futures_of

    if type(data) is list and all(isinstance(item, Future) for item in data):
        entries = entries_of(session, data)
        values = yield from results(session, entries, skip)
        if data:
            hold_actors(values, data[0].client)
        return [value for value in values if value is not BAD_RESULT] if skip else values
    futures = futures_of(data)
    entries = entries_of(session, futures)
    values = yield from results(session, entries, skip)
    if futures:
        hold_actors(values, futures[0].client)
    by_id = dict(zip(map(id, futures), values, strict=True))
    if isinstance(data, list) and skip:
        data = [item for item in data if by_id.get(id(item)) is not BAD_RESULT]
    return _rebuilt(data, by_id)


def _rebuilt(item: Any, values: dict[int, Any]) -> Any:
    """``item`` with futures replaced by their values; a bad one, at this depth, by None."""
    if id(item) in values:
        value = values[id(item)]
        return None if value is BAD_RESULT else value
    if isinstance(item, dict):
        return {key: _rebuilt(value, values) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_rebuilt(part, values) for part in item))
    for kind in (list, tuple, set, frozenset):
        if isinstance(item, kind):
            return kind(_rebuilt(part, values) for part in item)
    return item


def one_by_one(session: Session, futures: Iterator[Any], skip: bool) -> Iterator[Any]:
    """Results of an iterator of futures, each waited for as it is asked for (in a thread that may block)."""
    for future in futures:
        yield from block(structure(session, [future], skip), None, "gather")
