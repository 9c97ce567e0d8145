"""Objects on the wire: pickles, small and large.

What lives here: `Blob`, and its forms. What this file must never know: what a message says.

A *blob* is an object's pickle. Small ones are plain ``bytes`` inside the message; one with large buffers is
`Attached`, whose buffers follow the message in the frame and are neither copied nor encoded, or `Shared`: its receiver,
on the same host, finds them in memory that both can map.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

__all__ = ["Attached", "Blob", "Buffer", "Shared"]


class Buffer:
    """One raw piece of a frame, out of band of its message (a bytes-like object)."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = data


class Attached(Struct, tag=0, array_like=True):
    """A blob too large to sit in a message: the pickle stream and then its out-of-band buffers."""

    frames: list[Buffer]


class Shared(Struct, tag=160, array_like=True, dict=True):
    """A blob in a segment of a process of this host (`windrow.memfd`): where, and how long its pieces are.

    Only who has shown the `host` of the segment's owner is sent one. The attribute ``held`` is what keeps the segment
    as it is, with those who have it (`wire.sharing`); it does not travel.
    """

    pid: int
    fd: int
    inode: int
    generation: int
    lengths: list[int]


Blob: TypeAlias = bytes | Attached | Shared
