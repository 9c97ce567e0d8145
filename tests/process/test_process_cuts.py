"""Connections that are cut between real processes: what was under way goes on as if nothing had been."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import process_tasks as tasks
import pytest
from cutting_proxy import Proxy
from process_help import until, until_file

import windrow
from windrow import Client, LocalCluster
from windrow.errors import ClosedClientError, FutureCancelledError


class Hall:
    """A scheduler, a proxy before it, and workers without nannies that know the proxy alone."""

    def __init__(self, start_python: Callable[..., Any]) -> None:
        self.cluster = LocalCluster(n_workers=0)
        self.proxy = Proxy(int(self.cluster.scheduler_address.rpartition(":")[2]))
        self.secret = self.cluster.secret
        self._start_python = start_python
        self.programs: list[Any] = []

    @property
    def state(self) -> Any:
        return self.cluster.scheduler.core.state

    def worker(self, name: str, **env: str) -> Any:
        """Start a worker process, and wait until it has joined."""
        source = (
            "import asyncio\nfrom windrow import Worker\n"
            "async def main():\n"
            f"    worker = Worker({self.proxy.address!r}, name={name!r}, nthreads=1, secret={self.secret!r})\n"
            "    async with worker:\n        await worker.finished()\n"
            "asyncio.run(main())"
        )
        program = self._start_python(source, **env)
        self.programs.append(program)
        until(lambda: any(worker.name == name for worker in list(self.state.workers.values())), f"{name} has joined")
        return program

    def client(self) -> Client:
        """A client that the scheduler has greeted."""
        client = Client(self.proxy.address, secret=self.secret)
        until(lambda: client.id in self.state.clients)
        return client

    def until_cut(self, count: int) -> None:
        until(lambda: len(self.state.cut) == count, f"{count} are away, not {self.state.cut}")

    def close(self) -> None:
        for program in self.programs:
            program.kill()
        self.proxy.close()
        self.cluster.close()


@pytest.fixture
def hall(start_python: Callable[..., Any]) -> Iterator[Hall]:
    hall = Hall(start_python)
    yield hall
    hall.close()


def test_a_task_that_ends_during_the_cut_counts_and_is_not_run_again(hall: Hall, tmp_path: Path) -> None:
    def write_and_wait(folder: str) -> str:
        import os
        import time

        with open(os.path.join(folder, "runs"), "a") as file:
            file.write("run\n")
        Path(folder, "begun").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.005)
        Path(folder, "ended").touch()
        return "done"

    hall.worker("w")
    with hall.client() as client:
        future = client.submit(write_and_wait, str(tmp_path))
        until_file(tmp_path / "begun")
        hall.proxy.block()
        hall.until_cut(2)
        until(lambda: client.status == "connecting")
        assert future.status == "pending"
        (tmp_path / "go").touch()
        until_file(tmp_path / "ended")
        hall.proxy.unblock()
        assert future.result(timeout=10) == "done"
        assert client.status == "running"
        assert not hall.state.cut
        assert (tmp_path / "runs").read_text() == "run\n"


def test_values_that_are_held_survive(hall: Hall) -> None:
    def large(seed: int) -> bytes:
        import os

        return os.urandom(100_000) + bytes(seed)

    hall.worker("w")
    with hall.client() as client:
        held = client.map(large, range(5))
        windrow.wait(held)
        before = client.gather(held)
        scattered = client.scatter(bytes(200_000))
        hall.proxy.cut()
        until(lambda: client.status == "running" and not hall.state.cut)
        assert client.gather(held) == before, "made again, they would differ"
        assert client.submit(len, scattered).result(timeout=10) == 200_000


def test_a_map_of_ten_thousand_with_cuts_in_the_middle(hall: Hall) -> None:
    hall.worker("w1")
    hall.worker("w2")
    with hall.client() as client:
        assert client.submit(tasks.inc, 0).result(timeout=10) == 1
        stop = threading.Event()

        def cut_often() -> None:
            while not stop.wait(0.05):
                hall.proxy.cut()

        thread = threading.Thread(target=cut_often)
        thread.start()
        try:
            futures = client.map(tasks.inc, range(10_000))
            results = client.gather(futures)
        finally:
            stop.set()
            thread.join()
        assert results == list(range(1, 10_001))
        attempts = [task.attempt for task in hall.state.tasks.values()]
        assert attempts == [1] * 10_000, "nothing was run again"
    assert hall.proxy.opened > 3, "connections were made again"


def test_what_is_asked_during_a_cut_is_answered_once(hall: Hall) -> None:
    with hall.client() as client:
        hall.proxy.block()
        hall.until_cut(1)
        queue = windrow.Queue("q", client=client)
        put = threading.Thread(target=queue.put, args=(1,))
        put.start()
        future = client.submit(tasks.inc, 1)
        until(lambda: client.session.is_cut)
        hall.proxy.unblock()
        put.join(10)
        assert queue.qsize() == 1
        hall.worker("w")
        assert future.result(timeout=10) == 2


def test_what_is_swallowed_on_the_way_is_noticed(start_python: Callable[..., Any], tmp_path: Path) -> None:
    with dask.config.set({"windrow.sign-of-life": "50ms"}):
        hall = Hall(start_python)
        try:
            hall.worker("w", DASK_WINDROW__SIGN_OF_LIFE="50ms")
            with hall.client() as client:
                future = client.submit(tasks.until_there, str(tmp_path / "go"))
                until(lambda: any(worker.processing for worker in hall.state.workers.values()))
                opened = hall.proxy.opened
                hall.proxy.swallow()
                (tmp_path / "go").touch()
                future.result(timeout=10)
                assert hall.proxy.opened >= opened + 2
                assert client.status == "running"
        finally:
            hall.close()


def test_a_worker_of_an_older_scheduler_starts_afresh(hall: Hall) -> None:
    hall.worker("w")
    with hall.client() as client:
        assert client.submit(tasks.inc, 1).result(timeout=10) == 2
        held = client.submit(tasks.inc, 2)
        held.result(timeout=10)
        other = LocalCluster(n_workers=0)
        try:
            other_scheduler = other.scheduler
            old, hall.proxy._target = hall.proxy._target, int(other.scheduler_address.rpartition(":")[2])
            other_scheduler.secret = hall.secret
            for listener in other_scheduler._listeners:
                if hasattr(listener, "_secret"):
                    listener._secret = hall.secret
            hall.proxy.cut()
            until(lambda: len(other_scheduler.core.state.workers) == 1, "the worker has joined the other scheduler")
            until(lambda: client.status == "closed", "the client says that its scheduler is gone")
            with pytest.raises((ClosedClientError, FutureCancelledError), match="does not know the session"):
                client.submit(tasks.inc, 5)
            with Client(other) as another:
                kept = another.run(lambda dask_worker: [*dask_worker.core.data, *dask_worker.core.functions])
                assert list(kept.values()) == [[]], "nothing is left of the other scheduler's"
                assert another.submit(tasks.inc, 41).result(timeout=10) == 42
        finally:
            hall.proxy._target = old
            other.close()


def test_close_and_restart_during_a_cut(hall: Hall) -> None:
    hall.worker("w")
    client = hall.client()
    future = client.submit(tasks.inc, 1)
    future.result(timeout=10)
    hall.proxy.block()
    hall.until_cut(2)
    restarting = threading.Thread(target=client.restart, kwargs={"wait_for_workers": False})
    restarting.start()
    hall.proxy.unblock()
    restarting.join(10)
    assert not restarting.is_alive()
    assert future.status == "cancelled"
    hall.proxy.block()
    hall.until_cut(2)
    start_s = time.monotonic()
    client.close()
    assert time.monotonic() - start_s < 5
    assert client.status == "closed"


def test_the_end_of_the_scheduler_behind_a_proxy(
    start_python: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "address"
    program = start_python(
        "from windrow import LocalCluster\nimport os, time\n"
        "cluster = LocalCluster(n_workers=0)\n"
        f"open({str(file)!r} + '.draft', 'w').write(cluster.scheduler_address + ' ' + cluster.secret.hex())\n"
        f"os.replace({str(file)!r} + '.draft', {str(file)!r})\ntime.sleep(100)"
    )
    address, secret = until_file(file).split()
    with (
        dask.config.set({"windrow.client.reconnect-timeout": "1.5s"}),
        Client(address, secret=secret) as client,
    ):
        # As if it were on another machine: nobody knows whether its process has ended.
        link: Any = client.session._link
        until(lambda: link._process)
        link._process = ""
        future = client.submit(tasks.inc, 1)
        program.kill()
        with pytest.raises(FutureCancelledError, match=r"was lost.*tried again for 1.5 s in vain"):
            future.result(timeout=10)
        assert client.status == "closed"
        with pytest.raises(ClosedClientError, match="in vain"):
            client.submit(tasks.inc, 1)
    assert "it is tried again, for 1.5 s if nobody answers" in caplog.text


def test_a_worker_that_cannot_come_back_ends_and_others_do_its_work(hall: Hall, tmp_path: Path) -> None:
    program = hall.worker("w", DASK_WINDROW__WORKER__RECONNECT_TIMEOUT="0.4s", DASK_WINDROW__SIGN_OF_LIFE="50ms")
    with Client(hall.cluster) as client:
        future = client.submit(tasks.until_there, str(tmp_path / "go"))
        until(lambda: any(worker.processing for worker in list(hall.state.workers.values())))
        hall.proxy.block()
        until(lambda: program.poll() is not None, "the worker has ended")
        assert "tried again for 0.4 s in vain" in program.stderr.read()
        until(lambda: not hall.state.workers, "the scheduler has given it up")
        hall.proxy.unblock()
        hall.worker("other")
        (tmp_path / "go").touch()
        future.result(timeout=10)


def test_workers_under_nannies_come_back(own_client: Client, own_cluster: LocalCluster, tmp_path: Path) -> None:
    before = own_client.run(os.getpid)
    futures = [own_client.submit(tasks.until_there, str(tmp_path / "go"), number) for number in range(2)]
    workers = own_cluster.scheduler.core.state.workers
    until(lambda: all(worker.processing for worker in list(workers.values())))

    def cut(dask_scheduler: Any) -> None:
        for worker in dask_scheduler.core.state.workers.values():
            worker.link._connection._transport.abort()

    returned = []
    for worker in workers.values():
        worker.link.on_resumed = lambda on=worker.link.on_resumed: (on(), returned.append(on))
    own_client.run_on_scheduler(cut)
    until(lambda: len(returned) == 2)
    (tmp_path / "go").touch()
    own_client.gather(futures)
    assert [task.attempt for task in own_cluster.scheduler.core.state.tasks.values()] == [1, 1]
    assert own_client.run(os.getpid) == before
