"""Attacks and accidents on tcp connections: each costs the connection it happens on, and nothing else."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windrow import config, transport
from windrow.addressing import split_address, split_host_port
from windrow.errors import ConnectionRefused, WrongSecret, WrongVersion
from windrow.transport import Link, door, stream, tcp
from windrow.transport.handshake import accept_steps, connect_steps
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.framing import FrameEncoder
from windrow.wire.messages import PROTOCOL_VERSION, Close, Reply

SECRET = b"s" * 32


def raw(address: str) -> socket.socket:
    endpoint = socket.create_connection(split_host_port(split_address(address)[1]), timeout=10)
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return endpoint


def receive(endpoint: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = endpoint.recv(count - len(data))
        assert part, "the listener has hung up"
        data += part
    return data


def shaken(address: str) -> socket.socket:
    """Return a raw socket that has passed the handshake."""
    endpoint = raw(address)
    steps = connect_steps(SECRET, address)
    reply, need_bytes = next(steps)
    try:
        while True:
            endpoint.sendall(reply)
            reply, need_bytes = steps.send(receive(endpoint, need_bytes))
    except StopIteration:
        return endpoint


def until_closed(endpoint: socket.socket) -> bytes:
    """Return what still comes, until the other side has closed."""
    data = b""
    try:
        while part := endpoint.recv(65536):
            data += part
    except ConnectionResetError:
        pass  # closed all the same: with bytes of ours unread
    endpoint.close()
    return data


@pytest.fixture
def witness(tcp_network: Any, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Return the network; a good connection stands before the attack and still works after it."""
    caplog.set_level(logging.WARNING)
    near, far = tcp_network.pair()
    tcp_network.on_link = tcp_network.accepted.append
    yield tcp_network
    near.send(Close("still here"))
    assert far.wait_for_messages(1) == [Close("still here")]
    fresh_near, fresh_far = tcp_network.pair()
    fresh_near.send(Close("new"))
    fresh_far.wait_for_messages(1)
    assert near.lost == far.lost == []


def test_wrong_secret(witness: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WrongSecret, match=witness.address):
        witness.near.run(transport.connect(witness.address, secret=b"x" * 32))
    witness.near.run(asyncio.sleep(0))
    assert witness.accepted == []
    assert caplog.text.count("does not hold this cluster's secret") == 1


def test_wrong_version(witness: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tcp, "connect_steps", functools.partial(connect_steps, version=7))
        with pytest.raises(
            WrongVersion, match=f"speaks protocol {PROTOCOL_VERSION}, this process 7: upgrade windrow there"
        ):
            witness.near.run(transport.connect(witness.address, secret=SECRET))
        patch.setattr(tcp, "connect_steps", connect_steps)
        patch.setattr(tcp, "accept_steps", functools.partial(accept_steps, version=9))
        with pytest.raises(
            WrongVersion, match=f"speaks protocol 9, this process {PROTOCOL_VERSION}: upgrade windrow here"
        ):
            witness.near.run(transport.connect(witness.address, secret=SECRET))
    assert witness.accepted == []


def test_http(witness: Any, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = raw(witness.address)
    endpoint.sendall(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")
    until_closed(endpoint)
    assert witness.accepted == []
    assert "does not speak windrow's protocol: it sent b'GET / HTTP'" in caplog.text


def test_bytes_before_the_handshake_are_neither_unpickled_nor_taken_in(witness: Any, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    endpoint = raw(witness.address)
    try:
        endpoint.sendall(pickle.dumps(Bomb()) * 100_000)
    except OSError:
        pass  # refused before all was sent: as it should be
    until_closed(endpoint)
    assert not (tmp_path / "exploded").exists()
    assert witness.accepted == []


def test_half_open(witness: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(config, "seconds", lambda key: 0.05)
        silent, slow = raw(witness.address), raw(witness.address)
        slow.sendall(b"windr")
        until_closed(silent)
        until_closed(slow)
    assert witness.accepted == []
    assert caplog.text.count("did not complete the handshake within 0.05 s") == 2


def test_a_peer_that_hangs_up_in_the_handshake(witness: Any, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = raw(witness.address)
    receive(endpoint, 42)
    endpoint.close()
    for _ in range(100):
        if "ended the connection during the handshake" in caplog.text:
            break
        witness.near.run(asyncio.sleep(0.01))
    assert witness.accepted == []
    assert "ended the connection during the handshake" in caplog.text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff" * 64, "limit"),
        ((2**50).to_bytes(8, "little") + bytes(8), "limit"),
        (b"\x05" + bytes(7) + b"\x05" + bytes(7) + b"\xc1" * 5, "decoded"),
        (pickle.dumps(print).ljust(64, b"."), ""),
    ],
    ids=["noise", "oversized", "no message", "pickle"],
)
def test_garbage_after_the_handshake(
    witness: Any, caplog: pytest.LogCaptureFixture, data: bytes, words: str, request: pytest.FixtureRequest
) -> None:
    victim = witness.far_end()
    witness.on_link = victim.adopt
    endpoint = shaken(witness.address)
    endpoint.sendall(data)
    assert "no message of ours" in victim.wait_lost()
    until_closed(endpoint)
    assert victim.batches == []
    assert "closing the connection to tcp://127.0.0.1:" in caplog.text
    assert words in caplog.text


@pytest.mark.parametrize("cut", [None, 20, 100_000])
def test_a_peer_that_dies_is_told_from_one_that_closes(witness: Any, cut: int | None) -> None:
    victim = witness.far_end()
    witness.on_link = victim.adopt
    endpoint = shaken(witness.address)
    frame = b"".join(FrameEncoder().encode([Reply(1, blobs=[Attached([Buffer(bytes(200_000))])])]))
    endpoint.sendall(frame[:cut])
    if cut is None:
        victim.wait_for_messages(1)
    endpoint.close()
    reason = victim.wait_lost()
    assert "without a goodbye" in reason
    assert ("in the middle of a frame" in reason) == (cut is not None)


def test_a_peer_that_never_reads_cannot_keep_a_closed_link(witness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CLOSE_GRACE_S", 0.05)
    victim = witness.far_end()
    is_there = threading.Event()

    def accept(link: Link) -> None:
        victim.adopt(link)
        is_there.set()

    witness.on_link = accept
    endpoint = shaken(witness.address)
    assert is_there.wait(10)
    victim.send(Reply(1, blobs=[Attached([Buffer(bytes(50_000_000))])]))
    victim.close()
    victim.wait_lost()
    endpoint.close()


def test_a_listener_that_is_not_windrow(tcp_network: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"SSH-2.0-OpenSSH_9\r\n"), daemon=True).start()
        with pytest.raises(ConnectionRefused, match="no windrow scheduler"):
            tcp_network.near.run(
                transport.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}", secret=SECRET, timeout_s=5)
            )


def test_a_listener_that_says_nothing(tcp_network: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=f"no connection to {address} within 0.1 s"):
            tcp_network.near.run(transport.connect(address, secret=SECRET, timeout_s=0.1))


def test_connect_waits_for_a_listener_to_come_up(tcp_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    listeners = []
    shake_hands = tcp.shake_hands

    async def then_listen(*arguments: Any, **more: Any) -> Any:
        try:
            return await shake_hands(*arguments, **more)
        except ConnectionRefusedError:
            if not listeners:
                listeners.append(await transport.listen(f"tcp://127.0.0.1:{port}", lambda link: None, secret=SECRET))
            raise

    monkeypatch.setattr(tcp, "shake_hands", then_listen)
    link = tcp_network.near.run(transport.connect(f"tcp://127.0.0.1:{port}", secret=SECRET))
    assert link.remote == f"tcp://127.0.0.1:{port}"
    assert len(listeners) == 1


def test_connect_gives_up_with_advice(tcp_network: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"\[Errno 111\].*Check that the scheduler") as caught:
        tcp_network.near.run(transport.connect(address, secret=SECRET, timeout_s=0.1))
    assert address in str(caught.value)
    assert time.monotonic() - started < 5


def test_a_refusal_is_not_tried_again(tcp_network: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(WrongSecret):
        tcp_network.near.run(transport.connect(tcp_network.address, secret=b"x"))
    assert caplog.text.count("refused a connection") == 1


def test_closing_the_listener_drops_half_open_connections(tcp_network: Any) -> None:
    endpoint = raw(tcp_network.address)
    receive(endpoint, 42)
    tcp_network.far.loop.call_soon_threadsafe(tcp_network.listener.close)
    assert until_closed(endpoint) == b""


def test_without_a_secret_there_is_no_tcp() -> None:
    for secret in (None, b""):
        with pytest.raises(ValueError, match="secret"):
            asyncio.run(transport.listen("tcp://127.0.0.1:0", print, secret=secret))
        with pytest.raises(ValueError, match="secret"):
            asyncio.run(transport.connect("tcp://127.0.0.1:1", secret=secret))


def test_a_port_that_is_taken(tcp_network: Any) -> None:
    with pytest.raises(OSError, match="Choose another port"):
        tcp_network.far.run(transport.listen(tcp_network.address, print, secret=SECRET))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost", "[::]", "[::1]"])
def test_the_listeners_address_can_be_connected_to(tcp_network: Any, host: str) -> None:
    async def main() -> None:
        listener = await transport.listen(f"tcp://{host}:0", lambda link: None, secret=SECRET)
        (await transport.connect(listener.address, secret=SECRET, timeout_s=5)).close()
        listener.close()

    tcp_network.far.run(main(), 10)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_empty_host_listens_by_ipv4_and_ipv6_at_one_port(tcp_network: Any) -> None:
    async def main() -> None:
        accepted: list[Link] = []
        listener = await transport.listen("tcp://:0", accepted.append, secret=SECRET)
        port = split_host_port(split_address(listener.address)[1])[1]
        for host in ("127.0.0.1", "[::1]"):
            (await transport.connect(f"tcp://{host}:{port}", secret=SECRET, timeout_s=5)).close()
        listener.close()
        assert len(accepted) == 2

    tcp_network.far.run(main(), 10)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_port_that_is_free_by_ipv4_alone_is_not_taken(tcp_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gives a port that somebody has by IPv6; another is looked for."""
    real = door._bind
    with socket.create_server(("::", 0), family=socket.AF_INET6) as other:
        taken = other.getsockname()[1]
        asked: list[int] = []

        def bind(family: int, where: tuple[Any, ...]) -> socket.socket:
            asked.append(where[1])
            if len(asked) == 1:
                where = (where[0], taken)
            return real(family, where)

        monkeypatch.setattr(door, "_bind", bind)

        async def main() -> None:
            listener = await transport.listen("tcp://:0", lambda link: None, secret=SECRET)
            assert split_host_port(split_address(listener.address)[1])[1] != taken
            listener.close()
            with pytest.raises(OSError, match="cannot listen on tcp://:"):
                await transport.listen(f"tcp://:{taken}", lambda link: None, secret=SECRET)

        tcp_network.far.run(main(), 10)
    assert asked[:4] == [0, taken, 0, asked[3]]
