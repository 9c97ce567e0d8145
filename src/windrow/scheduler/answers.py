"""What a scheduler's process answers itself: what it knows of its own, and what must run code in it.

What lives here: `Answers`. What this file must never know: how anything is decided.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from windrow import config, logs, sampling, versions
from windrow.plugins.calling import takes
from windrow.pulse import Pulse
from windrow.sampler import LoopProfile
from windrow.scheduler import blocking, tally
from windrow.scheduler.blocking import Blocked
from windrow.scheduler.eventstream import EventStream
from windrow.scheduler.plugins import SchedulerPlugins
from windrow.transport import Link
from windrow.wire import failure, payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import Call, Listen, Message, Reply
from windrow.wire.requests import (
    Arrive,
    Identity,
    Profile,
    RecentLogs,
    RegisterPlugin,
    RunOnScheduler,
    ScaleCluster,
    Shutdown,
    Tallies,
    UnregisterPlugin,
    Versions,
)

if TYPE_CHECKING:
    from windrow.scheduler.server import SchedulerServer

__all__ = ["Answers"]


class Answers:
    """The questions that a scheduler's core does not hear of; on its loop only.

    Parameters
    ----------
    server
        Who answers.
    plugins
        Its plugins.
    """

    def __init__(self, server: SchedulerServer, plugins: SchedulerPlugins) -> None:
        self.server = server
        self.plugins = plugins
        self.blocked: dict[type, Blocked] = {}
        """Requests that are refused, and which of them."""
        self._events = EventStream(plugins)
        self._pulse = Pulse()
        self._loop_profile = LoopProfile(server.loop, config.seconds("distributed.worker.profile.interval"))
        self._background: set[asyncio.Task[None]] = set()
        self._arriving: dict[Link, str] = {}
        """Workers and nannies that set their plugins up before they say hello."""

    def close(self) -> None:
        """Measure nothing more."""
        self._pulse.stop()
        self._loop_profile.stop()

    def forget(self, link: Link) -> None:
        """Note that a connection is gone."""
        self._arriving.pop(link, None)
        self._events.forget(link)

    def arrived(self, link: Link) -> None:
        """Note that who set plugins up has said hello: from here on the core tells it of others."""
        self._arriving.pop(link, None)

    def heed_observer(self, link: Link, message: Message) -> bool:
        """Do what this process does for observers; False for any other message."""
        if type(message) is Listen:
            self._events.listen(link, message.on)
            return True
        return self._answer_fact(link, message)

    def _answer_fact(self, link: Link, message: Message) -> bool:
        """Answer what this process knows of itself, whoever asks; False for any other message."""
        request = message.request if type(message) is Call else None
        value: object
        if type(message) is not Call:
            return False
        if type(request) is Identity:
            value = self.server.identity()
        elif type(request) is RecentLogs:
            value = logs.recent("scheduler", request.n)
        elif type(request) is Versions:
            value = versions.versions(request.packages)
        elif type(request) is Tallies:
            value = {**tally.report(self.server.core.state), "pulse": self._pulse.facts()}
        elif type(request) is Profile and request.scheduler:
            link.send([Reply(message.id, [self.server.address], [self._profile(request)])])
            return True
        else:
            return False
        link.send([Reply(message.id, value)])
        return True

    def _profile(self, request: Profile) -> bytes:
        tree, counts = self._loop_profile.between(request.start, request.stop)
        return msgspec.msgpack.encode([sampling.to_plain(tree), counts, self._loop_profile.sampler.interval_s])

    def unblocked(self, link: Link, messages: list[Message]) -> list[Message]:
        """Answer the requests that nobody may make, whatever the role; return the other messages."""
        if not self.blocked or self.server.is_own(link):
            return messages
        others: list[Message] = []
        for message in messages:
            refusal = blocking.refusal(self.blocked, message.request) if type(message) is Call else None
            if type(message) is Call and refusal is not None:
                link.send([Reply(message.id, error=failure.dump(refusal)[0])])
            else:
                others.append(message)
        return others

    def answer(self, link: Link, messages: list[Message]) -> list[Message]:
        """Answer what clients ask of this process; return the other messages."""
        others: list[Message] = []
        for message in messages:
            if not isinstance(message, Call):
                others.append(message)
                continue
            request = message.request
            if self._answer_fact(link, message):
                continue
            elif type(request) is ScaleCluster:
                self._start(self._scale(link, message.id, request.n))
            elif type(request) is RunOnScheduler:
                self._start(self._run(link, message.id, request))
            elif isinstance(request, RegisterPlugin | UnregisterPlugin) and request.kind == "scheduler":
                self._start(self._change_plugins(link, message.id, request))
            elif type(request) is Shutdown:
                link.send([Reply(message.id)])
                if self.server.on_shutdown is not None:
                    self.server.on_shutdown()
                else:
                    self._start(self.server.close(reason="a client asked for it"))
            else:
                if isinstance(request, RegisterPlugin | UnregisterPlugin):
                    self._pass_on(request)
                others.append(message)
        return others

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.server.loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _scale(self, link: Link, call: int, n: int) -> None:
        error: BaseException | None
        if self.server.on_scale is None:
            error = NotImplementedError(
                "nobody here can start workers: this scheduler was started by hand, or its cluster is managed by "
                f"another process. Scale there, or start a worker: windrow worker {self.server.address}"
            )
        else:
            _, error = await failure.caught(self.server.on_scale(n))
        link.send([Reply(call, n) if error is None else Reply(call, error=failure.dump(error)[0])])

    async def _run(self, link: Link, call: int, request: RunOnScheduler) -> None:
        error: BaseException | None
        try:
            blob, error = await failure.caught(self._call(request))
        except asyncio.CancelledError as cancelled:  # by the function itself, or with the loop: who asked is told
            blob, error = None, cancelled
        if error is not None:
            blob = payload.dumps((False, failure.dump(error, "a function run on the scheduler", skip_frames=2)[0]))
        link.send([Reply(call, blobs=[blob])])

    async def _call(self, request: RunOnScheduler) -> Blob:
        call_of: Any = payload.loads(request.call)
        function, args, kwargs = call_of
        if takes(function, "dask_scheduler"):
            kwargs = {**kwargs, "dask_scheduler": self.server.view}
        result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        return payload.dumps((True, result), "the result of a function run on the scheduler")

    def is_arrival(self, link: Link, messages: list[Message]) -> bool:
        """Take what a worker or nanny says before its hello: it asks for its plugins."""
        first = messages[0]
        if not (type(first) is Call and type(first.request) is Arrive):
            return False
        kind = first.request.kind
        self._arriving[link] = kind
        kept = self.server.core.state.plugins[kind]
        link.send([Reply(first.id, list(kept), [*kept.values()])])
        return True

    def _pass_on(self, request: RegisterPlugin | UnregisterPlugin) -> None:
        """Have those that are about to join hear of what those that have joined hear from the core."""
        known = self.server.core.state.plugins.get(request.kind, {})
        if type(request) is RegisterPlugin and request.idempotent and request.name in known:
            return
        for link, kind in self._arriving.items():
            if kind == request.kind:
                link.send([Call(0, request)])

    async def _change_plugins(self, link: Link, call: int, request: RegisterPlugin | UnregisterPlugin) -> None:
        _, error = await failure.caught(self._change(request))
        said = None if error is None else failure.dump(error, f"the plugin {request.name!r}", skip_frames=2)[0]
        link.send([Reply(call, [self.server.address], [payload.dumps((error is None, said))])])

    async def _change(self, request: RegisterPlugin | UnregisterPlugin) -> None:
        if type(request) is RegisterPlugin:
            await self.plugins.register(request.name, payload.loads(request.plugin, copy=True), request.idempotent)
        else:
            self.plugins.remove(request.name)
