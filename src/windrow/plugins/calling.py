"""Functions of ``Client.run``, called where they have arrived.

What lives here: `answer_call`. What this file must never know: who asks.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from windrow.wire import failure, payload
from windrow.wire.blobs import Blob

__all__ = ["answer_call", "takes"]


async def answer_call(blob: Blob, party: object, who: str) -> Blob:
    """Call a pickled (function, args, kwargs), in a thread; return the pickled (ok, result or failure).

    A parameter ``dask_worker`` receives the party; a coroutine function runs on this loop.
    """
    result, error = await failure.caught(_called(blob, party))
    if error is None:
        try:
            return payload.dumps((True, result), f"the result of a function run on {who}")
        except Exception as unsendable:  # a PickleError, as a rule
            error = unsendable
    return payload.dumps((False, failure.dump(error, f"a function run on {who}", skip_frames=2)[0]))


async def _called(blob: Blob, party: object) -> object:
    call: Any = payload.loads(blob, copy=True)
    function, args, kwargs = call
    if takes(function, "dask_worker"):
        kwargs = {**kwargs, "dask_worker": party}
    result = await asyncio.to_thread(function, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def takes(function: Callable[..., object], parameter: str) -> bool:
    """Whether a function has a parameter of this name.

    Examples
    --------
    >>> takes(lambda dask_worker: None, "dask_worker"), takes(len, "dask_worker")
    (True, False)
    """
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins without a signature
        return False
