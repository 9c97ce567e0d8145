"""Questions over a link, and their answers by number.

What lives here: `Asker`. What this file must never know: what is asked, and of whom.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from windrow.transport.base import Link
from windrow.wire import failure
from windrow.wire.messages import Call, Message, Reply
from windrow.wire.requests import Request

__all__ = ["Asker"]


class Asker:
    """One that asks over a link which nobody else reads.

    Parameters
    ----------
    link
        Its ``on_batch`` and ``on_lost`` are taken.
    on_other
        Called with each message that is no reply.

    Attributes
    ----------
    ended : asyncio.Future[str]
        Done, with the reason, when the link is lost.
    """

    def __init__(self, link: Link, on_other: Callable[[Message], None] | None = None) -> None:
        self.link = link
        self._on_other = on_other
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Reply]] = {}
        self._lost: str | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        link.on_lost = self._on_lost
        link.on_batch = self._take

    def say(self, message: Message) -> None:
        """Send a message that has no answer."""
        self.link.send([message])

    async def ask(self, request: Request) -> Reply:
        """Send a request, and wait for its reply; what that holds as an error is raised.

        Raises
        ------
        ConnectionError
            The other side is gone.
        """
        if self._lost is not None:
            raise ConnectionError(f"the connection to {self.link.remote} is lost: {self._lost}")
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        self.link.send([Call(number, request)])
        try:
            reply = await future
        finally:
            del self._open[number]
        if reply.error is not None:
            raise failure.load(reply.error)
        return reply

    def _on_lost(self, reason: str) -> None:
        self._lost = reason or "it was closed"
        if not self.ended.done():
            self.ended.set_result(self._lost)
        for future in self._open.values():
            if not future.done():
                future.set_exception(ConnectionError(f"the connection to {self.link.remote} is lost: {self._lost}"))

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            if type(message) is Reply:
                future = self._open.get(message.id)
                if future is not None and not future.done():
                    future.set_result(message)
            elif self._on_other is not None:
                self._on_other(message)
