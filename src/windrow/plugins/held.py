"""The plugins that a worker or nanny holds: set up one after the other, torn down again.

What lives here: `Held`, and `arrive`, which brings a party its plugins before it says hello. What this file must never
know: whether its party is a worker or a nanny.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from windrow.plugins.base import overrides
from windrow.transport import Link
from windrow.wire import failure, payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import Call, Close, Message, Reply
from windrow.wire.requests import Arrive, RegisterPlugin, UnregisterPlugin

__all__ = ["Held", "arrive", "outcomes"]

logger = logging.getLogger("windrow.plugins")

TEARDOWN_S = 5.0
"""How long each plugin of a party that closes has for its end."""


class Held:
    """The plugins of one party.

    Parameters
    ----------
    party
        The worker or nanny, which hooks are called with.
    kind
        What it is.
    in_thread
        Call plain hooks in a thread, where the event loop is not this party's alone.

    Attributes
    ----------
    plugins : dict
        What is set up, by name.
    watchers : list
        Those that want to know of tasks' moves.
    """

    def __init__(self, party: Any, kind: Literal["worker", "nanny"], in_thread: bool) -> None:
        self.party = party
        self.kind = kind
        self.plugins: dict[str, Any] = {}
        self.watchers: list[Any] = []
        self._in_thread = in_thread
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Held {self.kind} plugins: {', '.join(self.plugins) or 'none'}>"

    async def add(self, name: str, plugin: Any) -> None:
        """Set a plugin up; one of the same name is torn down before."""
        async with self._lock:
            await self._remove(name)
            await self._call(plugin, "setup")
            self._hold(name, plugin)

    async def remove(self, name: str) -> None:
        """Tear a plugin down; again is harmless."""
        async with self._lock:
            await self._remove(name)

    async def close(self) -> None:
        """Tear all down, the latest first; what goes wrong is logged."""
        for name in list(reversed(self.plugins)):
            try:
                async with asyncio.timeout(TEARDOWN_S):
                    _, error = await failure.caught(self.remove(name))
            except TimeoutError as late:
                error = late
            if error is not None:
                logger.error("the %s plugin %r could not be torn down", self.kind, name, exc_info=error)

    async def _remove(self, name: str) -> None:
        plugin = self.plugins.pop(name, None)
        if plugin is not None:
            if plugin in self.watchers:
                self.watchers.remove(plugin)
            await self._call(plugin, "teardown")

    def _hold(self, name: str, plugin: Any) -> None:
        self.plugins[name] = plugin
        if self.kind == "worker" and overrides(plugin, "transition"):
            self.watchers.append(plugin)

    async def _call(self, plugin: Any, hook_name: str) -> None:
        hook = getattr(plugin, hook_name, None)
        if hook is None:
            return
        if self._in_thread and not inspect.iscoroutinefunction(hook):
            result = await asyncio.to_thread(hook, self.party)
        else:
            result = hook(self.party)
        if inspect.isawaitable(result):
            await result

    # ------------------------------------------------------------ on request

    async def answer(
        self,
        request: RegisterPlugin | UnregisterPlugin,
        then: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    ) -> Blob:
        """Do what the scheduler asks for, and ``then`` what a new plugin asks for; a pickled (ok, None or failure)."""
        _, error = await failure.caught(self.obey(request, then))
        if error is None:
            return payload.dumps((True, None))
        who = f"the {self.kind} plugin {request.name!r}"
        return payload.dumps((False, failure.dump(error, who, skip_frames=1)[0]))

    async def obey(
        self,
        request: RegisterPlugin | UnregisterPlugin,
        then: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Add or remove a plugin; what goes wrong is raised."""
        if type(request) is UnregisterPlugin:
            await self.remove(request.name)
            return
        assert type(request) is RegisterPlugin
        plugin = payload.loads(request.plugin, copy=True)
        await self.add(request.name, plugin)
        if then is not None:
            await then(plugin)

    def tell(self, moves: list[tuple[Any, str, str]]) -> None:
        """Tell watchers of tasks' moves: (key, start, finish)."""
        for plugin in list(self.watchers):
            for key, start, finish in moves:
                try:
                    plugin.transition(key, start, finish)
                except Exception:
                    logger.exception("the transition hook of worker plugin %r failed for %r", plugin, key)


def outcomes(reply: Reply) -> tuple[dict[str, dict[str, str]], BaseException | None]:
    """Return what became of a request to many parties: ``{"status": "OK"}`` by address, and the first failure.

    A party that has left meanwhile is left out: what takes its place sets its plugins up at its start.
    """
    done: dict[str, dict[str, str]] = {}
    first: BaseException | None = None
    for address, blob in zip(reply.value, reply.blobs, strict=True):
        if blob is None:
            continue
        outcome: Any = payload.loads(blob)
        ok, said = outcome
        if ok:
            done[address] = {"status": "OK"}
        elif first is None:
            first = failure.load(said)
    return done, first


async def arrive(link: Link, held: Held) -> None:
    """Set up what is registered, before the hello; the link's handlers are the caller's to set anew after this.

    A plugin that is registered meanwhile is set up too: what the scheduler sends until it has the hello is taken here,
    or by the handler that follows.

    Raises
    ------
    RuntimeError
        A plugin could not be set up, or the scheduler is gone.
    """
    inbox: asyncio.Queue[Message] = asyncio.Queue()

    def take(messages: list[Message]) -> None:
        for message in messages:
            inbox.put_nowait(message)

    link.on_lost = lambda reason: inbox.put_nowait(Close(reason))
    link.on_batch = take
    link.send([Call(0, Arrive(held.kind))])
    known = False
    while not known or not inbox.empty():
        message = await inbox.get()
        if type(message) is Reply and message.id == 0:
            known = True
            for name, blob in zip(message.value, message.blobs, strict=True):
                assert blob is not None
                await _set_up(held, name, RegisterPlugin(held.kind, name, blob))
        elif type(message) is Call and isinstance(message.request, RegisterPlugin | UnregisterPlugin):
            await _set_up(held, message.request.name, message.request)
        elif type(message) is Close:
            raise RuntimeError(f"the scheduler has closed the connection: {message.reason or 'no reason is known'}")


async def _set_up(held: Held, name: str, request: RegisterPlugin | UnregisterPlugin) -> None:
    _, error = await failure.caught(held.obey(request))
    if error is not None:
        raise RuntimeError(
            f"the {held.kind} plugin {name!r} could not be set up: {failure.words(error)}. It is registered with the "
            f"scheduler for every {held.kind}: mend it and register it again, or unregister it"
        ) from error
