"""M10: every parameter of ``LocalCluster``, with its default; other rows test what each does."""

from __future__ import annotations

import inspect

import pytest

from windrow import LocalCluster

DEFAULTS = {
    "name": None,
    "n_workers": None,
    "threads_per_worker": None,
    "processes": None,
    "loop": None,
    "start": None,
    "host": None,
    "ip": None,
    "scheduler_port": 0,
    "silence_logs": 30,
    "dashboard_address": ":8787",
    "worker_dashboard_address": None,
    "diagnostics_port": None,
    "services": None,
    "worker_services": None,
    "service_kwargs": None,
    "asynchronous": False,
    "security": None,
    "protocol": None,
    "blocked_handlers": None,
    "interface": None,
    "worker_class": None,
    "scheduler_kwargs": None,
    "scheduler_sync_interval": 1,
}


def test_each_parameter_has_its_default() -> None:
    parameters = inspect.signature(LocalCluster).parameters
    found = {name: each.default for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    assert found == DEFAULTS
    assert parameters["worker_kwargs"].kind is inspect.Parameter.VAR_KEYWORD


def test_all_of_them_at_their_defaults_make_a_cluster() -> None:
    with LocalCluster(**{**DEFAULTS, "n_workers": 0, "processes": False}) as cluster:
        assert cluster.status == "running"


def test_a_name_is_the_clusters() -> None:
    with LocalCluster(name="mine", n_workers=0, processes=False) as cluster:
        assert cluster.name == "mine"


def test_start_is_taken_and_has_no_effect() -> None:
    with pytest.warns(DeprecationWarning, match="start="):
        LocalCluster(start=True, n_workers=0, processes=False).close()


def test_words_for_the_scheduler_reach_it() -> None:
    with LocalCluster(n_workers=0, processes=False, scheduler_kwargs={"dashboard_address": None}) as cluster:
        assert cluster.dashboard_link == ""
