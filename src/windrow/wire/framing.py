"""Frames: a batch of messages and its raw buffers as bytes, and back.

What lives here: the layout, the encoder, and an incremental parser. What this file must never know: sockets, event
loops, what a message means, how a payload was pickled.

A frame, all numbers little-endian::

    8 bytes   total length of what follows this 16-byte header
    4 bytes   length of the batch
    4 bytes   number of raw buffers, n
    n * 8     the length of each raw buffer
    batch     MessagePack list of messages; a `Buffer` in it is its index
    buffers   one after another

A header of 16 zero bytes is the *goodbye*: the sender closes in good order, and nothing follows.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from windrow.errors import ProtocolError
from windrow.wire.blobs import Buffer
from windrow.wire.messages import Message

__all__ = ["GOODBYE", "LIMIT_BYTES", "FrameEncoder", "FrameParser", "Piece", "own_memory"]

Piece: TypeAlias = bytes | bytearray | memoryview
"""What a frame is written from: bytes-like objects, in order."""

GOODBYE = bytes(16)
LIMIT_BYTES = 64 * 2**30
"""The largest frame that is accepted by default."""

_HEADER = struct.Struct("<QII")
_HEADER_BYTES = _HEADER.size
_BATCH_BYTES_MAX = 256 * 2**20
"""A longer batch is sent as several frames; far below the four bytes of its length field."""
_RECEIVE_BYTES = 256 * 1024
_DIRECT_BYTES = 64 * 1024
"""A buffer with at least this much to come is received straight into its own memory."""
_MMAP_BYTES = 2**20
_HUGE_PAGE_BYTES = 4 * 2**20


def own_memory(size_bytes: int) -> bytearray | mmap.mmap:
    """Return fresh writable memory of exactly this size.

    Large memory is mapped rather than a ``bytearray``: its pages are not written twice, and a size that a peer has
    only claimed costs nothing until the bytes arrive.

    Examples
    --------
    >>> len(own_memory(10))
    10
    """
    if size_bytes < _MMAP_BYTES:
        return bytearray(size_bytes)
    memory = _fresh_pages(size_bytes)
    if type(memory) is mmap.mmap and size_bytes >= _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # advice only: a kernel built without huge pages refuses it, and all works as well
            pass
    return memory


def _fresh_pages(size_bytes: int) -> bytearray | mmap.mmap:
    """Return zeroed memory of which only the pages that are written to take up room."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # not a POSIX system
        return bytearray(size_bytes)
    try:
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the system gives no {size_bytes} bytes of memory: {error}") from error


class FrameEncoder:
    """Turns lists of messages into frames; one for each connection, used from one thread.

    Examples
    --------
    >>> from windrow.wire.messages import Close
    >>> [frame] = FrameEncoder().encode([Close("bye")])
    >>> [message] = FrameParser().feed(frame)[0]
    >>> message
    Close(reason='bye')
    """

    __slots__ = ("_buffers", "_encode_into")

    def __init__(self) -> None:
        buffers: list[memoryview] = []

        def index_of(value: object) -> int:
            if type(value) is Buffer:
                buffers.append(memoryview(value.data))
                return len(buffers) - 1
            raise TypeError(f"a message cannot hold a {type(value).__name__}")

        self._buffers = buffers
        self._encode_into = msgspec.msgpack.Encoder(enc_hook=index_of).encode_into

    def encode(self, messages: Sequence[Message]) -> list[Piece]:
        """Return the pieces of the frame of these messages: a single one unless there are raw buffers.

        Raises
        ------
        TypeError, OverflowError, UnicodeEncodeError
            A message holds what MessagePack cannot.
        """
        frame = bytearray(_HEADER_BYTES)
        buffers = self._buffers
        try:
            self._encode_into(messages, frame, _HEADER_BYTES)
            batch_bytes = len(frame) - _HEADER_BYTES
            if batch_bytes > _BATCH_BYTES_MAX and len(messages) > 1:
                buffers.clear()
                half = len(messages) // 2
                return self.encode(messages[:half]) + self.encode(messages[half:])
            if not buffers:
                _HEADER.pack_into(frame, 0, batch_bytes, batch_bytes, 0)
                return [frame]
            return self._with_buffers(frame, batch_bytes)
        finally:
            buffers.clear()

    def _with_buffers(self, frame: bytearray, batch_bytes: int) -> list[Piece]:
        lengths = [buffer.nbytes for buffer in self._buffers]
        count = len(lengths)
        total = 8 * count + batch_bytes + sum(lengths)
        head = _HEADER.pack(total, batch_bytes, count) + struct.pack(f"<{count}Q", *lengths)
        frame[:_HEADER_BYTES] = head
        pieces: list[Piece] = [frame]
        pieces += [buffer for buffer, length in zip(self._buffers, lengths, strict=True) if length]
        return pieces


class FrameParser:
    """Turns received bytes into batches, however they were cut up on their way; one for each connection.

    Bytes are received into `get_buffer` and announced by `received`, as `asyncio.BufferedProtocol` wants it. Small
    frames are decoded out of one buffer that is used again and again; each raw buffer gets memory of its own when its
    turn has come (what is only announced costs nothing), and a large one is received straight into it, so that it is
    written once.

    Parameters
    ----------
    limit_bytes
        A longer frame is refused.
    receive_bytes
        Size of the buffer that is used again.

    Examples
    --------
    >>> parser = FrameParser()
    >>> parser.feed(GOODBYE), parser.ended
    ([], True)
    """

    __slots__ = (
        "_body",
        "_buffers",
        "_decode",
        "_end",
        "_head_sink",
        "_messages",
        "_ring",
        "_sink",
        "_sunk",
        "_waiting",
        "ended",
        "limit_bytes",
    )

    def __init__(self, limit_bytes: int = LIMIT_BYTES, receive_bytes: int = _RECEIVE_BYTES) -> None:
        buffers: list[Buffer] = []

        def buffer_at(_type: type, index: object) -> Buffer:
            if type(index) is not int or not 0 <= index < len(buffers):
                raise ProtocolError(f"a message refers to raw buffer {index!r} of a frame with {len(buffers)}")
            return buffers[index]

        self.ended = False
        """The goodbye has arrived."""
        self.limit_bytes = limit_bytes
        """A longer frame is refused."""
        self._buffers = buffers
        self._decode = msgspec.msgpack.Decoder(list[Message], dec_hook=buffer_at).decode
        self._ring = memoryview(_fresh_pages(max(receive_bytes, _HEADER_BYTES)))
        self._end = 0
        self._messages: list[Message] = []
        self._waiting: list[tuple[Buffer, int]] = []  # the current frame's raw buffers without memory yet, last first
        self._body: memoryview | None = None  # what is still to be filled of the one before them
        self._sink: memoryview | None = None  # memory that is received into, instead of the ring
        self._sunk = 0
        self._head_sink = False  # the sink is a long head and batch, and no raw buffer

    @property
    def mid_frame(self) -> bool:
        """Whether a part of a frame has arrived, and its rest has not."""
        return bool(self._end or self._body is not None or self._waiting or self._sink is not None)

    def get_buffer(self, hint: int = -1) -> memoryview:
        """Return memory to receive into; never empty."""
        if self._sink is not None:
            return self._sink[self._sunk :]
        return self._ring[self._end :]

    def feed(self, data: bytes | bytearray | memoryview) -> list[list[Message]]:
        """Take bytes from elsewhere, and return the batches that they complete."""
        batches: list[list[Message]] = []
        rest = memoryview(data)
        while rest.nbytes:
            room = self.get_buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            batches += self.received(count)
            rest = rest[count:]
        return batches

    def received(self, count: int) -> list[list[Message]]:
        """Take note of ``count`` bytes in `get_buffer`, and return the batches that they complete.

        Raises
        ------
        ProtocolError
            These bytes are no frames of ours; the parser is of no more use.
        """
        sink = self._sink
        if sink is None:
            self._end += count
        else:
            self._sunk += count
            if self._sunk < len(sink):
                return []
            self._sink = None
            if self._head_sink:
                self._head_sink = False
                self._begin(sink)
        return self._scan()

    def _scan(self) -> list[list[Message]]:
        """Go through what is in the ring; leave a rest that is no whole frame at its front."""
        batches: list[list[Message]] = []
        ring, start, end = self._ring, 0, self._end
        while True:
            if self._waiting or self._body is not None:
                start = self._fill(start, end)
                if self._body is not None:
                    break
            if self._messages:
                batches.append(self._messages)
                self._messages = []
            if end - start < _HEADER_BYTES:
                break
            if self.ended:
                raise ProtocolError("bytes follow the goodbye")
            head_bytes = self._head_bytes(start)
            if not head_bytes:
                self.ended = True
                start += _HEADER_BYTES
                continue
            if end - start < head_bytes:
                if head_bytes > len(ring):
                    self._receive_head(start, end, head_bytes)
                    start = end
                break
            self._begin(ring[start : start + head_bytes])
            start += head_bytes
        if start:
            rest = end - start
            if rest:
                ring[:rest] = ring[start:end]
            self._end = rest
        if self.ended and self._end:
            raise ProtocolError("bytes follow the goodbye")
        return batches

    def _head_bytes(self, start: int) -> int:
        """Return the length of header, buffer lengths and batch of the frame at ``start``; 0 for a goodbye."""
        total, batch_bytes, count = _HEADER.unpack_from(self._ring, start)
        if not total and not batch_bytes and not count:
            return 0
        if total > self.limit_bytes:
            raise ProtocolError(
                f"a frame of {total} bytes is announced, and the limit is {self.limit_bytes} ('windrow.frame-limit')"
            )
        head_bytes: int = 8 * count + batch_bytes
        if head_bytes > total or (not count and head_bytes != total) or not batch_bytes:
            raise ProtocolError(
                f"the lengths of a frame do not add up: {total} in total, {batch_bytes} of batch, {count} raw buffers"
            )
        return _HEADER_BYTES + head_bytes

    def _receive_head(self, start: int, end: int, head_bytes: int) -> None:
        """Go on in memory of its own with a head and batch that the ring cannot hold."""
        sink = memoryview(self._room(head_bytes))
        self._sunk = end - start
        sink[: self._sunk] = self._ring[start:end]
        self._sink = sink
        self._head_sink = True

    def _begin(self, head: memoryview) -> None:
        """Decode the batch, and make room for the raw buffers that follow it."""
        total, batch_bytes, count = _HEADER.unpack_from(head)
        buffers = self._buffers
        if not count:
            self._messages = self._decoded(head[_HEADER_BYTES:])
            return
        lengths = struct.unpack_from(f"<{count}Q", head, _HEADER_BYTES)
        if 8 * count + batch_bytes + sum(lengths) != total:
            raise ProtocolError(f"the {count} raw buffers of a frame do not add up to its {total} bytes")
        buffers += [Buffer(b"") for _ in lengths]
        try:
            self._messages = self._decoded(head[_HEADER_BYTES + 8 * count :])
            self._waiting = list(zip(buffers, lengths, strict=True))
        finally:
            buffers.clear()
        self._waiting.reverse()

    def _decoded(self, batch: memoryview) -> list[Message]:
        try:
            return self._decode(batch)
        except ProtocolError:
            raise
        except Exception as error:  # whatever decoding raises says the same: these bytes are no batch of messages
            raise ProtocolError(f"a batch cannot be decoded: {error}") from error

    def _room(self, size_bytes: int) -> bytearray | mmap.mmap:
        try:
            return own_memory(size_bytes)
        except MemoryError as error:
            raise ProtocolError(f"no memory for {size_bytes} bytes of a frame") from error

    def _fill(self, start: int, end: int) -> int:
        """Move bytes from the ring to the raw buffers; return where the ring's rest begins."""
        ring, waiting, body = self._ring, self._waiting, self._body
        while True:
            if body is None:
                if not waiting:
                    break
                buffer, length = waiting.pop()
                memory = self._room(length)
                buffer.data = memory  # type: ignore[assignment]  # mapped memory is bytes-like too
                body = memoryview(memory)
            count = min(len(body), end - start)
            body[:count] = ring[start : start + count]
            start += count
            if count == len(body):
                body = None
                continue
            body = body[count:]
            if len(body) >= _DIRECT_BYTES:
                self._sink, self._sunk = body, 0
                # The sink stays the current piece: a placeholder of no length keeps the frame open until it is full.
                body = body[:0]
            break
        self._body = body
        return start
