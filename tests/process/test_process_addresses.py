"""Whole clusters at addresses of each kind."""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.request
from pathlib import Path
from typing import Any

import process_tasks as tasks
import psutil
import pytest

from windrow import Client, LocalCluster, Scheduler, Security, Worker, schemes
from windrow.transport import unix

LIMIT_S = 15.0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def check_all_ways(cluster: LocalCluster, scheme: str) -> None:
    """Tasks, values from worker to worker, another client by the address, and a worker that is started again."""
    with Client(cluster) as client:
        addresses = list(client.scheduler_info()["workers"])
        assert len(addresses) == 2
        assert all(address.startswith(scheme) for address in [cluster.scheduler_address, *addresses])
        here = client.submit(tasks.inc, 1, workers=[addresses[0]])
        assert client.submit(tasks.inc, here, workers=[addresses[1]]).result(timeout=LIMIT_S) == 3
        with Client(cluster.scheduler_address) as other:
            assert other.submit(tasks.inc, 5).result(timeout=LIMIT_S) == 6
        client.restart()
        assert client.submit(tasks.inc, 7).result(timeout=LIMIT_S) == 8


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6() -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="tcp://[::1]", dashboard_address="[::1]:0", protocol="tcp"
    ) as cluster:
        assert cluster.dashboard_link.startswith("http://[::1]:")
        with urllib.request.urlopen(cluster.dashboard_link, timeout=LIMIT_S) as answer:
            assert answer.status == 200
        check_all_ways(cluster, "tcp://[::1]:")


@pytest.mark.skipif(not unix.is_there(), reason="this system has no abstract unix sockets")
def test_unix_sockets_alone_open_no_port() -> None:
    before, others = listening(os.getpid()), {child.pid for child in psutil.Process().children(recursive=True)}
    with LocalCluster(n_workers=2, threads_per_worker=1, protocol="local", dashboard_address=None) as cluster:
        check_all_ways(cluster, "local://")
        assert listening(os.getpid()) == before
        own = [child.pid for child in psutil.Process().children(recursive=True) if child.pid not in others]
        assert own
        assert all(listening(pid) == set() for pid in own)
        assert "local" in repr(cluster)


@pytest.mark.skipif(not unix.is_there(), reason="this system has no abstract unix sockets")
def test_parties_of_one_host_are_linked_by_unix_sockets(own_cluster: LocalCluster, own_client: Client) -> None:
    said = own_client.run(_link_of_worker)
    assert set(said.values()) == {f"<Dialler to {own_cluster.scheduler_address}, by unix socket>"}


def _link_of_worker(dask_worker: object) -> str:
    return repr(dask_worker.link)  # type: ignore[attr-defined]


def listening(pid: int) -> set[int]:
    """Return the ports on which a process listens."""
    return {one.laddr.port for one in psutil.Process(pid).net_connections("inet") if one.status == psutil.CONN_LISTEN}


def test_a_transport_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip would have installed it, for this process and for those of the workers."""
    facts = tmp_path / "path_transport-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: path-transport\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[windrow.transports]\npath = path_transport\n")
    example = Path(__file__).parents[2] / "examples" / "path_transport.py"
    (tmp_path / "path_transport.py").write_text(example.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(schemes, "_backends", dict(schemes._backends))
    with LocalCluster(n_workers=2, threads_per_worker=1, protocol="path") as cluster:
        check_all_ways(cluster, "path://")


def test_a_worker_that_listens_everywhere_is_reached_as_its_scheduler_reaches_it() -> None:
    async def main() -> None:
        async with Scheduler(dashboard_address=None) as scheduler:
            options: dict[str, Any] = {"host": "", "dashboard_address": None}
            with pytest.raises(RuntimeError, match="would let other machines reach this process unencrypted"):
                await Worker(scheduler.address, **options)
            security = Security(require_encryption=False)
            async with Worker(scheduler.address, security=security, **options) as worker:
                port = worker.address.rpartition(":")[2]
                assert worker.address == f"tcp://127.0.0.1:{port}"
                hosts = {
                    one.laddr.ip for one in psutil.Process().net_connections("inet") if one.laddr.port == int(port)
                }
                assert hosts == ({"0.0.0.0", "::"} if has_ipv6() else {"0.0.0.0"})

    asyncio.run(main())
