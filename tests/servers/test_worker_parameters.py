"""Each parameter of `Worker`, and what users read of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from server_help import inc, until, wait_for_file

from windrow import Client, Nanny, Scheduler, Status, Worker, WorkerPlugin, system
from windrow import worker as worker_module
from windrow.errors import WrongSecret

Live = Callable[[Any], Any]


@contextlib.contextmanager
def taken() -> Any:
    """Hold a port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


# ---------------------------------------------------------------- its scheduler


def test_host_and_port_of_the_scheduler(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler, Worker(scheduler.host, scheduler.port) as worker:
            assert worker.scheduler_address == scheduler.address
            assert worker.address in scheduler.workers  # as soon as it has started

    live(main())


def test_a_configured_scheduler(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            with dask.config.set({"scheduler-address": scheduler.address}):
                async with Worker() as worker:
                    assert worker.address in scheduler.workers
        with pytest.raises(ValueError, match="no scheduler is known to this worker: give its address"):
            Worker()
        with pytest.raises(ValueError, match="both name a scheduler"):
            Worker("tcp://127.0.0.1:1", scheduler_file="x.json")
        with pytest.raises(TypeError, match="must be a str such as"):
            Worker(8786)  # type: ignore[arg-type]

    live(main())


def test_it_waits_for_its_scheduler(live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with taken() as port:
            pass
        path = tmp_path / "scheduler.json"
        early = [Worker(f"tcp://127.0.0.1:{port}", name="a"), Worker(scheduler_file=path, name="b")]
        starting = [asyncio.ensure_future(worker.start()) for worker in early]
        await until(lambda: "worker 'a' waits for its scheduler: nobody answers at" in caplog.text)
        await until(lambda: "worker 'b' waits for its scheduler: the scheduler file" in caplog.text)
        assert [worker.status for worker in early] == [Status.starting, Status.starting]
        async with Scheduler(port=port, scheduler_file=path) as scheduler:
            await asyncio.gather(*starting)
            assert set(scheduler.aliases) == {"a", "b"}
            for worker in early:
                await worker.close()

    live(main())


def test_death_timeout(live: Live) -> None:
    async def main() -> None:
        with taken() as port:
            pass
        worker = Worker(f"tcp://127.0.0.1:{port}", death_timeout="100ms")
        with pytest.raises(TimeoutError, match=r"Worker did not start within 0.1 s \(death_timeout\); it waited for"):
            await worker
        with pytest.raises(TimeoutError, match="death_timeout"):
            await worker
        assert worker.status == Status.failed

    live(main())


def test_closed_while_it_waits(live: Live) -> None:
    async def main() -> None:
        worker = Worker("tcp://127.0.0.1:1")
        starting = asyncio.ensure_future(worker.start())
        await until(lambda: worker.waits_for)
        await worker.close()
        with pytest.raises(RuntimeError, match="was closed while it started"):
            await starting
        await worker.finished()

    live(main())


def test_a_scheduler_that_will_not_have_it(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler, Worker(scheduler.address, name="a") as first:
            with pytest.raises(RuntimeError, match=f"named 'a' is there already \\({first.address}\\)"):
                await Worker(scheduler.address, name="a")
            assert list(scheduler.workers) == [first.address]
            with pytest.raises(RuntimeError) as raised:
                await Worker(scheduler.address, secret=b"x" * 32)
            assert isinstance(raised.value.__cause__, WrongSecret)

    live(main())


def test_a_secret_that_nobody_has_published(live: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
            with pytest.raises(RuntimeError, match=r"no secret for .* is known to this user"):
                await Worker(scheduler.address)

    live(main())


# ---------------------------------------------------------------- where it listens, and its name


def test_ports(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            with taken() as port:
                async with Worker(scheduler.address, port=[port, 0]) as worker:
                    assert worker.port not in (0, port)
                with pytest.raises(RuntimeError, match=f"cannot listen on tcp://127.0.0.1:{port}"):
                    await Worker(scheduler.address, port=port)
                with pytest.raises(RuntimeError, match=f"none of tcp://127.0.0.1:{port} to .* is free"):
                    await Worker(scheduler.address, port=[port, port])
            async with Worker(scheduler.address, port=f"{port}:{port}") as worker:
                assert worker.port == port
            for wrong in ("x", "9:8", 70_000, []):
                with pytest.raises(ValueError, match="port="):
                    Worker(scheduler.address, port=wrong)

    live(main())


def test_addresses(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            async with Worker(scheduler.address, host="127.0.0.2", contact_address="localhost") as worker:
                assert worker.listen_address == f"tcp://127.0.0.2:{worker.port}"
                assert worker.address == worker.contact_address == f"tcp://localhost:{worker.port}"
                assert worker.address in scheduler.workers
                assert scheduler.workers[worker.address].host == "localhost"
            async with Worker(scheduler.address, interface="lo", protocol="tcp") as worker:
                assert worker.host == "127.0.0.1"
            async with Worker(scheduler.address, listen_address="tcp://127.0.0.3:0") as worker:
                assert worker.host == "127.0.0.3"
            with pytest.raises(ValueError, match="listen_address="):
                Worker(scheduler.address, listen_address="tcp://127.0.0.3:0", host="127.0.0.1")
            with pytest.raises(ValueError, match="protocol='inproc' does not reach"):
                Worker(scheduler.address, protocol="inproc")

    live(main())


def test_names(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address) as unnamed,
            Worker(scheduler.address, name="7") as text,
            Worker(scheduler.address, name=8) as number,
        ):
            assert scheduler.aliases == {unnamed.address: unnamed.address, "7": text.address, 8: number.address}
            assert unnamed.name == unnamed.address
            with pytest.raises(TypeError, match="name must be a str or an int"):
                Worker(scheduler.address, name=1.5)  # type: ignore[arg-type]

    live(main())


# ---------------------------------------------------------------- what it has


def test_threads_and_memory(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler, Worker(scheduler.address, nthreads=3, memory_limit="1 GiB") as worker:
            assert worker.state.nthreads == scheduler.workers[worker.address].nthreads == 3
            assert scheduler.workers[worker.address].memory_limit == 2**30
            assert Worker(scheduler.address).nthreads == system.cpu_count()
            with pytest.raises(ValueError, match="nthreads must be a number of threads"):
                Worker(scheduler.address, nthreads=-1)

    live(main())


def test_resources(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler(validate=True) as scheduler,
            Worker(scheduler.address, nthreads=2, resources={"GPU": 1}) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            future = client.submit(inc, 1, resources={"GPU": 2})
            assert await client.submit(inc, 2, resources={"GPU": 1}) == 3
            assert not future.done()
            worker.set_resources(GPU=2, disk=5)
            assert await future == 2
            assert scheduler.resources == {"GPU": {worker.address: 2.0}, "disk": {worker.address: 5.0}}
            assert worker.state.total_resources == {"GPU": 2.0, "disk": 5.0}
            with pytest.raises(ValueError, match="cannot have -1 of 'GPU'"):
                worker.set_resources(GPU=-1)
            with dask.config.set({"distributed.worker.resources": {"TPU": 4}}):
                assert Worker(scheduler.address).config.resources == {"TPU": 4.0}

    live(main())


def test_less_resources_than_are_taken(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Scheduler(validate=True) as scheduler,
            Worker(scheduler.address, nthreads=4, resources={"GPU": 2}) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            paths = [str(tmp_path / str(n)) for n in range(3)]
            first = client.map(wait_for_file, paths[:2], resources={"GPU": 1})
            await until(lambda: all(Path(f"{path}.up").exists() for path in paths[:2]))
            worker.set_resources(GPU=1)
            third = client.submit(wait_for_file, paths[2], resources={"GPU": 1})
            await until(lambda: scheduler.resources == {"GPU": {worker.address: 1.0}})
            Path(paths[0]).touch()
            await first[0]
            assert not Path(f"{paths[2]}.up").exists()  # the other one takes all that there is now
            Path(paths[1]).touch()
            await until(lambda: Path(f"{paths[2]}.up").exists())
            Path(paths[2]).touch()
            await client.gather([*first, third])

    live(main())


def test_local_directory(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            async with Worker(scheduler.address, local_directory=tmp_path) as worker:
                path = Path(worker.local_directory)
                assert path.parent == tmp_path / "dask-scratch-space"
                assert scheduler.workers[worker.address].local_directory == str(path)
            assert list(tmp_path.iterdir()) == []
            with dask.config.set({"temporary-directory": str(tmp_path)}):
                assert Worker(scheduler.address).scratch.planned.startswith(str(tmp_path))

    live(main())


def test_executors(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler, Worker(scheduler.address) as worker:
            assert list(worker.executors) == ["default"]
            with pytest.raises(NotImplementedError, match=r"executor='offload'.* in threads of their own"):
                Worker(scheduler.address, executor="offload")

    live(main())


# ---------------------------------------------------------------- what it tells


async def slowly(worker: Worker) -> int:
    await asyncio.sleep(0)
    return 7


def broken(worker: Worker) -> None:
    raise OSError("no such sensor")


def test_metrics(live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker_module.DEFAULT_METRICS, "of all", lambda worker: worker.name)

    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(
                scheduler.address,
                name="a",
                heartbeat_interval="20ms",
                metrics={"threads": lambda worker: worker.nthreads, "slow": slowly, "broken": broken},
                nthreads=2,
            ) as worker,
        ):
            view = scheduler.workers["tcp://127.0.0.1:" + str(worker.port)]
            await until(lambda: view.metrics.get("slow") == 7)
            assert (view.metrics["threads"], view.metrics["of all"]) == (2, "a")
            assert view.metrics["memory"] > 0
            seen_s = view.last_seen
            await until(lambda: view.last_seen > seen_s)
            assert "broken" not in view.metrics
            assert caplog.text.count("worker 'a' cannot measure 'broken'") == 1
            assert (await worker.get_metrics())["threads"] == 2
            await worker.heartbeat()

    live(main())


def test_startup_information(live: Live) -> None:
    async def main() -> None:
        told = {"pid": lambda worker: os.getpid(), "slow": slowly}
        async with Scheduler() as scheduler, Worker(scheduler.address, startup_information=told) as worker:
            assert scheduler.workers[worker.address].extra == {"pid": os.getpid(), "slow": 7}
            assert await worker.get_startup_information() == {"pid": os.getpid(), "slow": 7}

    live(main())


def test_what_runs(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, nthreads=1) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            path = str(tmp_path / "go")
            future = client.submit(wait_for_file, path, key="waiting")
            await until(lambda: Path(f"{path}.up").exists())
            assert worker.active_keys == {"waiting"}
            [(thread, key)] = worker.active_threads.items()
            assert key == "waiting"
            assert thread in {each.ident for each in threading.enumerate()}
            Path(path).touch()
            await future
            assert worker.keys() == ["waiting"]
            assert worker.active_threads == {}
            logging.getLogger("windrow.worker").warning("a word")
            assert "a word" in worker.get_logs()[0][1]
            assert worker.versions()["packages"]["python"]

    live(main())


# ---------------------------------------------------------------- plugins, and a life that ends


class Marker(WorkerPlugin):
    name = "marker"

    def setup(self, worker: Worker) -> None:
        worker.marked = worker.address  # type: ignore[attr-defined]

    def teardown(self, worker: Worker) -> None:
        worker.marked = "no more"  # type: ignore[attr-defined]


class Unwilling(WorkerPlugin):
    def setup(self, worker: Worker) -> None:
        raise OSError("no room")


def test_plugins(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            async with Worker(scheduler.address, plugins=[Marker()]) as worker:
                assert worker.marked == worker.address  # type: ignore[attr-defined]
                assert list(worker.plugins) == ["marker"]
            assert worker.marked == "no more"  # type: ignore[attr-defined]
            with pytest.raises(RuntimeError, match=r"could not be set up: .*no room"):
                await Worker(scheduler.address, plugins=[Unwilling()])
            assert len(scheduler.workers) == 0

    live(main())


def test_lifetime(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, lifetime="300ms", name="short") as short,
            Worker(scheduler.address, name="long") as long,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            kept = await client.scatter(bytes(100_000), workers=["short"])
            await short.finished()
            assert short.status == Status.closed
            assert list(long.data) == [kept.key]
            assert await kept == bytes(100_000)

    live(main())


def test_lifetimes_are_staggered(live: Live) -> None:
    async def main() -> None:
        times = [Worker("tcp://127.0.0.1:1", lifetime="10s", lifetime_stagger="2s").lifetime for _ in range(8)]
        assert len(set(times)) > 1
        assert all(time is not None and 8 <= time <= 12 for time in times)
        configured = {"duration": "1 hour", "stagger": "0s", "restart": True}
        with dask.config.set({"distributed.worker.lifetime": configured}):
            worker = Worker("tcp://127.0.0.1:1")
        assert (worker.lifetime, worker.lifetime_restart) == (3600.0, True)
        assert Worker("tcp://127.0.0.1:1").lifetime is None
        with pytest.raises(ValueError, match="lifetime_stagger='2s' must be a time from 0 to the lifetime"):
            Worker("tcp://127.0.0.1:1", lifetime="1s", lifetime_stagger="2s")

    live(main())


def test_a_lifetime_that_begins_anew(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Nanny(scheduler.address, nthreads=1, lifetime="300ms", lifetime_restart=True) as nanny,
        ):
            first = nanny.pid
            await until(lambda: nanny.restarts and nanny.worker_address in scheduler.workers)
            assert nanny.pid != first

    live(main())


def test_profiles_are_as_asked_for_or_as_configured(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            async with Worker(scheduler.address, profile_cycle_interval="2s") as worker:
                assert worker.profiler.tasks.cycle_s == 2.0
                assert worker.profiler.sampler.runs
            assert not worker.profiler.sampler.runs
            profile = "distributed.worker.profile"
            with dask.config.set({f"{profile}.enabled": False, f"{profile}.interval": "5ms", f"{profile}.cycle": "3s"}):
                async with Worker(scheduler.address) as worker:
                    assert not worker.profiler.sampler.runs
                    assert worker.profiler.sampler.interval_s == 0.005
                    assert worker.profiler.tasks.cycle_s == 3.0

    live(main())


# ---------------------------------------------------------------- what has no meaning here


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("services", {"x": 1}),
        ("extensions", {"x": int}),
        ("low_level_profiler", True),
        ("transition_counter_max", 7),
        ("scheduler_sni", "name"),
        ("reconnect", True),
    ],
)
def test_without_effect(live: Live, name: str, value: Any) -> None:
    async def main() -> None:
        with pytest.warns(UserWarning, match=rf"Worker\({name}=.* has no effect: "):
            Worker("tcp://127.0.0.1:1", **{name: value})

    live(main())


def test_refused(live: Live) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="encryption is required"):
            Worker("tcp://127.0.0.1:1", security=True)
        with pytest.raises(TypeError, match=r"Worker has no argument 'nthread' \(did you mean 'nthreads'\?\)"):
            Worker("tcp://127.0.0.1:1", nthread=1)

    live(main())
