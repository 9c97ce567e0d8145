"""M14: ``scheduler_port``: 0 takes any port; another is that one, or an error where it is in use."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from windrow import Client, LocalCluster


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_of(cluster: LocalCluster) -> int:
    return int(cluster.scheduler_address.rpartition(":")[2])


@pytest.mark.parametrize("given", [{"n_workers": 0}, {"n_workers": 1, "processes": False}], ids=repr)
def test_the_port_that_is_asked_for(given: dict[str, Any]) -> None:
    port = free_port()
    with LocalCluster(scheduler_port=port, **given) as cluster:
        assert cluster.scheduler_address == f"tcp://127.0.0.1:{port}"
        with Client(f"127.0.0.1:{port}", set_as_default=False) as client:
            assert len(client.nthreads()) == given["n_workers"]


def test_any_port() -> None:
    with LocalCluster(n_workers=0) as one, LocalCluster(n_workers=0) as two:
        assert 0 != port_of(one) != port_of(two) != 0


def test_a_port_that_is_taken() -> None:
    with LocalCluster(n_workers=0) as cluster, pytest.raises(RuntimeError, match="Choose another port") as caught:
        LocalCluster(n_workers=0, scheduler_port=port_of(cluster))
    assert isinstance(caught.value.__cause__, OSError)
