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
from windrow.wire import requests as r

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
    r.Identity: Role.WATCH,
    r.Overview: Role.WATCH,
    r.WhoHas: Role.WATCH,
    r.HasWhat: Role.WATCH,
    r.Processing: Role.WATCH,
    r.Facts: Role.WATCH,
    r.Explain: Role.WATCH,
    r.RecentLogs: Role.WATCH,
    r.Versions: Role.WATCH,
    r.Report: Role.WATCH,
    r.WorkerFacts: Role.WATCH,
    r.Tallies: Role.WATCH,
    r.TaskStream: Role.WATCH,
    r.TaskGraph: Role.WATCH,
    r.TaskGroups: Role.WATCH,
    r.RecentEvents: Role.WATCH,
    r.Memory: Role.WATCH,
    r.Profile: Role.WATCH,
    r.AdaptiveTarget: Role.WATCH,
    r.WorkersToClose: Role.WATCH,
    # What work needs.
    r.Gather: Role.SUBMIT,
    r.Scatter: Role.SUBMIT,
    r.Recipe: Role.SUBMIT,
    r.ActorCall: Role.SUBMIT,
    r.Replicate: Role.SUBMIT,
    r.Rebalance: Role.SUBMIT,
    r.RunFunction: Role.SUBMIT,  # on workers, where tasks run; see `needed` for nannies
    r.Ask: Role.SUBMIT,  # see `SERVICES` and `reads`
    # What runs code in the scheduler or in nannies, changes workers for all, or ends them.
    r.RunOnScheduler: Role.ADMINISTER,
    r.RegisterPlugin: Role.ADMINISTER,
    r.UnregisterPlugin: Role.ADMINISTER,
    r.Restart: Role.ADMINISTER,
    r.RestartWorkers: Role.ADMINISTER,
    r.Retire: Role.ADMINISTER,
    r.ScaleCluster: Role.ADMINISTER,
    r.Shutdown: Role.ADMINISTER,
    # What workers and nannies ask.
    r.Arrive: Role.ADMINISTER,
    r.GetData: Role.ADMINISTER,
    r.Reach: Role.ADMINISTER,
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
"""Who may ask a service of the scheduler (`wire.requests.Ask`), unless it only `reads`."""

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
    r.Gather: "gather results",
    r.Scatter: "scatter data",
    r.Recipe: "see how a task is made",
    r.ActorCall: "use actors",
    r.Replicate: "replicate data",
    r.Rebalance: "rebalance data",
    r.RunFunction: "run a function on workers",
    r.RunOnScheduler: "run a function on the scheduler",
    r.RegisterPlugin: "register plugins or upload files",
    r.UnregisterPlugin: "unregister plugins",
    r.Restart: "restart the cluster",
    r.RestartWorkers: "restart workers",
    r.Retire: "retire workers",
    r.ScaleCluster: "scale the cluster",
    r.Shutdown: "shut the cluster down",
    m.HelloWorker: "join as a worker",
    m.HelloNanny: "join as a nanny",
    r.Arrive: "join as a worker or a nanny",
    r.GetData: "take data from a worker",
    r.Reach: "put data on a worker",
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
    >>> needed(m.Call(1, r.Identity())), needed(m.Call(2, r.Shutdown()))
    (<Role.WATCH: 1>, <Role.ADMINISTER: 3>)
    """
    if type(message) is not m.Call:
        return MESSAGES.get(type(message), Role.ADMINISTER)  # type: ignore[arg-type]
    request = message.request
    if type(request) is r.Ask:
        if reads(request):
            return Role.WATCH
        return SERVICES.get(request.service, Role.ADMINISTER)
    if type(request) is r.RunFunction and request.nanny:
        return Role.ADMINISTER
    return REQUESTS.get(type(request), Role.ADMINISTER)


def reads(request: r.Ask) -> bool:
    """Return whether a service is only asked for what it keeps: names of datasets, events, metadata, what tasks said.

    Examples
    --------
    >>> reads(r.Ask("amm", "running")), reads(r.Ask("amm", "start"))
    (True, False)
    >>> reads(r.Ask("metadata", ["get", ["x"]])), reads(r.Ask("metadata", ["set", ["x"], 1]))
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
    >>> what(m.Call(1, r.Ask("queues", None))), what(m.Release([], 1))
    ("To use queues (Ask 'queues')", 'To hold results (Release)')
    """
    said = message.request if type(message) is m.Call else message
    kind: type[Struct] = type(said)  # type: ignore[assignment]
    if type(said) is r.Ask:
        return f"To {PHRASES.get(said.service, 'ask a service')} (Ask {said.service!r})"
    if type(said) is r.RunFunction and said.nanny:
        return "To run a function on nannies (RunFunction)"
    return f"To {PHRASES.get(kind, 'say this')} ({kind.__name__})"
