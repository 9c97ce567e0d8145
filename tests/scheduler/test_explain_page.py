"""The samples on the page about explanations are what is told, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from world import World

from windrow.wire.messages import Heartbeat, Topic

PAGE = Path(__file__).parents[2] / "docs" / "explain.md"
SHOWN = re.findall(r"```text\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def gpu_cluster() -> World:
    """Two workers, one of them with a GPU, which a task holds; another one waits for it, and a sum for that."""
    world = World()
    client = world.client()
    workers = [world.worker("cpu-0", 2), world.worker("gpu-0", 2, resources={"GPU": 1})]
    world.submit(client, "train-6", function="train", resources={"GPU": 1})
    world.flush()
    world.tick(after=12.0)
    world.submit(client, "train-7", function="train", resources={"GPU": 1})
    world.submit(client, "evaluate", after=["train-7"])
    world.submit(client, "report", after=["evaluate"])
    world.flush()
    world.tick(after=30.0)
    for worker in workers:
        world.say(worker, Heartbeat())
    return world


def a_task_that_waits() -> str:
    return gpu_cluster().why("train-7")


def the_root_of_it() -> str:
    return gpu_cluster().why("report")


def several() -> str:
    return gpu_cluster().why("report", "train-6", several=True)


def a_worker() -> str:
    return gpu_cluster().why(worker="cpu-0")


def everything() -> str:
    return gpu_cluster().why()


def run_again() -> str:
    world = World()
    client = world.client()
    first, _nanny = world.nursed("a")
    world.submit(client, "load", function="load", retries=2)
    world.erred(first, "load", "Traceback (most recent call last):\n  File …\nOSError: connection reset by peer")
    world.flush()
    world.tick(after=8.0)
    world.large(first, "load", nbytes=800_000_000, seconds=7.5)
    world.tick(after=2.0)
    world.lose(first)
    world.died(_nanny, first, "was killed by SIGKILL after 10.0 s", running=[])
    world.worker("b")
    world.flush()
    world.tick(after=1.0)
    return world.why("load")


def warning() -> str:
    world = World()
    client = world.client()
    world.worker("0", memory_limit=8 * 2**30)
    world.worker("1", memory_limit=8 * 2**30)
    world.submit(client, "train-0", "train-1", "train-2", resources={"GPU": 1})
    for _ in range(5):
        world.tick(after=1.0)
    [message] = [message for message in world.take(client) if type(message) is Topic]
    return str(message.event["text"])


SAMPLES: list[Callable[[], str]] = [
    a_task_that_waits,
    the_root_of_it,
    run_again,
    several,
    a_worker,
    everything,
    warning,
]


def test_there_is_a_scenario_for_each_sample() -> None:
    assert len(SHOWN) == len(SAMPLES)


@pytest.mark.parametrize("number", range(len(SAMPLES)), ids=lambda number: SAMPLES[number].__name__)
def test_the_sample_is_what_is_told(number: int) -> None:
    assert SHOWN[number] == SAMPLES[number]()
