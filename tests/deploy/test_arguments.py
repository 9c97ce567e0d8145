"""`LocalCluster` takes what programs written for Dask pass along, and names what it cannot take."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from windrow import LocalCluster


def start(**arguments: Any) -> LocalCluster:
    """A cluster without workers, to be closed."""
    return LocalCluster(**{"n_workers": 0, "processes": False, **arguments})


@pytest.mark.parametrize(
    "harmless",
    [
        {"local_directory": None, "security": None, "loop": None, "interface": None, "worker_class": None},
        {"security": False, "start": True, "scheduler_sync_interval": 1, "diagnostics_port": None},
        {"worker_dashboard_address": None, "blocked_handlers": None, "scheduler_kwargs": None},
        {"services": {}, "worker_services": None, "service_kwargs": {}, "silence_logs": 30, "dashboard_address": None},
        {"protocol": None},
        {"protocol": "inproc"},
        {"protocol": "inproc://"},
    ],
    ids=lambda harmless: ",".join(harmless),
)
def test_what_asks_for_nothing_is_accepted(harmless: dict[str, Any]) -> None:
    with start(**harmless) as cluster:
        assert cluster.status == "running"


@pytest.mark.parametrize("protocol", ["tcp", "tcp://"])
def test_the_protocol_of_processes(protocol: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with start(processes=True, protocol=protocol) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")


@pytest.mark.parametrize(
    "asked",
    [
        {"local_directory": "/tmp"},
        {"security": True},
        {"loop": object()},
        {"start": "later"},
        {"interface": "eth0"},
        {"services": {"bokeh": 1}},
        {"worker_services": {"bokeh": 1}},
        {"blocked_handlers": ["terminate"]},
        {"worker_class": int},
        {"scheduler_kwargs": {"port": 1}},
        {"scheduler_sync_interval": object()},
        {"protocol": "tls://"},
        {"protocol": "tcp"},
        {"protocol": "inproc", "processes": True},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_is_not_in_this_version(asked: dict[str, Any]) -> None:
    before = threading.active_count()
    with pytest.raises(NotImplementedError, match=rf"{next(iter(asked))}=.*is not in this version of windrow; leave"):
        start(**asked)
    assert threading.active_count() == before


def test_unknown_keywords_and_the_nearest_known_ones() -> None:
    with pytest.raises(TypeError, match=r"no argument 'n_worker' \(did you mean 'n_workers'\?\), 'zzz'; its argum"):
        start(n_worker=2, zzz=1)
    with pytest.raises(TypeError, match=r"'locl_directory' \(did you mean 'local_directory'\?\)"):
        start(locl_directory=None)


def test_ip_is_an_old_name_of_host() -> None:
    with pytest.warns(DeprecationWarning, match="write host=") as caught:
        start(ip="127.0.0.1").close()
    assert [warning.filename for warning in caught] == [__file__]
    with (
        pytest.warns(DeprecationWarning, match="ip="),
        pytest.raises(ValueError, match=r"host='127.0.0.1' and ip='127.0.0.2'"),
    ):
        start(host="127.0.0.1", ip="127.0.0.2")


def test_diagnostics_port_is_an_old_name_of_dashboard_address() -> None:
    with pytest.warns(DeprecationWarning, match="old name of dashboard_address") as caught:
        with start(diagnostics_port=0) as cluster:
            assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    assert [warning.filename for warning in caught] == [__file__]
    with (
        pytest.warns(DeprecationWarning, match="diagnostics_port="),
        pytest.raises(ValueError, match="dashboard_address=':1' and diagnostics_port=2"),
    ):
        start(dashboard_address=":1", diagnostics_port=2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dashboard_address": 1.5}, "dashboard_address is ':8787', .*; not 1.5"),
        ({"dashboard_address": True}, "None for no dashboard; not True"),
        ({"worker_dashboard_address": 1.5}, "dashboard_address is ':8787', .*; not 1.5"),
        ({"service_kwargs": 5}, "service_kwargs is None or .*, not 5"),
        ({"service_kwargs": {"bokeh": {}}}, "the dashboard is the one service"),
        ({"service_kwargs": {"dashboard": {"port": 1}}}, "prefix its one keyword"),
        ({"service_kwargs": {"dashboard": {"prefix": 1}}}, "prefix is a str such as '/foo', not 1"),
    ],
)
def test_wrong_words_about_the_dashboard_err_at_the_call(wrong: dict[str, Any], words: str) -> None:
    before = threading.active_count()
    with pytest.raises(TypeError, match=words):
        start(**wrong)
    assert threading.active_count() == before


def test_a_host_that_others_can_reach_draws_a_warning(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.warns(UserWarning, match=r"host='0.0.0.0'.* authenticated, but not encrypted") as caught:
        start(processes=True, host="0.0.0.0").close()
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start(processes=True, host="127.0.0.1").close()
        start(host="0.0.0.0").close()  # it listens for nobody


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"processes": "no"}, "processes must be True, False or None, not 'no'"),
        ({"processes": 0}, "processes must be"),
        ({"memory_limit": "lots"}, "memory_limit='lots' will not do"),
        ({"memory_limit": -1}, "memory_limit=-1 "),
        ({"memory_limit": 10**400}, "memory_limit=1000"),
        ({"memory_limit": [1]}, "memory_limit is a number"),
        ({"host": 5}, "host must be"),
        ({"protocol": 5}, "protocol must be"),
    ],
)
def test_wrong_values_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        start(**wrong)
