"""What a connection has to send, handed in portions to what copies or encrypts it.

What lives here: `Feed`. What this file must never know: frames, links, sockets.

asyncio's own transports copy what they cannot send at once, before Python 3.12 twice. TLS encrypts all that it is
given at once, into memory of its own, which holds less than 2 GiB; and meanwhile the loop does nothing else. So a
large frame is given to them bit by bit, as the network takes what they have.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from windrow.wire.framing import Piece

__all__ = ["Feed"]

PORTION_BYTES = 256 * 1024
TURN_BYTES = 1024 * 1024
"""So much is encrypted in one turn of the loop; then it can be seen whether the network takes it."""


class Feed:
    """Pieces on their way into a transport.

    Parameters
    ----------
    transport
        Where they go.
    on_empty
        Called when all of them are there, if they did not go at once.

    Attributes
    ----------
    waiting_bytes : int
        What is still here.
    is_held : bool
        Whether the transport takes nothing just now; whoever hears of that from it sets this, and calls `go_on`.
    """

    def __init__(self, transport: asyncio.WriteTransport, on_empty: Callable[[], None]) -> None:
        self.waiting_bytes = 0
        self.is_held = False
        self._transport = transport
        self._on_empty = on_empty
        self._pieces: deque[Piece] = deque()
        self._loop = asyncio.get_running_loop()
        self._due = False

    def __repr__(self) -> str:
        return f"<Feed waiting_bytes={self.waiting_bytes}>"

    def put(self, pieces: list[Piece]) -> None:
        """Send pieces, after those that are here."""
        if not self.waiting_bytes and not self.is_held and len(pieces) == 1 and len(pieces[0]) <= PORTION_BYTES:
            self._transport.write(pieces[0])
            return
        self._pieces += pieces
        self.waiting_bytes += sum(map(len, pieces))
        if not self._due:
            self._give()

    def go_on(self) -> None:
        """Hand over more, as the transport takes it again."""
        if self._pieces:
            if not self._due:
                self._give()
        else:
            self._on_empty()

    def clear(self) -> None:
        """Forget what is here."""
        self._pieces.clear()
        self.waiting_bytes = 0

    def _give(self) -> None:
        self._due = False
        pieces, left = self._pieces, TURN_BYTES
        while pieces and left > 0 and not self.is_held:
            piece = pieces.popleft()
            if len(piece) > PORTION_BYTES:
                view = memoryview(piece)
                pieces.appendleft(view[PORTION_BYTES:])
                piece = view[:PORTION_BYTES]
            self.waiting_bytes -= len(piece)
            left -= len(piece)
            self._transport.write(piece)
        if self.is_held or left == TURN_BYTES:  # nothing was given: it was forgotten meanwhile
            return
        if pieces:
            self._due = True
            self._loop.call_soon(self._give)
        else:
            self._on_empty()
