"""A directory of one party's own, made when somebody first needs it; and what dead parties have left behind.

What lives here: `Scratch`; `new_path`, which says where such directories go; `sweep`, which removes leavings. What this
file must never know: whose it is.

Whoever has a directory holds a lock on a file beside it, which the system lets go when the process ends, however that
ends. So a lock that can be had tells of a directory that nobody has any more.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from windrow import config

if TYPE_CHECKING:
    import asyncio

__all__ = ["Scratch", "discard", "new_path", "sweep"]

SPACE = "dask-scratch-space"
"""The folder of all these directories."""

LOCK = ".lock"
"""What follows a directory's name in that of its lock."""

SWEEP_S = 0.5
"""How much later than its start a party looks for what others have left behind: that is never in its way."""

_swept: set[str] = set()
"""Where this process has looked."""


def new_path(what: str, parent: str = "") -> str:
    """Return a path that nobody has: in ``parent``, else where ``temporary-directory`` says, else the system's place.

    Examples
    --------
    >>> "windrow-worker-" in new_path("worker")
    True
    """
    import tempfile

    configured = config.get("temporary-directory")
    home = parent or (str(configured) if configured else tempfile.gettempdir())
    return os.path.join(_space(os.path.abspath(home)), f"windrow-{what}-{os.urandom(16).hex()}")


def _space(home: str) -> str:
    """Return the folder for directories; where another user has taken the name, this user's own."""
    space = os.path.join(home, SPACE)
    if not hasattr(os, "getuid"):
        return space
    try:
        facts = os.lstat(space)
    except OSError:  # it is not there yet
        return space
    return space if facts.st_uid == os.getuid() else f"{space}-{os.getuid()}"


class Scratch:
    """A directory that is not there before `path` is asked for.

    Parameters
    ----------
    path
        Where it will be; nobody else has it.
    importable
        Put it on ``sys.path``, in front.

    Examples
    --------
    >>> scratch = Scratch(new_path("example"))
    >>> os.path.isdir(scratch.path)
    True
    >>> scratch.remove()
    """

    def __init__(self, path: str, importable: bool = False) -> None:
        self._path = path
        self._importable = importable
        self._made = False
        self._held: int | None = None
        self._lock = threading.Lock()

    @property
    def planned(self) -> str:
        """Where it is, or will be."""
        return self._path

    @property
    def path(self) -> str:
        """Where it is, from now on."""
        with self._lock:
            if not self._made:
                self._held = _make(self._path)
                if self._importable:
                    sys.path.insert(0, self._path)
                self._made = True
        return self._path

    def remove(self) -> None:
        """Delete it, with all that is in it."""
        with self._lock:
            if self._made:
                self._made = False
                discard(self._path)
                if self._held is not None:
                    os.close(self._held)
                    self._held = None
                with contextlib.suppress(OSError):  # others are in the folder
                    os.rmdir(os.path.dirname(self._path))
                if self._path in sys.path:
                    sys.path.remove(self._path)

    def sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have what dead parties have left in the same folder removed, in a thread, once in the life of a process."""
        space = os.path.dirname(self._path)
        if space not in _swept:
            _swept.add(space)
            loop.call_later(SWEEP_S, _sweep_in_thread, space)


def _make(path: str) -> int | None:
    """Make a directory, and return the lock on it; None where that is not to be had."""
    space = os.path.dirname(path)
    while True:
        os.makedirs(space, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:  # the folder was empty, and somebody has removed it
            continue
        return _hold(path)


def _hold(path: str) -> int | None:
    """Make the lock of a directory; it appears locked."""
    if not config.get("distributed.worker.use-file-locking"):
        return None
    draft = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}-draft")
    held = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _lock(held):
        os.close(held)
        os.unlink(draft)
        return None
    os.rename(draft, path + LOCK)
    return held


def discard(path: str) -> None:
    """Delete a directory, with all that is in it, and its lock; harmless where they are gone.

    Examples
    --------
    >>> discard("/no/such/directory")
    """
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path + LOCK)


def _lock(descriptor: int) -> bool:
    """Take the lock of a file; False where somebody has it, or there are no such locks."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody has it, or this file system knows no locks
        return False
    return True


def _sweep_in_thread(space: str) -> None:
    with contextlib.suppress(RuntimeError):  # no thread is to be had: the next party's process will sweep
        threading.Thread(target=sweep, args=(space,), name="windrow-sweep", daemon=True).start()


def sweep(space: str) -> list[str]:
    """Remove the directories of dead parties from a folder; return their paths.

    Examples
    --------
    >>> sweep("/no/such/folder")
    []
    """
    try:
        names = [name.removesuffix(LOCK) for name in os.listdir(space) if name.endswith(LOCK)]
    except OSError:  # there is no such folder
        return []
    return [path for name in names if _remove_if_left(path := os.path.join(space, name))]


def _remove_if_left(path: str) -> bool:
    try:
        descriptor = os.open(path + LOCK, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # it was removed just now, or is another user's
        return False
    try:
        if not _lock(descriptor):
            return False
        discard(path)
        return True
    finally:
        os.close(descriptor)
