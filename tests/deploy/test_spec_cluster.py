"""Clusters by their specification, with classes of windrow's own and such as users write."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import dask
import pytest

from windrow import Client, Scheduler, SpecCluster, Worker
from windrow.deploy.spec import ProcessInterface
from windrow.errors import WorkerStartTimeoutError

LIMIT_S = 10.0
SCHEDULER = {"cls": Scheduler, "options": {}}
WORKER = {"cls": Worker, "options": {"nthreads": 1}}
OFTEN: Any = {"scheduler_sync_interval": "20ms"}


def until(happens: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not happens():
        assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {happens}"
        time.sleep(0.005)


async def soon(happens: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not happens():
            await asyncio.sleep(0.005)


class Job(ProcessInterface):
    """Some workers that come together and go together, as those of a job on a queueing system do."""

    made: list[Job] = []

    def __init__(self, scheduler: Any = None, name: Any = None, suffixes: Any = ("",), delay: Any = None) -> None:
        self.scheduler = scheduler  # before the base's, and without telling it: as there is code that does
        self.name = name
        self.suffixes = suffixes
        self.delay = delay
        self.parts: list[Worker] = []
        self.closed = 0
        super().__init__()
        Job.made.append(self)

    async def start(self) -> None:
        if self.delay is not None:
            await self.delay.wait()
        names = [f"{self.name}{suffix}" if suffix else self.name for suffix in self.suffixes]
        self.parts = [Worker(self.scheduler, name=name, nthreads=1) for name in names]
        await asyncio.gather(*self.parts)
        await super().start()

    async def close(self) -> None:
        self.closed += 1
        await asyncio.gather(*(part.close() for part in self.parts))
        await super().close()


class Elsewhere(ProcessInterface):
    """A scheduler that the cluster cannot see to be in its own process."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    async def start(self) -> None:
        self.inner = await Scheduler(**self.options)
        self.address = self.inner.address
        await super().start()

    async def close(self) -> None:
        await self.inner.close()
        await super().close()


FAR = {"cls": Elsewhere, "options": {}}


@pytest.fixture(params=["near", "far"])
def scheduler(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A specification of a scheduler in this process, or of one that is as good as elsewhere."""
    return SCHEDULER if request.param == "near" else FAR


# ---------------------------------------------------------------- what there is


def test_a_cluster_is_what_is_specified(scheduler: dict[str, Any]) -> None:
    with SpecCluster({"a": WORKER, 7: WORKER}, scheduler, WORKER, **OFTEN) as cluster:
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        assert cluster.plan == cluster.requested == {"a", 7}
        until(lambda: cluster.observed == {"a", 7})
        assert set(cluster.workers) == {"a", 7}
        assert {worker["name"] for worker in cluster.scheduler_info["workers"].values()} == {"a", 7}
        with Client(cluster, set_as_default=False) as client:
            assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1
        cluster.scale(4)
        cluster.wait_for_workers(4, timeout=LIMIT_S)
        assert cluster.plan == {"a", 7, 0, 1}
        cluster.scale_down(["a"])
        assert cluster.plan == {7, 0, 1}
        until(lambda: cluster.observed == {7, 0, 1})
        assert "workers=3, threads=3" in repr(cluster)
    assert cluster.status == "closed"


def test_by_default_there_is_a_scheduler_and_nothing_else() -> None:
    with SpecCluster() as cluster:
        assert isinstance(cluster.scheduler, Scheduler)
        assert cluster.plan == set()
        assert not cluster._supports_scaling
        with pytest.raises(ValueError, match="made without worker="):
            cluster.scale(1)
        assert cluster.plan == set()


RUNS: list[int] = []


def made_here(n: int) -> bytes:
    RUNS.append(n)
    return b"x" * 20_000


def test_data_moves_before_a_worker_is_closed(scheduler: dict[str, Any]) -> None:
    with SpecCluster({0: WORKER, 1: WORKER}, scheduler, WORKER) as cluster, Client(cluster) as client:
        RUNS.clear()
        client.wait_for_workers(2, timeout=LIMIT_S)
        futures = client.map(made_here, range(100))
        client.gather(futures)
        assert len({holder for holders in client.who_has().values() for holder in holders}) == 2
        cluster.scale(1)
        assert all(client.who_has(futures).values())
        assert sum(map(len, client.gather(futures))) == 2_000_000
        assert len(RUNS) == 100


# ---------------------------------------------------------------- groups, and classes that users write


def group(*suffixes: str, **options: Any) -> dict[str, Any]:
    return {"cls": Job, "options": {"suffixes": suffixes, **options}, "group": list(suffixes)}


def test_one_job_of_many_workers(scheduler: dict[str, Any]) -> None:
    with SpecCluster({0: group("-a", "-b")}, scheduler, group("-a", "-b"), **OFTEN) as cluster:
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        assert cluster.plan == cluster.requested == {"0-a", "0-b"}
        cluster.scale(2)
        cluster.wait_for_workers(4, timeout=LIMIT_S)
        assert set(cluster.worker_spec) == set(cluster.workers) == {0, 1}
        assert cluster.requested == {"0-a", "0-b", "1-a", "1-b"}
        cluster.scale_down(["0-b"])  # one of them cannot go alone
        assert cluster.plan == {"1-a", "1-b"}
        until(lambda: cluster.observed == {"1-a", "1-b"})


class JobQueueCluster(SpecCluster):
    """As clusters of a queueing system are written: workers come in jobs, and are counted one by one."""

    per_job = 2

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(scheduler=SCHEDULER, worker=group("-0", "-1"), **kwargs)

    def _new_worker_name(self, worker_number: int) -> str:
        return f"job{worker_number}"

    def scale(self, n: Any = None, jobs: int = 0, memory: Any = None, cores: Any = None) -> Any:
        if n is not None:
            jobs = -(-n // self.per_job)
        return super().scale(jobs, memory=memory, cores=cores)


def test_a_cluster_of_a_queueing_system() -> None:
    with JobQueueCluster(name="queue") as cluster, Client(cluster) as client:
        cluster.scale(3)
        cluster.wait_for_workers(4, timeout=LIMIT_S)
        assert cluster.plan == {"job0-0", "job0-1", "job1-0", "job1-1"}
        assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1
        cluster.scale(jobs=1)
        assert cluster.plan == {"job0-0", "job0-1"}
        jobs = [cluster.workers["job0"]]
    assert [job.closed for job in jobs] == [1]
    assert repr(cluster).startswith("JobQueueCluster(queue, ")


def test_those_that_have_not_come_go_first() -> None:
    async def main() -> None:
        gate = asyncio.Event()
        slow = {"cls": Job, "options": {"delay": gate}}
        async with SpecCluster({0: WORKER}, SCHEDULER, slow, asynchronous=True) as cluster:
            cluster.worker_spec["slow"] = slow
            await cluster.scale(3)
            cluster.worker_spec["quick"] = WORKER
            await cluster.scale(4)
            await soon(lambda: cluster.observed == {0, "quick"})
            slow_ones = [cluster.workers["slow"], cluster.workers[1]]
            await cluster.scale(2)
            assert cluster.plan == cluster.requested == {0, "quick"}
            assert [job.closed for job in slow_ones] == [1, 1]
            gate.set()
        assert [job.parts for job in slow_ones] == [[], []]

    asyncio.run(main())


def test_an_asynchronous_cluster_scales_whether_or_not_that_is_awaited() -> None:
    async def main() -> None:
        async with SpecCluster({}, SCHEDULER, WORKER, asynchronous=True) as cluster:
            cluster.scale(3)
            assert cluster.plan == {0, 1, 2}
            await soon(lambda: cluster.observed == {0, 1, 2})
            cluster.scale_down([1])
            assert cluster.plan == {0, 2}
            await soon(lambda: cluster.observed == {0, 2})
            await cluster.scale(1)
            assert cluster.requested == {0}
        with pytest.raises(RuntimeError, match="is closed: only one that runs can be scaled"):
            cluster.scale(1)
        assert cluster.plan == set()

    asyncio.run(main())


def test_an_asynchronous_cluster_may_be_scaled_before_it_starts() -> None:
    async def main() -> None:
        cluster = SpecCluster({}, SCHEDULER, WORKER, asynchronous=True)
        cluster.scale(3)
        await cluster.scale(2)
        cluster.scale_down([0])
        assert cluster.plan == {1}
        async with cluster:
            assert cluster.observed == {1}

    asyncio.run(main())


class Numberless(Job):
    """A job whose worker is there before its number is known, without which it cannot be closed."""

    async def start(self) -> None:
        await super().start()
        await asyncio.Event().wait()

    async def close(self) -> None:
        raise TypeError("a job that has no number yet")


def test_a_worker_whose_job_cannot_be_closed_is_ended_by_the_scheduler(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with SpecCluster({}, SCHEDULER, {"cls": Numberless, "options": {}}, asynchronous=True) as cluster:
            cluster.scale(1)
            await soon(lambda: cluster.observed == {0})
            [worker] = cluster.workers[0].parts
            await cluster.scale(0)
            await soon(lambda: cluster.observed == set())
            await worker.finished()

    asyncio.run(main())
    assert "could not be closed" in caplog.text


def test_the_specification_may_be_edited() -> None:
    async def main() -> None:
        async with SpecCluster({0: WORKER}, SCHEDULER, WORKER, asynchronous=True) as cluster:
            del cluster.worker_spec[0]
            cluster.worker_spec["new"] = {"cls": Job, "options": {}}
            await cluster
            assert cluster.observed == cluster.requested == {"new"}

    asyncio.run(main())


# ---------------------------------------------------------------- those that leave


def test_a_worker_that_leaves_by_itself_is_forgotten(scheduler: dict[str, Any]) -> None:
    async def main() -> None:
        async with SpecCluster({0: WORKER, 1: WORKER}, scheduler, WORKER, asynchronous=True, **OFTEN) as cluster:
            await cluster.workers[0].close()
            await soon(lambda: cluster.plan == cluster.requested == {1})
            await soon(lambda: cluster.observed == {1})
            await cluster.scale(2)
            assert cluster.plan == {1, 2}  # names are not given twice

    asyncio.run(main())


def test_a_job_that_stays_away_is_given_up(scheduler: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with SpecCluster({0: group("-a", "-b")}, scheduler, None, asynchronous=True, **OFTEN) as cluster:
            await cluster.wait_for_workers(2)
            job = cluster.workers[0]
            await job.parts[0].close()
            await soon(lambda: cluster.observed == {"0-b"})
            assert cluster.plan == {"0-a", "0-b"}  # while one of them is there, so is the job
            await job.parts[1].close()
            await soon(lambda: cluster.plan == cluster.requested == set())
            await soon(lambda: job.closed == 1)

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "20ms"}):
        asyncio.run(main())
    assert "gives worker 0 up: it has left, and not come back" in caplog.text


def test_a_job_that_comes_back_stays() -> None:
    async def main() -> None:
        async with SpecCluster({0: {"cls": Job, "options": {}}}, SCHEDULER, None, asynchronous=True) as cluster:
            await cluster.wait_for_workers(1)
            job = cluster.workers[0]
            await job.parts[0].close()
            await soon(lambda: cluster.observed == set() and len(cluster._absentees))
            async with Worker(job.scheduler, name=0, nthreads=1):
                await soon(lambda: not len(cluster._absentees))
                assert cluster.requested == {0}

    asyncio.run(main())


# ---------------------------------------------------------------- failures


class Broken(ProcessInterface):
    """Cannot start."""

    async def start(self) -> None:
        raise ZeroDivisionError("no such machine")


def test_a_worker_that_does_not_start_closes_everything_that_did() -> None:
    Job.made.clear()
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="no such machine"):
        SpecCluster({0: {"cls": Job, "options": {}}, 1: {"cls": Broken, "options": {}}}, SCHEDULER)
    assert [job.closed for job in Job.made] == [1]
    until(lambda: threading.active_count() <= before)


def test_a_scheduler_that_does_not_start_is_told_with_its_cause() -> None:
    with SpecCluster() as cluster:
        port = int(cluster.scheduler_address.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="Choose another port") as caught:
            SpecCluster(scheduler={"cls": Scheduler, "options": {"port": port}})
    assert isinstance(caught.value.__cause__, OSError)


def test_a_worker_that_does_not_start_later_is_told_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with SpecCluster({}, SCHEDULER, {"cls": Broken, "options": {}}, asynchronous=True) as cluster:
            await cluster.scale(1)
            await soon(lambda: cluster.plan == cluster.requested == set())

    asyncio.run(main())
    assert "worker 0 of cluster" in caplog.text
    assert "could not be started: no such machine" in caplog.text


def test_a_party_that_cannot_be_closed_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Job):
        async def close(self) -> None:
            await super().close()
            raise ZeroDivisionError("never")

    Job.made.clear()
    cluster = SpecCluster({0: {"cls": Stubborn, "options": {}}, 1: {"cls": Job, "options": {}}}, SCHEDULER)
    cluster.close()
    assert cluster.status == "closed"
    assert [job.closed for job in Job.made] == [1, 1]
    assert "could not be closed" in caplog.text


def test_a_class_that_cannot_be_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        SpecCluster({0: {"cls": "no_such_module.Worker", "options": {}}})


def test_no_cluster_is_found_by_its_name() -> None:
    with pytest.raises(NotImplementedError, match="SpecCluster cannot find a cluster by its name"):
        SpecCluster.from_name("mine")


# ---------------------------------------------------------------- the end


def test_the_scheduler_may_outlive_the_cluster() -> None:
    async def main() -> None:
        async with SpecCluster({0: WORKER}, SCHEDULER, shutdown_scheduler=False, asynchronous=True) as cluster:
            scheduler = cluster.scheduler
        assert cluster.status == "closed"
        assert scheduler.status == "running"
        async with Client(scheduler.address, asynchronous=True, set_as_default=False) as client:
            assert await client.nthreads() == {}
        await scheduler.close()

    asyncio.run(main())


def test_nothing_can_be_scaled_afterwards() -> None:
    async def main() -> None:
        cluster = SpecCluster({}, SCHEDULER, WORKER, asynchronous=True)
        await cluster
        await cluster.close()
        with pytest.raises(RuntimeError, match="is closed"):
            await cluster.scale(1)
        with pytest.raises(RuntimeError, match="is closed: make a new one"):
            await cluster

    asyncio.run(main())


def test_too_many_workers_are_waited_for_no_longer_than_said() -> None:
    with SpecCluster({0: WORKER}, FAR, WORKER) as cluster:
        cluster.wait_for_workers(1, timeout=LIMIT_S)
        with pytest.raises(WorkerStartTimeoutError, match=r"1 of 2 workers are there after 0.05 s"):
            cluster.wait_for_workers(2, timeout="50ms")
        with pytest.raises(ValueError, match="n_workers must be"):
            cluster.wait_for_workers(True)


def test_what_reaches_the_terminal_is_the_clusters_business(caplog: pytest.LogCaptureFixture) -> None:
    handler = logging.StreamHandler()
    logger = logging.getLogger("windrow")
    logger.addHandler(handler)
    try:
        with SpecCluster(silence_logs=logging.ERROR):
            assert handler.level == logging.ERROR
            with SpecCluster(silence_logs="critical"):
                assert handler.level == logging.CRITICAL
            assert handler.level == logging.ERROR
        assert handler.level == logging.NOTSET
        with SpecCluster(silence_logs=False):
            assert handler.level == logging.NOTSET
    finally:
        logger.removeHandler(handler)


def test_one_that_is_dropped_while_it_starts_is_dropped_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with SpecCluster({}, SCHEDULER, WORKER, asynchronous=True) as cluster:
            for turns in range(12):  # after each of its steps
                await cluster.scale(1)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await cluster.scale(0)
            assert cluster.requested == set()

    asyncio.run(main())
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
