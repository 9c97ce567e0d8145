"""``client.scheduler``: the scheduler's answers as coroutine functions, for programs that ask it by name.

What lives here: `SchedulerProxy`, and the table of what it can be asked. What this file must never know: how questions
travel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from windrow import keys as keys_
from windrow.client import calls, facts, options
from windrow.client.options import Workers
from windrow.client.session import Session
from windrow.client.waiting import Steps, follow
from windrow.wire import messages as m
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.base import Base


class SchedulerProxy:
    """The scheduler, as its client sees it: each question is a coroutine function with keyword arguments.

    What programs have put into the ``handlers`` of the scheduler, from a plugin or by ``Client.run_on_scheduler``, is
    asked in the same way.

    Examples
    --------
    >>> client.sync(client.scheduler.who_has, keys=["x"])  # doctest: +SKIP
    {'x': ['tcp://127.0.0.1:40001']}
    >>> await client.scheduler.identity()  # doctest: +SKIP
    """

    def __init__(self, client: Base) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        identity = self._client._identity
        if identity is not None and identity.get("address"):
            return str(identity["address"])
        cluster = getattr(self._client, "cluster", None)
        address = getattr(cluster, "scheduler_address", None)
        return address if isinstance(address, str) else self._client.session.remote

    addr = address

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(f"client.scheduler has no {name!r}", name=name, obj=self)
        client, question = self._client, QUESTIONS.get(name)

        async def ask(**arguments: Any) -> Any:
            steps = (
                _handled(client.session, name, arguments) if question is None else question(client.session, **arguments)
            )
            return await follow(steps, client._timeout_s, f"scheduler.{name}")

        ask.__name__ = name
        return ask

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *QUESTIONS]

    def __repr__(self) -> str:
        return f"<Scheduler of {self._client!r} at {self.address!r}>"


def _handled(session: Session, name: str, arguments: dict[str, Any]) -> Steps[Any]:
    return calls.run_on_scheduler(session, calls.call_blob(_handle, (name, arguments), {}))


def _handle(name: str, arguments: dict[str, Any], dask_scheduler: Any) -> Any:
    """Call a program's own handler, in the scheduler's process."""
    handler = dask_scheduler.handlers.get(name)
    if handler is None:
        there = ", ".join(sorted([*QUESTIONS, *dask_scheduler.handlers, "addr", "address"]))
        raise AttributeError(f"client.scheduler has no {name!r}; there are {there}", name=name)
    takes_comm = "comm" in inspect.signature(handler).parameters
    return handler(**({"comm": None} if takes_comm else {}), **arguments)


def _keys(given: Collection[Any] | None) -> list[m.Key] | None:
    return None if given is None else [keys_.checked(key, "keys") for key in given]


def _names(given: Workers) -> list[str] | None:
    return None if given is None else options.worker_names(given)


def _who_has(session: Session, keys: Collection[Any] | None = None) -> Steps[Any]:
    return facts.by_key(session, r.WhoHas(_keys(keys)))


def _has_what(session: Session, workers: Workers = None) -> Steps[Any]:
    return facts.by_worker(session, r.HasWhat(_names(workers)))


def _processing(session: Session, workers: Workers = None) -> Steps[Any]:
    return facts.by_worker(session, r.Processing(_names(workers)))


def _identity(session: Session, n_workers: int = -1) -> Steps[Any]:
    identity = yield from calls.ask_value(session, r.Identity())
    if n_workers >= 0:
        identity = {**identity, "workers": dict(list(identity["workers"].items())[:n_workers])}
    return identity


def _nthreads(session: Session, workers: Workers = None) -> Steps[Any]:
    return calls.nthreads(session, _names(workers))


def _nbytes(session: Session, keys: Collection[Any] | None = None, summary: bool = True) -> Steps[Any]:
    return facts.nbytes(session, _keys(keys), summary)


def _get_metadata(session: Session, keys: Collection[Any], default: Any = None) -> Steps[Any]:
    from windrow.primitives.metadata import GetMetadata

    reply = yield from calls.ask(session, r.Ask("metadata", GetMetadata(_keys(keys) or [])))
    return reply.value[0] if reply.value else default


def _retire_workers(session: Session, workers: Workers = None, **others: Any) -> Steps[Any]:
    if workers is None:
        raise ValueError("retire_workers: name the workers to retire with workers=")
    return calls.retire(session, options.worker_names(workers))


def _terminate(session: Session) -> Steps[Any]:
    return calls.ask_value(session, r.Shutdown())


QUESTIONS: dict[str, Callable[..., Steps[Any]]] = {
    "get_metadata": _get_metadata,
    "has_what": _has_what,
    "identity": _identity,
    "nbytes": _nbytes,
    "ncores": _nthreads,
    "nthreads": _nthreads,
    "processing": _processing,
    "retire_workers": _retire_workers,
    "terminate": _terminate,
    "who_has": _who_has,
}
