"""However a program ends, nothing of its cluster stays behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import process_tasks as tasks
import psutil
import pytest
from process_help import family, run_python, until, until_file, until_gone

from windrow import Client, LocalCluster

Start = Callable[..., "subprocess.Popen[str]"]
Amid = tuple["subprocess.Popen[str]", set[int]]

WORKING = """
import process_tasks as tasks
from windrow import Client
client = Client(n_workers=2, threads_per_worker=1)
futures = client.map({function}, [{directory!r} + "/up" + str(n) for n in range(2)], {more})
client.gather(futures)
"""


def program_amid_work(start_python: Start, directory: Path, function: str, more: str = "") -> Amid:
    """Start a program whose two workers each run a task; return it and all its descendants' process ids."""
    program = start_python(WORKING.format(function=function, directory=str(directory), more=more))
    for n in range(2):
        until_file(directory / f"up{n}")
    pids = set(family(program.pid))
    assert len(pids) >= 2
    return program, pids


def files_in(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file()]


WAITING = "tasks.announce_and_wait", "['never'] * 2"


def test_ctrl_c(start_python: Start, tmp_path: Path) -> None:
    program, pids = program_amid_work(start_python, tmp_path, *WAITING)
    os.killpg(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=10)
    assert program.returncode == -signal.SIGINT
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1
    until_gone(pids)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_program(start_python: Start, tmp_path: Path, sent: int) -> None:
    program, pids = program_amid_work(start_python, tmp_path, *WAITING)
    os.kill(program.pid, sent)
    until_gone(pids)
    assert program.communicate(timeout=10) == ("", "")


def test_the_death_of_the_program_while_c_code_holds_the_interpreters_lock(start_python: Start, tmp_path: Path) -> None:
    program, pids = program_amid_work(start_python, tmp_path, "tasks.spin")
    os.kill(program.pid, signal.SIGKILL)
    until_gone(pids, limit_s=3.0)


def test_the_death_of_the_program_ends_what_tasks_have_started(start_python: Start, tmp_path: Path) -> None:
    program, pids = program_amid_work(start_python, tmp_path, "tasks.start_sleeper")
    assert len(pids) == 4
    os.kill(program.pid, signal.SIGKILL)
    until_gone(pids)


def test_a_crash_of_the_program(tmp_path: Path) -> None:
    source = (
        "from windrow import Client\nimport os\n"
        "client = Client(n_workers=2, threads_per_worker=1)\n"
        "print(*client.run(os.getpid).values(), flush=True)\n"
    )
    for end, code in (("os._exit(7)", 7), ("raise ValueError('mine')", 1), ("import sys; sys.exit(5)", 5)):
        done = subprocess.run([sys.executable, "-c", source + end], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr.count("Traceback") == ("raise" in end)
        until_gone([int(pid) for pid in done.stdout.split()])


def test_an_exception_within_the_block() -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1)
    client = Client(cluster)
    pids = set(client.run(os.getpid).values())
    with pytest.raises(ValueError, match="mine"), cluster, client:
        raise ValueError("mine")
    until_gone(pids)
    assert client.status == cluster.status == "closed"


def test_a_client_that_is_forgotten() -> None:
    client = Client(n_workers=1, threads_per_worker=1)
    pids = set(client.run(os.getpid).values())
    del client
    gc.collect()
    until_gone(pids, limit_s=5.0)


def test_a_fork_of_the_program_leaves_the_cluster_alone() -> None:
    source = (
        "import multiprocessing\nfrom windrow import Client\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "child = multiprocessing.get_context('fork').Process(target=lambda: None)\n"
        "child.start(); child.join(); print(child.exitcode)\n"
        "print(client.submit(abs, -1).result(timeout=5))"
    )
    assert run_python("-W", "ignore", "-c", source) == ("0\n1\n", "")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_death_of_the_program_while_it_starts(start_python: Start, sent: int) -> None:
    program = start_python("from windrow import Client\nClient(n_workers=2, threads_per_worker=1)\ninput()")
    until(lambda: family(program.pid))
    pids = set(family(program.pid))
    os.kill(program.pid, sent)
    program.communicate(timeout=10)
    until_gone(pids)


def test_an_asynchronous_program_that_does_not_close() -> None:
    source = (
        "import asyncio, os\nfrom windrow import Client\n"
        "async def main():\n"
        "    client = await Client(n_workers=1, threads_per_worker=1, asynchronous=True)\n"
        "    print(*(await client.run(os.getpid)).values())\n"
        "asyncio.run(main())"
    )
    out, err = run_python("-c", source)
    assert err == ""
    until_gone([int(out)])


def test_twenty_clusters_leave_nothing_behind(runtime_directory: Path) -> None:
    def remains() -> tuple[int, int, int, list[str]]:
        gc.collect()
        return threading.active_count(), process.num_fds(), len(family()), sorted(files_in(runtime_directory))

    def is_clean() -> bool:
        threads, descriptors, children, files = remains()  # what other tests have left may end meanwhile
        return (
            threads <= before[0] and descriptors <= before[1] and children <= before[2] and set(files) <= {*before[3]}
        )

    process = psutil.Process()
    with Client(n_workers=1, threads_per_worker=1):
        pass  # whatever stays for good stays from the first on
    before = remains()
    for _ in range(20):
        with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
            assert client.submit(tasks.inc, 1).result() == 2
    until(is_clean, f"no more than {before} remains", limit_s=5.0)


def test_twenty_clusters_of_threads_leave_nothing_behind() -> None:
    with Client(processes=False):
        pass
    before = threading.active_count(), psutil.Process().num_fds()
    for _ in range(20):
        with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
            assert client.submit(tasks.inc, 1).result() == 2
    until(lambda: threading.active_count() <= before[0] and psutil.Process().num_fds() <= before[1], limit_s=5.0)


def test_secrets_are_nobody_elses(cluster: LocalCluster, client: Client, runtime_directory: Path) -> None:
    secret = cluster.secret.hex()
    assert secret not in " ".join(family().values())
    assert not any(secret in " ".join(environ) for environ in client.run(lambda: list(os.environ.values())).values())
    [path] = [path for path in (runtime_directory / "windrow").iterdir() if secret in path.read_text()]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
