"""Calls to actors, as a client sends them and waits for them.

What lives here: a call's way out, and its answer's way in. What this file must never know: what a proxy looks like to
its user, and where methods run.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from typing import TYPE_CHECKING, Any

from windrow.client import gather
from windrow.client.base import Base
from windrow.client.entry import ERROR, FINISHED, Entry
from windrow.client.options import Duration, seconds
from windrow.errors import ActorCallError
from windrow.wire import messages as m
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

if TYPE_CHECKING:
    from windrow.client.session import Question, Session
    from windrow.primitives.actor import ActorFuture

    Near = Callable[[r.ActorCall], ThreadFuture[list[Blob | None]]]


class ActorMethods(Base):
    """What proxies of actors ask of their client."""

    def call_actor(self, request: r.ActorCall, held: object, near: Near | None = None) -> Entry:
        """Send a call; return an entry, in no books, that is done when the answer is there.

        Parameters
        ----------
        request
            The call.
        held
            What keeps the actor alive until then.
        near
            Carries the call out on this very worker.
        """
        entry = Entry(request.key, 0)
        session = self.session
        if near is not None:

            def carried_out(answer: ThreadFuture[list[Blob | None]]) -> None:
                with session.lock:
                    _settle(entry, *answer.result())

            near(request).add_done_callback(carried_out)
            return entry
        asked = session.ask(request)
        question: Question | None = asked

        def answered() -> None:  # on the loop, or below: with the session's lock
            nonlocal held, question
            if question is not None:
                _take(entry, session, request, question.reply)
                held = question = None  # which refers to this

        with session.lock:
            asked.attach(answered)
        return entry

    def await_call(self, future: ActorFuture[Any], timeout: Duration, asynchronous: bool | None = None) -> Any:
        """Wait for a call's result; an awaitable of it on an asynchronous client, or as ``asynchronous`` says."""
        steps = gather.result(future)  # type: ignore[arg-type]
        return self.run_steps(steps, seconds(timeout), future.what, asynchronous)


def _take(entry: Entry, session: Session, request: r.ActorCall, reply: m.Reply | None) -> None:
    """Settle an entry by its reply."""
    if reply is None:
        _settle(entry, None, _unknown(request, session.reason))
    elif reply.error is not None:
        _settle(entry, None, reply.error)
    else:
        value, error = reply.blobs
        if value is None and error is None:
            error = _unknown(request, f"its worker at {reply.value[0]} ended before it had answered")
        _settle(entry, value, error)


def _settle(entry: Entry, value: Blob | None, error: Blob | None) -> None:
    if error is not None:
        entry.settle(ERROR, detail=(error, ""))
    else:
        entry.settle(FINISHED, value)


def _unknown(request: r.ActorCall, reason: str) -> bytes:
    from windrow.wire import failure

    words = f"{request.name!r} of actor {request.key!r}: {reason}; whether the call was carried out is not known"
    return failure.dump(ActorCallError(words))[0]
