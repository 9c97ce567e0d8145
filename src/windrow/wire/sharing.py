"""Blobs in shared memory: put there, taken from there, made plain again.

What lives here: `share`, `attach`, `views`, `plain`. What this file must never know: who is on the same host, and what
is asked for again where a segment is not to be had.

A value is shared when it is mostly large buffers: what it takes to unpickle it is paid by each use then.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from windrow import config, memfd, segments
from windrow.memfd import SegmentError, offsets
from windrow.wire import payload
from windrow.wire.blobs import Attached, Blob, Buffer, Shared

__all__ = ["attach", "attached", "hand_over", "keep", "offer", "packed", "pays", "plain", "share", "views"]

STREAM_BYTES = 64 * 1024
"""A value whose pickle is longer, beside its large buffers, is shared only where these are much larger:"""

STREAM_PART = 16
"""so many times as large."""


def share(blob: Blob) -> Shared | None:
    """Copy a blob into a segment of this process; None where that does not pay, or there is none.

    Examples
    --------
    >>> share(b"small") is None
    True
    """
    if type(blob) is not Attached or not pays(blob):
        return None
    return packed([memoryview(buffer.data).cast("B") for buffer in blob.frames])


def pays(blob: Blob) -> bool:
    """Say whether a blob is better shared than sent.

    Examples
    --------
    >>> pays(b"small")
    False
    """
    if type(blob) is not Attached:
        return False
    stream_bytes, *sizes = [memoryview(buffer.data).nbytes for buffer in blob.frames]
    size = sum(sizes)
    if size < config.size_bytes("windrow.shared-memory.threshold"):
        return False
    return stream_bytes <= STREAM_BYTES or stream_bytes * STREAM_PART <= size


def packed(parts: Sequence[memoryview]) -> Shared | None:
    """Copy pieces (bytes, contiguous) into a segment of this process; None where there is none."""
    owned = segments.pool().put(parts)
    if owned is None:
        return None
    segment = owned.segment
    shared = Shared(segment.pid, segment.fd, segment.inode, owned.generation, [part.nbytes for part in parts])
    shared.held = owned  # type: ignore[attr-defined]
    return shared


def attach(shared: Shared) -> None:
    """Hold the segment of a blob that has come from elsewhere.

    Raises
    ------
    SegmentError
        It is not to be had; ask for the plain bytes.
    """
    if "held" not in shared.__dict__:
        if not segments.is_enabled():
            raise SegmentError(errno.EPERM, "this process is not to take part in shared memory")
        if not shared.lengths or min(shared.lengths) < 0:
            raise SegmentError(errno.EINVAL, "a shared value has no pieces, or such as cannot be")
        _, size = offsets(shared.lengths)
        shared.held = memfd.attach(shared.pid, shared.fd, shared.inode, shared.generation, size)  # type: ignore[attr-defined]


def keep(blob: Blob, near: bool) -> Blob:
    """Return a blob that was made with ``borrow`` as one that is independent of its object.

    Parameters
    ----------
    blob
        The blob.
    near
        Whether whoever gets it takes it from this process's hands, or can open its segments.

    Examples
    --------
    >>> keep(b"small", near=True)
    b'small'
    """
    shared = share(blob) if near and segments.is_enabled() else None
    return payload.own(blob) if shared is None else shared


def offer(blob: Shared) -> Shared:
    """Return what is sent of a shared blob: it does not keep the segment as it is, however long the message is kept."""
    return Shared(blob.pid, blob.fd, blob.inode, blob.generation, blob.lengths)


def hand_over(before: Shared, now: Shared) -> None:
    """Have what one message of a segment holds be held by another one of the same."""
    now.__dict__.setdefault("held", before.held)  # type: ignore[attr-defined]


def attached(blob: Blob | None) -> bool:
    """Whether a blob can be used as it is; if it is a shared one, its segment is held from here on.

    Examples
    --------
    >>> attached(b"abc"), attached(None)
    (True, True)
    """
    if type(blob) is Shared:
        try:
            attach(blob)
        except SegmentError:
            return False
    return True


def views(shared: Shared) -> list[memoryview]:
    """Return the pieces of a blob, as memory that nobody else sees what is written to."""
    attach(shared)
    return shared.held.view().parts(shared.lengths)  # type: ignore[attr-defined,no-any-return]


def plain(blob: Shared) -> Attached:
    """Return a blob as it travels to other hosts."""
    return Attached([Buffer(part) for part in views(blob)])
