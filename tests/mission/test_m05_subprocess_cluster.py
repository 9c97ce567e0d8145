"""M5: `SubprocessCluster`, every party in a dedicated subprocess."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from windrow import Client, SubprocessCluster


def test_every_party_is_in_a_dedicated_subprocess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    with SubprocessCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        scheduler = client.run_on_scheduler(os.getpid)
        workers = client.run(os.getpid)
        assert len({os.getpid(), scheduler, *workers.values()}) == 4
        assert client.gather(client.map(pow, range(10), [2] * 10)) == [number**2 for number in range(10)]
        cluster.scale(3)
        cluster.wait_for_workers(3, timeout=20)
        assert sum(client.nthreads().values()) == 3
    assert set(psutil.Process().children(recursive=True)) <= before
