"""M23: ``protocol``: ``tcp://``, ``tls://`` or ``inproc://``, by default what the rest needs."""

from __future__ import annotations

from typing import Any

import pytest

from windrow import Client, LocalCluster


@pytest.mark.parametrize(
    ("given", "scheme"),
    [
        ({}, "tcp://"),
        ({"protocol": "tcp://"}, "tcp://"),
        ({"protocol": "tcp", "processes": False}, "tcp://"),
        ({"processes": False}, "inproc://"),
        ({"protocol": "inproc://", "processes": False}, "inproc://"),
    ],
    ids=repr,
)
def test_protocols(given: dict[str, Any], scheme: str) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, **given) as cluster, Client(cluster) as client:
        assert cluster.scheduler_address.startswith(scheme)
        [address] = client.nthreads()
        assert address.startswith(scheme)
        assert client.submit(abs, -1).result(timeout=20) == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"protocol": "inproc", "processes": True}, ValueError, "protocol='inproc' and processes=True do not go"),
        ({"protocol": "inproc", "processes": False, "scheduler_port": 1}, ValueError, "and scheduler_port=1 do not"),
        ({"protocol": "tcp", "host": "inproc://"}, ValueError, "protocol='tcp' and host='inproc://' do not go"),
        ({"protocol": "ucx"}, ValueError, "there is no protocol 'ucx'; there are inproc://, local://, tcp://"),
    ],
)
def test_what_does_not_go(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        LocalCluster(n_workers=0, **given)
