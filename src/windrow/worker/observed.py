"""A worker's own dashboard: its address, and what the worker says of itself there.

What lives here: `Observed`. What this file must never know: how it looks (``windrow.observe``), what a task is to do.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import structs

from windrow import logs, security, transport
from windrow.dashboard.dashboard import Dashboard
from windrow.keys import label
from windrow.pulse import Pulse
from windrow.roles import Role, token
from windrow.transport import Link, Listener
from windrow.wire.messages import Call, HelloObserver, Message, Reply
from windrow.wire.requests import WorkerFacts
from windrow.worker import facts

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["Observed"]

LOG_RECORDS = 100
TASKS_MAX = 200
"""So many tasks are told of."""


class Observed:
    """What a worker shows.

    Parameters
    ----------
    worker
        The worker.
    address, prefix
        Where it shows itself (None: nowhere), and what is before its paths; see `Dashboard`.
    """

    def __init__(self, worker: WorkerServer, address: str | int | None, prefix: str | None) -> None:
        self.worker = worker
        self.dashboard = Dashboard(address, self._make_options, worker.config.host, prefix)
        self.pulse = Pulse()
        self._listener: Listener | None = None
        self._reached: dict[str, Any] = {}

    @property
    def services(self) -> dict[str, int]:
        """The port of the dashboard, by its name."""
        return {} if self.dashboard.port is None else {"dashboard": self.dashboard.port}

    def close(self) -> None:
        """End the process, and give the address back."""
        self.pulse.stop()
        self.dashboard.stop()
        if self._listener is not None:
            self._listener.close()

    def takes(self, link: Link, message: Message) -> bool:
        """Take what an observer says; False for any other message."""
        if type(message) is HelloObserver:
            return True
        if type(message) is Call and type(message.request) is WorkerFacts:
            self.worker.background(self._answer(link, message.id))
            return True
        return False

    async def _make_options(self) -> dict[str, Any]:
        """Return how the dashboard's process reaches this worker, which opens a port for it if it has none."""
        worker = self.worker
        if not self._reached:
            address, secret = worker.address, worker.secret
            certificates = None if worker.security is None else worker.security.to_record()
            if not address.startswith(("tcp://", "tls://")) or secret is None:
                secret = security.new_secret()
                self._listener = await transport.listen("tcp://127.0.0.1:0", worker.answers.accept, secret=secret)
                address = self._listener.address
                if worker.ended.done():  # meanwhile
                    self._listener.close()
            self._reached = {
                "address": address,
                "secret": token(secret, Role.WATCH).hex(),
                "certificates": certificates,
                "party": "worker",
            }
        return self._reached

    async def _answer(self, link: Link, call: int) -> None:
        worker = self.worker
        with worker.executor.lock:
            attempts = list(worker.core.attempts.values())
            data = worker.core.data
            on_disk = sum(data.get(id) is marker for id, marker in data.files.items())
        stacks = await facts.call_stacks(None, worker)
        value = {
            "identity": {
                "type": "Worker",
                "name": str(worker.name),
                "address": worker.address,
                "scheduler": worker.scheduler_address,
                "host": worker.config.host,
                "nthreads": worker.nthreads,
                "memory_limit": worker.config.memory_limit,
                "resources": worker.config.resources,
            },
            "metrics": {**worker.metrics_now(), "on_disk": on_disk},
            "states": dict(Counter(attempt.state for attempt in attempts)),
            "tasks": [[label(attempt.key), attempt.state] for attempt in attempts[:TASKS_MAX]],
            "stacks": [[label(key), frames] for key, frames in stacks.items()],
            "logs": [list(record) for record in logs.recent("worker", LOG_RECORDS, worker.address)],
            "transfers": self._transfers(),
            "spills": {
                "disk-write": structs.asdict(worker.memory_manager.disk.written),
                "disk-read": structs.asdict(worker.memory_manager.disk.read),
            },
            "pulse": self.pulse.facts(),
        }
        link.send([Reply(call, value)])

    def _transfers(self) -> dict[str, float]:
        incoming, outgoing = self.worker.core.incoming, self.worker.outgoing
        return {
            "incoming": incoming.questions,
            "incoming_bytes": incoming.bytes,
            "received": incoming.received,
            "received_bytes": incoming.received_bytes,
            "outgoing": outgoing.active,
            "sent": outgoing.sent,
            "sent_bytes": outgoing.sent_bytes,
        }
