"""M24: ``interface``: the network interface to use; this machine's own by default."""

from __future__ import annotations

import pytest

from windrow import Client, LocalCluster


def test_the_interface_is_where_they_listen() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, interface="lo") as cluster, Client(cluster) as client:
        [address] = client.nthreads()
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert address.startswith("tcp://127.0.0.1:")


def test_one_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"eth99.*'?lo'?"):
        LocalCluster(n_workers=0, interface="eth99")


def test_an_interface_and_a_host() -> None:
    with pytest.raises(ValueError, match=r"interface='lo' and host='127\.0\.0\.1' do not go together"):
        LocalCluster(n_workers=0, interface="lo", host="127.0.0.1")
