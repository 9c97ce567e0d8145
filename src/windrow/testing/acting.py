"""Actors in the virtual cluster: calls to them at any moment, and what must be true of them in the end.

What lives here: `Acting`. What this file must never know: what else a seed does.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from windrow.keys import Key
from windrow.wire.messages import Call, Reply
from windrow.wire.requests import ActorCall

if TYPE_CHECKING:
    from windrow.testing.virtual import VirtualClient, VirtualCluster, VirtualFuture, VirtualWorker


class Acting:
    """Which tasks of a run make actors, who calls them, and whether each call is answered.

    Parameters
    ----------
    cluster
        Where they live.
    seed
        Draws who calls whom.
    """

    def __init__(self, cluster: VirtualCluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = Random(f"acting {seed}")
        self.actors: dict[Key, None] = {}
        self.open: dict[tuple[str, int], Key] = {}
        """Calls that have no answer, by client and number."""
        self.bereaved: dict[Key, None] = {}
        """Actors whose worker has ended."""
        self.doomed: list[tuple[VirtualClient, VirtualFuture]] = []
        """Futures that were done on an actor when its worker ended."""
        self._clients: dict[str, VirtualClient] = {}
        cluster.on_end = self._ended

    def may_make(self, key: Key) -> bool:
        """Draw whether a new task makes an actor."""
        if self.rng.random() < 0.1:
            self.actors[key] = None
            return True
        return False

    def act(self, client: VirtualClient) -> None:
        """A client calls some of the actors that it knows of, made or not, and now and then what is none."""
        self._clients[client.id] = client
        keys = [key for key in client.futures if key in self.actors or self.rng.random() < 0.01]
        for key in self.rng.sample(keys, min(len(keys), self.rng.randint(0, 3))):
            client.next_call += 1
            mark = client.id, client.next_call
            self.open[mark] = key
            client.questions[client.next_call] = lambda reply, mark=mark: self._answered(mark, reply)  # type: ignore[misc]
            client.to_scheduler.send([Call(client.next_call, ActorCall(key, "name"))])

    def _answered(self, mark: tuple[str, int], reply: Reply) -> None:
        key = self.open.pop(mark)
        if reply.error is None:
            answer, failure = reply.blobs
            assert answer is None or failure is None, f"{key} gives an answer and a failure"
            assert answer is None or msgspec.msgpack.decode(answer) == key, f"{key} was called, and another answers"  # type: ignore[arg-type]

    def _ended(self, worker: VirtualWorker) -> None:
        self.bereaved.update(dict.fromkeys(hosted.key for hosted in worker.core.actors.values()))
        record = self.cluster.core.state.workers.get(worker.address)
        for task in record.actors if record is not None else ():
            for client in self._clients.values():
                future = client.futures.get(task.key)
                if future is not None and future.status == "finished" and task.id in worker.core.actors:
                    self.doomed.append((client, future))

    def has_lost(self, key: Key, root: Key, work: dict[Key, tuple[Any, list[Key]]]) -> bool:
        """Whether a task may have failed with an actor that it is or needs.

        The actor's worker has ended; or nobody wanted the actor any more, and then the task was to be made again.
        """
        gone = root in self.bereaved or (root in self.actors and root != key and root in self.cluster.runs)
        stack = [key] if gone else []
        while stack:
            name = stack.pop()
            if name == root:
                return True
            if name in work:
                stack.extend(work[name][1])
        return False

    def judge(self) -> None:
        """Each call was answered, no actor that was lost is back, and the scheduler knows where each one lives."""
        for client, future in self.doomed:
            alive = not client.closed and client.futures.get(future.key) is future
            assert not alive or future.status in ("error", "cancelled"), f"{future.key}, an actor, was made again"
        closed = {mark for mark in self.open if mark[0] not in self.cluster.core.state.clients}
        assert not self.open.keys() - closed, f"calls without answers: {self.open}"
        for task in self.cluster.core.state.tasks.values():
            if task.key in self.actors and task.holders:
                homes = [address for address, worker in self.cluster.workers.items() if task.id in worker.core.actors]
                thought = [holder.address for holder in task.holders if task in holder.actors]
                assert homes == thought, f"{task} lives on {homes}, not {thought}"
