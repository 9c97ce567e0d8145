"""Where actors act: the thread, or the loop, in which their methods run.

What lives here: `Stage`. What this file must never know: connections, who calls, when an actor ends (the core knows
which are here).

All actors of a worker share one thread, so that their methods need no locks: a method runs when those called before it
have ended. Coroutines run on the worker's loop, beside it. Reading an attribute waits for nothing, so that a long call
can be watched.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

from windrow import context
from windrow.errors import ActorLostError
from windrow.keys import Key
from windrow.wire import failure, payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import TaskId
from windrow.wire.requests import ActorCall
from windrow.worker.state import Hosted

logger = logging.getLogger("windrow.worker")

Answer: TypeAlias = list[Blob | None]
"""A pickled result and None, or None and a pickled failure."""


class OnStage:
    """Where an actor's method runs (`context.Place`): it takes no thread from tasks."""

    __slots__ = ("in_thread", "key", "priority", "worker")

    seceded = True

    def __init__(self, worker: Any, hosted: Hosted, in_thread: bool) -> None:
        # Not the actor itself: whatever is begun on a loop keeps the context that it was begun in.
        self.worker = worker
        self.key: Key = hosted.key
        self.priority = hosted.priority
        self.in_thread = in_thread

    @property
    def owner(self) -> object:
        """The worker: what an actor holds it holds from one call to the next."""
        return self.worker

    def secede(self) -> None:
        """Do nothing: it takes no thread from tasks."""

    def step_aside(self) -> None:
        """Do nothing: it takes no thread from tasks."""

    def rejoin(self) -> None:
        """Do nothing: it takes no thread from tasks."""


class Stage:
    """Runs the methods of a worker's actors.

    Parameters
    ----------
    worker
        What methods get from ``get_worker()``; its core knows the actors.
    others
        Threads for what need not run in the actors' own.
    """

    def __init__(self, worker: Any, others: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._others = others
        self._thread = ThreadPoolExecutor(1, "windrow-actor")
        self._ready: Future[None] | None = None
        """Done when coroutines may run: with a client at hand, for which the loop's own thread could not wait."""

    def stop(self) -> None:
        """Run nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def has(self, id: TaskId) -> bool:
        """Whether an actor lives here."""
        return id in self._worker.core.actors

    # ------------------------------------------------------------ calls from elsewhere, and from tasks

    def answer(self, request: ActorCall) -> Future[Answer]:
        """Begin a call, or the reading of an attribute; the future never raises."""
        outcome: Future[Answer] = Future()
        hosted: Hosted | None = self._worker.core.actors.get(request.task)
        if hosted is None:
            reason = "no future and no proxy was on it any more when the call arrived"
            outcome.set_result(_failed(ActorLostError(request.key, reason), request))
            return outcome
        try:
            if request.attribute:
                self._others.submit(self._read, hosted, request, outcome)
            elif request.on_loop or self._is_coroutine_function(hosted, request.name):
                self._await(hosted, request, self._called_on_loop(hosted, request), outcome)
            else:
                self._thread.submit(self._call, hosted, request, outcome)
        except RuntimeError as error:  # the worker closes
            outcome.set_result(_failed(error, request))
        return outcome

    @staticmethod
    def _is_coroutine_function(hosted: Hosted, name: str) -> bool:
        return inspect.iscoroutinefunction(getattr(type(hosted.instance), name, None))

    def _read(self, hosted: Hosted, request: ActorCall, outcome: Future[Answer]) -> None:
        try:
            answer = _packed(getattr(hosted.instance, request.name), request)
        except BaseException as error:  # a property may raise anything
            answer = _failed(error, request)
        outcome.set_result(answer)

    def _call(self, hosted: Hosted, request: ActorCall, outcome: Future[Answer]) -> None:
        context.enter(OnStage(self._worker, hosted, in_thread=True))
        try:
            args, kwargs = _arguments(request)
            value = getattr(hosted.instance, request.name)(*args, **kwargs)
            if inspect.iscoroutine(value):
                self._await(hosted, request, value, outcome)
                return
            answer = _packed(value, request)
        except BaseException as error:  # whatever a method raises is its outcome
            answer = _failed(error, request)
        finally:
            context.enter(None)
        outcome.set_result(answer)

    async def _called_on_loop(self, hosted: Hosted, request: ActorCall) -> Any:
        args, kwargs = _arguments(request)
        value = getattr(hosted.instance, request.name)(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    def _await(
        self, hosted: Hosted, request: ActorCall, coroutine: Coroutine[Any, Any, Any], outcome: Future[Answer]
    ) -> None:
        place = OnStage(self._worker, hosted, in_thread=False)
        try:
            ready = self._with_client(place)
        except RuntimeError:  # the worker closes
            coroutine.close()
            raise
        ready.add_done_callback(
            lambda _: self._begin(place, request, coroutine, outcome)
        )  # in order, each at once or later

    def _with_client(self, place: OnStage) -> Future[None]:
        if self._ready is None:
            self._ready = self._others.submit(self._connect, place)
        return self._ready

    def _connect(self, place: OnStage) -> None:
        if self._worker.client is not None:
            return
        context.enter(place)
        try:
            context.client()
        except Exception as error:  # a method that needs it will meet the same
            logger.warning("actors have no client on this worker: %r", error)
        finally:
            context.enter(None)

    def _begin(
        self, place: OnStage, request: ActorCall, coroutine: Coroutine[Any, Any, Any], outcome: Future[Answer]
    ) -> None:
        async def run() -> Any:
            context.enter(place)
            return await coroutine

        def ended(future: Future[tuple[Any, BaseException | None]]) -> None:
            if future.cancelled():
                outcome.set_result(_failed(RuntimeError("the worker has closed"), request))
                return
            value, raised = future.result()
            pack = partial(_packed, value) if raised is None else partial(_failed, raised)
            try:
                self._others.submit(lambda: outcome.set_result(_surely(pack, request)))  # pickling is not for the loop
            except RuntimeError as error:  # the worker closes
                outcome.set_result(_failed(error, request))

        try:
            running = asyncio.run_coroutine_threadsafe(failure.caught(run()), self._worker.loop)
        except RuntimeError as error:  # the loop has ended
            coroutine.close()
            outcome.set_result(_failed(error, request))
            return
        running.add_done_callback(ended)

    # ------------------------------------------------------------ calls from one actor here to another

    def may_call_at_once(self, id: TaskId, name: str) -> bool:
        """Whether this code runs in the actors' thread, which would wait for itself, and the method is no coroutine."""
        place = context.place()
        if not (isinstance(place, OnStage) and place.in_thread and place.worker is self._worker):
            return False
        hosted = self._worker.core.actors.get(id)
        return hosted is not None and not self._is_coroutine_function(hosted, name)

    def call_at_once(
        self, id: TaskId, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, BaseException | None]:
        """Call a method in this thread; return its result, or what it raised."""
        hosted = self._worker.core.actors[id]
        caller = context.place()
        context.enter(OnStage(self._worker, hosted, in_thread=True))
        try:
            return getattr(hosted.instance, name)(*args, **kwargs), None
        except BaseException as error:  # it is raised where the result is asked for
            return None, error
        finally:
            context.enter(caller)

    def read_at_once(self, id: TaskId, name: str) -> Any:
        """Return an attribute as it is."""
        return getattr(self._worker.core.actors[id].instance, name)


def _arguments(request: ActorCall) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return payload.loads(request.call)  # type: ignore[return-value]


def _packed(value: object, request: ActorCall) -> Answer:
    return [payload.dumps(value, f"the result of {request.name!r} of actor {request.key!r}"), None]


def _failed(error: BaseException, request: ActorCall) -> Answer:
    return [None, failure.dump(error, f"{request.name!r} of actor {request.key!r}", skip_frames=1)[0]]


def _surely(pack: partial[Answer], request: ActorCall) -> Answer:
    try:
        return pack(request)
    except BaseException as error:  # a result's own __reduce__ may raise anything
        return _failed(error, request)
