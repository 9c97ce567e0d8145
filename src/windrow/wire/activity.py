"""What a thread of a worker may be doing, as it is recorded: the kinds of rows of a task stream.

What lives here: the kinds, by number and by name. What this file must never know: who notes them, how they are drawn.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ACTIONS", "COMPUTE", "DESERIALIZE", "DISK_READ", "DISK_WRITE", "ERRED", "TRANSFER"]

COMPUTE: Final = 0
ERRED: Final = 1
TRANSFER: Final = 2
DISK_READ: Final = 3
DISK_WRITE: Final = 4
DESERIALIZE: Final = 5

ACTIONS: Final = ("compute", "compute", "transfer", "disk-read", "disk-write", "deserialize")
"""What each kind is called; an attempt that has raised has computed, too."""
