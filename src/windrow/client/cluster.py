"""Methods of `Client` that ask about the cluster, run code on it, and change it.

What lives here: their signatures and checks; the work is done in ``calls``. What this file must never know:
connections, tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from windrow.client import calls, facts, options
from windrow.client.base import Base
from windrow.client.future import given_futures
from windrow.client.info import HasWhat, SchedulerInfo, WhoHas
from windrow.client.options import Duration, Workers
from windrow.client.waiting import Steps, block
from windrow.wire import messages as m
from windrow.wire import requests as r


class ClusterMethods(Base):
    """What a client does with a cluster."""

    def _ask(self, steps: Steps[Any], what: str) -> Any:
        return self.run_steps(steps, self._timeout_s, what)

    def _ask_identity(self, timeout_s: float) -> dict[str, Any]:
        identity: dict[str, Any] = block(calls.ask_value(self.session, r.Identity()), timeout_s, "scheduler_info")
        self._identity = identity
        return identity

    def scheduler_info(self, n_workers: int = -1, **kwargs: Any) -> SchedulerInfo:
        """Describe the scheduler and its workers (the first ``n_workers``; -1: all).

        An asynchronous client returns what it learnt last, and asks anew in the background.
        """
        if self.asynchronous:
            question = self.session.ask(r.Identity())
            question.attach(lambda: self._learn(question.reply))
            identity = self._identity or {"type": "Scheduler", "workers": {}}
        else:
            identity = self._ask_identity(self._timeout_s)
        if n_workers >= 0:
            identity = {**identity, "workers": dict(list(identity["workers"].items())[:n_workers])}
        return SchedulerInfo(identity)

    def _learn(self, reply: m.Reply | None) -> None:
        if reply is not None and reply.error is None:
            self._identity = reply.value

    def nthreads(self, workers: Workers = None, **kwargs: Any) -> Any:
        """Threads by worker address."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(calls.nthreads(self.session, names), "nthreads")

    ncores = nthreads

    def who_has(self, futures: Any = None, **kwargs: Any) -> Any:
        """Addresses of the workers that hold each key; all keys when none are given."""
        keys = None if futures is None else [future.key for future in given_futures(futures, "futures")]
        return self._ask(facts.by_key(self.session, r.WhoHas(keys), WhoHas), "who_has")

    def has_what(self, workers: Workers = None, **kwargs: Any) -> Any:
        """Keys that each worker holds."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(facts.by_worker(self.session, r.HasWhat(names), HasWhat), "has_what")

    def processing(self, workers: Workers = None) -> Any:
        """Keys of the tasks assigned to each worker and not done."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(facts.by_worker(self.session, r.Processing(names)), "processing")

    def wait_for_workers(self, n_workers: int, timeout: Duration = None) -> Any:
        """Wait until so many workers run; WorkerStartTimeoutError when the time is over."""
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
            raise ValueError(f"n_workers must be a whole number above 0, not {n_workers!r}")
        steps = calls.wait_for_workers(self.session, n_workers)
        return self.run_steps(steps, options.seconds(timeout), f"{n_workers} workers")

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        workers: Workers = None,
        wait: bool = True,
        nanny: bool = False,
        on_error: str = "raise",
        **kwargs: Any,
    ) -> Any:
        """Run a function on workers, outside the task system; {address: result}.

        With ``wait=False`` it is only started, and None returned; what it raises is not heard of. A parameter named
        ``dask_worker`` receives the worker; with ``nanny=True`` the function runs where the workers' nannies are, and
        it receives the nanny. ``on_error``: ``"raise"``, ``"return"`` (exceptions as results) or
        ``"ignore"`` (leave them out).
        """
        on_error = calls.checked_on_error(on_error)
        names = None if workers is None else options.worker_names(workers)
        call = calls.call_blob(function, args, kwargs)
        return self.run_steps(calls.run(self.session, call, names, wait, nanny, on_error), None, "run")

    def run_on_scheduler(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function in the scheduler's process; a parameter named ``dask_scheduler`` receives the scheduler."""
        call = calls.call_blob(function, args, kwargs)
        return self.run_steps(calls.run_on_scheduler(self.session, call), None, "run_on_scheduler")

    def restart(self, timeout: Duration = None, wait_for_workers: bool = True) -> Any:
        """Forget all tasks of all clients, and start all workers afresh; TimeoutError unless they are back in time."""
        limit_s = options.seconds(timeout)
        steps = calls.restart(self.session, wait_for_workers)
        return self.run_steps(steps, 4 * self._timeout_s if limit_s is None else limit_s, "restart")
