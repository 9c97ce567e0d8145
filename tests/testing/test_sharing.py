"""The virtual clients would notice services that break their promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from windrow.primitives.multi_lock import MultiLocks
from windrow.primitives.queue import Queues
from windrow.primitives.semaphore import Semaphores
from windrow.primitives.shared import Held, Item
from windrow.primitives.variable import Variables
from windrow.testing.simulation import Simulation, SimulationFailed

SEEDS = [seed for seed in range(100) if seed % 4]


def leases_of_the_dead(patch: pytest.MonkeyPatch) -> None:
    """A semaphore is held by clients that are gone."""
    patch.setattr(Semaphores, "left", lambda service, client: None)


def one_more_lease(patch: pytest.MonkeyPatch) -> None:
    """A lock is given to two, and nothing that the service checks of itself shows it."""
    acquire = Semaphores._acquire

    def generous(service: Semaphores, question: Any, request: Any) -> None:
        request.max_leases += 1
        acquire(service, question, request)

    patch.setattr(Semaphores, "_acquire", generous)


def no_turn(patch: pytest.MonkeyPatch) -> None:
    """Who waits for names is not told when they are free."""
    patch.setattr(MultiLocks, "_grant", lambda service: None)


def lost_values(patch: pytest.MonkeyPatch) -> None:
    """What comes back to a queue is dropped."""

    def withdraw(service: Queues, question: Any) -> None:
        record = question.note.record
        if question in record.getters:
            del record.getters[question]
            for item in question.note.got:
                service.held.let_go(record.owner, item.keys)
            question.end()
        else:
            del record.putters[question]
            service.held.let_go(record.owner, question.note.item.keys)
            question.end()
        service._flow(record)

    patch.setattr(Queues, "withdraw", withdraw)


def values_twice(patch: pytest.MonkeyPatch) -> None:
    """A value stays in the queue when it is got."""
    give = Queues._give

    def generous(service: Queues, record: Any) -> None:
        item = record.items[0]
        give(service, record)
        if not item.keys and not record.getters:
            record.items.append(item)

    patch.setattr(Queues, "_give", generous)


def forgotten_on_the_way(patch: pytest.MonkeyPatch) -> None:
    """Futures in a value are let go before the one who gets it has its own."""

    def hand_over(held: Held, question: Any, items: list[Item]) -> None:
        held._number += 1
        question.answer([held._number, [item.keys for item in items]], [item.blob for item in items])

    patch.setattr(Held, "hand_over", hand_over)


def no_answer(patch: pytest.MonkeyPatch) -> None:
    """Who waits no longer is not answered."""
    patch.setattr(Variables, "withdraw", lambda service, question: None)


def kept_for_ever(patch: pytest.MonkeyPatch) -> None:
    """What was handed over is never let go."""
    patch.setattr(Held, "taken", lambda held, number: None)


@pytest.mark.parametrize(
    "broken",
    [
        leases_of_the_dead,
        one_more_lease,
        no_turn,
        lost_values,
        values_twice,
        forgotten_on_the_way,
        no_answer,
        kept_for_ever,
    ],
)
def test_broken_services_are_found(broken: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    with pytest.raises(SimulationFailed, match=r"replay: python -m windrow\.testing --seed"):
        play_all()


def play_all() -> None:
    for seed in SEEDS:
        Simulation(seed).run()
