"""M22: ``security``. TLS is not in this version, and refused in words; without it, the secret counts."""

from __future__ import annotations

from typing import Any

import pytest
from mission_help import family

from windrow import Client, LocalCluster


@pytest.mark.parametrize("security", [True, object(), {}, "temporary"])
def test_what_asks_for_tls_is_refused_before_anything_starts(security: Any) -> None:
    before = family()
    with pytest.raises(NotImplementedError, match=r"security=.*TLS is not in this version.*: leave security out"):
        LocalCluster(security=security)
    assert family() == before


@pytest.mark.parametrize("security", [None, False])
def test_without_it_the_secret_is_what_counts(security: Any) -> None:
    with LocalCluster(n_workers=0, security=security) as cluster:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            assert client.nthreads() == {}
        with pytest.raises(OSError, match="wrong secret"):
            Client(cluster.scheduler_address, secret=b"w" * 32)
