"""Garbage, strangers and accidents at the ports of a working cluster: each costs its own connection, and no more."""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from process_help import until

from windrow import Client, LocalCluster
from windrow.account import Account
from windrow.transport.handshake import MAGIC, connect_steps
from windrow.wire.framing import FrameEncoder
from windrow.wire.messages import (
    PROTOCOL_VERSION,
    Call,
    Declare,
    Died,
    Done,
    HelloClient,
    HelloNanny,
    HelloWorker,
    Identity,
    Message,
    Release,
    Run,
    Submit,
    TaskId,
)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def raw(address: str) -> socket.socket:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def receive(endpoint: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = endpoint.recv(count - len(data))
        assert part, "the other side has hung up"
        data += part
    return data


def shaken(address: str, secret: bytes) -> socket.socket:
    """Return a socket that has passed the handshake."""
    endpoint = raw(address)
    steps = connect_steps(secret, address)
    reply, need_bytes = next(steps)
    try:
        while True:
            endpoint.sendall(reply)
            reply, need_bytes = steps.send(receive(endpoint, need_bytes))
    except StopIteration:
        return endpoint


def frame(*messages: Message) -> bytes:
    return b"".join(bytes(piece) for piece in FrameEncoder().encode(list(messages)))


def until_closed(endpoint: socket.socket) -> None:
    """Read until the other side has closed; it is to do so by itself."""
    try:
        while endpoint.recv(65536):
            pass
    except ConnectionResetError:
        pass  # closed, with bytes of ours unread
    endpoint.close()


@pytest.fixture
def target(cluster: LocalCluster, client: Client, caplog: pytest.LogCaptureFixture) -> Iterator[LocalCluster]:
    """The shared cluster; its work goes on through the attack, and its connections stand."""
    caplog.set_level(logging.WARNING)
    workers = client.run(tasks.pid)
    before = client.map(tasks.tiny, range(1000))
    yield cluster
    after = client.map(tasks.tiny, range(1000, 2000))
    assert client.gather(before + after) == list(range(1, 2001))
    assert client.run(tasks.pid) == workers
    with Client(cluster.scheduler_address, set_as_default=False) as newcomer:
        assert newcomer.submit(tasks.inc, 1).result(timeout=5) == 2


HEADER = (5).to_bytes(8, "little") + (5).to_bytes(4, "little") + bytes(4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", "does not speak windrow's protocol: it sent b'GET / HTTP'"),
        (b"\x80\x05" * 1000, "does not speak windrow's protocol"),
        (MAGIC + (PROTOCOL_VERSION + 1).to_bytes(2, "little"), "speaks protocol"),
        (MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") + b"x" * 64, "does not hold this cluster's secret"),
    ],
    ids=["http", "noise", "version", "secret"],
)
def test_strangers(target: LocalCluster, caplog: pytest.LogCaptureFixture, data: bytes, words: str) -> None:
    endpoint = raw(target.scheduler_address)
    endpoint.sendall(data)
    until_closed(endpoint)
    until(lambda: words in caplog.text, "the refusal is logged")


def test_nothing_of_a_stranger_is_unpickled(target: LocalCluster, tmp_path: Path) -> None:
    bomb = tmp_path / "exploded"
    for data in (pickle.dumps(Bomb(bomb)), frame(HelloClient("x"), Call(1, Identity()))):
        endpoint = raw(target.scheduler_address)
        try:
            endpoint.sendall(data * 1000)
        except OSError:
            pass  # refused before all was sent
        until_closed(endpoint)
    assert not bomb.exists()


def test_a_half_open_connection(
    target: LocalCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("windrow.config.seconds", lambda key: 0.05)
        silent, slow = raw(target.scheduler_address), raw(target.scheduler_address)
        slow.sendall(MAGIC[:4])
        until_closed(silent)
        until_closed(slow)
    until(lambda: caplog.text.count("did not complete the handshake within 0.05 s") == 2)


def test_many_half_open_connections_do_not_keep_others_out(target: LocalCluster) -> None:
    endpoints = [raw(target.scheduler_address) for _ in range(200)]
    with Client(target.scheduler_address, timeout=5, set_as_default=False) as client:
        assert client.submit(tasks.inc, 1).result(timeout=5) == 2
    for endpoint in endpoints:
        endpoint.close()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff" * 64, "limit"),
        ((2**60).to_bytes(8, "little") + bytes(8), "limit"),
        (HEADER + b"\xc1" * 5, "decoded"),
        (pickle.dumps(print).ljust(64, b"."), "do not add up"),
        (frame(HelloClient("x"))[:-1] + b"\xc1", "decoded"),
    ],
    ids=["noise", "oversized", "no message", "pickle", "garbled"],
)
def test_garbled_frames(target: LocalCluster, caplog: pytest.LogCaptureFixture, data: bytes, words: str) -> None:
    endpoint = shaken(target.scheduler_address, target.secret)
    endpoint.sendall(data)
    until_closed(endpoint)
    until(lambda: "closing the connection to tcp://127.0.0.1:" in caplog.text and words in caplog.text)


STRANGE: list[list[Message]] = [
    [Call(1, Identity())],
    [Done(TaskId(1), 1, 0.0, 0)],
    [HelloClient("x"), HelloClient("x")],
    [HelloClient("x"), Run(TaskId(1), 1, "key", 1, b"")],
    [HelloClient("x"), Died("tcp://127.0.0.1:1", Account(said="it was not me"))],
    [HelloNanny("n", 0), Release([], 1)],
    [HelloNanny("n", 0), Done(TaskId(1), 1, 0.0, 0)],
]


@pytest.mark.parametrize("messages", STRANGE, ids=lambda messages: "-".join(type(m).__name__ for m in messages))
def test_messages_that_a_peer_may_not_say(
    target: LocalCluster, caplog: pytest.LogCaptureFixture, messages: list[Message]
) -> None:
    endpoint = shaken(target.scheduler_address, target.secret)
    endpoint.sendall(frame(*messages))
    until_closed(endpoint)
    until(lambda: "closing" in caplog.text, "the reason is logged")


def test_frames_of_unequal_columns(target: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = shaken(target.scheduler_address, target.secret)
    endpoint.sendall(frame(HelloClient("x"), Declare(b"d" * 16, "f", b""), Submit(b"d" * 16, ["a", "b"], [b""])))
    until_closed(endpoint)
    until(lambda: "closing" in caplog.text, "the reason is logged")


def test_a_worker_that_comes_and_goes(own_client: Client, own_cluster: LocalCluster, tmp_path: Path) -> None:
    endpoint = shaken(own_cluster.scheduler_address, own_cluster.secret)
    endpoint.sendall(frame(HelloWorker("tcp://127.0.0.1:1", "stranger", 1)))
    own_client.wait_for_workers(3, timeout=5)
    futures = own_client.map(tasks.tiny, range(2000))
    receive(endpoint, 100)  # it has been given work
    endpoint.close()
    assert own_client.gather(futures) == list(range(1, 2001))


def test_a_client_that_dies(own_client: Client, own_cluster: LocalCluster, start_python: Callable[..., Any]) -> None:
    program = start_python(
        "import process_tasks as t, time\nfrom windrow import Client\n"
        f"client = Client({own_cluster.scheduler_address!r})\n"
        "done = client.map(t.inc, range(100)); client.gather(done)\n"
        "rest = client.map(t.until_there, ['/nowhere'] * 5, range(5)); print('up', flush=True); time.sleep(100)"
    )
    assert program.stdout.readline() == "up\n"
    state = own_cluster.scheduler.core.state
    until(lambda: len(state.tasks) == 105)
    program.kill()
    until(lambda: not state.tasks)


def test_strangers_at_a_workers_port(target: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    for address in target.scheduler_info["workers"]:
        endpoint = raw(address)
        endpoint.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until_closed(endpoint)
        until_said(capsys, f"{address} refused a connection: ")


def test_garbage_at_a_workers_port(target: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    for data in (b"\xff" * 64, frame(Run(TaskId(1), 1, "key", 1, b""))):
        for address in target.scheduler_info["workers"]:
            endpoint = shaken(address, target.secret)
            endpoint.sendall(data)
            until_closed(endpoint)
            until_said(capsys, "closing the connection")


def until_said(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Wait for words on stderr, where what workers log arrives."""
    said: list[str] = []

    def is_said() -> bool:
        said.append(capsys.readouterr().err)
        return words in "".join(said)

    until(is_said, f"{words!r} on stderr")
