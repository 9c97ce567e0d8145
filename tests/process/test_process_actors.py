"""Actors whose worker is killed, closed or to be retired."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
from process_help import until, until_file

from windrow import Client
from windrow.errors import ActorCallError, ActorLostError


class Register:
    """Notes where it is, and what it is told."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lines: list[str] = []

    def add(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    def hang(self, path: str) -> None:
        Path(path).write_text("in the middle of it")
        signal.pause()


def add(register: Register, line: str) -> int:
    return register.add(line).result()  # type: ignore[attr-defined, no-any-return]


def test_its_host_is_killed_amid_a_call(own_client: Client, tmp_path: Path) -> None:
    future = own_client.submit(Register, actor=True)
    register = future.result()
    pid = register.pid
    done = own_client.submit(add, register, "x")
    assert done.result() == 1
    call = register.hang(str(tmp_path / "hangs"))
    until_file(tmp_path / "hangs")
    waiting = own_client.submit(add, register, "y")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(OSError, match=r"'hang' of actor .* ended before it had answered; whether the call") as told:
        call.result(timeout=10)
    assert isinstance(told.value, ActorCallError)
    for lost in (lambda: future.result(10), lambda: register.add, lambda: register.pid, lambda: waiting.result(10)):
        with pytest.raises(RuntimeError, match=r"Actor .* is gone: worker \d .*SIGKILL") as error:
            lost()
        assert isinstance(error.value, ActorLostError)
    assert done.result() == 1
    assert own_client.submit(Register, actor=True).result().add("z").result() == 1


def test_a_worker_with_actors_is_not_retired(own_client: Client, caplog: pytest.LogCaptureFixture) -> None:
    register = own_client.submit(Register, actor=True).result()
    [home] = [
        address for address, worker in own_client.scheduler_info()["workers"].items() if worker["pid"] == register.pid
    ]
    with caplog.at_level(logging.WARNING, "windrow"):
        assert own_client.retire_workers([home]) == {}
    assert "actors live there" in caplog.text
    assert register.add("x").result() == 1


def test_another_workers_end_is_nothing_to_it(own_client: Client) -> None:
    own_client.wait_for_workers(2)
    register = own_client.submit(Register, actor=True).result()
    pids = {worker["pid"] for worker in own_client.scheduler_info()["workers"].values()}
    for pid in pids - {register.pid}:
        os.kill(pid, signal.SIGKILL)
    assert register.add("x").result() == 1


def test_a_restart_ends_actors(own_client: Client) -> None:
    register = own_client.submit(Register, actor=True).result()
    own_client.restart()
    until(lambda: register._future.cancelled(), "the client knows")
    with pytest.raises(RuntimeError, match="is gone"):
        register.add("x")
