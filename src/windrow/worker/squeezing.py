"""Values on their way to other hosts, compressed where that makes them smaller.

What lives here: `squeeze`, and `expand` for the other side. What this file must never know: connections, which hosts
there are; the codecs (`worker.compression`).

Both run in threads that wait for nobody. A sample of each large buffer says whether it pays; the others travel as they
are. What a buffer was before is said beside it, and it is made into no more than that.
"""

from __future__ import annotations

from typing import TypeAlias

from windrow.wire.blobs import Attached, Blob, Buffer
from windrow.wire.framing import own_memory
from windrow.worker.compression import Codec, pays

__all__ = ["Facts", "expand", "squeeze"]

STEP_BYTES = 1024 * 1024
"""So much is compressed, or read, at a time."""

Facts: TypeAlias = list[list[int]]
"""For each value the size of each of its buffers before it was compressed, and 0 for one that was not; [] for none."""


def squeeze(blobs: list[Blob | None], codec: Codec) -> tuple[Facts, list[Blob | None]]:
    """Compress what becomes smaller; return what to say beside the values, and these. [] where nothing was compressed.

    Examples
    --------
    >>> from windrow.worker.compression import codec
    >>> facts, blobs = squeeze([Attached([Buffer(bytes(100_000))]), b"small"], codec("zlib"))
    >>> facts, len(blobs[0].frames[0].data) < 1_000, blobs[1]
    ([[100000], []], True, b'small')
    >>> [blob, _] = expand(blobs, facts, codec("zlib"))
    >>> blob.frames[0].data == bytes(100_000)
    True
    """
    facts: Facts = []
    found: list[Blob | None] = []
    for blob in blobs:
        sizes: list[int] = []
        if type(blob) is Attached:
            frames = [_squeezed(frame, codec) for frame in blob.frames]
            if any(frames):
                sizes = [0 if frame is None else memoryview(was.data).nbytes for frame, was in _pairs(frames, blob)]
                blob = Attached([was if frame is None else frame for frame, was in _pairs(frames, blob)])
        facts.append(sizes)
        found.append(blob)
    return (facts if any(facts) else []), found


def expand(blobs: list[Blob | None], facts: Facts, codec: Codec) -> list[Blob | None]:
    """Return values as they were before `squeeze`; None for one that is not what was said of it."""
    return [
        _expanded(blob, sizes, codec) if sizes and type(blob) is Attached else blob
        for blob, sizes in zip(blobs, facts, strict=True)
    ]


def _pairs(frames: list[Buffer | None], blob: Attached) -> list[tuple[Buffer | None, Buffer]]:
    return list(zip(frames, blob.frames, strict=True))


def _squeezed(frame: Buffer, codec: Codec) -> Buffer | None:
    data = memoryview(frame.data).cast("B")
    if not pays(codec, data):
        return None
    stream = codec.compressor()
    pieces = [stream.compress(data[start : start + STEP_BYTES]) for start in range(0, len(data), STEP_BYTES)]
    squeezed = b"".join([*pieces, stream.flush()])
    return Buffer(squeezed) if len(squeezed) < len(data) else None


def _expanded(blob: Attached, sizes: list[int], codec: Codec) -> Attached | None:
    if len(sizes) != len(blob.frames):
        return None
    frames: list[Buffer] = []
    for frame, size in zip(blob.frames, sizes, strict=True):
        made = _made(memoryview(frame.data).cast("B"), size, codec) if size else frame
        if made is None:
            return None
        frames.append(made)
    return Attached(frames)


def _made(data: memoryview, size: int, codec: Codec) -> Buffer | None:
    memory = own_memory(size)
    room = memoryview(memory)
    filled = 0
    stream = codec.decompressor()
    for start in range(0, len(data), STEP_BYTES):
        try:
            piece = stream.decompress(data[start : start + STEP_BYTES])
        except Exception:  # each codec has errors of its own, and they all say that this is none of its streams
            return None
        if filled + len(piece) > size:
            return None
        room[filled : filled + len(piece)] = piece
        filled += len(piece)
    return Buffer(memory) if filled == size else None  # type: ignore[arg-type]
