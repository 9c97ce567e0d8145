"""Directories of parties, and what is left of them after `kill -9`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from server_help import until

from windrow import Scheduler
from windrow.plugins import scratch
from windrow.plugins.scratch import SPACE, Scratch, new_path, sweep

Live = Callable[[Any], Any]

PROGRAM = """
import asyncio
from windrow import Nanny, Scheduler, Worker

async def main():
    async with (
        Scheduler(local_directory={home!r}) as scheduler,
        Worker(scheduler.address, local_directory={home!r}) as near,
        Nanny(scheduler.address, local_directory={home!r}, nthreads=1) as nanny,
    ):
        for party in (scheduler, near, nanny):
            print(party.local_directory)
        [there] = (await scheduler.broadcast(
            msg={{"op": "run", "function": where}}, workers=[nanny.worker_address])).values()
        print(there)
        print(nanny.pid, flush=True)
        await asyncio.sleep(1000)

def where(dask_worker):
    open(dask_worker.local_directory + "/spilled", "wb").write(bytes(10_000))
    return dask_worker.local_directory

asyncio.run(main())
"""


def test_leavings_are_removed_by_a_later_start(live: Live, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(home=str(tmp_path))], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    paths = [Path(program.stdout.readline().strip()) for _ in range(4)]
    worker_pid = int(program.stdout.readline())
    try:
        assert all(path.is_dir() and path.parent == tmp_path / SPACE for path in paths)
        assert sweep(str(tmp_path / SPACE)) == []  # all are alive
    finally:
        for pid in (worker_pid, program.pid):
            os.kill(pid, signal.SIGKILL)
        program.communicate()
    assert any(path.exists() for path in paths), "nothing was left behind, and the test shows nothing"

    async def main() -> None:
        scratch._swept.discard(str(tmp_path / SPACE))
        async with Scheduler(local_directory=str(tmp_path)) as scheduler:
            own = Path(scheduler.local_directory)
            await until(lambda: not any(path.exists() for path in paths), "they are removed in the background")
            await until(lambda: sorted(os.listdir(own.parent)) == sorted([own.name, f"{own.name}.lock"]))

    live(main())
    assert list(tmp_path.iterdir()) == []


def test_who_lives_keeps_all(tmp_path: Path) -> None:
    mine = Scratch(new_path("mine", str(tmp_path)))
    (Path(mine.path) / "file").write_text("x")
    assert sweep(os.path.dirname(mine.path)) == []
    assert (Path(mine.path) / "file").read_text() == "x"
    mine.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_lock_is_left_alone(tmp_path: Path) -> None:
    with dask.config.set({"distributed.worker.use-file-locking": False}):
        unlocked = Scratch(new_path("unlocked", str(tmp_path)))
        path = Path(unlocked.path)
    assert os.listdir(path.parent) == [path.name]
    assert sweep(str(path.parent)) == []
    assert path.is_dir()
    unlocked.remove()


def test_a_lock_without_a_directory_goes_too(tmp_path: Path) -> None:
    (tmp_path / "windrow-worker-1.lock").write_text("")
    (tmp_path / "of somebody else").write_text("")
    assert sweep(str(tmp_path)) == [str(tmp_path / "windrow-worker-1")]
    assert os.listdir(tmp_path) == ["of somebody else"]


def test_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SPACE).mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert new_path("x", str(tmp_path)).startswith(str(tmp_path / f"{SPACE}-12345"))
