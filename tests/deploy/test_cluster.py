"""What every kind of cluster offers, on one that somebody else has started, and on a small one of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from windrow import Client, LocalCluster, Scheduler, Status, Worker
from windrow.deploy.cluster import Cluster
from windrow.deploy.views import Log, Logs
from windrow.runtime import LoopThread

LIMIT_S = 10.0


def until(happens: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not happens():
        assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {happens}"
        time.sleep(0.005)


class Attached(Cluster):
    """A cluster that runs already, by its scheduler's address."""

    def __init__(self, address: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scheduler_address = address
        self._begin()


@pytest.fixture(scope="module")
def own() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", name="own") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def attached(own: LocalCluster) -> Iterator[Attached]:
    with Attached(own.scheduler_address, scheduler_sync_interval="20ms") as cluster:
        yield cluster


# ---------------------------------------------------------------- facts


def test_what_is_known_of_a_cluster_elsewhere(own: LocalCluster, attached: Attached) -> None:
    assert attached.status == Status.running == "running"
    assert attached.observed == {0, 1}
    assert attached.scheduler_info["workers"].keys() == own.scheduler_info["workers"].keys()
    assert repr(attached).startswith(f"Attached({attached.name}, '{own.scheduler_address}', workers=2, threads=2, mem")
    assert "<b>Attached</b>" in attached._repr_html_()
    assert attached.dashboard_link == own.dashboard_link != ""
    with Client(attached, set_as_default=False) as client:
        assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1


def test_it_follows_those_that_come_and_go(own: LocalCluster, attached: Attached) -> None:
    async def come_and_go() -> None:
        async with Worker(own.scheduler_address, name="guest", nthreads=1):
            await asyncio.to_thread(until, lambda: "guest" in attached.observed)

    asyncio.run(come_and_go())
    until(lambda: "guest" not in attached.observed)


def test_what_it_cannot_do_it_says(attached: Attached) -> None:
    with pytest.raises(NotImplementedError, match="Attached cannot scale"):
        attached.scale(2)
    for name in ("plan", "requested"):
        with pytest.raises(NotImplementedError, match="Attached does not start workers"):
            getattr(attached, name)
    with pytest.raises(NotImplementedError, match="scheduler_address"):
        Nowhere()


class Nowhere(Cluster):
    """A kind of cluster that does not say where its scheduler is."""

    def __init__(self) -> None:
        super().__init__()
        self._begin()


def test_its_name_is_told_to_the_scheduler() -> None:
    with LocalCluster(n_workers=0, processes=False, name="first") as cluster, Client(cluster) as client:
        until(lambda: client.get_metadata("cluster-manager-info", None) == {"name": "first", "type": "LocalCluster"})
        cluster.name = "second"
        until(lambda: client.get_metadata("cluster-manager-info")["name"] == "second")
        assert "LocalCluster(second, " in repr(cluster)
        with pytest.raises(TypeError, match="name must be a string"):
            cluster.name = 3  # type: ignore[assignment]


def test_without_a_name_each_has_one_of_its_own() -> None:
    with LocalCluster(n_workers=0, processes=False) as one, LocalCluster(n_workers=0, processes=False) as two:
        assert one.name != two.name
        assert len(one.name) == 8
        assert int(one.name, 16) >= 0


def test_equal_are_clusters_of_one_kind_and_name(own: LocalCluster) -> None:
    class Other(Cluster):
        pass

    one, two, three = (Other(name=name, asynchronous=True) for name in ("a", "a", "b"))
    assert one == two
    assert one != three
    assert hash(one) != hash(two)
    assert one != own
    assert Cluster(name="own", asynchronous=True) != own


def test_the_client_of_a_cluster(own: LocalCluster, attached: Attached) -> None:
    with own.get_client() as client:
        assert client.cluster is own
        assert own.get_client() is client
        with attached.get_client() as other:
            assert other is not client
            assert other.cluster is attached
        with Client(own.scheduler_address) as by_address:
            assert own.get_client() is by_address


# ---------------------------------------------------------------- loops


def test_a_loop_that_runs_already_may_be_given() -> None:
    thread = LoopThread("somebody's loop")
    try:
        for loop in (thread, thread.loop, Loop(thread.loop)):
            before = threading.active_count()
            with LocalCluster(n_workers=1, processes=False, loop=loop) as cluster:
                assert cluster.loop is thread.loop
                assert not cluster.called_from_running_loop
                assert cluster.sync(on_loop, cluster) == (True, True)
                with Client(cluster, set_as_default=False) as client:
                    assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1
            assert thread.is_running
            until(lambda before=before: threading.active_count() <= before)
    finally:
        thread.stop()


class Loop:
    """A loop as Tornado wraps them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asyncio_loop = loop


async def on_loop(cluster: Cluster) -> tuple[bool, bool]:
    return cluster.called_from_running_loop, cluster.asynchronous


def test_a_loop_that_will_not_do() -> None:
    stopped = LoopThread()
    stopped.stop()
    with pytest.raises(ValueError, match="is stopped; leave loop out"):
        LocalCluster(n_workers=0, loop=stopped)
    idle = asyncio.new_event_loop()
    with pytest.raises(ValueError, match="does not run; leave loop out"):
        LocalCluster(n_workers=0, loop=idle)
    idle.close()

    async def main() -> None:
        with pytest.raises(ValueError, match="use asynchronous=True"):
            LocalCluster(n_workers=0, loop=asyncio.get_running_loop())

    asyncio.run(main())


def test_sync_runs_coroutines_on_the_loop(own: LocalCluster) -> None:
    async def add(a: int, *, b: int) -> tuple[int, object]:
        return a + b, asyncio.get_running_loop()

    assert own.sync(add, 1, b=2) == (3, own.loop)
    with pytest.raises(TimeoutError):
        own.sync(asyncio.sleep, 60, callback_timeout="20ms")
    coroutine = own.sync(add, 1, b=2, asynchronous=True)
    assert asyncio.run(coroutine)[0] == 3


# ---------------------------------------------------------------- logs


def test_logs_of_all_parties(own: LocalCluster) -> None:
    logs = own.get_logs()
    addresses = list(own.scheduler_info["workers"])
    assert isinstance(logs, Logs)
    assert list(logs) == ["Cluster", "Scheduler", *addresses]
    assert logs["Cluster"] == ""
    assert all(isinstance(log, Log) for log in logs.values())
    lines = logs["Scheduler"].splitlines()
    assert any(line.endswith(f"INFO - the scheduler is at {own.scheduler_address}") for line in lines)
    assert any("worker 0 at" in line and "has joined" in line for line in lines)
    for address in addresses:
        assert f"at {address} joins the scheduler" in logs[address]
        assert not any(other in logs[address] for other in addresses if other != address)


def test_logs_of_a_cluster_elsewhere(own: LocalCluster, attached: Attached) -> None:
    logs = attached.get_logs()
    assert "has joined" in logs["Scheduler"]
    assert [key for key in logs if key.startswith("tcp://")] == list(own.scheduler_info["workers"])


def test_the_newest_line_is_the_first(own: LocalCluster) -> None:
    with Client(own, set_as_default=False) as client:
        first, second = own.get_logs(cluster=False, workers=False)["Scheduler"].splitlines()[:2]
    assert f"client {client.id} has joined" in first
    assert client.id not in second


def test_some_of_the_logs(own: LocalCluster) -> None:
    address = list(own.scheduler_info["workers"])[1]
    assert list(own.get_logs(cluster=False, scheduler=False, workers=[address])) == [address]
    assert list(own.get_logs(scheduler=False, workers=False)) == ["Cluster"]
    with pytest.raises(TypeError, match="workers must be True, False or a list"):
        own.get_logs(workers=address)  # type: ignore[arg-type]
    assert "(no logs: " in own.get_logs(workers=["tcp://127.0.0.1:1"])["tcp://127.0.0.1:1"]


def test_each_cluster_of_a_process_has_logs_of_its_own(own: LocalCluster) -> None:
    with LocalCluster(n_workers=0, processes=False) as other:
        logs = other.get_logs()
        assert "the scheduler is at" in logs["Scheduler"]
        assert own.scheduler_address not in logs["Scheduler"]


def test_the_clusters_own_log(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(asynchronous=True)
    cluster._log("first")
    assert capsys.readouterr().out == "first\n"
    cluster.quiet = True
    cluster._log("second")
    assert capsys.readouterr().out == ""
    lines = asyncio.run(cluster._get_logs(True, False, False))["Cluster"].splitlines()
    assert [line.rpartition(" - ")[2] for line in lines] == ["second", "first"]


# ---------------------------------------------------------------- life


def test_an_asynchronous_cluster_is_awaited_once_or_more() -> None:
    async def main() -> None:
        cluster = LocalCluster(n_workers=1, processes=False, asynchronous=True)
        assert cluster.status is Status.created
        assert cluster.scheduler_info == {"type": "Scheduler", "workers": {}}
        one, two = await asyncio.gather(cluster, cluster)
        assert one is two is cluster
        assert len((await cluster).scheduler_info["workers"]) == 1
        assert await cluster.wait_for_workers(1) is None
        assert "Scheduler" in await cluster.get_logs()
        async with cluster:
            pass
        assert cluster.status is Status.closed
        await cluster.close()

    asyncio.run(main())


def test_a_close_that_takes_too_long_goes_on() -> None:
    class Slow(LocalCluster):
        async def _shut(self) -> None:
            await asyncio.to_thread(gate.wait)
            await super()._shut()

    gate = threading.Event()
    cluster = Slow(n_workers=0, processes=False)
    with pytest.raises(TimeoutError):
        cluster.close(timeout="20ms")
    assert cluster.status is Status.closing
    gate.set()
    cluster.close()
    assert cluster.status is Status.closed
    cluster.close()


def test_a_cluster_that_is_forgotten_says_so(own: LocalCluster) -> None:
    async def main() -> Attached:
        return await Attached(own.scheduler_address, asynchronous=True)

    cluster = asyncio.run(main())
    assert cluster.status is Status.running
    del cluster
    with pytest.warns(ResourceWarning, match="unclosed cluster"):
        gc.collect()


def test_a_cluster_that_is_closed_or_never_started_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        cluster = LocalCluster(n_workers=0, processes=False)
        cluster.close()
        del cluster
        never = Cluster(asynchronous=True)
        del never
        gc.collect()


def test_a_scheduler_that_goes_is_noticed() -> None:
    async def main() -> None:
        scheduler = await Scheduler()
        cluster = Attached(scheduler.address, asynchronous=True, scheduler_sync_interval="10ms")
        async with Worker(scheduler.address, nthreads=1), cluster:
            await cluster.wait_for_workers(1)
            await scheduler.close()
            async with asyncio.timeout(LIMIT_S):
                while cluster.observed:
                    await asyncio.sleep(0.01)

    asyncio.run(main())
