"""``windrow top``, on a scheduler in another process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from windrow import Client, LocalCluster, roles, security
from windrow.cli.main import main
from windrow.observe import source

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "protocol": "tcp"}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        done = client.map(_inc, range(5))
        client.gather(done)
        yield cluster


def _inc(x: int) -> int:
    return x + 1


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["top", *arguments])


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FRESH_S", 0.05)


@pytest.mark.usefixtures("fresh")
def test_one_picture(cluster: LocalCluster) -> None:
    result = run(cluster.scheduler_address, "--once")
    assert result.exit_code == 0, result.output
    assert cluster.scheduler_address in result.output
    assert "1 worker, 1 thread," in result.output
    assert re.search(r"^ *_?inc +5 ", result.output, flags=re.MULTILINE)
    assert re.search(r"^ *0 +1 +\d+%", result.output, flags=re.MULTILINE)  # its processor time was measured twice


@pytest.mark.usefixtures("fresh")
def test_where_the_output_is_no_terminal_it_is_one_picture(cluster: LocalCluster) -> None:
    assert run(cluster.scheduler_address).output.count("1 worker, 1 thread,") == 1


@pytest.mark.usefixtures("fresh")
def test_who_looks_is_no_client(cluster: LocalCluster) -> None:
    assert "; 1 client;" in run(cluster.scheduler_address, "--once").output


@pytest.mark.usefixtures("fresh")
def test_a_watch_token_is_enough(cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text(roles.to_text(roles.token(cluster.secret, roles.Role.WATCH)))
    monkeypatch.setattr(security, "secret_for", lambda address: pytest.fail("it takes what it is given"))
    result = run(cluster.scheduler_address, "--secret-file", str(token), "--once")
    assert result.exit_code == 0, result.output
    assert "1 worker," in result.output
    assert run(cluster.scheduler_address, "--secret-file", str(tmp_path / "none"), "--once").exit_code == 1


def test_which_one_is_meant(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(security, "published", list)
    assert "say which, by its address" in run("--once").output
    monkeypatch.setattr(security, "published", lambda: ["tcp://a", "tcp://b"])
    assert "say which of tcp://a, tcp://b" in run("--once").output
    missing = run("--scheduler-file", str(tmp_path / "none"), "--once")
    assert "there is no scheduler file" in missing.output
    assert missing.exit_code == 1


def test_of_a_stranger_there_is_nothing_to_see() -> None:
    result = run("tcp://127.0.0.1:9", "--once")
    assert result.exit_code == 1
    assert "nobody answers at tcp://127.0.0.1:9, and nothing is published" in result.output


def test_without_rich_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("--once")
    assert result.exit_code == 1
    assert "pip install 'windrow[terminal]'" in result.output


@contextlib.contextmanager
def in_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command on a terminal of its own; yield the process, and the terminal's other end."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "windrow.cli", "top", *arguments]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, *words: bytes) -> None:
    shown, end_s = b"", time.monotonic() + LIMIT_S
    while not all(word in shown for word in words):
        assert time.monotonic() < end_s, shown
        shown += os.read(terminal, 4096)


def test_it_is_drawn_anew_until_q(cluster: LocalCluster) -> None:
    with in_terminal(cluster.scheduler_address, "--interval", "0.2") as (process, terminal):
        read_until(terminal, b"1 worker,", b"q ends")
        os.write(terminal, b"mq")
        assert process.wait(LIMIT_S) == 0
