"""Real clusters and real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_help import environment, until

from windrow import Client, LocalCluster


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of these clusters away from the user's own."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory


@pytest.fixture(scope="session")
def cluster(runtime_directory: Path) -> Iterator[LocalCluster]:
    """Two workers of one thread, for tests that leave them alive."""
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster:
        yield cluster


def _invariants(dask_scheduler: object) -> None:
    from windrow.scheduler.invariants import check_invariants

    check_invariants(dask_scheduler.core.state)  # type: ignore[attr-defined]


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """A client of the shared cluster; what a test leaves behind there is an error."""
    with Client(cluster) as client:
        yield client
        if client.status == "running":
            client.run_on_scheduler(_invariants)
    until(lambda: not cluster.scheduler.core.state.tasks, "the scheduler forgets what the test's client wanted")


@pytest.fixture
def own_cluster() -> Iterator[LocalCluster]:
    """Two workers of one thread, to be killed."""
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster:
        yield cluster


@pytest.fixture
def own_client(own_cluster: LocalCluster) -> Iterator[Client]:
    """A client of a cluster of the test's own."""
    with Client(own_cluster) as client:
        yield client
        if client.status == "running":
            client.run_on_scheduler(_invariants)


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs in process groups of their own; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(**env),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
