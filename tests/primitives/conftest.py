"""Halls of bare services, and one real cluster for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from primitive_hall import Hall
from primitive_tasks import Program, until

from windrow import Client, LocalCluster


@pytest.fixture
def hall(request: pytest.FixtureRequest) -> Hall:
    """A bare core; the test module says which service is asked."""
    return Hall(getattr(request.module, "SERVICE", ""))


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the secrets of these clusters away from the user's own."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(directory))
        yield directory


@pytest.fixture(scope="session")
def cluster(runtime_directory: Path) -> Iterator[LocalCluster]:
    """Two workers of one thread."""
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
        client.run_on_scheduler(_invariants)
    services = cluster.scheduler.core.desk.services
    until(lambda: not services["queues"].held.counts, "no queue keeps results")
    until(lambda: not services["variables"].held.counts, "no variable keeps results")
    until(lambda: not cluster.scheduler.core.state.tasks, "the scheduler forgets what the test's client wanted")


@pytest.fixture
def program(cluster: LocalCluster) -> Iterator[Callable[[str], Program]]:
    """Start programs that are clients of the shared cluster."""
    started: list[Program] = []

    def start(source: str) -> Program:
        started.append(Program(cluster.scheduler_address, source))
        return started[-1]

    yield start
    for one in started:
        one.close()
