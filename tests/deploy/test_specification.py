"""Names, cores and memory of what is specified, and how many that makes."""

from __future__ import annotations

from typing import Any

import pytest

from windrow import LocalCluster, Nanny, Worker
from windrow.deploy import specification

SPEC = {"cls": "Worker", "options": {"nthreads": 2, "memory_limit": "4 GiB"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"n": 0}, 0),
        ({"n": 3}, 3),
        ({"n": None}, 0),
        ({"n": 0, "cores": 5}, 3),
        ({"n": 0, "cores": 4}, 2),
        ({"n": 0, "memory": "9 GiB"}, 3),
        ({"n": 0, "memory": 2**33}, 2),
        ({"n": 7, "cores": 4, "memory": "8 GiB"}, 7),
        ({"n": 1, "cores": 2, "memory": "40 GiB"}, 10),
    ],
)
def test_how_many_workers_are_meant(given: dict[str, Any], expected: int) -> None:
    assert specification.count(**given, spec=SPEC) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": -1}, "n must be a number of workers"),
        ({"n": True}, "n must be a number of workers"),
        ({"n": 1.5}, "n must be a number of workers"),
        ({"n": 0, "cores": "two"}, "cores must be a number"),
        ({"n": 0, "memory": "much"}, "much"),
    ],
)
def test_what_is_no_number_of_workers(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        specification.count(**given, spec=SPEC)


@pytest.mark.parametrize("name", specification.THREADS)
def test_each_name_of_threads(name: str) -> None:
    assert specification.threads_of({"cls": "Worker", "options": {name: 3}}) == 3


@pytest.mark.parametrize("name", specification.MEMORY)
def test_each_name_of_memory(name: str) -> None:
    assert specification.memory_of({"cls": "Worker", "options": {name: "1 GiB"}}) == 2**30


@pytest.mark.parametrize("spec", [None, {}, {"options": None}, {"options": {"memory_limit": "auto", "nthreads": 0}}])
def test_nothing_says_how_much(spec: Any) -> None:
    with pytest.raises(ValueError, match=r"how much threads.*cores= means no number of workers: .*nthreads, ncores"):
        specification.count(0, cores=1, spec=spec)
    with pytest.raises(ValueError, match=r"how much memory.*memory= means no number of workers: .*memory_limit"):
        specification.count(0, memory="1 GiB", spec=spec)


def test_an_entry_with_a_group_is_several_workers() -> None:
    specs = {0: {"group": ["-a", "-b"]}, "x": {}, 1: {"group": ["-a"]}}
    assert specification.names_of(0, specs[0]) == ["0-a", "0-b"]
    assert specification.entries_of(["0-b", "x"], specs) == [0, "x"]
    assert specification.entries_of([1], specs) == [1]
    assert specification.entries_of(["2-a"], specs) == []


def test_classes_by_name() -> None:
    assert specification.resolve(Worker) is Worker
    assert specification.resolve("windrow.Nanny") is Nanny
    assert specification.resolve("distributed.Nanny") is Nanny
    assert specification.resolve("dask.distributed.LocalCluster") is LocalCluster
    with pytest.raises(ValueError, match="'Worker' is no class, and no dotted name"):
        specification.resolve("Worker")
