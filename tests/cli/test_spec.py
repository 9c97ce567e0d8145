"""``windrow spec``, as a user or a cluster manager calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from windrow import Client
from windrow.cli.main import main

SCHEDULER = {"cls": "windrow.Scheduler", "opts": {"port": 0}}


@pytest.fixture(autouse=True)
def runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the secrets of these schedulers away from the user's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class Running:
    """A ``windrow spec`` that has said what runs."""

    def __init__(self, *arguments: str, text: str | None = None, lines: int = 1) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "windrow.cli", "spec", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if text is not None:
            self.process.stdin.write(text)
            self.process.stdin.close()
            self.process.stdin = None
        self.lines = [self.process.stdout.readline() for _ in range(lines)]
        self.address = self.lines[0].split()[-1]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, words = self.process.communicate(timeout=20)
        return self.process.returncode, words


@pytest.fixture
def scheduler() -> Iterator[Running]:
    running = Running("--spec", json.dumps(SCHEDULER))
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal(number: int) -> None:
    running = Running("--spec", json.dumps(SCHEDULER))
    assert running.lines == [f"Scheduler: Scheduler at {running.address}\n"]
    with Client(running.address) as client:
        assert client.scheduler_info()["workers"] == {}
        assert running.stop(number) == (0, "")


def test_several_parties_from_a_file(scheduler: Running, tmp_path: Path) -> None:
    file = tmp_path / "workers.yaml"
    file.write_text(
        "one: {cls: windrow.Worker, opts: {name: a, nthreads: 1}}\n"
        "two: {cls: distributed.Nanny, opts: {name: b, nthreads: 1}}\n"
    )
    workers = Running("--spec-file", str(file), scheduler.address, lines=2)
    assert [line.partition(" at ")[0] for line in workers.lines] == ["one: Worker", "two: Nanny"]
    with Client(scheduler.address) as client:
        assert {worker["name"] for worker in client.scheduler_info()["workers"].values()} == {"a", "b"}
        assert client.submit(sum, [1, 2]).result(20) == 3
        assert workers.stop() == (0, "")


def test_it_ends_when_all_parties_have_ended(scheduler: Running) -> None:
    worker = Running("--spec-file", "-", scheduler.address, text='{"cls": "windrow.Worker", "opts": {"name": "a"}}')
    with Client(scheduler.address) as client:
        client.retire_workers(["a"])
        _, words = worker.process.communicate(timeout=20)
    assert (worker.process.returncode, words) == (0, "")


def test_a_client_may_end_a_scheduler(scheduler: Running) -> None:
    with Client(scheduler.address) as client:
        client.shutdown()
    _, words = scheduler.process.communicate(timeout=20)
    assert (scheduler.process.returncode, words) == (0, "")


def test_a_secret_over_the_standard_input(runtime_directory: Path) -> None:
    secret = "5e" * 32
    spec = {"cls": "windrow.Scheduler", "opts": {"secret": secret}}
    running = Running("--spec-file", "-", text=json.dumps(spec))
    try:
        for facts in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{running.process.pid}/{facts}").read_text()
        with Client(running.address, secret=secret) as client:
            assert client.scheduler_info()["address"] == running.address
    finally:
        running.stop()


def test_a_party_that_cannot_start(scheduler: Running) -> None:
    spec = json.dumps({"cls": "windrow.Scheduler", "opts": {"port": int(scheduler.address.rpartition(":")[2])}})
    done = subprocess.run(
        [sys.executable, "-m", "windrow.cli", "spec", "--spec", spec], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "with --spec or with --spec-file"),
        (["--spec", "{}", "--spec-file", "-"], "one of them"),
        (["--spec", "[1, {"], "neither JSON"),
        (["--spec", "[1]"], "a specification is like"),
        (["--spec", '{"a": {"opts": {}}}'], "'a' must have \"cls\""),
        (["--spec", '{"cls": "windrow.Worker", "option": {}}'], "it has 'option'"),
        (["--spec", '{"cls": "windrow.Worker", "opts": [1]}'], "are keywords by name"),
        (["--spec", '{"cls": "windrow.Wroker"}'], "'windrow.Wroker', which cannot be imported"),
        (["--spec", '{"cls": "Worker"}'], "'Worker', which cannot be imported"),
        (["--spec", json.dumps({"cls": "windrow.Scheduler", "opts": {"secret": "aa"}})], "use --spec-file"),
        (["--spec-file", "/no/such/file"], "No such file"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], words: str) -> None:
    result: Any = CliRunner().invoke(main, ["spec", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
