"""Clusters with plugins: of threads where that will do, of processes where a process is the point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from windrow import Client, LocalCluster


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of these clusters away from the user's own."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory


@pytest.fixture
def threads() -> Iterator[LocalCluster]:
    """One worker of one thread in this process."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def client(threads: LocalCluster) -> Iterator[Client]:
    """A client of the cluster of threads."""
    with Client(threads) as client:
        yield client


@pytest.fixture
def processes() -> Iterator[LocalCluster]:
    """One worker process of one thread, of the test's own."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def process_client(processes: LocalCluster) -> Iterator[Client]:
    """A client of the cluster of processes."""
    with Client(processes) as client:
        yield client
