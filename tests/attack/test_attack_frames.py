"""Frames of who holds the secret, and is out of his mind: each costs its own connection, and no more."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import attack_tasks as tasks
import pytest
from attack_help import Bomb, Said, frame, receive, rss_bytes, shaken, until, until_closed

from windrow import Client, LocalCluster
from windrow.account import Account
from windrow.wire.framing import LIMIT_BYTES
from windrow.wire.messages import (
    Call,
    Declare,
    Died,
    Done,
    HelloClient,
    HelloNanny,
    HelloWorker,
    Message,
    Release,
    Run,
    Submit,
    TaskId,
)
from windrow.wire.requests import GetData, Identity, RunFunction, RunOnScheduler, Shutdown

MIB = 2**20
HEADER = (5).to_bytes(8, "little") + (5).to_bytes(4, "little") + bytes(4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff" * 64, "limit"),
        ((2**60).to_bytes(8, "little") + bytes(8), "limit"),
        ((LIMIT_BYTES + 1).to_bytes(8, "little") + b"\x01" + bytes(7), "limit"),
        (HEADER + b"\xc1" * 5, "decoded"),
        (pickle.dumps(print).ljust(64, b"."), "do not add up"),
        (frame(HelloClient("x"))[:-1] + b"\xc1", "decoded"),
    ],
    ids=["noise", "oversized", "just oversized", "no message", "pickle", "garbled"],
)
def test_garbled_frames(target: LocalCluster, caplog: pytest.LogCaptureFixture, data: bytes, words: str) -> None:
    endpoint = shaken(target.scheduler_address, target.secret)
    host, port = endpoint.getsockname()
    endpoint.sendall(data)
    until_closed(endpoint)
    until(lambda: f"closing the connection to tcp://{host}:{port}" in caplog.text and words in caplog.text)


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


@pytest.mark.parametrize("where", ["scheduler", "worker"])
@pytest.mark.parametrize("kind", ["one batch", "one buffer", "many buffers", "many empty buffers"])
def test_gigabytes_that_are_only_announced(target: LocalCluster, where: str, kind: str) -> None:
    """A length prefix of 4 GiB is no more than a promise: memory is taken as bytes arrive."""
    batch = frame(HelloClient("x"))[16:]
    lengths = {
        "one batch": [],
        "one buffer": [4 * 2**30],
        "many buffers": [MIB - 1] * 4096,
        "many empty buffers": [0] * 20_000,
    }[kind]
    batch_bytes = 2**32 - 1 if kind == "one batch" else len(batch)
    total = 8 * len(lengths) + batch_bytes + sum(lengths)
    head = total.to_bytes(8, "little") + batch_bytes.to_bytes(4, "little") + len(lengths).to_bytes(4, "little")
    address, worker = next(iter(target.scheduler_info["workers"].items()))
    pid = None if where == "scheduler" else worker["pid"]
    before = rss_bytes(pid)
    endpoints = [shaken(target.scheduler_address if pid is None else address, target.secret) for _ in range(4)]
    for endpoint in endpoints:
        endpoint.sendall(head + b"".join(length.to_bytes(8, "little") for length in lengths) + batch + b"x" * 1000)
    with shaken(target.scheduler_address, target.secret) as other:  # by its answer the others' bytes have been read
        other.sendall(frame(HelloClient("y"), Call(1, Identity())))
        receive(other, 100)
    assert rss_bytes(pid) - before < 64 * MIB
    for endpoint in endpoints:
        endpoint.close()


def test_who_may_only_watch_may_not_announce_them(target: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    from windrow.roles import Role, token

    endpoint = shaken(target.scheduler_address, token(target.secret, Role.WATCH))
    endpoint.sendall((4 * 2**30).to_bytes(8, "little") + (5).to_bytes(4, "little") + (1).to_bytes(4, "little"))
    until_closed(endpoint)
    until(lambda: "a frame of 4294967296 bytes is announced, and the limit is 1048576" in caplog.text)


@pytest.mark.parametrize("what", ["function", "arguments", "run", "administer"])
def test_the_scheduler_unpickles_nothing_of_a_task(target: LocalCluster, tmp_path: Path, what: str) -> None:
    """Only what is to run in its own process, from who may administer; here the canary is that it works."""
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    said: list[Message] = {
        "function": [Declare(b"d" * 16, "f", bomb)],
        "arguments": [Declare(b"d" * 16, "f", b"no pickle"), Submit(b"d" * 16, ["bomb"], [bomb], workers=["nowhere"])],
        "run": [Call(1, RunFunction(bomb, workers=[]))],
        "administer": [Call(1, RunOnScheduler(bomb))],
    }[what]
    with shaken(target.scheduler_address, target.secret) as endpoint:
        endpoint.sendall(frame(HelloClient("x"), *said, Call(2, Identity())))
        receive(endpoint, 100)
        if what == "administer":
            until((tmp_path / "exploded").exists, "the canary sings")
        else:
            assert not (tmp_path / "exploded").exists()


def test_garbage_at_a_workers_port(target: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys)
    for data in (b"\xff" * 64, frame(Run(TaskId(1), 1, "key", 1, b"")), frame(Call(1, Shutdown()))):
        for address in target.scheduler_info["workers"]:
            endpoint = shaken(address, target.secret)
            host, port = endpoint.getsockname()
            endpoint.sendall(data)
            until_closed(endpoint)
            said.until(f"tcp://{host}:{port}")


def test_values_that_a_worker_does_not_hold(target: LocalCluster) -> None:
    [address, *_] = target.scheduler_info["workers"]
    with shaken(address, target.secret) as endpoint:
        endpoint.sendall(frame(Call(1, GetData([TaskId(2**62), TaskId(-1)]))))
        assert len(receive(endpoint, 16)) == 16


def test_a_worker_that_comes_and_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp") as cluster:
        with Client(cluster) as client:
            endpoint = shaken(cluster.scheduler_address, cluster.secret)
            endpoint.sendall(frame(HelloWorker("tcp://127.0.0.1:1", "stranger", 1)))
            client.wait_for_workers(2, timeout=5)
            futures = client.map(tasks.inc, range(2000))
            receive(endpoint, 100)  # it has been given work
            endpoint.close()
            assert client.gather(futures) == list(range(1, 2001))
