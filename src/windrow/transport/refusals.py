"""The log of who was refused at a listener: each in a line, and who comes again and again in one line a minute.

What lives here: `Refusals`. What this file must never know: why somebody is refused.

Whoever can reach a port can have it refuse him a thousand times a second; the log of a cluster is not his to fill. Who
is refused at a unix socket tries tcp next, and would be logged twice: so that line waits a moment, and is left out if
somebody of this host is refused by tcp for the same reason.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

__all__ = ["Refusals"]

LINES_MAX = 100
"""So many lines a host has in each round; further refusals are counted."""
HOSTS_MAX = 256
"""So many hosts are told from each other; the rest are one."""
ROUND_S = 60.0
THIS_HOST = "this host"
HELD_S = 0.5
"""So long the line of one at a unix socket waits for his next attempt."""
HELD_MAX = 32


class Refusals:
    """Who was refused at one listener, on the running loop.

    Parameters
    ----------
    log
        Writes a line.

    Examples
    --------
    >>> async def main():
    ...     refusals = Refusals(print)
    ...     refusals.add("10.0.0.9", "refused 10.0.0.9:4: wrong secret")
    ...     refusals.close()
    >>> asyncio.run(main())
    refused 10.0.0.9:4: wrong secret
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._held: dict[int, tuple[asyncio.TimerHandle, str, str, str]] = {}
        """Until when, who, what is to be said, for which kind of reason."""
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"<Refusals {sum(self._counts.values())} of {len(self._counts)} hosts>"

    def add(self, host: str, words: str) -> None:
        """Tell of one."""
        if host not in self._counts and len(self._counts) >= HOSTS_MAX:
            host = "other hosts"
        self._counts[host] += 1
        count = self._counts[host]
        if count <= LINES_MAX:
            self._log(words)
        if count == LINES_MAX:
            self._log(f"it was no. {count} from {host} within a minute; further ones are counted, and told then")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ROUND_S, self._end_round)

    @property
    def holds(self) -> bool:
        """Whether lines wait."""
        return bool(self._held)

    def hold(self, remote: str, words: str, kind: str) -> None:
        """Tell of one of this host soon, if he does not come by tcp, to be refused for the same kind of reason."""
        if len(self._held) >= HELD_MAX:
            self.add(THIS_HOST, words)
            return
        number = next(self._numbers)
        timer = asyncio.get_running_loop().call_later(HELD_S, self._let_go, number)
        self._held[number] = (timer, remote, words, kind)

    def _let_go(self, number: int) -> None:
        timer, _, words, _ = self._held.pop(number)
        timer.cancel()
        self.add(THIS_HOST, words)

    def came_again(self, kind: str) -> str:
        """Leave out the first line that waits with a reason of this kind; return who it was about, or nothing."""
        number = next((number for number, held in self._held.items() if held[3] == kind), None)
        if number is None:
            return ""
        timer, remote, _, _ = self._held.pop(number)
        timer.cancel()
        return remote

    def _end_round(self) -> None:
        self._timer = None
        counts, self._counts = self._counts, Counter()
        for host, count in counts.items():
            if count > LINES_MAX:
                self._log(f"it was one of {count} from {host} within a minute")

    def close(self) -> None:
        """Tell what waits, and no more then."""
        for number in list(self._held):
            self._let_go(number)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
