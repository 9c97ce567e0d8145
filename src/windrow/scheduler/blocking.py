"""Requests that a scheduler is told to refuse, under the names that users know.

What lives here: the names, and the refusal. What this file must never know: how a request is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from windrow.wire import requests as r

__all__ = ["NAMES", "Blocked", "blocked", "refusal"]

Test: TypeAlias = Callable[[Any], bool]
Blocked: TypeAlias = list[tuple[str, Test]]
"""Names of what is refused, and whether a request is that."""


def _any(request: Any) -> bool:
    return True


def _of_kind(kind: str) -> Test:
    return lambda request: bool(request.kind == kind)


def _of_service(*services: str) -> Test:
    return lambda request: request.service in services


NAMES: dict[str, list[tuple[type, Test]]] = {
    "adaptive_target": [(r.AdaptiveTarget, _any)],
    "broadcast": [(r.RunFunction, _any)],
    "call_actor": [(r.ActorCall, _any)],
    "events": [(r.Ask, _of_service("events"))],
    "explain": [(r.Explain, _any)],
    "facts": [(r.Facts, _any)],
    "feed": [],
    "gather": [(r.Gather, _any)],
    "get_task_stream": [(r.TaskStream, _any)],
    "has_what": [(r.HasWhat, _any)],
    "identity": [(r.Identity, _any)],
    "logs": [(r.RecentLogs, _any)],
    "overview": [(kind, _any) for kind in (r.Overview, r.Tallies, r.TaskGroups, r.TaskGraph, r.RecentEvents, r.Memory)],
    "processing": [(r.Processing, _any)],
    "profile": [(r.Profile, _any)],
    "rebalance": [(r.Rebalance, _any)],
    "recipe": [(r.Recipe, _any)],
    "register_nanny_plugin": [(r.RegisterPlugin, _of_kind("nanny"))],
    "register_scheduler_plugin": [(r.RegisterPlugin, _of_kind("scheduler"))],
    "register_worker_plugin": [(r.RegisterPlugin, _of_kind("worker"))],
    "replicate": [(r.Replicate, _any)],
    "restart": [(r.Restart, _any)],
    "restart_workers": [(r.RestartWorkers, _any)],
    "retire_workers": [(r.Retire, _any)],
    "run": [(r.RunFunction, _any)],
    "run_function": [(r.RunOnScheduler, _any)],
    "scale": [(r.ScaleCluster, _any)],
    "scatter": [(r.Scatter, _any)],
    "terminate": [(r.Shutdown, _any)],
    "unregister_nanny_plugin": [(r.UnregisterPlugin, _of_kind("nanny"))],
    "unregister_scheduler_plugin": [(r.UnregisterPlugin, _of_kind("scheduler"))],
    "unregister_worker_plugin": [(r.UnregisterPlugin, _of_kind("worker"))],
    "versions": [(r.Versions, _any)],
    "who_has": [(r.WhoHas, _any)],
    "worker_facts": [(r.WorkerFacts, _any), (r.Report, _any)],
    "workers_to_close": [(r.WorkersToClose, _any)],
}
"""What each name stands for; nothing where there is no such request to this scheduler, which refuses it anyway."""


def blocked(names: Iterable[str]) -> dict[type, Blocked]:
    """Return what is to be refused, by type of request.

    Raises
    ------
    ValueError
        A name stands for no request; the message has those that do.

    Examples
    --------
    >>> list(blocked(["gather"]))
    [<class 'windrow.wire.requests.Gather'>]
    """
    found: dict[type, Blocked] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in NAMES:
            import difflib

            near = difflib.get_close_matches(str(name), NAMES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"blocked_handlers: there is no request {name!r}{hint}; known are {', '.join(NAMES)}")
        for kind, test in NAMES[name]:
            found.setdefault(kind, []).append((name, test))
    return found


def refusal(blocked: dict[type, Blocked], request: object) -> Exception | None:
    """Return the error for a request that is to be refused, None for others."""
    for name, test in blocked.get(type(request), ()):
        if test(request):
            return PermissionError(
                f"the scheduler refuses {name!r}: its blocked_handlers (or 'distributed.scheduler.blocked-handlers') "
                "name it"
            )
    return None
