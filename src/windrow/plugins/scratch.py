"""A directory of one party's own, made when somebody first needs it.

What lives here: `Scratch`, and `new_path`, which says where such directories go. What this file must never know: whose
it is.
"""

from __future__ import annotations

import os
import sys
import threading

from windrow import config

__all__ = ["Scratch", "new_path"]


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
    return os.path.join(home, f"windrow-{what}-{os.urandom(16).hex()}")


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
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                os.mkdir(self._path, 0o700)
                if self._importable:
                    sys.path.insert(0, self._path)
                self._made = True
        return self._path

    def remove(self) -> None:
        """Delete it, with all that is in it."""
        with self._lock:
            if self._made:
                import shutil

                self._made = False
                shutil.rmtree(self._path, ignore_errors=True)
                if self._path in sys.path:
                    sys.path.remove(self._path)
