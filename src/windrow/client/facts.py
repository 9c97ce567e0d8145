"""Steps that gather what is known of a cluster: where keys are, what tasks do, versions, logs, and all of it at once.

What lives here: questions, and the joining of their answers. What this file must never know: `Client`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from windrow import versions
from windrow.client import calls
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.keys import Key, from_plain, label
from windrow.wire import requests as r

UNKNOWN = "forgotten"
"""The state of a task that the scheduler does not know."""


def by_key(session: Session, request: r.Request, kind: type[dict[Key, Any]] = dict) -> Steps[dict[Key, Any]]:
    """Ask for something by key; ``kind`` of mapping is returned."""
    found = yield from calls.ask_value(session, request)
    return kind({from_plain(key): value for key, value in found.items()})


def by_worker(
    session: Session, request: r.Request, kind: type[dict[str, list[Key]]] = dict
) -> Steps[dict[str, list[Key]]]:
    """Ask for the keys of workers; ``kind`` of mapping is returned."""
    found = yield from calls.ask_value(session, request)
    return kind({address: [from_plain(key) for key in listed] for address, listed in found.items()})


def of_tasks(session: Session, keys: Collection[Key] | None) -> Steps[dict[Key, dict[str, Any]]]:
    """What the scheduler knows of tasks, by key."""
    found = yield from calls.ask_value(session, r.Facts(None if keys is None else list(keys)))
    tasks = {from_plain(key): facts for key, facts in found}
    for facts in tasks.values():
        for name in ("dependencies", "dependents"):
            facts[name] = [from_plain(key) for key in facts[name]]
        facts["erred_on"] = from_plain(facts["erred_on"])
    return tasks


def nbytes(session: Session, keys: Collection[Key] | None, summary: bool) -> Steps[dict[Any, int]]:
    """Sizes of results in memory, by key or by what their keys begin with."""
    found = yield from calls.ask_value(session, r.Facts(None if keys is None else list(keys), ["nbytes"]))
    sizes: dict[Any, int] = {from_plain(key): facts["nbytes"] for key, facts in found if facts["nbytes"] is not None}
    if not summary:
        return sizes
    from dask.utils import key_split

    sums: dict[str, int] = {}
    for key, size in sizes.items():
        prefix = key_split(key)
        sums[prefix] = sums.get(prefix, 0) + size
    return sums


def of_workers(session: Session, request: r.Report) -> Steps[dict[str, Any]]:
    """What workers say of themselves; those that leave meanwhile are left out."""
    reply = yield from calls.ask(session, request)
    told: dict[str, Any] = {}
    for address, blob in zip(reply.value, reply.blobs, strict=True):
        if blob is not None:
            assert isinstance(blob, bytes)
            told[address] = msgspec.msgpack.decode(blob)
    return told


def _of_keys(session: Session, request: r.Report) -> Steps[dict[str, list[tuple[Key, Any]]]]:
    told = yield from of_workers(session, request)
    return {address: [(from_plain(key), said) for key, said in pairs] for address, pairs in told.items()}


def on_scheduler(session: Session, function: Callable[..., Any], *args: Any) -> Steps[Any]:
    """The result of a function of windrow's own in the scheduler's process."""
    result = yield from calls.run_on_scheduler(session, calls.call_blob(function, args, {}))
    return result


def all_versions(session: Session, packages: Sequence[str], check: bool) -> Steps[dict[str, Any]]:
    """Versions of client, scheduler and workers; with ``check``, a warning if they differ."""
    ask = partial(versions.versions, packages)
    scheduler = yield from calls.ask_value(session, r.Versions(list(packages)))
    workers = yield from of_workers(session, r.Report("versions", packages=list(packages)))
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
    records = yield from calls.ask_value(session, r.RecentLogs(n))
    return [tuple(record) for record in records]


def worker_logs(session: Session, n: int | None, workers: list[str] | None) -> Steps[dict[str, list[tuple[str, str]]]]:
    """The last log records of workers, by address."""
    if workers is not None:
        workers = list((yield from calls.chosen_workers(session, workers)))
    told = yield from of_workers(session, r.Report("logs", workers, n))
    return {address: [tuple(record) for record in records] for address, records in told.items()}


def call_stacks(session: Session, keys: list[Key] | None) -> Steps[dict[str, dict[Key, list[str]]]]:
    """Frames of running tasks, by worker and key; workers where none runs are left out."""
    found = yield from _of_keys(session, r.Report("stacks", keys=keys))
    return {address: dict(stacks) for address, stacks in found.items() if stacks}


def story(session: Session, keys: list[Key]) -> Steps[list[tuple[Any, ...]]]:
    """Where tasks stand, by scheduler and workers."""
    tasks = yield from of_tasks(session, keys)
    workers = yield from _of_keys(session, r.Report("states", keys=keys))
    records: list[tuple[Any, ...]] = [("scheduler", key, facts["state"], facts) for key, facts in tasks.items()]
    records += [(address, key, state, {}) for address, states in workers.items() for key, state in states]
    return records


def everything(session: Session, exclude: Collection[str]) -> Steps[dict[str, Any]]:
    """The state of the cluster as plain data whose dicts have names only; of tasks, nothing named in ``exclude``."""
    identity = yield from calls.ask_value(session, r.Identity())
    tasks = yield from of_tasks(session, None)
    on_each = yield from _of_keys(session, r.Report("states"))
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
