"""Processes of windrow's own find this very windrow, and end with whoever started them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import windrow
from windrow import offspring

PARENT = """\
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", '''
import os, sys
from windrow import offspring
parent = int(os.read(0, 100))
offspring.die_with(parent)
lifeline = offspring.take_lifeline()
sys.stdout.write(f"{sys.stdin.read()!r}\\\\n")
sys.stdout.flush()
offspring.watch_lifeline(lifeline, lambda: print("the end", flush=True))
'''],
    stdin=subprocess.PIPE,
)
child.stdin.write(f"{os.getpid()}\\n".encode())
child.stdin.flush()
if "kill" in sys.argv:
    os.read(0, 1)
    os.kill(os.getpid(), 9)
child.stdin.close()
sys.exit(child.wait())
"""


def test_the_command_runs_main_of_a_module_of_this_windrow(tmp_path: Path) -> None:
    elsewhere = tmp_path / "types.py"
    elsewhere.write_text("raise ImportError('the current directory stands before the library')")
    done = subprocess.run(
        offspring.command("windrow.nothing"), cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "No module named 'windrow.nothing'" in done.stderr
    assert str(Path(windrow.__file__).parents[1]) == offspring.command("windrow.nothing")[-1]


def test_a_child_ends_with_its_lifeline_and_nothing_of_it_is_on_its_standard_input() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "''\nthe end\n", "")


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "kill"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == "''\n"
    os.write(parent.stdin.fileno(), b"!")
    assert parent.stdout.read() == "the end\n"  # read to the end: nobody holds the pipe any more
    assert parent.wait(10) == -9
