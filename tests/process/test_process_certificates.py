"""Each way for a worker to die, and that the client's exception and the log say which it was."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from msgspec.structs import replace
from process_help import until, until_file

from windrow import Client, KilledWorker, LocalCluster
from windrow.account import Account, Cause
from windrow.deploy import gauge
from windrow.errors import TaskError

LIMIT_BYTES = 200 * 2**20


@pytest.fixture(scope="module")
def mortal_cluster(runtime_directory: Path) -> Iterator[LocalCluster]:
    """One worker, whose first death convicts a task."""
    with LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=LIMIT_BYTES) as cluster:
        state = cluster.scheduler.core.state
        state.config = replace(state.config, allowed_failures=0)
        yield cluster


@pytest.fixture
def mortal(mortal_cluster: LocalCluster) -> Iterator[Client]:
    with Client(mortal_cluster) as client:
        client.wait_for_workers(1)
        yield client


def speak() -> None:
    print("famous last words", file=sys.stderr, flush=True)


def crash() -> None:
    speak()
    ctypes.string_at(0)


def leave() -> None:
    speak()
    os._exit(3)


def abort() -> None:
    speak()
    ctypes.CDLL(None).abort()


def eat() -> None:
    """Take memory faster than the nanny usually looks."""
    speak()
    food = []
    while True:
        food.append(os.urandom(4096) * 1024)


def heed(number: int, started: str) -> None:
    """Be ended by a signal from outside, whatever is there to handle it."""
    speak()
    ctypes.CDLL(None).signal(number, None)  # SIG_DFL
    tasks.announce_and_wait(started, f"{started} never")


def verdict(client: Client, caplog: pytest.LogCaptureFixture, future: Any) -> Account:
    """Return the account in the error; the log tells the same, and the error's text has all of it."""
    with pytest.raises(KilledWorker) as caught:
        future.result(timeout=20)
    error = caught.value
    [account] = error.accounts
    assert error.task == future.key
    assert error.last_worker is account
    assert account.name == 0
    assert account.address.startswith("tcp://")
    assert account.tasks == (future.key,)
    assert "famous last words" in account.last_lines
    assert 10 * 2**20 < account.peak_bytes < 2 * LIMIT_BYTES
    assert account.limit_bytes == LIMIT_BYTES
    text = str(error)
    for part in (account.sentence, repr(future.key), "famous last words", account.meaning, account.advice):
        assert part in text
    until(lambda: f"worker 0 (pid {account.pid}) {account.end}; another is started" in caplog.text, "the nanny's log")
    until(lambda: f"worker 0 (pid {account.pid}) {account.end}; it was running {future.key!r}" in caplog.text)
    assert "famous last words" in caplog.text
    for frame in account.stack:
        assert frame.strip() in text
        assert frame.strip() in caplog.text
    assert client.submit(tasks.inc, 1, pure=False).result(timeout=20) == 2  # another is there
    return account


def test_a_segfault(mortal: Client, caplog: pytest.LogCaptureFixture) -> None:
    account = verdict(mortal, caplog, mortal.submit(crash))
    assert (account.cause, account.signal_name) == (Cause.crash, "SIGSEGV")
    assert account.fatal == "Fatal Python error: Segmentation fault"
    assert [frame.rpartition(" in ")[2] for frame in account.stack] == ["string_at", "crash"]


def test_an_abort_in_c(mortal: Client, caplog: pytest.LogCaptureFixture) -> None:
    account = verdict(mortal, caplog, mortal.submit(abort))
    assert (account.cause, account.signal_name) == (Cause.abort, "SIGABRT")
    assert [frame.rpartition(" in ")[2] for frame in account.stack] == ["abort"]


def test_an_exit(mortal: Client, caplog: pytest.LogCaptureFixture) -> None:
    account = verdict(mortal, caplog, mortal.submit(leave))
    assert (account.cause, account.exit_code, account.stack) == (Cause.exit, 3, ())
    assert "exited with code 3" in account.end


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGKILL, Cause.kill), (signal.SIGTERM, Cause.asked), (signal.SIGUSR1, Cause.signal)]
)
def test_a_signal_from_outside(
    mortal: Client, caplog: pytest.LogCaptureFixture, tmp_path: Path, number: signal.Signals, cause: Cause
) -> None:
    future = mortal.submit(heed, int(number), str(tmp_path / "started"))
    os.kill(int(until_file(tmp_path / "started")), number)
    account = verdict(mortal, caplog, future)
    assert (account.cause, account.signal_name) == (cause, number.name)


def test_out_of_memory_in_the_control_group(
    mortal: Client, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "sys/fs/cgroup/job/memory.events"
    for path, text in ((tmp_path / "proc/self/cgroup", "0::/job\n"), (events, "oom_kill 4\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    kernel = gauge.OomKills(tmp_path)
    kernel.look()
    monkeypatch.setattr(gauge, "kernel", kernel)
    future = mortal.submit(heed, int(signal.SIGKILL), str(tmp_path / "started"))
    pid = int(until_file(tmp_path / "started"))
    events.write_text("oom_kill 5\n")
    os.kill(pid, signal.SIGKILL)
    account = verdict(mortal, caplog, future)
    assert account.cause is Cause.out_of_memory
    assert "by the kernel, which was out of memory" in account.end


def test_its_own_memory_limit(mortal: Client, caplog: pytest.LogCaptureFixture) -> None:
    account = verdict(mortal, caplog, mortal.submit(eat))
    assert account.cause is Cause.limit
    assert account.over_bytes > 0.95 * LIMIT_BYTES
    assert account.peak_bytes >= account.over_bytes
    assert "above 95% of its memory limit" in account.end
    assert "of 200 MiB" in account.end


def test_what_a_task_has_started_is_ended_with_the_worker_that_had_too_much(mortal: Client, tmp_path: Path) -> None:
    from process_help import until_gone

    def feast(path: str) -> None:
        import subprocess

        child = "import sys; sys.path[:] = {}; import process_tasks as t; t.announce_and_wait({!r}, 'never')"
        subprocess.Popen([sys.executable, "-c", child.format(sys.path, path)])
        tasks.until_there(path)
        eat()

    future = mortal.submit(feast, str(tmp_path / "child"))
    assert type(future.exception(timeout=20)) is KilledWorker
    until_gone([int(until_file(tmp_path / "child"))])


def test_sys_exit_ends_the_task_and_no_worker(mortal: Client, caplog: pytest.LogCaptureFixture) -> None:
    [before] = mortal.run(os.getpid).values()
    with pytest.raises(TaskError, match=r"raised SystemExit\(3\); the process that ran it goes on"):
        mortal.submit(sys.exit, 3).result(timeout=10)
    assert list(mortal.run(os.getpid).values()) == [before]
    assert caplog.text == ""


def test_an_actor_says_how_its_worker_ended(mortal: Client) -> None:
    class Frail:
        def end(self) -> None:
            leave()

    future = mortal.submit(Frail, actor=True)
    with pytest.raises(OSError, match="ended before it had answered"):
        future.result(timeout=10).end().result(timeout=10)
    until(lambda: future.status == "error")
    assert "where it lived, has ended: exited with code 3 after" in str(future.exception())
