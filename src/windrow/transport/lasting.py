"""Links that outlive their connections: a session that is cut goes on over the next connection.

What lives here: `LastingLink`, the side that connects again (`Dialler`), and the side that waits for it (`Reception`).
What this file must never know: what a message means; what becomes of a peer that is away (its owner decides, and closes
the link). The books are in `transport.replay`.

The maker of a session names it (`Begin`), and says how long it will try to come back. When its connection ends without
a goodbye, it makes another and says `Resume`; the listener answers `Resumed`, or, if it does not know the session (it
is another process, or has given that peer up), closes. Neither side sends anything of the session before that.

A connection can also be dead and look alive, where something in between swallows what is sent. So each side gives a
sign of life where it is silent otherwise, and a dialler that hears none tries another connection, while the old one
stays: a listener whose process is busy for minutes takes connections, and does not answer on them; such a one is waited
for without a limit. The limit is on how long nobody takes them.

Where both sides are on one machine, the system knows whether the other's process has ended: nobody waits for it then.

What the network does not take waits unencoded (`transport.backlog`), so that a reader that is slow costs no more than
what it will have, and no more than a bound. One that takes nothing while more and more is to be told to it is given up
by the side that it came to; the side that has made the session waits as long as it likes, but not with more than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from windrow import config, system
from windrow.errors import ConnectionRefused
from windrow.transport.backlog import Backlog
from windrow.transport.base import Link, OnLink, Unanswered
from windrow.transport.replay import Replay
from windrow.wire.messages import Ack, Begin, Close, Message, Resume, Resumed

__all__ = ["Dialler", "LastingLink", "Reception"]

logger = logging.getLogger(__name__)

ACK_BYTES = 1024 * 1024
"""So much may arrive before it is acknowledged at once, so that the other side need not keep it."""

WARN_S = 1.0
"""A session that is back before this is nobody's concern."""

TRY_S = 10.0
"""How long one attempt to connect may take."""

SILENT_BEATS = 4
"""So many signs of life in a row must be missing before another connection is tried."""

PARTING_S = 10.0
"""How long who has left tries to say so, where the connection was gone at that moment."""

PAUSE_S = 0.2

LOOK_S = (0.005, 1.0)
"""How often it is looked whether the other side's process has ended: soon after a cut, then more and more rarely."""

AT_ONCE_BYTES = 1024 * 1024
"""Of what waits, so much is handed to the network before it is looked whether that takes it."""

OVER = Ack(-1)

Dial: TypeAlias = Callable[[float], Awaitable[Link]]
"""Connects, within so many seconds."""


class LastingLink(Link):
    """One end of a session; see `Link`.

    Parameters
    ----------
    connection
        What it begins on.
    id
        The session's name, of which there is no other.
    patience_s
        How long its maker tries to come back.
    """

    def __init__(self, connection: Link, id: str, patience_s: float) -> None:
        super().__init__(connection.remote)
        self.is_local = connection.is_local
        self.id = id
        self.role = connection.role
        self.patience_s = patience_s
        self.on_end: Callable[[], None] | None = None
        """Called before `on_lost`, for whoever keeps books of sessions."""
        self._loop = asyncio.get_running_loop()
        self._replay = Replay()
        self._backlog = Backlog(config.size_bytes("windrow.backlog-limit"), math.inf)
        self._sending_on = False
        self._connection: Link | None = None
        self._early: list[list[Message]] = []
        self._closed = False
        self._ended = False
        self._silent = True
        self._heard = False
        self._told_bytes = 0
        self._process = ""
        """The other side's, by which the system knows it if it is on this machine."""

    # -- the owner's side

    @property
    def waiting_bytes(self) -> int:
        return self._backlog.whole_bytes + (0 if self._connection is None else self._connection.waiting_bytes)

    def send(self, messages: list[Message]) -> None:
        if self._closed or not messages:
            return
        connection, replay = self._connection, self._replay
        if connection is None or self.is_congested:
            self._have_wait(messages)
            return
        self._silent = False
        connection.send([*messages, replay.ack()] if replay.is_due() else messages)
        replay.keep(messages)  # after that: what cannot be encoded has not been sent, and never will be
        if connection.is_congested:
            self.is_congested = True
            connection.on_drained = self._send_on

    def _have_wait(self, messages: list[Message]) -> None:
        """Keep messages until the network takes them, or there is a connection again."""
        backlog, now_s = self._backlog, self._loop.time()
        backlog.put(messages.copy(), now_s)
        self._replay.keep(messages)
        backlog.look(0 if self._connection is None else self._connection.waiting_bytes, now_s)
        if backlog.is_too_much(now_s):
            reason = backlog.why(now_s)
            logger.warning("%s is given up: %s", self.remote, reason)
            backlog.clear()
            self.abort(reason)

    def _send_on(self) -> None:
        """Send what waits, for as long as the network takes it."""
        connection, backlog, replay = self._connection, self._backlog, self._replay
        self._sending_on = False
        if connection is None or self._closed:
            return
        while backlog and not connection.is_congested and connection.waiting_bytes < AT_ONCE_BYTES:
            self._silent = False
            batch = backlog.next()
            connection.send([*batch, replay.ack()] if replay.is_due() else batch)
        backlog.look(connection.waiting_bytes, self._loop.time())
        if connection.is_congested:
            connection.on_drained = self._send_on
        elif backlog:  # a loop may look at its end only whether the network takes it
            if not self._sending_on:
                self._sending_on = True
                self._loop.call_soon(self._send_on)
        else:
            self.is_congested = False
            self.on_drained()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            connection, backlog = self._connection, self._backlog
            if connection is not None:
                while backlog:
                    connection.send(backlog.next())
                connection.close()
            else:
                self._loop.call_soon(self._end, "")

    def abort(self, reason: str) -> None:
        if self._ended:
            return
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:  # to break it would mean that it is to be made again
            connection.on_lost = self._end_with(reason)
            connection.send([OVER])
            connection.close()
        else:
            self._loop.call_soon(self._end, reason)

    def _end_with(self, reason: str) -> Callable[[str], None]:
        return lambda _: self._end(reason)

    def _start(self) -> None:
        self._loop.call_soon(self._deliver_early)

    def _deliver_early(self) -> None:
        early, self._early = self._early, []
        for batch in early:
            self._deliver(batch)

    # -- the connection's side

    def beat(self) -> None:
        """Give a sign of life, if nothing was sent since the last beat; acknowledge what has arrived."""
        if self._silent and self._connection is not None and not self._closed and not self.is_congested:
            self._connection.send([self._replay.ack()])
        self._silent = True

    def _adopt(self, connection: Link) -> None:
        """Use a connection from here on."""
        self._connection = connection
        self.is_cut = False
        self.remote = connection.remote
        self.is_local = connection.is_local
        self._told_bytes = 0
        self._heard = True
        connection.on_lost = lambda reason: self._lost(connection, reason)

    def _detach(self, reason: str) -> None:
        """Have nothing to do with the present connection any more; what it may still bring is not counted."""
        connection, self._connection = self._connection, None
        self.is_cut = self.is_congested = True
        if connection is not None:
            connection.on_lost = lambda reason: None
            connection.on_batch = lambda batch: None
            connection.on_drained = lambda: None
            connection.abort(reason)

    def take(self, connection: Link, batch: list[Message]) -> None:
        """Take what a connection brings."""
        if connection is not self._connection:
            return
        self._heard = True
        batch = self._replay.take(batch)
        if batch:
            if self._on_batch is None:
                self._early.append(batch)
            else:
                self._deliver(batch)
        if self._replay.is_over:
            self._detach("the other side broke off")
            self._end("the other side broke off")
        elif connection.received_bytes - self._told_bytes > ACK_BYTES and not self._closed:
            self._told_bytes = connection.received_bytes
            connection.send([self._replay.ack()])

    def _deliver(self, batch: list[Message]) -> None:
        if not self._closed:
            super()._deliver(batch)

    def _lost(self, connection: Link, reason: str) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self.is_cut = self.is_congested = True
        if self._closed or not reason or connection.broke_off or self.patience_s <= 0:
            self._end(reason)
        else:
            self._cut(reason)

    def _cut(self, reason: str) -> None:
        self._tell(lambda: self.on_cut(reason))
        if self._process:
            self._look(reason, LOOK_S[0])

    def _look(self, reason: str, next_s: float) -> None:
        """Look from time to time whether the other side's process has ended; a socket closes a moment before."""
        if self._ended or not self.is_cut:
            return
        if system.has_ended(self._process):
            self._end(reason)
        else:
            self._loop.call_later(next_s, self._look, reason, min(2 * next_s, LOOK_S[1]))

    def _go_on(self, connection: Link, count: int) -> None:
        """Go on over a new connection, whose other side has so many messages."""
        self._adopt(connection)
        self._tell(self.on_resumed)
        self._backlog.again(self._replay.again(count))
        self._send_on()

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = self._closed = True
        self._backlog.clear()
        if self.on_end is not None:
            self.on_end()
        self._tell(lambda: self.on_lost(reason))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            logger.exception("the handler of the end, or return, of the connection to %s failed", self.remote)


_partings: set[asyncio.Task[None]] = set()
"""Last words under way, which nothing else refers to."""


class Dialler(LastingLink):
    """The end that has made the session, and connects again.

    Parameters
    ----------
    connection
        The first connection.
    dial
        Makes others.
    patience_s
        How long it tries, while nobody takes the connection.
    """

    def __init__(self, connection: Link, dial: Dial, patience_s: float) -> None:
        super().__init__(connection, str(uuid.uuid4()), patience_s)
        self._dial = dial
        self._dialling: asyncio.Task[None] | None = None
        self._begun = False
        """Whether the other side has said that it knows the session."""
        self._cut_by = ""
        self._beat_s = config.seconds("windrow.sign-of-life")
        self._missing = 0
        self._arrived_bytes = 0
        self._adopt(connection)
        self._process = connection.process
        self._first_word = Begin(self.id, patience_s, system.process_mark(os.getpid()))
        connection.send([self._first_word])
        self._timer = self._loop.call_later(self._beat_s, self._on_beat)

    def _start(self) -> None:
        super()._start()
        connection = self._connection
        if connection is None:
            return

        def on_batch(batch: list[Message]) -> None:
            first = batch[0]
            if type(first) is Resumed:
                self._begin(first)
                del batch[0]
            if batch:
                self.take(connection, batch)

        connection.on_batch = on_batch

    def _begin(self, answer: Resumed) -> None:
        if not self._begun:
            self._begun = True
            self._process = answer.process

    def _on_beat(self) -> None:
        # Beats are counted, not seconds: this process may have been busy itself, and what was said to it unread.
        self._timer = self._loop.call_later(self._beat_s, self._on_beat)
        self.beat()
        arrived_bytes = 0 if self._connection is None else self._connection.received_bytes
        self._heard = self._heard or arrived_bytes != self._arrived_bytes  # a large frame is on its way
        self._arrived_bytes = arrived_bytes
        self._missing = 0 if self._heard else self._missing + 1
        self._heard = False
        if self._missing >= SILENT_BEATS and self._dialling is None and not self._closed:
            self._cut_by = f"nothing was heard for {self._missing * self._beat_s:g} s"
            self._dialling = self._loop.create_task(self._redial())

    def _cut(self, reason: str) -> None:
        self._cut_by = reason
        super()._cut(reason)
        if self._dialling is None and not self._closed:
            self._dialling = self._loop.create_task(self._redial())

    def _end(self, reason: str) -> None:
        self._timer.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        super()._end(reason)

    def close(self) -> None:
        if not self._closed and self._connection is None and self._dialling is not None:
            parting = self._loop.create_task(self._part())
            _partings.add(parting)
            parting.add_done_callback(_partings.discard)
        super().close()

    async def _part(self) -> None:
        """Bring the other side the last words, as the connection was gone when they were said; nobody waits for it."""
        end_s = self._loop.time() + min(self.patience_s, PARTING_S)
        while (left_s := end_s - self._loop.time()) > 0:
            try:
                connection = await self._dial(min(TRY_S, left_s))
                async with asyncio.timeout(TRY_S):
                    return await self._say_last_words(connection)
            except ConnectionRefused:  # another cluster, or another version: nobody there knows us
                return
            except OSError:  # TimeoutError among them
                await asyncio.sleep(PAUSE_S)

    async def _say_last_words(self, connection: Link) -> None:
        answered: asyncio.Future[Message] = self._loop.create_future()

        def on_batch(batch: list[Message]) -> None:
            if not answered.done():
                answered.set_result(batch[0])

        def on_lost(reason: str) -> None:
            if not answered.done():
                answered.set_exception(ConnectionResetError(reason or "it was closed again"))

        connection.on_lost = on_lost
        connection.on_batch = on_batch
        connection.send([Resume(self.id, self._replay.received) if self._begun else self._first_word])
        try:
            answer = await answered
        except BaseException:
            connection.abort("nobody waits for it")
            raise
        if type(answer) is Resumed:
            for batch in self._replay.again(answer.count):
                connection.send(batch)
        connection.close()

    async def _redial(self) -> None:
        """Connect until there is a connection on which the session goes on, or there is none to be had."""
        begun_s = reached_s = self._loop.time()
        warning = self._loop.call_later(WARN_S, self._warn)
        try:
            while not self._ended:
                if self._heard and self._connection is not None:
                    return  # the old one is not dead after all
                try:
                    connection = await self._dial(max(min(TRY_S, self.patience_s), PAUSE_S))
                    if await self._resume(connection):
                        break
                except ConnectionRefused as error:  # it is another cluster, or another version
                    self._give_up(f"{self._cut_by}; {error}")
                except OSError as error:
                    if isinstance(error, Unanswered):
                        reached_s = self._loop.time()
                    elif self._loop.time() - reached_s >= self.patience_s:
                        self._give_up(f"{self._cut_by}; tried again for {self.patience_s:g} s in vain ({error})")
                    else:
                        await asyncio.sleep(PAUSE_S)
                except Exception as error:
                    logger.exception("the connection to %s cannot be made again", self.remote)
                    self._give_up(f"{self._cut_by}; {error!r}")
            if not self._ended and self._loop.time() - begun_s > WARN_S:
                words = "the connection to %s is there again, after %.1f s; nothing was lost"
                logger.warning(words, self.remote, self._loop.time() - begun_s)
        finally:
            warning.cancel()
            self._dialling = None

    def _warn(self) -> None:
        words = "the connection to %s was cut (%s); it is tried again, for %g s if nobody answers, and nothing is lost"
        logger.warning(words, self.remote, self._cut_by, self.patience_s)

    async def _resume(self, connection: Link) -> bool:
        """Ask to go on over a connection; True when there is no more to be done. OSError if it broke too."""
        if self._closed or (self._heard and self._connection is not None):
            connection.close()
            return True
        was_cut = self.is_cut
        self._detach("it is silent, and another connection takes its place")
        if not was_cut:
            self._tell(lambda: self.on_cut(self._cut_by))
        answered: asyncio.Future[str | None] = self._loop.create_future()

        def on_batch(batch: list[Message]) -> None:
            first = batch[0]
            if answered.done():
                self.take(connection, batch)
            elif type(first) is Resumed:
                answered.set_result(None)
                self._begin(first)
                self._go_on(connection, first.count)
            else:
                answered.set_result(first.reason if type(first) is Close else repr(first))

        def on_lost(reason: str) -> None:
            if not answered.done():
                answered.set_exception(ConnectionResetError(reason or "it was closed again"))

        connection.on_lost = on_lost
        connection.on_batch = on_batch
        connection.send([Resume(self.id, self._replay.received) if self._begun else self._first_word])
        try:
            async with asyncio.timeout(TRY_S):
                refusal = await answered
        except TimeoutError as error:
            raise Unanswered("it does not answer") from error
        finally:
            if connection is not self._connection:
                connection.abort("the session does not go on over it")  # a goodbye would be the session's
        if refusal is not None:
            self.refused = True
            self._give_up(f"{self._cut_by}; and {refusal}")
        return True

    def _give_up(self, reason: str) -> None:
        self._detach(reason)
        self._dialling = None  # this very task, which is about to end
        self._end(reason)


class Reception:
    """Where connections arrive, new ones and those that go on with a session.

    Parameters
    ----------
    on_link
        Called with each new link.
    """

    def __init__(self, on_link: OnLink) -> None:
        self._on_link = on_link
        self._sessions: dict[str, LastingLink] = {}
        self._wordless: set[Link] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._beat_s = config.seconds("windrow.sign-of-life")

    def __repr__(self) -> str:
        return f"<Reception of {len(self._sessions)} sessions>"

    def accept(self, link: Link) -> None:
        """Take a connection, and find out with its first word what it is."""
        session: LastingLink | None = None
        plain = False

        def on_batch(batch: list[Message]) -> None:
            nonlocal session, plain
            if session is not None:
                session.take(link, batch)
                return
            self._wordless.discard(link)
            first = batch[0]
            if type(first) is Begin:
                session = self._begin(link, first)
            elif type(first) is Resume:
                session = self._resume(link, first)
            elif not plain:
                plain = True
                self._on_link(link)
                assert link.on_batch is not None
                link.on_batch(batch)
                return
            else:  # the rest of what was read with the first word
                assert link.on_batch is not None
                link.on_batch(batch)
                return
            if session is None:
                link.on_batch = lambda batch: None
            elif batch[1:]:
                session.take(link, batch[1:])

        self._wordless.add(link)
        link.on_lost = lambda reason: self._wordless.discard(link)
        link.on_batch = on_batch

    def _begin(self, link: Link, begin: Begin) -> LastingLink | None:
        if begin.id in self._sessions:  # it was cut before its maker heard of that
            return self._resume(link, Resume(begin.id, 0))
        # The other side may notice a cut so much later, and then begin to count.
        patience_s = begin.patience_s + SILENT_BEATS * self._beat_s
        session = self._sessions[begin.id] = LastingLink(link, begin.id, patience_s)
        session.on_end = lambda: self._forget(begin.id)
        session._backlog.stall_s = config.seconds("windrow.stall-timeout")
        session._process = begin.process
        link.send([Resumed(0, system.process_mark(os.getpid()))])
        session._adopt(link)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._beat_s, self._beat)
        try:
            self._on_link(session)
        except Exception as error:  # said in good order, so that its maker does not try again
            logger.exception("the session of %s could not be taken; closing it", link.remote)
            session.abort(f"its listener failed: {error!r}")
        return session

    def _resume(self, link: Link, resume: Resume) -> LastingLink | None:
        session = self._sessions.get(resume.id)
        if session is not None and session.role is not link.role:
            words = "%s wants to go on with a session of the role %s, and has %s"
            logger.warning(words, link.remote, session.role, link.role)
            session = None  # who made it has not lost its token
        if session is None or session._closed or not session._replay.can_go_on(resume.count):
            self._refuse(
                link, "what answers there does not know the session any more: it was started anew, or has given it up"
            )
            return None
        session._detach("its other side has come back on another connection")
        link.send([Resumed(session._replay.received, system.process_mark(os.getpid()))])
        session._go_on(link, resume.count)
        return session

    def _refuse(self, link: Link, reason: str) -> None:
        link.send([Close(reason)])
        link.close()

    def _forget(self, id: str) -> None:
        del self._sessions[id]
        if not self._sessions:
            self._stop()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._beat_s, self._beat)
        for session in list(self._sessions.values()):
            session.beat()

    def close(self) -> None:
        """Close the connections that have not said what they are; links are their owners' to close."""
        for link in list(self._wordless):
            link.close()
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
