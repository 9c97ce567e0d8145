"""The table of names: every one resolves, and what is not there says so."""

from __future__ import annotations

import importlib

import dask.config
import pytest

import windrow
from windrow.dask import table
from windrow.errors import TimeoutError as WindrowTimeout

MODULES = sorted(table.MODULES)

LIBRARIES = """
from distributed import Client, Future, LocalCluster, MultiLock, Nanny, Scheduler, Worker, get_client, get_worker, wait
from distributed import default_client, Lock, Variable, Queue, Event, Semaphore, Security, TimeoutError, worker_client
from distributed.client import Client, Future, futures_of, wait, as_completed, _get_global_client
from distributed.comm import get_address_host, get_address_host_port, parse_address, parse_host_port
from distributed.comm.addressing import parse_host_port
from distributed.comm.addressing import addresses_from_user_args
from distributed.comm.core import CommClosedError
from distributed.core import CommClosedError, Status
from distributed.deploy import Cluster
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.cluster import Cluster
from distributed.deploy.local import LocalCluster, nprocesses_nthreads
from distributed.deploy.spec import ProcessInterface, SpecCluster
from distributed.deploy.utils import nprocesses_nthreads
from distributed import get_task_stream, performance_report
from distributed.diagnostics import MemorySampler
from distributed.diagnostics.memory_sampler import MemorySampler
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin, UploadFile, WorkerPlugin
from distributed.lock import Lock
from distributed.metrics import time
from distributed.proctitle import enable_proctitle_on_children, enable_proctitle_on_current
from distributed.protocol import dask_deserialize, dask_serialize, deserialize, serialize
from distributed.protocol.pickle import dumps, loads
from distributed.protocol.serialize import dask_deserialize, dask_serialize, register_generic
from distributed.queues import Queue
from distributed.scheduler import KilledWorker, NoValidWorkerError, Scheduler, TaskState, WorkerState
from distributed.security import Security
from distributed.sizeof import safe_sizeof, sizeof
from distributed.system import CPU_COUNT, MEMORY_LIMIT
from distributed.threadpoolexecutor import rejoin, secede
from distributed.utils import CancelledError, Log, Logs, LoopRunner, TimeoutError, format_dashboard_link, get_ip
from distributed.utils import get_ip_interface, import_term, iscoroutinefunction, log_errors, parse_bytes, sync
from distributed.utils import SyncMethodMixin, cli_keywords, has_arg, key_split, thread_state, warn_on_duration
from distributed.utils_test import captured_logger, cluster, gen_cluster, gen_test, inc, popen, slowinc
from distributed.utils_test import cleanup, client, cluster_fixture, loop, loop_in_thread
from distributed.variable import Variable
from distributed.versions import get_versions
from distributed.worker import Worker, get_client, get_worker, secede
from distributed.worker_client import worker_client
from distributed.worker_memory import parse_memory_limit
""".strip().splitlines()


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_the_table_is_there(installed: None, module: str) -> None:
    found = importlib.import_module(f"distributed.{module}" if module else "distributed")
    for name in table.MODULES[module]:
        getattr(found, name)
        assert name in dir(found)


@pytest.mark.parametrize("line", LIBRARIES)
def test_what_libraries_import_is_there(installed: None, line: str) -> None:
    exec(line, {})


def test_what_is_exported_is_windrows_own(installed: None) -> None:
    space: dict[str, object] = {}
    exec("from dask.distributed import *", space)
    assert set(windrow.__all__) - {"WindrowError"} <= set(space)
    theirs = [name for name in windrow.__all__ if name != "WindrowError"]
    assert [name for name in theirs if space[name] is not getattr(windrow, name)] == []
    assert "config" not in space


def test_submodules_are_found_without_being_imported(installed: None) -> None:
    import distributed

    assert distributed.utils.sync is distributed.sync
    assert distributed.protocol.pickle.loads(distributed.protocol.pickle.dumps(1)) == 1
    assert distributed.config is dask.config.config
    assert distributed.dask is dask
    assert distributed.TimeoutError is WindrowTimeout


def test_the_version_is_that_of_dask(installed: None) -> None:
    import distributed

    assert distributed.__version__ == dask.__version__
    assert distributed.__git_revision__.startswith("windrow")


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        ("distributed", "connect", "run_on_scheduler"),
        ("distributed.diagnostics.progressbar", "TextProgressBar", "'progress'"),
        ("distributed.core", "Server", "SchedulerPlugin"),
        ("distributed", "shuffle", "tasks"),
        ("distributed", "Clinet", "'Client'"),
        ("distributed.utils", "loop_runner", "'LoopRunner'"),
        ("distributed.lock", "xyz", "docs/drop-in.md"),
    ],
)
def test_a_name_that_is_not_there_says_so_and_what_to_use(installed: None, module: str, name: str, advice: str) -> None:
    words = f"windrow is in the place of distributed here, and its {module} has no {name!r}: .*{advice}"
    with pytest.raises(ImportError, match=words):
        exec(f"from {module} import {name}", {})
    with pytest.raises(AttributeError, match=words):
        getattr(importlib.import_module(module), name)
    assert not hasattr(importlib.import_module(module), name)


def test_libraries_that_have_another_way_take_it(installed: None) -> None:
    try:
        from distributed import Pub  # type: ignore[attr-defined]
    except ImportError:
        Pub = None
    assert Pub is None
