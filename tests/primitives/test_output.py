"""What tasks have said, as the scheduler keeps it: by key, bounded, and forgotten after a while."""

from __future__ import annotations

from typing import Any

import pytest
from bare_core import Bare

from windrow.primitives.output import KEY_BYTES, LINE_BYTES, GetOutput, Line, in_words
from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire.messages import Key, Output, Release


class Room(Bare):
    """A core with a client and a worker, and what it has kept."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.asker: ClientRecord = self.client("c")
        self.at: WorkerRecord = self.worker("w")

    def hear(self, key: Key, *texts: str, dropped: int = 0) -> None:
        self.say(self.at, Output([key], [[(1.5, "stdout", text) for text in texts]], [dropped]))

    def kept(self, key: Key) -> tuple[int, list[str]]:
        [(dropped, lines)] = self.ask(self.asker, "output", GetOutput([key])).value
        return dropped, [line[2] for line in lines]


def test_lines_are_kept_by_key_in_order_with_where_and_when() -> None:
    room = Room()
    room.say(
        room.at,
        Output(["a", ("x", 0)], [[(1.0, "stdout", "one"), (2.0, "WARNING", "two")], [(1.0, "stderr", "y")]], [0, 3]),
    )
    room.hear("a", "three")
    reply = room.ask(room.asker, "output", GetOutput([("x", 0), "a", "unknown"]))
    assert reply.value == [
        [3, [[1.0, "stderr", "y", "tcp://w"]]],
        [
            0,
            [
                [1.0, "stdout", "one", "tcp://w"],
                [2.0, "WARNING", "two", "tcp://w"],
                [1.5, "stdout", "three", "tcp://w"],
            ],
        ],
        [0, []],
    ]


def test_what_a_dead_worker_said_stays() -> None:
    room = Room()
    room.hear("a", "last words")
    room.lose(room.at)
    assert room.kept("a") == (0, ["last words"])


def test_of_one_task_the_last_lines_are_kept_and_the_others_counted() -> None:
    room = Room(task_output_bytes=KEY_BYTES + 3 * (LINE_BYTES + 1))
    room.hear("a", *"12345")
    assert room.kept("a") == (2, ["3", "4", "5"])
    room.hear("a", "6", dropped=10)
    assert room.kept("a") == (13, ["4", "5", "6"])


def test_a_line_longer_than_all_that_may_be_kept_is_kept_alone() -> None:
    room = Room(task_output_bytes=KEY_BYTES + 2 * LINE_BYTES)
    room.hear("a", "1", "x" * 1000)
    assert room.kept("a") == (1, ["x" * 1000])


def test_of_all_tasks_those_that_spoke_last_are_kept() -> None:
    room = Room(output_bytes=3 * (KEY_BYTES + LINE_BYTES + 1))
    for key in "abc":
        room.hear(key, key)
    room.hear("a", "A")  # which makes b the one that has been silent for longest
    assert room.kept("b") == (1, []), "it had to go, and that is told"
    assert [room.kept(key) for key in "ac"] == [(0, ["a", "A"]), (0, ["c"])]
    room.hear("d", "d")
    assert room.kept("b") == (0, [])
    assert room.kept("d") == (0, ["d"])


def test_it_is_forgotten_a_while_after_its_task() -> None:
    room = Room(output_s=60.0)
    room.submit(room.asker, "a")
    room.hear("a", "of a task that is there")
    room.hear("gone", "of one that is not")
    room.now_s += 61.0
    room.hear("other", "now")
    assert room.kept("gone") == (0, [])
    assert room.kept("a") == (0, ["of a task that is there"])
    room.say(room.asker, Release(["a"], 1))
    assert room.kept("a") == (0, [])


def test_a_restart_forgets_it() -> None:
    room = Room()
    room.hear("a", "one")
    room.core.desk.restarted()
    assert room.kept("a") == (0, [])
    room.hear("a", "two")
    assert room.kept("a") == (0, ["two"])


@pytest.mark.parametrize("dropped", [0, 4])
def test_lines_in_words_tell_when_where_and_how(dropped: int) -> None:
    text = in_words([Line(0.5, "ERROR", "first\nsecond", "tcp://w"), Line(2.0, "stdout", "", "tcp://v")], dropped)
    lines = text.split("\n")
    assert ("(4 lines before these are not kept: see windrow.output.task-bytes)" in lines) is bool(dropped)
    assert [line.partition(" tcp")[2] for line in lines[-3:]] == [
        "://w ERROR: first",
        "://w ERROR: second",
        "://v stdout: ",
    ]
    assert ".500" in lines[-3]
