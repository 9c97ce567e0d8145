"""Which role may say what: one table for all messages and requests, and the question to it.

What lives here: the least role of each type, and what it is to people. What this file must never know: who says a
message, and what follows from a refusal (`transport.gate`).

A type that is not in the table may be said by nobody; a test holds that each is. What a scheduler or a worker says is
`ADMINISTER`: who may pose as one of them could have any code run, and any value told.
"""

from __future__ import annotations

from msgspec import Struct

from windrow.roles import Role
from windrow.wire import messages as m

__all__ = ["MESSAGES", "PHRASES", "REQUESTS", "SERVICES", "needed", "reads", "what"]

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
    m.Versions: Role.WATCH,
    m.Report: Role.WATCH,
    m.WorkerFacts: Role.WATCH,
    m.Tallies: Role.WATCH,
    m.TaskStream: Role.WATCH,
    m.TaskGraph: Role.WATCH,
    m.TaskGroups: Role.WATCH,
    m.RecentEvents: Role.WATCH,
    m.Memory: Role.WATCH,
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
    m.Ask: Role.SUBMIT,  # see `SERVICES` and `reads`
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
"""Who may ask a service of the scheduler (`wire.messages.Ask`), unless it only `reads`."""

_READING = {"datasets": "list", "events": "get", "metadata": "get", "output": "get"}
"""Services with something to read, and the tag of the request that reads it and does nothing else."""

_READING_WORDS = {"amm": "running"}
"""The same of services whose requests are single words."""


PHRASES: dict[type[Struct] | str, str] = {
    **dict.fromkeys(_OF_THE_CLUSTER, "speak as a part of the cluster"),
    m.HelloClient: "submit work and hold results",
    m.Declare: "submit work",
    m.Undeclare: "submit work",
    m.Submit: "submit work",
    m.Graph: "submit work",
    m.Want: "hold results",
    m.Release: "hold results",
    m.Cancel: "cancel tasks",
    m.Retry: "run failed tasks again",
    m.Withdraw: "use locks, queues and the like",
    m.Log: "log events",
    m.Reply: "answer the scheduler",
    m.Gather: "gather results",
    m.Scatter: "scatter data",
    m.Recipe: "see how a task is made",
    m.ActorCall: "use actors",
    m.Replicate: "replicate data",
    m.Rebalance: "rebalance data",
    m.RunFunction: "run a function on workers",
    m.RunOnScheduler: "run a function on the scheduler",
    m.RegisterPlugin: "register plugins or upload files",
    m.UnregisterPlugin: "unregister plugins",
    m.Restart: "restart the cluster",
    m.RestartWorkers: "restart workers",
    m.Retire: "retire workers",
    m.ScaleCluster: "scale the cluster",
    m.Shutdown: "shut the cluster down",
    m.HelloWorker: "join as a worker",
    m.HelloNanny: "join as a nanny",
    m.Arrive: "join as a worker or a nanny",
    m.GetData: "take data from a worker",
    m.Reach: "put data on a worker",
    "datasets": "use published datasets",
    "events": "subscribe to events",
    "fire-and-forget": "fire and forget tasks",
    "flags": "use events that tasks wait for",
    "following": "follow the progress of tasks",
    "metadata": "change metadata",
    "multi-locks": "use locks of several names",
    "output": "read what tasks have printed and logged",
    "queues": "use queues",
    "semaphores": "use locks and semaphores",
    "variables": "use variables",
    "amm": "use the memory manager",
}
"""What is asked for by messages, requests and services that are not for everybody, as people know it: "to …"."""


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
        if reads(request):
            return Role.WATCH
        return SERVICES.get(request.service, Role.ADMINISTER)
    if type(request) is m.RunFunction and request.nanny:
        return Role.ADMINISTER
    return REQUESTS.get(type(request), Role.ADMINISTER)


def reads(request: m.Ask) -> bool:
    """Return whether a service is only asked for what it keeps: names of datasets, events, metadata, what tasks said.

    Examples
    --------
    >>> reads(m.Ask("amm", "running")), reads(m.Ask("amm", "start"))
    (True, False)
    >>> reads(m.Ask("metadata", ["get", ["x"]])), reads(m.Ask("metadata", ["set", ["x"], 1]))
    (True, False)
    """
    wish = request.request
    if isinstance(wish, Struct):
        tag = wish.__struct_config__.tag
    else:
        if isinstance(wish, str):
            return wish == _READING_WORDS.get(request.service)
        tag = wish[0] if isinstance(wish, list) and wish else None
    return tag is not None and tag == _READING.get(request.service)


def what(message: object) -> str:
    """Return what a message is for people, and in brackets what it is called.

    Examples
    --------
    >>> what(m.Call(1, m.Ask("queues", None))), what(m.Release([], 1))
    ("To use queues (Ask 'queues')", 'To hold results (Release)')
    """
    said = message.request if type(message) is m.Call else message
    kind: type[Struct] = type(said)  # type: ignore[assignment]
    if type(said) is m.Ask:
        return f"To {PHRASES.get(said.service, 'ask a service')} (Ask {said.service!r})"
    if type(said) is m.RunFunction and said.nanny:
        return "To run a function on nannies (RunFunction)"
    return f"To {PHRASES.get(kind, 'say this')} ({kind.__name__})"
