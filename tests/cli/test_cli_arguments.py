"""What people write on a command line, in tables."""

from __future__ import annotations

import doctest
from typing import Any

import click
import pytest

from windrow.cli import arguments
from windrow.cli.arguments import Contradiction
from windrow.cli.worker import worker


def test_examples() -> None:
    assert doctest.testmod(arguments).failed == 0


@pytest.mark.parametrize(
    ("nworkers", "nthreads", "cores", "expected"),
    [
        (None, 0, 8, (1, 8)),
        (None, 3, 8, (1, 3)),
        ("2", 0, 8, (2, 4)),
        ("3", 0, 8, (3, 2)),
        ("16", 0, 8, (16, 1)),
        ("-1", 0, 8, (8, 1)),
        ("-2", 0, 8, (7, 1)),
        ("-8", 2, 8, (1, 2)),
        ("auto", 0, 4, (4, 1)),
        ("AUTO", 0, 12, (4, 3)),
        ("auto", 4, 12, (3, 4)),
        ("auto", 16, 12, (1, 16)),
    ],
)
def test_worker_counts(nworkers: str | None, nthreads: int, cores: int, expected: tuple[int, int]) -> None:
    assert arguments.worker_counts(nworkers, nthreads, cores) == expected


@pytest.mark.parametrize("nworkers", ["0", "-9", "two", "1.5", ""])
def test_no_number_of_workers(nworkers: str) -> None:
    with pytest.raises(click.BadParameter, match="is no number of workers"):
        arguments.worker_counts(nworkers, 0, 8)


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        (None, 3, [0, 0, 0]),
        ("0", 1, [0]),
        ("9000", 1, [9000]),
        ("9000:9000", 1, [9000]),
        ("9000:9002", 1, [[9000, 9001, 9002]]),
        ("9000:9001", 2, [9000, 9001]),
        ("9000:9004", 2, [[9000, 9002, 9004], [9001, 9003]]),
    ],
)
def test_shared_ports(text: str | None, count: int, expected: list[Any]) -> None:
    assert arguments.shared_ports(text, count, "--worker-port") == expected


@pytest.mark.parametrize("text", ["port", "-1", "70000", "9000:", ":9000", "9001:9000", "0:10", "1:2:3"])
def test_no_ports(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no range of them such as"):
        arguments.shared_ports(text, 1, "--worker-port")


def test_too_few_ports() -> None:
    with pytest.raises(Contradiction, match=r"--worker-port 9000 names 1 port for 4 workers.*9000:9003"):
        arguments.shared_ports("9000", 4, "--worker-port")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", {}),
        ("GPU=2", {"GPU": 2.0}),
        ("GPU=2 MEM=10e9", {"GPU": 2.0, "MEM": 10e9}),
        ("GPU=2,MEM=0.5, X=0", {"GPU": 2.0, "MEM": 0.5, "X": 0.0}),
    ],
)
def test_resources(text: str | None, expected: dict[str, float] | None) -> None:
    assert arguments.resources(text) == expected


@pytest.mark.parametrize("text", ["GPU", "GPU=", "=2", "GPU=many", "GPU=-1", "GPU=nan", "GPU=inf", "A=1=2"])
def test_no_resources(text: str) -> None:
    with pytest.raises(click.BadParameter, match="resources are like 'GPU=2 MEM=10e9'"):
        arguments.resources(text)


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        (None, 2, [None, None]),
        ("", 1, [None]),
        ("a", 1, ["a"]),
        ("7", 1, [7]),
        ("7", 2, ["7-0", "7-1"]),
        ("-7", 1, ["-7"]),
        ("²", 1, ["²"]),
    ],
)
def test_names(name: str | None, count: int, expected: list[Any]) -> None:
    assert arguments.names(name, count) == expected


@pytest.mark.parametrize(
    ("args", "preloads", "expected"),
    [
        ([], False, (None, [])),
        (["tcp://a:1"], False, ("tcp://a:1", [])),
        (["tcp://a:1", "--x", "1", "y"], True, ("tcp://a:1", ["--x", "1", "y"])),
        (["--x", "1"], True, (None, ["--x", "1"])),
    ],
)
def test_split(args: list[str], preloads: bool, expected: tuple[str | None, list[str]]) -> None:
    assert arguments.split(worker, args, True, preloads) == expected


def test_what_nobody_takes_is_refused() -> None:
    with pytest.raises(click.NoSuchOption) as caught:
        arguments.split(worker, ["tcp://a:1", "--nthread=3"], True, False)
    assert caught.value.option_name == "--nthread"
    assert "--nthreads" in (caught.value.possibilities or [])
    with pytest.raises(click.UsageError, match="one argument too many"):
        arguments.split(worker, ["tcp://a:1", "b"], True, False)
