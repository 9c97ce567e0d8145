"""The life of a command that is a scheduler, or workers: it runs until they have ended, or a signal arrives.

What lives here: logs, limits and the pid file of such a process, and `serve`. What this file must never know: options
of one command alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import click

from windrow import security, system, tls
from windrow.cli.arguments import Contradiction
from windrow.node import Server, run_until_signalled

__all__ = ["Fleet", "check_scheduler_file", "pid_file", "run", "secret_of", "security_of", "serve"]

logger = logging.getLogger("windrow.cli")

CLOSE_S = 1.0
"""How long an end at once may take."""
GC_FACTOR = 3
"""So much rarer than by Python's default are unreachable cycles looked for: parties make few, and have many objects."""


class Fleet(Server):
    """Several parties as one: it runs while one of them does.

    Parameters
    ----------
    parties
        Not started yet.
    on_started
        Called when all run.
    """

    def __init__(self, parties: Sequence[Any], on_started: Callable[[], None]) -> None:
        super().__init__()
        self.parties = list(parties)
        self._on_started = on_started
        self._life: asyncio.Task[None] | None = None
        self._closed = False
        self.has_left = False
        """Whether all have left in good order."""

    async def start(self) -> Self:
        """Start all; if one cannot start, none runs."""
        try:
            await asyncio.gather(*(party.start() for party in self.parties))
        except BaseException:
            await self.close()
            raise
        self._on_started()
        self._life = self.loop.create_task(self._live())
        return self

    async def _live(self) -> None:
        await asyncio.gather(*(party.finished() for party in self.parties))
        if not self.ended.done():
            self.ended.set_result(self.reasons())

    def reasons(self) -> list[str]:
        """Return why parties have ended, of those that have a reason."""
        done = [party.ended for party in self.parties if party.ended.done() and not party.ended.cancelled()]
        return [str(reason) for each in done if (reason := each.exception() or each.result())]

    async def leave(self) -> None:
        """Have all leave in good order."""
        await asyncio.gather(*(party.leave() for party in self.parties))
        self.has_left = True

    async def close(self) -> None:
        """Close all, at once; what of theirs takes too long is left. Again is harmless."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(party.close() for party in self.parties))
        except TimeoutError:
            logger.warning("after %g s something still holds up the end; it ends without that", CLOSE_S)


async def serve(command: str, make: Callable[[], Sequence[Any]], tell: Callable[[Sequence[Any]], None]) -> int:
    """Be parties until they have ended, or a signal arrives; return the exit code.

    The first signal has them leave in good order (0), a second one ends them at once (128 and the signal's number).

    Parameters
    ----------
    command
        In whose name errors are told.
    make
        Makes them, on the running loop.
    tell
        Called with them when they run.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            parties = make()
        for warning in warned:
            click.echo(f"{command}: {warning.message}", err=True)
        fleet = Fleet(parties, lambda: _started(parties, tell))
        number = await run_until_signalled(fleet)
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # TimeoutError and NotImplementedError among them
        click.echo(f"{command}: {error}", err=True)
        return 1
    if number:
        return 0 if fleet.has_left else 128 + number
    reasons = fleet.reasons()
    for reason in reasons:
        click.echo(f"{command}: it has ended: {reason}", err=True)
    return 1 if reasons else 0


def _started(parties: Sequence[Any], tell: Callable[[Sequence[Any]], None]) -> None:
    import gc

    gc.collect()
    gc.freeze()  # what is here now stays; no collection need ever look at it again
    tell(parties)
    sys.stdout.flush()
    _log_more()  # what was logged of the start is what has just been told


def run(main: Callable[[], Coroutine[Any, Any, int]], pid_path: str) -> int:
    """Run a command's coroutine function in a process that is set up for it; return its exit code."""
    system.raise_open_files()
    _allow_connections()
    with pid_file(pid_path), _logs(), _rare_collections():
        try:
            import uvloop
        except ImportError:
            return asyncio.run(main())
        return uvloop.run(main())


@contextlib.contextmanager
def _logs() -> Iterator[None]:
    """Write logs to stderr."""
    from windrow import logs

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(logs.FORMAT))
    loggers = [logging.getLogger(name) for name in logs.ROOTS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def _log_more() -> None:
    """From now on log who comes and goes, unless the user has chosen what is logged."""
    from windrow import logs

    for name in logs.ROOTS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.INFO)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Have the garbage collector run less often."""
    import gc

    before = gc.get_threshold()
    gc.set_threshold(*(GC_FACTOR * threshold for threshold in before))
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _allow_connections() -> None:
    """Raise the limit of open files to half of what the system would let us have."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in (soft, hard):
        return
    with contextlib.suppress(ValueError, OSError):  # a system that has a lower limit than it says: as it was, then
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard // 2), hard))


@contextlib.contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Keep a file with this process's id while the context lasts; none for an empty path.

    Examples
    --------
    >>> with pid_file(""):
    ...     pass
    """
    if not path:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        raise Contradiction(f"--pid-file {path} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody has removed it
            if Path(path).read_text(encoding="ascii").strip() == str(os.getpid()):
                os.unlink(path)


# ---------------------------------------------------------------- options that several commands have


def security_of(options: dict[str, Any], role: str) -> dict[str, Any]:
    """Return the keyword ``security`` that the options for TLS ask for, if they do; takes these away.

    Raises
    ------
    Contradiction
        They do not go together, or a file cannot be read.
    """
    options.pop("scheduler_sni", None)
    insecure = options.pop("insecure", False)
    given = {what: options.pop(f"tls_{what.replace('-', '_')}") for what in ("ca-file", "cert", "key")}
    named = [f"--tls-{what}" for what, path in given.items() if path is not None]
    if insecure:
        if named:
            raise Contradiction(f"{', '.join(named)} and --insecure: give either")
        return {"security": False}
    if not named:
        return {}
    for what, path in given.items():
        if path is not None and not os.path.isfile(path):
            raise Contradiction(f"--tls-{what} {path}: there is no such file")
    found = tls.Security(
        require_encryption=True,
        tls_ca_file=given["ca-file"],
        **{f"tls_{role}_cert": given["cert"], f"tls_{role}_key": given["key"]},
    )
    try:
        found.context(role, server=role == "scheduler")
    except OSError as error:
        raise Contradiction(str(error)) from None
    return {"security": found}


def secret_of(path: str | None, create: bool = False) -> bytes | None:
    """Return the secret in the file of ``--secret-file``, or in that which is configured; None: there is neither.

    Raises
    ------
    Contradiction
        It cannot be read, or holds none.
    """
    try:
        found = security.from_file(path, create=create) if path else security.configured(create=create)
        return found and security.whole(found, "A scheduler or worker")
    except (OSError, ValueError) as error:
        raise Contradiction(str(error)) from None


def check_scheduler_file(path: str | None) -> None:
    """Refuse a scheduler file that cannot come to be.

    Raises
    ------
    Contradiction
        There is no such directory, or it is one itself.
    """
    if not path:
        return
    if os.path.isdir(path):
        raise Contradiction(f"--scheduler-file {path} is a directory; name a file in it")
    home = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(home):
        raise Contradiction(f"--scheduler-file {path}: there is no directory {home}; make it first")
