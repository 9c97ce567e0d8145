"""A party in a process elsewhere: started over a channel, heard through it, ended with it.

What lives here: `Elsewhere`, the base of such parties; `Channel`, what it needs of a process; and the checks of what is
to travel there as JSON. What this file must never know: where the process is, or how it is started.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from windrow import security
from windrow.deploy.party import Order, Said
from windrow.deploy.process_interface import ProcessInterface
from windrow.node import Status

logger = logging.getLogger("windrow.deploy")

LAST_LINES = 20
LINE_BYTES = 4096
"""So much of the end of a line is kept as last words."""
GOOD_END = "exited with code 0"
CLOSE_S = 5.0
"""How long a process may take to end by itself."""


def certificates_of(scheduler: str) -> dict[str, Any] | None:
    """Return the certificates that go with a scheduler's address, as they travel; None where there are none."""
    found = security.certificates_for(scheduler)
    return None if found is None else found.to_record()


class Channel(Protocol):
    """A process, as `Elsewhere` needs it."""

    order: dict[str, Any]
    """What of its `Order` depends on the channel."""
    status: Any
    stderr: Any
    """Readers: ``await readline()``, ``await read(n)``."""

    def write(self, data: bytes) -> None:
        """Write to its standard input."""

    def hang_up(self) -> None:
        """End its standard input, its lifeline."""

    def kill(self) -> None:
        """End it, and all that it has started, whatever it is doing."""

    async def wait(self) -> str:
        """Wait for its end; how it ended, as in "exited with code 1"."""


class Elsewhere(ProcessInterface):
    """Base of parties that are processes reached by their standard streams.

    Parameters
    ----------
    scheduler
        The scheduler's address; None for a scheduler.
    name
        Under which the cluster knows it.
    timeout_s
        How long its start may take.
    """

    failure: type[Exception] = RuntimeError
    """What is raised when it does not start."""

    def __init__(self, scheduler: str | None, name: Any, timeout_s: float) -> None:
        super().__init__(scheduler, name)
        self.timeout_s = timeout_s
        self._channel: Channel | None = None
        self._lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._partial = b""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: asyncio.Task[str] | None = None
        self.died = False
        """Whether its process ended otherwise than well, and nobody had closed it."""

    # ------------------------------------------------------------ for subclasses

    @property
    def what(self) -> str:
        """What it is, for messages."""
        return "the scheduler" if self.scheduler is None else f"worker {self.name!r}"

    def _order(self) -> Order:
        """Return what the process is to be."""
        raise NotImplementedError("a party elsewhere says what it is in _order")

    async def _launch(self) -> Channel:
        """Start the process."""
        raise NotImplementedError("a party elsewhere starts its process in _launch")

    def _hear(self, data: bytes, lines: list[bytes]) -> None:
        """Take what the process has written to stderr, and the lines that are whole by now."""

    def _advice(self, words: str) -> str:
        """Return what to do where it does not start, by how it ended and its last words."""
        return ""

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Start the process, and wait until its party runs.

        Raises
        ------
        RuntimeError
            It does not; the message has its last words.
        """
        self.status = Status.starting
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                said = await self._first_word()
        except BaseException as error:
            if self.status is not Status.starting:  # closed meanwhile: nobody wants to hear of it
                if isinstance(error, Exception):
                    return
                raise
            await self.close()
            self.status = Status.failed
            if isinstance(error, TimeoutError) and limit.expired():
                raise self.failure(f"{self.what} does not run after {self.timeout_s:g} s{self._last_words()}") from None
            raise
        if self.status is not Status.starting:
            return
        self.address = next(iter(said.addresses.values()), None)
        self.status = Status.running
        self._in_background(self._watch())

    async def _first_word(self) -> Said:
        self._channel = channel = await self._launch()
        self._ended = self._in_background(channel.wait())
        heard = self._in_background(self._listen(channel))
        order = msgspec.to_builtins(self._order())
        channel.write(json.dumps({**order, **channel.order}).encode() + b"\n")
        line = await channel.status.readline()
        if line:
            said = msgspec.json.decode(line, type=Said)
            if not said.error:
                return said
            raise self.failure(f"{self.what} could not start: {said.error}")
        end = await self._ended
        await heard
        words = f"its process {end}{self._last_words()}"
        raise self.failure(f"{self.what} could not start: {words}{self._advice(words)}")

    async def _listen(self, channel: Channel) -> None:
        while data := await channel.stderr.read(65536):
            *lines, partial = (self._partial + data).split(b"\n")
            self._partial = partial[-LINE_BYTES:]
            self._lines.extend(line[-LINE_BYTES:] for line in lines)
            self._hear(data, lines)
        if self._partial:
            self._hear(b"", [self._partial])

    @property
    def epitaph(self) -> str:
        """How its process ended, and its last words; "" while it runs."""
        ended = self._ended
        if ended is None or not ended.done() or ended.cancelled() or ended.exception() is not None:
            return ""
        return f"its process {ended.result()}{self._last_words()}"

    def _last_words(self) -> str:
        lines = [line.decode(errors="replace") for line in (*self._lines, self._partial)]
        words = " | ".join(line for line in lines if line.strip())
        return f"; its last words: {words}" if words else ""

    async def _watch(self) -> None:
        assert self._ended is not None
        await asyncio.wait([self._ended])
        if self.status is Status.running:
            end = self._ended.result()
            self.died = end != GOOD_END
            if self.died:
                logger.warning("%s: its process %s%s", self.what, end, self._last_words())
            self.status = Status.closed
            self._finished.set()

    async def close(self) -> None:
        """Close the party; its process ends, and all that it has started; again is harmless."""
        if self.status in (Status.closed, Status.failed):
            return
        self.status = Status.closing
        channel, ended = self._channel, self._ended
        if channel is not None and ended is not None:
            channel.hang_up()
            await asyncio.wait([ended], timeout=CLOSE_S)
            channel.kill()
            await asyncio.wait([ended, *self._tasks], timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        self.status = Status.closed
        self._finished.set()

    def _in_background(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


# ---------------------------------------------------------------- what travels


def checked_plain(value: Any, what: str) -> Any:
    """Return a value if JSON brings it to the other side as it is (tuples as lists).

    Raises
    ------
    TypeError
        It does not; the message names the part that does not.

    Examples
    --------
    >>> checked_plain({"resources": {"GPU": 2}}, "worker_kwargs")
    {'resources': {'GPU': 2}}
    >>> checked_plain({"resources": {"GPU": print}}, "worker_kwargs")
    Traceback (most recent call last):
    TypeError: worker_kwargs['resources']['GPU'] cannot travel as JSON to a process elsewhere: it is a \
builtin_function_or_method; give plain values (text, numbers, lists, dicts with text as keys)
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _not_plain(f"the key {key!r} of {what}", key)
        return {key: checked_plain(item, f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [checked_plain(item, f"{what}[{number}]") for number, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _not_plain(what, value)


def _not_plain(what: str, value: object) -> TypeError:
    return TypeError(
        f"{what} cannot travel as JSON to a process elsewhere: it is a {type(value).__name__}; give plain values "
        "(text, numbers, lists, dicts with text as keys)"
    )


def dotted(cls: object, what: str) -> str:
    """Return the dotted name of a class, by which a process elsewhere imports it.

    Raises
    ------
    TypeError
        It has none that would mean anything elsewhere.

    Examples
    --------
    >>> from windrow import Nanny
    >>> dotted(Nanny, "worker_class"), dotted("mine.Worker", "worker_class")
    ('windrow.deploy.nanny.Nanny', 'mine.Worker')
    """
    if isinstance(cls, str) and "." in cls:
        return cls
    if not isinstance(cls, type):
        raise TypeError(f"{what} is a class, or its name with its module's, such as 'windrow.Nanny'; not {cls!r}")
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        raise TypeError(
            f"{what}={cls.__qualname__} cannot be imported by a process elsewhere, as it is made in a program or "
            "function; put it in a module"
        )
    return f"{cls.__module__}.{cls.__qualname__}"


def configured() -> dict[str, Any]:
    """Return this program's configuration, for processes elsewhere: what of it is plain."""
    dask_config = sys.modules.get("dask.config")
    if dask_config is None:  # then it is as the files and the environment say, there as here
        return {}
    kept = {key: value for key, value in dask_config.config.items() if key not in ("scheduler", "shuffle")}
    plain: dict[str, Any] = _plain_part(kept)
    return plain


def _plain_part(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_part(item) for key, item in value.items() if isinstance(key, str) and _travels(item)}
    return value


def _travels(value: Any) -> bool:
    if isinstance(value, dict):
        return True
    try:
        json.dumps(value)
    except (TypeError, ValueError):  # such as a function: it means something in this program alone
        return False
    return True
