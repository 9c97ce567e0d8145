"""Owners and readers of segments, by seed: nothing changes under who reads, whoever is killed when."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from windrow import memfd

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")

SIZES = (1, 1_000, 20_000, 20_000, 20_000, 30_000, 30_000, 530_000)
"""In words of four bytes; the last one is of huge pages, where there are such."""


class Cast:
    """Actors in processes of their own, and the offers that they have made."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = random.Random(seed)
        self.actors = [self._new() for _ in range(size)]
        self.offers: list[str] = []
        self.number = 0
        self.seen: Counter[str] = Counter()

    def _new(self) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("segment_actor.py")
        return subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def order(self) -> str:
        draw, words = self.random, self.random.choice(SIZES)
        kinds = ("put", "put", "attach", "attach", "attach", "drop", "churn", "edit", "forget", "check")
        kind = draw.choice(kinds)
        if kind == "attach" and not self.offers:
            kind = "put"
        self.number += 100
        if kind in ("put", "churn"):
            return f"{kind} {self.number} {words}"
        if kind == "attach":
            return f"attach {draw.choice(self.offers[-12:])}"
        return kind if kind == "check" else f"{kind} {draw.randrange(100)}"

    def step(self) -> None:
        """Have all act at once; look at what they say."""
        victim = self.random.randrange(len(self.actors)) if self.random.random() < 0.05 else None
        orders = [self.order() for _ in self.actors]
        for actor, order in zip(self.actors, orders, strict=True):
            assert actor.stdin is not None
            actor.stdin.write(order + "\n")
        if victim is not None:  # in the middle of whatever it is at
            self.actors[victim].send_signal(signal.SIGKILL)
        for index, (actor, order) in enumerate(zip(self.actors, orders, strict=True)):
            assert actor.stdout is not None
            answer = actor.stdout.readline().strip()
            if index == victim:
                self._replace(index)
            elif order.startswith("put"):
                self.offers.append(answer)
                assert answer.split()[:2] == order.split()[1:]
            else:
                assert answer in ("right", "late", "dropped", "churned", "forgotten"), f"{order}: {answer}"
                self.seen[answer] += 1

    def _replace(self, index: int) -> None:
        self.close(self.actors[index])
        self.actors[index] = self._new()
        self.seen["killed"] += 1

    def close(self, actor: subprocess.Popen[str]) -> None:
        actor.kill()
        actor.communicate()

    def ask(self, actor: subprocess.Popen[str], order: str) -> str:
        assert actor.stdin is not None
        assert actor.stdout is not None
        actor.stdin.write(order + "\n")
        return actor.stdout.readline().strip()


@pytest.fixture(params=[1, 2])
def cast(request: pytest.FixtureRequest) -> Iterator[Cast]:
    cast = Cast(request.param, 4)
    yield cast
    for actor in cast.actors:
        cast.close(actor)


def test_what_is_read_stays_and_nothing_is_left_behind(cast: Cast) -> None:
    for _ in range(60):
        cast.step()
    assert cast.seen["right"] > 30
    assert cast.seen["late"] > 0, "no offer came too late, so this shows nothing"
    assert cast.seen["killed"] > 0
    for actor in cast.actors:
        assert cast.ask(actor, "check") == "right"
        assert cast.ask(actor, "end") == "left 0 0 0"
