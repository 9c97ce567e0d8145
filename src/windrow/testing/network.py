"""A clock and a network that a seed drives: no thread, no socket, no waiting.

What lives here: `Clock`, an agenda of events in virtual time, and `Channel`, one direction of a connection, which keeps
order, delays, and can break. What this file must never know: who talks over it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from windrow.wire.messages import Message

_decode = msgspec.msgpack.Decoder(list[Message]).decode
_encode = msgspec.msgpack.Encoder().encode


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.steps = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._events)

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Have something happen at a time; what is due at the same time happens in the order it was asked for."""
        self._count += 1
        heappush(self._events, (max(time_s, self.now_s), self._count, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have something happen after a delay."""
        self.at(self.now_s + delay_s, action)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._events:
            return False
        self.now_s, _, action = heappop(self._events)
        self.steps += 1
        action()
        return True


class Channel:
    """One direction between two parties: in order, late, through the real codec; silent once broken."""

    def __init__(self, clock: Clock, rng: Random, deliver: Callable[[list[Any]], None], delay_s: float) -> None:
        self.clock = clock
        self.rng = rng
        self.deliver = deliver
        self.delay_s = delay_s
        self.broken = False
        self.under_way = 0
        """How many batches have been sent, and not arrived."""
        self._last_s = 0.0

    def send(self, messages: list[Any]) -> None:
        """Send a batch; it arrives after all that were sent before it."""
        if self.broken:
            return
        frame = _encode(messages)
        self._last_s = max(self._last_s, self.clock.now_s + self.rng.random() * self.delay_s)
        self.under_way += 1

        def arrive() -> None:
            self.under_way -= 1
            if not self.broken:
                self.deliver(_decode(frame))

        self.clock.at(self._last_s, arrive)
