"""What a worker answers: other workers that ask for values, and the scheduler on whose behalf functions run here.

What lives here: `Answers`. What this file must never know: how values are kept and packed, how tasks run.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from windrow.errors import NotAllowed, WindrowError
from windrow.plugins.calling import takes
from windrow.transport import Link
from windrow.transport.gate import Gate
from windrow.wire import failure, payload, sharing
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import Call, Message, Reply
from windrow.wire.requests import (
    ActorCall,
    GetData,
    Profile,
    Reach,
    RegisterPlugin,
    Report,
    RunFunction,
    UnregisterPlugin,
)
from windrow.worker import compression
from windrow.worker.actors import Stage
from windrow.worker.facts import report
from windrow.worker.outgoing import Outgoing, Then
from windrow.worker.packing import Packing
from windrow.worker.squeezing import Facts, squeeze

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["Answers"]

logger = logging.getLogger("windrow.worker")

RUN_THREADS = 32
"""So many functions of `RunFunction` run at a time; the next ones wait. They may take as long as they like."""

REACHED_S = 30.0
"""How long data that was to be put here is held until it is."""


class Answers:
    """The questions that are open at a worker, and those who ask; on its loop only.

    Parameters
    ----------
    worker
        Who answers.
    outgoing_limit
        How many answers to peers may be under way at a time.
    """

    def __init__(self, worker: WorkerServer, outgoing_limit: int) -> None:
        self.worker = worker
        self.run_pool = ThreadPoolExecutor(RUN_THREADS, "windrow-run")
        self.actors = Stage(worker, self.run_pool)
        self.outgoing = Outgoing(self._serve_values, worker.core, outgoing_limit)
        self._packing = Packing(worker)
        self._callers: list[Link] = []
        self._gate = Gate(logger)
        self._reached: dict[tuple[int, int, int], Shared] = {}
        """Data that is about to be put here, by where it is."""

    def close(self) -> None:
        """Close the connections of those who ask; what runs ends by itself."""
        self.actors.stop()
        self.run_pool.shutdown(wait=False, cancel_futures=True)
        for link in list(self._callers):
            link.close()

    def accept(self, link: Link) -> None:
        """Answer another worker, or an observer."""

        def on_batch(messages: list[Message]) -> None:
            try:
                allowed = self._gate.let_through(link, messages)
            except NotAllowed as refusal:
                link.abort(str(refusal))
                return
            for message in allowed:
                if type(message) is Call and type(message.request) is GetData:
                    self.answer(link, message)
                elif not self.worker.observed.takes(link, message):
                    said = type(message).__name__
                    logger.warning("closing the connection of %s: a peer may not say %s", link.remote, said)
                    link.abort(f"a peer may not say {said}")
                    return

        def on_lost(reason: str) -> None:
            self._callers.remove(link)
            self.outgoing.lost(link)
            self._gate.forget(link)

        self._callers.append(link)
        link.on_lost = on_lost
        link.on_batch = on_batch

    def answer(self, link: Link, call: Call) -> None:
        """Answer what only a worker's shell can, in the end."""
        worker = self.worker
        request = call.request
        future: asyncio.Future[list[Blob | None]]
        if worker.ended.done():  # the connection is about to close, which answers it
            return
        if type(request) is GetData:
            self.outgoing.ask(link, call.id, request)
            return
        if type(request) is Reach:
            link.send([Reply(call.id, blobs=[self._reach(request)])])
            return
        if type(request) is RunFunction:
            count = 1
            future = worker.loop.run_in_executor(self.run_pool, self._run_function, request.call)
        elif type(request) is ActorCall:
            count = 2
            future = asyncio.wrap_future(self.actors.answer(request), loop=worker.loop)
        elif type(request) is Profile:
            count = 1
            future = worker.loop.run_in_executor(worker.data_pool, self._profile, request)
        elif type(request) is Report:
            count = 1
            future = worker.loop.create_task(self._report(request))
        elif isinstance(request, RegisterPlugin | UnregisterPlugin):
            worker.background(self._change_plugins(link, call.id, request))
            return
        elif worker.observed.takes(link, call):
            return
        else:
            link.send([Reply(call.id, error=failure.dump(WindrowError(f"a worker cannot answer {request!r}"))[0])])
            return
        worker.when_done(future, count, lambda blobs: link.send([Reply(call.id, blobs=blobs)]))

    def _reach(self, request: Reach) -> Blob | None:
        """Hold data that is about to be put here."""
        if not all(sharing.attached(value) for value in request.values):
            return None
        places = [(value.pid, value.inode, value.generation) for value in request.values]
        self._reached.update(zip(places, request.values, strict=True))
        self.worker.loop.call_later(REACHED_S, lambda: [self._reached.pop(place, None) for place in places])
        return b"1"

    def is_here(self, blob: Blob) -> bool:
        """Whether what is put here can be used."""
        if type(blob) is not Shared:
            return True
        reached = self._reached.pop((blob.pid, blob.inode, blob.generation), None)
        if reached is not None:
            sharing.hand_over(reached, blob)
        return sharing.attached(blob)

    def _serve_values(self, question: GetData, then: Then) -> None:
        """Collect values in a thread, and give them to ``then``."""
        ids = question.tasks
        near = bool(question.host) and question.host == self.worker.peers.host
        codec = compression.known(question.codec)
        facts: Facts = []

        def collect() -> list[Blob | None]:
            blobs = self._packing.values(ids, near)
            if codec is not None:
                said, blobs = squeeze(blobs, codec)
                facts.extend(said)
            return blobs

        future = self.worker.loop.run_in_executor(self.worker.data_pool, collect)
        self.worker.when_done(future, len(ids), lambda blobs: then(blobs, facts))

    async def _change_plugins(self, link: Link, call: int, request: RegisterPlugin | UnregisterPlugin) -> None:
        blob = await self.worker.held.answer(request)
        self.worker.watch()
        link.send([Reply(call, blobs=[blob])])

    def _profile(self, request: Profile) -> list[Blob | None]:
        return [self.worker.profiler.answer(request)]

    async def _report(self, request: Report) -> list[Blob | None]:
        return [await report(request, self.worker)]

    def _run_function(self, blob: Blob) -> list[Blob | None]:
        try:
            call: Any = payload.loads(blob)
            function, args, kwargs = call
            if takes(function, "dask_worker"):
                kwargs = {**kwargs, "dask_worker": self.worker}
            result = function(*args, **kwargs)
            if inspect.iscoroutine(result):
                result, raised = asyncio.run_coroutine_threadsafe(failure.caught(result), self.worker.loop).result()
                if raised is not None:
                    return [self._failed(raised)]
            return [payload.dumps((True, result), "the result of a function run on a worker")]
        except BaseException as error:  # whatever it raises is the answer
            return [self._failed(error)]

    def _failed(self, error: BaseException) -> Blob:
        blob, _ = failure.dump(error, f"a function run on worker {self.worker.name!r}", skip_frames=1)
        return payload.dumps((False, blob))
