"""``windrow worker``, as its users run it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from command_help import Terminals, wait_until, worker_facts

from windrow import Client
from windrow.cli.main import main

NOBODY = "tcp://127.0.0.1:9"


def refused(*arguments: str) -> tuple[int, str]:
    """Return exit code and words of a worker that does not come to be."""
    result: Any = CliRunner().invoke(main, ["worker", *arguments])
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_several_share_cores_ports_and_a_name(terminals: Terminals, address: str, tmp_path: Path) -> None:
    ports = free_range(2)
    arguments = ["--nworkers", "2", "--name", "alice", "--worker-port", ports, "--resources", "GPU=2 MEM=10e9"]
    directory = ["--local-directory", str(tmp_path / "scratch"), "--memory-limit", "1 GiB"]
    worker = terminals.worker(address, *arguments, *directory)
    with Client(address) as client:
        client.wait_for_workers(2, timeout=20)
        facts = worker_facts(client)
        assert sorted(facts) == ["alice-0", "alice-1"]
        own = {int(address.rpartition(":")[2]) for address in client.scheduler_info()["workers"]}
        assert own == set(range(int(ports.partition(":")[0]), int(ports.partition(":")[2]) + 1))
        for each in facts.values():
            assert each["resources"] == {"GPU": 2.0, "MEM": 10e9}
            assert each["memory_limit"] == 2**30
            assert each["nthreads"] == 1
            assert each["local_directory"].startswith(str(tmp_path / "scratch"))
        assert client.submit(os.getpid, resources={"GPU": 2}).result(20) != worker.process.pid


def test_a_worker_that_comes_first_waits(terminals: Terminals, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    worker = terminals("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
    assert str(file) in worker.line("waiting for the scheduler")
    _, address = terminals.scheduler("--scheduler-file", str(file))
    assert worker.line("of the scheduler at").endswith(address)
    with Client(address) as client:
        assert client.submit(sum, [1, 2]).result(20) == 3


def test_the_address_may_be_configured(terminals: Terminals, address: str) -> None:
    worker = terminals.worker(DASK_SCHEDULER_ADDRESS=address)
    assert worker.line("of the scheduler at").endswith(address)


@pytest.mark.parametrize(("kind", "to_all"), [("--nanny", False), ("--nanny", True), ("--no-nanny", False)])
def test_it_hands_over_what_it_holds(
    terminals: Terminals, address: str, kind: str, to_all: bool, tmp_path: Path
) -> None:
    """``to_all``: as batch systems send a signal, to every process of a job."""
    terminals.worker(address, "--name", "stays")
    leaves = terminals.worker(address, "--name", "leaves", kind)
    with Client(address) as client:
        go, counted = tmp_path / "go", tmp_path / "counted"
        kept = client.submit(count_one, str(counted), workers="leaves", key="kept")
        assert kept.result(20) == "counted"
        runs = client.submit(wait_for_file, str(go), workers="leaves", allow_other_workers=True, key="runs")
        wait_until(lambda: client.processing()[address_of(client, "leaves")], "the task does not run")
        for each in psutil.Process(leaves.process.pid).children() if to_all else ():
            each.send_signal(signal.SIGTERM)
        leaves.signal(signal.SIGTERM)
        wait_until(lambda: worker_facts(client)["leaves"]["status"] == "closing_gracefully", "it does not leave")
        go.touch()
        assert leaves.end() == 0
        assert list(worker_facts(client)) == ["stays"], "the scheduler has forgotten it"
        assert runs.result(20) == "went"
        assert client.submit(str.upper, kept).result(20) == "COUNTED"
        assert counted.read_text() == "x", "it was made once"


@pytest.mark.parametrize("kind", ["--nanny", "--no-nanny"])
def test_a_second_signal_does_not_wait(terminals: Terminals, address: str, kind: str, tmp_path: Path) -> None:
    worker = terminals.worker(address, "--name", "a", kind)
    with Client(address) as client:
        stuck = client.submit(wait_for_file, str(tmp_path / "never"), key="stuck")
        wait_until(lambda: client.processing()[address_of(client, "a")], "the task does not run")
        family = psutil.Process(worker.process.pid).children(recursive=True)
        worker.signal(signal.SIGINT)
        wait_until(lambda: worker_facts(client)["a"]["status"] == "closing_gracefully", "it does not leave")
        assert worker.end(signal.SIGINT) == 128 + signal.SIGINT
        assert psutil.wait_procs(family, timeout=10)[1] == []
        wait_until(lambda: not worker_facts(client), "the scheduler thinks that it is there")
        assert stuck.status == "pending"


def test_a_signal_while_it_waits_for_its_scheduler(terminals: Terminals) -> None:
    worker = terminals("worker", NOBODY, "--no-dashboard")
    worker.line("waiting for the scheduler")
    assert worker.end(signal.SIGINT) == 0
    assert "Traceback" not in worker.output
    assert "never retrieved" not in worker.output


@pytest.mark.parametrize("kind", ["--nanny", "--no-nanny"])
def test_death_timeout(terminals: Terminals, kind: str) -> None:
    worker = terminals("worker", NOBODY, "--death-timeout", "100 ms", "--no-dashboard", kind)
    assert worker.end() == 1
    assert "did not start within 0.1 s (death_timeout)" in worker.output
    assert "Traceback" not in worker.output


def test_a_name_that_is_taken(terminals: Terminals, address: str) -> None:
    terminals.worker(address, "--name", "a")
    second = terminals("worker", address, "--name", "a", "--no-dashboard")
    assert second.end() == 1
    assert "'a'" in second.output


def test_a_nanny_starts_another(terminals: Terminals, address: str) -> None:
    terminals.worker(address, "--name", "7")
    with Client(address) as client:
        before = client.submit(os.getpid).result(20)
        os.kill(before, signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(20) != before
        assert list(worker_facts(client)) == [7]


def test_without_a_nanny_it_is_this_process(terminals: Terminals, address: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    worker = terminals.worker(address, "--no-nanny", "--pid-file", str(pid))
    with Client(address) as client:
        assert client.submit(os.getpid).result(20) == worker.process.pid == int(pid.read_text())
    assert worker.end(signal.SIGTERM) == 0
    assert not pid.exists()


def test_its_lifetime(terminals: Terminals, address: str) -> None:
    worker = terminals.worker(address, "--lifetime", "300 ms")
    assert worker.end() == 0


def test_a_class_and_preloads_of_ones_own(terminals: Terminals, address: str, tmp_path: Path) -> None:
    (tmp_path / "special.py").write_text(
        "import windrow\nclass Special(windrow.Worker):\n    def greeting(self): return 'hello'\n"
    )
    (tmp_path / "at_start.py").write_text(
        "import click\n"
        "@click.command()\n"
        "@click.option('--size', type=int)\n"
        "def dask_setup(party, size):\n"
        "    party.size = size\n"
        "    print(type(party).__name__, 'has', size, flush=True)\n"
    )
    arguments = ["--worker-class", "special.Special", "--preload", "at_start", "--preload-nanny", "at_start"]
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    worker = terminals.worker(address, *arguments, "--size", "3", PYTHONPATH=path)
    assert "Nanny has 3" in worker.output
    with Client(address) as client:
        facts = client.run(lambda dask_worker: (dask_worker.greeting(), dask_worker.size))
        assert list(facts.values()) == [("hello", 3)]


def test_listen_and_contact_address(terminals: Terminals, address: str) -> None:
    first, _, _ = free_range(1).partition(":")
    away = f"tcp://localhost:{first}"
    terminals.worker(address, "--listen-address", f"tcp://127.0.0.1:{first}", "--contact-address", away)
    with Client(address) as client:
        assert list(client.scheduler_info()["workers"]) == [away]


def test_its_scheduler_is_killed(terminals: Terminals) -> None:
    scheduler, address = terminals.scheduler()
    worker = terminals.worker(address)
    family = psutil.Process(worker.process.pid).children(recursive=True)
    scheduler.kill()
    worker.signal(signal.SIGTERM)
    worker.end()
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 1, "which scheduler?"),
        ([NOBODY, "--nthread", "2"], 2, "No such option '--nthread'. (Did you mean"),
        ([NOBODY, "more"], 2, "more is one argument too many"),
        ([NOBODY, "--scheduler-file", "f"], 1, "both say where the scheduler is"),
        ([NOBODY, "--nworkers", "2", "--no-nanny"], 1, "--no-nanny has one worker in this process"),
        ([NOBODY, "--preload-nanny", "x", "--no-nanny"], 1, "--preload-nanny needs a nanny"),
        ([NOBODY, "--contact-address", NOBODY], 1, "--contact-address needs --listen-address"),
        ([NOBODY, "--listen-address", NOBODY, "--host", "a"], 1, "--listen-address and --host say the same"),
        ([NOBODY, "--listen-address", NOBODY, "--worker-port", "1"], 1, "--listen-address and --worker-port say"),
        ([NOBODY, "--listen-address", NOBODY, "--nworkers", "2"], 1, "--nworkers asks for 2"),
        ([NOBODY, "--host", "a", "--interface", "b"], 1, "--host and --interface say the same thing twice"),
        ([NOBODY, "--worker-port", "9000:9001", "--nworkers", "3"], 1, "names 2 ports for 3 workers"),
        ([NOBODY, "--worker-port", "9000:8000"], 2, "'9000:8000' is no port, and no range"),
        ([NOBODY, "--resources", "GPU"], 2, "'GPU' is no name and quantity"),
        ([NOBODY, "--nworkers", "many"], 2, "'many' is no number of workers"),
        ([NOBODY, "--nthreads", "-1"], 2, "-1 is no number of threads"),
        ([NOBODY, "--memory-limit", "much"], 2, "Usage: "),
        ([NOBODY, "--memory-limit", "much"], 2, "'much' is no size"),
        ([NOBODY, "--lifetime", "long"], 2, "'long' is no time"),
        ([NOBODY, "--lifetime-stagger", "some"], 2, "'some' is no time"),
        ([NOBODY, "--death-timeout", "soon"], 2, "'soon' is no time"),
        ([NOBODY, "--tls-ca-file", "no.pem"], 1, "--tls-ca-file no.pem: there is no such file"),
        ([NOBODY, "--worker-class", "no.such.Class"], 1, "'no.such.Class'"),
        ([NOBODY, "--secret-file", "/no/such/file"], 1, "/no/such/file"),
        (["nowhere:port"], 1, "'port'"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], code: int, words: str) -> None:
    found, said = refused(*arguments)
    assert words in said
    assert found == code


# ---------------------------------------------------------------- what tasks do, and small questions


def by_value() -> tuple[Callable[[str], str], Callable[[str], str]]:
    """Return functions that travel by value, as workers do not have this module."""

    def count_one(path: str) -> str:
        with open(path, "a") as file:
            file.write("x")
        return "counted"

    def wait_for_file(path: str) -> str:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return "went"

    return count_one, wait_for_file


count_one, wait_for_file = by_value()


def address_of(client: Client, name: str) -> str:
    return next(at for at, worker in client.scheduler_info()["workers"].items() if worker["name"] == name)


def free_range(count: int) -> str:
    """Return a range of ports, all of them free a moment ago."""
    import socket

    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return f"{first}:{first + count - 1}"
