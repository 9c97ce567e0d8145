"""Actors: objects that live on one worker and keep their state from call to call, and their proxies everywhere else.

What lives here: `Actor`, which is what users and tasks have in their hands, and the futures of its calls. What this
file must never know: how a call travels (the client), in which thread a method runs (``worker.actors``).

An actor lives as long as somebody wants it: a future, a proxy that a client's result gave or that was used, a task that
waits for it. It is made once; when its worker ends, it has failed, as nobody else knows its state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from windrow import context
from windrow.errors import ActorLostError
from windrow.wire import payload
from windrow.wire.messages import TaskId
from windrow.wire.requests import ActorCall

if TYPE_CHECKING:
    from windrow.keys import Key

__all__ = ["Actor", "ActorFuture", "BaseActorFuture", "EagerActorFuture", "keep_alive", "proxy_of"]

T = TypeVar("T")


# ---------------------------------------------------------------- proxies


class Actor:
    """Stands for an object on a worker; made by ``client.submit(Class, …, actor=True).result()``, never by hand.

    Methods of the object's class return an `ActorFuture` at once. Reading any other attribute of the class, or one that
    the object had when it was made, fetches its present value, and waits for it; on an asynchronous client, and in a
    coroutine on a worker, it gives a coroutine.

    Calls run on the object's worker one after another, in the order in which they arrive, in a thread that all actors
    of that worker share. Methods that are coroutine functions run on the worker's event loop, beside the others, and so
    does any method that is called with ``separate_thread=False``. What is passed to a method, and what it returns, are
    copies, except between two actors of one worker.

    Proxies travel as arguments, in closures, in queues, and in pickles that other clients load.

    Attributes
    ----------
    key : str, int, float or tuple
        The name of the object on the cluster.
    client : Client
        The client whose calls these are: the one that gave the proxy, or else the client at hand at the first call.

    Examples
    --------
    >>> class Counter:
    ...     n = 0
    ...
    ...     def increment(self):
    ...         self.n += 1
    ...         return self.n
    >>> counter = client.submit(Counter, actor=True).result()  # doctest: +SKIP
    >>> counter  # doctest: +SKIP
    <Actor: Counter, key=Counter-4c7e1b1d00000000>
    >>> counter.increment().result(), counter.n  # doctest: +SKIP
    (1, 1)
    """

    __slots__ = ("__weakref__", "_address", "_cls", "_future", "_id", "_key", "_names")

    def __init__(self, cls: type, address: str, key: Key, id: TaskId, names: tuple[str, ...]) -> None:
        self._cls = cls
        self._address = address
        self._key = key
        self._id = id
        self._names = names
        self._future: Any = None

    @property
    def key(self) -> Key:
        """The name of the object on the cluster."""
        return self._key

    @property
    def client(self) -> Any:
        """The client whose calls these are; ValueError where there is none to use."""
        return self._bound().client

    def _bound(self) -> Any:
        """Return the future that keeps the object alive."""
        if self._future is None:
            keep_alive(self, context.client())
        return self._future

    # ------------------------------------------------------------ calls

    def __getattr__(self, name: str) -> Any:
        # Special names are looked for by all kinds of code that wants to know what it has before it, and names that
        # neither class nor object have would be a question to the worker each.
        if name.startswith("__") or not (self._is_of_class(name) or name in self._names):
            words = f"actor of class {self._cls.__qualname__!r} has no attribute {name!r}"
            raise AttributeError(words, name=name, obj=self)
        if self._future is not None:
            self._check_alive()
        if self._is_of_class(name) and callable(member := getattr(self._cls, name)):
            return Method(self, name, member)
        return self._read(name)

    def _is_of_class(self, name: str) -> bool:
        return any(name in vars(base) for base in self._cls.__mro__)

    def _check_alive(self) -> None:
        entry = self._future.entry
        if entry.status == "error":
            from windrow.wire import failure

            raise failure.load(*entry.detail)
        if entry.status == "cancelled":
            raise ActorLostError(self._key, str(entry.detail))

    def _home(self) -> Any:
        """Return what runs actors on this worker, if this code runs where the object lives."""
        place = context.place()
        if place is None or place.worker.address != self._address:
            return None
        return place.worker.actors if place.worker.actors.has(self._id) else None

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BaseActorFuture[Any]:
        on_loop = not kwargs.pop("separate_thread", True)
        home = self._home()
        if home is not None and not on_loop and home.may_call_at_once(self._id, name):
            return EagerActorFuture(home.call_at_once(self._id, name, args, kwargs))
        blob = payload.dumps((args, kwargs), f"args of '{self._cls.__qualname__}.{name}'")
        return self._send(ActorCall(self._key, name, blob, False, on_loop, self._id), home)

    def _read(self, name: str) -> Any:
        home = self._home()
        if home is not None and home.may_call_at_once(self._id, name):
            return home.read_at_once(self._id, name)
        future = self._send(ActorCall(self._key, name, b"", True, False, self._id), home)
        return future.result()

    def _send(self, request: ActorCall, home: Any) -> ActorFuture[Any]:
        future = self._bound()
        client = future.client
        near = None if home is None else home.answer
        return ActorFuture(client, client.call_actor(request, future, near), f"{self!r}.{request.name}")

    # ------------------------------------------------------------ what Python asks of objects

    def __repr__(self) -> str:
        return f"<Actor: {self._cls.__name__}, key={self._key}>"

    def __dir__(self) -> list[str]:
        names = {name for name in (*dir(self._cls), *self._names) if not name.startswith("_")}
        return sorted(names.union(super().__dir__()))

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self._cls, self._address, self._key, self._id, self._names)
        session = None if self._future is None else self._future.client.session
        reference = payload.refer_as(session, self._key)
        return _revived, facts if reference is None else (*facts, reference)

    def __dask_tokenize__(self) -> tuple[str, Key]:
        return "Actor", self._key

    def __copy__(self) -> Actor:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Actor:
        return self


def _revived(cls: type, address: str, key: Key, id: TaskId, names: tuple[str, ...], held: Any = None) -> Actor:
    """Return a proxy from its pickle; ``held`` is what its reference came to: a task's own proxy, or a future."""
    if isinstance(held, Actor):
        return held
    actor = Actor(cls, address, key, id, names)
    actor._future = held
    return actor


def keep_alive(actor: Actor, client: Any) -> None:
    """Have a proxy use this client from now on, and keep its object alive as long as it lives itself.

    Examples
    --------
    >>> keep_alive(counter, client)  # doctest: +SKIP
    """
    actor._future = client.bind(actor._key)


def proxy_of(instance: object, address: str, key: Key, id: TaskId) -> Actor:
    """Return a proxy of an object that lives at this address, under this key and id.

    Examples
    --------
    >>> proxy = proxy_of(slice(1), "tcp://127.0.0.1:4000", "slice-1", 7)
    >>> proxy
    <Actor: slice, key=slice-1>
    >>> "indices" in dir(proxy), hasattr(proxy, "fly")
    (True, False)
    """
    names = tuple(name for name in getattr(instance, "__dict__", ()) if isinstance(name, str))
    return Actor(type(instance), address, key, id, names)


class Method:
    """A method of an actor, not yet called."""

    def __init__(self, actor: Actor, name: str, member: Callable[..., Any]) -> None:
        self._actor = actor
        self.__name__ = name
        self.__doc__ = member.__doc__
        self.__wrapped__ = member

    def __call__(self, *args: Any, **kwargs: Any) -> BaseActorFuture[Any]:
        return self._actor._call(self.__name__, args, kwargs)

    def __repr__(self) -> str:
        return f"<method {self.__name__} of {self._actor!r}>"


# ---------------------------------------------------------------- futures


class BaseActorFuture(ABC, Awaitable[T], Generic[T]):
    """The result of a call to an actor, which is there or will be; awaits to it."""

    __slots__ = ()

    @abstractmethod
    def result(self, timeout: float | str | timedelta | None = None) -> T:
        """Wait for the call to end, and return its result, or raise what it raised."""

    @abstractmethod
    def done(self) -> bool:
        """Whether the call has ended."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'finished' if self.done() else 'pending'}>"


class ActorFuture(BaseActorFuture[T]):
    """The result of a call to an actor on some worker.

    Given by the methods of an `Actor`. It can be waited for with `result`, awaited, and given to `as_completed`.
    Dropping it cancels nothing.

    Examples
    --------
    >>> future = counter.increment()  # doctest: +SKIP
    >>> future.done(), future.result(timeout="5 s"), future.done()  # doctest: +SKIP
    (False, 1, True)
    """

    __slots__ = ("__weakref__", "client", "entry", "what")

    def __init__(self, client: Any, entry: Any, what: str) -> None:
        self.client = client
        self.entry = entry
        self.what = what

    def bound(self) -> Any:
        """Return the client."""
        return self.client

    def result(self, timeout: float | str | timedelta | None = None) -> Any:
        """Wait for the call to end, and return its result.

        Parameters
        ----------
        timeout
            Seconds, or a duration such as ``"5 s"``; TimeoutError after that, and the call goes on.

        Returns
        -------
        object
            What the method returned; an awaitable of it on an asynchronous client. What the method raised is raised.

        Raises
        ------
        ActorCallError
            The actor's worker ended during the call (an OSError).
        ActorLostError
            The actor was gone when the call arrived (a RuntimeError).
        """
        return self.client.await_call(self, timeout)

    def done(self) -> bool:
        """Whether the call has ended."""
        status: str = self.entry.status
        return status != "pending"

    def __await__(self) -> Generator[Any, Any, T]:
        return self.client.await_call(self, None, True).__await__()  # type: ignore[no-any-return]


class EagerActorFuture(BaseActorFuture[T]):
    """The result of a call from one actor to another on the same worker, which ran at once, in the same thread.

    Examples
    --------
    >>> future = EagerActorFuture((3, None))
    >>> future.done(), future.result()
    (True, 3)
    """

    __slots__ = ("_error", "_value")

    def __init__(self, outcome: tuple[T, BaseException | None]) -> None:
        self._value, self._error = outcome

    def result(self, timeout: float | str | timedelta | None = None) -> T:
        """Return what the method returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def done(self) -> bool:
        """Return True."""
        return True

    def __await__(self) -> Generator[Any, Any, T]:
        return self.result()
        yield
