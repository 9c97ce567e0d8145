"""What a worker's process costs in memory, seen from outside of it; and whether the kernel has ended it for that.

What lives here: `Gauge` and `OomKills`. What this file must never know: what is done about it.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from windrow import system

__all__ = ["Gauge", "OomKills", "kernel", "own_peak_bytes"]

LOOK_S = 1.0
"""A process that the kernel has ended is accounted for sooner than this."""


class Gauge:
    """Reads how much memory a process has resident, at 3 us a reading on Linux.

    Parameters
    ----------
    pid
        A process that has not been waited for yet.

    Examples
    --------
    >>> gauge = Gauge(os.getpid())
    >>> gauge.resident_bytes() > 2**20
    True
    >>> gauge.close()
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        try:
            self._fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
        except OSError:  # not Linux, or no room for one more file
            self._fd = -1

    def resident_bytes(self, held: int = 0, viewed: int = 0) -> int:
        """Return it; 0 when the process has ended.

        Parameters
        ----------
        held, viewed
            What it says of its segments of shared memory (see `system.bytes_of_process`).
        """
        if self._fd < 0:
            return self._by_psutil()
        try:
            resident = int(os.pread(self._fd, 128, 0).split()[1]) * self._page_bytes
        except (ProcessLookupError, IndexError):
            return 0
        if not held and not viewed:
            return resident
        return system.bytes_of_process(resident, system.shared_bytes(self._pid), held, viewed)

    def _by_psutil(self) -> int:
        import psutil

        try:
            return int(psutil.Process(self._pid).memory_info().rss)
        except psutil.Error:
            return 0

    def close(self) -> None:
        """Read no more; again is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class OomKills:
    """The kernel's count of processes that it has ended for want of memory, where each is put down to one death.

    All nannies of a process share one, as they and their workers share a control group.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.

    Examples
    --------
    >>> kernel = OomKills("/no/such/root")
    >>> kernel.look()
    >>> kernel.claim() is None
    True
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._root = root
        self._settled: int | None = None
        """So many are accounted for, or were none of ours."""
        self._seen: int | None = None
        self._next_s = 0.0

    def look(self) -> None:
        """Take note of the count, to be called from time to time: one that nobody claims was no worker of ours."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + LOOK_S
        count = system.oom_kills(self._root)
        self._settled = count if self._seen is None else max(self._seen, self._settled or 0)
        self._seen = count

    def claim(self) -> int | None:
        """Return 1 if the kernel may have ended the process whose death is being accounted for, 0 if not."""
        count = system.oom_kills(self._root)
        if count is None or self._settled is None:
            return None
        if count <= self._settled:
            return 0
        self._settled += 1
        return 1


kernel = OomKills()
"""What all nannies of this process share."""


def own_peak_bytes() -> int:
    """Return the most memory that this program has had: what a child's peak begins with.

    ``ru_maxrss`` would include that of whoever started this program.

    Examples
    --------
    >>> own_peak_bytes() > 2**20
    True
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # no such file, or in another form: not Linux
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
