"""``scatter``: values from this process to workers, without a task.

What lives here: values to payloads and keys, and the shape of what comes back. What this file must never know: on which
worker a value ends, which the scheduler decides.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Hashable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from windrow import segments
from windrow.client import calls
from windrow.client.entry import Entry
from windrow.client.session import Session
from windrow.client.waiting import Steps, settled
from windrow.keys import checked
from windrow.wire import messages as m
from windrow.wire import payload, sharing
from windrow.wire import requests as r
from windrow.wire.blobs import Blob, Shared

if TYPE_CHECKING:
    from windrow.client.future import Future

AGAIN_S = 30.0
"""For so long all is sent, where workers that were to get something could not open this process's memory."""

ALL_WORKERS = 1 << 20
"""As ``copies``: one on each worker there is."""


def checked_copies(broadcast: object) -> int:
    """How many copies ``broadcast`` asks for."""
    if broadcast is True:
        return ALL_WORKERS
    if broadcast is False or broadcast is None:
        return 1
    if not isinstance(broadcast, int):
        raise TypeError(f"broadcast must be True, False or a number of copies, not {type(broadcast).__name__}")
    if broadcast < 1:
        raise ValueError(f"broadcast must be 1 or more copies, not {broadcast}")
    return broadcast


def scatter(
    session: Session,
    wrap: Callable[[Entry], Future],
    unique: Callable[[], str],
    data: Any,
    workers: list[str] | None,
    copies: int,
    hash: bool,
) -> Steps[Any]:
    """Put values on workers; the same structure with futures in place of values."""
    if isinstance(data, Iterator | queue.Queue):
        raise TypeError(f"scatter needs values at hand, not {type(data).__name__}: pass list(...) of it")
    if workers is not None:
        workers = list((yield from calls.chosen_workers(session, workers)))
    if isinstance(data, dict):
        keys = [checked(key, "a key of data") for key in data]
        futures = yield from _place(session, wrap, keys, list(data.values()), workers, copies)
        return dict(zip(data, futures, strict=True))
    many = isinstance(data, list | tuple | set | frozenset | range)
    values = list(data) if many else [data]
    blobs = [payload.dumps(value, "Scattered data", borrow=True) for value in values]
    keys = [_key(value, blob, hash, unique, session.seed) for value, blob in zip(values, blobs, strict=True)]
    futures = yield from _place(session, wrap, keys, values, workers, copies, blobs)
    if not many:
        return futures[0]
    if isinstance(data, range):
        return futures
    return type(data)(*futures) if hasattr(data, "_fields") else type(data)(futures)


def _key(value: Hashable, blob: Blob, hash: bool, unique: Callable[[], str], seed: int | None) -> str:
    name = type(value).__name__
    if not hash:
        return f"{name}-{unique()}"
    hasher = blake2b(digest_size=16)
    payload.digest(blob, hasher, seed)
    return f"{name}-{hasher.hexdigest()}"


def _place(
    session: Session,
    wrap: Callable[[Entry], Future],
    keys: list[m.Key],
    values: list[Any],
    workers: list[str] | None,
    copies: int,
    blobs: list[Blob] | None = None,
) -> Steps[list[Future]]:
    """Send those values whose keys are not held, and wait until they are placed."""
    if blobs is None:
        blobs = [payload.dumps(value, "Scattered data", borrow=True) for value in values]
    entries, new = session.scatter(keys)
    # From here on the futures hold what was sent: should this fail, or be given up, their end releases it.
    futures = [wrap(entry) for entry in entries]
    chosen = {key: position for position, key in enumerate(keys) if key in new}
    # What another thread is about to place is not there before it is.
    yield from settled(session, [entry for entry in entries if entry.key in session.placing and entry.key not in new])
    if chosen:
        session.placing |= new
        positions = list(chosen.values())
        columns = (
            list(chosen),
            [blobs[position] for position in positions],
            [payload.nbytes(blobs[position]) for position in positions],
            [_type_of(values[position]) for position in positions],
        )
        try:
            yield from _send(session, *columns, workers, copies)
        except BaseException:
            session.cancel([entries[position] for position in positions], False, "scatter did not come to its end")
            raise
        finally:
            session.placing -= new
        session.place(entries[position] for position in positions)
    return futures


def _send(
    session: Session,
    keys: list[m.Key],
    blobs: list[Blob],
    nbytes: list[int],
    types: list[bytes | None],
    workers: list[str] | None,
    copies: int,
) -> Steps[None]:
    """Send values: large ones as shared memory, as long as the workers that get them can open it."""
    if segments.is_enabled() and time.monotonic() >= session.share_again_s:
        shared = [sharing.share(blob) for blob in blobs]
        if any(shared):
            mixed = [given or payload.own(blob) for given, blob in zip(shared, blobs, strict=True)]
            sent = [sharing.offer(blob) if type(blob) is Shared else blob for blob in mixed]
            reply = yield from calls.ask(session, r.Scatter(keys, sent, nbytes, types, workers, copies))
            if reply.value is not True:
                return
            session.share_again_s = time.monotonic() + AGAIN_S
            blobs = [sharing.plain(blob) if type(blob) is Shared else blob for blob in mixed]
    blobs = [payload.own(blob) for blob in blobs]
    yield from calls.ask(session, r.Scatter(keys, blobs, nbytes, types, workers, copies))


def _type_of(value: object) -> bytes | None:
    """The pickled type of a value, if it is small."""
    blob = payload.dumps(type(value), "The type of scattered data")
    return blob if isinstance(blob, bytes) else None
