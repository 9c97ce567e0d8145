"""Anonymous memory that other processes of this host can map: made, looked up through ``/proc``, checked, mapped.

What lives here: the calls to the system, `host_token`, `View`s, `Borrowed`. What this file must never know: what is in
the memory, who offers it to whom, and when it is used again (`segments`).

A segment is a ``memfd``: it has no name in any file system, so that nothing of it outlives the processes that have it
open or mapped, however they end. A reader opens it as ``/proc/<pid>/fd/<n>`` of its owner, which the system allows to
the same user, and maps it privately: what is written to such a view stays with its process, page by page.

The first page is the header: a magic number, and the *generation*, which counts how often the segment was filled. Who
reads holds a shared lock (``flock``) on a file description of its own, which its mappings keep alive after it is
closed; who fills it again takes the exclusive one, which the system refuses while any reader lives. So a reader that
has the lock and has found the generation that it was offered has the data, for as long as it wants.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from typing import ClassVar

__all__ = ["HEADER_BYTES", "Borrowed", "SegmentError", "View", "attach", "create", "host_token", "offsets"]

HEADER_BYTES = 4096
"""What is before the data: a page of its own."""

ALIGN_BYTES = 64
"""Buffers begin at multiples of this,"""

LARGE_BYTES = 64 * 1024
"""and those of at least this size at pages: an array is 16 bytes into one, as a rule, and to copy it to where is a
little further in one takes processors four times as long."""

PAGE_BYTES = 4096

HUGE_BYTES = 2 * 2**20
"""The size of a huge page; segments of at least this are made of such where the system lets us."""

LEASES_MAX = 4096
"""So many segments of others may be held at a time, and no more than a quarter of the descriptors that may be open."""

_HEADER = struct.Struct("<8sQ")
_MAGIC = b"windrow\x02"
_NAME = "windrow"

_PROT_NONE, _PROT_READ_WRITE = 0, 3
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 0x01, 0x02, 0x10, 0x20, 0x4000
_MADV_COLLAPSE = 25
_FAILED = ctypes.c_void_p(-1).value


class SegmentError(OSError):
    """A segment is not to be had (any more): whoever was offered it asks for the plain bytes."""


# ---------------------------------------------------------------- what is in use, for the account of memory


class Tally:
    """A sum that any thread may add to, even at the end of an object, where no lock may be waited for.

    ``mirror`` is told the sum when it changes.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add(5)
    >>> tally.add(-2)
    >>> tally.total()
    3
    """

    def __init__(self) -> None:
        self._sum = 0
        self._changes: deque[int] = deque()
        self._lock = threading.Lock()
        self.mirror: Callable[[int], None] | None = None

    def add(self, change: int) -> None:
        """Take down a change."""
        self._changes.append(change)
        if self._lock.acquire(blocking=False):  # else who has it settles this too, or the next change does
            try:
                self._settle()
            finally:
                self._lock.release()

    def total(self) -> int:
        """Return the sum."""
        with self._lock:
            self._settle()
            return self._sum

    def _settle(self) -> None:
        changes = self._changes
        while changes:  # others only append
            self._sum += changes.popleft()
        if self.mirror is not None:
            self.mirror(self._sum)


viewed = Tally()
"""Bytes of all views that are mapped now; several of one segment count as often."""
held = Tally()
"""Bytes of all segments that this process has, its own and others', each once."""
leases = Tally()
"""How many segments of others are held."""


def _after_fork() -> None:
    for tally in (viewed, held, leases):  # another thread of the parent may have held a lock
        tally._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# ---------------------------------------------------------------- the host


@cache
def _own_device() -> int:
    """Return the device that all memory of this kind has, 0 where there is none."""
    if not sys.platform.startswith("linux") or not hasattr(os, "memfd_create"):
        return 0
    try:
        fd = os.memfd_create(_NAME, os.MFD_CLOEXEC)
    except OSError:  # forbidden here
        return 0
    try:
        device = os.fstat(fd).st_dev
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:  # no /proc
        return 0
    finally:
        os.close(fd)
    return device


def host_token() -> str:
    """Return what processes have in common that can open each other's segments; "" where there is no such thing.

    It says: the same boot of the same machine, the same view of process ids, the same user.

    Examples
    --------
    >>> host_token() == host_token()
    True
    """
    return _token(os.getpid())


@cache
def _token(pid: int) -> str:
    if not _own_device():
        return ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        spaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "user")]
        shown = os.readlink("/proc/self")
    except OSError:  # not to be seen from in here
        return ""
    if shown != str(pid):  # this /proc is of other process ids than ours
        return ""
    return blake2b(f"{boot} {spaces} {os.geteuid()}".encode(), digest_size=12).hexdigest()


# ---------------------------------------------------------------- making


def create(capacity_bytes: int) -> int:
    """Return the descriptor of a new segment, of this size for good: no mapping of it can ever lose its end."""
    import fcntl

    fd = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, capacity_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def lock_for_writing(fd: int) -> bool:
    """Take the exclusive lock of a segment, unless anybody reads it."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Let readers in."""
    import fcntl

    fcntl.flock(fd, fcntl.LOCK_UN)


def write_header(fd: int, generation: int) -> None:
    """Say which generation it is."""
    os.pwrite(fd, _HEADER.pack(_MAGIC, generation), 0)


def offsets(lengths: Sequence[int]) -> tuple[list[int], int]:
    """Return where buffers of these lengths lie in a segment, and the size of all with the header.

    Examples
    --------
    >>> offsets([10, 0, 100])
    ([4096, 4160, 4160], 4260)
    >>> offsets([10, 100_000])
    ([4096, 8192], 108192)
    """
    found = []
    end = HEADER_BYTES
    for length in lengths:
        align = ALIGN_BYTES if length < LARGE_BYTES else PAGE_BYTES
        start = -(-end // align) * align
        found.append(start)
        end = start + length
    return found, end


# ---------------------------------------------------------------- mapping


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _mmap(address: int | None, size: int, protection: int, flags: int, fd: int) -> int:
    found = _libc().mmap(address, size, protection, flags, fd, 0)
    if found == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(found)


def _map_aligned(fd: int, size: int, flags: int) -> int:
    """Map from the beginning of a segment on; a large one at a multiple of `HUGE_BYTES`, as huge pages want it."""
    if size < HUGE_BYTES:
        return _mmap(None, size, _PROT_READ_WRITE, flags, fd)
    whole = -(-size // HUGE_BYTES) * HUGE_BYTES
    base = _mmap(None, whole + HUGE_BYTES, _PROT_NONE, _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE, -1)
    address = -(-base // HUGE_BYTES) * HUGE_BYTES
    libc = _libc()
    try:
        _mmap(address, size, _PROT_READ_WRITE, flags | _MAP_FIXED, fd)
    except BaseException:
        libc.munmap(base, whole + HUGE_BYTES)
        raise
    page = -(-size // PAGE_BYTES) * PAGE_BYTES
    for start, end in ((base, address), (address + page, base + whole + HUGE_BYTES)):
        if end > start:
            libc.munmap(start, end - start)
    return address


def _unmap(address: int, size: int, is_counted: bool) -> None:
    _libc().munmap(address, size)
    if is_counted:
        viewed.add(-size)


class _Buffer(ctypes.Structure):
    """``Py_buffer``: the way to the address of memory that is not to be written to, which `ctypes` has no other of."""

    _fields_: ClassVar = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


class View:
    """A mapping of a segment: memory that lasts as long as any object that refers to it.

    Parameters
    ----------
    fd
        The segment; it may be closed afterwards.
    size
        How much of it, from its beginning.
    is_private
        Whether what is written stays here; else it goes to the segment.
    """

    __slots__ = ("address", "data", "size")

    def __init__(self, fd: int, size: int, is_private: bool = True) -> None:
        self.size = size
        self.address = _map_aligned(fd, size, _MAP_PRIVATE if is_private else _MAP_SHARED)
        memory = (ctypes.c_ubyte * size).from_address(self.address)
        end = weakref.finalize(memory, _unmap, self.address, size, is_private)
        end.atexit = False
        if is_private:
            viewed.add(size)
        self.data = memoryview(memory).cast("B")

    def parts(self, lengths: Sequence[int]) -> list[memoryview]:
        """Return the buffers of these lengths that lie in it."""
        data = self.data
        return [data[start : start + length] for start, length in zip(offsets(lengths)[0], lengths, strict=True)]

    def collapse(self, start: int, end: int) -> bool:
        """Have a part (whole huge pages, each of which must hold something) consist of such; say whether it does."""
        return bool(_libc().madvise(self.address + start, end - start, _MADV_COLLAPSE) == 0)

    def put(self, part: memoryview, start: int) -> None:
        """Copy a buffer (contiguous) into it; meanwhile other threads may run."""
        assert 0 <= start <= start + part.nbytes <= self.size, "a buffer reaches over the end of a mapping"
        if part.nbytes:
            buffer = _Buffer()
            ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(part), ctypes.byref(buffer), 0)  # raises by itself
            try:
                ctypes.memmove(self.address + start, buffer.buf, part.nbytes)
            finally:
                ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


# ---------------------------------------------------------------- reading


class Borrowed:
    """Another's segment, held so that it stays as it is; made by `attach`.

    Parameters
    ----------
    fd
        A file description of its own, with the shared lock; it is this object's from here on.
    size
        How much of it is of interest.
    """

    __slots__ = ("_fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        held.add(size)
        leases.add(1)

    def __repr__(self) -> str:
        return f"<Borrowed {self.size} bytes>"

    def __del__(self) -> None:
        os.close(self._fd)
        held.add(-self.size)
        leases.add(-1)

    def view(self) -> View:
        """Map it."""
        return View(self._fd, self.size)


def attach(pid: int, fd: int, inode: int, generation: int, size: int) -> Borrowed:
    """Open a segment of another process, or of this one, and hold it.

    Nothing but memory that a process of this user has made for this purpose is ever opened, whatever the numbers say.

    Raises
    ------
    SegmentError
        It is gone, or holds something else by now, or cannot be opened here.
    """
    if leases.total() >= _leases_max():
        raise SegmentError(errno.EMFILE, "this process holds as many segments as it may")
    try:
        seen = os.open(f"/proc/{pid:d}/fd/{fd:d}", os.O_PATH | os.O_CLOEXEC)  # which has no effect on what it is
        try:
            _check(seen, inode, size)
            own = os.open(f"/proc/self/fd/{seen:d}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(seen)
        return hold(own, generation, size)
    except SegmentError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        raise SegmentError(
            getattr(error, "errno", None) or errno.EINVAL, f"a segment cannot be opened: {error}"
        ) from None


def hold(fd: int, generation: int, size: int) -> Borrowed:
    """Take the shared lock of a segment that is open, and hold it; it is closed if that fails."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if _HEADER.unpack(os.pread(fd, _HEADER.size, 0)) != (_MAGIC, generation):
            raise SegmentError(errno.ESTALE, "a segment holds something else by now")
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise SegmentError(errno.EPERM, "a segment is not sealed: its end might go")
    except struct.error:
        os.close(fd)
        raise SegmentError(errno.EINVAL, "a segment has no header") from None
    except BlockingIOError:
        os.close(fd)
        raise SegmentError(errno.ESTALE, "a segment is being filled with something else") from None
    except BaseException:
        os.close(fd)
        raise
    return Borrowed(fd, size)


def _check(fd: int, inode: int, size: int) -> None:
    found = os.fstat(fd)
    if (
        not stat.S_ISREG(found.st_mode)
        or found.st_dev != _own_device()
        or found.st_nlink
        or found.st_uid != os.geteuid()
        or found.st_ino != inode
    ):
        raise SegmentError(errno.ESTALE, "what was offered as a segment is something else")
    if not HEADER_BYTES <= size <= found.st_size:
        raise SegmentError(errno.EINVAL, f"a segment of {found.st_size} bytes does not hold {size}")


@cache
def _leases_max() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return LEASES_MAX if soft == resource.RLIM_INFINITY else min(LEASES_MAX, soft // 4)
