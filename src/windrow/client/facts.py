"""Steps that gather what is known of a cluster: where keys are, what tasks do, versions, logs, and all of it at once.

What lives here: questions, and the joining of their answers. What this file must never know: `Client`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from windrow import logs, versions
from windrow.client import calls
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.keys import Key, from_plain, label
from windrow.wire import messages as m

UNKNOWN = "forgotten"
"""The state of a task that the scheduler does not know."""


def by_key(session: Session, request: m.Request, kind: type[dict[Key, Any]] = dict) -> Steps[dict[Key, Any]]:
    """Ask for something by key; ``kind`` of mapping is returned."""
    found = yield from calls.ask_value(session, request)
    return kind({from_plain(key): value for key, value in found.items()})


def by_worker(
    session: Session, request: m.Request, kind: type[dict[str, list[Key]]] = dict
) -> Steps[dict[str, list[Key]]]:
    """Ask for the keys of workers; ``kind`` of mapping is returned."""
    found = yield from calls.ask_value(session, request)
    return kind({address: [from_plain(key) for key in listed] for address, listed in found.items()})


def of_tasks(session: Session, keys: Collection[Key] | None) -> Steps[dict[Key, dict[str, Any]]]:
    """What the scheduler knows of tasks, by key."""
    found = yield from calls.ask_value(session, m.Facts(None if keys is None else list(keys)))
    tasks = {from_plain(key): facts for key, facts in found}
    for facts in tasks.values():
        for name in ("dependencies", "dependents"):
            facts[name] = [from_plain(key) for key in facts[name]]
        facts["erred_on"] = from_plain(facts["erred_on"])
    return tasks


def nbytes(session: Session, keys: Collection[Key] | None, summary: bool) -> Steps[dict[Any, int]]:
    """Sizes of results in memory, by key or by what their keys begin with."""
    found = yield from calls.ask_value(session, m.Facts(None if keys is None else list(keys), ["nbytes"]))
    sizes: dict[Any, int] = {from_plain(key): facts["nbytes"] for key, facts in found if facts["nbytes"] is not None}
    if not summary:
        return sizes
    from dask.utils import key_split

    sums: dict[str, int] = {}
    for key, size in sizes.items():
        prefix = key_split(key)
        sums[prefix] = sums.get(prefix, 0) + size
    return sums


def on_workers(session: Session, function: Callable[..., Any], *args: Any) -> Steps[dict[str, Any]]:
    """The results of a function of windrow's own on all workers; those that leave meanwhile are left out."""
    call = calls.call_blob(function, args, {})
    reply = yield from calls.ask(session, m.RunFunction(call))
    results: dict[str, Any] = {}
    for address, blob in zip(reply.value, reply.blobs, strict=True):
        if blob is not None:
            ok, value = calls.outcome(blob)
            if not ok:
                raise value
            results[address] = value
    return results


def on_scheduler(session: Session, function: Callable[..., Any], *args: Any) -> Steps[Any]:
    """The result of a function of windrow's own in the scheduler's process."""
    result = yield from calls.run_on_scheduler(session, calls.call_blob(function, args, {}))
    return result


def all_versions(session: Session, packages: Sequence[str], check: bool) -> Steps[dict[str, Any]]:
    """Versions of client, scheduler and workers; with ``check``, a warning if they differ."""
    ask = partial(versions.versions, packages)
    scheduler = yield from on_scheduler(session, versions.versions, packages)
    workers = yield from on_workers(session, versions.versions, packages)
    found = {"scheduler": scheduler, "workers": workers, "client": ask()}
    if check:
        parties = {"client": found["client"], "scheduler": scheduler, **workers}
        differing = versions.differences(parties)
        if differing:
            lines = [
                f"  {package}: " + ", ".join(f"{party} {version}" for party, version in row.items())
                for package, row in differing.items()
            ]
            text = "Versions differ, and what is sent may not be understood; install the same everywhere:\n"
            warnings.warn(text + "\n".join(lines), versions.VersionMismatchWarning, stacklevel=2)
    return found


def scheduler_logs(session: Session, n: int | None) -> Steps[list[tuple[str, str]]]:
    """The scheduler's last log records."""
    found: list[tuple[str, str]] = yield from on_scheduler(session, logs.recent, "scheduler", n)
    return found


def call_stacks(session: Session, keys: list[Key] | None) -> Steps[dict[str, dict[Key, list[str]]]]:
    """Frames of running tasks, by worker and key; workers where none runs are left out."""
    from windrow.worker import facts as on_worker

    found = yield from on_workers(session, on_worker.call_stacks, keys)
    return {address: stacks for address, stacks in found.items() if stacks}


def story(session: Session, keys: list[Key]) -> Steps[list[tuple[Any, ...]]]:
    """Where tasks stand, by scheduler and workers."""
    from windrow.worker import facts as on_worker

    tasks = yield from of_tasks(session, keys)
    workers = yield from on_workers(session, on_worker.states, keys)
    records: list[tuple[Any, ...]] = [("scheduler", key, facts["state"], facts) for key, facts in tasks.items()]
    records += [(address, key, state, {}) for address, states in workers.items() for key, state in states]
    return records


def everything(session: Session, exclude: Collection[str]) -> Steps[dict[str, Any]]:
    """The state of the cluster as plain data whose dicts have names only; of tasks, nothing named in ``exclude``."""
    from windrow.worker import facts as on_worker

    identity = yield from calls.ask_value(session, m.Identity())
    tasks = yield from of_tasks(session, None)
    on_each = yield from on_workers(session, on_worker.states, None)
    found = yield from all_versions(session, (), False)
    return {
        "scheduler": {
            **{name: value for name, value in identity.items() if name != "workers"},
            "tasks": {label(key): {"key": label(key), **_named(facts, exclude)} for key, facts in tasks.items()},
        },
        "workers": {
            address: {
                **worker,
                "answered": address in on_each,
                "tasks": {
                    label(key): {"key": label(key), **_named({"state": state}, exclude)}
                    for key, state in on_each.get(address, ())
                },
            }
            for address, worker in identity["workers"].items()
        },
        "versions": found,
    }


def _named(facts: dict[str, Any], exclude: Collection[str]) -> dict[str, Any]:
    named = {}
    for name, value in facts.items():
        if name in exclude:
            continue
        if name in ("dependencies", "dependents"):
            value = [label(key) for key in value]
        elif name == "erred_on" and value is not None:
            value = label(value)
        named[name] = value
    return named
