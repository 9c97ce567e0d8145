"""Dask collections on a real cluster: one of two processes for all tests, and one of threads for some."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import collection_data as data
import dask
import numpy as np
import pandas as pd
import pytest
from collection_help import until

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
    """Two worker processes of one thread, which have imported what takes long, for tests that leave them alive."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster, set_as_default=False) as client:
            client.run(importlib.import_module, "dask.dataframe")
        yield cluster


@pytest.fixture(scope="session")
def cluster_of_threads(runtime_directory: Path) -> Iterator[LocalCluster]:
    """Two workers of one thread in this process."""
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster


def _invariants(dask_scheduler: object) -> None:
    from windrow.scheduler.invariants import check_invariants

    check_invariants(dask_scheduler.core.state)  # type: ignore[attr-defined]


def _clients(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client
        if client.status == "running":
            client.run_on_scheduler(_invariants)
    assert dask.config.get("scheduler", None) is None
    until(lambda: not cluster.scheduler.core.state.tasks, "the scheduler forgets what the test's client wanted")


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """A client of the shared cluster and Dask's default; what a test leaves behind there is an error."""
    yield from _clients(cluster)


@pytest.fixture
def client_of_threads(cluster_of_threads: LocalCluster) -> Iterator[Client]:
    """As `client`, of the cluster of threads."""
    yield from _clients(cluster_of_threads)


@pytest.fixture
def own_client() -> Iterator[Client]:
    """A client of a cluster of the test's own, to kill workers of."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        yield client
        client.run_on_scheduler(_invariants)


@pytest.fixture
def addresses(client: Client) -> dict[int, str]:
    """Addresses of the workers by process id."""
    return {pid: address for address, pid in client.run(os.getpid).items()}


# ---------------------------------------------------------------- data


@pytest.fixture(scope="session")
def words() -> pd.DataFrame:
    return data.words()


@pytest.fixture(scope="session")
def days() -> pd.DataFrame:
    return data.days()


@pytest.fixture(scope="session")
def entities() -> pd.DataFrame:
    return data.entities()


@pytest.fixture(scope="session")
def grid() -> np.ndarray:
    return data.grid()


@pytest.fixture(scope="session")
def cube() -> np.ndarray:
    return data.cube()


@pytest.fixture(scope="session")
def csv_files(tmp_path_factory: pytest.TempPathFactory, words: pd.DataFrame) -> str:
    return data.write_csv(tmp_path_factory.mktemp("csv"), words)


@pytest.fixture(scope="session")
def parquet_files(tmp_path_factory: pytest.TempPathFactory, days: pd.DataFrame) -> str:
    return data.write_parquet(tmp_path_factory.mktemp("parquet"), days)


@pytest.fixture(scope="session")
def text_files(tmp_path_factory: pytest.TempPathFactory) -> str:
    return data.write_texts(tmp_path_factory.mktemp("texts"))
