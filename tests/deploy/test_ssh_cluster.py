"""`SSHCluster` on this machine, over an ssh server that the tests start: sshd, or asyncssh's where there is none."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from elsewhere_help import descendants, exposed, until, until_gone

from windrow import Client, SpecCluster, SSHCluster
from windrow.addressing import is_loopback, own_ip
from windrow.deploy.ssh import SSHScheduler, SSHWorker
from windrow.errors import WorkerStartError
from windrow.system import cpu_count

asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed")

HERE = "127.0.0.1"
SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]))


class Server:
    """An ssh server of this machine, as a program on a port of its own."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.key = directory / "key"
        host_key = directory / "host_key"
        authorized = directory / "authorized_keys"
        for path in (self.key, host_key):
            made = asyncssh.generate_private_key("ssh-ed25519")
            path.touch(mode=0o600)
            made.write_private_key(path)
            made.write_public_key(path.with_suffix(".pub"))
        authorized.write_bytes(self.key.with_suffix(".pub").read_bytes())
        self.port = free_port()
        self.environment = {
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "XDG_RUNTIME_DIR": str(directory),
        }
        if kind == "sshd":
            command, env = self._sshd(host_key, authorized), {**os.environ}
        else:
            program = str(Path(__file__).with_name("ssh_server.py"))
            command = [sys.executable, program, str(self.port), str(host_key), str(authorized)]
            env = {**os.environ, **self.environment}
        self.words = directory / "words"
        with self.words.open("wb") as words:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=words, env=env)
        until(lambda: self._answers() or self.process.poll() is not None, "the ssh server answers")

    def _sshd(self, host_key: Path, authorized: Path) -> list[str]:
        assert SSHD is not None
        settings = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        config = self.directory / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress {HERE}\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\n"
            f"PidFile {self.directory / 'pid'}\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            f"PermitRootLogin yes\nSetEnv {settings}\n"
        )
        return [SSHD, "-D", "-e", "-f", str(config)]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HERE, self.port)) == 0

    @property
    def options(self) -> dict[str, Any]:
        """What a client connects with."""
        return {
            "port": self.port,
            "username": getpass.getuser(),
            "client_keys": [str(self.key)],
            "known_hosts": None,
            "config": [],
        }

    def cluster(self, n_workers: int = 1, **kwargs: Any) -> SpecCluster:
        """Start a cluster over this server."""
        kwargs = {"worker_options": {"nthreads": 1}, "connect_options": self.options, **kwargs}
        return SSHCluster([HERE] * (n_workers + 1), **kwargs)

    def stop(self) -> None:
        """End it, and what it has started."""
        for process in [*descendants(self.process.pid), psutil.Process(self.process.pid)]:
            process.kill()
        self.process.wait(10)


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The system's sshd where there is one that runs; else asyncssh's own server."""
    directory = tmp_path_factory.mktemp("ssh")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        server = Server("sshd" if SSHD else "asyncssh", directory)
        if SSHD and server.process.poll() is not None:  # such as for want of its user
            server = Server("asyncssh", directory)
        yield server
        server.stop()


@pytest.fixture(scope="module")
def cluster(server: Server) -> Iterator[SpecCluster]:
    """One worker, for tests that leave it as it is."""
    with server.cluster() as cluster:
        yield cluster


Started = Callable[[], list[psutil.Process]]


@pytest.fixture
def started(server: Server) -> Started:
    """Return what looks for the living processes of windrow that the test has started through the server."""
    before = set(descendants(server.process.pid))

    def look() -> list[psutil.Process]:
        found = [process for process in descendants(server.process.pid) if process not in before]
        return [process for process in found if "windrow" in " ".join(process.cmdline())]

    return look


# ---------------------------------------------------------------- over a real server


def test_a_cluster_over_ssh(cluster: SpecCluster, server: Server) -> None:
    with Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result(20) == 3
        scheduler = client.run_on_scheduler(os.getpid)
        (worker,) = client.run(os.getpid).values()
        assert {scheduler, worker} <= {process.pid for process in descendants(server.process.pid)}
        (facts,) = client.scheduler_info()["workers"].values()
        assert (facts["name"], facts["nthreads"]) == (0, 1)


def test_no_secret_is_where_others_can_read_it(cluster: SpecCluster, server: Server) -> None:
    processes = [process for process in descendants(server.process.pid) if "python" in process.name()]
    assert len(processes) >= 3  # scheduler, nanny, worker
    for process in processes:
        assert cluster.secret.hex() not in exposed(process), process


def test_several_workers_on_a_machine(server: Server) -> None:
    with server.cluster(worker_options={"n_workers": 2}) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=20)
        workers = client.scheduler_info()["workers"].values()
        assert {worker["name"] for worker in workers} == {"0-0", "0-1"}
        assert {worker["nthreads"] for worker in workers} == {max(1, cpu_count() // 2)}


def test_a_group_is_scaled_as_one(server: Server) -> None:
    with server.cluster(worker_options={"n_workers": 2, "nthreads": 1}) as cluster, Client(cluster) as client:
        assert cluster.plan == {"0-0", "0-1"}
        cluster.scale(2)
        client.wait_for_workers(4, timeout=20)
        kept = client.scatter([bytes(100_000 + n) for n in range(4)])
        cluster.scale(1)
        until(lambda: cluster.observed == {"0-0", "0-1"}, "one of the groups is gone")
        assert [len(value) for value in client.gather(kept)] == [100_000 + n for n in range(4)]


def test_scaling_moves_what_is_held(server: Server) -> None:
    with server.cluster() as cluster, Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(2, timeout=20)
        kept = client.scatter([bytes(100_000 + n) for n in range(4)])
        cluster.scale(1)
        until(lambda: len(client.scheduler_info()["workers"]) == 1, "one of them is gone")
        assert [len(value) for value in client.gather(kept)] == [100_000 + n for n in range(4)]


def test_close_leaves_no_process(server: Server, started: Started) -> None:
    cluster = server.cluster()
    processes = started()
    assert len(processes) >= 3
    cluster.close()
    until_gone(processes)


def test_asynchronous(server: Server) -> None:
    async def run() -> int:
        async with server.cluster(asynchronous=True) as cluster:
            async with Client(cluster, asynchronous=True) as client:
                return int(await client.submit(sum, [1, 2]))

    assert asyncio.run(run()) == 3


PARENT = """\
import sys
from windrow import SSHCluster
cluster = SSHCluster(["127.0.0.1", "127.0.0.1"], {options!r}, {{"nthreads": 1}})
print("ready", flush=True)
sys.stdin.readline()
"""


def test_the_end_of_the_program_leaves_nothing(server: Server, started: Started) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(options=server.options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    processes = started()
    assert len(processes) >= 3
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=20)
    until_gone(processes)


@pytest.mark.skipif(is_loopback(own_ip()), reason="this machine has no address that others could reach")
def test_a_cluster_that_other_machines_can_reach(server: Server) -> None:
    with server.cluster(2, scheduler_options={"host": "0.0.0.0"}) as cluster, Client(cluster) as client:
        assert cluster.scheduler_address.startswith(f"tls://{own_ip()}:")
        assert all(address.startswith(f"tls://{own_ip()}:") for address in client.run(os.getpid))
        parts = client.map(lambda number: bytes(100_000 + number), range(4), pure=False)
        assert client.submit(lambda parts: sum(map(len, parts)), parts).result(20) == 400_006


def test_what_is_written_there_is_logged_here(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def speak(text: str) -> None:
        print(text, flush=True)
        print(text.upper(), file=sys.stderr, flush=True)

    with server.cluster() as cluster, Client(cluster) as client:
        client.submit(speak, "hello").result(20)
        until(lambda: {"127.0.0.1: hello", "127.0.0.1: HELLO"} <= set(caplog.messages), "both are logged")


# ---------------------------------------------------------------- the command


def command(server: Server, *arguments: str) -> list[str]:
    """Return the command line of ``windrow ssh`` over this server."""
    known = server.directory / "known_hosts"
    public = (server.directory / "host_key.pub").read_text()
    known.write_text(f"[{HERE}]:{server.port} {public}")
    options = ["--ssh-port", str(server.port), "--ssh-private-key", str(server.key), "--ssh-known-hosts", str(known)]
    return [sys.executable, "-m", "windrow.cli", "ssh", *options, "--scheduler-port", "0", *arguments]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_keeps_a_cluster_until_a_signal(server: Server, started: Started, number: int) -> None:
    running = subprocess.Popen(
        command(server, "--nthreads", "1", HERE), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line.endswith("with 1 workers of 1 threads together.\n")
    address = line.removeprefix("Scheduler at ").split(",")[0]
    with Client(address) as client:  # its secret is known to this user's programs
        assert client.submit(sum, [1, 2]).result(20) == 3
        processes = started()
        running.send_signal(number)
        _, words = running.communicate(timeout=20)
    assert (running.returncode, words) == (0, "")
    until_gone(processes)


def test_the_command_says_what_is_wrong(server: Server) -> None:
    done = subprocess.run(
        command(server, "--remote-python", "/no/such/python", HERE), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "give remote_python=" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- what is wrong


def test_a_machine_where_nobody_listens() -> None:
    options = {"port": free_port(), "known_hosts": None, "config": []}
    with pytest.raises(RuntimeError, match=rf"no ssh server answers on 127.0.0.1 \(port {options['port']}\)"):
        SSHCluster([HERE, HERE], options)


def test_a_key_that_is_refused(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    with pytest.raises(RuntimeError, match=r"does not let \w+ in: .*give connect_options=\{'username'"):
        server.cluster(connect_options={**server.options, "client_keys": [str(key)], "agent_path": None})


def test_a_machine_whose_key_is_not_known(server: Server, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    with pytest.raises(RuntimeError, match=r"is who it says cannot be told.*'known_hosts'"):
        server.cluster(connect_options={**server.options, "known_hosts": str(known)})


def test_a_key_file_that_is_not_there(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"name a file that is not there: .*no_such_key"):
        server.cluster(connect_options={**server.options, "client_keys": ["/no_such_key"]})


def test_a_python_that_is_not_there(server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"There is no /no/such/python on 127.0.0.1 to run: give remote_python="):
        server.cluster(remote_python="/no/such/python")


def test_a_worker_that_cannot_start_says_why(server: Server, started: Started) -> None:
    with pytest.raises(WorkerStartError, match=r"worker 0 on 127.0.0.1 could not start: .*no_such_module"):
        server.cluster(worker_class="no_such_module.Nanny")
    until(lambda: started() == [], "the scheduler has ended too")


# ---------------------------------------------------------------- at the call


def test_hosts_are_named() -> None:
    for hosts in (None, []):
        with pytest.raises(ValueError, match="hosts is empty"):
            SSHCluster(hosts)
    with pytest.raises(TypeError, match="hosts must be a list"):
        SSHCluster("node1")


@pytest.mark.parametrize(
    ("name", "value"), [("connect_options", [{}]), ("remote_python", ["python3"]), ("connect_options", [])]
)
def test_lists_have_one_entry_for_each_host(name: str, value: Any) -> None:
    with pytest.raises(RuntimeError, match=rf"{name} is a list of {len(value)}, and there are 2 hosts"):
        SSHCluster([HERE, HERE], **{name: value})


def test_options_that_cannot_travel() -> None:
    with pytest.raises(TypeError, match=r"worker_options\['env'\]\['A'\] cannot travel"):
        SSHCluster([HERE, HERE], worker_options={"env": {"A": object()}})
    with pytest.raises(TypeError, match=r"scheduler_options\['plugins'\] cannot travel"):
        SSHCluster([HERE, HERE], scheduler_options={"plugins": object()})
    with pytest.raises(ValueError, match="n_workers"):
        SSHCluster([HERE, HERE], worker_options={"n_workers": 0})


def test_old_keywords_are_told_in_new_words() -> None:
    with pytest.raises(TypeError, match=r"no argument 'ssh_username'.*connect_options=\{'username'"):
        SSHCluster([HERE, HERE], ssh_username="me")


def test_other_machines_draw_a_warning() -> None:
    port = free_port()
    with pytest.warns(UserWarning, match="not encrypted"), pytest.raises(RuntimeError, match="no ssh server answers"):
        SSHCluster([HERE, "node7.invalid"], {"port": port, "known_hosts": None, "config": []}, security=False)


def test_without_asyncssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(ImportError, match=r"pip install 'windrow\[ssh\]'"):
        SSHCluster([HERE, HERE])


def test_parties_without_a_cluster(server: Server) -> None:
    async def run() -> tuple[str | None, str]:
        async with SSHScheduler(HERE, server.options, {"host": HERE}) as scheduler:
            assert scheduler.address is not None
            from windrow import security

            security.remember(scheduler.address, scheduler.secret)
            async with SSHWorker(scheduler.address, HERE, server.options, name="a") as worker:
                async with Client(scheduler.address, asynchronous=True) as client:
                    (address,) = await client.run(lambda: None)
                    return worker.address, address

    address, known = asyncio.run(run())
    assert address == known


@pytest.mark.skipif(SSHD is None, reason="no sshd is installed: these tests ran over asyncssh's server")
def test_these_tests_ran_over_sshd(server: Server) -> None:
    if server.kind != "sshd":
        pytest.skip("this sshd does not run here; these tests ran over asyncssh's server")
    assert Path(psutil.Process(server.process.pid).exe()).name == "sshd"
