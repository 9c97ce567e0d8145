"""A cluster that is attacked, and a client of it whose work goes on meanwhile."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import attack_tasks as tasks
import pytest

from windrow import Client, LocalCluster
from windrow.scheduler.invariants import check_invariants


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of these clusters away from the user's own; their processes find `attack_tasks`."""
    directory = tmp_path_factory.mktemp("run")
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        patch.setenv("PYTHONPATH", path)
        yield directory


@pytest.fixture(scope="module")
def cluster(runtime_directory: Path) -> Iterator[LocalCluster]:
    """Two workers of one thread, which no attack ends."""
    with LocalCluster(n_workers=2, threads_per_worker=1, scheduler_port=0) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def encrypted(runtime_directory: Path) -> Iterator[LocalCluster]:
    """A cluster of one worker that speaks TLS."""
    with LocalCluster(n_workers=1, threads_per_worker=1, security=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def owner(cluster: LocalCluster) -> Iterator[Client]:
    """The client of the user whose cluster is attacked."""
    with Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def target(cluster: LocalCluster, owner: Client, caplog: pytest.LogCaptureFixture) -> Iterator[LocalCluster]:
    """The cluster; its work goes on through the attack, its connections stand, and it takes newcomers after it."""
    caplog.set_level(logging.WARNING)
    workers = owner.run(tasks.pid)
    before = owner.map(tasks.inc, range(200), pure=False)
    yield cluster
    after = owner.map(tasks.inc, range(200, 400), pure=False)
    assert owner.gather(before + after) == list(range(1, 401))
    assert owner.run(tasks.pid) == workers
    with Client(cluster.scheduler_address, set_as_default=False) as newcomer:
        assert newcomer.submit(tasks.inc, 1).result(timeout=5) == 2
    check_invariants(cluster.scheduler.core.state)
