"""A task of the cluster, run again in this process: to look at it with a debugger.

What lives here: `recreate`. What this file must never know: how workers run tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from windrow.client import calls
from windrow.client.future import Future
from windrow.client.gather import results
from windrow.client.waiting import Steps, settled
from windrow.keys import Key, checked, from_plain
from windrow.wire import payload
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.base import Base


def recreate(client: Base, future_or_key: Future | Key, failed: bool) -> Steps[Any]:
    """Run a task here (with ``failed``: the one that its error comes from) and return what it returns."""
    session = client.session
    if isinstance(future_or_key, Future):
        future_or_key.bound()
        key = future_or_key.key
        yield from settled(session, [future_or_key.entry])
    else:
        key = checked(future_or_key)
    reply = yield from calls.ask(session, r.Recipe(key, failed))
    if reply.value is None:
        what = "has no error whose task could be run again" if failed else "is not known to the scheduler as a task"
        raise ValueError(f"{key!r} {what}")
    _, inputs = reply.value
    code, arguments = reply.blobs
    assert code is not None
    assert arguments is not None
    function: Any = payload.loads(code)
    # These futures hold the inputs until they are here.
    futures = [client.bind(from_plain(name)) for name in inputs]
    values = yield from results(session, [future.entry for future in futures], skip=False)
    with payload.resolving(values):
        call: Any = payload.loads(arguments, copy=True)
    args, kwargs = call
    return function(*args, **kwargs)
