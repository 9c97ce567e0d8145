"""What this machine, or the container that we are in, gives us: processors and memory, and how to share them out.

What lives here: `cpu_count`, `memory_limit_bytes`, and the two rules that turn them into workers. What this file must
never know: clusters, workers, configuration.

Files are read under a root path that is given, so that tests can show any machine.
"""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.config import parse_bytes

if TYPE_CHECKING:
    import logging

__all__ = [
    "cpu_count",
    "memory_limit_bytes",
    "nprocesses_nthreads",
    "oom_kills",
    "parse_memory_limit",
    "total_memory_bytes",
]

_NO_LIMIT_BYTES = 2**60
"""Kernels write "no limit" as some number about 2**63; none beyond this is a real one."""


def cpu_count(root: str | Path = "/", *, allowed: int | None = None) -> int:
    """Return how many processors this process may use: by affinity, and its control group's set and quota, rounded up.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    allowed
        The count by affinity, instead of asking the system.

    Examples
    --------
    >>> cpu_count() >= 1
    True
    """
    if allowed is None:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _cpu_quotas(Path(root))]
    return max(1, min([allowed, *quotas, *_cpu_sets(Path(root))]))


def memory_limit_bytes(root: str | Path = "/", *, total_bytes: int | None = None) -> int:
    """Return how much memory this process may use: the machine's, or less by control group or resource limit.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.
    total_bytes
        The machine's memory, instead of asking the system.

    Examples
    --------
    >>> memory_limit_bytes() > 0
    True
    """
    limits = [total_memory_bytes() if total_bytes is None else total_bytes]
    limits += _memory_limits(Path(root))
    if total_bytes is None:
        limits += _resource_limits()
    return min(limits)


def oom_kills(root: str | Path = "/") -> int | None:
    """Return how many processes of our control group the kernel has ended for want of memory; None if nothing says.

    Where the group has no such count (it is the outermost, or there is none), that of the whole machine.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.

    Examples
    --------
    >>> (oom_kills() or 0) >= 0
    True
    """
    root = Path(root)
    places = [directory / "memory.events" for directory in reversed(_unified_directories(root))]
    places += [directory / "memory.oom_control" for directory in reversed(_group_directories(root, "memory", "memory"))]
    for path in (*places, root / "proc/vmstat"):
        for line in _read(path).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return None


def total_memory_bytes() -> int:
    """Return the machine's memory.

    Examples
    --------
    >>> total_memory_bytes() > 2**20
    True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system, or one without these names
        import psutil

        return int(psutil.virtual_memory().total)


def nprocesses_nthreads(n: int | None = None) -> tuple[int, int]:
    """Return how many processes of how many threads use ``n`` processors (default: all) well.

    A process a processor up to four; beyond, the least divisor of ``n`` that is not below its root, so that there
    are somewhat more processes than threads in each.

    Examples
    --------
    >>> nprocesses_nthreads(4), nprocesses_nthreads(12), nprocesses_nthreads(7)
    ((4, 1), (4, 3), (7, 1))
    """
    if n is None:
        n = cpu_count()
    if n < 1:
        raise ValueError(f"n counts processors and is at least 1, not {n}")
    if n <= 4:
        return n, 1
    processes = next(count for count in range(math.isqrt(n - 1) + 1, n + 1) if n % count == 0)
    return processes, n // processes


def parse_memory_limit(
    memory_limit: float | str | None,
    nthreads: int,
    total_cores: int | None = None,
    *,
    system_bytes: int | None = None,
    logger: logging.Logger | None = None,
) -> int | None:
    """Return a worker's memory limit in bytes, or None for no limit.

    Parameters
    ----------
    memory_limit
        None or 0: no limit; ``"auto"``: a share by threads; up to 1: this fraction of the system's memory; any other
        number or ``"4 GB"``: bytes.
    nthreads
        The worker's threads.
    total_cores
        Processors here, for ``"auto"``; None: `cpu_count`.
    system_bytes
        Memory here; None: `memory_limit_bytes`.
    logger
        Told when the limit is above the system's memory, to which it is then cut down.

    Examples
    --------
    >>> parse_memory_limit("auto", 1, 4, system_bytes=8000), parse_memory_limit(0.5, 1, system_bytes=8000)
    (2000, 4000)
    """
    if memory_limit is None:
        return None
    if system_bytes is None:
        system_bytes = memory_limit_bytes()
    if memory_limit == "auto":
        return int(system_bytes * min(1.0, nthreads / (total_cores or cpu_count())))
    amount = _number(memory_limit)
    if amount < 0 or math.isnan(amount):
        raise ValueError(f"memory_limit is {memory_limit!r}; it cannot be negative (0 or None: no limit)")
    if amount == 0:
        return None
    limit_bytes = int(amount * system_bytes) if amount <= 1 else int(min(amount, 2.0**62))
    if limit_bytes > system_bytes:
        if logger is not None:
            logger.warning(
                "memory_limit=%r is more than the %d bytes of this system; that much is the limit now",
                memory_limit,
                system_bytes,
            )
        return system_bytes
    return limit_bytes


PROCESS_BYTES_MIN = 16 * 2**20
"""No interpreter with a worker in it is smaller."""


def check_room(memory_limit: object, limit_bytes: int | None) -> None:
    """Refuse a limit under which no worker's process can start: each would be ended, and started again.

    Parameters
    ----------
    memory_limit
        As it was given, for the error.
    limit_bytes
        What that means; None or 0: no limit.

    Raises
    ------
    ValueError
        It is too small.

    Examples
    --------
    >>> check_room("1 kB", 1000)
    Traceback (most recent call last):
    ValueError: memory_limit='1 kB' is 1000 bytes, and a worker's process alone takes more than 16 MiB: give bytes \
such as '4 GiB', a fraction of the machine's memory such as 0.25, or 0 for no limit
    """
    if limit_bytes and limit_bytes < PROCESS_BYTES_MIN:
        raise ValueError(
            f"memory_limit={memory_limit!r} is {limit_bytes} bytes, and a worker's process alone takes more than "
            f"{PROCESS_BYTES_MIN >> 20} MiB: give bytes such as '4 GiB', a fraction of the machine's memory such as "
            "0.25, or 0 for no limit"
        )


def _number(memory_limit: float | str) -> float:
    """Return a number as it is written, so that the text "0.5" is a fraction too; else a size in bytes."""
    if isinstance(memory_limit, bool) or not isinstance(memory_limit, (int, float, str)):
        raise TypeError(
            f"memory_limit is a number, a str such as '4 GB' or 'auto', or None; not {type(memory_limit).__name__}"
        )
    try:
        return float(memory_limit)
    except ValueError:
        return float(parse_bytes(memory_limit))


# ---------------------------------------------------------------- control groups and resource limits


_CPU_TREES = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Names under which version 1 has its tree of quotas."""


def _cpu_quotas(root: Path) -> list[float]:
    """Return the quotas that apply, in processors."""
    quotas = []
    for directory in _unified_directories(root):
        quota, _, period = _read(directory / "cpu.max").partition(" ")
        quotas += _ratio(quota, period)
    for tree in _CPU_TREES:
        for directory in _group_directories(root, "cpu", tree):
            quotas += _ratio(_read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us"))
    return quotas


def _cpu_sets(root: Path) -> list[int]:
    """Return how many processors the sets that apply have, where they say."""
    texts = [_read(directory / "cpuset.cpus.effective") for directory in _unified_directories(root)]
    for directory in _group_directories(root, "cpuset", "cpuset"):
        texts += [_read(directory / "cpuset.effective_cpus") or _read(directory / "cpuset.cpus")]
    return [count for text in texts if (count := _set_size(text))]


def _set_size(text: str) -> int:
    """Return how many numbers a list such as ``0-3,8`` has; 0 for what is none."""
    count = 0
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        try:
            count += int(last or first) - int(first) + 1
        except ValueError:
            return 0
    return count


def _ratio(quota: str, period: str) -> list[float]:
    try:
        ratio = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return []
    return [ratio] if ratio > 0 else []  # -1: no quota


def _memory_limits(root: Path) -> list[int]:
    files = [directory / name for directory in _unified_directories(root) for name in ("memory.max", "memory.high")]
    files += [directory / "memory.limit_in_bytes" for directory in _group_directories(root, "memory", "memory")]
    texts = [_read(path) for path in files]
    limits = [int(text) for text in texts if text.isdigit()]  # "max": no limit
    return [limit for limit in limits if 0 < limit < _NO_LIMIT_BYTES]


def _unified_directories(root: Path) -> list[Path]:
    """Return the directories of version 2, which a machine with both versions has a place of its own for."""
    return [*_group_directories(root, "", ""), *_group_directories(root, "", "unified")]


def _group_directories(root: Path, controller: str, tree: str) -> list[Path]:
    """Return the directories of our control group and all above it; ``""`` is the one group of version 2.

    In a container the path may be seen from outside, and not exist inside: then the top is what there is.
    """
    base = root / "sys/fs/cgroup" / tree
    own = _own_groups(root).get(controller, "/")
    parts = [part for part in own.split("/") if part not in {"", ".", ".."}]
    return [base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _own_groups(root: Path) -> dict[str, str]:
    """Return our group's path for each controller, by ``/proc/self/cgroup``."""
    groups = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            groups.update(dict.fromkeys(fields[1].split(","), fields[2]))
    return groups


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such tree on this machine
        return ""


@functools.cache
def _resource_limits() -> list[int]:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return []
    found = []
    for name in ("RLIMIT_RSS", "RLIMIT_AS"):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY and soft > 0:
            found.append(soft)
    return found


# ---------------------------------------------------------------- this process, as others on this machine see it


OPEN_FILES = 65536
"""So many descriptors are enough for a process of a cluster."""


def raise_open_files() -> None:
    """Let this process have as many descriptors open as it may, within reason: links and segments take one each.

    The limit that a user's shell gives is often 1,024, for the sake of programs that use ``select``.
    """
    try:
        import resource
    except ImportError:  # not a POSIX system, and no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shared_bytes(pid: int | str = "self") -> int:
    """Return how much memory that it shares with others a process has mapped, and used; 0 where that is not known.

    Examples
    --------
    >>> shared_bytes() >= 0
    True
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"RssShmem:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux, or it has ended
        pass
    return 0


def bytes_of_process(resident: int, shared: int, held: int, viewed: int) -> int:
    """Return what a process takes up, with segments of memory that it has, or reads, counted once each.

    Parameters
    ----------
    resident, shared
        What the system says: in memory, and of this, what is shared. It counts a segment as often as it is mapped, and
        not at all where it is not.
    held
        The size of those segments.
    viewed
        The size of all mappings of them.

    Examples
    --------
    >>> bytes_of_process(100, 60, 30, 60), bytes_of_process(100, 0, 30, 0), bytes_of_process(100, 10, 0, 0)
    (70, 130, 100)
    """
    return resident - min(shared, viewed) + held


def process_mark(pid: int) -> str:
    """Return what tells a process of this machine from all others, here and elsewhere; "" where the system cannot.

    Examples
    --------
    >>> has_ended(process_mark(os.getpid()))
    False
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {_started(pid)}"
    except (OSError, ValueError, IndexError):
        return ""


@functools.cache
def _own_mark(pid: int) -> str:
    return process_mark(pid)


def _started(pid: int) -> str:
    """When a process was started, in the system's ticks; "" for one that has ended, and waits to be reaped."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def has_ended(mark: str) -> bool:
    """Say whether a process has ended for sure; of one that is not on this machine nothing is known.

    Examples
    --------
    >>> has_ended("of another machine")
    False
    """
    own = _own_mark(os.getpid()).split()
    parts = mark.split()
    if len(parts) != 4 or parts[:2] != own[:2]:
        return False
    try:
        return _started(int(parts[2])) != parts[3]
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (OSError, ValueError, IndexError):
        return False
