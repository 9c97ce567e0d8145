"""`Future`: the user's handle on a result that is on the cluster, or will be.

What lives here: the class, which is no more than an entry and a client, and `futures_of`. What this file must never
know: messages and sockets.

Futures are counted, not owned: each adds one to its entry's count, and takes it away when it is released or
collected. The collector may run anywhere, under any lock, so ``__del__`` only appends to a queue that the loop
empties.
"""

from __future__ import annotations

import logging
import reprlib
import warnings
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from windrow import context
from windrow.client import gather
from windrow.client.entry import CANCELLED, FINISHED, UNDONE, Entry
from windrow.client.options import Duration, seconds
from windrow.client.waiting import GOES_ON, entries_of, follow
from windrow.keys import Key, checked, label
from windrow.primitives import output
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.client import Client

log = logging.getLogger("windrow.client")


class Future:
    """A result that is on the cluster, or will be; made by ``Client.submit`` and its kind, hardly ever by hand.

    Two futures on one key are two objects, equal to nothing but themselves. The result is kept on the cluster as long
    as a future on it lives.

    Parameters
    ----------
    key
        The name of a result, be it there or not: until somebody makes it, the future is pending.
    client
        Whose future it is; without one it is as one that was unpickled, and `bind_client` makes it usable.
    state, _id
        What programs for Dask may give; not used.

    Raises
    ------
    TypeError
        The key is none, or the client.

    Examples
    --------
    >>> future = Future("inc-1")
    >>> future
    <Future: unbound, key: inc-1>
    """

    __slots__ = ("__weakref__", "client", "entry")

    __dask_future__ = True
    """Dask takes it for a reference to a task where it meets it in a graph."""

    def __init__(self, key: Key, client: Client | None = None, state: object = None, _id: object = None) -> None:
        self.client: Client | None = None  # first of all: __del__ asks for it, should the rest raise
        self.entry = Entry(checked(key), 0)
        if client is not None:
            if not hasattr(client, "session"):
                raise TypeError(f"client must be a Client, not {type(client).__name__}: Future(key, client)")
            self.bind_client(client)

    @classmethod
    def of(cls, client: Client | None, entry: Entry) -> Self:
        """Return a future on an entry that counts it already."""
        future = cls.__new__(cls)
        future.client = client
        future.entry = entry
        return future

    @classmethod
    def unbound(cls, key: Key) -> Future:
        """Return a future without a client, as unpickling gives it; `bind_client` makes it usable."""
        return cls.of(None, Entry(key, 0))

    def __del__(self) -> None:
        client = self.client
        if client is not None:
            session = client.session
            session.released.append(self.entry)
            if not session.wake_due:
                session.wake()

    def release(self) -> None:
        """Let go of the result; with the last future on it, the cluster forgets it. The future is of no use after."""
        client = self.client
        if client is not None:
            entry, self.entry = (
                self.entry,
                Entry(self.entry.key, 0, status=CANCELLED, detail="this future was released"),
            )
            # The new entry is in no books, so counting it down when this object goes does nothing.
            client.session.released.append(entry)
            client.session.wake()

    def bound(self) -> Client:
        """Return the client; RuntimeError for a future without one."""
        if self.client is None and context.place() is not None:  # inside a task there is no doubt whose it is
            self.bind_client(context.client())
        if self.client is None:
            raise RuntimeError(
                f"Future {self.key!r} has no client: it was unpickled. Give it one with future.bind_client(client)."
            )
        return self.client

    def bind_client(self, client: Client) -> None:
        """Tie an unpickled future to a client, which asks the scheduler for the result under this key."""
        if self.client is None:
            self.entry = client.session.want(self.entry.key)
            self.client = client

    # ---------------------------------------------------------------- facts

    @property
    def key(self) -> Key:
        """The name of the result on the cluster."""
        return self.entry.key

    @property
    def executor(self) -> Client | None:
        """The client, by its old name."""
        return self.client

    @property
    def status(self) -> str | None:
        """One of pending, finished, error, cancelled, lost (being made again); None without a client."""
        return None if self.client is None else self.entry.status

    @property
    def type(self) -> type | None:
        """The type of the result, once it is known."""
        entry = self.entry
        if entry.status != FINISHED:
            return None
        if entry.value is not None:
            return type(gather.load(entry.value))
        kind = payload.loads(entry.detail) if isinstance(entry.detail, bytes) and entry.detail != m.STAYS else None
        return kind if isinstance(kind, type) else None

    def done(self) -> bool:
        """Whether it has come to an end: a result, an error, or cancelled."""
        self.bound()
        return self.entry.status not in UNDONE

    def cancelled(self) -> bool:
        """Whether it was cancelled, or its data is gone for good."""
        return self.entry.status == CANCELLED

    # ---------------------------------------------------------------- results

    def result(self, timeout: Duration = None) -> Any:
        """Wait for the result and return it, fresh each time.

        Parameters
        ----------
        timeout
            Seconds, or a duration such as ``"5 s"``; TimeoutError after that, and nothing is cancelled.

        Returns
        -------
        object
            The result; an awaitable of it on an asynchronous client. A task that raised raises here.
        """
        client = self.bound()
        entry = self.entry
        if not client.asynchronous and (value := entry.value) is not None and type(value) is bytes:
            if timeout is not None:
                seconds(timeout)  # a wrong one is told even where nothing is waited for
            loaded = payload.loads(value)
            gather.hold_actors((loaded,), client)
            return loaded
        return client.run_steps(gather.result(self), seconds(timeout), partial(self._late, "result"))

    def exception(self, timeout: Duration = None, **kwargs: Any) -> Any:
        """Wait for the end, and return what the task raised: None unless the status is "error"."""
        client = self.bound()
        return client.run_steps(gather.exception(self), seconds(timeout), partial(self._late, "exception"))

    def traceback(self, timeout: Duration = None, **kwargs: Any) -> Any:
        """Wait for the end, and return the traceback of what the task raised, or None."""
        client = self.bound()
        return client.run_steps(gather.traceback(self), seconds(timeout), partial(self._late, "traceback"))

    def _late(self, what: str) -> tuple[str, str]:
        """Say what is not there yet, and what is known of why."""
        warned = self.bound().cannot_run(self.key)
        if self.entry.status not in UNDONE:  # it is done, and on its way here
            advice = GOES_ON
        elif warned:
            advice = f"The scheduler has warned: {warned} future.explain() says how it stands now."
        else:
            advice = f"It is {self.entry.status}: future.explain() says why. Wait again, or with a longer timeout."
        return f"{what} of {self.key!r}", advice

    def logs(self) -> Any:
        """Return what the task has printed and logged so far, as text: a line each, with time, worker and source.

        It is there before the result is, and stays when the worker has died. Of each task the last lines are kept
        (``windrow.output.task-bytes``). What the task's own code wrote is here, be it by ``print`` or by a logger, and
        not what C code or other processes wrote. An awaitable of it on an asynchronous client. As data, and of several
        tasks at once: ``Client.get_task_logs``.

        Examples
        --------
        >>> print(client.submit(print, "hello").logs())  # doctest: +SKIP
        2026-11-29 12:00:00.250 tcp://127.0.0.1:40123 stdout: hello
        """

        def in_words(reply: m.Reply | None) -> str:
            [(lines, dropped)] = said_in(reply)
            return output.in_words(list(lines), dropped)

        from windrow.client.output import SERVICE, said_in

        return self.bound().consult(SERVICE, output.GetOutput([self.key]), then=in_words)

    def __await__(self) -> Generator[Any, Any, Any]:
        return follow(gather.result(self), None, str(self.key)).__await__()

    # ---------------------------------------------------------------- orders

    def cancel(self, reason: str | None = None, msg: str | None = None, *, force: bool = False, **kwargs: Any) -> Any:
        """Cancel the task, for all futures on this key; see ``Client.cancel``."""
        return self.bound().cancel([self], force=force, reason=reason, msg=msg)

    def explain(self) -> Any:
        """Say why it is not done, or why it is where it is; see ``Client.explain``."""
        return self.bound().explain(self)

    def retry(self, **kwargs: Any) -> Any:
        """Run the task again, if it raised."""
        return self.bound().retry([self])

    def add_done_callback(self, fn: Callable[[Future], object]) -> None:
        """Have ``fn(future)`` called when this is done, in a thread that does nothing else.

        An exception in it is logged.
        """
        if not callable(fn):
            raise TypeError(f"add_done_callback needs a function, not {type(fn).__name__}")
        client = self.bound()
        client.session.enlist(self.entry, Callback(self, fn, client.callbacks))

    # ---------------------------------------------------------------- what Python asks of objects

    def __repr__(self) -> str:
        if self.client is None:
            return f"<Future: unbound, key: {self.key}>"
        status, kind = self.entry.status, self._known_type()
        name = "" if kind is None else f" type: {_full_name(kind)},"
        return f"<Future: {status},{name} key: {self.key}>"

    def _repr_html_(self) -> str:
        from windrow import looks

        if self.client is None:
            return looks.card("Future", label(self.key), {"Status": "unbound"})
        rows = {"Status": self.entry.status}
        kind = self._known_type()
        if kind is not None:
            rows["Type"] = _full_name(kind)
        return looks.card("Future", label(self.key), rows)

    def _known_type(self) -> Any:
        if self.entry.status != FINISHED:
            return None
        try:
            return self.type
        except Exception as error:  # a repr must not raise because a module is missing here
            log.debug("the type of %s cannot be loaded: %r", self.key, error)
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        # As an argument it becomes a reference to its value; elsewhere it is its bare key, to be bound where it
        # arrives.
        return payload.refer(self.entry.key) or (Future.unbound, (self.entry.key,))

    def __dask_tokenize__(self) -> tuple[str, Key]:
        return "Future", self.entry.key

    def __copy__(self) -> Future:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Future:
        return self


def _full_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Callback:
    """Waits on an entry to hand a function to the thread that runs callbacks; keeps its future alive so long."""

    __slots__ = ("_fn", "_future", "_run")

    def __init__(
        self, future: Future, fn: Callable[[Future], object], run: Callable[[Callable[[], object]], None]
    ) -> None:
        self._future = future
        self._fn = fn
        self._run = run

    def settle(self, entry: Entry) -> None:
        """Hand it over."""
        self._run(self._call)

    def _call(self) -> None:
        self._fn(self._future)


def futures_of(o: object, client: Client | None = None) -> list[Future]:
    """Find the futures in lists, tuples, sets, dicts and collections of Dask, however nested; each once, in order.

    Examples
    --------
    >>> futures_of([1, {"a": Future.unbound("x")}])
    [<Future: unbound, key: x>]
    """
    found = {id(item): item for item in _leaves(o) if isinstance(item, Future)}
    if client is not None:
        for future in found.values():
            if future.client is not client:
                raise ValueError(f"{future!r} belongs to another client")
    return list(found.values())


def fire_and_forget(obj: object) -> None:
    """Have tasks run to their end, though no future on them is kept; returns at once.

    Parameters
    ----------
    obj
        A future, a collection of Dask, or lists, tuples, sets and dicts of these.

    Raises
    ------
    TypeError
        There is something else among them.

    Examples
    --------
    >>> fire_and_forget(client.submit(print, "done"))  # doctest: +SKIP
    """
    futures = given_futures(obj, "obj")
    if futures:
        session = futures[0].bound().session
        session.ask(r.Ask("fire-and-forget", [entry.key for entry in entries_of(session, futures)]))


def given_futures(o: object, argument: str) -> list[Future]:
    """Return what `futures_of` finds; TypeError, naming the argument, if there is anything else among them.

    Examples
    --------
    >>> given_futures([1], "fs")
    Traceback (most recent call last):
        ...
    TypeError: fs must be a future, or futures in lists, tuples, sets or dicts, and holds an int: 1
    """
    found: dict[int, Future] = {}
    for item in _leaves(o):
        if not isinstance(item, Future):
            verb = "is" if item is o else "holds"
            raise TypeError(
                f"{argument} must be a future, or futures in lists, tuples, sets or dicts, and {verb} "
                f"{_indefinite(type(item).__name__)}: {reprlib.repr(item)}"
            )
        found[id(item)] = item
    if not found:
        _warn_of_unpersisted(o, argument)
    return list(found.values())


def _warn_of_unpersisted(o: object, argument: str) -> None:
    """Say that a collection has no futures, if there is one: most often what `persist` returned was not kept."""
    for item in _inner(o):
        if graph_of(item):
            name = type(item).__name__
            warnings.warn(
                f"{argument} {'is' if item is o else 'holds'} {_indefinite(name)} of which nothing is on the cluster: "
                "it has no futures, and there is nothing to do. Persist it first, and take what that returns, as in "
                "x = client.persist(x)",
                stacklevel=4,
            )
            return


def _indefinite(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _leaves(o: object) -> Iterator[object]:
    """What lists, tuples, sets and dicts hold, however nested, in order; of a collection of Dask its futures."""
    for item in _inner(o):
        graph = graph_of(item)
        if graph is None:
            yield item
        else:
            yield from (node for node in graph.values() if isinstance(node, Future))


def _inner(o: object) -> Iterator[object]:
    """What lists, tuples, sets and dicts hold, however nested, in order."""
    stack = [o]
    while stack:
        item = stack.pop()
        if isinstance(item, list | tuple | set | frozenset):
            stack.extend(reversed(list(item)))
        elif isinstance(item, dict):
            stack.extend(reversed(list(item.values())))
        else:
            yield item


def graph_of(item: object) -> Any:
    """Return the graph of a collection of Dask, None for anything else."""
    make = getattr(item, "__dask_graph__", None)
    return make() if callable(make) and not isinstance(item, type) else None
