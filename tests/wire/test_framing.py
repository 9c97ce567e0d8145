"""Frames survive every way of being cut up, and bytes that are no frames raise `ProtocolError` and nothing else."""

from __future__ import annotations

import itertools
import mmap
import resource
import struct

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from windrow.errors import ProtocolError
from windrow.wire import framing
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.framing import GOODBYE, FrameEncoder, FrameParser, own_memory
from windrow.wire.messages import Close, Message, Reply, Run, TaskId


def encoded(messages: list[Message]) -> bytes:
    return b"".join(FrameEncoder().encode(messages))


def plain(messages: list[Message]) -> list[object]:
    """Return messages with the contents of their buffers, to compare."""
    return msgspec.to_builtins(messages, enc_hook=lambda buffer: bytes(buffer.data), builtin_types=(bytes,))


def fed(parser: FrameParser, data: bytes, cuts: list[int]) -> list[list[Message]]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [batch for start, end in itertools.pairwise(edges) for batch in parser.feed(data[start:end])]


def attached(*contents: bytes) -> Attached:
    return Attached([Buffer(content) for content in contents])


blobs = st.binary(max_size=300) | st.builds(
    lambda *parts: attached(*parts), st.binary(max_size=500), st.binary(max_size=20)
)
replies = st.builds(Reply, id=st.integers(0, 2**40), blobs=st.lists(st.none() | blobs, max_size=4))
batches = st.lists(replies | st.builds(Close, reason=st.text(max_size=20)), min_size=1, max_size=5)


@settings(max_examples=50)
@given(st.lists(batches, min_size=1, max_size=4), st.lists(st.integers(0, 10**6), max_size=8), st.integers(16, 400))
def test_batches_come_out_as_they_went_in(sent: list[list[Message]], cuts: list[int], receive_bytes: int) -> None:
    parser = FrameParser(receive_bytes=receive_bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_DIRECT_BYTES", 64)  # small enough to be met by these buffers
        got = fed(parser, b"".join(map(encoded, sent)), cuts)
    assert [plain(batch) for batch in got] == [plain(batch) for batch in sent]
    assert not parser.mid_frame


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=3))
@example(b"\x05" + bytes(15), [])
@example(GOODBYE + b"x", [16])
def test_random_bytes_raise_nothing_but_protocol_errors(data: bytes, cuts: list[int]) -> None:
    try:
        fed(FrameParser(), data, cuts)
    except ProtocolError:
        pass  # the one thing allowed


@given(st.binary(min_size=1, max_size=60), st.lists(st.binary(max_size=10), max_size=3))
def test_random_batches_raise_nothing_but_protocol_errors(batch: bytes, buffers: list[bytes]) -> None:
    head = struct.pack("<QII", 8 * len(buffers) + len(batch) + sum(map(len, buffers)), len(batch), len(buffers))
    lengths = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    try:
        FrameParser().feed(head + lengths + batch + b"".join(buffers))
    except ProtocolError:
        pass  # the one thing allowed


@given(batches, st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_raises_nothing_but_protocol_errors(messages: list[Message], where: int, change: int) -> None:
    data = bytearray(encoded(messages))
    data[where % len(data)] ^= change
    try:
        FrameParser().feed(data)
    except ProtocolError:
        pass  # the one thing allowed


def test_a_frame_without_buffers_is_one_piece() -> None:
    [frame] = FrameEncoder().encode([Close("a"), Close("b")])
    total, batch_bytes, count = struct.unpack_from("<QII", frame)
    assert (total, batch_bytes, count) == (len(frame) - 16, len(frame) - 16, 0)


def test_raw_buffers_are_sent_from_where_they_are() -> None:
    memory = bytearray(b"payload")
    pieces = FrameEncoder().encode([Reply(1, blobs=[Attached([Buffer(memory)])])])
    memory[:] = b"changed"
    assert bytes(pieces[-1]) == b"changed"


def test_an_encoder_is_as_new_after_a_failure() -> None:
    encoder = FrameEncoder()
    with pytest.raises(TypeError):
        encoder.encode([Reply(1, value=object(), blobs=[attached(b"x")])])
    with pytest.raises(TypeError):
        encoder.encode([Reply(1, blobs=[attached(b"x")]), Reply(2, value=object())])
    assert b"".join(encoder.encode([Reply(1, blobs=[attached(b"y")])])) == encoded([Reply(1, blobs=[attached(b"y")])])


def test_a_batch_beyond_the_bound_becomes_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_BATCH_BYTES_MAX", 100)
    sent: list[Message] = [Reply(n, blobs=[b"x" * 40, attached(b"%d" % n)]) for n in range(5)]
    got = FrameParser().feed(encoded(sent))
    assert len(got) > 1
    assert plain([message for batch in got for message in batch]) == plain(sent)


def test_a_large_buffer_is_received_straight_into_its_own_memory() -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    data = encoded([Reply(1, blobs=[attached(b"stream", content)])])
    parser = FrameParser()
    parser.feed(data[:1000])
    room = parser.get_buffer()
    assert len(room) > 256 * 1024  # not the receive buffer
    room[:] = data[1000:]
    [[reply]] = parser.received(len(room))
    assert isinstance(reply, Reply)
    assert isinstance(reply.blobs[0], Attached)
    memory = reply.blobs[0].frames[1].data
    assert type(memory) is mmap.mmap
    assert bytes(memory) == content


def test_each_buffer_owns_its_memory() -> None:
    data = encoded([Reply(1, blobs=[attached(b"one", b"two")])])
    parser = FrameParser()
    [[reply]] = parser.feed(data)
    parser.feed(b"\xff" * 10)  # what comes next must not show up in it
    assert isinstance(reply, Reply)
    assert isinstance(reply.blobs[0], Attached)
    assert [type(buffer.data) for buffer in reply.blobs[0].frames] == [bytearray, bytearray]
    assert [bytes(buffer.data) for buffer in reply.blobs[0].frames] == [b"one", b"two"]


def test_plain_payloads_do_not_change_when_the_receive_buffer_is_used_again() -> None:
    parser = FrameParser()
    [[run]] = parser.feed(encoded([Run(TaskId(1), 1, "key", 1, b"first")]))
    parser.feed(encoded([Run(TaskId(2), 1, "kez", 1, b"other")]))
    assert isinstance(run, Run)
    assert (run.key, run.args) == ("key", b"first")


def test_a_batch_longer_than_the_receive_buffer() -> None:
    sent: list[Message] = [Close("x" * 1000), Reply(1, blobs=[attached(b"tail" * 100)])]
    got = FrameParser(receive_bytes=64).feed(encoded(sent))
    assert [plain(batch) for batch in got] == [plain(sent)]


def test_goodbye_ends_the_stream() -> None:
    parser = FrameParser()
    assert parser.feed(encoded([Close()]) + GOODBYE) == [[Close()]]
    assert parser.ended
    assert not parser.mid_frame
    with pytest.raises(ProtocolError, match="goodbye"):
        parser.feed(b"x")


def test_mid_frame_says_whether_a_rest_is_missing() -> None:
    data = encoded([Reply(1, blobs=[attached(b"x" * 200_000)])])
    for count in (3, 30, 100_000, len(data) - 1):
        parser = FrameParser()
        parser.feed(data[:count])
        assert parser.mid_frame


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ((2**20 + 1, 5, 0), "limit"),
        ((2**63, 5, 0), "limit"),
        ((10, 5, 0), "add up"),
        ((10, 50, 0), "add up"),
        ((10, 5, 1), "add up"),
        ((8, 0, 1), "add up"),
        ((10, 5, 2**32 - 1), "add up"),
    ],
)
def test_lengths_are_checked_before_anything_is_received(head: tuple[int, int, int], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        FrameParser(limit_bytes=2**20).feed(struct.pack("<QII", *head))


def test_buffer_lengths_must_add_up() -> None:
    with pytest.raises(ProtocolError, match="add up"):
        FrameParser().feed(struct.pack("<QIIQ", 9, 1, 1, 2**62) + b"\x90")


@pytest.mark.parametrize("index", [1, -1, "0", 1.0, None, [0], 2**63])
def test_an_index_of_no_buffer_is_refused(index: object) -> None:
    batch = msgspec.msgpack.encode([[2, 1, None, [[0, [index]]], None]])
    with pytest.raises(ProtocolError):
        FrameParser().feed(struct.pack("<QIIQ", 9 + len(batch), len(batch), 1, 1) + batch + b"x")


def test_a_claimed_size_takes_no_memory() -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = own_memory(2**31)
    parser = FrameParser()
    batch = msgspec.msgpack.encode([[2, 1, None, [[0, [0]]], None]])
    parser.feed(struct.pack("<QIIQ", 8 + len(batch) + 2**31, len(batch), 1, 2**31) + batch)
    assert parser.mid_frame
    assert len(memory) == len(parser.get_buffer()) == 2**31
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 2**19


def test_no_memory_is_the_connections_trouble() -> None:
    batch = msgspec.msgpack.encode([[2, 1, None, [[0, [0]]], None]])
    with pytest.raises(ProtocolError, match="no memory"):
        FrameParser(2**62).feed(struct.pack("<QIIQ", 8 + len(batch) + 2**60, len(batch), 1, 2**60) + batch)


def test_buffers_that_are_only_announced_cost_nothing() -> None:
    """A few kilobytes could claim gigabytes in pieces, each too small to be mapped."""
    count, length = 4000, 2**20 - 1
    batch = msgspec.msgpack.encode([Close("")])
    head = struct.pack("<QII", 8 * count + len(batch) + count * length, len(batch), count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parser = FrameParser()
    assert parser.feed(head + struct.pack(f"<{count}Q", *[length] * count) + batch + b"x" * 100) == []
    assert parser.mid_frame
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes, of 4 GiB
