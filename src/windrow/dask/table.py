"""Which names of ``distributed`` there are, by module, and what of windrow each one is.

What lives here: the table, and the words for names that are not in it. What this file must never know: how modules are
made of it.

A home is ``"module:attribute"``, or a module alone. What other libraries import is here; what they never do is not.
"""

from __future__ import annotations

import difflib
from typing import Final

import windrow

__all__ = ["COMMANDS", "MODULES", "UNSTARRED", "no_module", "no_name"]

UNSTARRED: Final = frozenset(["config", "dask", "widgets", "version"])
"""Not among what ``from dask.distributed import *`` takes."""


def _of(home: str, names: str) -> dict[str, str]:
    return {name: f"{home}:{name}" for name in names.split()}


_ERRORS = _of("windrow.errors", "CancelledError TimeoutError")
_CLIENT_ERRORS = _of("windrow.errors", "ClosedClientError FutureCancelledError FuturesCancelledError")
_COMM = _of(
    "windrow.dask.comm",
    "get_address_host get_address_host_port get_local_address_for get_tcp_server_address normalize_address "
    "parse_address parse_host_port resolve_address unparse_address unparse_host_port",
)
_COMM_CLOSED = _of("windrow.dask.comm", "CommClosedError")
_SERIALIZE = _of(
    "windrow.dask.serialize",
    "Serialize Serialized dask_deserialize dask_serialize deserialize deserialize_bytes nested_deserialize "
    "register_generic register_serialization register_serialization_lazy serialize serialize_bytelist "
    "serialize_bytes to_serialize",
)
_FRAMES = _of("windrow.dask.serialize", "dumps loads")
_PLUGINS = _of(
    "windrow",
    "CondaInstall Environ InstallPlugin NannyPlugin PipInstall SchedulerPlugin UploadDirectory UploadFile WorkerPlugin",
)
_SHARING = _of("windrow.system", "nprocesses_nthreads")
_RPC = _of("windrow.dask.core", "rpc")
_STATUS = _of("windrow", "Status")
_IN_TASKS = _of("windrow", "get_client get_worker secede")

MODULES: Final[dict[str, dict[str, str]]] = {
    "": {
        **_of("windrow", " ".join(name for name in windrow.__all__ if name != "WindrowError")),
        **_of("windrow.dask.utils", "sync"),
        **_RPC,
        **_of("windrow.dask.version", "__version__ __git_revision__"),
        "config": "dask.config:config",
        "dask": "dask",
    },
    "actor": _of("windrow", "Actor ActorFuture BaseActorFuture"),
    "cfexecutor": _of("windrow.client.executor", "ClientExecutor"),
    "cli": {},
    "cli.dask_scheduler": {"main": "windrow.dask.commands:scheduler"},
    "cli.dask_spec": {"main": "windrow.dask.commands:spec"},
    "cli.dask_ssh": {"main": "windrow.dask.commands:ssh"},
    "cli.dask_worker": {"main": "windrow.dask.commands:worker"},
    "client": {
        **_of("windrow", "Client Future as_completed default_client fire_and_forget futures_of get_client"),
        **_of("windrow", "get_task_metadata get_task_stream performance_report wait"),
        **_of("windrow.dask.client", "_get_global_client temp_default_client"),
        **_of("windrow.client.waiting", "ALL_COMPLETED FIRST_COMPLETED DoneAndNotDoneFutures")
        | {"DoneAndNotDoneFutures": "windrow.client.waiting:DoneAndNotDone"},
        **_ERRORS,
        **_CLIENT_ERRORS,
        **_of("windrow.dask.utils", "sync thread_state"),
    },
    "comm": {**_COMM, **_COMM_CLOSED},
    "comm.addressing": _COMM | _of("windrow.dask.comm", "addresses_from_user_args"),
    "comm.core": _COMM_CLOSED,
    "comm.tcp": {},
    "comm.utils": {},
    "compatibility": _of("windrow.dask.version", "LINUX MACOS PYPY WINDOWS"),
    "config": {
        "config": "dask.config:config",
        "get": "dask.config:get",
        "set": "dask.config:set",
        "dask": "dask",
    },
    "core": {**_STATUS, **_COMM_CLOSED, **_RPC},
    "deploy": {
        **_of("windrow", "Adaptive LocalCluster SSHCluster SpecCluster SubprocessCluster"),
        **_of("windrow.deploy.cluster", "Cluster"),
        **_of("windrow.deploy.spec", "ProcessInterface"),
    },
    "deploy.adaptive": _of("windrow", "Adaptive"),
    "deploy.cluster": _of("windrow.deploy.cluster", "Cluster"),
    "deploy.local": {**_of("windrow", "LocalCluster"), **_SHARING},
    "deploy.spec": {
        **_of("windrow.deploy.spec", "ProcessInterface SpecCluster"),
        "run_spec": "windrow.dask.commands:run_spec",
    },
    "deploy.ssh": _of("windrow", "SSHCluster"),
    "deploy.subprocess": _of("windrow", "SubprocessCluster"),
    "deploy.utils": _SHARING,
    "diagnostics": _of("windrow", "MemorySampler SchedulerPlugin"),
    "diagnostics.memory_sampler": _of("windrow", "MemorySampler"),
    "diagnostics.plugin": {
        **_PLUGINS,
        **_of("windrow.plugins.output", "ForwardLoggingPlugin ForwardOutput"),
    },
    "diagnostics.progressbar": _of("windrow", "progress"),
    "event": _of("windrow", "Event"),
    "exceptions": {**_of("windrow", "Reschedule"), **_of("windrow.errors", "WorkerStartTimeoutError")},
    "lock": _of("windrow", "Lock"),
    "metrics": _of("windrow.dask.version", "monotonic process_time thread_time time"),
    "multi_lock": _of("windrow", "MultiLock"),
    "nanny": _of("windrow", "Nanny"),
    "preloading": {},
    "proctitle": _of(
        "windrow.dask.version",
        "enable_proctitle_on_children enable_proctitle_on_current setproctitle setproctitle_exec",
    ),
    "protocol": {**_SERIALIZE, **_FRAMES},
    "protocol.core": _FRAMES,
    "protocol.pickle": _of("windrow.dask.pickles", "HIGHEST_PROTOCOL dumps loads"),
    "protocol.serialize": _SERIALIZE,
    "queues": _of("windrow", "Queue"),
    "scheduler": {
        **_of("windrow", "KilledWorker Scheduler"),
        **_of("windrow.errors", "NoValidWorkerError"),
        "ClientState": "windrow.scheduler.views:ClientView",
        "TaskState": "windrow.scheduler.views:TaskView",
        "WorkerState": "windrow.scheduler.views:WorkerView",
    },
    "security": _of("windrow", "Security"),
    "semaphore": _of("windrow", "Semaphore"),
    "sizeof": {"safe_sizeof": "windrow.dask.utils:safe_sizeof", "sizeof": "dask.sizeof:sizeof"},
    "spans": _of("windrow", "span"),
    "system": _of("windrow.dask.version", "CPU_COUNT MEMORY_LIMIT cpu_count memory_limit"),
    "threadpoolexecutor": _of("windrow", "rejoin secede"),
    "utils": {
        **_of(
            "windrow.dask.utils",
            "All LoopRunner SyncMethodMixin TimeoutError cli_keywords format_dashboard_link get_ip get_ip_interface "
            "get_ipv6 has_arg has_keyword import_term in_async_call is_kernel iscoroutinefunction log_errors open_port "
            "sync thread_state wait_for warn_on_duration",
        ),
        **_of("windrow.deploy.views", "Log Logs"),
        **_of("windrow.errors", "CancelledError"),
        **_of(
            "dask.utils",
            "ensure_bytes format_bytes format_time funcname key_split parse_bytes parse_timedelta tmpfile typename",
        ),
        **_of("windrow.dask.version", "LINUX MACOS WINDOWS"),
        "CPU_COUNT": "windrow.dask.version:CPU_COUNT",
        "MEMORY_LIMIT": "windrow.dask.version:MEMORY_LIMIT",
        "no_default": "windrow.client.options:NO_DEFAULT",
    },
    "utils_test": {
        **_of(
            "windrow.testing.helpers",
            "async_poll_for asyncinc captured_handler captured_logger cluster dec div double gen_cluster gen_test inc "
            "map_varying mul poll_for popen randominc slowadd slowdec slowdouble slowidentity slowinc slowsum throws "
            "varying",
        ),
        **_of("windrow.testing.trust", "gen_tls_cluster tls_only_security"),
        **_of("windrow.testing.fixtures", "a b cleanup client cluster_fixture loop loop_in_thread s"),
    },
    "variable": _of("windrow", "Variable"),
    "versions": {
        **_of("windrow.versions", "VersionMismatchWarning"),
        "get_versions": "windrow.versions:versions",
    },
    "worker": {
        **_IN_TASKS,
        **_of("windrow", "Reschedule Worker local_client print rejoin warn"),
        **_of("windrow.dask.utils", "thread_state"),
        **_of("windrow.system", "parse_memory_limit"),
    },
    "worker_client": _of("windrow", "get_client get_worker local_client worker_client"),
    "worker_memory": _of("windrow.system", "parse_memory_limit"),
}
"""What each module has, by the module's name within the package."""

COMMANDS: Final = {
    f"cli.dask_{name}": f"from windrow.dask.commands import {name}\n{name}()\n"
    for name in ("scheduler", "spec", "ssh", "worker")
}
"""What ``python -m`` runs, by the module's name within the package."""

_P2P: Final = (
    "data moves by tasks here: leave the method out, or say 'tasks' "
    "(dask.config.set({'dataframe.shuffle.method': 'tasks', 'array.rechunk.method': 'tasks'}))"
)
_SERVER: Final = (
    "there is no generic server here: use the methods of Client (run_on_scheduler, run, scheduler_info), "
    "client.scheduler, or a SchedulerPlugin"
)

_ADVICE: Final = {
    "CompatibleExecutor": "use Client.get_executor()",
    "Executor": "use Client, or Client.get_executor()",
    "Pub": "use Client.log_event and subscribe_topic, or a Queue",
    "Server": _SERVER,
    "Sub": "use Client.subscribe_topic, or a Queue",
    "active_memory_manager": "use client.amm, and the setting 'distributed.scheduler.active-memory-manager.start'",
    "comm.registry": "windrow speaks its own protocol; transports are registered with windrow.transport.register",
    "connect": _SERVER,
    "diagnostics.progress": "use SchedulerPlugin.transition, or as_completed",
    "pubsub": "use Client.log_event and subscribe_topic, or a Queue",
    "register_serialization_family": "values are pickled here: use register_serialization for a type of yours",
    "shuffle": _P2P,
    "widgets": "objects show themselves in notebooks by _repr_html_",
    "worker_state_machine": "a worker's tasks are found in get_worker().state.tasks",
}
"""What to use instead, by the name, or the module and the name."""


def no_module(fullname: str, part: str) -> str:
    """Return the words for a module that is not there.

    Examples
    --------
    >>> no_module("distributed.metric", "metric")
    "windrow is in the place of distributed here, and has no module 'distributed.metric': did you mean 'metrics'?"
    """
    return (
        f"windrow is in the place of distributed here, and has no module {fullname!r}: {_advice(part, part, MODULES)}"
    )


def no_name(module: str, part: str, name: str) -> str:
    """Return the words for a name that is not there.

    Examples
    --------
    >>> no_name("distributed", "", "Clinet")
    "windrow is in the place of distributed here, and its distributed has no 'Clinet': did you mean 'Client'?"
    >>> no_name("distributed.diagnostics.progressbar", "diagnostics.progressbar", "TextProgressBar")[-24:]
    "did you mean 'progress'?"
    """
    within = f"{part}.{name}" if part else name
    return (
        f"windrow is in the place of distributed here, and its {module} has no {name!r}: "
        f"{_advice(within, name, MODULES[part])}"
    )


def _advice(within: str, name: str, there: dict[str, str] | dict[str, dict[str, str]]) -> str:
    for known in (within, name, within.partition(".")[0]):
        if known in _ADVICE:
            return _ADVICE[known]
    near = difflib.get_close_matches(name, [known for known in there if not known.startswith("_")], n=1)
    return f"did you mean {near[0]!r}?" if near else "see docs/drop-in.md for what to use"
