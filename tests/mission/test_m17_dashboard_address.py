"""M17: ``dashboard_address``, its forms; a bare port is where ``host`` is (on loopback, where that says nothing)."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from windrow import LocalCluster


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def start(address: Any) -> LocalCluster:
    return LocalCluster(n_workers=0, processes=False, dashboard_address=address)


@pytest.mark.parametrize("form", ["localhost:{}", "0.0.0.0:{}", ":{}", "{}"])
def test_the_port_that_is_asked_for(form: str) -> None:
    port = free_port()
    with start(form.format(port)) as cluster:
        assert urlsplit(cluster.dashboard_link).port == port
        assert urlopen(f"http://127.0.0.1:{port}/health", timeout=20).read() == b"ok"


def test_a_random_port() -> None:
    with start(":0") as one, start(":0") as other:
        assert urlsplit(one.dashboard_link).port not in (0, None, urlsplit(other.dashboard_link).port)


def test_none_switches_it_off() -> None:
    with start(None) as cluster:
        assert cluster.dashboard_link == ""
