"""``Client.explain`` and ``Future.explain``: why something is as it is.

What lives here: what is asked, and what this client knows beside the scheduler. What this file must never know: how
causes are found (``scheduler.explain``), or put in words (``windrow.explanation``).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from windrow import explanation
from windrow.client import calls
from windrow.client.base import Base
from windrow.client.entry import CANCELLED
from windrow.client.future import Future, given_futures
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.explanation import Explanation, TaskExplanation
from windrow.keys import Key, is_key
from windrow.wire import requests as r

__all__ = ["ExplainMethods", "keys_in"]


class ExplainMethods(Base):
    """What a client can tell of causes."""

    def explain(self, what: Any = None, *, worker: str | int | None = None) -> Any:
        """Say why a task waits, is where it is, or was run again, and what its time went on; why a worker has no work.

        Parameters
        ----------
        what
            A future or a key (also its text, such as ``"('x-1f2e', 0)"``): that task. Several of them in lists,
            tuples, sets or dicts, or a collection of Dask: what of them is not done, and what those wait for, summed
            up. By default: what of all that the scheduler has cannot go on.
        worker
            In place of that: a worker, by its name or address.

        Returns
        -------
        TaskExplanation, TasksExplanation, WorkerExplanation or ClusterExplanation
            Printed, it is text. Its fields are the facts, and ``to_dict()`` has them as plain data. An awaitable of it
            on an asynchronous client.

        Raises
        ------
        TypeError
            There is something else than futures and keys in it.

        Notes
        -----
        What it tells is what the scheduler knows at that moment. Nothing is recorded for it while tasks run, but for
        what is rare: ends of workers, losses, retries, runs of a tenth of a second and more.

        Examples
        --------
        >>> client.explain(future)  # doctest: +SKIP
        'train-7' is queued: it asks for GPU=1: worker 'w2' has GPU=1, held by 'train-6' for 12 s.
        """
        if worker is not None and what is not None:
            raise TypeError("explain takes a task or a worker, not both: leave one out")
        return self.run_steps(_explain(self.session, what, worker), self._timeout_s, "explain")


def keys_in(what: object) -> tuple[list[Key], bool]:
    """Return the keys that an argument names, and whether they are several.

    Examples
    --------
    >>> keys_in("inc-1"), keys_in([("x", 0), ("x", 1)]), keys_in(("x", 0))
    ((['inc-1'], False), ([('x', 0), ('x', 1)], True), ([('x', 0)], False))
    """
    if isinstance(what, Future):
        return [what.key], False
    if is_key(what):
        return [what], False  # type: ignore[list-item]
    if isinstance(what, list | set | frozenset) and what and all(map(is_key, what)):
        return list(what), True
    return list(dict.fromkeys([future.key for future in given_futures(what, "what")])), True


def _explain(session: Session, what: object, worker: str | int | None) -> Steps[Explanation]:
    keys, several = (None, False) if what is None else keys_in(what)
    name = None if worker is None else str(worker)
    facts = yield from calls.ask_value(session, r.Explain(keys, name, several))
    told = explanation.from_plain(facts)
    if isinstance(told, TaskExplanation) and keys:
        told = _with_own(session, told, what, keys[0])
    return told


def _with_own(session: Session, told: TaskExplanation, what: object, key: Key) -> TaskExplanation:
    """Add what this client knows: how many futures share the key, and why it was cancelled."""
    entry = what.entry if isinstance(what, Future) else session.entries.get(key)
    if entry is None:
        return told
    if entry.status == CANCELLED and told.state == explanation.UNKNOWN:
        return replace(told, state="cancelled", detail=str(entry.detail))
    return replace(told, futures=entry.refs)
