"""One run of the virtual cluster, drawn from a seed: what is asked of it, what goes wrong, and what must be true.

What lives here: `Simulation`, `run_seed`. What this file must never know: how the cluster works inside.

Promises checked: the scheduler's invariants after every step; every future that is still wanted ends as the graph
says (its value, or the failure of the task that raised); nothing waits for ever; and when all is released, neither the
scheduler nor any worker keeps anything.
"""

from __future__ import annotations

import zlib
from functools import partial
from random import Random
from typing import Any

import msgspec

from windrow.deploy.policy import AdaptivePolicy
from windrow.errors import ActorLostError, KilledWorker
from windrow.keys import Key
from windrow.scheduler.state import Unexpected
from windrow.testing.acting import Acting
from windrow.testing.adapting import Adapting
from windrow.testing.cutting import Cutting
from windrow.testing.moving import Moving
from windrow.testing.pressing import Pressing
from windrow.testing.sharing import Sharing
from windrow.testing.virtual import VirtualClient, VirtualCluster, VirtualWorker, Work, value_of
from windrow.testing.weaving import Weaving
from windrow.wire import failure

STEPS_MAX = 200_000

SETTLED_S = 280.0
"""Virtual time in which everything must have ended: less than it takes to give a silent worker up."""


class SimulationFailed(AssertionError):
    """A promise was broken; the message holds the seed, how to replay it, and the end of the trace."""


class Simulation:
    """One seed's run.

    Parameters
    ----------
    seed
        Draws everything: sizes, graphs, durations, delays, faults.

    Examples
    --------
    >>> Simulation(7).run() == Simulation(7).run()
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = self.rng = Random(seed)
        self.poisonous = rng.random() < 0.2
        self.deadly = rng.random() < 0.6
        self.cluster = VirtualCluster(rng, delay_s=rng.choice([0.0002, 0.002, 0.02]))
        if rng.random() < 0.3:
            self.cluster.fetch_failures = 0.2
        self.work: dict[Key, tuple[Work, list[Key]]] = {}
        self.scattered: dict[Key, int] = {}
        self.fragile = False
        """Whether scattered data may have been lost with its worker."""
        self.clients: list[VirtualClient] = []
        self.sharing = Sharing(self.cluster, seed)
        self.acting = Acting(self.cluster, seed)
        self.moving = Moving(self.cluster, seed)
        self.weaving = Weaving(self, seed)
        self.adapting = Adapting(
            self.cluster,
            AdaptivePolicy(minimum=seed % 2, maximum=5, wait_count=1 + seed % 3),
            target_duration_s=0.01,
            start_s=0.01,
            add=lambda: self.cluster.add_worker(nanny=self.poisonous or seed % 4 == 0),
        )
        self.adapting.on_let_go = self.moving.note_let_go
        self.pressing = Pressing(self.cluster, seed)
        self.cutting = Cutting(self, seed)
        self.kills = 0

    def run(self) -> int:
        """Play the seed; return a digest of its trace. Raises `SimulationFailed`."""
        try:
            self._start()
            self._play()
            self._settle()
            self._judge()
            self._clean_up()
        except (AssertionError, Unexpected) as error:
            trace = "\n".join(self.cluster.trace[-60:])
            raise SimulationFailed(
                f"{error}\nseed {self.seed}; replay: python -m windrow.testing --seed {self.seed} --trace\n{trace}"
            ) from error
        return zlib.crc32("\n".join(self.cluster.trace).encode())

    # ------------------------------------------------------------ the play

    def _start(self) -> None:
        rng, cluster = self.rng, self.cluster
        for _ in range(rng.randint(1, 4)):
            nthreads = 1 if self.poisonous else rng.choice([1, 1, 2, 4])
            nanny = self.poisonous or rng.random() < 0.5
            cluster.add_worker(nthreads, nanny, slowness=rng.choice([1.0, 1.0, 1.0, 30.0]))
        self.clients = [VirtualClient(cluster, f"c{number}") for number in range(rng.choice([1, 1, 2]))]
        for client in self.clients:
            client.on_gone = partial(self.sharing.died, client)

    def _play(self) -> None:
        rng, cluster = self.rng, self.cluster
        for _ in range(rng.randint(5, 25)):
            client = rng.choice(self.clients)
            if client.closed:
                continue
            action = rng.choice([self._submit_many, self._submit_chain, self._submit_tree, self._merge, self._scatter])
            action(client)
            if self.seed % 3:
                self.moving.act(self.clients)
            for _ in range(self.seed % 4):
                self.sharing.act(client)
            self.acting.act(client)
            if self.seed % 5:
                self.pressing.act()
            if self.seed % 4:
                self.weaving.act(client)
            if self.seed % 5 == 2:
                self.adapting.round()
            if rng.random() < 0.4:
                self._meddle(client)
            self.cutting.act()
            if self.deadly and rng.random() < 0.25:
                self._disturb()
            for _ in range(rng.choice([0, 5, 50, 200])):
                cluster.clock.step()

    def new_work(self, inputs: list[Key]) -> tuple[Key, Work]:
        """Draw a task that takes these."""
        rng = self.rng
        salt = len(self.work)
        kind = rng.choices(["ok", "fail", "flaky", "poison"], [90, 3, 5, 2 if self.poisonous else 0])[0]
        duration = rng.choice([1e-6, 1e-5, 1e-3, 0.05])
        nbytes = rng.choice([10, 10, 10, 5000])
        work = Work(salt, kind, duration, nbytes, fails=rng.randint(1, 2))
        key = f"t{salt}"
        self.work[key] = (work, inputs)
        self.weaving.change(key, work)
        return key, work

    def _submit(self, client: VirtualClient, inputs: list[Key]) -> Key:
        key, work = self.new_work(inputs)
        retries = work.fails if work.kind == "flaky" and self.rng.random() < 0.8 else 0
        if work.kind == "flaky" and retries < work.fails:
            work.kind = "fail"
        priority = self.rng.choice([0.0, 0.0, 0.0, 5.0])
        options = self.weaving.options(work)
        client.submit(key, work, inputs, retries, priority, self.acting.may_make(key), options)
        return key

    def _some(self, client: VirtualClient, most: int) -> list[Key]:
        keys = [key for key, future in client.futures.items() if future.status != "cancelled"]
        return self.rng.sample(keys, min(len(keys), self.rng.randint(0, most)))

    def _submit_many(self, client: VirtualClient) -> None:
        inputs = self._some(client, 1)
        for _ in range(self.rng.choice([1, 3, 20])):
            self._submit(client, inputs)

    def _submit_chain(self, client: VirtualClient) -> None:
        inputs = self._some(client, 1)
        keep = self.rng.random() < 0.5
        for _ in range(self.rng.randint(2, 10)):
            key = self._submit(client, inputs)
            if not keep and inputs and inputs[0] in client.futures:
                client.release(inputs[:1])
            inputs = [key]

    def _submit_tree(self, client: VirtualClient) -> None:
        level = [self._submit(client, []) for _ in range(self.rng.choice([4, 8, 16]))]
        keep = self.rng.random() < 0.5
        while len(level) > 1:
            above = [self._submit(client, level[i : i + 2]) for i in range(0, len(level), 2)]
            if not keep:
                client.release(level)
            level = above

    def _merge(self, client: VirtualClient) -> None:
        self._submit(client, self._some(client, 40))

    def _scatter(self, client: VirtualClient) -> None:
        key = f"s{len(self.scattered)}"
        nbytes = self.rng.choice([10, 5000])
        self.scattered[key] = self.rng.randint(0, 1000)
        self.fragile = True  # a small value is, too, when it was released and what came of it must be made again
        client.scatter(key, self.scattered[key], nbytes)

    # ------------------------------------------------------------ what goes wrong

    def _meddle(self, client: VirtualClient) -> None:
        rng = self.rng
        keys = self._some(client, 5)
        chance = rng.random()
        if not keys:
            return
        if chance < 0.6:
            client.release(keys)
            again = [key for key in keys if key in self.work and rng.random() < 0.3]
            for key in again:
                work, inputs = self.work[key]
                if all(source in client.futures for source in inputs) and work.kind in ("ok", "fail"):
                    options = self.weaving.options(work)
                    client.submit(key, work, inputs, actor=key in self.acting.actors, options=options)
        elif chance < 0.8:
            self.sharing.cancelled = True
            client.cancel(keys, force=rng.random() < 0.5)
        elif len(self.clients) > 1 and not self.clients[1].closed:
            self.clients[1].close()
            self.sharing.died(self.clients[1])

    def _disturb(self) -> None:
        rng, cluster = self.rng, self.cluster
        workers: list[VirtualWorker] = list(cluster.workers.values())
        chance = rng.random()
        if chance < 0.4 or not workers:
            cluster.add_worker(nanny=self.poisonous or rng.random() < 0.5)
        elif chance < 0.55:
            rng.choice(workers).leave()
        elif chance < 0.58:
            self.sharing.restarted = True
            rng.choice([client for client in self.clients if not client.closed]).restart()
        elif self.kills < 3:  # fewer than would make innocent tasks look guilty
            self.kills += 1
            # Without a nanny's word, a task is blamed that was sent to a worker whose death nobody knew of yet.
            together = chance < 0.7 and all(worker.nanny for worker in workers)
            for worker in workers if together else [rng.choice(workers)]:
                worker.die("killed")

    # ------------------------------------------------------------ what must be true

    def _settle(self) -> None:
        """Let everything end, with at least one worker to do it."""
        clock = self.cluster.clock
        self.cluster.fetch_failures = 0.0
        self.cutting.settle()
        self.moving.settle()
        self.adapting.settle()
        self.pressing.settle()
        self.weaving.settle()
        if not self.cluster.workers or self.rng.random() < 0.3:
            self.cluster.add_worker(nanny=self.poisonous)
        limit, limit_s = clock.steps + STEPS_MAX, clock.now_s + SETTLED_S
        while clock.step():
            assert clock.steps < limit, "it goes on and on"
            assert clock.now_s < limit_s, "it goes on and on"
        self.sharing.stop_waiting()
        while clock.step():
            assert clock.steps < limit, "it goes on and on"
            assert clock.now_s < limit_s, "it goes on and on"

    def expected(self, key: Key, memo: dict[Key, Any] | None = None) -> Any:
        """Return a key's value, or ('error', the keys that may be blamed)."""
        memo = {} if memo is None else memo
        if key in memo:
            return memo[key]
        if key in self.scattered:
            return self.scattered[key]
        work, inputs = self.work[key]
        values = [self.expected(source, memo) for source in inputs]
        errors = {name for value in values if isinstance(value, tuple) for name in value[1]}
        if errors:
            memo[key] = ("error", errors)
        elif work.kind in ("fail", "poison"):
            memo[key] = ("error", {key})
        else:
            memo[key] = value_of(work, values)
        return memo[key]

    def _judge(self) -> None:
        self.sharing.judge()
        self.acting.judge()
        self.pressing.judge()
        self.weaving.judge()
        self.cutting.judge()
        self.moving.judge([client for client in self.clients if not client.closed])
        memo: dict[Key, Any] = {}
        for client in self.clients:
            if client.closed:
                continue
            for key, future in client.futures.items():
                what = f"{client.id}'s future {key}"
                if future.status == "cancelled":
                    assert self.sharing.may_lose, f"{what} is cancelled, and nobody did it"
                    continue  # by a force, by an input that was cancelled, or scattered data that died
                expected = self.expected(key, memo)
                if future.status == "error" and self.acting.has_lost(key, self._root(future.error), self.work):
                    continue
                if isinstance(expected, tuple):
                    assert future.status == "error", f"{what} is {future.status}, not error"
                    assert self._root(future.error) in expected[1], f"{what} blames {self._root(future.error)}"
                else:
                    assert future.status == "finished", f"{what} is {future.status}, not finished ({future.error!r})"
                    assert future.value == expected, f"{what} is {future.value}, not {expected}"

    def _root(self, error: bytes) -> str:
        try:
            return str(msgspec.msgpack.decode(error))
        except msgspec.DecodeError:
            killed = failure.load(error)
            assert isinstance(killed, KilledWorker | ActorLostError), killed
            return str(killed.key)

    def _clean_up(self) -> None:
        self.moving.clean_up()
        self.weaving.clean_up()
        self.adapting.close()
        self.sharing.clean_up([client for client in self.clients if not client.closed])
        while self.cluster.clock.step():
            pass
        for client in self.clients:
            if not client.closed:
                client.release(list(client.futures))
                client.close()
        while self.cluster.clock.step():
            pass
        state = self.cluster.core.state
        assert not state.tasks, f"the scheduler keeps {list(state.tasks.values())[:5]}"
        assert not state.functions, "the scheduler keeps functions"
        assert not state.relays, "the scheduler waits for answers"
        assert not state.clients, f"the scheduler keeps {state.clients}"
        self.sharing.judge_emptiness()
        self.moving.judge_emptiness()
        self.weaving.judge_emptiness()
        assert not state.queue, "the queue is not empty"
        for record in state.workers.values():
            assert record.threads == record.nthreads, f"{record} is thought to run what it has ended"
        for worker in self.cluster.workers.values():
            core = worker.core
            left = (core.data, core.attempts, core.waiting_for, core.fetching, core.copying, core.functions)
            assert not core.actors, f"{worker.name} keeps {core.actors}"
            assert not any(left), f"{worker.name} keeps {left}"


def run_seed(seed: int) -> int:
    """Run one seed; return the digest of its trace."""
    return Simulation(seed).run()
