"""What tasks print and log comes back, by task; and the terminal shows it once."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable

import process_tasks as tasks
import pytest
from process_help import until

import windrow
from windrow import Client, LocalCluster, wait

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (\S+) (\S+): (.*)")


def words(text: str) -> list[tuple[str, str]]:
    """What a task has said, as (source, text)."""
    found = [LINE.fullmatch(line) for line in text.split("\n")]
    assert all(found), text
    return [(match[2], match[3]) for match in found if match]


# ---------------------------------------------------------------- who said what


def speak(number: int) -> int:
    for step in range(5):
        print("task", number, "step", step)
    return number


def test_a_thousand_tasks_each_have_their_own_lines_in_order(client: Client) -> None:
    futures = client.map(speak, range(1000))
    client.gather(futures)
    said = client.get_task_logs(futures)
    assert len(said) == 1000
    for number, future in enumerate(futures):
        assert [line.text for line in said[future.key]] == [f"task {number} step {step}" for step in range(5)]
        assert {line.source for line in said[future.key]} == {"stdout"}
    assert {line.worker for lines in said.values() for line in lines} == set(client.nthreads())


def say_all() -> None:
    print("to stdout")
    sys.stderr.write("to stderr\n")
    logging.getLogger("some.library").warning("%s bottles", 3)
    logging.getLogger("some.library").info("nobody asked for that")
    windrow.print("to all", file=sys.stderr)
    windrow.warn("mind the gap")
    print("no end", end="")


def test_each_source_is_told_apart(client: Client) -> None:
    future = client.submit(say_all, pure=False)
    warned: list[object] = []
    client.subscribe_topic("warn", warned.append)
    future.result()
    until(lambda: warned)
    said = words(future.logs())
    assert said[:4] == [
        ("stdout", "to stdout"),
        ("stderr", "to stderr"),
        ("WARNING", "some.library: 3 bottles"),
        ("stderr", "to all"),
    ]
    assert "UserWarning: mind the gap" in said[4][1]
    assert said[5:] == [("stdout", "no end")]


async def speak_twice(name: str) -> None:
    print(name, "begins")
    await asyncio.sleep(0.01)
    print(name, "ends")


def test_coroutines_are_told_apart(client: Client) -> None:
    futures = client.map(speak_twice, ["a", "b", "c"])
    client.gather(futures)
    for name, future in zip("abc", futures, strict=True):
        assert words(future.logs()) == [("stdout", f"{name} begins"), ("stdout", f"{name} ends")]


def speak_in_a_thread() -> None:
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    print("from the task")


def test_threads_of_a_task_are_not_heard(client: Client) -> None:
    future = client.submit(speak_in_a_thread, pure=False)
    future.result()
    assert words(future.logs()) == [("stdout", "from the task")]


class Parrot:
    def say(self, text: str) -> str:
        print(text)
        return text


def test_actors_are_heard(client: Client) -> None:
    future = client.submit(Parrot, actor=True)
    parrot = future.result()
    for text in ("hello", "again"):
        parrot.say(text).result()
        assert words(future.logs())[-1] == ("stdout", text)


def test_a_silent_task_has_said_nothing(client: Client) -> None:
    future = client.submit(tasks.tiny, 1, pure=False)
    future.result()
    assert future.logs() == ""
    assert client.get_task_logs(["no such task"]) == {"no such task": ()}


def fail_aloud() -> None:
    print("I fail")
    raise ArithmeticError("odd")


def test_what_a_task_said_before_it_raised_is_there(client: Client) -> None:
    future = client.submit(fail_aloud, pure=False)
    wait(future)
    assert words(future.logs()) == [("stdout", "I fail")]


def test_an_asynchronous_client_awaits_it(cluster: LocalCluster) -> None:
    async def main() -> tuple[str, int]:
        async with Client(cluster, asynchronous=True) as client:
            future = client.submit(speak, -1)
            await future
            return await future.logs(), len((await client.get_task_logs(future))[future.key])

    text, count = asyncio.run(main())
    assert len(words(text)) == count == 5


def speak_and_wait(name: str) -> None:
    print("I am", os.getpid())
    windrow.Event(name).wait()


def test_a_running_task_is_heard_and_so_is_a_dead_worker(own_client: Client) -> None:
    future = own_client.submit(speak_and_wait, "go", key="speaker")
    until(lambda: future.logs())
    [(_, text)] = words(future.logs())
    pid = int(text.rpartition(" ")[2])
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(words(future.logs())) == 2, "it has been run again")
    assert words(future.logs())[0] == ("stdout", f"I am {pid}")
    assert len({line.worker for line in own_client.get_task_logs("speaker")["speaker"]}) == 2
    windrow.Event("go", client=own_client).set()
    future.result(timeout=20)


# ---------------------------------------------------------------- what the terminal shows

ONCE = """
import logging, sys
import windrow
from windrow.plugins import ForwardOutput

def speak(number):
    for step in range(20):
        print("task", number, "step", step, "x" * 100)
    print("error", number, file=sys.stderr)
    logging.getLogger("library").warning("record %d", number)
    windrow.print("told", number)
    return number

def main(forward):
    with windrow.Client(n_workers=2, threads_per_worker=2) as client:
        if forward:
            client.register_plugin(ForwardOutput())
        futures = client.map(speak, range(20))
        client.gather(futures)
        assert all(len(lines) == 23 for lines in client.get_task_logs(futures).values()), client.get_task_logs(futures)
        if forward:
            client.unregister_worker_plugin("forward-output")
        client.close()
        assert sys.stdout.write("end\\n")

main(forward=FORWARD)
"""


@pytest.mark.parametrize("forward", [False, True], ids=["plain", "forwarded"])
def test_the_terminal_shows_each_line_once_and_whole(
    forward: bool, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_python(ONCE.replace("FORWARD", str(forward)))
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    steps = {f"task {number} step {step} {'x' * 100}": 1 for number in range(20) for step in range(20)}
    told = {f"told {number}": 1 for number in range(20)}
    assert Counter(out.splitlines()) == {**steps, **told, "end": 1}
    errors = {f"error {number}": 1 for number in range(20)} | {f"record {number}": 1 for number in range(20)}
    assert Counter(err.splitlines()) == errors


SETTINGS = """
import logging, dask, windrow

def speak():
    print("hello")
    logging.getLogger("library").info("a record")

for setting in ({"windrow.output.keep": False}, {"windrow.output.level": "info"}, {"windrow.output.task-bytes": 500}):
    with dask.config.set(setting), windrow.Client(n_workers=1) as client:
        future = client.submit(speak)
        future.result()
        print([line.partition(" tcp")[2].partition(" ")[2] for line in future.logs().splitlines()], flush=True)
"""


def test_settings_turn_it_off_and_say_how_much(start_python: Callable[..., subprocess.Popen[str]]) -> None:
    process = start_python(SETTINGS)
    out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, "")
    assert [line for line in out.splitlines() if line != "hello"] == [
        "[]",
        "['stdout: hello', 'INFO: library: a record']",
        "['stdout: hello']",
    ]
