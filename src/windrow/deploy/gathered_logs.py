"""The logs of parties, asked for over the scheduler.

What lives here: `of_scheduler` and `of_workers`. What this file must never know: clusters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from windrow import logs
from windrow.client import calls
from windrow.deploy.views import Log
from windrow.errors import WindrowError
from windrow.wire.requests import Request, RunFunction, RunOnScheduler

__all__ = ["as_log", "of_scheduler", "of_workers"]

LIMIT_S = 5.0
"""How long a worker may take to answer."""

Ask = Callable[[Request], Awaitable[Any]]


def as_log(records: Sequence[tuple[str, str]]) -> Log:
    """Return records, each as (level, text), as lines.

    Examples
    --------
    >>> as_log([("INFO", "second"), ("INFO", "first")])
    'second\\nfirst'
    """
    return Log("\n".join(text for _, text in records))


async def of_scheduler(ask: Ask) -> list[tuple[str, str]]:
    """Return the records of a scheduler elsewhere, newest first."""
    reply = await ask(RunOnScheduler(calls.call_blob(logs.recent, ("scheduler",), {})))
    ok, found = calls.outcome(reply.blobs[0])
    if not ok:
        raise found
    return list(found)


async def of_workers(ask: Ask, addresses: Sequence[str]) -> dict[str, Log]:
    """Return the logs of workers; of one that gives no answer, the reason."""
    from windrow.worker.facts import recent_logs

    call = calls.call_blob(recent_logs, (), {})
    texts = await asyncio.gather(*(_of_worker(ask, RunFunction(call, [address])) for address in addresses))
    return dict(zip(addresses, texts, strict=True))


async def _of_worker(ask: Ask, request: RunFunction) -> Log:
    try:
        reply = await asyncio.wait_for(ask(request), LIMIT_S)
    except TimeoutError:
        return Log(f"(the worker gives no answer within {LIMIT_S:g} s)")
    except (WindrowError, OSError, ValueError) as error:
        return Log(f"(no logs: {error})")
    if not reply.blobs:
        return Log("(no logs: there is no such worker)")
    ok, found = calls.outcome(reply.blobs[0])
    return as_log(found) if ok else Log(f"(no logs: {found})")
