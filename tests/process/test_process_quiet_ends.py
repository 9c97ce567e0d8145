"""Nothing is said at a clean end: many times over, and when Ctrl-C comes in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

MANY = """
import dask
from windrow import Client

@dask.delayed
def double(x):
    return 2 * x

for turn in range(TURNS):
    client = Client(n_workers=1, threads_per_worker=2, processes=PROCESSES)
    assert client.gather(client.map(str, range(20))) == [str(x) for x in range(20)]
    assert dask.compute(*map(double, range(5))) == (0, 2, 4, 6, 8)
    client.close()
print("done")
"""

INTERRUPTED = """
import time
from windrow import Client

client = Client(n_workers=2, threads_per_worker=2, processes=PROCESSES)
futures = client.map(lambda x: time.sleep(0.02) or x, range(10_000))
futures[0].result()
try:
    print("at work", flush=True)
    client.gather(futures)
except KeyboardInterrupt:
    print("interrupted", flush=True)
client.close()
print("closed")
"""


@pytest.mark.parametrize("processes", [True, False], ids=["processes", "threads"])
def test_many_clients_end_without_a_word(processes: bool, start_python: Callable[..., subprocess.Popen[str]]) -> None:
    process = start_python(MANY.replace("PROCESSES", str(processes)).replace("TURNS", "8" if processes else "20"))
    out, err = process.communicate(timeout=50)
    assert (process.returncode, out, err) == (0, "done\n", "")


@pytest.mark.parametrize("processes", [True, False], ids=["processes", "threads"])
def test_ctrl_c_amid_work_and_then_a_close_is_quiet(
    processes: bool, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_python(INTERRUPTED.replace("PROCESSES", str(processes)))
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "interrupted\nclosed\n", "")


def test_ctrl_c_that_nobody_catches_says_that_alone(start_python: Callable[..., subprocess.Popen[str]]) -> None:
    caught = 'except KeyboardInterrupt:\n    print("interrupted", flush=True)\n'
    assert caught in INTERRUPTED
    process = start_python(INTERRUPTED.replace("PROCESSES", "True").replace(caught, "finally:\n    client.close()\n"))
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT or process.returncode == 130
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("\nKeyboardInterrupt\n")
    assert err.count("Traceback") == 1
    assert out == ""
