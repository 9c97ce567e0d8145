"""What code in the scheduler's process can ask of the cluster: workers retired, restarted, spoken to.

What lives here: `Asking`, a part of the scheduler's view. What this file must never know: how anything is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from windrow import logs, versions
from windrow.errors import WorkerStartTimeoutError
from windrow.scheduler import recording
from windrow.scheduler.state import ClientRecord
from windrow.wire import failure, payload
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

if TYPE_CHECKING:
    from windrow.scheduler.server import SchedulerServer
    from windrow.scheduler.views import Views, WorkerView

__all__ = ["Asking"]

OnError = Literal["raise", "return", "return_pickle", "ignore"]

RESTART_POLL_S = 0.02


def _keys(dask_worker: Any) -> list[Any]:
    return list(dask_worker.keys())


def _worker_logs(n: int | None = None, dask_worker: Any = None) -> list[tuple[str, str]]:
    return logs.recent("worker", n)


def _ping(dask_worker: Any) -> str:
    return "pong"


OPERATIONS: dict[str, Callable[..., Any]] = {
    "get_logs": _worker_logs,
    "keys": _keys,
    "ping": _ping,
    "versions": versions.versions,
}
"""What `Asking.broadcast` knows beside "run"; each is called on workers."""


class Asking:
    """The part of the scheduler's view that asks."""

    _server: SchedulerServer
    _reader: ClientRecord
    """Who it is that asks for what threads did."""
    workers: Views[str, WorkerView]

    def get_logs(self, start: int = 0, n: int | None = None) -> list[tuple[str, str]]:
        """Return the scheduler's last log records as (level, text), newest first."""
        return self._server.get_logs(start, n)

    def get_task_stream(
        self, start: float | str | None = None, stop: float | str | None = None, count: int | None = None
    ) -> list[dict[str, Any]]:
        """Return what threads did, a record for each attempt, as ``Client.get_task_stream`` does; from now on."""
        from windrow.drawing import records

        state = self._server.core.state
        state.now_s = max(state.now_s, self._server.loop.time())
        found: records.Rows = {name: [] for name in records.COLUMNS}
        since, is_last = 0, False
        while not is_last:
            request = r.TaskStream(since, recording.ANSWER_ROWS, True, records.HELD_S)
            answer = recording.rows(state, self._reader, request)
            since, is_last = answer["next"], records.gather(found, answer)
        self._server.flush_soon()
        return records.records(records.chosen(found, start, stop, count))

    def versions(self, packages: Iterable[str] = ()) -> dict[str, Any]:
        """Return the versions of Python and of packages in the scheduler's process."""
        return versions.versions(packages)

    async def retire_workers(
        self,
        workers: Iterable[str] | None = None,
        *,
        names: Iterable[str | int] | None = None,
        close_workers: bool = False,
        remove: bool = True,
        **kwargs: Any,
    ) -> dict[str, dict[str, Any]]:
        """Have others hold what some workers alone hold, and close these; return descriptions of them, by address.

        Parameters
        ----------
        workers, names
            Those, by address or by name; neither: those that can be missed, as `workers_to_close` finds them.
        close_workers, remove
            With neither they stay, and are sent no tasks.
        **kwargs
            For `workers_to_close`.
        """
        if workers is not None and names is not None:
            raise TypeError("workers= and names= both say which workers to retire; give one of them")
        if names is not None:
            wanted = {str(name) for name in names}
            workers = [address for address, worker in self.workers.items() if str(worker.name) in wanted]
        elif workers is None:
            workers = self.workers_to_close(**kwargs)  # type: ignore[attr-defined]
        chosen = list(workers)
        described = {address: self.workers[address].identity() for address in chosen if address in self.workers}
        reply = await self._server.ask(r.Retire(chosen, close=close_workers or remove))
        return {address: described[address] for address in reply.value if address in described}

    async def restart_workers(
        self,
        workers: Iterable[str] | None = None,
        client: str | None = None,
        timeout: float = 30.0,
        wait_for_workers: bool = True,
        **kwargs: Any,
    ) -> dict[str, str]:
        """Have workers started afresh by their nannies; return "OK" or "timed out" by address.

        Parameters
        ----------
        workers
            By address; by default all that have a nanny.
        client
            Accepted: it makes no difference who asks.
        timeout
            How long to wait for those that take their places.
        wait_for_workers
            Whether to wait at all.
        """
        present = self.workers
        chosen = [worker.address for worker in present.values() if worker.nanny] if workers is None else list(workers)
        names = {address: present[address].name for address in chosen if address in present}
        if alone := [address for address in names if not present[address].nanny]:
            raise ValueError(f"these workers have no nanny that could restart them: {', '.join(alone)}")
        await self._server.ask(r.RestartWorkers(chosen))
        if not wait_for_workers:
            return dict.fromkeys(names, "OK")
        try:
            async with asyncio.timeout(timeout):
                while not set(names.values()) <= {worker.name for worker in present.values()}:
                    await asyncio.sleep(RESTART_POLL_S)
        except TimeoutError:
            there = {worker.name for worker in present.values()}
            return {address: "OK" if name in there else "timed out" for address, name in names.items()}
        return dict.fromkeys(names, "OK")

    async def restart(
        self, client: str | None = None, timeout: float = 30.0, wait_for_workers: bool = True, **kwargs: Any
    ) -> None:
        """Forget all tasks, and have all workers that have nannies started afresh.

        Raises
        ------
        WorkerStartTimeoutError
            They are not back in time.
        """
        reply = await self._server.ask(r.Restart())
        expected: int = reply.value
        if not wait_for_workers:
            return
        try:
            async with asyncio.timeout(timeout):
                while len(self.workers) < expected:
                    await asyncio.sleep(RESTART_POLL_S)
        except TimeoutError:
            raise WorkerStartTimeoutError(
                f"{len(self.workers)} of {expected} workers are back after {timeout:g} s"
            ) from None

    async def broadcast(
        self,
        comm: object = None,
        *,
        msg: Mapping[str, Any],
        workers: Iterable[str] | None = None,
        hosts: Iterable[str] | None = None,
        nanny: bool = False,
        serializers: object = None,
        on_error: OnError = "raise",
    ) -> dict[str, Any]:
        """Ask workers the same thing; return their answers by address.

        Parameters
        ----------
        comm, serializers
            Accepted.
        msg
            ``{"op": "run", "function": …, "args": …, "kwargs": …}``, where function, args and kwargs may be pickled; or
            an ``op`` of "get_logs", "keys", "ping", "versions", with its arguments.
        workers, hosts
            Which, by address or host; by default all.
        nanny
            Ask their nannies instead.
        on_error
            "raise" what the first raises; "return" (or "return_pickle") it in its place; or "ignore" it.
        """
        call = _call_of(dict(msg))
        chosen = None
        if workers is not None or hosts is not None:
            named, near = set(workers or ()), set(hosts or ())
            chosen = [each.address for each in self.workers.values() if each.address in named or each.host in near]
        reply = await self._server.ask(r.RunFunction(call, chosen, nanny=nanny))
        answers: dict[str, Any] = {}
        for address, blob in zip(reply.value, reply.blobs, strict=True):
            if blob is None:  # it has left meanwhile
                continue
            outcome: Any = payload.loads(blob, copy=True)
            ok, said = outcome
            if ok:
                answers[address] = said
            elif on_error == "raise":
                raise failure.load(said)
            elif on_error != "ignore":
                answers[address] = failure.load(said) if on_error == "return" else said
        return answers


def _call_of(msg: dict[str, Any]) -> Blob:
    """Return the pickled (function, args, kwargs) that a message asks for."""
    operation = msg.pop("op", None)
    if operation == "run":
        function, args, kwargs = (_unpickled(msg.get(part, default)) for part, default in _PARTS)
        return payload.dumps((function, tuple(args or ()), dict(kwargs or {})), "a function for workers")
    if operation not in OPERATIONS:
        known = ", ".join(["run", *OPERATIONS])
        raise ValueError(f"workers know no operation {operation!r}; known are {known}")
    return payload.dumps((OPERATIONS[operation], (), msg), "a question to workers")


_PARTS: tuple[tuple[str, Any], ...] = (("function", None), ("args", ()), ("kwargs", {}))


def _unpickled(value: Any) -> Any:
    import pickle

    return pickle.loads(value) if isinstance(value, bytes) else value  # from code in this process
