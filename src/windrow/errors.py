"""Every exception that windrow raises: one tree, one file.

What lives here: exception classes that hold facts and compose their sentence from them. What this file must
never know: how or where they are raised.

::

    WindrowError
    ├── TaskError                    something about one task
    │   ├── KilledWorker             it ended its workers too often
    │   ├── NoWorkerError            there was no worker for too long (no-workers-timeout)
    │   ├── NoValidWorkerError       there were workers, and for too long none that could run it
    │   ├── PickleError              an argument, a result or an exception cannot travel
    │   ├── ActorLostError           an actor's worker has ended, or nobody has held the actor (a RuntimeError)
    │   ├── ActorCallError (OSError) an actor's worker has ended during a call
    │   └── FutureCancelledError     it was cancelled, or its data cannot be had again
    ├── Reschedule                   what a task raises to be run again
    ├── ClosedClientError            the client, or its cluster, is closed
    ├── ConnectionRefused (OSError)  the other side answered, and will not have us
    │   ├── WrongCertificate         that of either side, or there is none (TLS)
    │   ├── WrongSecret
    │   └── WrongVersion
    ├── NotAllowed (PermissionError)     the role that was proved may not do that
    ├── ProtocolError                bytes on a connection that are no frame of ours
    └── WorkerStartError             a worker process did not come up
        └── WorkerStartTimeoutError (TimeoutError)
    CannotRunWarning (UserWarning)   no worker can run some tasks just now
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.account import Account

TimeoutError = TimeoutError
"""The builtin, under the name that programs import from here."""

CancelledError = concurrent.futures.CancelledError


def in_bytes(nbytes: float) -> str:
    """Return a size for people to read.

    Examples
    --------
    >>> in_bytes(500), in_bytes(3 * 2**20), in_bytes(2.5 * 2**30)
    ('500 B', '3.0 MiB', '2.5 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


class WindrowError(Exception):
    """Root of the tree; catches whatever windrow itself raises (a task's own exception keeps its own type)."""


class TaskError(WindrowError):
    """Something about one task; ``key`` says which."""


class KilledWorker(TaskError):
    """A task was running each time one of its workers died, more often than is allowed.

    Parameters
    ----------
    key
        The task's key.
    accounts
        What is known of each death (`windrow.account.Account`): the exit, memory, stderr, the stack, what was running.
    allowed_failures
        How many deaths a task may survive (``distributed.scheduler.allowed-failures``).

    Attributes
    ----------
    task
        The task's key.
    last_worker
        The last account: the worker's ``name``, ``address``, ``host`` and ``pid`` are in it.
    deaths
        The accounts as texts.

    Examples
    --------
    >>> from windrow.account import Account
    >>> print(KilledWorker("crash-1", [Account(exit_code=3, seconds=1.0, name=0, pid=7)], 0))
    Task 'crash-1' was running on 1 worker that died; 0 such deaths are allowed.
      1. worker 0 (pid 7): exited with code 3 after 1.0 s (peak memory 0 MiB)
    Something in the process has ended it (os._exit, or a C library's exit) instead of raising.
    Raise an exception in the task instead, or run what ends the process in a process of its own; raise \
'distributed.scheduler.allowed-failures' if the deaths were not the task's fault.
    """

    def __init__(self, key: object, accounts: list[Account], allowed_failures: int) -> None:
        super().__init__(key, accounts, allowed_failures)
        self.key = self.task = key
        self.accounts = accounts
        self.allowed_failures = allowed_failures

    @property
    def last_worker(self) -> Account | None:
        """What is known of the last of its workers."""
        return self.accounts[-1] if self.accounts else None

    @property
    def deaths(self) -> list[str]:
        """The accounts as texts."""
        return [str(account) for account in self.accounts]

    def __str__(self) -> str:
        count = len(self.accounts)
        told = [f"Task {self.key!r} was running on {count} worker{'s' * (count != 1)} that died;"]
        told[0] += f" {self.allowed_failures} such deaths are allowed."
        last = {account.cause: account for account in self.accounts}
        for number, account in enumerate(self.accounts, 1):
            told.append(f"  {number}. {account.sentence}")
            if last[account.cause] is account and account.details:  # the others of its kind look alike
                told.append(account.details)
        told += [account.meaning for account in last.values()]
        advice = [*(account.advice for account in last.values()), "raise 'distributed.scheduler.allowed-failures' if"]
        return "\n".join([*told, f"{'; '.join(advice)} the deaths were not the task's fault."])


class NoWorkerError(TaskError):
    """There was no worker to run a task for as long as ``distributed.scheduler.no-workers-timeout`` allows.

    Parameters
    ----------
    task
        Its key.
    timeout
        The time, in seconds.

    Examples
    --------
    >>> print(NoWorkerError("inc-1", 60.0))
    Task 'inc-1' was not run: there was no worker for 60 s (distributed.scheduler.no-workers-timeout). Start workers, \
or allow more time.
    """

    def __init__(self, task: object, timeout: float) -> None:
        super().__init__(task, timeout)
        self.key = self.task = task
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"Task {self.task!r} was not run: there was no worker for {self.timeout:g} s "
            "(distributed.scheduler.no-workers-timeout). Start workers, or allow more time."
        )


class NoValidWorkerError(TaskError):
    """For as long as ``distributed.scheduler.no-workers-timeout`` allows, no worker that was there could run a task.

    Parameters
    ----------
    task
        Its key.
    worker_restrictions
        The addresses, names or hosts that it names; None: any.
    resource_restrictions
        What it asks for of resources.
    timeout
        The time, in seconds.
    why
        What it asks for, and the nearest miss.

    Examples
    --------
    >>> print(NoValidWorkerError("fit-1", None, {"GPU": 1.0}, 60.0, "asks for GPU=1; of 2 workers none has GPU"))
    Task 'fit-1' was not run: for 60 s (distributed.scheduler.no-workers-timeout) no worker could run it: it asks for \
GPU=1; of 2 workers none has GPU. Start such a worker, ask for less, or allow more time.
    """

    def __init__(
        self,
        task: object,
        worker_restrictions: tuple[str, ...] | None,
        resource_restrictions: dict[str, float],
        timeout: float,
        why: str = "",
    ) -> None:
        super().__init__(task, worker_restrictions, resource_restrictions, timeout, why)
        self.key = self.task = task
        self.worker_restrictions = worker_restrictions
        self.host_restrictions = worker_restrictions
        self.resource_restrictions = resource_restrictions
        self.timeout = timeout
        self.why = why

    def __str__(self) -> str:
        why = f": it {self.why}" if self.why else ""
        return (
            f"Task {self.task!r} was not run: for {self.timeout:g} s (distributed.scheduler.no-workers-timeout) no "
            f"worker could run it{why}. Start such a worker, ask for less, or allow more time."
        )


class CannotRunWarning(UserWarning):
    """No worker that is there can run some tasks of this client; they wait. It says what they ask for, and what lacks.

    ``windrow.scheduler.cannot-run-warning`` says after which time it comes, or that it does not.
    """


class PickleError(TaskError, TypeError):
    """An object cannot travel between processes; the message names the part of it that cannot.

    Parameters
    ----------
    what
        What was to travel, such as ``"args of 'inc'"`` or ``"the result of task 'inc-1'"``.
    culprit
        Path and type of the smallest part that cannot be pickled: ``"args[0].lock: _thread.lock"``.
    cause
        The pickle module's own words.
    """

    def __init__(self, what: str, culprit: str, cause: str) -> None:
        super().__init__(what, culprit, cause)
        self.what = what
        self.culprit = culprit
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"{self.what} cannot be sent to another process: {self.culprit} ({self.cause}). "
            "Make the object where it is used, or give its class a __reduce__ method."
        )


class ActorLostError(TaskError, RuntimeError):
    """An actor is gone, and its state with it.

    Parameters
    ----------
    key
        The actor's key.
    reason
        Why, as a sentence without its stop: which worker, and of what cause.

    Examples
    --------
    >>> print(ActorLostError("Counter-1", "its worker was killed by SIGKILL"))
    Actor 'Counter-1' is gone: its worker was killed by SIGKILL. Its state cannot be made again; submit a new actor.
    """

    def __init__(self, key: object, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"Actor {self.key!r} is gone: {self.reason}. Its state cannot be made again; submit a new actor."


class ActorCallError(TaskError, OSError):
    """A call to an actor has no answer, because its worker has ended; whether it was carried out is not known."""


class FutureCancelledError(TaskError, CancelledError):
    """The future was cancelled, or its data is gone and cannot be made again."""

    def __init__(self, key: object, reason: str = "cancelled") -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"Future {self.key!r} has no result: {self.reason}."


FuturesCancelledError = FutureCancelledError


class Reschedule(WindrowError):
    """Raised in a task: run it again later, perhaps on another worker."""


class ClosedClientError(WindrowError):
    """The client, or the cluster behind it, is closed; make a new one."""


class ConnectionRefused(WindrowError, OSError):
    """The other side answered and refused us, with this reason."""


class WrongSecret(ConnectionRefused):
    """This process does not hold the cluster's secret (or the other side does not)."""


class WrongCertificate(ConnectionRefused):
    """There is no certificate for TLS, or one side does not take that of the other; the message says which."""


class WrongVersion(ConnectionRefused):
    """The two sides speak different versions of the protocol; the message says which to upgrade."""


class NotAllowed(WindrowError, PermissionError):
    """The role that this process has proved may not do what it asked for; nothing was done.

    Parameters
    ----------
    what
        What was asked for.
    needed, held
        The least role that may, and the one that was proved.

    Examples
    --------
    >>> print(NotAllowed("To retire workers (Retire)", "administer", "submit"))
    To retire workers (Retire) takes the role administer, and this connection has submit: nothing was done. Connect \
with the cluster's secret (the scheduler file, or the secret file), or ask who runs the cluster.
    """

    def __init__(self, what: str, needed: str, held: str) -> None:
        super().__init__(f"{what} takes the role {needed}")
        self.what = what
        self.needed = needed
        self.held = held

    def __reduce__(self) -> tuple[object, ...]:
        return NotAllowed, (self.what, self.needed, self.held)

    def __str__(self) -> str:
        own = "the cluster's secret (the scheduler file, or the secret file)"
        how = own if self.needed == "administer" else f"a {self.needed} token (windrow token {self.needed})"
        return (
            f"{self.what} takes the role {self.needed}, and this connection has {self.held}: nothing was done. Connect "
            f"with {how}, or ask who runs the cluster."
        )


class ProtocolError(WindrowError):
    """Bytes arrived that are no frame or message of ours; that connection is closed, nothing else."""


class WorkerStartError(WindrowError, RuntimeError):
    """A worker process did not come up; the message carries its exit and its last lines of stderr."""


class WorkerStartTimeoutError(WorkerStartError, TimeoutError):
    """Fewer workers than asked for were there in time."""
