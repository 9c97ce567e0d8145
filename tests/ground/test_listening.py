"""Where to listen by host, port, interface and protocol, and what is told to others."""

from __future__ import annotations

from typing import Any

import pytest

from windrow import addressing, config, listening
from windrow.tls import Security


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a test may configure otherwise."""
    given: dict[str, Any] = {}
    get = config.get
    monkeypatch.setattr(config, "get", lambda key: given[key] if key in given else get(key))
    return given


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ({}, ["tcp://127.0.0.1:0"]),
        ({"host": ""}, ["tls://:0"]),
        ({"host": "", "port": 8786}, ["tls://:8786"]),
        ({"host": "tls://:8786"}, ["tls://:8786"]),
        ({"host": "::1"}, ["tcp://[::1]:0"]),
        ({"host": "[::1]:99"}, ["tcp://[::1]:99"]),
        ({"interface": "lo", "port": "9000:9002"}, [f"tcp://127.0.0.1:{port}" for port in (9000, 9001, 9002)]),
        ({"security": Security(require_encryption=True)}, ["tls://127.0.0.1:0"]),
        ({"host": "", "security": Security(require_encryption=False)}, ["tcp://:0"]),
        ({"host": "node7:80", "port": 80}, ["tls://node7:80"]),
    ],
)
def test_where_to_listen(arguments: dict[str, Any], chosen: list[str]) -> None:
    assert listening.choose(**arguments) == chosen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"interface": "none such"},
            r"no interface 'none such' with an IPv4 address here; there are .*lo \(127.0.0.1\)",
        ),
        ({"interface": "lo", "host": "127.0.0.1"}, "say the same thing twice"),
        ({"host": "127.0.0.1:80", "port": 81}, "names another port than port=81"),
        ({"protocol": "ws"}, "unknown protocol 'ws'; known are inproc, local, tcp, tls"),
        ({"protocol": "tls", "host": "tcp://node7"}, "protocol='tls' contradicts host='tcp://node7'"),
        ({"port": "8000:7000"}, "names no ports"),
    ],
)
def test_what_contradicts_itself(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        listening.choose(**arguments)


def test_an_address_without_a_scheme_has_the_configured_one(settings: dict[str, Any]) -> None:
    assert addressing.split_address("node7:8786") == ("tcp", "node7:8786")
    settings["distributed.comm.default-scheme"] = "tls"
    assert addressing.split_address("node7:8786") == ("tls", "node7:8786")
    assert listening.choose() == ["tls://127.0.0.1:0"]
    assert listening.choose("tcp://127.0.0.1") == ["tcp://127.0.0.1:0"]


@pytest.mark.parametrize(
    ("scheduler", "listens", "host"),
    [
        ("tcp://127.0.0.1:8786", "tcp://:0", "127.0.0.1"),
        ("tcp://127.0.0.1:8786", "tcp://0.0.0.0:9000", "127.0.0.1"),
        ("tcp://[::1]:8786", "tcp://:0", "::1"),
        ("tcp://[::1]:8786", "tcp://[::]:0", "::1"),
        ("tcp://[::1]:8786", "tcp://0.0.0.0:0", ""),  # it does not listen there
        ("tcp://127.0.0.1:8786", "tcp://10.0.0.1:0", ""),
        ("tcp://127.0.0.1:8786", "local://name", ""),
    ],
)
def test_who_listens_everywhere_is_reached_by_the_host_on_the_route_to_its_scheduler(
    scheduler: str, listens: str, host: str
) -> None:
    assert listening.towards(scheduler, listens) == host
