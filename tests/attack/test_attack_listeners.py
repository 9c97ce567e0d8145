"""Every listening socket of every process of a cluster is found, and attacked: a new one cannot be forgotten."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from attack_help import shake, until, until_closed

from windrow import Client, LocalCluster, SubprocessCluster
from windrow.addressing import is_loopback
from windrow.errors import WrongSecret
from windrow.transport.handshake import MAGIC
from windrow.wire.messages import PROTOCOL_VERSION

HELLO = MAGIC + PROTOCOL_VERSION.to_bytes(2, "little")
ACCEPTS = 0x10000
"""The flag of a unix socket that listens, in /proc/net/unix."""


class Found(NamedTuple):
    """A listening socket."""

    pid: int
    family: str
    where: str

    def connect(self) -> socket.socket:
        if self.family == "unix":
            endpoint = socket.socket(socket.AF_UNIX)
            endpoint.settimeout(10)
            endpoint.connect(self.where.replace("@", "\0", 1))
            return endpoint
        host, _, port = self.where.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=10)


def listening_unix() -> set[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[7] for row in rows if len(row) > 7 and int(row[3], 16) & ACCEPTS}


def reached_at(ip: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)


def listeners() -> set[Found]:
    """Find what this process and its descendants listen on, or may be sent packets on."""
    of_unix = listening_unix()
    found = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            sockets = process.net_connections(kind="all")
        except psutil.NoSuchProcess:
            continue
        for one in sockets:
            if one.family == socket.AF_UNIX:
                if one.laddr in of_unix:
                    found.add(Found(process.pid, "unix", str(one.laddr)))
            elif one.type == socket.SOCK_DGRAM or one.status == psutil.CONN_LISTEN:
                kind = "udp" if one.type == socket.SOCK_DGRAM else "tcp"
                found.add(Found(process.pid, kind, f"{one.laddr.ip}:{one.laddr.port}"))
    return found


# ---------------------------------------------------------------- what one answers to somebody who proves nothing


def classify(found: Found) -> str:
    """Return what a listener turns out to be; AssertionError if it is nothing that may be there."""
    assert found.family != "udp", f"{found} takes packets of anybody"
    reached = found
    if found.family == "tcp":
        host, _, port = found.where.rpartition(":")
        reached = found._replace(where=f"{reached_at(host)}:{port}")
    with reached.connect() as endpoint:
        endpoint.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        said = until_closed(endpoint)
    if said.startswith(b"HTTP/1."):
        return is_http(found, reached)
    assert said[: len(HELLO)] == HELLO, f"{found} answers a stranger with {said[:80]!r}"
    assert len(said) < 300, f"{found} says more than a handshake and a refusal to a stranger"
    if b"speaks TLS" in said:
        demands_a_certificate(reached)
        return "tls"
    refuses(reached)
    return "handshake"


def refuses(found: Found) -> None:
    """See that noise and a wrong secret are refused."""
    with found.connect() as endpoint:
        endpoint.sendall(os.urandom(500))
        said = until_closed(endpoint)
        assert said[: len(HELLO)] == HELLO
        assert len(said) < 300
    with found.connect() as endpoint, pytest.raises(WrongSecret):
        shake(endpoint, b"x" * 32)


def demands_a_certificate(found: Found) -> None:
    """See that somebody without one is told nothing over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with found.connect() as plain:
        try:
            with context.wrap_socket(plain) as endpoint:
                endpoint.sendall(os.urandom(500))
                said = endpoint.recv(4096)
        except (ssl.SSLError, ConnectionError):  # as it is to be
            return
    assert said == b"", f"{found} says {said!r} to somebody without a certificate"


def ask(found: Found, path: str) -> tuple[int, bytes]:
    with found.connect() as endpoint:
        endpoint.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = until_closed(endpoint)
    assert answer.startswith(b"HTTP/1."), f"{found} answers a stranger with {answer[:80]!r}"
    return int(answer.split()[1]), answer


def is_http(found: Found, reached: Found) -> str:
    assert found.family == "tcp", f"{found} is no listener that is known"
    assert ask(reached, "/health")[0] == 200
    if is_loopback(found.where.rpartition(":")[0]):
        return "http on loopback"
    for path in ("/", "/status", "/info/main/workers.html", "/json/identity.json", "/metrics", "/sitemap.json"):
        code, answer = ask(reached, path)
        assert code == 401, f"{found} answers {path} with {code}, without a token: {answer[:200]!r}"
        assert ask(reached, f"{path}?token=x")[0] == 401
    return "http with a token"


# ---------------------------------------------------------------- whole clusters


def visit(link: str) -> None:
    with urllib.request.urlopen(link, timeout=20) as answer:
        assert answer.status == 200


@pytest.fixture
def others() -> Iterator[set[Found]]:
    """What listens before the test's own clusters: those of other tests."""
    return listeners()


def new(others: set[Found]) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    known: dict[str, str] = {}
    for listener in sorted(listeners() - others):
        if listener.where not in known:  # who has bound it, and who answers there, both have it open
            known[listener.where] = classify(listener)
        found.setdefault(known[listener.where], []).append(listener)
    return found


def in_one_process() -> LocalCluster:
    return LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0", scheduler_port=0
    )


def in_processes() -> SubprocessCluster:
    return SubprocessCluster(n_workers=2, scheduler_kwargs={"dashboard_address": ":0"})


def for_other_machines() -> LocalCluster:
    return LocalCluster(
        host="0.0.0.0", n_workers=1, threads_per_worker=1, dashboard_address="0.0.0.0:0", worker_dashboard_address=":0"
    )


EXPECTED: dict[str, tuple[Callable[[], LocalCluster | SubprocessCluster], dict[str, int]]] = {
    # A scheduler and two workers listen, and beside each there is a unix socket; each of the three has a dashboard.
    "LocalCluster": (in_one_process, {"handshake": 6, "http on loopback": 3}),
    "SubprocessCluster": (in_processes, {"handshake": 6, "http on loopback": 1}),
    "LocalCluster for other machines": (for_other_machines, {"tls": 2, "http with a token": 2}),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_listener_of_every_process(kind: str, others: set[Found]) -> None:
    make, expected = EXPECTED[kind]
    with make() as cluster, Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(len(cluster.workers) or 2, timeout=20)
        visit(cluster.dashboard_link)
        for worker in client.scheduler_info()["workers"].values():
            if worker.get("dashboard_link"):
                visit(worker["dashboard_link"])
        found = new(others)
        places = {what: len({listener.where for listener in each}) for what, each in found.items()}
        assert places == expected, found
        assert client.submit(sum, [1, 2]).result(timeout=10) == 3
    until(lambda: not listeners() - others, "nothing listens any more")


def test_by_default_nothing_is_reached_from_elsewhere(others: set[Found]) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, worker_dashboard_address=":0") as cluster:
        visit(cluster.dashboard_link)
        hosts = {found.where.rpartition(":")[0] for found in listeners() - others if found.family != "unix"}
        assert hosts == {"127.0.0.1"}


def test_a_listener_that_takes_anybody_is_found_out(others: set[Found]) -> None:
    """What this suite is to see, were it there: it greets, it answers, it takes packets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        [found] = listeners() - others
        assert found.where == f"127.0.0.1:{listening.getsockname()[1]}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0attack-example")
        listening.listen()
        [found] = listeners() - others
        assert (found.family, found.where) == ("unix", "@attack-example")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.bind(("127.0.0.1", 0))
        [found] = listeners() - others
        with pytest.raises(AssertionError, match="takes packets of anybody"):
            classify(found)
