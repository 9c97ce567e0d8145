"""`LocalCluster` takes what programs written for Dask pass along, and names what it cannot take."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from windrow import LocalCluster, Nanny, Scheduler, Worker
from windrow.deploy import arguments


def start(**arguments: Any) -> LocalCluster:
    """A cluster without workers, to be closed."""
    return LocalCluster(**{"n_workers": 0, "processes": False, **arguments})


@pytest.mark.parametrize(
    "harmless",
    [
        {"local_directory": None, "security": None, "loop": None, "interface": None, "worker_class": None},
        {"security": False, "start": None, "scheduler_sync_interval": "2s", "diagnostics_port": None},
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
        {"services": {"bokeh": 1}},
        {"worker_services": {"bokeh": 1}},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_is_not_in_this_version(asked: dict[str, Any]) -> None:
    before = threading.active_count()
    with pytest.raises(NotImplementedError, match=r"is not in this version of windrow"):
        start(**asked)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    "together",
    [
        {"interface": "lo", "host": "127.0.0.1"},
        {"processes": False, "env": {"A": "1"}},
        {"processes": False, "worker_class": Nanny},
        {"protocol": "inproc", "processes": True},
        {"protocol": "inproc", "scheduler_port": 8786},
        {"protocol": "inproc", "interface": "lo"},
        {"protocol": "inproc", "host": "tcp://127.0.0.1"},
        {"dashboard_address": ":8788", "diagnostics_port": 8789},
    ],
    ids=lambda together: ",".join(together),
)
def test_what_makes_no_sense_together_names_both(together: dict[str, Any]) -> None:
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(ValueError) as caught:
            start(**together)
    for name in together:
        assert f"{name}=" in str(caught.value)
    assert threading.active_count() <= before


def test_unknown_keywords_and_the_nearest_known_ones() -> None:
    with pytest.raises(
        TypeError, match=r"no argument 'n_worker' \(did you mean 'n_workers'\?\), 'zzz'; its arguments are "
    ):
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
    assert threading.active_count() <= before


def test_a_host_that_others_can_reach_draws_a_warning(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.warns(UserWarning, match=r"host='0.0.0.0'.* authenticated, but not encrypted") as caught:
        start(processes=True, host="0.0.0.0", security=False).close()
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
        (
            {"processes": True, "memory_limit": "1kB"},
            "memory_limit='1kB' is 1000 bytes, and a worker's process alone takes more",
        ),
        ({"memory_limit": -1}, "memory_limit=-1 "),
        ({"memory_limit": 10**400}, "memory_limit=1000"),
        ({"memory_limit": [1]}, "memory_limit is a number"),
        ({"host": 5}, "host must be"),
        ({"protocol": 5}, "protocol must be"),
        ({"protocol": "pigeon://"}, "there is no protocol 'pigeon://'; there are inproc://, local://, tcp://"),
        ({"interface": "eth99"}, "there is no interface 'eth99' .*lo "),
        ({"worker_class": 5}, "worker_class must be a class"),
        ({"scheduler_kwargs": 5}, "scheduler_kwargs must be a dict"),
        (
            {"scheduler_kwargs": {"prot": 1}},
            r"scheduler_kwargs of LocalCluster\) has no argument 'prot' \(did you mean 'port'",
        ),
        ({"blocked_handlers": "feed"}, "blocked_handlers must be a list"),
        ({"silence_logs": "whisper"}, "'whisper' is no level of logs"),
        ({"scheduler_sync_interval": object()}, "scheduler_sync_interval"),
        ({"name": 5}, "name must be a string"),
        ({"loop": 5}, "loop must be"),
        ({"env": "PATH"}, "env must be a dict"),
    ],
)
def test_wrong_values_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        start(**wrong)


def test_start_has_no_effect() -> None:
    with pytest.warns(DeprecationWarning, match="start= has no effect") as caught:
        start(start=True).close()
    assert [warning.filename for warning in caught] == [__file__]


# ---------------------------------------------------------------- what follows from what


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, True), (4, 2)),
        ((None, None, False), (1, 8)),
        ((None, 3, True), (2, 3)),
        ((None, 3, False), (1, 3)),
        ((3, None, True), (3, 3)),
        ((0, None, True), (0, 8)),
        ((2, 5, True), (2, 5)),
    ],
)
def test_workers_and_threads_of_eight_cores(
    given: tuple[Any, Any, bool], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments.system, "cpu_count", lambda: 8)
    assert arguments.split(*given) == expected


class OwnNanny(Nanny):
    """A nanny of somebody else's."""


class OwnWorker(Worker):
    """A worker of somebody else's."""

    def __init__(self, scheduler_ip: str, *, flavour: str = "", **kwargs: Any) -> None:
        super().__init__(scheduler_ip, **kwargs)


@pytest.mark.parametrize(
    ("processes", "worker_class", "expected"),
    [
        (None, None, (True, Nanny, None)),
        (True, None, (True, Nanny, None)),
        (False, None, (False, Worker, None)),
        (None, Nanny, (True, Nanny, None)),
        (None, OwnNanny, (True, OwnNanny, None)),
        (None, Worker, (False, Worker, None)),
        (None, OwnWorker, (False, OwnWorker, None)),
        (True, OwnWorker, (True, Nanny, OwnWorker)),
        (None, "distributed.Nanny", (True, Nanny, None)),
        (None, "windrow.Worker", (False, Worker, None)),
    ],
)
def test_processes_and_the_class_of_workers(processes: Any, worker_class: Any, expected: tuple[Any, ...]) -> None:
    assert arguments.chosen_kind(processes, worker_class, Nanny, Worker) == expected


@pytest.mark.parametrize(
    ("host", "protocol", "interface", "processes", "port", "expected"),
    [
        (None, None, None, True, 0, ("tcp", "127.0.0.1")),
        (None, None, None, False, 0, ("inproc", "127.0.0.1")),
        (None, None, None, False, 8786, ("tcp", "127.0.0.1")),
        (None, "tcp", None, False, 0, ("tcp", "127.0.0.1")),
        (None, "TCP://", None, True, 0, ("tcp", "127.0.0.1")),
        ("tcp://127.0.0.2", None, None, False, 0, ("tcp", "127.0.0.2")),
        ("127.0.0.2", None, None, True, 0, ("tcp", "127.0.0.2")),
        ("inproc://", None, None, False, 0, ("inproc", "127.0.0.1")),
        (None, None, "lo", True, 0, ("tcp", "127.0.0.1")),
    ],
)
def test_where_to_listen(
    host: Any, protocol: Any, interface: Any, processes: bool, port: int, expected: tuple[str, str]
) -> None:
    assert arguments.chosen_place(host, protocol, interface, processes, port) == expected


def test_the_keywords_of_workers_are_those_of_their_class() -> None:
    kind = arguments.chosen_kind(True, OwnWorker, Nanny, Worker)
    known = arguments.worker_keywords(kind, Nanny, Worker)
    assert known is not None
    assert {"flavour", "memory_limit", "env"} <= known
    assert "flavor" not in known
    with pytest.raises(TypeError, match=r"'flavor' \(did you mean 'flavour'\?\)"):
        start(worker_class=OwnWorker, flavor="sour")


def test_what_is_given_for_the_scheduler_stands_above_what_follows() -> None:
    with start(scheduler_kwargs={"protocol": "tcp", "host": "127.0.0.1"}) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
    with start() as cluster:
        assert cluster.scheduler_spec["cls"] is Scheduler
        assert cluster.scheduler_address.startswith("inproc://")
