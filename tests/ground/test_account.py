"""What is told of a worker's end, by what is known of it."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from windrow.account import Account, Cause, size
from windrow.errors import KilledWorker

MIB = 2**20


def account(**facts: object) -> Account:
    return Account(**{"seconds": 1.5, "peak_bytes": 80 * MIB, "name": 3, "pid": 77, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "cause", "end"),
    [
        ({"exit_code": 3}, Cause.exit, "exited with code 3 after 1.5 s (peak memory 80 MiB)"),
        ({"exit_code": -11}, Cause.crash, "was killed by SIGSEGV after 1.5 s (peak memory 80 MiB)"),
        ({"exit_code": -7}, Cause.crash, "was killed by SIGBUS after"),
        ({"exit_code": -6}, Cause.abort, "was killed by SIGABRT after"),
        ({"exit_code": -15}, Cause.asked, "was killed by SIGTERM after"),
        ({"exit_code": -10}, Cause.signal, "was killed by SIGUSR1 after"),
        ({"exit_code": -40}, Cause.signal, "was killed by signal 40 after"),
        ({"exit_code": -9}, Cause.kill, "was killed by SIGKILL after 1.5 s (peak memory 80 MiB)"),
        (
            {"exit_code": -9, "oom_kills": 0},
            Cause.kill,
            "was killed by SIGKILL after 1.5 s (peak memory 80 MiB), and not by the kernel for want of memory",
        ),
        (
            {"exit_code": -9, "oom_kills": 1, "limit_bytes": 100 * MIB},
            Cause.out_of_memory,
            "was killed by SIGKILL after 1.5 s (peak memory 80 MiB of 100 MiB), by the kernel, which was out of memory",
        ),
        (
            {"exit_code": -9, "over_bytes": 96 * MIB, "terminate": 0.95, "limit_bytes": 100 * MIB},
            Cause.limit,
            "was ended by its nanny after 1.5 s (peak memory 80 MiB of 100 MiB): it had 96 MiB, above 95% of its",
        ),
        ({"exit_code": 1, "raised": "ImportError: no"}, Cause.exception, "raised ImportError: no"),
        ({"said": "its connection ended"}, Cause.told, "its connection ended"),
        ({"said": "no room", "exit_code": 1}, Cause.left, "has ended after 1.5 s (peak memory 80 MiB): no room"),
    ],
)
def test_an_end_and_what_it_is_put_down_to(facts: dict[str, object], cause: Cause, end: str) -> None:
    told = account(**facts)
    assert told.cause is cause
    assert told.end.startswith(end)
    assert told.sentence == f"worker 3 (pid 77): {told.end}"


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_meaning_and_a_next_step(cause: Cause) -> None:
    facts = {
        Cause.limit: {"exit_code": -9, "over_bytes": 1},
        Cause.out_of_memory: {"exit_code": -9, "oom_kills": 1},
        Cause.kill: {"exit_code": -9},
        Cause.crash: {"exit_code": -11},
        Cause.abort: {"exit_code": -6},
        Cause.asked: {"exit_code": -15},
        Cause.signal: {"exit_code": -10},
        Cause.exit: {"exit_code": 0},
        Cause.exception: {"raised": "ValueError: no"},
        Cause.told: {},
        Cause.left: {"said": "no room", "exit_code": 1},
    }
    told = account(**facts[cause])
    assert told.cause is cause
    assert told.meaning.endswith(".")
    assert told.advice[0].isupper()
    assert not told.advice.endswith(".")


def test_details_stand_below_in_order() -> None:
    told = account(
        exit_code=-11,
        tasks=("a-1", ("x", 0)),
        fatal="Fatal Python error: Segmentation fault",
        stack=('  File "lib.py", line 5 in crash',),
        last_lines=("so far so good",),
    )
    assert str(told).splitlines()[1:] == [
        "    it was running 'a-1', ('x', 0)",
        "    Fatal Python error: Segmentation fault; the thread at fault, the innermost frame first:",
        '        File "lib.py", line 5 in crash',
        "    the last lines of its stderr:",
        "        so far so good",
    ]
    assert told.words == (
        '; its last words: so far so good | Fatal Python error: Segmentation fault | File "lib.py", line 5 in crash'
    )


def test_a_crash_without_frames_and_many_tasks() -> None:
    told = account(exit_code=-6, fatal="Fatal Python error: Aborted", tasks=tuple(range(1, 11)))
    assert "    it was running 1, 2, 3, 4, 5, 6, 7, 8 and 2 more" in str(told)
    assert "    Fatal Python error: Aborted (in C code, with no Python frame of the task)" in str(told)
    assert account(exit_code=3).details == ""


def test_it_travels() -> None:
    told = account(exit_code=-9, tasks=("a", ("x", 1)), last_lines=("é", "�"), oom_kills=0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Account) == told
    error = pickle.loads(pickle.dumps(KilledWorker(("x", 1), [told], 0)))
    assert error.accounts == [told]


def test_killed_worker_tells_each_death_and_the_last_of_each_kind_in_full() -> None:
    segv = [account(exit_code=-11, pid=pid, last_lines=(f"words of {pid}",)) for pid in (1, 2)]
    over = account(exit_code=-9, over_bytes=1, pid=3, tasks=("t",))
    error = KilledWorker("t", [segv[0], over, segv[1]], 2)
    text = str(error)
    assert text.startswith(
        "Task 't' was running on 3 workers that died; 2 such deaths are allowed.\n  1. worker 3 (pid 1)"
    )
    assert "words of 1" not in text
    assert "words of 2" in text
    for each in (segv[1], over):
        assert each.meaning in text
        assert each.advice in text
    assert text.endswith("raise 'distributed.scheduler.allowed-failures' if the deaths were not the task's fault.")
    assert (error.key, error.task, error.allowed_failures) == ("t", "t", 2)
    assert error.last_worker is segv[1]
    assert "words of 1" in error.deaths[0]


def test_sizes_as_people_read_them() -> None:
    assert [size(n * MIB) for n in (0, 80, 10 * 1024 - 1, 10 * 1024)] == ["0 MiB", "80 MiB", "10239 MiB", "10.0 GiB"]
