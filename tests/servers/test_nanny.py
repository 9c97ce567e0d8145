"""`Nanny` on a running loop: each of its parameters, its members, and starts that fail."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from windrow import Client, Nanny, Scheduler, Worker, security
from windrow.deploy import whereabouts
from windrow.errors import WorkerStartError, WrongSecret
from windrow.node import Status

LIMIT_S = 20.0


@pytest.fixture(autouse=True)
def runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the secrets of these clusters away from the user's own."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await main()

    asyncio.run(limited())


async def until(happens: Callable[[], object], what: str = "") -> None:
    """Wait for a condition that nothing announces."""
    try:
        async with asyncio.timeout(LIMIT_S / 2):
            while not happens():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not in time: {what or happens}") from None


def facts() -> dict[str, Any]:
    """What a worker's process has of its nanny's."""
    import windrow.config

    worker = windrow.get_worker()
    return {
        "class": type(worker).__name__,
        "name": worker.name,
        "nthreads": worker.nthreads,
        "env": dict(os.environ),
        "pause": windrow.config.get("distributed.worker.memory.pause", None),
        "interval": windrow.config.get("distributed.worker.memory.monitor-interval"),
        "directory": worker.scratch.planned,
    }


class Special(Worker):
    """A worker of one's own."""

    def __init__(self, scheduler: str, *, flavour: str = "", **kwargs: Any) -> None:
        super().__init__(scheduler, **kwargs)
        self.flavour = flavour


# ---------------------------------------------------------------- parameters


def test_a_nanny_its_worker_and_its_members(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Scheduler() as s,
            Nanny(
                s.address,
                nthreads=2,
                name="w",
                local_directory=str(tmp_path),
                memory_limit="1 GiB",
                resources={"GPU": 1},
                env={"FLAVOUR": 7},
                config={"distributed.worker.memory": {"pause": 0.33, "terminate": 0.5}},
            ) as n,
            Client(s.address, asynchronous=True) as c,
        ):
            assert n.status is Status.running
            assert n.is_alive()
            assert n.address == n.id
            assert (n.scheduler_addr, n.nthreads, n.memory_limit, n.terminate) == (s.address, 2, 2**30, 0.5)
            assert n.env == {"FLAVOUR": "7"}
            [(address, worker)] = s.identity()["workers"].items()
            assert address == n.worker_address
            assert worker["nanny"] == n.address
            assert (worker["name"], worker["nthreads"], worker["memory_limit"]) == ("w", 2, 2**30)
            found = await c.submit(facts, resources={"GPU": 1})
            assert n.process is not None
            assert n.pid == n.process.pid == worker["pid"]
            assert found["env"]["FLAVOUR"] == "7"
            assert found["pause"] == 0.33
            assert found["directory"] == n.worker_dir
            assert n.worker_dir.startswith(str(tmp_path))
        assert not n.is_alive()
        assert n.status == "closed"

    run(main)


def test_what_this_program_has_configured_holds_in_its_workers_beneath_what_is_given() -> None:
    import dask.config

    async def main() -> None:
        async with Scheduler() as s:
            with dask.config.set({"distributed.worker.memory": {"pause": 0.44, "monitor-interval": "70ms"}}):
                given = {"distributed": {"worker": {"memory": {"monitor-interval": "80ms"}}}}
                async with Nanny(s.address, nthreads=1, config=given), Client(s.address, asynchronous=True) as c:
                    found = await c.submit(facts)
                    assert (found["pause"], found["interval"]) == (0.44, "80ms")

    run(main)


@pytest.mark.parametrize("how", ["class", "name", "config"])
def test_the_class_of_the_worker(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "special_worker_of_a_test.Special"
    (tmp_path / "special_worker_of_a_test.py").write_text(
        "from windrow import Worker\n"
        "class Special(Worker):\n"
        "    def __init__(self, scheduler, *, flavour='', **kwargs):\n"
        "        super().__init__(scheduler, **kwargs)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments: dict[str, dict[str, Any]] = {
        "class": {"worker_class": Special, "flavour": "salt"},
        "name": {"worker_class": name, "flavour": "salt"},
        "config": {"config": {"windrow.worker-class": name}, "flavour": "salt"},
    }

    async def main() -> None:
        async with Scheduler() as s, Client(s.address, asynchronous=True) as c:
            async with Nanny(s.address, nthreads=1, name=3, **arguments[how]):
                found = await c.submit(facts)
                assert (found["class"], found["name"]) == ("Special", 3)

    run(main)
    sys.modules.pop("special_worker_of_a_test", None)


def test_a_scheduler_file_that_comes_later_and_an_address_that_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import dask.config

    monkeypatch.setattr(whereabouts, "PATIENCE_S", 0.01)
    monkeypatch.setattr(whereabouts, "RETRY_S", 0.005)
    path = tmp_path / "scheduler.json"

    async def main() -> None:
        n = Nanny(scheduler_file=str(path), nthreads=1)
        starting = asyncio.ensure_future(n.start())
        await until(lambda: "waiting for the scheduler: the scheduler file" in caplog.text)
        assert n.scheduler_addr == ""
        async with Scheduler() as s:
            path.write_text(json.dumps({"address": s.address, "secret": s.secret.hex()}))
            await starting
            assert n.scheduler_addr == s.address
            await n.close()
            with dask.config.set({"scheduler-address": s.address}):
                async with Nanny(nthreads=1) as by_config:
                    assert by_config.scheduler_addr == s.address

    run(main)
    with pytest.raises(ValueError, match="nothing says where the scheduler is"):
        run(lambda: Nanny().start())


def test_a_nanny_may_be_there_before_its_scheduler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    monkeypatch.setattr(whereabouts, "PATIENCE_S", 0.01)
    monkeypatch.setattr(whereabouts, "RETRY_S", 0.005)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def main() -> None:
        n = Nanny("127.0.0.1", port, nthreads=1)
        starting = asyncio.ensure_future(n.start())
        await until(lambda: "does not answer, and nothing says the secret of its cluster" in caplog.text)
        async with Scheduler(port=port):
            await starting
            assert n.is_alive()
            await n.close()

    run(main)


def test_a_scheduler_whose_secret_is_not_for_this_user() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RuntimeError, match=r"no secret for .* is known to this user") as caught:
            await Nanny("127.0.0.1", port)
        assert type(caught.value.__cause__) is WrongSecret
        server.close()

    run(main)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"nthread": 2}, TypeError, "no argument 'nthread' .did you mean 'nthreads'"),
        ({"nthreads": 0}, ValueError, "nthreads must be"),
        ({"memory_limit": "lots"}, ValueError, "lots"),
        ({"memory_limit": "1kB"}, ValueError, "memory_limit='1kB' is 1000 bytes"),
        ({"env": "PATH"}, TypeError, "env must be a dict"),
        ({"security": "yes"}, TypeError, "must be a Security"),
        ({"death_timeout": "soon"}, ValueError, "soon"),
        ({"lifetime": "abc"}, ValueError, "lifetime='abc' will not do"),
        ({"lifetime": "1s", "lifetime_stagger": "2s"}, ValueError, "from 0 to the lifetime"),
        ({"listen_address": "tcp://127.0.0.1:5", "host": "127.0.0.1"}, ValueError, "listen_address=.* and host="),
        ({"listen_address": "tcp://127.0.0.1:5", "worker_port": 5}, ValueError, "and worker_port=5"),
        ({"scheduler_ip": "inproc://here"}, ValueError, "listen on tcp"),
        ({"scheduler_ip": 8786}, TypeError, "address is a str"),
    ],
)
def test_wrong_arguments_are_named_at_the_call(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=words):
            Nanny(**{"scheduler_ip": "tcp://127.0.0.1:1", "secret": b"s" * 32, **wrong})

    run(main)


def test_a_worker_without_a_name_is_called_by_its_address(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1) as nanny:
            assert nanny._who == f"the worker at {nanny.worker_address}"
            await nanny.restart(reason="a test asks for it")

    with caplog.at_level(logging.INFO, "windrow"):
        run(main)
    assert "the nanny of the worker at tcp://" in caplog.text
    assert "worker ''" not in caplog.text
    assert "worker None" not in caplog.text


@pytest.mark.parametrize("without", [{"services": {"x": 1}}, {"port": 5000}, {"reconnect": False}])
def test_what_has_no_meaning_is_remarked_upon(without: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.warns(UserWarning, match="has no effect"):
            Nanny("tcp://127.0.0.1:1", secret=b"s" * 32, **without)

    run(main)


def test_preloads_of_the_nanny(tmp_path: Path) -> None:
    text = (
        "def dask_setup(nanny):\n    nanny.env['LOADED'] = 'yes'\n"
        "def dask_teardown(nanny):\n    nanny.env['LOADED'] = 'no'\n"
    )

    async def main() -> None:
        async with Scheduler() as s, Client(s.address, asynchronous=True) as c:
            async with Nanny(s.address, nthreads=1, preload_nanny=text) as n:
                assert (await c.submit(facts))["env"]["LOADED"] == "yes"
            assert n.env["LOADED"] == "no"

    run(main)


# ---------------------------------------------------------------- starts that fail


@pytest.mark.parametrize(
    ("arguments", "cause", "words"),
    [
        ({"worker_class": "no_such_module.Worker"}, ModuleNotFoundError, "No module named 'no_such_module'"),
        ({"worker_class": "windrow.worker.worker.Nope"}, AttributeError, "has no attribute 'Nope'"),
        ({"worker_class": Special, "flavor": "salt"}, TypeError, "'flavor'"),
    ],
)
def test_what_a_worker_raises_at_its_start_is_raised_by_its_nanny(
    arguments: dict[str, Any], cause: type[Exception], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Scheduler() as s:
            n = Nanny(s.address, nthreads=1, name="w", **arguments)
            with pytest.raises(WorkerStartError, match=f"worker 'w' did not come up: it raised .*{words}") as caught:
                await n
            assert type(caught.value.__cause__) is cause
            assert n.status == "failed"
            assert n.restarts == 0
            with pytest.raises(WorkerStartError, match=words):
                await n
        await until(lambda: words in caplog.text and "Traceback" in caplog.text)

    run(main)


def test_a_worker_that_does_not_come_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windrow.offspring._START", "import time; time.sleep(100)")

    async def main() -> None:
        async with Scheduler() as s:
            n = Nanny(s.address, nthreads=1, death_timeout="200 ms")
            with pytest.raises(TimeoutError, match=r"did not start within 0.2 s .death_timeout"):
                await n
            assert not n.is_alive()

    run(main)


# ---------------------------------------------------------------- ends


def test_kill_leaves_it_down_until_it_is_instantiated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> None:
        async with (
            Scheduler() as s,
            Nanny(s.address, nthreads=1) as n,
            Client(s.address, asynchronous=True) as c,
        ):
            first, process = n.pid, n.process
            await n.kill(timeout=10, reason="a test")
            assert not n.is_alive()
            assert process is not None
            assert process.popen.returncode == 0  # it was asked to, and closed
            await until(lambda: not s.identity()["workers"])
            future = c.submit(os.getpid)
            assert await n.instantiate() is Status.running
            assert await n.instantiate() is Status.running
            assert await future == n.pid != first
            assert n.restarts == 0

    run(main)
    assert caplog.text == ""


def test_one_that_does_not_stop_is_killed() -> None:
    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1) as n:
            assert n.pid is not None
            os.kill(n.pid, signal.SIGSTOP)
            await n.kill(timeout=0.2)
            process = n.process
            assert process is not None
            await process.ended
            assert process.popen.returncode == -signal.SIGKILL

    run(main)


def test_restart() -> None:
    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1) as n, Client(s.address, asynchronous=True) as c:
            first = n.pid
            assert await n.restart(timeout=10) == "OK"
            assert await c.submit(os.getpid) == n.pid != first
            assert n.restarts == 1
            assert n.pid is not None
            os.kill(n.pid, signal.SIGSTOP)
            assert await n.restart(timeout=0.05) == "timed out"
            await until(lambda: n.is_alive() and len(s.identity()["workers"]) == 1, "the next is on its way")
            assert await c.submit(os.getpid, pure=False) == n.pid

    run(main)


def test_close_gracefully_starts_no_other() -> None:
    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1) as n:
            await n.close_gracefully()
            assert n.status is Status.closing_gracefully
            assert n.is_alive()
            assert n.pid is not None
            os.kill(n.pid, signal.SIGKILL)
            await n.finished()
            assert not n.is_alive()
            assert n.restarts == 0
            await until(lambda: n.status == "closed")

    run(main)


def test_a_worker_may_ask_for_a_successor(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    def go() -> None:
        import windrow

        worker = windrow.get_worker()
        worker.loop.call_soon_threadsafe(lambda: worker.background(worker.close(nanny=False, reason="its time is up")))

    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1) as n, Client(s.address, asynchronous=True) as c:
            first = n.pid
            await c.submit(go)
            await until(lambda: n.is_alive() and n.pid != first)
            assert await c.submit(os.getpid) == n.pid

    run(main)
    assert caplog.text == ""


def test_quiet_nannies_warn_of_no_death(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "windrow.nanny")

    async def main() -> None:
        async with Scheduler() as s, Nanny(s.address, nthreads=1, quiet=True) as n:
            first = n.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: "was killed by SIGKILL" in caplog.text)

    run(main)
    assert {r.levelname for r in caplog.records if r.name == "windrow.nanny"} == {"INFO"}


# ---------------------------------------------------------------- memory


def test_no_limit_and_no_threshold_mean_no_watch() -> None:
    async def main() -> None:
        async with Scheduler() as s:
            async with Nanny(s.address, nthreads=1, memory_limit=None) as n:
                assert n.memory_limit is None
                assert n._watch is None
            off = {"distributed.worker.memory.terminate": False}
            async with Nanny(s.address, nthreads=1, config=off) as n:
                assert n.terminate == 0.0
                assert n._watch is None

    run(main)


def test_many_looks_cost_little() -> None:
    """A look at one worker's memory, ten times a second for 64 workers, takes less than 1 % of a processor."""
    import time

    from windrow.deploy.gauge import Gauge

    measured = Gauge(os.getpid())
    best = min(_timed(measured.resident_bytes, time.thread_time) for _ in range(20))
    measured.close()
    assert best * 64 * 10 < 0.01


def _timed(call: Callable[[], object], clock: Callable[[], float], times: int = 200) -> float:
    start = clock()
    for _ in range(times):
        call()
    return (clock() - start) / times


# ---------------------------------------------------------------- the scheduler goes


def test_a_scheduler_that_closes_while_the_worker_starts_is_the_end_of_the_nanny() -> None:
    async def main() -> None:
        async with Scheduler(port=0) as scheduler, Nanny(scheduler.address, nthreads=1) as nanny:
            assert nanny.process is not None
            first = nanny.process
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: nanny.process is not first, "another process")
            assert not nanny.process.joined
            await scheduler.close()
            await nanny.finished()

    run(main)


def test_where_a_scheduler_was_another_is_joined_with_its_own_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts.Whereabouts, "near", None)  # as if it were in another process

    async def main() -> None:
        async with Scheduler(port=0) as first:
            where = whereabouts.Whereabouts(first.address)
            port = first.port
        secret = security.new_secret()
        async with Scheduler(port=port, secret=secret) as second:
            security.publish(second.address, secret)
            link = await where.connect()
            assert where.secret == secret
            link.abort("it has served")

    run(main)


def test_a_nanny_whose_scheduler_broke_off_joins_again() -> None:
    async def main() -> None:
        async with Scheduler(port=0) as scheduler, Nanny(scheduler.address, nthreads=1) as nanny:
            lost = nanny._link
            assert lost is not None
            lost.abort("the test breaks it")
            await until(lambda: nanny._link is not lost, "another link")

    run(main)
