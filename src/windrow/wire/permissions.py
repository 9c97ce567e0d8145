"""Which role may say what: one table for all messages and requests, and the question to it.

What lives here: the least role of each type. What this file must never know: who says a message, and what follows from
a refusal (`transport.gate`).

A type that is not in the table may be said by nobody; a test holds that each is. What a scheduler or a worker says is
`ADMINISTER`: who may pose as one of them could have any code run, and any value told.
"""

from __future__ import annotations

from msgspec import Struct

from windrow.roles import Role
from windrow.wire import messages as m

__all__ = ["MESSAGES", "REQUESTS", "SERVICES", "needed", "what"]

_LINKS = (m.Begin, m.Resume, m.Resumed, m.Ack)
_OF_CLIENTS = (
    m.HelloClient,
    m.Declare,
    m.Undeclare,
    m.Submit,
    m.Graph,
    m.Want,
    m.Release,
    m.Cancel,
    m.Retry,
    m.Withdraw,
    m.Log,
    m.Reply,
)
_OF_THE_CLUSTER = (
    m.Finished,
    m.Failed,
    m.Lost,
    m.Cancelled,
    m.Topic,
    m.Function,
    m.Run,
    m.Free,
    m.Recall,
    m.Put,
    m.FreeFunctions,
    m.Copy,
    m.Welcome,
    m.Record,
    m.HelloWorker,
    m.Done,
    m.Erred,
    m.Returned,
    m.Missing,
    m.Holds,
    m.Copied,
    m.Ghosts,
    m.Seceded,
    m.Rescheduled,
    m.Stopped,
    m.Executed,
    m.Paused,
    m.Output,
    m.Heartbeat,
    m.Supply,
    m.Leaving,
    m.HelloNanny,
    m.Died,
    m.RestartWorker,
    m.Happened,
)

MESSAGES: dict[type[Struct], Role] = {
    m.HelloObserver: Role.WATCH,
    m.Listen: Role.WATCH,
    m.Close: Role.WATCH,
    **dict.fromkeys(_LINKS, Role.WATCH),
    **dict.fromkeys(_OF_CLIENTS, Role.SUBMIT),
    **dict.fromkeys(_OF_THE_CLUSTER, Role.ADMINISTER),
}
"""All messages but `Call`, which is what its request is."""

REQUESTS: dict[type[Struct], Role] = {
    # What there is.
    m.Identity: Role.WATCH,
    m.Overview: Role.WATCH,
    m.WhoHas: Role.WATCH,
    m.HasWhat: Role.WATCH,
    m.Processing: Role.WATCH,
    m.Facts: Role.WATCH,
    m.Explain: Role.WATCH,
    m.RecentLogs: Role.WATCH,
    m.WorkerFacts: Role.WATCH,
    m.Tallies: Role.WATCH,
    m.TaskStream: Role.WATCH,
    m.TaskGraph: Role.WATCH,
    m.TaskGroups: Role.WATCH,
    m.RecentEvents: Role.WATCH,
    m.Profile: Role.WATCH,
    m.AdaptiveTarget: Role.WATCH,
    m.WorkersToClose: Role.WATCH,
    # What work needs.
    m.Gather: Role.SUBMIT,
    m.Scatter: Role.SUBMIT,
    m.Recipe: Role.SUBMIT,
    m.ActorCall: Role.SUBMIT,
    m.Replicate: Role.SUBMIT,
    m.Rebalance: Role.SUBMIT,
    m.RunFunction: Role.SUBMIT,  # on workers, where tasks run; see `needed` for nannies
    m.Ask: Role.SUBMIT,  # see `SERVICES`
    # What runs code in the scheduler or in nannies, changes workers for all, or ends them.
    m.RunOnScheduler: Role.ADMINISTER,
    m.RegisterPlugin: Role.ADMINISTER,
    m.UnregisterPlugin: Role.ADMINISTER,
    m.Restart: Role.ADMINISTER,
    m.RestartWorkers: Role.ADMINISTER,
    m.Retire: Role.ADMINISTER,
    m.ScaleCluster: Role.ADMINISTER,
    m.Shutdown: Role.ADMINISTER,
    # What workers and nannies ask.
    m.Arrive: Role.ADMINISTER,
    m.GetData: Role.ADMINISTER,
    m.Reach: Role.ADMINISTER,
}
"""All requests."""

SERVICES: dict[str, Role] = {
    "datasets": Role.SUBMIT,
    "events": Role.SUBMIT,
    "fire-and-forget": Role.SUBMIT,
    "flags": Role.SUBMIT,
    "following": Role.SUBMIT,
    "metadata": Role.SUBMIT,
    "multi-locks": Role.SUBMIT,
    "output": Role.SUBMIT,
    "queues": Role.SUBMIT,
    "semaphores": Role.SUBMIT,
    "variables": Role.SUBMIT,
    "amm": Role.ADMINISTER,  # it moves the data of all
}
"""Who may ask a service of the scheduler (`wire.messages.Ask`)."""


def needed(message: object) -> Role:
    """Return the least role that may say a message.

    Examples
    --------
    >>> needed(m.Call(1, m.Identity())), needed(m.Call(2, m.Shutdown()))
    (<Role.WATCH: 1>, <Role.ADMINISTER: 3>)
    """
    if type(message) is not m.Call:
        return MESSAGES.get(type(message), Role.ADMINISTER)  # type: ignore[arg-type]
    request = message.request
    if type(request) is m.Ask:
        return SERVICES.get(request.service, Role.ADMINISTER)
    if type(request) is m.RunFunction and request.nanny:
        return Role.ADMINISTER
    return REQUESTS.get(type(request), Role.ADMINISTER)


def what(message: object) -> str:
    """Return what a message is, for people.

    Examples
    --------
    >>> what(m.Call(1, m.Ask("queues", None))), what(m.Release([], 1))
    ("Ask 'queues'", 'Release')
    """
    said = message.request if type(message) is m.Call else message
    if type(said) is m.Ask:
        return f"Ask {said.service!r}"
    if type(said) is m.RunFunction and said.nanny:
        return "RunFunction on nannies"
    return type(said).__name__
