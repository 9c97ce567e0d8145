"""Methods of `Client` for tasks and their results: ``submit``, ``map``, ``gather``, ``scatter``, ``cancel``, ``retry``.

What lives here: their signatures and checks; the work is done in the modules that they call. What this file must never
know: connections, messages on the wire.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from windrow.client import gather, options, scatter
from windrow.client.annotate import options_of
from windrow.client.base import Base
from windrow.client.executor import ClientExecutor
from windrow.client.future import Future, futures_of, given_futures
from windrow.client.options import FIFO_TIMEOUT, Duration, Workers
from windrow.client.recreate import recreate
from windrow.client.waiting import DONE, entries_of
from windrow.keys import Key


class TaskMethods(Base):
    """What a client does with tasks."""

    future_class: type[Future] = Future
    """What `submit` and `map` return."""

    def submit(
        self,
        func: Callable[..., Any],
        *args: Any,
        key: Key | None = None,
        workers: Workers = None,
        resources: Mapping[str, float] | None = None,
        retries: int | None = None,
        priority: float = 0,
        fifo_timeout: Duration = FIFO_TIMEOUT,
        allow_other_workers: bool | None = False,
        actor: bool = False,
        actors: bool = False,
        pure: bool = True,
        **kwargs: Any,
    ) -> Future:
        """Run ``func(*args, **kwargs)`` on a worker; returns at once.

        Parameters
        ----------
        func, *args, **kwargs
            Futures in the arguments, however deep, are replaced by their results.
        key
            The task's name; by default made from function and arguments. A key that is held is not run again.
        workers, allow_other_workers
            Where it may run: addresses, names or hosts; and whether elsewhere if none of those is there.
        retries
            How many times to run it again if it raises.
        priority
            Larger goes first.
        pure
            Whether equal arguments give equal results, so that the same call is done once.
        resources
            What it takes of its worker's resources while it runs, such as ``{"GPU": 1}``.
        actor, actors
            Make an object that stays on its worker (`Actor`), of the class ``func``.
        fifo_timeout
            Accepted for the sake of existing programs, and not used.

        Returns
        -------
        Future

        Raises
        ------
        PickleError
            An argument cannot travel; the message names the part of it that cannot.
        ClosedClientError
            This client is closed.

        Notes
        -----
        What is not given, ``with dask.annotate(...)`` around the call may say.
        """
        wanted = options.checked(
            priority, retries, workers, allow_other_workers, resources, actor or actors, pure, fifo_timeout
        )
        pure = pure and not wanted.actor
        return self.future_class.of(self, self._submitter.submit(func, args, kwargs, key, pure, options_of(wanted)))  # type: ignore[arg-type]

    def map(
        self,
        func: Callable[..., Any],
        *iterables: Any,
        key: str | Collection[Key] | None = None,
        workers: Workers = None,
        retries: int | None = None,
        resources: Mapping[str, float] | None = None,
        priority: float = 0,
        allow_other_workers: bool | None = False,
        fifo_timeout: Duration = FIFO_TIMEOUT,
        actor: bool = False,
        actors: bool = False,
        pure: bool = True,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[Future]:
        """Run ``func`` for each row of arguments, as the builtin ``map`` does; returns the futures at once.

        Parameters
        ----------
        func, *iterables
            At least one of the iterables has a length; the shortest ends it.
        key
            A prefix for the tasks' names, or a list of names, one for each.
        batch_size
            At most so many tasks a message.
        workers, retries, resources, priority, allow_other_workers, fifo_timeout, actor, actors, pure
            As for `submit`.
        **kwargs
            Given to each call.
        """
        wanted = options.checked(
            priority, retries, workers, allow_other_workers, resources, actor or actors, pure, fifo_timeout
        )
        wrap = partial(self.future_class.of, self)  # type: ignore[arg-type]
        pure = pure and not wanted.actor
        return self._submitter.map(wrap, func, iterables, kwargs, key, pure, batch_size, options_of(wanted))

    def gather(
        self, futures: Any, errors: str = "raise", direct: bool | None = None, asynchronous: bool | None = None
    ) -> Any:
        """Wait for futures and return their results, in the same lists, tuples, sets and dicts.

        Parameters
        ----------
        futures
            A future, or a structure of them. An iterator gives an iterator.
        errors
            ``"raise"`` what the first bad one raised, without waiting for the others; or ``"skip"``: bad ones are
            left out of a list, and are None elsewhere.
        direct, asynchronous
            Accepted for the sake of existing programs, and not used.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', not {errors!r}")
        if isinstance(futures, queue.Queue):
            raise TypeError("gather takes futures, not a Queue: empty it into a list")
        skip = errors == "skip"
        if isinstance(futures, Iterator):
            return gather.one_by_one(self.session, futures, skip)
        return self.run_steps(gather.structure(self.session, futures, skip), None, "gather")

    def scatter(
        self,
        data: Any,
        workers: Workers = None,
        broadcast: bool | int = False,
        direct: bool | None = None,
        hash: bool = True,
        timeout: Duration = None,
        asynchronous: bool | None = None,
    ) -> Any:
        """Put values on workers; lists, tuples, sets and dicts of values give the same of futures.

        Parameters
        ----------
        data
            A dict's keys become the names of its values on the cluster.
        workers
            Where to put them: addresses, names or hosts.
        broadcast
            True for a copy on each worker, or a number of copies.
        hash
            Name equal values the same, and send them once.
        timeout
            For it to be placed; by default the client's.
        """
        names = None if workers is None else options.worker_names(workers)
        copies = scatter.checked_copies(broadcast)
        wrap, unique = partial(Future.of, self), self._submitter.unique  # type: ignore[arg-type]
        steps = scatter.scatter(self.session, wrap, unique, data, names, copies, hash)
        limit_s = options.seconds(timeout)
        return self.run_steps(steps, self._timeout_s if limit_s is None else limit_s, "scatter")

    def cancel(
        self,
        futures: Any,
        asynchronous: bool | None = None,
        force: bool = False,
        reason: str | None = None,
        msg: str | None = None,
    ) -> Any:
        """Cancel tasks: what has not started is dropped, what runs is let run and its result dropped.

        With ``force`` also if other clients want the results.
        """
        entries = entries_of(self.session, given_futures(futures, "futures"))
        words = " ".join(filter(None, (reason or "it was cancelled by its client", msg)))
        self.session.cancel(entries, force, words)
        return DONE if self.asynchronous else None

    def retry(self, futures: Any, asynchronous: bool | None = None) -> Any:
        """Run tasks that raised once more, from the root of their error on."""
        self.session.retry(entries_of(self.session, given_futures(futures, "futures")))
        return DONE if self.asynchronous else None

    def recreate_task_locally(self, future: Future | Key) -> Any:
        """Run a task here, on its inputs' values from the cluster, and return its result: to debug it.

        Raises
        ------
        ValueError
            The scheduler does not know it, or it is data that was scattered.
        """
        return self.run_steps(recreate(self, future, failed=False), None, "a task run again here")

    def recreate_error_locally(self, future: Future) -> Any:
        """Run the task that an error comes from here, on its inputs' values from the cluster; raises the error.

        Raises
        ------
        ValueError
            The future has no error.
        """
        return self.run_steps(recreate(self, future, failed=True), None, "a task run again here")

    def get_executor(self, **kwargs: Any) -> ClientExecutor:
        """Return a ``concurrent.futures.Executor`` that runs its calls on the cluster.

        Parameters
        ----------
        **kwargs
            For all of its calls, as in `submit`: ``workers``, ``allow_other_workers``, ``resources``, ``retries``,
            ``pure`` (False by default: each call is run).

        Raises
        ------
        TypeError
            A keyword that is none of these.
        """
        return ClientExecutor(self, **kwargs)

    def futures_of(self, futures: Any) -> list[Future]:
        """Find the futures in lists, tuples, sets and dicts; raises for cancelled ones."""
        found = futures_of(futures, client=self)  # type: ignore[arg-type]
        for future in found:
            if future.cancelled() and (error := gather.error_of(future.entry)) is not None:
                raise error
        return found
