"""What TLS is given to encrypt: in portions, in order, and no more than the network takes."""

from __future__ import annotations

import asyncio
from typing import Any

from windrow.transport.feeding import PORTION_BYTES, TURN_BYTES, Feed


class Sink:
    """A transport that is full after so many bytes, and says so as TLS does."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self.written: list[bytes] = []
        self.feed: Feed
        self.emptied = 0

    def write(self, data: Any) -> None:
        assert len(data) <= PORTION_BYTES
        self.written.append(bytes(data))
        self.room_bytes -= len(data)
        if self.room_bytes <= 0:
            self.feed.is_held = True

    def empty(self) -> None:
        self.emptied += 1

    def takes(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self.feed.is_held = False
        self.feed.go_on()

    @property
    def data(self) -> bytes:
        return b"".join(self.written)


def fed(room_bytes: int) -> Sink:
    sink: Any = Sink(room_bytes)
    sink.feed = Feed(sink, sink.empty)
    return sink  # type: ignore[no-any-return]


DATA = bytes(range(256)) * (5 * TURN_BYTES // 256) + b"the end"


def test_a_large_piece_goes_in_portions_of_which_a_turn_gives_a_few() -> None:
    async def main() -> None:
        sink = fed(100 * TURN_BYTES)
        sink.feed.put([DATA, b"behind it"])
        assert len(sink.data) == TURN_BYTES, "the loop has other things to do too"
        assert sink.feed.waiting_bytes == len(DATA) + 9 - TURN_BYTES
        sink.feed.put([b", and this"])
        while sink.feed.waiting_bytes:
            await asyncio.sleep(0)
        assert sink.data == DATA + b"behind it, and this"
        assert sink.emptied == 1

    asyncio.run(main())


def test_no_more_is_given_than_is_taken() -> None:
    async def main() -> None:
        sink = fed(PORTION_BYTES)
        sink.feed.put([DATA])
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(sink.data) == PORTION_BYTES
        assert sink.emptied == 0
        sink.feed.put([b"behind it"])
        while sink.feed.waiting_bytes:
            sink.takes(3 * PORTION_BYTES)
            await asyncio.sleep(0)
        assert sink.data == DATA + b"behind it"
        sink.takes(1)
        assert sink.emptied > 0

    asyncio.run(main())


def test_what_is_small_goes_at_once() -> None:
    async def main() -> None:
        sink = fed(TURN_BYTES)
        sink.feed.put([b"small"])
        assert sink.data == b"small"
        assert (sink.feed.waiting_bytes, sink.emptied) == (0, 0)
        sink.feed.is_held = True
        sink.feed.put([b"later"])
        assert sink.data == b"small"
        sink.takes(TURN_BYTES)
        assert sink.data == b"smalllater"

    asyncio.run(main())


def test_what_is_forgotten_is_not_sent() -> None:
    async def main() -> None:
        sink = fed(100 * TURN_BYTES)
        sink.feed.put([DATA])
        sink.feed.clear()
        await asyncio.sleep(0)
        assert len(sink.data) == TURN_BYTES
        assert (sink.feed.waiting_bytes, sink.emptied) == (0, 0)
        assert repr(sink.feed) == "<Feed waiting_bytes=0>"

    asyncio.run(main())
