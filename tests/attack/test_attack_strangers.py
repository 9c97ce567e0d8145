"""Who proves nothing, at every kind of listener: refused, logged once, and nothing else happens."""

from __future__ import annotations

import os
import pickle
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import attack_tasks as tasks
import pytest
from attack_help import Bomb, Said, frame, raw, receive, rss_bytes, shake, until, until_closed

from windrow import Client, LocalCluster
from windrow.addressing import split_address, split_host_port
from windrow.roles import Role, token
from windrow.transport import unix
from windrow.transport.handshake import MAGIC
from windrow.wire.messages import PROTOCOL_VERSION, Call, HelloClient
from windrow.wire.requests import Identity, RunOnScheduler

MIB = 2**20
VERSION = PROTOCOL_VERSION.to_bytes(2, "little")


class Place(NamedTuple):
    """A listener, as an attacker sees it."""

    connect: Callable[[], socket.socket]
    is_worker: bool
    secret: bytes


def by_unix(address: str) -> socket.socket:
    [place, *_] = unix.places(*split_host_port(split_address(address)[1]))
    endpoint = unix.reach(place)
    assert endpoint is not None, f"nobody listens beside {address}"
    endpoint.settimeout(10)
    return endpoint


def by_tls(cluster: LocalCluster, address: str) -> ssl.SSLSocket:
    assert cluster.security is not None
    return cluster.security.context("client", server=False).wrap_socket(raw(address))


KINDS = ["scheduler", "scheduler-unix", "scheduler-tls", "worker", "worker-unix", "worker-tls"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, target: LocalCluster) -> Place:
    party, _, way = request.param.partition("-")
    cluster = request.getfixturevalue("encrypted") if way == "tls" else target
    address = cluster.scheduler_address if party == "scheduler" else next(iter(cluster.scheduler_info["workers"]))
    connect = {
        "": lambda: raw(address),
        "unix": lambda: by_unix(address),
        "tls": lambda: by_tls(cluster, address),
    }[way]
    return Place(connect, party == "worker", cluster.secret or b"")


class Log:
    """What parties say: the scheduler in this process, workers on stderr."""

    def __init__(self, place: Place, caplog: pytest.LogCaptureFixture, said: Said) -> None:
        self._read = said.read if place.is_worker else lambda: caplog.text

    def lines(self, words: str) -> list[str]:
        return [line for line in self._read().splitlines() if words in line]


@pytest.fixture
def log(place: Place, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(place, caplog, Said(capsys))


def peer(endpoint: socket.socket) -> str:
    """Return how the other side's log calls us."""
    if endpoint.family == socket.AF_UNIX:
        return f"local://pid-{os.getpid()}"
    host, port = endpoint.getsockname()
    return f"{'tls' if isinstance(endpoint, ssl.SSLSocket) else 'tcp'}://{host}:{port}"


# ---------------------------------------------------------------- what is sent before anything is proved


def canary(path: Path) -> bytes:
    return pickle.dumps(Bomb(path / "exploded"))


def forged_proof(role: int) -> bytes:
    return MAGIC + VERSION + bytes([role]) + os.urandom(64)


BLIND: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "http": (lambda path: b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "it sent b'GET / HTTP'"),
    "noise": (lambda path: b"\xa5" + os.urandom(2000), "does not speak windrow's protocol"),
    "pickle": (lambda path: canary(path) * 2000, "does not speak windrow's protocol"),
    "length of 4 GiB": (lambda path: (4 * 2**30).to_bytes(8, "little") + bytes(8), "does not speak windrow's protocol"),
    "goodbye": (lambda path: bytes(16), "does not speak windrow's protocol"),
    "frame": (
        lambda path: frame(HelloClient("x"), Call(1, RunOnScheduler(canary(path))), Call(2, Identity())),
        "does not speak windrow's protocol",
    ),
    "another version": (lambda path: MAGIC + (PROTOCOL_VERSION + 1).to_bytes(2, "little"), "speaks protocol"),
    "no secret": (lambda path: forged_proof(Role.ADMINISTER), "does not hold this cluster's secret"),
    "no token to submit": (lambda path: forged_proof(Role.SUBMIT), "does not hold this cluster's submit token"),
    "no token to watch": (lambda path: forged_proof(Role.WATCH), "does not hold this cluster's watch token"),
    "no such role": (lambda path: forged_proof(7), "claims the role 7, which there is not"),
    "frame after a false proof": (
        lambda path: forged_proof(Role.ADMINISTER) + frame(HelloClient("x"), Call(1, RunOnScheduler(canary(path)))),
        "does not hold this cluster's secret",
    ),
}


@pytest.mark.parametrize("attack", BLIND)
def test_a_stranger_is_refused(place: Place, log: Log, attack: str, tmp_path: Path) -> None:
    make, words = BLIND[attack]
    before = len(log.lines(words))
    endpoint = place.connect()
    name = peer(endpoint)
    try:
        endpoint.sendall(make(tmp_path))
    except OSError:
        pass  # refused before all was sent
    try:
        answer = until_closed(endpoint)
    except ssl.SSLError:  # ended at once, with bytes of ours unread
        answer = b""
    assert len(answer) < 300, "no more than a handshake and a refusal"
    until(lambda: len(log.lines(words)) > before, f"{words!r} is logged")
    [line] = log.lines(words)[before:]
    assert name in line
    assert "refused a connection: " in line
    assert not (tmp_path / "exploded").exists()


def binding_of(endpoint: socket.socket) -> bytes:
    return (endpoint.get_channel_binding() or b"") if isinstance(endpoint, ssl.SSLSocket) else b""


def test_a_recorded_handshake_is_good_for_nothing(place: Place, log: Log, tmp_path: Path) -> None:
    good = place.connect()
    recorded = shake(good, place.secret, binding_of(good))
    good.close()
    words = "does not hold this cluster's secret"
    before = len(log.lines(words))
    endpoint = place.connect()
    name = peer(endpoint)
    endpoint.sendall(recorded)
    until_closed(endpoint)
    until(lambda: len(log.lines(words)) > before)
    [line] = log.lines(words)[before:]
    assert name in line


def test_what_the_listener_said_itself_is_no_proof(place: Place, log: Log) -> None:
    """Its nonce as ours, and in the place of a proof; that of this connection, and that of another."""
    words = "does not hold this cluster's secret"
    before = len(log.lines(words))
    other = place.connect()
    hello = receive(other, 42)
    endpoint = place.connect()
    nonce = receive(endpoint, 42)[10:]
    endpoint.sendall(MAGIC + VERSION + bytes([Role.ADMINISTER]) + nonce + nonce)
    until_closed(endpoint)
    other.sendall(MAGIC + VERSION + bytes([Role.ADMINISTER]) + nonce + hello[10:])
    until_closed(other)
    until(lambda: len(log.lines(words)) == before + 2)


def test_a_wrong_secret_and_a_token_of_a_lesser_role(place: Place, log: Log) -> None:
    watch = token(place.secret, Role.WATCH)
    for wrong in (b"x" * 32, watch[-32:], token(place.secret, Role.SUBMIT)[:-32] + watch[-32:]):
        endpoint = place.connect()
        with pytest.raises(OSError, match=r"refuses this process: wrong (secret|submit token)"):
            shake(endpoint, wrong, binding_of(endpoint))
        endpoint.close()
    until(lambda: len(log.lines("does not hold this cluster's")) == 3)


def test_an_impostor_learns_nothing_that_opens_the_door(target: LocalCluster) -> None:
    """A listener without the secret, which a client was sent to: its proof is not there, and nothing was sent to it."""
    listening = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def pose() -> None:
        endpoint, _ = listening.accept()
        with endpoint:
            endpoint.sendall(MAGIC + VERSION + os.urandom(32))
            heard.append(receive(endpoint, 75))
            endpoint.sendall(b"\x00" + os.urandom(32))
            heard.append(until_closed(endpoint))

    thread = threading.Thread(target=pose)
    thread.start()
    address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(OSError, match="has not proved that it holds the cluster's secret"):
        Client(address, secret=target.secret, set_as_default=False)
    thread.join(10)
    listening.close()
    assert heard[1] == b"", "not a byte after the proof"
    assert (target.secret or b"") not in heard[0]


def test_a_man_in_the_middle_of_plain_tcp_learns_no_secret(target: LocalCluster) -> None:
    """What he records of a whole session opens no other."""
    listening = socket.create_server(("127.0.0.1", 0))
    recorded: list[bytes] = []

    def carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                recorded.append(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # either end has closed

    def between() -> None:
        near, _ = listening.accept()
        far = raw(target.scheduler_address)
        threads = [threading.Thread(target=carry, args=pair) for pair in ((near, far), (far, near))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        near.close()
        far.close()

    thread = threading.Thread(target=between)
    thread.start()
    address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    with Client(address, secret=target.secret, set_as_default=False) as client:
        assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2
    thread.join(10)
    listening.close()
    assert (target.secret or b"") not in b"".join(recorded)
    assert (target.secret or b"").hex().encode() not in b"".join(recorded)


# ---------------------------------------------------------------- how much is taken, of how many


@pytest.mark.usefixtures("capsys")
def test_memory_does_not_follow_what_strangers_send(target: LocalCluster) -> None:
    worker = next(iter(target.scheduler_info["workers"].items()))
    before = rss_bytes(), rss_bytes(worker[1]["pid"])
    block = os.urandom(MIB)
    for address in (target.scheduler_address, worker[0]):
        for _ in range(10):
            endpoint = raw(address)
            try:
                for _ in range(20):
                    endpoint.sendall(block)
            except OSError:
                pass  # refused before all was sent
            endpoint.close()
    assert rss_bytes() - before[0] < 32 * MIB
    assert rss_bytes(worker[1]["pid"]) - before[1] < 32 * MIB
