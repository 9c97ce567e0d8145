"""Methods of `Client` that move data: `replicate`, `rebalance`, `retire_workers`, and the memory manager.

What lives here: their signatures and checks, and what they wait for before they ask. What this file must never know:
which worker holds what, and how a copy is made; the scheduler decides and does that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import SimpleNamespace
from typing import Any

from windrow.client import calls, options
from windrow.client.base import Base
from windrow.client.entry import CANCELLED
from windrow.client.future import Future, given_futures
from windrow.client.options import Workers
from windrow.client.session import Session
from windrow.client.waiting import Steps, entries_of, settled
from windrow.errors import FutureCancelledError
from windrow.keys import Key, from_plain
from windrow.wire import requests as r

MISSED = ("memory_ratio", "n", "key", "minimum", "target", "attribute")
"""What `retire_workers` takes to choose workers that can be missed."""


class DataMethods(Base):
    """What a client does with data on the cluster."""

    def replicate(
        self, futures: Any, n: int | None = None, workers: Workers = None, branching_factor: int = 2, **kwargs: Any
    ) -> Any:
        """Wait for futures, and have ``n`` workers hold each result; returns when they do.

        What is there already counts, and copies beyond ``n`` are dropped. Copies last as long as the results, unless
        the memory manager (`amm`) runs.

        Parameters
        ----------
        futures
            Futures, in lists, tuples, sets, dicts or collections.
        n
            So many copies; by default each of the workers holds one.
        workers
            Only these hold copies, and count; by default all that run.
        branching_factor
            A holder is copied from by at most so many others at a time.
        **kwargs
            ``asynchronous=True`` returns an awaitable.

        Raises
        ------
        ValueError
            ``n`` or ``branching_factor`` is less than 1: use `Future.release` to drop results.

        Examples
        --------
        >>> client.replicate(client.scatter(table), n=2)  # doctest: +SKIP
        """
        asynchronous = _asynchronous(kwargs, "replicate")
        if n is not None:
            _check_count(n, "n", "release futures to drop their results")
        _check_count(branching_factor, "branching_factor", "a holder is copied from by at least one other")
        chosen = given_futures(futures, "futures")
        names = None if workers is None else options.worker_names(workers)
        steps = _replicate(self.session, chosen, n, names, branching_factor)
        return self.run_steps(steps, None, "replicate", asynchronous)

    def rebalance(self, futures: Any = None, workers: Workers = None, **kwargs: Any) -> Any:
        """Wait for futures, and move results from workers that hold much to those that hold little.

        Parameters
        ----------
        futures
            What may be moved; by default anything.
        workers
            From and to which; by default all that run.
        **kwargs
            ``asynchronous=True`` returns an awaitable.

        Raises
        ------
        KeyError
            Some of ``futures`` have no result to be moved, or it could not be copied.

        Examples
        --------
        >>> client.rebalance()  # doctest: +SKIP
        """
        asynchronous = _asynchronous(kwargs, "rebalance")
        chosen = None if futures is None else given_futures(futures, "futures")
        names = None if workers is None else options.worker_names(workers)
        return self.run_steps(_rebalance(self.session, chosen, names), None, "rebalance", asynchronous)

    def retire_workers(self, workers: Workers = None, close_workers: bool = True, **kwargs: Any) -> Any:
        """Copy to others what only these workers hold, and close them; {address: what was known of it}.

        Those on which actors live, and those whose data nobody can take, go on and are not in the result. What runs
        there when the data is out runs again elsewhere.

        Parameters
        ----------
        workers
            Addresses, names or hosts; by default those that can be missed: idle, with little data.
        close_workers
            Whether to end them; else they stay, and are sent no tasks, until somebody ends them.
        **kwargs
            ``n`` (so many), ``target`` (until so many are left), ``minimum`` (that stay), ``memory_ratio`` (how many
            times what is stored the memory of those that stay must be; 2), and ``key`` (a function of a worker, with
            ``address``, ``name``, ``host``, …: those of the same result go together) choose where ``workers`` is not
            given. ``asynchronous=True`` returns an awaitable.

        Examples
        --------
        >>> client.retire_workers(n=1)  # doctest: +SKIP
        {'tcp://127.0.0.1:40123': {'type': 'Worker', ...}}
        """
        asynchronous = _asynchronous(kwargs, "retire_workers", MISSED)
        if not isinstance(close_workers, bool):
            raise TypeError(f"close_workers must be True or False, not {close_workers!r}")
        if workers is not None:
            steps = calls.retire(self.session, options.worker_names(workers), close_workers)
        else:
            steps = _retire_some(self.session, close_workers, _key_of(kwargs.get("key")), **_counts(kwargs))
        return self.run_steps(steps, None, "retire_workers", asynchronous)

    @property
    def amm(self) -> ActiveMemoryManager:
        """The scheduler's memory manager."""
        return ActiveMemoryManager(self)


class ActiveMemoryManager:
    """The scheduler's memory manager, which drops copies of results that nobody needs.

    It is off until `start` (or ``distributed.scheduler.active-memory-manager.start``): a copy that a task has brought
    to a worker, or that `Client.replicate` has made, stays as long as the result.

    Parameters
    ----------
    client
        Whose scheduler it is.

    Examples
    --------
    >>> client.amm.start()  # doctest: +SKIP
    >>> client.amm.running()  # doctest: +SKIP
    True
    """

    def __init__(self, client: Base) -> None:
        self._client = client

    def __repr__(self) -> str:
        return f"<ActiveMemoryManager of {self._client!r}>"

    def start(self) -> Any:
        """Look for copies to drop every now and then (``distributed.scheduler.active-memory-manager.interval``)."""
        return self._ask("start")

    def stop(self) -> Any:
        """Look no more."""
        return self._ask("stop")

    def run_once(self) -> Any:
        """Look now."""
        return self._ask("run_once")

    def running(self) -> Any:
        """Whether it looks every now and then."""
        return self._client.consult("amm", "running")

    def _ask(self, what: str) -> Any:
        return self._client.consult("amm", what, then=lambda reply: None)


# ---------------------------------------------------------------- steps


def _done(session: Session, futures: list[Future]) -> Steps[list[Key]]:
    """Wait for futures; their keys."""
    entries = entries_of(session, futures)
    yield from settled(session, entries)
    for entry in entries:
        if entry.status == CANCELLED:
            raise FutureCancelledError(entry.key, str(entry.detail))
    return [entry.key for entry in entries]


def _addresses(session: Session, names: list[str] | None) -> Steps[list[str] | None]:
    return None if names is None else list((yield from calls.chosen_workers(session, names)))


def _replicate(
    session: Session, futures: list[Future], n: int | None, names: list[str] | None, branching_factor: int
) -> Steps[None]:
    keys = yield from _done(session, futures)
    addresses = yield from _addresses(session, names)
    yield from calls.ask(session, r.Replicate(keys, n, addresses, branching_factor))


def _rebalance(session: Session, futures: list[Future] | None, names: list[str] | None) -> Steps[None]:
    keys = None if futures is None else (yield from _done(session, futures))
    addresses = yield from _addresses(session, names)
    left = yield from calls.ask_value(session, r.Rebalance(keys, addresses))
    if left:
        named = ", ".join(repr(from_plain(key)) for key in left)
        raise KeyError(
            f"rebalance: these have no result that could be moved: {named}. The others are where they belong."
        )


def _retire_some(session: Session, close: bool, key: Callable[[Any], Hashable] | None, **counts: Any) -> Steps[Any]:
    identity = yield from calls.ask_value(session, r.Identity())
    workers: dict[str, Any] = identity["workers"]
    groups: dict[str, int] = {}
    if key is not None:
        numbers: dict[Hashable, int] = {}
        for address, facts in workers.items():
            group = key(SimpleNamespace(**facts, address=address))
            groups[address] = numbers.setdefault(group, len(numbers))
    closed = yield from calls.ask_value(session, r.Retire(None, close, groups=groups, **counts))
    return {address: workers.get(address, {}) for address in closed}


# ---------------------------------------------------------------- arguments


def _asynchronous(kwargs: dict[str, Any], method: str, known: tuple[str, ...] = ()) -> bool | None:
    asynchronous: bool | None = kwargs.pop("asynchronous", None)
    for name in kwargs:
        if name not in known:
            listed = ", ".join(["asynchronous", *known])
            raise TypeError(f"{method}() has no parameter {name!r}; beside the named ones it takes {listed}")
    return asynchronous


def _check_count(value: object, argument: str, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{argument} must be 1 or more, not {value}: {hint}")


def _counts(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The numbers among the keywords of `retire_workers`, checked; those that are None left out."""
    counts: dict[str, Any] = {}
    for name in ("n", "target", "minimum"):
        value = kwargs.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be a number of workers, 0 or more, not {value!r}")
        counts[name] = value
    ratio = kwargs.get("memory_ratio")
    if ratio is not None:
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio >= 0:
            raise ValueError(f"memory_ratio must be a number, 0 or more, not {ratio!r}")
        counts["memory_ratio"] = float(ratio)
    return counts


def _key_of(key: object) -> Callable[[Any], Hashable] | None:
    if key is None or callable(key):
        return key
    raise TypeError(f"key must be a function of a worker, such as lambda worker: worker.host, not {key!r}")
