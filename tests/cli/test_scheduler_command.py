"""``windrow scheduler``, as its users run it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_help import Terminals

from windrow import Client
from windrow.cli.main import main


def refused(*arguments: str) -> tuple[int, str]:
    """Return exit code and words of a scheduler that does not come to be."""
    result: Any = CliRunner().invoke(main, ["scheduler", *arguments])
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_three_terminals(terminals: Terminals) -> None:
    scheduler, address = terminals.scheduler()
    worker = terminals.worker(address, "--name", "a", "--nthreads", "2")
    with Client(address) as client:
        assert client.submit(sum, [1, 2]).result(20) == 3
        assert list(client.nthreads().values()) == [2]
    assert scheduler.end(signal.SIGINT) == 0
    assert worker.end() == 0, "with its scheduler it ends, too"
    assert "Worker a at tcp://127.0.0.1:" in worker.output
    assert "Traceback" not in scheduler.output + worker.output


def test_it_says_how_to_connect(terminals: Terminals) -> None:
    scheduler = terminals("scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--dashboard-prefix", "foo")
    address = scheduler.line("Scheduler at").split()[-1]
    assert scheduler.line("Dashboard at http://127.0.0.1:").endswith("/foo/status")
    assert scheduler.line(f"windrow worker {address}").endswith(f'Client("{address}")')
    assert scheduler.line("Other machines cannot reach it")
    assert scheduler.end(signal.SIGTERM) == 0
    assert "not encrypted" not in scheduler.output


def test_files_are_there_while_it_runs(terminals: Terminals, tmp_path: Path) -> None:
    file, pid = tmp_path / "cluster.json", tmp_path / "pid"
    scheduler, address = terminals.scheduler("--scheduler-file", str(file), "--pid-file", str(pid))
    assert pid.read_text().strip() == str(scheduler.process.pid)
    assert json.loads(file.read_text())["address"] == address
    assert file.stat().st_mode & 0o077 == 0, "who can read it can use the cluster"
    with Client(scheduler_file=str(file)) as client:
        assert client.scheduler_info()["address"] == address
    assert scheduler.end(signal.SIGTERM) == 0
    assert not file.exists()
    assert not pid.exists()
    assert f"Scheduler file {file}: address and secret" in scheduler.output


def test_a_client_may_end_it(terminals: Terminals) -> None:
    scheduler, address = terminals.scheduler()
    worker = terminals.worker(address)
    with Client(address) as client:
        client.shutdown()
    assert scheduler.end() == 0
    assert worker.end() == 0


def test_it_ends_when_nothing_is_done(terminals: Terminals) -> None:
    scheduler, _ = terminals.scheduler("--idle-timeout", "200 ms")
    assert scheduler.end() == 0


def test_a_secret_of_ones_own(terminals: Terminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As between machines: the runtime directory of the one is not that of the other."""
    file, elsewhere = tmp_path / "secret", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    scheduler, address = terminals.scheduler("--secret-file", str(file))
    assert file.stat().st_mode & 0o077 == 0
    secret = file.read_text().strip()
    for facts in ("cmdline", "environ"):
        assert secret not in Path(f"/proc/{scheduler.process.pid}/{facts}").read_text()
    worker = terminals.worker(address, "--secret-file", str(file), XDG_RUNTIME_DIR=str(elsewhere))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
    monkeypatch.setenv("DASK_WINDROW__SECRET_FILE", str(file))
    import dask.config

    dask.config.refresh()
    try:
        with Client(address) as client:
            assert client.submit(sum, [1, 2]).result(20) == 3
    finally:
        monkeypatch.undo()
        dask.config.refresh()
    assert scheduler.end(signal.SIGTERM) == 0
    assert worker.end() == 0
    assert file.read_text().strip() == secret, "the next scheduler has the same"


def test_on_all_interfaces_it_warns_and_is_found(terminals: Terminals) -> None:
    scheduler, address = terminals.scheduler("--host", "0.0.0.0", "--insecure")
    assert "not encrypted" in scheduler.line("other machines can reach")
    assert scheduler.line("by --scheduler-file or --secret-file")
    port = address.rpartition(":")[2]
    for name in (address, f"tcp://127.0.0.1:{port}", f"localhost:{port}"):
        with Client(name) as client:
            assert client.scheduler_info()["address"] == address


def test_a_preload_has_arguments(terminals: Terminals, tmp_path: Path) -> None:
    file = tmp_path / "greeting.py"
    file.write_text(
        "import click\n"
        "@click.command()\n"
        "@click.argument('whom')\n"
        "@click.option('--times', type=int, default=1)\n"
        "def dask_setup(scheduler, whom, times):\n"
        "    print(f'hello {whom} ' * times, scheduler.address, flush=True)\n"
    )
    scheduler = terminals("scheduler", "--port", "0", "--no-dashboard", "--preload", str(file), "you", "--times", "2")
    assert scheduler.line("hello you hello you").split()[-1].startswith("tcp://127.0.0.1:")


def test_many_connections_are_allowed(terminals: Terminals) -> None:
    scheduler, _ = terminals.scheduler()
    limits = Path(f"/proc/{scheduler.process.pid}/limits").read_text()
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(soft) >= int(hard) // 2


def test_a_second_signal_does_not_wait(terminals: Terminals, tmp_path: Path) -> None:
    file = tmp_path / "stuck.py"
    file.write_text(
        "import asyncio\n"
        "async def dask_teardown(scheduler):\n"
        "    print('it takes its time', flush=True)\n"
        "    await asyncio.sleep(600)\n"
    )
    scheduler, _ = terminals.scheduler("--preload", str(file))
    scheduler.signal(signal.SIGTERM)
    scheduler.line("it takes its time")
    assert scheduler.end(signal.SIGTERM) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--prot", "8786"], 2, "No such option '--prot'. (Did you mean one of: '--port', '--protocol'?)"),
        (["8786"], 2, "8786 is one argument too many: there is no --preload to take it"),
        (["--port", "eighty"], 2, "'eighty' is no port"),
        (["--tls-cert", "no.pem", "--tls-key", "b.pem"], 1, "--tls-cert no.pem: there is no such file"),
        (["--tls-cert", "a.pem", "--insecure"], 1, "--tls-cert and --insecure: give either"),
        (["--protocol", "tcp", "--host", "0.0.0.0"], 1, "or --insecure"),
        (["--protocol", "ucx"], 1, "unknown protocol 'ucx'"),
        (["--host", "127.0.0.1", "--interface", "lo"], 1, "say the same thing twice"),
        (["--interface", "eth99"], 1, "'eth99'"),
        (["--host", "192.0.2.1", "--no-dashboard"], 1, "cannot listen on"),
        (["--jupyter"], 1, "start Jupyter in a process of its own"),
        (["--idle-timeout", "soon"], 2, "'soon' is no time"),
        (["--scheduler-file", "/no/such/place/file"], 1, "there is no directory /no/such/place"),
        (["--pid-file", "/no/such/place/pid"], 1, "--pid-file /no/such/place/pid cannot be written"),
        (["--secret-file", "/no/such/place/secret"], 1, "/no/such/place"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], code: int, words: str) -> None:
    found, said = refused(*arguments)
    assert words in said
    assert found == code


def test_a_file_without_a_secret_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("swordfish")
    code, said = refused("--secret-file", str(file))
    assert code == 1
    assert "holds no secret: that is at least 32 hexadecimal digits" in said
    assert "swordfish" not in said


def test_a_port_that_is_taken(terminals: Terminals) -> None:
    _, address = terminals.scheduler()
    second = terminals("scheduler", "--port", address.rpartition(":")[2], "--no-dashboard")
    assert second.end() == 1
    assert "cannot listen on" in second.output
    assert "Traceback" not in second.output


def test_the_record_of_a_dead_one_is_removed(terminals: Terminals, runtime: Path) -> None:
    first, address = terminals.scheduler()
    record = runtime / f"{address.rpartition(':')[2]}-127.0.0.1.json"
    first.kill()
    assert record.exists(), "it had no time to remove it"
    terminals.scheduler()
    assert not record.exists()
