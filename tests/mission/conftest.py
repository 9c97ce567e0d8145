"""Real clusters for the mission's rows, one file a row; those that only look share one."""

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


@pytest.fixture(scope="session")
def cluster(runtime_directory: Path) -> Iterator[LocalCluster]:
    """Two worker processes of one thread, for tests that leave them as they are."""
    with LocalCluster(n_workers=2, threads_per_worker=1, name="shared") as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """A client of the shared cluster."""
    with Client(cluster) as client:
        yield client
