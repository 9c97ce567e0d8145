"""Values on disk: written without a copy in memory, read back by whoever needs them.

What lives here: `Disk` and `Spilled`. What this file must never know: which value goes, and when.

A file belongs to its `Spilled`, which alone knows what is in it, and ends with it: so whoever has the marker can read
the value, even when it was freed meanwhile; and no file that was not written to its end is ever anybody's. What a
worker that was killed leaves behind goes with its directory.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from io import FileIO
from math import inf

from msgspec import Struct

from windrow.wire import payload, sharing
from windrow.wire.blobs import Attached, Blob, Buffer, Shared
from windrow.wire.framing import own_memory
from windrow.worker import compression
from windrow.worker.compression import Codec
from windrow.worker.store import Elsewhere, LostValueError, Packed

PIECE_BYTES = 8 * 2**20
"""So much is written or compressed at a time; the interpreter's lock is free meanwhile."""


class MaxSpillExceeded(Exception):
    """A value does not fit into what ``distributed.worker.memory.max-spill`` leaves."""


class Frame(Struct, frozen=True):
    """One piece of a value in its file."""

    size: int
    stored: int
    codec: str | None


class Traffic(Struct):
    """What has gone one way between memory and disk, ever."""

    count: int = 0
    bytes: int = 0
    """On disk: compressed."""
    seconds: float = 0.0

    def add(self, nbytes: int, since_s: float) -> None:
        """Take one value in, which was begun then (`time.perf_counter`)."""
        self.count += 1
        self.bytes += nbytes
        self.seconds += time.perf_counter() - since_s


class Disk:
    """A directory of values.

    Parameters
    ----------
    directory
        Says where; it is called when the first value is written.
    limit
        How many bytes may lie there, None for any number.
    codec
        What compresses them (`compression.codec`).
    discard
        Given the path of a file that nobody needs any more, in whatever thread its last user let it go, to have it
        removed in a better place; by default it is removed there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     disk = Disk(lambda: directory)
    ...     spilled = disk.write([1, 2, 3], nbytes=88)
    ...     spilled.load(), disk.used > 0
    ...     del spilled
    ([1, 2, 3], True)
    """

    def __init__(
        self,
        directory: Callable[[], str],
        limit: int | None = None,
        codec: Codec | None = None,
        discard: Callable[[str], None] | None = None,
    ) -> None:
        self.limit = limit
        self.codec = codec
        self._used = 0
        self._find_directory = directory
        self._directory = ""
        self._discard = remove if discard is None else discard
        self._numbers = itertools.count(1)
        self._closed = False
        self.written = Traffic()
        self.read = Traffic()
        self._lock = threading.Lock()
        self._given_back: deque[int] = deque()

    def __repr__(self) -> str:
        return f"<Disk {self._directory!r} used={self.used} limit={self.limit}>"

    @property
    def used(self) -> int:
        """Bytes on disk."""
        self._settle()
        return self._used

    @property
    def room(self) -> float:
        """How many bytes can be written, by the limit."""
        return inf if self.limit is None else max(0, self.limit - self.used)

    def write(self, value: object, nbytes: int) -> Spilled:
        """Write a value; ``nbytes`` is its size in memory.

        Raises
        ------
        PickleError
            It cannot be pickled.
        MaxSpillExceeded
            The limit does not leave so much room.
        OSError
            The disk is full, or broken.
        """
        blob = (
            value.blob if type(value) is Packed else payload.dumps(value, "a value that is to go to disk", borrow=True)
        )
        if type(blob) is Shared:
            blob = sharing.plain(blob)
        size = payload.nbytes(blob)
        if size > self.room:
            raise MaxSpillExceeded(f"{size} bytes do not fit into the {self.room:.0f} that are left of {self.limit}")
        parts = [blob] if type(blob) is bytes else [buffer.data for buffer in blob.frames]  # type: ignore[union-attr]
        since_s = time.perf_counter()
        path, fd = self._open()
        try:
            frames = tuple([_write(fd, memoryview(part).cast("B"), self.codec) for part in parts])
        except BaseException:
            os.close(fd)
            remove(path)
            raise
        os.close(fd)
        stored = sum([frame.stored for frame in frames])
        self._settle(stored)
        self.written.add(stored, since_s)
        return Spilled(self, path, frames, type(blob) is bytes, nbytes)

    def _open(self) -> tuple[str, int]:
        """Return the path and the descriptor of a new file."""
        with self._lock:  # so that none is made behind the back of who closes, and then removes the directory
            if self._closed:
                raise OSError(errno.ECANCELED, "the worker ends, and writes nothing more to disk")
            if not self._directory:
                directory = os.path.join(self._find_directory(), "spilled")
                os.makedirs(directory, mode=0o700, exist_ok=True)
                self._directory = directory
            path = os.path.join(self._directory, str(next(self._numbers)))
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)

    def close(self) -> None:
        """Write nothing more: the directory is about to go."""
        with self._lock:
            self._closed = True

    def let_go(self, path: str, stored: int) -> None:
        """Nobody needs a file any more. Called at the end of its marker, so it takes no lock."""
        self._given_back.append(stored)
        self._discard(path)

    def note_read(self, nbytes: int, since_s: float) -> None:
        """A value was read back, in any thread."""
        with self._lock:
            self.read.add(nbytes, since_s)

    def _settle(self, added: int = 0) -> None:
        with self._lock:
            self._used += added
            while self._given_back:
                self._used -= self._given_back.popleft()


class Spilled(Elsewhere):
    """Stands for a value on disk; made by `Disk.write`."""

    __slots__ = ("_disk", "_frames", "_is_plain", "path")

    def __init__(self, disk: Disk, path: str, frames: tuple[Frame, ...], is_plain: bool, nbytes: int) -> None:
        super().__init__(nbytes)
        self._disk = disk
        self._frames = frames
        self._is_plain = is_plain
        self.path = path

    def __repr__(self) -> str:
        return f"<Spilled {self.path} {self.stored} bytes>"

    def __del__(self) -> None:
        self._disk.let_go(self.path, self.stored)

    @property
    def stored(self) -> int:
        """How many bytes it takes on disk."""
        return sum([frame.stored for frame in self._frames])

    def load(self) -> object:
        """Read the value back."""
        return payload.loads(self.pack())  # into memory that is nobody else's: no further copy

    def pack(self) -> Blob:
        """Read the value as it travels, without unpickling it."""
        since_s = time.perf_counter()
        try:
            with open(self.path, "rb", buffering=0) as file:
                pieces = [_read(file, frame) for frame in self._frames]
        except (OSError, ValueError) as error:
            raise LostValueError(f"a value was written to {self.path}, and cannot be read back: {error}") from error
        self._disk.note_read(self.stored, since_s)
        if self._is_plain:
            return bytes(pieces[0])
        return Attached([Buffer(piece) for piece in pieces])  # type: ignore[arg-type]


def remove(path: str) -> None:
    """Remove a file; one that is gone, with its directory, is no loss."""
    try:
        os.unlink(path)
    except OSError:
        return


def is_full(error: OSError) -> bool:
    """Say whether an error means that a disk, or what is left of it for us, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _write(fd: int, data: memoryview, codec: Codec | None) -> Frame:
    if codec is None or not compression.pays(codec, data):
        for start in range(0, len(data), PIECE_BYTES):
            _write_all(fd, data[start : start + PIECE_BYTES])
        return Frame(len(data), len(data), None)
    stream = codec.compressor()
    stored = 0
    for start in range(0, len(data), PIECE_BYTES):
        stored += _write_all(fd, stream.compress(data[start : start + PIECE_BYTES]))
    stored += _write_all(fd, stream.flush())
    return Frame(len(data), stored, codec.name)


def _write_all(fd: int, data: bytes | memoryview) -> int:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
    return len(data)


def _read(file: FileIO, frame: Frame) -> bytearray | mmap.mmap:
    memory = own_memory(frame.size)
    view = memoryview(memory)
    if frame.codec is None:
        _read_into(file, view)
        return memory
    stream = compression.codec(frame.codec).decompressor()  # type: ignore[union-attr]
    left, end = frame.stored, 0
    while left:
        piece = file.read(min(left, PIECE_BYTES))
        if not piece:
            raise OSError("it ends too early")
        left -= len(piece)
        plain = stream.decompress(piece)
        view[end : end + len(plain)] = plain
        end += len(plain)
    if end != frame.size:
        raise OSError(f"it holds {end} bytes instead of {frame.size}")
    return memory


def _read_into(file: FileIO, view: memoryview) -> None:
    end = 0
    while end < len(view):
        count = file.readinto(view[end : end + PIECE_BYTES])
        if not count:
            raise OSError("it ends too early")
        end += count
