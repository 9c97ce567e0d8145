"""What tasks carry, and the warning when it is much."""

from __future__ import annotations

import warnings

import pytest

from windrow.client.weight import Load, warn_of, weight
from windrow.wire import payload


def test_small_payloads_weigh_nothing_however_many() -> None:
    assert weight([bytes(1024)] * 100_000) == 0
    assert weight([bytes(1025), bytes(10)]) == 1025


def test_large_buffers_are_counted() -> None:
    assert weight([payload.dumps(bytes(1_000_000))]) >= 1_000_000


def test_a_load_names_the_heaviest_task_or_function() -> None:
    load = Load()
    load.add(["x", ("y", 1)], [bytes(2000), bytes(3000)])
    assert (load.nbytes, load.heaviest) == (5000, "task ('y', 1)")
    for _ in range(2):
        load.add_function("f", b"digest", bytes(9000))
    load.add(["z"], [bytes(4000)])
    assert (load.nbytes, load.heaviest) == (18_000, "the function 'f'")


def test_the_warning_says_what_to_do_and_points_to_this_file() -> None:
    with pytest.warns(UserWarning, match=r"11\.0 MB .* task 'x'.*scatter.*large-graph-warning-threshold") as caught:
        warn_of(11_000_000, "task 'x'")
    assert caught[0].filename == __file__


def test_there_is_none_below_the_limit() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of(10_000_000, "task 'x'")
