"""Workers that leave: what they run ends, what they hold is handed over; and what signals do to whole processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from server_help import LIMIT_S, big, inc, until, wait_for_file

from windrow import Client, Nanny, Scheduler, Status, Worker

Live = Callable[[Any], Any]


def test_close_gracefully(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Scheduler(validate=True) as scheduler,
            Worker(scheduler.address, nthreads=1, name="leaver") as leaver,
            Worker(scheduler.address, nthreads=1, name="heir") as heir,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            kept = client.map(big, range(20), workers=["leaver"], allow_other_workers=True)
            await client.gather(kept)
            path = str(tmp_path / "go")
            running = client.submit(wait_for_file, path, workers=["leaver"], allow_other_workers=True)
            await until(lambda: Path(f"{path}.up").exists())
            behind = client.map(inc, range(5), workers=["leaver"], allow_other_workers=True)
            leaving = asyncio.ensure_future(leaver.close_gracefully())
            assert await asyncio.wait_for(client.gather(behind), LIMIT_S) == list(range(1, 6))  # elsewhere, at once
            assert leaver.status == Status.closing_gracefully
            assert scheduler.workers[leaver.address].status == "closing_gracefully"
            again = asyncio.ensure_future(leaver.close_gracefully())  # is the same leave
            assert not leaving.done()
            Path(path).touch()
            assert await running == path
            await asyncio.gather(leaving, again)
            assert leaver.status == Status.closed
            assert list(scheduler.workers) == [heir.address]
            assert await client.gather(kept) == [big(n) for n in range(20)]
            assert Path(f"{path}.up").exists()
            transitions = [scheduler.tasks[future.key].run_id for future in kept]
            assert set(transitions) == {1}, "nothing was computed again"

    live(main())


def test_a_task_that_takes_too_long(live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, nthreads=1, name="leaver") as leaver,
            Worker(scheduler.address, nthreads=1, name="heir"),
            Client(scheduler.address, asynchronous=True) as client,
        ):
            path = str(tmp_path / "go")
            running = client.submit(wait_for_file, path, workers=["leaver"], allow_other_workers=True)
            await until(lambda: Path(f"{path}.up").exists())
            os.unlink(f"{path}.up")
            with dask.config.set({"windrow.drain-timeout": "50ms"}):
                await leaver.close_gracefully()
            assert "1 tasks are not done after 0.05 s ('windrow.drain-timeout')" in caplog.text
            await until(lambda: Path(f"{path}.up").exists(), "it runs again elsewhere")
            Path(path).touch()
            assert await running == path

    live(main())


def test_the_last_one_leaves_too(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            await client.gather(client.map(big, range(3)))
            await asyncio.wait_for(worker.close_gracefully(), LIMIT_S)
            assert len(scheduler.workers) == 0

    live(main())


# ---------------------------------------------------------------- processes


def test_sigterm_sends_a_worker_away_for_good(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Nanny(scheduler.address, nthreads=1, name="leaver") as leaver,
            Worker(scheduler.address, nthreads=1, name="heir") as heir,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            kept = client.map(big, range(5), workers=["leaver"], allow_other_workers=True)
            await client.gather(kept)
            assert leaver.pid is not None
            os.kill(leaver.pid, signal.SIGTERM)
            await leaver.finished()
            assert list(scheduler.workers) == [heir.address]
            assert leaver.restarts == 0
            assert await client.gather(kept) == [big(n) for n in range(5)]
            assert {scheduler.tasks[future.key].run_id for future in kept} == {1}

    live(main())


def test_a_second_sigterm_ends_it_at_once(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Nanny(scheduler.address, nthreads=1, name="leaver") as leaver,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            path = str(tmp_path / "go")
            running = client.submit(wait_for_file, path)
            await until(lambda: Path(f"{path}.up").exists())
            assert leaver.pid is not None
            os.kill(leaver.pid, signal.SIGTERM)
            await until(lambda: any(worker.status == "closing_gracefully" for worker in scheduler.workers.values()))
            assert not leaver.ended.done()
            os.kill(leaver.pid, signal.SIGTERM)
            await leaver.finished()
            assert leaver.restarts == 0
            os.unlink(f"{path}.up")
            async with Worker(scheduler.address):
                await until(lambda: Path(f"{path}.up").exists(), "it runs again, and nobody is blamed")
                Path(path).touch()
                assert await running == path

    live(main())


def test_a_nanny_that_is_asked_to_leave(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Nanny(scheduler.address, nthreads=1, name="leaver") as leaver,
            Worker(scheduler.address, nthreads=1) as heir,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            kept = await client.scatter(bytes(100_000), workers=["leaver"])
            await leaver.leave()
            assert leaver.status == Status.closed
            assert list(heir.data) == [kept.key]

    live(main())


PROGRAM = """
import asyncio, os, sys
from windrow import Client, Scheduler, Worker
from windrow.node import run_until_signalled
sys.path.insert(0, {here!r})
from server_help import until, wait_for_file

async def main():
    async with Scheduler() as scheduler, Worker(scheduler.address):
        worker = Worker(scheduler.address, name="leaver")
        telling = asyncio.create_task(tell(scheduler, worker))
        print("ended by", await run_until_signalled(worker), worker.status.name, flush=True)
        os._exit(0)

async def tell(scheduler, worker):
    await worker
    async with Client(scheduler.address, asynchronous=True) as client:
        if {busy}:
            running = client.submit(wait_for_file, {path!r}, workers=["leaver"])
            await until(lambda: os.path.exists({path!r} + ".up"))
        print("ready", flush=True)
        await until(lambda: worker.status == "closing_gracefully")
        if {busy}:
            print("leaving", flush=True)
        await worker.finished()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("busy", "signals"),
    [(False, [signal.SIGTERM]), (False, [signal.SIGINT]), (True, [signal.SIGTERM, signal.SIGTERM])],
)
def test_a_program_that_is_a_worker(tmp_path: Path, busy: bool, signals: list[int]) -> None:
    source = PROGRAM.format(here=str(Path(__file__).parent), busy=busy, path=str(tmp_path / "go"))
    program = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signals[0])
        if busy:
            assert program.stdout.readline() == "leaving\n"
        for each in signals[1:]:
            assert program.poll() is None  # a task runs on, and is waited for
            program.send_signal(each)
        said, _ = program.communicate(timeout=LIMIT_S)
        assert said == f"ended by {int(signals[0])} closed\n"
        assert program.returncode == 0
    finally:
        if program.poll() is None:
            program.kill()
            program.communicate()
