"""The base of parties that are processes, jobs or machines elsewhere.

What lives here: `ProcessInterface`. What this file must never know: clusters, or where a party runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Self

from windrow.node import Status

__all__ = ["ProcessInterface"]


class ProcessInterface:
    """Base of parties that are processes, jobs or machines elsewhere: a start, an end, an address.

    A subclass starts it in `start` and ends it in `close`, and calls these of its base at their ends.

    Parameters
    ----------
    scheduler
        The scheduler's address; None for a scheduler.
    name
        Under which the cluster knows it.

    Examples
    --------
    >>> class Job(ProcessInterface):
    ...     async def start(self):
    ...         self.process = await asyncio.create_subprocess_exec("true")
    ...         await super().start()
    ...     async def close(self):
    ...         await self.process.wait()
    ...         await super().close()
    >>> async def main():
    ...     async with Job("tcp://127.0.0.1:8786", name=0) as job:
    ...         return job.status.name
    >>> asyncio.run(main())
    'running'
    """

    def __init__(self, scheduler: str | None = None, name: Any = None) -> None:
        # What a subclass has set before it calls this stays.
        self.scheduler: str | None = getattr(self, "scheduler", None) if scheduler is None else scheduler
        self.name: Any = getattr(self, "name", None) if name is None else name
        self.address: str | None = getattr(self, "address", None)
        self.external_address: str | None = getattr(self, "external_address", None)
        self.lock = asyncio.Lock()
        self.status = Status.created
        self._finished = asyncio.Event()

    async def start(self) -> None:
        """Start it."""
        self.status = Status.running

    async def close(self) -> None:
        """End it; again is harmless."""
        self.status = Status.closed
        self._finished.set()

    async def finished(self) -> None:
        """Wait until it has ended."""
        await self._finished.wait()

    async def _started(self) -> Self:
        async with self.lock:
            if self.status is Status.created:
                await self.start()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._started().__await__()

    async def __aenter__(self) -> Self:
        return await self._started()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: status={self.status.name}>"
