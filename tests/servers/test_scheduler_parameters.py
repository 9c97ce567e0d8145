"""Each parameter of `Scheduler`, and what users read of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from server_help import big, inc, until

from windrow import Client, Scheduler, SchedulerPlugin, Status, Worker, transport
from windrow.scheduler import server as scheduler_server
from windrow.wire.messages import HelloObserver
from windrow.worker import server as worker_server

Live = Callable[[Any], Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- where it listens


def test_host_and_port(live: Live) -> None:
    async def main() -> None:
        port = free_port()
        async with Scheduler(host="127.0.0.1", port=port) as scheduler:
            assert scheduler.address == scheduler.listen_address == f"tcp://127.0.0.1:{port}"
            assert (scheduler.host, scheduler.port) == ("127.0.0.1", port)
            assert len(scheduler.listeners) == 2  # and one for this process
            with pytest.raises(RuntimeError, match=f"cannot listen on tcp://127.0.0.1:{port}") as raised:
                await Scheduler(port=port)
            assert isinstance(raised.value.__cause__, OSError)

    live(main())


def test_port_none_is_the_known_one(live: Live) -> None:
    async def main() -> None:
        assert Scheduler(port=None)._listens == ["tcp://127.0.0.1:8786"]

    live(main())


def test_interface_and_protocol(live: Live) -> None:
    async def main() -> None:
        async with Scheduler(interface="lo", protocol="tcp") as scheduler:
            assert scheduler.host == "127.0.0.1"
        with pytest.raises(ValueError, match=r"interface='lo' and host='localhost'"):
            Scheduler(interface="lo", host="localhost")
        with pytest.raises(ValueError, match=r"there is no interface 'nope0' .* there are .*lo \(127.0.0.1\)"):
            Scheduler(interface="nope0")
        async with Scheduler(protocol="tls") as scheduler:
            assert scheduler.address.startswith("tls://")
        async with Scheduler(protocol="inproc") as scheduler:
            assert scheduler.address.startswith("inproc://")
            async with Worker(scheduler.address), Client(scheduler.address, asynchronous=True) as client:
                assert await client.submit(inc, 1) == 2

    live(main())


def test_several_listeners(live: Live) -> None:
    async def main() -> None:
        async with Scheduler(host=["127.0.0.1", "127.0.0.2"], port=0) as scheduler:
            first, second = [listener.address for listener in scheduler.listeners[1:]]
            assert (first, second.rpartition(":")[0]) == (scheduler.address, "tcp://127.0.0.2")
            async with Worker(first), Worker(second):
                assert len(scheduler.workers) == 2
        with pytest.raises(ValueError, match="differ in length"):
            Scheduler(host=["127.0.0.1", "127.0.0.2"], port=[0, 0, 0])

    live(main())


def test_contact_address(live: Live) -> None:
    async def main() -> None:
        async with Scheduler(contact_address="localhost") as scheduler:
            assert scheduler.address == f"tcp://localhost:{scheduler.listen_address.rpartition(':')[2]}"
            async with Worker(scheduler.address):
                assert len(scheduler.workers) == 1
        with dask.config.set({"distributed.scheduler.contact-address": "tcp://127.0.0.1:1"}):
            async with Scheduler() as scheduler:
                assert scheduler.address == "tcp://127.0.0.1:1" != scheduler.listen_address

    live(main())


def test_who_looks_on_is_named_and_leaves_with_the_scheduler(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "windrow.scheduler")

    async def main() -> None:
        async with Scheduler(dashboard=False) as scheduler:
            link = await transport.connect(scheduler.address, secret=scheduler.secret)
            link.send([HelloObserver("Observer-7")])
            await until(lambda: "the observer Observer-7 has joined" in caplog.text)

            async def kill_it() -> None:
                link.abort("as when the dashboard's process is ended")
                await until(lambda: "the observer Observer-7 has left" in caplog.text)

            monkeypatch.setattr(scheduler.dashboard, "close", kill_it)
        assert "the observer Observer-7 has left: the scheduler closes" in caplog.text

    live(main())


def test_scheduler_file(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "scheduler.json"
        async with Scheduler(scheduler_file=str(path)) as scheduler:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            record = json.loads(path.read_text())
            assert record["address"] == scheduler.address
            assert record["id"] == scheduler.id
            assert (record["type"], record["pid"]) == ("Scheduler", os.getpid())
            assert bytes.fromhex(record["secret"]) == scheduler.secret
            async with Worker(scheduler_file=path) as worker:
                assert worker.address in scheduler.workers
                async with Client(scheduler_file=str(path), asynchronous=True) as client:
                    assert await client.submit(inc, 1) == 2
        assert not path.exists()

    live(main())


# ---------------------------------------------------------------- what it does


def test_idle_timeout(live: Live) -> None:
    async def main() -> None:
        async with Scheduler(idle_timeout="200ms") as scheduler, Worker(scheduler.address) as worker:
            async with Client(scheduler.address, asynchronous=True) as client:
                assert await client.submit(inc, 1) == 2
            await scheduler.finished()
            assert scheduler.status == Status.closed
            await worker.finished()
        asked = asyncio.Event()
        async with Scheduler(idle_timeout=0.05, on_shutdown=asked.set):
            await asked.wait()

    live(main())


@pytest.mark.parametrize("given", [0, -1, "soon"])
def test_no_idle_timeout(live: Live, given: Any) -> None:
    async def main() -> None:
        with pytest.raises(ValueError):
            Scheduler(idle_timeout=given)

    live(main())


def test_worker_ttl_and_allowed_failures(live: Live) -> None:
    async def main() -> None:
        scheduler = Scheduler(worker_ttl="2 minutes", allowed_failures=7)
        assert (scheduler.worker_ttl, scheduler.allowed_failures) == (120.0, 7)
        with dask.config.set({"distributed.scheduler.worker-ttl": None, "distributed.scheduler.allowed-failures": 2}):
            scheduler = Scheduler()
        assert (scheduler.worker_ttl, scheduler.allowed_failures) == (None, 2)
        with pytest.raises(ValueError, match="allowed_failures counts deaths"):
            Scheduler(allowed_failures=-1)

    live(main())


def test_validate(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for module in (scheduler_server, worker_server):
        monkeypatch.setattr(module.logger, "critical", lambda text, **more: said.append(text))

    async def main() -> None:
        async with (
            Scheduler(validate=True) as scheduler,
            Worker(scheduler.address, validate=True) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            assert sum(await client.gather(client.map(inc, range(50)))) == sum(range(51))
            assert not said
            scheduler.core.state.by_id[0] = None  # type: ignore[index, assignment]
            worker.core.running += 1
            await client.submit(inc, 100)
            await until(lambda: any(text.startswith("the scheduler's state contradicts itself") for text in said))
            await until(lambda: any(text.startswith("a worker's state contradicts itself") for text in said))
            del scheduler.core.state.by_id[0]  # type: ignore[arg-type]
            worker.core.running -= 1

    live(main())


class Counter(SchedulerPlugin):
    name = "counter"

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.workers: list[str] = []

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self.workers.append(worker)


def test_plugins(live: Live) -> None:
    async def main() -> None:
        plugin = Counter()
        async with Scheduler(plugins=[plugin]) as scheduler, Worker(scheduler.address) as worker:
            assert scheduler.plugins["counter"] is plugin
            await until(lambda: plugin.workers == [worker.address])
            scheduler.remove_plugin("counter")
            assert "counter" not in scheduler.plugins
            with pytest.raises(ValueError, match="counter"):
                scheduler.remove_plugin("counter")
            scheduler.add_plugin(plugin, name="again")
            assert list(scheduler.plugins) == ["again"]

    live(main())


class Broken(SchedulerPlugin):
    async def start(self, scheduler: Any) -> None:
        raise OSError("no room")


def test_a_plugin_that_cannot_start(live: Live) -> None:
    async def main() -> None:
        scheduler = Scheduler(plugins=[Broken()])
        with pytest.raises(RuntimeError, match="Scheduler could not start: no room"):
            await scheduler
        with pytest.raises(RuntimeError, match="no room"):
            await scheduler
        assert scheduler.status == Status.failed

    live(main())


def test_blocked_handlers(live: Live) -> None:
    async def main() -> None:
        names = ["run_function", "retire_workers", "register_worker_plugin", "feed"]
        async with (
            Scheduler(blocked_handlers=names) as scheduler,
            Worker(scheduler.address) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            assert await client.submit(inc, 1) == 2
            with pytest.raises(PermissionError, match="refuses 'run_function'"):
                await client.run_on_scheduler(os.getpid)
            with pytest.raises(PermissionError, match="refuses 'retire_workers'"):
                await client.retire_workers([worker.address])
            assert await client.run(os.getpid) == {worker.address: os.getpid()}
            assert list(await scheduler.retire_workers([worker.address])) == [worker.address]  # it may itself
        with pytest.raises(ValueError, match=r"no request 'gathr' \(did you mean 'gather'\?\); known are"):
            Scheduler(blocked_handlers=["gathr"])
        with dask.config.set({"distributed.scheduler.blocked-handlers": ["gather"]}):
            assert Scheduler().blocked_handlers == ["gather"]

    live(main())


def test_local_directory(live: Live, tmp_path: Path) -> None:
    async def main() -> None:
        async with Scheduler(local_directory=str(tmp_path)) as scheduler:
            path = Path(scheduler.local_directory)
            assert path.is_dir()
            assert path.parent == tmp_path / "dask-scratch-space"
        assert list(tmp_path.iterdir()) == []

    live(main())


# ---------------------------------------------------------------- what has no meaning here


@pytest.mark.parametrize(
    ("name", "value"), [("services", {"x": 1}), ("extensions", {"x": int}), ("transition_counter_max", 7)]
)
def test_without_effect(live: Live, name: str, value: Any) -> None:
    async def main() -> None:
        with pytest.warns(UserWarning, match=rf"Scheduler\({name}=.* has no effect: "):
            Scheduler(**{name: value})

    live(main())


def test_refused(live: Live) -> None:
    async def main() -> None:
        with pytest.raises(NotImplementedError, match="Jupyter in a process of its own"):
            Scheduler(jupyter=True)
        with pytest.raises(TypeError, match="must be a Security, True, False or None"):
            Scheduler(security="yes")
        with pytest.raises(TypeError, match=r"Scheduler has no argument 'idle_timeuot' \(did you mean 'idle_timeout'"):
            Scheduler(idle_timeuot=1)

    live(main())


# ---------------------------------------------------------------- what users read


def test_views(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, name="a", nthreads=2, resources={"GPU": 1}, memory_limit="1 GiB") as a,
            Worker(scheduler.address, nthreads=1, memory_limit="1 GiB") as b,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            assert set(scheduler.workers) == {a.address, b.address}
            assert scheduler.aliases == {"a": a.address, b.address: b.address}
            assert scheduler.total_nthreads == 3
            assert scheduler.total_memory == 2 * 2**30
            assert scheduler.resources == {"GPU": {a.address: 1.0}}
            assert scheduler.host_info["127.0.0.1"]["nthreads"] == 3
            assert len(scheduler.idle) == len(scheduler.running) == len(scheduler.idle_task_count) == 2
            assert scheduler.saturated == set()
            assert list(scheduler.clients) == [client.id]
            futures = client.map(inc, range(10))
            await client.gather(futures)
            assert set(scheduler.tasks) == {future.key for future in futures}
            [prefix] = scheduler.task_prefixes.values()
            assert (prefix.name, len(prefix), prefix.states["memory"]) == ("inc", 10, 10)
            assert prefix.duration_average > 0
            assert prefix.done
            assert [len(group) for group in scheduler.task_groups.values()] == [10]
            assert scheduler.identity()["type"] == "Scheduler"
            assert len(scheduler.identity()["workers"]) == 2
            assert len(scheduler.identity(n_workers=1)["workers"]) == 1
            assert scheduler.total_occupancy >= 0
            assert scheduler.bandwidth > 0
            assert scheduler.versions()["packages"]["python"]
            assert scheduler.io_loop is asyncio.get_running_loop()
            with pytest.raises(AttributeError, match="no_such_thing"):
                scheduler.no_such_thing  # noqa: B018
            scheduler.log_event("topic", {"x": 1})
            await until(lambda: scheduler.get_events("topic"))
            assert scheduler.get_events("topic")[0][1] == {"x": 1}
            logging.getLogger("windrow.scheduler").warning("a word")
            assert "a word" in scheduler.get_logs(n=1)[0][1]
            assert len(scheduler.get_logs(start=1, n=1)) <= 1

    live(main())


def test_what_it_asks_of_workers(live: Live) -> None:
    async def main() -> None:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, name=1) as a,
            Worker(scheduler.address, name=2) as b,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            both = {a.address: "pong", b.address: "pong"}
            assert await scheduler.broadcast(msg={"op": "ping"}) == both
            assert await scheduler.broadcast(msg={"op": "ping"}, workers=[a.address]) == {a.address: "pong"}
            assert await scheduler.broadcast(msg={"op": "ping"}, hosts=["127.0.0.1"]) == both
            done = await scheduler.broadcast(msg={"op": "run", "function": inc, "args": (1,)})
            assert done == {a.address: 2, b.address: 2}
            with pytest.raises(TypeError):
                await scheduler.broadcast(msg={"op": "run", "function": inc, "args": ("x",)})
            told = await scheduler.broadcast(msg={"op": "run", "function": inc, "args": ("x",)}, on_error="return")
            assert all(isinstance(error, TypeError) for error in told.values())
            with pytest.raises(ValueError, match="no operation 'dance'; known are run, "):
                await scheduler.broadcast(msg={"op": "dance"})
            kept = client.map(big, range(4))
            await client.gather(kept)
            with pytest.raises(TypeError, match="names"):
                await scheduler.retire_workers(workers=[a.address], names=[1])
            gone = await scheduler.retire_workers(names=[1])
            assert gone[a.address]["name"] == 1
            await a.finished()
            assert len(b.data) == 4
            with pytest.raises(ValueError, match=f"no nanny that could restart them: {b.address}"):
                await scheduler.restart_workers([b.address])

    live(main())


def test_clusters_side_by_side(live: Live) -> None:
    async def one(n: int) -> int:
        async with (
            Scheduler() as scheduler,
            Worker(scheduler.address, nthreads=1),
            Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
        ):
            return int(await client.submit(inc, n))

    async def main() -> None:
        assert await asyncio.gather(*map(one, range(5))) == [1, 2, 3, 4, 5]

    live(main())
