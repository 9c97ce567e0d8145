"""Tokens of lesser roles at a cluster at work: what each may, and that what it may not is refused and not done."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attack_tasks as tasks
import pytest
from attack_help import Bomb, frame, shaken, until, until_closed

from windrow import (
    Client,
    LocalCluster,
    Lock,
    MemorySampler,
    Nanny,
    Scheduler,
    Worker,
    WorkerPlugin,
    performance_report,
)
from windrow.errors import NotAllowed
from windrow.roles import Role, token
from windrow.wire import messages as m
from windrow.wire import requests as r

PEER = r"refused to (tcp://127.0.0.1:\d+|local://pid-\d+): "


class Marker(WorkerPlugin):
    """A plugin that leaves a file where it is set up."""

    def __init__(self, path: str) -> None:
        self.path = path

    def setup(self, worker: Any) -> None:
        Path(self.path).touch()


def touch(path: str) -> None:
    Path(path).touch()


@pytest.fixture
def submitter(target: LocalCluster) -> Iterator[Client]:
    with Client(
        target.scheduler_address, secret=token(target.secret or b"", Role.SUBMIT), set_as_default=False
    ) as client:
        yield client


@pytest.fixture
def watcher(target: LocalCluster) -> Iterator[Client]:
    with Client(
        target.scheduler_address, secret=token(target.secret or b"", Role.WATCH), set_as_default=False
    ) as client:
        yield client


def test_a_submit_token_has_work_done(submitter: Client) -> None:
    assert submitter.status == "running"
    futures = submitter.map(tasks.inc, range(10), pure=False)
    assert submitter.submit(sum, futures).result(timeout=10) == 55
    assert submitter.gather(submitter.scatter([1, 2])) == [1, 2]
    assert set(submitter.run(tasks.pid)) == set(submitter.scheduler_info()["workers"])
    submitter.publish_dataset(mine=futures)
    submitter.unpublish_dataset("mine")
    assert len(submitter.who_has(futures)) == 10
    submitter.cancel(futures)


ADMINISTERING: dict[str, Callable[[Client, str], object]] = {
    "To run a function on the scheduler (RunOnScheduler)": lambda client, path: client.run_on_scheduler(touch, path),
    "To run a function on nannies (RunFunction)": lambda client, path: client.run(touch, path, nanny=True),
    "To register plugins or upload files (RegisterPlugin)": lambda client, path: client.register_plugin(Marker(path)),
    "To unregister plugins (UnregisterPlugin)": lambda client, path: client.unregister_worker_plugin("any"),
    "To restart the cluster (Restart)": lambda client, path: client.restart(),
    "To restart workers (RestartWorkers)": lambda client, path: client.restart_workers([*client.nthreads()]),
    "To retire workers (Retire)": lambda client, path: client.retire_workers(),
    "To shut the cluster down (Shutdown)": lambda client, path: client.shutdown(),
    "To use the memory manager (Ask 'amm')": lambda client, path: client.amm.start(),
}


@pytest.mark.parametrize("what", ADMINISTERING)
def test_a_submit_token_that_administers(
    what: str, submitter: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    canary = tmp_path / "done"
    refused = f"^{re.escape(what)} takes the role administer, and this connection has submit"
    for _ in range(3):
        with pytest.raises(NotAllowed, match=refused):
            ADMINISTERING[what](submitter, str(canary))
    assert submitter.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2, "its connection stays"
    assert not canary.exists()
    told = [record.getMessage() for record in caplog.records if what in record.getMessage()]
    assert len(told) == 1
    assert re.match(PEER, told[0])


def test_a_watch_token_sees(watcher: Client, owner: Client) -> None:
    future = owner.submit(tasks.inc, 1, pure=False)
    future.result(timeout=5)
    assert watcher.status == "watching"
    assert len(watcher.scheduler_info()["workers"]) == 2
    assert watcher.who_has()[future.key]
    assert watcher.nthreads() == owner.nthreads()
    assert repr(watcher) == repr(owner)
    assert watcher.id not in owner.cluster.scheduler.core.state.clients


READING: dict[str, Callable[[Client, Path], object]] = {
    "logs of the scheduler": lambda client, path: len(client.get_scheduler_logs(1)),
    "logs of workers": lambda client, path: [*map(len, client.get_worker_logs(1).values())],
    "versions": lambda client, path: client.get_versions()["workers"].keys(),
    "stories": lambda client, path: [record[:3] for record in client.story(("read", 0))],
    "stacks": lambda client, path: {key for stacks in client.call_stack().values() for key in stacks},
    "names of datasets": lambda client, path: client.list_datasets(),
    "events": lambda client, path: [event for _, event in client.get_events("read")],
    "metadata": lambda client, path: client.get_metadata("read"),
    "whether the memory manager runs": lambda client, path: client.amm.running(),
    "what tasks have said": lambda client, path: client.get_task_logs(("said", 0)),
    "all of it": lambda client, path: client.dump_cluster_state(str(path / "dump")),
}


@pytest.fixture
def _busy(owner: Client, tmp_path: Path) -> Iterator[None]:
    future = owner.submit(tasks.wait_for, str(tmp_path / "end"), key=("read", 0))
    until(lambda: owner.call_stack(), "it runs")
    said = owner.submit(print, "hello", key=("said", 0))
    said.result(timeout=10)
    owner.log_event("read", 1)
    owner.set_metadata("read", 2)
    owner.publish_dataset(read=3)
    yield
    owner.unpublish_dataset("read")
    (tmp_path / "end").touch()
    future.result(timeout=10)


@pytest.mark.usefixtures("_busy")
def test_a_token_that_reads_what_is_known_reads_what_the_owner_reads(
    submitter: Client, watcher: Client, owner: Client, tmp_path: Path
) -> None:
    for name, read in READING.items():
        expected = read(owner, tmp_path)
        assert read(submitter, tmp_path) == expected, name
        assert read(watcher, tmp_path) == expected, name
    assert READING["stacks"](watcher, tmp_path) == {("read", 0)}
    assert watcher.get_task_logs(("said", 0))["said", 0][0].text == "hello"
    assert (watcher.list_datasets(), watcher.get_metadata("read")) == (("read",), 2)
    assert READING["events"](watcher, tmp_path)[-1] == 1
    assert (tmp_path / "dump.msgpack.gz").is_file()


def test_a_token_that_reads_may_sample_memory_and_write_reports(
    submitter: Client, watcher: Client, tmp_path: Path, owner: Client
) -> None:
    for client in (submitter, watcher):
        sampler = MemorySampler()
        with sampler.sample("run", client=client, interval=0.01):
            owner.submit(tasks.inc, 1, pure=False).result(timeout=10)
        assert len(sampler.samples["run"]) >= 2
        assert sampler.samples["run"][-1][1] > 10_000_000
    with submitter.as_current(), performance_report(tmp_path / "report.html"):
        submitter.submit(tasks.inc, 1, pure=False).result(timeout=10)
    assert "<td>1 </td>" in (tmp_path / "report.html").read_text().replace("1</td>", "1 </td>")


ASKING: dict[str, Callable[[Client, str], object]] = {
    **ADMINISTERING,
    "To run a function on workers (RunFunction)": lambda client, path: client.run(touch, path),
    "To use published datasets (Ask 'datasets')": lambda client, path: client.get_dataset("mine"),
    "To change metadata (Ask 'metadata')": lambda client, path: client.set_metadata("x", 1),
    "To use locks and semaphores (Ask 'semaphores')": lambda client, path: Lock("x", client=client).acquire(),
}
del ASKING["To unregister plugins (UnregisterPlugin)"]


@pytest.mark.parametrize("what", ASKING)
def test_a_watch_token_that_asks_for_more(
    what: str, watcher: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    canary = tmp_path / "done"
    refused = f"^{re.escape(what)} takes the role (submit|administer), and this connection has watch"
    with pytest.raises(NotAllowed, match=refused):
        ASKING[what](watcher, str(canary))
    assert len(watcher.scheduler_info()["workers"]) == 2, "its connection stays"
    assert not canary.exists()
    assert [record.getMessage() for record in caplog.records if what in record.getMessage()]


SUBMITTING: dict[str, Callable[[Client, str], object]] = {
    "submit": lambda client, path: client.submit(touch, path),
    "map": lambda client, path: client.map(touch, [path]),
    "scatter": lambda client, path: client.scatter(1),
    "log_event": lambda client, path: client.log_event("topic", 1),
}


@pytest.mark.parametrize("what", SUBMITTING)
def test_a_watch_token_that_submits(what: str, watcher: Client, tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="takes the role submit, and this connection has watch"):
        SUBMITTING[what](watcher, str(tmp_path / "done"))
    assert len(watcher.scheduler_info()["workers"]) == 2
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "message",
    [
        m.HelloClient("forged"),
        m.HelloWorker("tcp://127.0.0.1:1", "forged", 1),
        m.HelloNanny("forged", 0),
        m.Submit(b"f", ["forged"], [b""]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_watch_token_whose_holder_does_not_use_our_client(
    target: LocalCluster, message: m.Message, caplog: pytest.LogCaptureFixture
) -> None:
    state = target.scheduler.core.state
    workers, clients = dict(state.workers), dict(state.clients)
    endpoint = shaken(target.scheduler_address, token(target.secret or b"", Role.WATCH))
    endpoint.sendall(frame(m.HelloObserver("x"), message, m.Call(1, r.Shutdown())))
    said = until_closed(endpoint)
    assert b"takes the role" in said
    assert b"and this connection has watch" in said
    assert state.workers == workers
    assert state.clients == clients
    assert "forged" not in state.tasks
    until(lambda: re.search(PEER, caplog.text), "it is logged")


@pytest.mark.parametrize("hello", [m.HelloWorker("tcp://127.0.0.1:1", "forged", 4), m.HelloNanny("forged", 0)])
def test_a_submit_token_that_poses_as_a_worker_or_nanny(
    target: LocalCluster, hello: m.Message, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = shaken(target.scheduler_address, token(target.secret or b"", Role.SUBMIT))
    endpoint.sendall(frame(hello))
    assert b"takes the role administer" in until_closed(endpoint)
    assert len(target.scheduler.core.state.workers) == 2
    assert "forged" not in target.scheduler.core.state.nannies
    assert f"({type(hello).__name__}) takes the role administer, and this connection has submit" in caplog.text


@pytest.mark.parametrize("role", [Role.WATCH, Role.SUBMIT], ids=str)
def test_values_are_for_workers_alone(target: LocalCluster, role: Role) -> None:
    """A worker's port takes tokens, as its dashboard has one; what workers tell each other takes the secret."""
    [address, *_] = target.scheduler_info["workers"]
    endpoint = shaken(address, token(target.secret or b"", role))
    endpoint.sendall(frame(m.Call(1, r.GetData([m.TaskId(1)]))))
    assert b"NotAllowed" in endpoint.recv(65536)
    endpoint.sendall(frame(m.Run(m.TaskId(1), 1, "key", 1, b"")))
    until_closed(endpoint)


def test_a_token_is_no_secret_to_listen_with(target: LocalCluster) -> None:
    submit = token(target.secret or b"", Role.SUBMIT)

    async def worker() -> None:
        async with Worker(target.scheduler_address, secret=submit):
            pass

    async def nanny() -> None:
        async with Nanny(target.scheduler_address, secret=submit):
            pass

    async def scheduler() -> None:
        async with Scheduler(port=0, secret=submit):
            pass

    with pytest.raises((NotAllowed, RuntimeError), match="A worker takes the role administer"):
        asyncio.run(worker())
    with pytest.raises((NotAllowed, RuntimeError), match="A nanny takes the role administer"):
        asyncio.run(nanny())
    with pytest.raises((ValueError, RuntimeError), match="needs the cluster's secret, and not a submit token"):
        asyncio.run(scheduler())


def test_the_dashboards_process_holds_a_watch_token_alone(target: LocalCluster) -> None:
    assert target.loop_thread is not None
    options = target.loop_thread.run(target.scheduler._make_observable())
    assert bytes.fromhex(options["secret"]) == token(target.secret or b"", Role.WATCH)
    assert (target.secret or b"").hex() not in str(options)


def test_nothing_of_a_token_is_unpickled_by_the_scheduler(target: LocalCluster, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    endpoint = shaken(target.scheduler_address, token(target.secret or b"", Role.SUBMIT))
    endpoint.sendall(
        frame(
            m.HelloClient("x"),
            m.Call(1, r.RunOnScheduler(bomb)),
            m.Call(2, r.RegisterPlugin("scheduler", "p", bomb)),
            m.Submit(b"undeclared", ["bomb"], [bomb]),
            m.Call(3, r.Identity()),
        )
    )
    endpoint.recv(65536)
    endpoint.close()
    assert not (tmp_path / "exploded").exists()
    assert os.listdir(tmp_path) == []
