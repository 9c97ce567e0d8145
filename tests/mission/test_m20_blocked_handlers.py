"""M20: ``blocked_handlers``: names of requests that the scheduler refuses, such as ``["feed", "run_function"]``."""

from __future__ import annotations

import dask
import pytest

from windrow import Client, LocalCluster
from windrow.roles import Role, token


def test_what_is_blocked_is_refused_and_the_rest_goes_on() -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, blocked_handlers=["feed", "run_function"]
    ) as cluster:
        with Client(cluster) as client:
            with pytest.raises(PermissionError, match="the scheduler refuses 'run_function': its blocked_handlers"):
                client.run_on_scheduler(abs, -1)
            assert client.submit(abs, -1).result(timeout=20) == 1
        assert "has joined" in cluster.get_logs()["Scheduler"]  # what the cluster itself asks is not blocked


def test_by_default_what_is_configured() -> None:
    with dask.config.set({"distributed.scheduler.blocked-handlers": ["retire_workers"]}):
        with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
            with pytest.raises(PermissionError, match="refuses 'retire_workers'"):
                client.retire_workers()


def test_a_cluster_may_scale_whatever_its_clients_may() -> None:
    with LocalCluster(n_workers=2, processes=False, blocked_handlers=["retire_workers"]) as cluster:
        cluster.scale(1)
        assert cluster.plan == {0}


def test_names_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match=r"there is no request 'run_functions' \(did you mean 'run_function'\?\)"):
        LocalCluster(n_workers=0, processes=False, blocked_handlers=["run_functions"])


def test_every_role_is_refused_what_is_blocked() -> None:
    how = {"processes": False, "protocol": "tcp", "blocked_handlers": ["who_has", "gather"]}
    with LocalCluster(n_workers=1, threads_per_worker=1, **how) as own:
        for role in Role:
            with Client(own.scheduler_address, secret=token(own.secret, role), set_as_default=False) as client:
                with pytest.raises(PermissionError, match="the scheduler refuses 'who_has': its blocked_handlers"):
                    client.who_has()
                assert client.has_what()
