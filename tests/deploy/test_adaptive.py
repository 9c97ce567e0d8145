"""The rounds of adaptive scaling, against a cluster and a scheduler that are made up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

import pytest

from windrow.deploy.adaptive import Adaptive
from windrow.deploy.cluster import Cluster
from windrow.deploy.rounds import Rounds
from windrow.deploy.spec import SpecCluster
from windrow.wire.messages import Reply
from windrow.wire.requests import AdaptiveTarget, Retire, WorkersToClose

LIMIT_S = 10.0


class Scheduler:
    """Answers as it is told to, and remembers the questions."""

    def __init__(self) -> None:
        self.target = 0
        self.missable: list[Any] = []
        self.stay: set[str] = set()
        self.asked: list[Any] = []
        self.gate: asyncio.Event | None = None
        """Retirements wait for it."""

    async def ask(self, request: Any) -> Reply:
        self.asked.append(request)
        await asyncio.sleep(0)  # as any real question, it lets others go on
        if isinstance(request, AdaptiveTarget):
            return Reply(0, self.target)
        if isinstance(request, WorkersToClose):
            return Reply(0, [[f"tcp://{name}", name] for name in self.missable])
        assert isinstance(request, Retire)
        if self.gate is not None:
            await self.gate.wait()
        return Reply(0, [address for address in request.workers or () if address not in self.stay])

    def last(self, kind: type) -> Any:
        return next(request for request in reversed(self.asked) if type(request) is kind)


class Fake:
    """A cluster whose workers come at once."""

    def __init__(self, *names: Any) -> None:
        self.status = "running"
        self.scheduler_comm: Any = Scheduler()
        self.plan = set(names)
        self.requested = self.plan
        self.observed = set(names)
        self.calls: list[tuple[str, Any]] = []
        self.broken = 0
        """How many of the next calls fail."""
        self.hosts: dict[Any, str] = {}

    @property
    def scheduler_info(self) -> dict[str, Any]:
        facts = {f"tcp://{name}": {"name": name, "host": self.hosts.get(name, "h")} for name in self.observed}
        return {"workers": facts}

    def _call(self, name: str, argument: Any) -> None:
        self.calls.append((name, argument))
        if self.broken:
            self.broken -= 1
            raise OSError("the backend is not well")

    async def scale(self, n: int) -> None:
        self._call("scale", n)
        await asyncio.sleep(0)
        self.plan |= set(range(len(self.plan), n))
        self.observed = set(self.plan)

    def scale_down(self, workers: list[Any]) -> None:
        self._call("scale_down", sorted(workers))
        self.plan -= set(workers)
        self.observed -= set(workers)


def made(cluster: Any, **options: Any) -> Adaptive:
    """One whose rounds the test plays."""
    return Adaptive(cluster, **{"interval": 0, "wait_count": 1, **options})


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await test()

    asyncio.run(limited())


async def until(happens: Callable[[], object]) -> None:
    while not happens():
        await asyncio.sleep(0.001)


# ---------------------------------------------------------------- rounds


def test_it_grows_at_once_and_shrinks_by_names_that_have_retired() -> None:
    async def test() -> None:
        cluster = Fake()
        adaptive = made(cluster, maximum=3, wait_count=2, target_duration="2s")
        cluster.scheduler_comm.target = 7
        await adaptive.adapt()
        assert cluster.calls == [("scale", 3)]
        assert cluster.scheduler_comm.last(AdaptiveTarget) == AdaptiveTarget(2.0, 1)
        cluster.scheduler_comm.target = 1
        cluster.scheduler_comm.missable = [2, 0]
        await adaptive.adapt()
        assert adaptive.close_counts == {2: 1, 0: 1}
        await adaptive.adapt()
        assert cluster.calls[1:] == [("scale_down", [0, 2])]
        assert cluster.scheduler_comm.last(WorkersToClose) == WorkersToClose(target=1, idle_only=True)
        retired = cluster.scheduler_comm.last(Retire)
        assert (sorted(retired.workers), retired.close, retired.idle_only) == (["tcp://0", "tcp://2"], False, True)
        assert [change for _, change in adaptive.log] == [
            {"status": "up", "n": 3},
            {"status": "down", "workers": [2, 0]},
        ]
        assert adaptive.plan == adaptive.observed == adaptive.requested == {1}

    run(test)


def test_nothing_is_asked_of_the_scheduler_but_what_is_needed() -> None:
    async def test() -> None:
        cluster = Fake(0, 1)
        cluster.observed = {0}
        cluster.scheduler_comm.target = 1
        adaptive = made(cluster)
        await adaptive.adapt()  # the one that has not come goes, and nobody needs to say so
        assert [type(request) for request in cluster.scheduler_comm.asked] == [AdaptiveTarget]
        assert cluster.calls == [("scale_down", [1])]

    run(test)


def test_one_that_got_work_or_holds_what_nobody_can_take_stays() -> None:
    async def test() -> None:
        cluster = Fake(0, 1, 2)
        cluster.scheduler_comm.missable = [1, 2]
        cluster.scheduler_comm.stay = {"tcp://1"}
        adaptive = made(cluster)
        await adaptive.adapt()
        assert cluster.plan == {0, 1}
        cluster.scheduler_comm.missable = [1]
        await adaptive.adapt()
        assert cluster.calls == [("scale_down", [2])]
        retirements = [request for request in cluster.scheduler_comm.asked if type(request) is Retire]
        assert len(retirements) == 1  # it is left alone for a while

    run(test)


def test_above_the_maximum_workers_go_that_work() -> None:
    async def test() -> None:
        cluster = Fake(0, 1, 2)
        cluster.scheduler_comm.target = 3
        cluster.scheduler_comm.missable = [2]
        await made(cluster, maximum=2).adapt()
        assert cluster.scheduler_comm.last(WorkersToClose).idle_only is False
        assert cluster.scheduler_comm.last(Retire).idle_only is False
        assert cluster.plan == {0, 1}

    run(test)


@pytest.mark.parametrize("key", ["host", lambda worker: worker.host, lambda worker: (worker.host, worker.host)])
def test_workers_of_a_group_go_together(key: Any) -> None:
    async def test() -> None:
        cluster = Fake(0, 1, 2)
        cluster.hosts = {1: "other"}
        await made(cluster, worker_key=key).adapt()
        groups = cluster.scheduler_comm.last(WorkersToClose).groups
        assert groups["tcp://0"] == groups["tcp://2"] != groups["tcp://1"]

    run(test)


def test_a_retirement_that_takes_long_holds_up_no_growth() -> None:
    async def test() -> None:
        cluster = Fake(0, 1, 2)
        scheduler = cluster.scheduler_comm
        scheduler.gate = asyncio.Event()
        scheduler.target = 1
        scheduler.missable = [2, 1]
        adaptive = made(cluster)
        shrinking = asyncio.ensure_future(adaptive.adapt())
        await until(lambda: any(type(request) is Retire for request in scheduler.asked))
        scheduler.target = 3
        await adaptive.adapt()
        assert cluster.calls == [("scale", 5)]  # the two that leave are still in the plan
        await adaptive.adapt()
        assert cluster.calls == [("scale", 5)]
        scheduler.gate.set()
        await shrinking
        assert cluster.plan == {0, 3, 4}

    run(test)


def test_rounds_do_not_overtake_each_other() -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.scheduler_comm.target = 2
        adaptive = made(cluster)
        await asyncio.gather(*[adaptive.adapt() for _ in range(5)])
        assert cluster.calls == [("scale", 2)]

    run(test)


# ---------------------------------------------------------------- what goes wrong


def test_an_error_is_told_with_what_to_do_and_the_next_round_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.scheduler_comm.target = 2
        cluster.broken = 5
        adaptive = made(cluster)
        while cluster.broken:
            cluster.scheduler_comm.target += 1
            await adaptive.adapt()
        assert len(cluster.plan) == 0
        await adaptive.adapt()
        assert cluster.plan

    run(test)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    texts = [record.getMessage() for record in told if "a round failed" in record.getMessage()]
    assert len(texts) == 3  # the first, the second and the fourth of five
    assert "OSError: the backend is not well" in texts[0]
    assert "adaptive.stop()" in texts[0]
    assert [record.exc_info is not None for record in told][:2] == [True, False]


def test_workers_that_have_retired_are_closed_when_the_cluster_can() -> None:
    async def test() -> None:
        cluster = Fake(0, 1)
        cluster.scheduler_comm.target = 1
        cluster.scheduler_comm.missable = [1]
        cluster.broken = 2
        adaptive = made(cluster)
        for _ in range(3):
            await adaptive.adapt()
        assert cluster.calls == [("scale_down", [1])] * 3
        assert cluster.plan == {0}
        assert len([request for request in cluster.scheduler_comm.asked if type(request) is Retire]) == 1

    run(test)


def test_half_of_all_calls_may_fail() -> None:
    async def test() -> None:
        cluster = Fake()
        scheduler = cluster.scheduler_comm
        adaptive = made(cluster, maximum=4, wait_count=2)
        for target in (4, 0, 3, 1):
            scheduler.target = target
            for number in range(30):
                cluster.broken = number % 2
                scheduler.missable = sorted(cluster.plan)[: max(0, len(cluster.plan) - target)]
                await adaptive.adapt()
            assert len(cluster.plan) == target

    run(test)


def test_workers_that_do_not_come_are_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.scheduler_comm.target = 2
        adaptive = made(cluster)
        for _ in range(2):
            await adaptive.adapt()
            cluster.plan.clear()
            cluster.observed.clear()

    run(test)
    assert "gone without having joined, 1 times on end; the next attempt follows after 2 rounds" in caplog.text


def test_without_a_scheduler_there_are_no_rounds(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.scheduler_comm = None
        await made(cluster).adapt()
        assert cluster.calls == []

    run(test)
    assert "not connected to its scheduler" in caplog.text


# ---------------------------------------------------------------- its life


def test_rounds_begin_at_once_and_end_with_the_cluster() -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.scheduler_comm.target = 1
        adaptive = Adaptive(cluster, interval="10ms")
        assert adaptive.state == "starting"
        await until(lambda: cluster.calls)
        assert adaptive.state == "running"
        assert adaptive.periodic_callback is not None
        assert adaptive.periodic_callback.is_running()
        assert adaptive.periodic_callback.callback_time == 10.0
        before = len(cluster.scheduler_comm.asked)
        await until(lambda: len(cluster.scheduler_comm.asked) > before + 2)
        cluster.status = "closed"
        await until(lambda: adaptive.state == "stopped")
        await until(lambda: not adaptive.periodic_callback.is_running())
        adaptive.stop()

    run(test)


def test_a_cluster_that_starts_is_waited_for() -> None:
    async def test() -> None:
        cluster = Fake()
        cluster.status = "starting"
        adaptive = Adaptive(cluster, interval="1ms", minimum=1)
        await until(lambda: adaptive.state == "running")
        assert cluster.calls == []
        cluster.status = "running"
        await until(lambda: cluster.calls == [("scale", 1)])
        adaptive.stop()

    run(test)


def test_what_is_under_way_ends_with_the_cluster() -> None:
    async def test() -> None:
        cluster = Fake(0)
        cluster.scheduler_comm.gate = asyncio.Event()
        cluster.scheduler_comm.missable = [0]
        adaptive = Adaptive(cluster, interval="1s", wait_count=1)
        await until(lambda: any(type(request) is Retire for request in cluster.scheduler_comm.asked))
        cluster.status = "closing"
        adaptive.stop("the cluster closes")
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert cluster.calls == []

    run(test)


def test_without_an_interval_there_are_no_rounds_of_its_own() -> None:
    adaptive = made(Fake())
    assert adaptive.state == "inactive"
    assert adaptive.periodic_callback is None
    adaptive.stop()
    assert adaptive.state == "inactive"


def test_rounds_are_stopped_and_cancelled() -> None:
    async def test() -> None:
        count = 0
        ended = asyncio.Event()

        async def call() -> None:
            nonlocal count
            count += 1
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        rounds = Rounds(call, 0.001)
        assert "stopped" in repr(rounds)
        rounds.start()
        rounds.start()
        await until(lambda: count >= 3)
        rounds.stop()
        assert not rounds.is_running()
        before = count
        await asyncio.sleep(0)
        assert not ended.is_set()
        rounds.cancel()
        await ended.wait()
        assert before <= count <= before + 1  # one may have been about to begin

    run(test)


# ---------------------------------------------------------------- arguments


def test_defaults_are_those_of_the_configuration() -> None:
    adaptive = made(Fake(), wait_count=None)
    assert (adaptive.minimum, adaptive.maximum, adaptive.wait_count) == (0, inf, 3)
    assert adaptive.target_duration == 5.0
    assert Adaptive.__name__ in repr(adaptive)


def test_the_configuration_may_say_otherwise() -> None:
    import dask.config

    changed = {"minimum": 2, "maximum": "inf", "wait-count": 7, "target-duration": "1m", "interval": None}
    with dask.config.set({f"distributed.adaptive.{name}": value for name, value in changed.items()}):
        adaptive = Adaptive(Fake())
    assert (adaptive.minimum, adaptive.maximum, adaptive.wait_count) == (2, inf, 7)
    assert (adaptive.target_duration, adaptive.state) == (60.0, "inactive")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"minimum": -1}, "minimum must be an int of at least 0"),
        ({"minimum": 1.5}, "minimum must be an int"),
        ({"maximum": 2.5}, "maximum must be an int or math.inf"),
        ({"minimum": 3, "maximum": 2}, "minimum=3 is more than maximum=2"),
        ({"wait_count": 0}, "wait_count must be an int of at least 1"),
        ({"target_duration": 0}, "target_duration must be a time above 0"),
        ({"interval": -1}, "interval must be a time"),
        ({"interval": "soon"}, "no time"),
        ({"memory_ratio": -1}, "memory_ratio must be a number"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(Fake(), **wrong)


def test_wrong_names_are_refused() -> None:
    with pytest.raises(TypeError, match=r"'maxmum'.*minimum, maximum"):
        made(Fake(), maxmum=3)
    with pytest.raises(TypeError, match="worker_key must be a function"):
        made(Fake(), worker_key=3)


def test_knobs_are_changed_together_or_not_at_all() -> None:
    adaptive = made(Fake(), minimum=1, maximum=3)
    with pytest.raises(ValueError, match="more than"):
        adaptive.update(wait_count=9, minimum=4)
    assert (adaptive.minimum, adaptive.wait_count) == (1, 1)
    adaptive.update(minimum=4, maximum=5, target_duration="10s")
    assert (adaptive.minimum, adaptive.maximum, adaptive.target_duration) == (4, 5, 10.0)


# ---------------------------------------------------------------- cluster.adapt


class Bare(Cluster):
    """A cluster of nothing."""

    plan: set[Any] = set()

    async def _open(self) -> None:
        pass

    async def _shut(self) -> None:
        pass


class Noted:
    """In the place of `Adaptive`: what it was made with, and whether it was stopped."""

    def __init__(self, cluster: Any, **options: Any) -> None:
        if options.get("minimum") == "wrong":
            raise ValueError("wrong")
        self.options = options
        self.stopped = ""

    def stop(self, reason: str = "unknown") -> None:
        self.stopped = reason


def test_adapt_again_takes_the_place_and_keeps_what_was_said() -> None:
    with Bare() as cluster:
        first = cluster.adapt(Adaptive=Noted, minimum=1, interval="1s")
        assert not first.stopped
        with pytest.raises(ValueError, match="wrong"):
            cluster.adapt(Adaptive=Noted, minimum="wrong")
        assert not first.stopped
        second = cluster.adapt(Adaptive=Noted, maximum=3, minimum=2)
        assert first.stopped
        assert second.options == {"minimum": 2, "maximum": 3, "interval": "1s"}
    assert second.stopped == "the cluster closes"


def test_the_limits_of_a_cluster_by_specification() -> None:
    spec = {"cls": "windrow.Worker", "options": {"nthreads": 4, "memory_limit": "2 GiB"}}
    with SpecCluster(worker=spec) as cluster:
        adaptive = cluster.adapt(Noted, minimum_cores=6, maximum_memory="10 GiB")
        assert adaptive.options == {"minimum": 2, "maximum": 5}
        assert cluster.adapt(Noted, maximum=3).options == {"minimum": 2, "maximum": 3}
        assert cluster.adapt(Noted, minimum=1, wait_count=2).options == {"minimum": 1, "maximum": 3, "wait_count": 2}


def test_a_cluster_that_cannot_grow_says_so() -> None:
    with SpecCluster() as cluster, pytest.raises(ValueError, match="without worker="):
        cluster.adapt()


def test_limits_in_what_nobody_knows_are_refused() -> None:
    with SpecCluster(worker={"cls": "windrow.Worker", "options": {}}) as cluster:
        with pytest.raises(ValueError, match="nothing says how much threads"):
            cluster.adapt(minimum_cores=3)
        with pytest.raises(ValueError, match="nothing says how much memory"):
            cluster.adapt(maximum_memory="1 GiB")


def test_rounds_run_on_the_loop_of_the_cluster() -> None:
    threads: list[str] = []

    class Here(Adaptive):
        async def adapt(self) -> None:
            threads.append(threading.current_thread().name)
            played.set()

    played = threading.Event()
    with Bare(name="bare") as cluster:
        cluster.adapt(Here, interval="1ms")
        assert played.wait(LIMIT_S)
    assert set(threads) == {"IO loop of bare"}
