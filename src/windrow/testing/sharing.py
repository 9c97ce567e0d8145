"""What virtual clients do with shared things: locks, queues, variables, events; and what must be true of it.

What lives here: `Sharing`. What this file must never know: how the services work inside, and what else is played.

Promises checked, as the clients see them: no more holders of a name than there may be, and none that was given up; each
value of a queue is got once, and none is lost but with a client that dies; a future out of a value is as good as any
other; each question is answered. The services' own invariants are checked after every step, with the scheduler's.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from windrow.keys import Key, from_plain
from windrow.primitives import event, multi_lock, queue, semaphore, variable
from windrow.primitives.shared import Taken
from windrow.testing.virtual import VirtualClient, VirtualCluster
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply

SEMAPHORES = {"lock": 1, "other lock": 1, "semaphore": 3}
NAMES = ["n1", "n2", "n3", "n4"]
QUEUES = {"bounded": 2, "endless": 0}
VARIABLE = "variable"
EVENT = "event"


class Hold:
    """A lease as its holder knows it: the scheduler has heard of it at this time or later."""

    def __init__(self, client: VirtualClient, names: list[Key], since_s: float, lease_s: float) -> None:
        self.client = client
        self.names = names
        self.until_s = since_s + lease_s


class Sharing:
    """Everything that the clients of one run share.

    Parameters
    ----------
    cluster
        Where they live.
    seed
        Draws what they do.
    """

    def __init__(self, cluster: VirtualCluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = Random(f"sharing {seed}")
        self.holds: dict[str, Hold] = {}
        """Leases that clients hold for sure, by id."""
        self.count = 0
        self.put: dict[bytes, bool] = {}
        """Values that are in a queue or were, and whether there are futures in them."""
        self.got: dict[bytes, None] = {}
        self.lost_most = 0
        """How many values may have been on their way to clients that have died."""
        self.wishes: dict[VirtualClient, dict[int, int]] = {}
        """How many values each open question may bring."""
        self.open: dict[VirtualClient, dict[int, None]] = {}
        self.restarted = False
        """Whether all tasks were forgotten, and the values with futures in them."""
        self.cancelled = False
        """Whether tasks may have been taken from others who want them."""

    @property
    def may_lose(self) -> bool:
        """Whether a future may have come to nothing: by somebody's order, or with the worker that held its data."""
        return self.cancelled or self.restarted or bool(self.cluster.scattered and self.cluster.ended)

    # ------------------------------------------------------------ what clients do

    def act(self, client: VirtualClient) -> None:
        """Do something with something shared."""
        self.rng.choice([self._semaphore, self._names, self._put, self._get, self._variable, self._event])(client)

    def _new_id(self) -> str:
        self.count += 1
        return f"id{self.count}"

    def _ask(
        self,
        client: VirtualClient,
        service: str,
        request: Any,
        blobs: list[Blob],
        then: Callable[[Reply], None],
        undo: Any = None,
    ) -> int:
        """Ask; perhaps stop waiting after a while, or give the whole thing up as Ctrl-C does."""
        calls = self.open.setdefault(client, {})
        given_up: list[bool] = []

        def answered(reply: Reply) -> None:
            del calls[call]
            assert reply.error is None or self.may_lose, f"{client.id} is refused {request}"
            if reply.error is not None or reply.late:
                self.wishes.get(client, {}).pop(call, None)
                return
            if given_up and callable(undo):
                undo(reply)
            elif not given_up:
                then(reply)

        call = client.ask(service, request, blobs, answered)
        calls[call] = None
        if self.rng.random() < 0.3:
            give_up = undo is not None and self.rng.random() < 0.5

            def stop() -> None:
                if client.closed or call not in calls:
                    return
                client.withdraw(call)
                if give_up:
                    given_up.append(True)
                    if not callable(undo):
                        client.ask(service, undo)

            self.cluster.clock.after(self.rng.random() * self.rng.choice([0.001, 0.1]), stop)
        return call

    def _semaphore(self, client: VirtualClient) -> None:
        name, lease, asked_s = self.rng.choice(list(SEMAPHORES)), self._new_id(), self.cluster.clock.now_s
        request = semaphore.Acquire(name, lease, SEMAPHORES[name], self.rng.random() < 0.8, True, name == "semaphore")

        def granted(reply: Reply) -> None:
            if reply.value is not None:
                hold = self.holds[lease] = Hold(client, [name], asked_s, reply.value)
                held = [one for one in self._valid() if one.names == [name]]
                assert len(held) <= SEMAPHORES[name], f"{len(held)} hold {name}"
                if self.rng.random() < 0.3:
                    self.cluster.clock.after(reply.value / 3, lambda: refresh(hold, reply.value))
                self._release_later(client, "semaphores", lease, semaphore.Release(name, lease))

        def refresh(hold: Hold, lease_s: float) -> None:
            if lease in self.holds and not client.closed:
                said_s = self.cluster.clock.now_s

                def refreshed(reply: Reply) -> None:
                    if not reply.value:
                        hold.until_s = max(hold.until_s, said_s + lease_s)

                client.ask("semaphores", semaphore.Refresh([name], [[lease]]), [], refreshed)

        self._ask(client, "semaphores", request, [], granted, undo=semaphore.Release(name, lease))

    def _names(self, client: VirtualClient) -> None:
        names: list[Key] = list(self.rng.sample(NAMES, self.rng.randint(1, len(NAMES))))
        lease = self._new_id()

        def granted(reply: Reply) -> None:
            if reply.value:
                self.holds[lease] = Hold(client, names, self.cluster.clock.now_s, float("inf"))
                held = [name for one in self._valid() for name in one.names if name in NAMES]
                assert len(held) == len(set(held)), f"{held} are held, some twice"
                self._release_later(client, "multi-locks", lease, multi_lock.Release(lease))

        request = multi_lock.Acquire(lease, names, len(names), self.rng.random() < 0.8)
        self._ask(client, "multi-locks", request, [], granted, undo=multi_lock.Release(lease))

    def _valid(self) -> list[Hold]:
        now_s = self.cluster.clock.now_s
        return [hold for hold in self.holds.values() if not hold.client.closed and hold.until_s > now_s]

    def _release_later(self, client: VirtualClient, service: str, lease: str, request: Any) -> None:
        def release() -> None:
            if not client.closed:
                del self.holds[lease]
                client.ask(service, request)

        if service == "multi-locks" or self.rng.random() < 0.9:  # else the lease expires
            self.cluster.clock.after(self.rng.random() * self.rng.choice([0.001, 0.1, 1.0]), release)

    def _value(self, client: VirtualClient) -> tuple[bytes, list[Key]]:
        """Something to store: its pickle names it, and futures of the client may be in it."""
        keys = [key for key, future in client.futures.items() if future.status in ("pending", "finished")]
        keys = self.rng.sample(keys, min(len(keys), self.rng.choice([0, 1, 2])))
        return self._new_id().encode(), keys

    def _put(self, client: VirtualClient) -> None:
        name = self.rng.choice(list(QUEUES))
        value, keys = self._value(client)

        def was_put(reply: Reply) -> None:
            self.put[value] = bool(keys)

        request = queue.Put(name, keys, QUEUES[name], self.rng.random() < 0.8)
        self._ask(client, "queues", request, [value], was_put)

    def _get(self, client: VirtualClient) -> None:
        name, count = self.rng.choice(list(QUEUES)), self.rng.choice([0, 1, 1, 1, 3])
        wishes = self.wishes.setdefault(client, {})

        def got(reply: Reply) -> None:
            for blob in reply.blobs:
                assert isinstance(blob, bytes)
                assert blob not in self.got, f"{blob!r} is got twice"
                self.got[blob] = None
            wishes.pop(call, None)
            self._bind(client, "queues", reply)

        def give_back(reply: Reply) -> None:
            wishes.pop(call, None)
            nothing: list[list[Key]] = [[] for _ in reply.blobs]
            number, keys = reply.value or (0, nothing)
            client.ask("queues", queue.PutBack(name, keys, number), [blob for blob in reply.blobs if blob is not None])

        request = queue.Get(name, count, QUEUES[name], self.rng.random() < 0.8)
        call = self._ask(client, "queues", request, [], got, undo=give_back)
        wishes[call] = count or 1000

    def _bind(self, client: VirtualClient, service: str, reply: Reply) -> None:
        """Make futures of what was handed over."""
        if reply.value is not None:
            number, columns = reply.value
            client.want([from_plain(key) for keys in columns for key in keys])
            client.ask(service, Taken(number))

    def _variable(self, client: VirtualClient) -> None:
        chance = self.rng.random()
        if chance < 0.5:
            value, keys = self._value(client)
            self._ask(client, "variables", variable.Set(VARIABLE, keys), [value], lambda reply: None)
        elif chance < 0.9:
            request = variable.Get(VARIABLE, self.rng.random() < 0.8)
            then = lambda reply: self._bind(client, "variables", reply)  # noqa: E731
            self._ask(client, "variables", request, [], then, undo=lambda reply: self._disown(client, reply))
        else:
            self._ask(client, "variables", variable.Delete(VARIABLE), [], lambda reply: None)

    def _disown(self, client: VirtualClient, reply: Reply) -> None:
        if reply.value is not None:
            client.ask("variables", Taken(reply.value[0]))

    def _event(self, client: VirtualClient) -> None:
        kind = self.rng.choice([event.Wait, event.Wait, event.Set, event.Clear, event.IsSet])
        self._ask(client, "flags", kind(EVENT), [], lambda reply: None)

    # ------------------------------------------------------------ what happens to clients

    def died(self, client: VirtualClient) -> None:
        """A client has gone with all that was on its way to it."""
        self.lost_most += sum(self.wishes.pop(client, {}).values())
        self.open.pop(client, None)

    def stop_waiting(self) -> None:
        """Nobody waits any longer."""
        for client, calls in self.open.items():
            for call in list(calls):
                client.withdraw(call)

    # ------------------------------------------------------------ what must be true

    def judge(self) -> None:
        """Check that all is answered and no value is lost."""
        for client, calls in self.open.items():
            assert not calls, f"{client.id} gets no answer to {list(calls)}"
        queues: Any = self.cluster.core.desk.services["queues"]
        there = {item.blob for record in queues.records.values() for item in record.items}
        assert there.isdisjoint(self.got), f"{there & set(self.got)} are got, and in the queue"
        missing = [
            value
            for value, has_futures in self.put.items()
            if value not in there and value not in self.got and not (has_futures and self.restarted)
        ]
        assert len(missing) <= self.lost_most, f"{missing} were put, and are lost"

    def clean_up(self, clients: list[VirtualClient]) -> None:
        """Have everything forgotten."""
        for client in clients:
            for name in QUEUES:
                client.ask("queues", queue.Close(name))
            client.ask("variables", variable.Delete(VARIABLE))
            client.ask("flags", event.Clear(EVENT))

    def judge_emptiness(self) -> None:
        """Check that the services keep nothing."""
        services: dict[str, Any] = dict(self.cluster.core.desk.services)
        kept = {
            "semaphores": services["semaphores"].records,
            "names": services["multi-locks"].locked,
            "flags": [*services["flags"].set, *services["flags"].waiting],
            "queues": [*services["queues"].records, *services["queues"].held.handed],
            "variables": [*services["variables"].items, *services["variables"].held.handed],
            "questions": self.cluster.core.desk.questions,
        }
        assert not any(kept.values()), f"the services keep {kept}"
