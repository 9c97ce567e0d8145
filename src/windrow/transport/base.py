"""What every transport offers: links that carry batches of messages, and listeners that make them.

What lives here: the contracts. What this file must never know: sockets, event loops, what a message means; which
schemes there are (`windrow.schemes`).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from windrow.roles import Role
from windrow.wire.messages import Message

__all__ = ["Backend", "Link", "Listener", "OnBatch", "OnLink", "OnLost", "Unanswered"]

OnBatch: TypeAlias = Callable[[list[Message]], None]
OnLost: TypeAlias = Callable[[str], None]


class Link(ABC):
    """One end of a connection. Everything happens on the loop of its owner.

    Attributes
    ----------
    remote : str
        The other side's address, for logs and errors.
    role : Role
        What its maker has proved that it may do; whoever is in the same process may do everything.
    on_batch : callable
        Called with each batch that arrives. Nothing is delivered, neither batches nor the loss, until the owner has
        assigned it. A handler that raises costs this link, and nothing else.
    on_lost : callable
        Called exactly once, on the loop, with a reason; ``""`` when either side has closed in good order. Nothing is
        delivered after it.
    on_drained : callable
        Called when the network has taken what was waiting, and the link is congested no more.
    on_cut, on_resumed : callable
        Of a link that outlives its connections (``transport.lasting``): called with a reason when it has none, and
        when it has another; what was sent meanwhile arrives then.
    patience_s : float
        How long the side that has made such a link tries to connect again; 0: the link ends with its connection.
    received_bytes : int
        How much has arrived, where the transport counts it.
    is_cut : bool
        Whether such a link has no connection just now.
    broke_off : bool
        Whether this side has aborted it.
    refused : bool
        Whether a link that outlives its connections has ended because who answers now does not know it any more.
    is_local : bool
        Whether it goes through a unix socket, to a process of the same host.
    process : str
        The other side's process as the system knows it (`system.process_mark`), where the system has told.
    """

    is_congested = False
    """Whether a good part of what was sent waits to be taken by the network, or by the other side."""

    role = Role.ADMINISTER
    patience_s = 0.0
    received_bytes = 0
    broke_off = False
    refused = False
    is_cut = False
    is_local = False
    process = ""

    def __init__(self, remote: str) -> None:
        self.remote = remote
        self.on_drained: Callable[[], None] = _nothing
        self.on_lost: OnLost = _unclaimed_loss
        self.on_cut: OnLost = _unclaimed_loss
        self.on_resumed: Callable[[], None] = _unclaimed_return
        self._on_batch: OnBatch | None = None

    @property
    def waiting_bytes(self) -> int:
        """How much of what was sent waits to be taken by the network, where the transport knows it."""
        return 0

    @property
    def on_batch(self) -> OnBatch | None:
        """What is called with each batch; assigning it starts delivery, at the loop's next turn."""
        return self._on_batch

    @on_batch.setter
    def on_batch(self, handler: OnBatch) -> None:
        first = self._on_batch is None
        self._on_batch = handler
        if first:
            self._start()

    @abstractmethod
    def _start(self) -> None:
        """Begin to deliver, at the loop's next turn."""

    def _deliver(self, batch: list[Message]) -> None:
        """Give a batch to the owner, whose mistakes cost this link and nothing else."""
        assert self._on_batch is not None
        try:
            self._on_batch(batch)
        except Exception as error:
            words = "the handler of messages from %s failed; closing this connection"
            logging.getLogger(type(self).__module__).exception(words, self.remote)
            self.abort(f"its handler of messages failed: {error!r}")

    def _tell_lost(self, reason: str) -> None:
        """Tell the owner of the end."""
        try:
            self.on_lost(reason)
        except Exception:
            words = "the handler of the end of the connection to %s failed"
            logging.getLogger(type(self).__module__).exception(words, self.remote)

    @abstractmethod
    def send(self, messages: list[Message]) -> None:
        """Send messages as one batch, at once; on the loop's thread only. Silently dropped once closed.

        The list stays the caller's; over inproc the messages themselves are handed over, so leave them as they are.
        """

    @abstractmethod
    def close(self) -> None:
        """Deliver to the other side what was sent, then close in good order; again is harmless."""

    @abstractmethod
    def abort(self, reason: str) -> None:
        """Break off now, and drop what is under way."""

    def __repr__(self) -> str:
        local = ", by unix socket" if self.is_local else ""
        return f"<{type(self).__name__} to {self.remote}{local}>"


def _nothing() -> None:
    """Stand for an `on_drained` that nobody has assigned."""


def _unclaimed_loss(reason: str) -> None:
    """Stand for an `on_lost` or `on_cut` that nobody has assigned."""


def _unclaimed_return() -> None:
    """Stand for an `on_resumed` that nobody has assigned."""


class Unanswered(TimeoutError):
    """Somebody has taken the connection, and says nothing: a process that is busy, or stopped.

    Examples
    --------
    >>> try:
    ...     raise Unanswered("it does not answer")
    ... except OSError as error:
    ...     print(error)
    it does not answer
    """


class Listener(ABC):
    """What accepts connections.

    Attributes
    ----------
    address : str
        The address to give to others, with its real port.
    """

    address: str

    @abstractmethod
    def close(self) -> None:
        """Accept no more connections; links that stand are left alone."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.address}>"


OnLink: TypeAlias = Callable[[Link], None]


class Backend(Protocol):
    """What is behind a scheme: a module, or an object.

    It may also have

    - ``HAS_PORTS = False``: what follows the scheme is no ``host:port``; then also ``new_location()``, which returns
      where a party may listen that was told no more than the scheme;
    - ``IS_SAFE = True``: it may be used where encryption is required;
    - ``TAKES_CERTIFICATES = True``: ``connect`` and ``listen`` take ``certificates`` and ``role``.
    """

    async def connect(self, location: str, *, secret: bytes | None, timeout_s: float, **options: Any) -> Link:
        """Connect to ``scheme://location``."""

    async def listen(self, location: str, on_link: OnLink, *, secret: bytes | None, **options: Any) -> Listener:
        """Listen on ``scheme://location``."""
