"""M16: ``host``: where the scheduler listens, this machine alone by default; ``ip`` is its old name."""

from __future__ import annotations

import psutil
import pytest
from mission_help import workers_of

from windrow import Client, LocalCluster


def listening() -> set[str]:
    return {each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN}


def test_by_default_nobody_else_can_reach_it() -> None:
    before = listening()
    with LocalCluster(n_workers=0) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert listening() - before <= {"127.0.0.1"}


def test_scheduler_and_workers_listen_there() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.2") as cluster, Client(cluster) as client:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.2:")
        [address] = client.nthreads()
        assert address.startswith("tcp://127.0.0.2:")
        assert [worker["host"] for worker in workers_of(cluster)] == ["127.0.0.2"]
        assert client.submit(abs, -1).result() == 1


def test_a_host_may_name_the_protocol() -> None:
    with LocalCluster(n_workers=0, processes=False, host="tcp://127.0.0.1") as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")


def test_all_interfaces_are_encrypted() -> None:
    with LocalCluster(n_workers=0, host="0.0.0.0", dashboard_address=None) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        assert "0.0.0.0" in listening()


def test_all_interfaces_without_encryption_draw_a_warning() -> None:
    with pytest.warns(UserWarning, match="authenticated, but not encrypted"):
        cluster = LocalCluster(n_workers=0, host="0.0.0.0", dashboard_address=None, security=False)
    with cluster:
        assert cluster.scheduler_address.startswith("tcp://")


def test_plain_tcp_for_other_machines_must_be_said() -> None:
    with pytest.raises(RuntimeError, match=r"unencrypted: use tls://, or say .*require_encryption=False"):
        LocalCluster(n_workers=0, host="tcp://0.0.0.0")


def test_ip_is_the_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="ip= is an old name of host="):
        cluster = LocalCluster(n_workers=0, ip="127.0.0.2")
    with cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.2:")
