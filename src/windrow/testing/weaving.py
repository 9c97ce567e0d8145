"""Graphs, resources, tasks that leave their threads, and tasks that nobody waits for, in the virtual cluster.

What lives here: `Weaving`. What this file must never know: how the cores work inside, and what else is played.

Promises checked: what comes of a graph is as that of single tasks, whatever happens between its parts; no worker runs
more than its resources allow; a task that waits for others, on as few threads as there may be, lets them run; a task
that its client has let go of under ``fire_and_forget`` runs.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from windrow.keys import Key
from windrow.testing.virtual import Inner, VirtualClient, VirtualCluster, VirtualWorker, Work
from windrow.wire.blobs import Blob
from windrow.wire.messages import Graph, Reply, TaskOptions

if TYPE_CHECKING:
    from windrow.testing.simulation import Simulation

SUPPLY = {"gpu": 2.0, "disk": 1.0}
"""What the last worker has, which is enough for every task."""

DEMANDS = [{"gpu": 1.0}, {"gpu": 1.0}, {"gpu": 2.0}, {"disk": 0.3}, {"gpu": 1.0, "disk": 0.1}]


class Weaving:
    """What the tasks of one run do beside computing, and which of them come in graphs.

    Parameters
    ----------
    simulation
        Makes the tasks.
    seed
        Draws what is asked of them.
    """

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self.simulation = simulation
        self.cluster: VirtualCluster = simulation.cluster
        self.rng = Random(f"weaving {seed}")
        self.wandering = not simulation.poisonous and seed % 2 == 0  # a poison is to be alone in its worker
        self.demanding = seed % 5 < 2
        self.graphs = 0
        self.kept: list[Key] = []
        """Tasks that are to run though nobody holds a future on them."""
        if self.demanding:
            self.cluster.supply = lambda: self.rng.choice([{}, {"gpu": 1.0}, SUPPLY])
            self.cluster.watchers.append(self._look)

    # ------------------------------------------------------------ what tasks are like

    def change(self, key: Key, work: Work) -> None:
        """Have a new task take resources, leave its thread, wait for others, or ask to be made again."""
        rng = self.rng
        if self.demanding and rng.random() < 0.2:
            work.takes = rng.choice(DEMANDS)
        if not self.wandering or work.kind == "poison" or rng.random() < 0.7:
            return
        chance = rng.random()
        if chance < 0.2 and work.kind == "ok":
            work.reschedules = rng.randint(1, 3)
        elif chance < 0.5:
            work.leaves = rng.choice([1, 1, 2, 3, 4])
        else:
            work.inner = [
                Inner(f"{key}/{number}", salt=rng.randint(0, 99), duration_s=rng.choice([1e-5, 1e-3, 0.02]))
                for number in range(rng.choice([1, 2, 5]))
            ]
            if rng.random() < 0.3:
                work.inner[0].inner = [Inner(f"{key}/0/0", salt=rng.randint(0, 99))]

    def options(self, work: Work) -> TaskOptions:
        """Say what a task takes, and draw where it may run."""
        options = TaskOptions(resources=work.takes)
        if self.rng.random() < 0.05:
            addresses = list(self.cluster.workers)
            options.workers = self.rng.sample(addresses, min(len(addresses), self.rng.choice([0, 1, 2])))
            options.allow_other_workers = True
        return options

    # ------------------------------------------------------------ what clients do

    def act(self, client: VirtualClient) -> None:
        """Send a graph, or let go of some tasks that are to run all the same."""
        if self.rng.random() < 0.6:
            self._graph(client)
        else:
            self._forget(client)

    def _forget(self, client: VirtualClient) -> None:
        work = self.simulation.work
        keys = [key for key, future in client.futures.items() if future.status == "pending" and key in work]
        keys = self.rng.sample(keys, min(len(keys), self.rng.randint(0, 3)))

        def answered(reply: Reply) -> None:
            assert reply.error is None
            if reply.value == len(keys):
                self.kept.extend(keys)

        client.send_data("fire-and-forget", keys, answered)
        client.release(keys)

    def _graph(self, client: VirtualClient) -> None:
        """A graph in some parts, sent over some time; each names what the client holds then."""
        rng = self.rng
        self.graphs += 1
        number, numbers = self.graphs, dict[Key, int]()
        added: list[Key] = []
        parts = rng.choice([1, 1, 2, 3, 6])

        def send(part: int) -> None:
            if client.closed:
                return
            held = [
                key for key, future in client.futures.items() if future.status != "cancelled" and key not in numbers
            ]
            known = rng.sample(held, min(len(held), rng.randint(0, 3)))
            graph = Graph(number, known, [], [b"work"], [], [], [], [], [], more=part < parts)
            for key in known:
                numbers[key] = len(numbers)
            mine: list[Key] = []
            usable = [*added, *known]
            for _ in range(rng.choice([0, 1, 5, 20])):
                self._add(client, graph, numbers, usable)
                mine.append(usable[-1])
            added.extend(mine)
            wanted = [key for key in mine if rng.random() < 0.3] + (mine[-1:] if rng.random() < 0.9 else [])
            wanted += [key for key in known if rng.random() < 0.2]
            graph.wanted = [numbers[key] for key in dict.fromkeys(wanted)]
            client.send_graph(graph, list(dict.fromkeys(wanted)))
            if graph.more:
                self.cluster.clock.after(rng.choice([0.0, 0.001, 0.05]), lambda: send(part + 1))

        send(1)

    def _add(self, client: VirtualClient, graph: Graph, numbers: dict[Key, int], usable: list[Key]) -> None:
        """One more task: as a rule a new one, now and then one that another client has made."""
        rng, work_of = self.rng, self.simulation.work
        strangers = [
            key
            for key, (work, inputs) in work_of.items()
            if key not in numbers
            and key not in client.futures
            and key not in self.simulation.acting.actors  # the same cannot be had again
            and work.kind == "ok"
            and not set(inputs) - set(usable)
        ]
        if strangers and rng.random() < 0.1:
            key = rng.choice(strangers)
            work, inputs = work_of[key]
        else:
            recent = usable[-8:]
            inputs = rng.sample(recent, min(len(recent), rng.choice([0, 1, 1, 2, 5])))
            key, work = self.simulation.new_work(inputs)
            if work.kind in ("flaky", "poison"):
                work.kind = "ok"
        numbers[key] = len(numbers)
        usable.append(key)
        graph.keys.append(key)
        graph.chosen.append(0)
        blob: Blob = msgspec.msgpack.encode(work)
        graph.args.append(blob)
        graph.inputs.append([numbers[source] for source in inputs])
        options = self.options(work)
        if options not in graph.options:
            graph.options.append(options)
        graph.option.append(graph.options.index(options))

    # ------------------------------------------------------------ what must be true

    def _look(self) -> None:
        for worker in self.cluster.workers.values():
            taken: dict[str, float] = {}
            for attempt in [*worker.running, *worker.outside, *worker.returning]:
                for name, quantity in worker.works[attempt].takes.items():
                    taken[name] = taken.get(name, 0.0) + quantity
            for name, quantity in taken.items():
                assert quantity <= worker.resources.get(name, 0.0) + 1e-6, f"{worker.name} uses {quantity} of {name}"

    def settle(self) -> None:
        """Let there be a worker that has what any task asks for."""
        if self.demanding:
            self.cluster.add_worker(nanny=self.simulation.poisonous, resources=SUPPLY)

    def judge(self) -> None:
        """What is to run has run."""
        if self.simulation.sharing.may_lose:
            return
        for key in self.kept:
            if not self._needs_actor(key) and not isinstance(self.simulation.expected(key), tuple):
                assert self.cluster.runs.get(key), f"{key} was to run, and has not"

    def _needs_actor(self, key: Key) -> bool:
        """Whether an actor that is gone may be a reason not to run."""
        stack = [key]
        while stack:
            name = stack.pop()
            if name in self.simulation.acting.actors:
                return True
            if name in self.simulation.work:
                stack.extend(self.simulation.work[name][1])
        return False

    def clean_up(self) -> None:
        """Workers' own clients go."""
        for worker in self.cluster.workers.values():
            worker.close_client()

    def judge_emptiness(self) -> None:
        """Nobody is outside of the threads, and nothing stands in a pool."""
        workers: list[VirtualWorker] = list(self.cluster.workers.values())
        for worker in workers:
            left = (worker.running, worker.outside, worker.returning)
            assert not any(left), f"{worker.name} runs {left}"
            counts = (worker.core.ghosts, worker.core.running)
            assert not any(counts), f"{worker.name} counts threads that are free: {counts}"
        state = self.cluster.core.state
        assert not any(len(pool) for pool in state.pools.values()), "a pool is not empty"
        for record in state.workers.values():
            assert not any(record.used.values()) or max(record.used.values()) < 1e-9, f"{record} uses {record.used}"
