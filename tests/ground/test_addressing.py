"""Addresses taken apart and put together."""

from __future__ import annotations

import pytest

from windrow import addressing


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("tcp://127.0.0.1:8786", ("tcp", "127.0.0.1:8786")),
        ("node7:8786", ("tcp", "node7:8786")),
        ("INPROC://x/1/2", ("inproc", "x/1/2")),
    ],
)
def test_split_address(address: str, parts: tuple[str, str]) -> None:
    assert addressing.split_address(address) == parts


@pytest.mark.parametrize("address", ["", "tcp://", "://x"])
def test_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        addressing.split_address(address)


def test_an_address_is_text() -> None:
    with pytest.raises(TypeError, match="not int"):
        addressing.split_address(8786)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("location", "parts"),
    [("h:1", ("h", 1)), (":0", ("", 0)), ("[::1]:65535", ("::1", 65535)), ("[fe80::1%eth0]:2", ("fe80::1%eth0", 2))],
)
def test_host_and_port_there_and_back(location: str, parts: tuple[str, int]) -> None:
    assert addressing.split_host_port(location) == parts
    assert addressing.join_host_port(*parts) == location


@pytest.mark.parametrize("location", ["h", "h:", "h:x", "h:-1", "h:65536", "::1:80", "[::1", "[::1]80", "[::1]", "h:٣"])
def test_no_host_and_port(location: str) -> None:
    with pytest.raises(ValueError, match="port"):
        addressing.split_host_port(location)


def test_default_port() -> None:
    assert addressing.split_host_port("h", 1) == addressing.split_host_port("h:", 1) == ("h", 1)
    assert addressing.split_host_port("h:2", 1) == ("h", 2)


@pytest.mark.parametrize("address", ["tcp://localhost:1", "127.0.0.1:1", "TCP://LOCALHOST:1"])
def test_one_spelling(address: str) -> None:
    assert addressing.normalize(address) == "tcp://127.0.0.1:1"


def test_loopback_of_ipv6_is_another_address() -> None:
    """Who listens on one of them does not listen on the other."""
    assert addressing.normalize("TCP://[::1]:1") == "tcp://[::1]:1"


def test_names_in_this_process_are_left_alone() -> None:
    assert addressing.normalize("inproc://Localhost:1") == "inproc://Localhost:1"


@pytest.mark.parametrize(
    ("host", "answer"), [("127.0.0.2", True), ("::1", True), ("LOCALHOST", True), ("127.evil.com", False), ("", False)]
)
def test_loopback(host: str, answer: bool) -> None:
    assert addressing.is_loopback(host) is answer


def test_own_ip_is_an_address() -> None:
    assert addressing.own_ip("127.0.0.1") == "127.0.0.1"
    assert addressing.own_ip().count(".") == 3
