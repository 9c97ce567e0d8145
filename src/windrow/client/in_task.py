"""What code inside a task asks for: its worker, a client, and to leave the worker's threads for a while.

What lives here: `get_worker`, `get_client`, `worker_client`, `secede`, `rejoin`. What this file must never know: how
the worker runs tasks (``context.Place`` is all there is of it here).
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from windrow import context
from windrow.client import current
from windrow.client.options import Duration

if TYPE_CHECKING:
    from windrow.client.client import Client
    from windrow.worker.server import WorkerServer

_lock = threading.Lock()

_homes: list[weakref.ref[Any]] = []
"""The worker whose process this is, once one of its tasks has asked for a client."""


def _place_of(asker: str) -> context.Place:
    """Return where this code runs; ValueError outside of tasks, naming the function that asks."""
    place = context.place()
    if place is None:
        raise ValueError(f"{asker}() is for code inside a task, and no task runs here")
    return place


def get_worker() -> WorkerServer:
    """Return the worker that runs the current task.

    Raises
    ------
    ValueError
        This code does not run in a task.

    Examples
    --------
    >>> get_worker()
    Traceback (most recent call last):
        ...
    ValueError: get_worker() is for code inside a task, and no task runs here
    """
    worker: WorkerServer = _place_of("get_worker").worker
    return worker


def get_client(address: str | None = None, timeout: Duration = None, resolve_address: bool = True) -> Client:
    """Return a client to use here: in a task the worker's own, elsewhere the current one.

    A thread that a task has started finds the worker's own too, if a task of it has asked before.

    Parameters
    ----------
    address
        The scheduler's address. A client of it that is there is returned, else a new one.
    timeout
        For connecting.
    resolve_address
        Accepted for the sake of existing programs, and not used.

    Raises
    ------
    ValueError
        There is no client, and no address to make one for.

    Examples
    --------
    >>> get_client()
    Traceback (most recent call last):
        ...
    ValueError: no client is there to use: make one with Client(), or name one
    """
    place = context.place()
    if place is not None and (address is None or address == place.worker.scheduler_address):
        return _client_of(place.worker, timeout)
    try:
        client = current.current()
    except ValueError:
        worker = next((worker for ref in _homes if (worker := ref()) is not None), None)
        if worker is not None and address in (None, worker.scheduler_address):
            return _client_of(worker, timeout)
        if address is None:
            raise
    else:
        if address is None or address in (client.session.remote, getattr(client.cluster, "scheduler_address", None)):
            return client
    from windrow.client.client import Client

    more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    return Client(address, **more)


def _client_of(worker: Any, timeout: Duration) -> Client:
    """Return a worker's client, which all its tasks share; made at its first use, on the worker's loop."""
    client: Client | None = worker.client
    if client is not None and client.status != "closed":
        return client
    from windrow.client.client import WorkersClient

    if threading.get_ident() == worker.thread_id:
        raise RuntimeError(
            "the worker's client is not connected yet, and its event loop's own thread cannot wait for it: "
            "in a coroutine, write 'client = await asyncio.to_thread(get_client)' once"
        )
    with _lock:
        client = worker.client
        if client is None or client.status == "closed":
            more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
            worker.client = client = WorkersClient(worker, **more)
            if not worker.scheduler_address.startswith("inproc://"):
                _homes[:] = [weakref.ref(worker)]
    return client


@contextmanager
def worker_client(timeout: Duration = None, separate_thread: bool = True) -> Iterator[Client]:
    """Give a task the worker's client, and its thread's place to another task meanwhile.

    Parameters
    ----------
    timeout
        For connecting.
    separate_thread
        Whether to leave the worker's threads at once. Waiting for results does so in any case.

    Examples
    --------
    >>> def total(numbers):
    ...     with worker_client() as client:
    ...         return sum(client.gather(client.map(abs, numbers)))
    """
    place = _place_of("worker_client")
    client = get_client(timeout=timeout)
    left = separate_thread and not place.seceded
    if left:
        place.secede()
    try:
        with current.as_current(client):
            yield client
    finally:
        if left:
            place.rejoin()


@contextmanager
def local_client(*args: Any, **kwargs: Any) -> Iterator[Client]:
    """Do as `worker_client`, under its old name."""
    warnings.warn("local_client is the old name of worker_client", stacklevel=3)
    with worker_client(*args, **kwargs) as client:
        yield client


def secede() -> None:
    """Leave the worker's threads: another task may start beside this one, until it ends or calls `rejoin`.

    Raises
    ------
    ValueError
        This code does not run in a task.

    Examples
    --------
    >>> secede()
    Traceback (most recent call last):
        ...
    ValueError: secede() is for code inside a task, and no task runs here
    """
    _place_of("secede").secede()


def rejoin() -> None:
    """Come back to the worker's threads, which may wait until one is free.

    Raises
    ------
    ValueError
        This code does not run in a task.

    Examples
    --------
    >>> rejoin()
    Traceback (most recent call last):
        ...
    ValueError: rejoin() is for code inside a task, and no task runs here
    """
    _place_of("rejoin").rejoin()
