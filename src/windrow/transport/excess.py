"""How much is sent to a side that takes nothing, and when that is too much.

What lives here: `Excess`. What this file must never know: sockets, clocks, what becomes of such a side.

One message may be as large as it likes. What comes after it, while it is not taken, is counted.
"""

from __future__ import annotations

__all__ = ["Excess"]


class Excess:
    """What was sent since a link is congested.

    Parameters
    ----------
    limit_bytes
        More than this is too much.

    Examples
    --------
    >>> excess = Excess(100)
    >>> excess.add(90)
    ''
    >>> excess.add(20)
    "it does not read: 110 bytes were to be sent to it while it took nothing ('windrow.backlog-limit')"
    """

    __slots__ = ("bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = 0
        self.limit_bytes = limit_bytes

    def __repr__(self) -> str:
        return f"<Excess bytes={self.bytes} of {self.limit_bytes}>"

    def add(self, nbytes: int) -> str:
        """Count what is to be sent; return why the other side is given up, or nothing."""
        self.bytes += nbytes
        if self.bytes <= self.limit_bytes:
            return ""
        return (
            f"it does not read: {self.bytes} bytes were to be sent to it while it took nothing "
            "('windrow.backlog-limit')"
        )

    def clear(self) -> None:
        """It has taken what was sent."""
        self.bytes = 0
