"""Many strangers at once: they hold few places, little memory, and hardly any of the cluster's time."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attack_tasks as tasks
import dask
import pytest
from attack_help import raw, rss_bytes, until, until_closed

from windrow import Client, LocalCluster, config
from windrow.transport import door
from windrow.transport.refusals import LINES_MAX

MIB = 2**20

CROWD = 1000

HOLD = """
import socket, sys, time
host, port, count, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def come():
    sock = socket.create_connection((host, port), timeout=30)
    sock.setblocking(False)
    if kind == "slow":
        sock.send(b"windr")
    return sock
socks = [come() for _ in range(count)]
print("there", flush=True)
if kind == "storm":
    import itertools, select
    for number in itertools.count():
        if select.select([sys.stdin], [], [], 0.001)[0]:
            break
        socks[number % count].close()
        socks[number % count] = come()
        try:
            socks[number % count].send(bytes(4000))
        except OSError:
            pass
else:
    sys.stdin.read()
"""
"""The attacker, a process of his own: comes with many connections, and holds them, or comes again and again."""


@contextmanager
def crowd(address: str, count: int, kind: str) -> Iterator[subprocess.Popen[str]]:
    host, _, port = address.partition("://")[2].rpartition(":")
    attacker = subprocess.Popen(
        [sys.executable, "-c", HOLD, host, port, str(count), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attacker.stdin is not None
    assert attacker.stdout is not None
    try:
        assert attacker.stdout.readline() == "there\n"
        yield attacker
    finally:
        attacker.stdin.close()
        attacker.wait(10)
        attacker.stdout.close()


@pytest.fixture(autouse=True)
def fresh_log(cluster: LocalCluster) -> Iterator[None]:
    """Have floods not shorten what other tests read in the log."""
    yield
    until(lambda: places_taken(cluster) == 0, "who is gone holds no place")
    for listener in cluster.scheduler.listeners:
        if hasattr(listener, "_refusals"):
            listener._refusals._end_round()


def places_taken(cluster: LocalCluster) -> int:
    return sum(len(listener._door._strangers) for listener in cluster.scheduler.listeners if hasattr(listener, "_door"))


@pytest.mark.parametrize("kind", ["silent", "slow"])
def test_a_thousand_half_open_connections(target: LocalCluster, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are held by few, take little memory, and keep nobody out."""
    before = rss_bytes()
    with crowd(target.scheduler_address, CROWD, kind):
        with Client(target.scheduler_address, timeout=5, set_as_default=False) as client:
            assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2
        assert places_taken(target) <= door.STRANGERS_MAX + 2  # one more may have just come to each of two sockets
        assert rss_bytes() - before < 32 * MIB
    until(lambda: places_taken(target) == 0, "who is gone holds no place")
    told = [message for message in caplog.messages if "refused a connection: " in message]
    assert 0 < len(told) <= LINES_MAX + 1, "the log is not theirs to fill"
    assert "127.0.0.1" in told[0]


def test_a_thousand_half_open_connections_do_not_keep_out_who_comes_by_tcp(target: LocalCluster) -> None:
    with crowd(target.scheduler_address, CROWD, "silent"), dask.config.set({"windrow.local-sockets": False}):
        begun_s = time.monotonic()
        with Client(target.scheduler_address, timeout=5, set_as_default=False) as client:
            assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2
        assert time.monotonic() - begun_s < 5


def test_a_half_open_connection_has_ten_seconds(
    target: LocalCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.seconds("windrow.handshake-timeout") == 10
    with monkeypatch.context() as patch:
        patch.setattr("windrow.config.seconds", lambda key: 0.05)
        silent, slow = raw(target.scheduler_address), raw(target.scheduler_address)
        slow.sendall(b"windr")
        until_closed(silent)
        until_closed(slow)
    until(lambda: caplog.text.count("did not complete the handshake within 0.05 s") == 2)


def test_one_address_does_not_take_the_places_of_others(target: LocalCluster) -> None:
    """Of whom has most the oldest goes; another address (of this machine) stays."""
    host, port = "127.0.0.1", int(target.scheduler_address.rpartition(":")[2])
    other = socket.create_connection((host, port), source_address=("127.0.0.2", 0), timeout=10)
    assert len(other.recv(42)) == 42
    with crowd(target.scheduler_address, CROWD, "silent"):
        until(lambda: places_taken(target) == door.STRANGERS_MAX)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):  # still there
            other.recv(1)
    other.close()


def rate(client: Client, count: int = 3000) -> float:
    """Return tasks a second."""
    begun_s = time.perf_counter()
    assert len(client.gather(client.map(tasks.inc, range(count), pure=False))) == count
    return count / (time.perf_counter() - begun_s)


def best(measure: Callable[[], float], rounds: int = 3) -> float:
    return max(measure() for _ in range(rounds))


def test_the_cluster_works_at_its_rate_meanwhile(target: LocalCluster, owner: Client) -> None:
    """Beside a thousand that say nothing, and a storm of those who talk nonsense, in turns with quiet."""
    rate(owner)
    quiet, crowded = best(lambda: rate(owner)), 0.0
    with crowd(target.scheduler_address, CROWD, "silent"), crowd(target.scheduler_address, 50, "storm"):
        crowded = best(lambda: rate(owner))
    quiet = max(quiet, best(lambda: rate(owner)))
    assert crowded > quiet / 4, f"{crowded:.0f} tasks a second beside the attack, {quiet:.0f} without"
