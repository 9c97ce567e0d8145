"""Where a dashboard listens, and the link that leads there."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import dask.config
import pytest

from windrow.dashboard import address


@pytest.mark.parametrize(
    ("given", "host", "meant"),
    [
        (":8787", None, [("127.0.0.1", 8787)]),
        (":8787", "10.0.0.7", [("10.0.0.7", 8787)]),
        ("localhost:8787", "10.0.0.7", [("localhost", 8787)]),
        ("0.0.0.0:8787", None, [("0.0.0.0", 8787)]),
        (":0", None, [("127.0.0.1", 0)]),
        (8788, None, [("127.0.0.1", 8788)]),
        ("8788", None, [("127.0.0.1", 8788)]),
        ("node7", None, [("node7", 8787)]),
        ("[::1]:80", None, [("::1", 80)]),
        ("8787, localhost:8788", None, [("127.0.0.1", 8787), ("localhost", 8788)]),
        (None, None, []),
    ],
)
def test_forms(given: Any, host: str | None, meant: list[tuple[str, int]]) -> None:
    assert address.parse(given, host) == meant


@pytest.mark.parametrize(
    "wrong", ["", "8787,", "http://localhost:8787", ":99999", -1, "a:b", "::1"], ids=lambda wrong: repr(wrong)
)
def test_what_is_no_address_is_named_with_examples(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"will not do: .* it is ':8787', 'localhost:8787'"):
        address.parse(wrong)


def test_a_port_that_is_taken_is_replaced_by_a_free_one_on_the_same_host() -> None:
    with address.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with address.bind("127.0.0.1", port) as other:
            assert other.getsockname()[0] == "127.0.0.1"
            assert other.getsockname()[1] not in (0, port)


def test_a_host_of_others_is_refused_with_words() -> None:
    with pytest.raises(
        OSError, match=r"cannot listen on 192\.0\.2\.1:0: .*Give dashboard_address= a host of"
    ) as caught:
        address.bind("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_socket_is_nobody_elses() -> None:
    with address.bind("127.0.0.1", 0) as sock:
        assert not sock.get_inheritable()
        assert not sock.getblocking()


def test_of_all_interfaces_the_link_has_one_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.addressing.own_ip", lambda towards="": "10.0.0.7")
    with address.bind("0.0.0.0", 0) as sock:
        assert address.contact(sock) == "10.0.0.7"


@pytest.mark.parametrize(
    ("template", "meant"),
    [
        ("{scheme}://{host}:{port}/status", "http://10.0.0.7:80/foo/status?token=t"),
        ("{scheme}://{host}:{port}{prefix}/status", "http://10.0.0.7:80/foo/status?token=t"),
        ("{HUB}proxy/{port}/status", "/user/proxy/80/foo/status?token=t"),
        ("https://hub/?of={port}", "https://hub/?of=80&token=t"),
    ],
)
def test_the_form_of_the_link_is_a_setting(template: str, meant: str) -> None:
    with dask.config.set({"distributed.dashboard.link": template}):
        assert address.link("10.0.0.7", 80, "/foo", "t", environment={"HUB": "/user/"}) == meant


@pytest.mark.parametrize("template", ["{HUB}/proxy/{port}", "{0}", "{"])
def test_a_form_that_cannot_be_filled_in_is_told_and_costs_no_cluster(
    template: str, caplog: pytest.LogCaptureFixture
) -> None:
    with dask.config.set({"distributed.dashboard.link": template}), caplog.at_level(logging.WARNING):
        assert address.link("10.0.0.7", 80, "/foo", environment={}) == "http://10.0.0.7:80/foo/status"
    assert "distributed.dashboard.link" in caplog.text


@pytest.mark.parametrize(("text", "meant"), [("/foo", "/foo"), ("a/b/", "/a/b"), ("", ""), ("/", ""), (None, "")])
def test_prefixes(text: str | None, meant: str) -> None:
    assert address.prefix_of(text) == meant


@pytest.mark.parametrize("wrong", ["/a b", "/(x", "/../x", "/ä", "?x"])
def test_a_prefix_that_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="prefix is of letters"):
        address.prefix_of(wrong)


def test_ipv6_where_there_is_any() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 in this Python")
    try:
        sock = address.bind("::1", 0)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with sock:
        assert address.link(address.contact(sock), 80) == "http://[::1]:80/status"
