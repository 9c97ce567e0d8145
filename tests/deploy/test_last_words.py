"""The last lines of stderr, and the interpreter's words on a crash, in the forms that it has for them."""

from __future__ import annotations

import pytest

from windrow.deploy.last_words import FRAMES_SHOWN, LINE_BYTES, LINES_KEPT, LINES_SHOWN, Tail, tell_apart

ONE_THREAD = """\
famous last words

Fatal Python error: Segmentation fault

Stack (most recent call first):
  File "/lib/ctypes/__init__.py", line 525 in string_at
  File "/home/me/job.py", line 4 in crash
  File "/site/windrow/worker/executor.py", line 389 in _run
  File "/lib/threading.py", line 1002 in _bootstrap

Extension modules: numpy.core._multiarray_umath (total: 1)
"""

ALL_THREADS = """\
famous last words
Fatal Python error: _PyObject_AssertFailed: boo
Python runtime state: initialized

Thread 0x00007f0000000001 (most recent call first):
  File "/lib/selectors.py", line 9 in select

Current thread 0x00007f0000000002 (most recent call first):
  Garbage-collecting
  File "/home/me/job.py", line 4 in crash

Thread 0x00007f0000000003 (most recent call first):
  File "/lib/socket.py", line 1 in recv
"""

WITH_C_FRAMES = """\
famous last words
Fatal Python error: Aborted

Current thread 0x00007f0000000002 [worker] (most recent call first):
  File "/home/me/job.py", line 4 in crash
  File "/site/windrow/worker/executor.py", line 389 in _run

Current thread's C stack trace (most recent call first):
  Binary file "/usr/lib/libfoo.so", at foo_init+0x1a [0x7f1]
  Binary file "/usr/bin/python", at _PyEval_Vector+0x2 [0x7f2]
"""


@pytest.mark.parametrize(
    ("text", "fatal", "stack"),
    [
        (
            ONE_THREAD,
            "Fatal Python error: Segmentation fault",
            ['File "/lib/ctypes/__init__.py", line 525 in string_at', 'File "/home/me/job.py", line 4 in crash'],
        ),
        (
            ALL_THREADS,
            "Fatal Python error: _PyObject_AssertFailed: boo",
            ['File "/home/me/job.py", line 4 in crash'],
        ),
        (
            WITH_C_FRAMES,
            "Fatal Python error: Aborted",
            [
                'File "/home/me/job.py", line 4 in crash',
                'Binary file "/usr/lib/libfoo.so", at foo_init+0x1a [0x7f1]',
                'Binary file "/usr/bin/python", at _PyEval_Vector+0x2 [0x7f2]',
            ],
        ),
    ],
)
def test_a_crash_is_told_apart(text: str, fatal: str, stack: list[str]) -> None:
    words = tell_apart(text.splitlines(), crashed=True)
    assert words.lines == ("famous last words",)
    assert words.fatal == fatal
    assert [line.strip() for line in words.stack] == stack


def test_what_others_write_meanwhile_is_no_part_of_it() -> None:
    lines = ONE_THREAD.splitlines()
    lines.insert(6, "[another thread] still here")
    words = tell_apart(lines, crashed=True)
    assert words.lines == ("famous last words", "[another thread] still here")
    assert len(words.stack) == 2


def test_a_crash_in_a_c_function_that_is_the_task_itself() -> None:
    text = (
        'Fatal Python error: Aborted\n\nStack (most recent call first):\n  File "/s/windrow/worker/executor.py", line 1'
    )
    words = tell_apart(text.splitlines(), crashed=True)
    assert (words.fatal, words.stack) == ("Fatal Python error: Aborted", ())


def test_only_the_last_crash_counts_and_none_without_a_signal() -> None:
    twice = [*ONE_THREAD.splitlines(), *ALL_THREADS.splitlines()]
    assert tell_apart(twice, crashed=True).fatal == "Fatal Python error: _PyObject_AssertFailed: boo"
    ended = tell_apart(ONE_THREAD.splitlines(), crashed=False)
    assert (ended.fatal, ended.stack) == ("", ())
    assert "Fatal Python error: Segmentation fault" in ended.lines


def test_a_deep_stack_and_much_text_are_cut() -> None:
    frames = [f'  File "deep.py", line {n} in f' for n in range(90)]
    text = [f"line {n}" for n in range(50)]
    words = tell_apart([*text, "Fatal Python error: X", "Stack (most recent call first):", *frames], crashed=True)
    assert len(words.stack) == FRAMES_SHOWN
    assert words.stack[0] == frames[0]
    assert words.lines == tuple(text[-LINES_SHOWN:])


def test_the_tail_keeps_the_end_of_lines_and_of_the_stream() -> None:
    tail = Tail()
    tail.feed(b"x" * 3 * LINE_BYTES + b"end\n")
    for number in range(LINES_KEPT - 1):
        tail.feed(b"%d" % number)
        tail.feed(b"\r\n")
    kept = tail.lines()
    assert len(kept) == LINES_KEPT
    assert len(kept[0]) == LINE_BYTES
    assert kept[0].endswith("xend")
    assert kept[1:] == [str(number) for number in range(LINES_KEPT - 1)]
    tail.feed(b"\xff no line end")
    assert tail.lines()[-1] == "\ufffd no line end"
    assert len(tail.lines()) == LINES_KEPT + 1
