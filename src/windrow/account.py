"""The account of a worker's end: what is known of it, and how that is told.

What lives here: `Account`, its facts, and the words that are made of them. What this file must never know: how a fact
is found out.

A nanny knows how the process ended, the scheduler who it was and what it was running; the client shows both.
"""

from __future__ import annotations

import enum
import signal

from msgspec import Struct

from windrow.keys import Key

__all__ = ["Account", "Cause", "size"]

MIB = 2**20

TASKS_SHOWN = 8
"""So many of the tasks that were running are named."""


class Cause(enum.StrEnum):
    """What a worker's end is put down to."""

    limit = "its memory limit"
    out_of_memory = "the kernel's out-of-memory killer"
    kill = "SIGKILL from outside"
    crash = "a crash in native code"
    abort = "an abort"
    asked = "a request to end"
    signal = "a signal"
    exit = "an exit"
    exception = "an exception at the start"
    told = "what is said of it"
    left = "the worker itself"


_CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")
_REQUESTS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")

_MEANINGS = {
    Cause.limit: (
        "What it held and what its tasks needed was more than it may have, and its nanny ended it before the machine "
        "ran out of memory."
    ),
    Cause.out_of_memory: (
        "The machine, or the container it runs in, had no memory left, and the kernel chose this process to end."
    ),
    Cause.kill: "Something outside of the cluster has sent SIGKILL, which no process survives.",
    Cause.crash: "Native code (an extension module, a C library, ctypes) has broken the process.",
    Cause.abort: (
        "The process has ended itself: a failed check in a C library, or an error that the interpreter cannot survive."
    ),
    Cause.asked: "Something outside of the cluster has asked the process to end.",
    Cause.signal: "A signal that nobody was there to handle has ended the process.",
    Cause.exit: "Something in the process has ended it (os._exit, or a C library's exit) instead of raising.",
    Cause.exception: "It could not start, and each further attempt would fail in the same way.",
    Cause.told: "Nobody has seen how its process ended.",
    Cause.left: "The worker has ended itself, for the reason that it gives.",
}

_ADVICE = {
    Cause.limit: (
        "Let each task work on a smaller piece, give workers more memory (memory_limit=), or have them run fewer tasks "
        "at a time (threads_per_worker=)"
    ),
    Cause.out_of_memory: (
        "Have fewer workers, or give them a memory_limit whose sum is below what there is; or give the machine or "
        "container more"
    ),
    Cause.kill: (
        "Look who may have done it: a batch system at a job's limit, a service manager, a person; where the kernel's "
        "counters cannot be read, 'dmesg' says whether it was out of memory"
    ),
    Cause.crash: (
        "Look at the innermost frames of the stack for the library; run the task alone in a process of its own "
        "(python -X faulthandler); if it only crashes beside others, try threads_per_worker=1"
    ),
    Cause.abort: "Look at the last lines of stderr for the library's own words, and run the task alone in a process",
    Cause.asked: "Look who may have done it: a batch system that takes its machines back, a service manager, a person",
    Cause.signal: "Look what sends it: 'man 7 signal' says what it means",
    Cause.exit: "Raise an exception in the task instead, or run what ends the process in a process of its own",
    Cause.exception: "Mend what it names",
    Cause.told: "Look at the log of its machine; under a nanny the next such end would be accounted for",
    Cause.left: "Look at that reason, and at the scheduler's log",
}


class Account(Struct, frozen=True, array_like=True):
    """What is known of a worker's end.

    Examples
    --------
    >>> account = Account(exit_code=-11, seconds=2.0, peak_bytes=80 * 2**20, name=3, pid=77, tasks=("crash-1",))
    >>> print(account)
    worker 3 (pid 77): was killed by SIGSEGV after 2.0 s (peak memory 80 MiB)
        it was running 'crash-1'
    >>> account.cause is Cause.crash
    True
    """

    said: str = ""
    """Its end in words, where there is no more to tell; or with an exit code, why the worker has ended itself."""
    exit_code: int | None = None
    """As `subprocess.Popen.returncode`: negative for a signal."""
    seconds: float = 0.0
    peak_bytes: int = 0
    """The most memory that it is known to have had."""
    limit_bytes: int = 0
    over_bytes: int = 0
    """What it had when its nanny ended it for that; 0: it did not."""
    terminate: float = 0.0
    """The part of the limit beyond which nannies do so."""
    oom_kills: int | None = None
    """Processes that the kernel ended meanwhile, out of memory, in its control group; None: that cannot be read."""
    last_lines: tuple[str, ...] = ()
    """Of its stderr, without what follows."""
    fatal: str = ""
    """The interpreter's words on a crash."""
    stack: tuple[str, ...] = ()
    """The frames of the thread at fault, the innermost first."""
    raised: str = ""
    """The exception that it could not start for."""
    name: str | int = ""
    address: str = ""
    pid: int = 0
    host: str = ""
    tasks: tuple[Key, ...] = ()
    """What it was running."""

    @property
    def signal_name(self) -> str:
        """The signal that ended it, "" if none did."""
        if self.exit_code is None or self.exit_code >= 0:
            return ""
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:  # a real-time signal has no name
            return f"signal {-self.exit_code}"

    @property
    def cause(self) -> Cause:
        """What it is put down to."""
        name = self.signal_name
        if self.raised:
            return Cause.exception
        if self.exit_code is None:
            return Cause.told
        if self.over_bytes:
            return Cause.limit
        if self.said:
            return Cause.left
        if name == "SIGKILL":
            return Cause.out_of_memory if self.oom_kills else Cause.kill
        if name == "SIGABRT":
            return Cause.abort
        if name in _CRASHES:
            return Cause.crash
        return Cause.asked if name in _REQUESTS else Cause.signal if name else Cause.exit

    @property
    def end(self) -> str:
        """How it ended, in a few words."""
        if self.raised or self.exit_code is None:
            return f"raised {self.raised}" if self.raised else self.said
        name, cause = self.signal_name, self.cause
        how = f"was killed by {name}" if name else f"exited with code {self.exit_code}"
        why = ""
        if cause is Cause.limit:
            how = "was ended by its nanny"
            why = f": it had {size(self.over_bytes)}, above {self.terminate:.0%} of its memory limit"
        elif cause is Cause.out_of_memory:
            why = ", by the kernel, which was out of memory"
        elif cause is Cause.left:
            how, why = "has ended", f": {self.said}"
        elif cause is Cause.kill and self.oom_kills == 0:
            why = ", and not by the kernel for want of memory"
        of = f" of {size(self.limit_bytes)}" if self.limit_bytes else ""
        return f"{how} after {self.seconds:.1f} s (peak memory {size(self.peak_bytes)}{of}){why}"

    @property
    def sentence(self) -> str:
        """Who it was, and how it ended."""
        return f"worker {self.name!r} (pid {self.pid}): {self.end}"

    @property
    def words(self) -> str:
        """Its last words in one line, to follow `end`."""
        lines = [*self.last_lines, *([self.fatal] if self.fatal else []), *self.stack]
        return f"; its last words: {' | '.join(line.strip() for line in lines)}" if lines else ""

    @property
    def details(self) -> str:
        """What was running, the stack and the last lines: a line each, indented; "" if nothing is known."""
        found: list[str] = []
        if self.tasks:
            shown = ", ".join(map(repr, self.tasks[:TASKS_SHOWN]))
            more = len(self.tasks) - TASKS_SHOWN
            found.append(f"it was running {shown}{f' and {more} more' * (more > 0)}")
        if self.stack:
            found.append(f"{self.fatal or 'the stack'}; the thread at fault, the innermost frame first:")
            found += [f"    {line.strip()}" for line in self.stack]
        elif self.fatal:
            found.append(f"{self.fatal} (in C code, with no Python frame of the task)")
        if self.last_lines:
            found.append("the last lines of its stderr:")
            found += [f"    {line}" for line in self.last_lines]
        return "\n".join(f"    {line}" for line in found)

    @property
    def meaning(self) -> str:
        """What such an end means."""
        return _MEANINGS[self.cause]

    @property
    def advice(self) -> str:
        """What to do next, as the beginning of a sentence."""
        return _ADVICE[self.cause]

    def __str__(self) -> str:
        return "\n".join([self.sentence, *([self.details] if self.details else [])])


def size(nbytes: int) -> str:
    """Return a size as people read it.

    Examples
    --------
    >>> size(35 * 2**20), size(20 * 2**30), size(1000)
    ('35 MiB', '20.0 GiB', '1.0 KiB')
    """
    if 0 < nbytes < MIB:
        return f"{nbytes / 1024:.1f} KiB"
    return f"{nbytes / MIB:.0f} MiB" if nbytes < 10 * 2**30 else f"{nbytes / 2**30:.1f} GiB"
