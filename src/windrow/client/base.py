"""What all methods of `Client` share: its session, and how they wait.

What lives here: `Base`, the class under the classes of methods that make up `Client`. What this file must never know:
any of these methods.

`Client` is one class to its users and several in here, one for each kind of thing that it does: ``tasks``, ``graphs``,
``cluster``, and so on. Each inherits from `Base` and sees of a client only what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from windrow.client.waiting import Steps, What, block, follow

if TYPE_CHECKING:
    from windrow.client.future import Future
    from windrow.client.session import Session
    from windrow.client.submit import Submitter
    from windrow.keys import Key
    from windrow.wire import messages as m
    from windrow.wire.blobs import Blob

T = TypeVar("T")


class Base:
    """A session, and ways to wait."""

    session: Session
    _submitter: Submitter
    _asynchronous: bool
    _timeout_s: float
    _identity: dict[str, Any] | None

    @property
    def asynchronous(self) -> bool:
        """Whether methods return awaitables here."""
        return self._asynchronous or get_ident() == self.session.thread_id

    def run_steps(
        self,
        steps: Steps[T],
        timeout_s: float | None,
        what: What,
        asynchronous: bool | None = None,
        at_once: bool = False,
    ) -> Any:
        """Run what waits: blocking, or as an awaitable on an asynchronous client (or as ``asynchronous`` says)."""
        if self.asynchronous if asynchronous is None else asynchronous:
            return follow(steps, timeout_s, what)
        return block(steps, timeout_s, what, at_once)

    def run_block(self, steps: Steps[T], what: str, is_async: bool) -> Any:
        """Run what a ``with`` or, as an awaitable, an ``async with`` block begins or ends with.

        Raises
        ------
        TypeError
            It is a ``with`` block, and this client is asynchronous.
        """
        if not is_async and self.asynchronous:
            raise TypeError(f"this client is asynchronous, and with would stop its event loop: async with {what}(…)")
        return self.run_steps(steps, None, what, asynchronous=is_async)

    def consult(
        self,
        service: str,
        request: object,
        blobs: Sequence[Blob] = (),
        *,
        timeout_s: float | None = None,
        then: Callable[[m.Reply | None], Any] | None = None,
        undo: object = None,
        asynchronous: bool | None = None,
        at_once: bool = False,
    ) -> Any:
        """Ask one of the scheduler's services, and wait for its answer; an awaitable on an asynchronous client.

        Parameters
        ----------
        service, request, blobs
            See ``wire.requests.Ask``.
        timeout_s
            Withdraw the question after so long.
        then
            Makes the result of the reply, which is None when the time is over; by default its ``value``, and
            TimeoutError.
        undo
            A request to send when the wait is given up otherwise (Ctrl-C, a cancelled coroutine); or a function to
            call on the loop with a reply that was on its way already.
        asynchronous
            Whether to return an awaitable; by default whether this client does here.
        at_once
            In a task: go on with the answer without waiting for a place among the worker's threads.
        """
        from windrow.client import calls

        return self.run_steps(
            calls.consult(self.session, service, request, blobs, timeout_s, then, undo),
            None,
            service,
            asynchronous,
            at_once,
        )

    def bind(self, key: Key) -> Future:
        """Return a future on a task that the scheduler has already, by its key."""
        from windrow.client.future import Future

        return Future.of(self, self.session.want(key))  # type: ignore[arg-type]
