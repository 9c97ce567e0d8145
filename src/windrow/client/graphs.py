"""Methods of `Client` for Dask's collections and graphs: ``compute``, ``persist``, ``get``.

What lives here: collections to graphs, and futures to collections. What this file must never know: nodes of graphs
(lowering), messages (session).
"""

from __future__ import annotations

import gc
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from windrow.client import annotate, options
from windrow.client.base import Base
from windrow.client.future import Future
from windrow.client.options import Duration, Options, Workers
from windrow.errors import FutureCancelledError
from windrow.keys import Key

if TYPE_CHECKING:
    from collections.abc import Callable

GRAPH_FIFO_TIMEOUT = "60s"

LARGE = 10_000
"""So many new objects are worth not being walked by the cyclic collector."""


class GraphMethods(Base):
    """What a client does with collections of Dask."""

    def compute(
        self,
        collections: Any,
        sync: bool = False,
        optimize_graph: bool = True,
        workers: Workers = None,
        allow_other_workers: bool = False,
        resources: Mapping[str, float] | None = None,
        retries: int = 0,
        priority: float = 0,
        fifo_timeout: Duration = GRAPH_FIFO_TIMEOUT,
        actors: object = None,
        traverse: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Compute collections on the cluster; returns futures at once.

        Parameters
        ----------
        collections
            A collection (an array, a bag, a data frame, a delayed object), or a list, tuple or set of them. What is no
            collection passes through.
        sync
            Wait, and return the results instead of futures.
        optimize_graph
            Whether Dask optimises the graph.
        traverse
            Whether to look for collections inside lists, tuples, sets, dicts and iterators among ``collections``.
        workers, allow_other_workers, resources, retries, priority, fifo_timeout
            For all tasks, as in `submit`; they win over ``dask.annotate``.
        actors
            True makes actors of the results; a list of keys, or a dict of True and False by key, of those tasks.

        Returns
        -------
        Future or list of Future
            One for each collection: its whole result. (With ``sync`` the results; an awaitable of them on an
            asynchronous client.)

        Examples
        --------
        >>> import dask.array
        >>> x = dask.array.ones((10, 10), chunks=5)
        >>> client.compute(x.sum()).result()  # doctest: +SKIP
        100.0
        """
        from dask._expr import FinalizeCompute
        from dask.base import collections_to_expr, is_dask_collection
        from dask.core import flatten
        from dask.delayed import delayed

        given = _checked(workers, allow_other_workers, resources, retries, priority, fifo_timeout)
        single = not isinstance(collections, list | tuple | set | frozenset)
        items = [collections] if single else list(collections)
        if traverse:
            kinds = (list, set, tuple, dict, Iterator)
            items = [delayed(item) if isinstance(item, kinds) else item for item in items]
        found = [item for item in items if is_dask_collection(item)]
        if found:
            expression = FinalizeCompute(collections_to_expr(found, optimize_graph)).optimize()
            keys = list(flatten(expression.__dask_keys__()))
            made = self._futures(expression, keys, given, actors)
            futures = iter([made[key] for key in keys])
            items = [next(futures) if is_dask_collection(item) else item for item in items]
        if sync:
            return self.gather(items[0] if single else items)  # type: ignore[attr-defined]
        return items[0] if single else items

    def persist(
        self,
        collections: Any,
        optimize_graph: bool = True,
        workers: Workers = None,
        allow_other_workers: bool | None = None,
        resources: Mapping[str, float] | None = None,
        retries: int | None = None,
        priority: float = 0,
        fifo_timeout: Duration = GRAPH_FIFO_TIMEOUT,
        actors: object = None,
        **kwargs: Any,
    ) -> Any:
        """Compute collections on the cluster, and keep each part there; returns at once.

        Parameters
        ----------
        collections
            A collection, or a list, tuple or set of them.
        optimize_graph, workers, allow_other_workers, resources, retries, priority, fifo_timeout, actors
            As in `compute`.

        Returns
        -------
        collection, or list of collections
            The same, with a future for each part in place of its graph.

        Examples
        --------
        >>> x = client.persist(x)  # doctest: +SKIP
        """
        from dask.base import collections_to_expr, is_dask_collection
        from dask.core import flatten

        given = _checked(workers, allow_other_workers, resources, retries, priority, fifo_timeout)
        single = not isinstance(collections, list | tuple | set | frozenset)
        items = [collections] if single else list(collections)
        for item in items:
            if not is_dask_collection(item):
                raise TypeError(f"persist takes collections of Dask, and not {reprlib.repr(item)}")
        if not items:
            return []
        expression = collections_to_expr(items, optimize_graph).optimize()
        parts = [list(flatten(keys)) for keys in expression.__dask_keys__()]
        made = self._futures(expression, [key for keys in parts for key in keys], given, actors)
        results = []
        for item, keys in zip(items, parts, strict=True):
            rebuild, state = item.__dask_postpersist__()
            results.append(rebuild({key: made[key] for key in keys}, *state))
        return results[0] if single else results

    def get(
        self,
        dsk: Any,
        keys: Any,
        workers: Workers = None,
        allow_other_workers: bool | None = None,
        resources: Mapping[str, float] | None = None,
        sync: bool = True,
        asynchronous: bool | None = None,
        direct: bool | None = None,
        retries: int | None = None,
        priority: float = 0,
        fifo_timeout: Duration = GRAPH_FIFO_TIMEOUT,
        actors: object = None,
        **kwargs: Any,
    ) -> Any:
        """Compute keys of a graph: what Dask calls when this client is its scheduler.

        Parameters
        ----------
        dsk
            A graph: a dict, a ``HighLevelGraph`` or an expression.
        keys
            A key, or nested lists of keys.
        sync
            False for futures, at once, in place of results.
        workers, allow_other_workers, resources, retries, priority, fifo_timeout, actors
            As in `compute`.
        direct, asynchronous
            Accepted for the sake of existing programs; ``direct`` is not used.

        Returns
        -------
        object
            Results (or futures) in the shape of ``keys``.

        Examples
        --------
        >>> client.get({"x": (sum, [1, 2])}, "x")  # doctest: +SKIP
        3
        """
        given = _checked(workers, allow_other_workers, resources, retries, priority, fifo_timeout)
        made = self._futures(dsk, list(_flat(keys)), given, actors)
        packed = _packed(keys, made)
        if not sync:
            return packed
        return self.gather(packed, asynchronous=asynchronous)  # type: ignore[attr-defined]

    def _futures(self, graph: Any, keys: list[Any], given: Options, actors: object) -> dict[Any, Future]:
        """Send a graph; a future for each of the keys."""
        with _no_collections():
            return self._sent(graph, keys, given, actors)

    def _sent(self, graph: Any, keys: list[Any], given: Options, actors: object) -> dict[Any, Future]:
        from windrow.client.lowering import lower
        from windrow.client.nodes import futures_in

        dsk, said = annotate.graph_of(graph)
        if actors:
            said = {**said, "actor": _actors(actors, keys)}
        self._bind_strangers(dsk.values())
        wrap: Callable[..., Future] = Future.of
        held = self.session.hold_those(dsk.keys())
        # These futures keep what the graph's tasks are not to be made for, until they are tied to it.
        kept = [wrap(self, entry) for entry in held.values()]
        submitter = self._submitter
        batches = lower(dsk, keys, held=held, carries_futures=submitter.carries_futures, keep=submitter.keep)
        chooser = annotate.Chooser(said, given, annotate.around())
        try:
            entries = self._submitter.submit_graph(batches, chooser)
        except FutureCancelledError as error:
            raise self._submitter.explained(error, futures_in(dsk)) from None
        made = {key: wrap(self, entry) for key, entry in entries.items()}
        del kept
        return {key: made[key] for key in dict.fromkeys(keys)}

    def _bind_strangers(self, nodes: Iterable[Any]) -> None:
        """Futures that came inside of something that was unpickled are bound to this client."""
        for node in nodes:
            if isinstance(node, Future) and node.client is None:
                node.bind_client(self)  # type: ignore[arg-type]

    def normalize_collection(self, collection: Any) -> Any:
        """Return a collection with futures in place of what this client holds already.

        Parameters
        ----------
        collection
            A collection of Dask.

        Returns
        -------
        collection
            An equal one.

        Examples
        --------
        >>> client.normalize_collection(x)  # doctest: +SKIP
        """
        from dask._expr import Expr
        from dask.highlevelgraph import HighLevelGraph

        if isinstance(getattr(collection, "expr", None), Expr):
            collection = collection.optimize()
        before = collection.__dask_graph__()
        held = self.session.hold_those(before.keys())
        if not held:
            return collection
        changed = {
            key: Future.of(self, held[key]) if key in held else node  # type: ignore[arg-type]
            for key, node in dict(before).items()
        }
        rebuild, state = collection.__dask_postpersist__()
        keys = set(_flat(collection.__dask_keys__()))
        graph = HighLevelGraph.from_collections("normalized", _culled(changed, keys))
        return rebuild(graph, *state)

    @staticmethod
    def collections_to_dsk(collections: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """Return the graph of some collections, optimised, as a dict.

        Examples
        --------
        >>> from dask import delayed
        >>> len(GraphMethods.collections_to_dsk([delayed(sum)([1, 2])]))
        1
        """
        from dask.base import collections_to_expr

        return dict(collections_to_expr(list(collections), *args, **kwargs).optimize().__dask_graph__())


_collections_seen = -1
"""Full collections that there had been when objects were last counted as old."""


def _count_as_old() -> None:
    """Have the collector take all that was made meanwhile, if that is much, for what it has walked already.

    It would walk it at once otherwise, only to find that it lives. Not again before it has walked everything by itself:
    what is garbage after all is not to pile up.
    """
    global _collections_seen
    collections = gc.get_stats()[2]["collections"]
    if gc.get_count()[0] < LARGE or collections == _collections_seen or gc.get_freeze_count():
        return  # what the program itself has frozen stays so
    _collections_seen = collections
    gc.freeze()
    gc.unfreeze()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the cyclic collector from walking a graph again and again while next to nothing of it can be garbage.

    In a graph of 100,000 tasks it takes 15 to 30 us of the 55 to 90 that each of them costs Dask and this client.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()


def _checked(
    workers: Workers,
    allow_other_workers: bool | None,
    resources: Mapping[str, float] | None,
    retries: int | None,
    priority: float,
    fifo_timeout: Duration,
) -> Options:
    if allow_other_workers and workers is None:
        raise ValueError("allow_other_workers=True says what to do when none of workers= is there: give workers= too")
    return options.checked(
        priority, retries, workers, allow_other_workers or False, resources, False, True, fifo_timeout
    )


def _actors(actors: object, keys: Iterable[Any]) -> dict[Any, bool]:
    """Return which tasks make actors; TypeError for what does not say."""
    if isinstance(actors, dict):
        return {key: bool(chosen) for key, chosen in actors.items()}
    if actors is True or isinstance(actors, list | tuple | set | frozenset):
        return dict.fromkeys(keys if actors is True else actors, True)
    raise TypeError(f"actors must be True, False, a list of keys or a dict by key, not {actors!r}")


def _flat(keys: Any) -> Iterator[Key]:
    if isinstance(keys, list):
        for item in keys:
            yield from _flat(item)
    else:
        yield keys


def _packed(keys: Any, made: Mapping[Any, Future]) -> Any:
    return [_packed(item, made) for item in keys] if isinstance(keys, list) else made[keys]


def _culled(dsk: dict[Any, Any], keys: Iterable[Any]) -> dict[Any, Any]:
    from dask.optimization import cull

    culled, _ = cull(dsk, list(keys))
    return dict(culled)
