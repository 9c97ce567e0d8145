"""M22: ``security``: True encrypts all connections, with temporary certificates; a `Security` as it says."""

from __future__ import annotations

from typing import Any

import pytest
from mission_help import family

from windrow import Client, LocalCluster, Security


@pytest.mark.parametrize("security", [object(), {}, "temporary"])
def test_what_is_no_security_is_refused_before_anything_starts(security: Any) -> None:
    before = family()
    with pytest.raises(TypeError, match=r"security=….* must be a Security, True, False or None"):
        LocalCluster(security=security)
    assert family() == before


def test_true_encrypts_all_and_this_users_programs_find_what_they_need() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, security=True, dashboard_address=None) as cluster:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            assert all(address.startswith("tls://") for address in client.nthreads())
            parts = client.map(range, [100_000, 100_001])
            assert client.submit(lambda *given: sum(map(len, given)), *parts).result(timeout=20) == 200_001
        with pytest.raises(OSError, match="not signed by the authority"):
            Client(cluster.scheduler_address, security=Security.temporary())
        with pytest.raises(OSError, match="wrong secret"):
            Client(cluster.scheduler_address, secret=b"w" * 32)
        plain = cluster.scheduler_address.replace("tls", "tcp")
        with pytest.raises(OSError, match="this listener speaks TLS: use tls://"):
            Client(plain, secret=cluster.secret)


def test_what_requires_encryption_refuses_to_do_without() -> None:
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        with pytest.raises(RuntimeError, match="encryption is required"):
            Client(cluster.scheduler_address, security=Security.temporary())


@pytest.mark.parametrize("security", [None, False])
def test_without_it_the_secret_is_what_counts(security: Any) -> None:
    with LocalCluster(n_workers=0, security=security) as cluster:
        assert cluster.scheduler_address.startswith("tcp://")
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            assert client.nthreads() == {}
        with pytest.raises(OSError, match="wrong secret"):
            Client(cluster.scheduler_address, secret=b"w" * 32)
