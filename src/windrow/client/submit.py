"""From a Python call to tasks: ``submit`` and ``map``.

What lives here: arguments to payloads, payloads to keys, keys to entries. What this file must never know: how messages
leave, and how results come back.

The key of a pure task is its function's name and a hash over the function's digest, the payload that is pickled anyway,
and the keys of the futures in it: there is no second walk over the arguments.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sized
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from windrow.client.entry import Entry
from windrow.client.functions import Function, Functions
from windrow.client.options import DEFAULT, Options
from windrow.client.session import Session
from windrow.client.weight import Load, warn_of, weight
from windrow.errors import FutureCancelledError, PickleError
from windrow.keys import as_bytes, checked
from windrow.wire import payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import Graph, Key
from windrow.wire.payload import WHOLE_BYTES

if TYPE_CHECKING:
    from windrow.client.annotate import Chooser
    from windrow.client.future import Future
    from windrow.client.lowering import Batch

Wrap: TypeAlias = "Callable[[Entry], Future]"

FIRST_BATCH = 256
"""The first message of a map is small, so that workers begin while the rest is pickled."""

BATCH = 1024

LARGE_KWARG_BYTES = 100_000
"""A keyword argument of ``map`` beyond this becomes a task of its own, instead of travelling with each call."""

_first = operator.itemgetter(0)


class Submitter:
    """Makes tasks for one session; any thread may use it.

    Parameters
    ----------
    session
        Where the tasks go.
    """

    __slots__ = ("_functions", "_random", "_serial", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._functions = Functions()
        self._random = os.urandom(8).hex()
        self._serial = count()

    # ---------------------------------------------------------------- one task

    def submit(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Key | None,
        pure: bool,
        options: Options | Callable[[Key], Options],
    ) -> Entry:
        """One task; an entry with one more reference."""
        if not callable(func):
            raise TypeError(f"submit needs a function as its first argument, not {type(func).__name__}")
        if key is not None:
            entry = self._session.hold(key := checked(key))
            if entry is not None:
                return entry
        with payload.collecting(self._session) as collection:
            function, args = self._function(func, args, collection)
            blob = payload.dumps((args, kwargs), function.what, borrow=True)
            inputs = collection.take()
        if key is None:
            key = pure_key(function, blob, inputs, self._session.seed) if pure else f"{function.name}-{self.unique()}"
        if type(blob) is not bytes or type(function.code) is not bytes:
            warn_of(weight((blob, function.code)), f"a task of {function.name!r}")
            blob = self.keep(blob)
        try:
            return self._session.submit(
                function, key, blob, inputs, options if isinstance(options, Options) else options(key)
            )
        except FutureCancelledError as error:
            raise self.explained(error, (func, args, kwargs)) from None

    def keep(self, blob: Blob) -> Blob:
        """Make a blob of arguments independent of its objects, which may be changed or gone when the task runs."""
        if type(blob) is bytes:
            return blob
        from windrow.wire import sharing  # ctypes, which is below it, is not for those who never need it

        return sharing.keep(blob, self._session.is_near)

    def explained(self, error: FutureCancelledError, arguments: object) -> Exception:
        """The error of an input that is not held here, or a better one if its future never was this client's."""
        from windrow.client.future import futures_of

        for future in futures_of(arguments):
            if future.key != error.key:
                continue
            if future.client is None:
                return ValueError(f"{future!r}, given as an argument, has no client: call future.bind_client(client)")
            if future.client.session is not self._session:
                return ValueError(
                    f"{future!r}, given as an argument, belongs to another client, {future.client.id}, and this is "
                    f"{self._session.id}: submit with that one, or bind a copy of the future to this one"
                )
        return error

    def _function(
        self, func: Callable[..., Any], args: tuple[Any, ...], collection: payload.Collection
    ) -> tuple[Function, tuple[Any, ...]]:
        """The function, and its arguments; one that holds futures becomes an argument itself."""
        function = self._functions.find(func)
        if len(collection):
            collection.take()
            name, function = function.name, self._functions.find(operator.call)
            return Function(name, function.code), (func, *args)
        return function, args

    def unique(self) -> str:
        """Text that no other client and no other call gives."""
        return f"{self._random}{next(self._serial):08x}"

    # ---------------------------------------------------------------- a graph

    def carries_futures(self, function: Callable[..., Any]) -> bool:
        """Whether there are futures in a function, such as in a closure; PickleError if it cannot travel."""
        with payload.collecting(self._session) as collection:
            self._functions.find(function)
            return len(collection) > 0

    def submit_graph(self, batches: Iterable[Batch], chooser: Chooser) -> dict[Key, Entry]:
        """Send a graph part by part as it is pickled; the entries of what is wanted of it."""
        number = next(self._serial)
        entries: dict[Key, Entry] = {}
        load = Load()
        more = False
        try:
            for graph, functions, wanted in self._parts(number, batches, chooser, load):
                entries.update(zip(wanted, self._session.submit_graph(graph, functions, wanted), strict=True))
                more = graph.more
            load.warn()
        except BaseException:
            self._session.drop_graph(number if more else None, entries.values())
            raise
        return entries

    def _parts(
        self, number: int, batches: Iterable[Batch], chooser: Chooser, load: Load
    ) -> Iterator[tuple[Graph, list[Function], list[Key]]]:
        """Of each batch the message, its functions, and the keys that are wanted of it."""
        find, number_of_next = self._functions.find, 0
        for batch in batches:
            functions = [find(function) for function in batch.functions]
            option = [] if chooser.says_nothing else [chooser.option(key) for key in batch.keys]
            graph = Graph(
                number,
                batch.known,
                batch.keys,
                [function.digest for function in functions],
                batch.chosen,
                batch.args,
                batch.inputs,
                batch.wanted,
                [options.on_the_wire() for options in chooser.table],
                option,
                batch.more,
            )
            numbered = [*batch.known, *batch.keys]
            wanted = [numbered[place - number_of_next] for place in batch.wanted]
            number_of_next += len(numbered)
            load.add(batch.keys, batch.args)
            for function in functions:
                if type(function.code) is not bytes:
                    load.add_function(function.name, function.digest, function.code)
            yield graph, functions, wanted

    # ---------------------------------------------------------------- many tasks

    def map(
        self,
        wrap: Wrap,
        func: Callable[..., Any],
        iterables: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: str | Collection[Key] | None,
        pure: bool,
        batch_size: int | None,
        options: Options | Callable[[Key], Options],
    ) -> list[Future]:
        """A task for each row of arguments; ``wrap`` makes a `Future` of an entry that was made for it."""
        rows = _rows(func, iterables)
        prefix = checked(key) if isinstance(key, str) else None
        sizes = _batch_sizes(batch_size)
        keys: Iterator[Key] | None = None
        if key is not None and prefix is None:
            rows, keys = _with_keys(rows, key)
        with payload.collecting(self._session) as collection:
            function, first = self._function(func, (), collection)
            if first:
                rows = (first + row for row in rows)
            if kwargs:
                kwargs = self._slim(wrap, function.name, kwargs, collection)
            futures: list[Future] = []
            carried = weight((function.code,))
            name = prefix or function.name
            while True:
                kept: list[Any] = []  # futures of the rows, which nobody else may hold, live until they are named
                taken = islice(rows, next(sizes))
                blobs, inputs = _pickled(taken, kwargs, function.what, collection, len(futures), kept, self.keep)
                if not blobs:
                    warn_of(carried, f"tasks of {function.name!r}")
                    return futures
                if keys is not None:
                    batch = list(islice(keys, len(blobs)))
                elif pure:
                    batch = _pure_keys(function, str(name), blobs, inputs, self._session.seed)
                else:
                    stem = f"{name}-{self.unique()}"
                    batch = [f"{stem}-{number}" for number in range(len(blobs))]
                carried += weight(blobs)
                try:
                    made = self._submit_many(function, batch, blobs, inputs, options)
                except FutureCancelledError as error:
                    raise self.explained(error, (func, iterables, kwargs)) from None
                futures += map(wrap, made)

    def _submit_many(
        self,
        function: Function,
        keys: list[Key],
        blobs: list[Blob],
        inputs: list[list[Key]],
        options: Options | Callable[[Key], Options],
    ) -> list[Entry]:
        if isinstance(options, Options):
            return self._session.submit_many(function, keys, blobs, inputs, options)
        rows = zip(keys, blobs, inputs or repeat(()), strict=False)
        return [self._session.submit(function, key, blob, needs, options(key)) for key, blob, needs in rows]

    def _slim(self, wrap: Wrap, name: str, kwargs: dict[str, Any], collection: payload.Collection) -> dict[str, Any]:
        """Keyword arguments with the large ones replaced by futures of tasks that return them."""
        whole = payload.dumps(kwargs, f"A keyword argument of {name!r}", borrow=True)
        collection.take()
        if payload.nbytes(whole) <= LARGE_KWARG_BYTES:
            return kwargs
        slim = dict(kwargs)
        function = self._functions.find(_first)
        for word, value in kwargs.items():
            blob = self.keep(payload.dumps((((value,),), {}), borrow=True))
            inputs = collection.take()
            if payload.nbytes(blob) > LARGE_KWARG_BYTES:
                key = f"{word}-{pure_key(function, blob, inputs, self._session.seed)}"
                slim[word] = wrap(self._session.submit(function, key, blob, inputs, DEFAULT))
        return slim


def _rows(func: object, iterables: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows of arguments, as zip gives them; TypeError for what cannot be mapped over."""
    if not callable(func):
        raise TypeError(f"map needs a function as its first argument, not {type(func).__name__}")
    if not iterables:
        raise TypeError("map needs at least one iterable of arguments beside the function")
    for number, iterable in enumerate(iterables):
        if not isinstance(iterable, Iterable):
            raise TypeError(f"argument {number} of map must be iterable, not {type(iterable).__name__}")
    if not any(isinstance(iterable, Sized) for iterable in iterables):
        kind = type(iterables[0]).__name__
        raise TypeError(f"map needs something with a length, and {kind} has none: pass list(...) of it instead")
    return zip(*iterables, strict=False)


def _batch_sizes(batch_size: int | None) -> Iterator[int]:
    if batch_size is None:
        return chain((FIRST_BATCH,), iter(lambda: BATCH, 0))
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise TypeError(f"batch_size must be a whole number, not {type(batch_size).__name__}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
    return iter(lambda: batch_size, 0)


def _with_keys(
    rows: Iterator[tuple[Any, ...]], key: Collection[Key]
) -> tuple[Iterator[tuple[Any, ...]], Iterator[Key]]:
    """Rows and the keys that were given for them, after a look at both."""
    if not isinstance(key, Collection) or isinstance(key, bytes | dict):
        raise TypeError(f"key must be a string (a prefix) or a list of strings, not {type(key).__name__}")
    keys = [checked(one) for one in key]
    if len(set(keys)) != len(keys):
        twice = next(one for one in keys if keys.count(one) > 1)
        raise ValueError(f"key must not name two tasks the same, and {twice!r} occurs more than once")
    tasks = list(rows)
    if len(tasks) != len(keys):
        raise ValueError(f"key has {len(keys)} keys for {len(tasks)} tasks: give one for each")
    return iter(tasks), iter(keys)


def _pickled(
    rows: Iterable[tuple[Any, ...]],
    kwargs: dict[str, Any],
    what: str,
    collection: payload.Collection,
    done: int,
    kept: list[Any],
    keep: Callable[[Blob], Blob],
) -> tuple[list[Blob], list[list[Key]]]:
    """Payloads and inputs of one batch, as columns; the second is empty when no task has inputs.

    Rows with inputs go into ``kept``.
    """
    blobs: list[Blob] = []
    inputs: list[list[Key]] = []
    dumps, take, append = payload.dumps, collection.take, blobs.append
    try:
        for row in rows:
            blob = dumps((row, kwargs), what, borrow=True)
            append(blob if type(blob) is bytes else keep(blob))
            taken = take()
            if taken:
                kept.append(row)
                while len(inputs) < len(blobs) - 1:
                    inputs.append([])
                inputs.append(taken)
            elif inputs:
                inputs.append([])
    except PickleError as error:
        number = done + len(blobs)
        raise PickleError(f"{error.what} (task {number} of the map)", error.culprit, error.cause) from error.__cause__
    return blobs, inputs


def _pure_keys(
    function: Function, name: str, blobs: list[Blob], inputs: list[list[Key]], seed: int | None = None
) -> list[Key]:
    start = function.hasher.copy
    keys: list[Key] = []
    for position, blob in enumerate(blobs):
        hasher = start()
        if type(blob) is bytes and len(blob) <= WHOLE_BYTES:
            hasher.update(payload.without_files(blob))
        else:
            payload.digest(blob, hasher, seed)
        if inputs:
            for key in inputs[position]:
                hasher.update(as_bytes(key) + b"\0")
        keys.append(f"{name}-{hasher.hexdigest()}")
    return keys


def pure_key(function: Function, blob: Blob, inputs: Iterable[Key], seed: int | None = None) -> str:
    """The key of a task whose result depends on its function and arguments alone."""
    hasher = function.hasher.copy()
    if type(blob) is bytes and len(blob) <= WHOLE_BYTES:
        hasher.update(payload.without_files(blob))
    else:
        payload.digest(blob, hasher, seed)
    for key in inputs:
        hasher.update(as_bytes(key) + b"\0")
    return f"{function.name}-{hasher.hexdigest()}"
