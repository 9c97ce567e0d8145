"""Unix sockets beside tcp: they are found by themselves, and whatever is amiss with them, there is tcp."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transport_bench import LIMIT_S, SECRET, Network, network_of

from windrow import config, transport
from windrow.addressing import own_ip, split_address, split_host_port
from windrow.errors import WrongSecret
from windrow.system import process_mark
from windrow.transport import door, presence, refusals, tcp, unix
from windrow.transport.handshake import accept_steps
from windrow.wire.messages import Close

pytestmark = pytest.mark.skipif(not unix.is_there(), reason="this system has no abstract unix sockets")


@pytest.fixture(params=["nearby", "nearby-asyncio"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


@pytest.fixture
def plain_network() -> Iterator[Network]:
    """Return a network on tcp alone: the names beside it are free."""
    yield from network_of("tcp")


def place_of(network: Network) -> str:
    return split_address(network.address)[1]


def taken() -> set[str]:
    """Return the names of this user's abstract sockets, as the system shows them."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    mark = f"@windrow/{os.geteuid()}/"
    return {line.rpartition(mark)[2] for line in lines if mark in line}


def test_both_ends_know_that_they_are_on_one_host(network: Network) -> None:
    near, far = network.pair()
    assert near.link.is_local
    assert far.link.is_local
    assert near.link.remote == network.address
    assert repr(near.link) == f"<TcpLink to {network.address}, by unix socket>"
    assert far.link.remote == f"local://pid-{os.getpid()}"
    assert near.link.process == process_mark(os.getpid()), "its end is noticed even if it never says a word"
    near.send(Close("by unix socket"))
    assert far.wait_for_messages(1) == [Close("by unix socket")]


def test_a_closed_listener_leaves_no_name(network: Network) -> None:
    assert place_of(network) in taken()
    network.far_end().do(network.listener.close)
    network.far_end().settle()
    assert place_of(network) not in taken()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", own_ip()])
def test_what_listens_everywhere_is_found_by_each_number_of_this_host(network: Network, host: str) -> None:
    listener = network.far.run(transport.listen("tcp://0.0.0.0:0", network.accepted.append, secret=SECRET), LIMIT_S)
    port = split_host_port(split_address(listener.address)[1])[1]
    link = network.near.run(transport.connect(f"tcp://{host}:{port}", secret=SECRET), LIMIT_S)
    assert link.is_local
    network.far_end().do(listener.close)
    network.near_end().do(link.close)


def test_another_host_is_not_looked_for_here() -> None:
    assert unix.places("192.0.2.77", 8786) == ["192.0.2.77:8786"]  # and that name only a listener at that number has
    assert unix.places("some.where.example", 8786) == []
    assert unix.places("::1", 8786) == ["[::1]:8786", "*:8786"]


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.get("windrow.local-sockets") is True
    monkeypatch.setattr(config, "get", lambda key: {"windrow.local-sockets": False}[key])
    assert not unix.is_on()


def test_turned_off_nobody_listens_there(plain_network: Network) -> None:
    near, far = plain_network.pair()
    assert not near.link.is_local
    assert not far.link.is_local
    assert place_of(plain_network) not in taken()


def test_by_its_name_alone_there_is_no_tcp_instead(network: Network, plain_network: Network) -> None:
    link = network.near.run(transport.connect(f"local://{place_of(network)}", secret=SECRET), LIMIT_S)
    assert link.is_local
    network.near_end().do(link.close)
    missing = f"local://{place_of(plain_network)}"
    with pytest.raises(TimeoutError, match="no process of this user listens there"):
        network.near.run(transport.connect(missing, secret=SECRET, timeout_s=0.05), LIMIT_S)


def test_a_name_is_taken_once(network: Network) -> None:
    with pytest.raises(OSError, match=r"cannot listen on local://.*Choose another name"):
        network.far.run(transport.listen(f"local://{place_of(network)}", print, secret=SECRET), LIMIT_S)


# ---------------------------------------------------------------- squatters


class Squatter:
    """Holds the name of another's listener, and does what it is told with those who come."""

    def __init__(self, place: str, deal: Callable[[socket.socket], bytes]) -> None:
        self._sock = unix.bind(place)
        self._sock.setblocking(True)
        self._deal = deal
        self.seen: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._sock:
            endpoint, _ = self._sock.accept()
            with endpoint:
                endpoint.settimeout(LIMIT_S)
                self.seen.append(self._deal(endpoint))

    def join(self) -> bytes:
        self._thread.join(LIMIT_S)
        return self.seen[0]


def until_end(endpoint: socket.socket) -> bytes:
    said = b""
    try:
        while part := endpoint.recv(4096):
            said += part
    except ConnectionResetError:
        pass  # closed all the same: with bytes of ours unread
    return said


def hang_up(endpoint: socket.socket) -> bytes:
    return b""


def talk_nonsense(endpoint: socket.socket) -> bytes:
    endpoint.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(64))
    return until_end(endpoint)


def say_nothing(endpoint: socket.socket) -> bytes:
    return until_end(endpoint)


def feign(endpoint: socket.socket) -> bytes:
    """Play a listener as well as one can who does not hold the secret."""
    hello, _ = next(accept_steps(b"another secret", "squatter"))
    endpoint.sendall(hello)
    said = endpoint.recv(75, socket.MSG_WAITALL)
    endpoint.sendall(bytes(33))
    return said + until_end(endpoint)


@pytest.mark.parametrize("deal", [hang_up, talk_nonsense, say_nothing, feign])
def test_a_squatter_gets_nothing_and_tcp_takes_over(
    plain_network: Network, deal: Callable[[socket.socket], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "is_on", lambda: True)
    monkeypatch.setattr(tcp, "_NEARBY_S", 0.1)
    squatter = Squatter(place_of(plain_network), deal)
    near, far = plain_network.pair()
    assert not near.link.is_local
    near.send(Close("by tcp"))
    assert far.wait_for_messages(1) == [Close("by tcp")]
    said = squatter.join()
    assert SECRET not in said
    assert len(said) == (75 if deal is feign else 0)  # a proof that is good for this one exchange


def test_another_users_socket_is_left_alone(
    plain_network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unix, "is_on", lambda: True)
    monkeypatch.setattr(unix, "other_side", lambda sock: (1, os.geteuid() + 1))
    squatter = Squatter(place_of(plain_network), until_end)
    near, _ = plain_network.pair()
    assert not near.link.is_local
    assert squatter.join() == b""
    assert f"is held by user {os.geteuid() + 1}, and is left alone" in caplog.text


def test_a_listener_whose_name_is_taken_is_reached_by_tcp(network: Network) -> None:
    held = unix.bind(unix.beside("127.0.0.1", port := free_port()))
    with held:
        listener = network.far.run(
            transport.listen(f"tcp://127.0.0.1:{port}", network.accepted.append, secret=SECRET), LIMIT_S
        )
    link = network.near.run(transport.connect(listener.address, secret=SECRET), LIMIT_S)
    assert not link.is_local
    network.near_end().do(link.close)
    network.far_end().do(listener.close)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# ---------------------------------------------------------------- the door


def test_strangers_of_both_kinds_have_one_limit(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "STRANGERS_MAX", 4)
    monkeypatch.setattr(door, "PATIENCE_S", 0.0)
    listener: Any = network.listener
    strangers = []
    try:
        for _ in range(6):
            strangers.append(unix.reach(place_of(network)))
            strangers.append(socket.create_connection(split_host_port(place_of(network)), timeout=LIMIT_S))
        near, far = network.pair()
        assert near.link.is_local
        near.send(Close("through"))
        far.wait_for_messages(1)
        assert network.far_end().do(lambda: len(listener._door._strangers)) <= 4
        for stranger in strangers[:2]:  # the oldest ones were sent away
            stranger.settimeout(LIMIT_S)
            until_end(stranger)
    finally:
        for stranger in strangers:
            stranger.close()


# ---------------------------------------------------------------- ends


def test_a_killed_process_leaves_nothing() -> None:
    place = f"killed-{os.getpid()}"
    program = f"from windrow.transport import unix; s = unix.bind({place!r}); print('there', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert place in taken()
        process.kill()
        process.wait(LIMIT_S)
    assert place not in taken()
    unix.bind(place).close()


def test_the_wait_for_a_busy_listener_ends_in_time(network: Network) -> None:
    place = unix.beside("127.0.0.1", port := free_port())
    with socket.socket() as listener, unix.bind(place):  # both take connections, and say nothing
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(transport.base.Unanswered, match=r"within 0\.2 s"):
            network.near.run(transport.connect(f"tcp://127.0.0.1:{port}", secret=SECRET, timeout_s=0.2), LIMIT_S)


def test_who_goes_away_in_the_handshake_is_no_line_for_the_terminal(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker was ended while it started, perhaps: a cluster that is closed prints nothing."""
    caplog.set_level(logging.DEBUG, "windrow.transport")
    stranger = unix.reach(place_of(network))
    assert stranger is not None
    stranger.settimeout(LIMIT_S)
    assert stranger.recv(1)  # it has been let in
    stranger.close()
    for _ in range(500):
        told = [
            record for record in caplog.records if "ended the connection during the handshake" in record.getMessage()
        ]
        if told:
            break
        network.near.run(asyncio.sleep(0.01))
    assert [record.levelno for record in told] == [logging.DEBUG]


def refused(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if "refused a connection" in record.getMessage()]


def test_a_wrong_secret_is_one_line_although_it_is_tried_twice(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with pytest.raises(WrongSecret):
        network.near.run(transport.connect(network.address, secret=b"w" * 32), LIMIT_S)
    network.far.run(asyncio.sleep(2 * refusals.HELD_S))
    [line] = refused(caplog.records)
    assert "tcp://127.0.0.1" in line
    assert line.endswith(f"does not hold this cluster's secret (it came as local://pid-{os.getpid()} before)")
    assert network.accepted == []


@pytest.mark.parametrize("kind", ["nearby", "tcp", "tls"])
def test_to_look_whether_somebody_is_there_is_no_attempt(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "windrow.transport")
    for each in network_of(kind):
        assert each.near.run(presence.is_there(each.address), LIMIT_S)
        for _ in range(500):
            if "has looked whether somebody is here" in caplog.text:
                break
            each.near.run(asyncio.sleep(0.01))
        assert "has looked whether somebody is here" in caplog.text
        assert refused(caplog.records) == []
        near, far = each.pair()
        near.send(Close("still here"))
        far.wait_for_messages(1)


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 100])
def test_what_is_no_listener_of_ours_is_there_and_is_sent_nothing(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GREETING_S", 0.05)

    async def main() -> bytes:
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(greeting)
            try:
                got.set_result(await reader.read())
            except ConnectionResetError:
                got.set_result(b"")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await presence.is_there(f"tcp://127.0.0.1:{port}")
        async with asyncio.timeout(LIMIT_S):
            said = await got
        server.close()
        return said

    assert asyncio.run(main()) == b""
