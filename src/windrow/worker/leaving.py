"""How a worker leaves in good order: it takes nothing new, ends what it runs, hands over what it holds, and goes.

What lives here: `drain`. What this file must never know: how data travels to others (the scheduler sees to that).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from windrow.node import Status
from windrow.wire.messages import Leaving

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["drain"]

logger = logging.getLogger("windrow.worker")

POLL_S = 0.02
"""How often it is looked whether a task still runs, while a worker leaves."""


async def drain(worker: WorkerServer, reason: str, limit_s: float) -> None:
    """Have a worker leave; its tasks, and then its data, have at most ``limit_s`` each."""
    link = worker.link
    if link is None or worker.ended.done():
        await worker.close(reason=reason)
        return
    loop = asyncio.get_running_loop()
    worker.status = Status.closing_gracefully
    link.send([Leaving(reason)])
    end_s = loop.time() + limit_s
    while worker.core.attempts and loop.time() < end_s and not worker.ended.done():
        await asyncio.sleep(POLL_S)
    if worker.core.attempts:
        logger.warning(
            "worker %r leaves (%s), and %d tasks are not done after %g s ('windrow.drain-timeout'); they run again "
            "elsewhere",
            worker.name,
            reason,
            len(worker.core.attempts),
            limit_s,
        )
    link.send([Leaving(reason, now=True)])
    await asyncio.wait([worker.ended], timeout=limit_s)
    if not worker.ended.done():
        logger.warning("worker %r leaves (%s) before others hold all its data: it took too long", worker.name, reason)
        await worker.close(reason=reason)
