"""windrow: a task engine for Python, with the interface that Dask users know.

What lives here: the public names, each imported at its first use, so that ``import windrow`` costs next to nothing.

Examples
--------
>>> from windrow import Client
>>> with Client(n_workers=1, processes=False) as client:
...     client.submit(sum, [1, 2, 3]).result()
6
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.client.client import Client
    from windrow.client.completed import as_completed
    from windrow.client.current import default_client
    from windrow.client.future import Future, futures_of
    from windrow.client.in_task import get_client, get_worker, local_client, rejoin, secede, worker_client
    from windrow.client.progress import progress
    from windrow.client.waiting import wait
    from windrow.deploy.adaptive import Adaptive
    from windrow.deploy.local import LocalCluster
    from windrow.deploy.nanny import Nanny
    from windrow.deploy.spec import SpecCluster
    from windrow.deploy.ssh import SSHCluster
    from windrow.deploy.subprocess import SubprocessCluster
    from windrow.errors import (
        CancelledError,
        FutureCancelledError,
        KilledWorker,
        PickleError,
        Reschedule,
        TimeoutError,
        WindrowError,
    )
    from windrow.node import Status
    from windrow.plugins.base import NannyPlugin, SchedulerPlugin, WorkerPlugin
    from windrow.plugins.files import UploadDirectory, UploadFile
    from windrow.plugins.install import CondaInstall, InstallPlugin, PipInstall
    from windrow.plugins.settings import Environ
    from windrow.primitives.actor import Actor, ActorFuture, BaseActorFuture
    from windrow.primitives.event import Event
    from windrow.primitives.lock import Lock
    from windrow.primitives.multi_lock import MultiLock
    from windrow.primitives.queue import Queue
    from windrow.primitives.semaphore import Semaphore
    from windrow.primitives.topics import print, warn
    from windrow.primitives.variable import Variable
    from windrow.scheduler.scheduler import Scheduler
    from windrow.tls import Security
    from windrow.worker.worker import Worker

__version__ = "0.1.0"

_HOMES = {
    "Actor": "windrow.primitives.actor",
    "ActorFuture": "windrow.primitives.actor",
    "Adaptive": "windrow.deploy.adaptive",
    "BaseActorFuture": "windrow.primitives.actor",
    "CancelledError": "windrow.errors",
    "Client": "windrow.client.client",
    "CondaInstall": "windrow.plugins.install",
    "Environ": "windrow.plugins.settings",
    "Event": "windrow.primitives.event",
    "Future": "windrow.client.future",
    "FutureCancelledError": "windrow.errors",
    "InstallPlugin": "windrow.plugins.install",
    "KilledWorker": "windrow.errors",
    "LocalCluster": "windrow.deploy.local",
    "Lock": "windrow.primitives.lock",
    "MultiLock": "windrow.primitives.multi_lock",
    "Nanny": "windrow.deploy.nanny",
    "NannyPlugin": "windrow.plugins.base",
    "PickleError": "windrow.errors",
    "PipInstall": "windrow.plugins.install",
    "Queue": "windrow.primitives.queue",
    "Reschedule": "windrow.errors",
    "Scheduler": "windrow.scheduler.scheduler",
    "SSHCluster": "windrow.deploy.ssh",
    "Security": "windrow.tls",
    "SchedulerPlugin": "windrow.plugins.base",
    "Semaphore": "windrow.primitives.semaphore",
    "SpecCluster": "windrow.deploy.spec",
    "SubprocessCluster": "windrow.deploy.subprocess",
    "Status": "windrow.node",
    "TimeoutError": "windrow.errors",
    "UploadDirectory": "windrow.plugins.files",
    "UploadFile": "windrow.plugins.files",
    "Variable": "windrow.primitives.variable",
    "WindrowError": "windrow.errors",
    "Worker": "windrow.worker.worker",
    "WorkerPlugin": "windrow.plugins.base",
    "as_completed": "windrow.client.completed",
    "default_client": "windrow.client.current",
    "fire_and_forget": "windrow.client.future",
    "futures_of": "windrow.client.future",
    "get_client": "windrow.client.in_task",
    "get_task_metadata": "windrow.client.task_metadata",
    "get_task_stream": "windrow.client.stream",
    "get_worker": "windrow.client.in_task",
    "MemorySampler": "windrow.client.memory_sampler",
    "local_client": "windrow.client.in_task",
    "performance_report": "windrow.client.performance_report",
    "print": "windrow.primitives.topics",
    "progress": "windrow.client.progress",
    "rejoin": "windrow.client.in_task",
    "secede": "windrow.client.in_task",
    "span": "windrow.client.spans",
    "wait": "windrow.client.waiting",
    "warn": "windrow.primitives.topics",
    "worker_client": "windrow.client.in_task",
}

_ABSENT = frozenset(
    [
        "CompatibleExecutor",
        "connect",
        "rpc",
        "sync",
        "widgets",
    ]
)
"""Names that programs for Dask import, and that this version lacks. (Those of `Client` are in ``client.absent``.)"""

__all__ = [
    "Actor",
    "ActorFuture",
    "Adaptive",
    "BaseActorFuture",
    "CancelledError",
    "Client",
    "CondaInstall",
    "Environ",
    "Event",
    "Future",
    "FutureCancelledError",
    "InstallPlugin",
    "KilledWorker",
    "LocalCluster",
    "Lock",
    "MemorySampler",
    "MultiLock",
    "Nanny",
    "NannyPlugin",
    "PickleError",
    "PipInstall",
    "Queue",
    "Reschedule",
    "SSHCluster",
    "Scheduler",
    "SchedulerPlugin",
    "Security",
    "Semaphore",
    "SpecCluster",
    "Status",
    "SubprocessCluster",
    "TimeoutError",
    "UploadDirectory",
    "UploadFile",
    "Variable",
    "WindrowError",
    "Worker",
    "WorkerPlugin",
    "as_completed",
    "default_client",
    "fire_and_forget",
    "futures_of",
    "get_client",
    "get_task_metadata",
    "get_task_stream",
    "get_worker",
    "local_client",
    "performance_report",
    "print",
    "progress",
    "rejoin",
    "secede",
    "span",
    "wait",
    "warn",
    "worker_client",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise _missing(name)
    import importlib

    value: object = getattr(importlib.import_module(home), name)
    if name == "Client":
        from windrow.client.client import set_cluster_factory

        set_cluster_factory(_make_local_cluster)
    globals()[name] = value
    return value


def _missing(name: str) -> Exception:
    """Return the error of a name that is not here. It imports nothing: ``from windrow import wire`` asks here first."""
    if name not in _ABSENT:
        return AttributeError(f"module 'windrow' has no attribute {name!r}")
    import sys

    words = f"{name} is not in this version of windrow"
    # An AttributeError would do for `windrow.Lock` and hasattr, but "from windrow import Lock" replaces its words by
    # others. The import system looks the name up from this function of its own, and lets an ImportError pass.
    if sys._getframe(2).f_code.co_name == "_handle_fromlist":
        return ImportError(words, name="windrow")
    return AttributeError(words)


def _make_local_cluster(**kwargs: object) -> object:
    from windrow.deploy.local import LocalCluster

    return LocalCluster(**kwargs)  # type: ignore[arg-type]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
