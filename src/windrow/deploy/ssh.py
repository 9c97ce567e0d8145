"""`SSHCluster`: the scheduler and the workers on machines that ssh reaches.

What lives here: the function, the parties that it makes its cluster of, and the way to their machines (asyncssh). What
this file must never know: what a process there does (`deploy.party`).

What a process there is to be, the cluster's secret with it, goes through the connection, to its standard input. That is
its lifeline too: when the connection ends, however that comes about, so does the process, and all that it has started.
"""

from __future__ import annotations

import getpass
import logging
import shlex
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from windrow import addressing, listening, tls
from windrow import security as secrets
from windrow.deploy import forward
from windrow.deploy.arguments import UNENCRYPTED
from windrow.deploy.elsewhere import Elsewhere, certificates_of, checked_plain, configured, dotted
from windrow.deploy.party import Order
from windrow.deploy.spec import SpecCluster
from windrow.errors import WorkerStartError

__all__ = ["SSHCluster", "SSHScheduler", "SSHWorker"]

logger = logging.getLogger("windrow.deploy.ssh")

START_S = 60.0
KEEPALIVE_S = 15.0
"""How often a silent connection is asked for a sign of life; without three in a row it is lost."""

_OLD = {
    "scheduler_addr": "the first of hosts",
    "scheduler_port": "scheduler_options={'port': …}",
    "worker_addrs": "the other hosts",
    "nthreads": "worker_options={'nthreads': …}",
    "nprocs": "worker_options={'n_workers': …}",
    "n_workers": "worker_options={'n_workers': …}",
    "ssh_username": "connect_options={'username': …}",
    "ssh_port": "connect_options={'port': …}",
    "ssh_private_key": "connect_options={'client_keys': […]}",
}
"""Keywords of long ago, and what is to be written now."""


class _Session:
    """A process on a machine, over a connection of its own."""

    def __init__(self, connection: Any, process: Any) -> None:
        self._connection = connection
        self._process = process
        self.status = process.stdout
        self.stderr = process.stderr
        self.order: dict[str, Any] = {"status_fd": 1}

    def write(self, data: bytes) -> None:
        """Write to its standard input."""
        self._process.stdin.write(data)

    def hang_up(self) -> None:
        """End its lifeline."""
        if not self._process.stdin.is_closing():
            self._process.stdin.write_eof()

    def kill(self) -> None:
        """End the connection, and with it the process."""
        self._connection.abort()

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        try:
            await self._process.wait_closed()
        finally:
            self._connection.close()
        code = self._process.returncode
        if code is None:
            return "has lost its connection"
        return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"


class _OverSSH(Elsewhere):
    """A party on a machine that ssh reaches."""

    def __init__(
        self,
        scheduler: str | None,
        name: Any,
        host: str,
        connect_options: Mapping[str, Any] | None,
        remote_python: str | None,
        timeout: float,
    ) -> None:
        super().__init__(scheduler, name, timeout)
        self.host = host
        self.connect_options = dict(connect_options or {})
        self.remote_python = remote_python or sys.executable

    @property
    def what(self) -> str:
        """What it is and where, for messages."""
        return f"{super().what} on {self.host}"

    async def _launch(self) -> _Session:
        connection = await self._connect()
        try:
            command = f"{shlex.quote(self.remote_python)} -P -m windrow.deploy.party"
            process = await connection.create_process(command, encoding=None)
        except BaseException:
            connection.abort()
            raise
        return _Session(connection, process)

    async def _connect(self) -> Any:
        import asyncssh

        options = self.connect_options
        where = f"{self.host} (port {options.get('port', 22)})"
        try:
            return await asyncssh.connect(self.host, **{"keepalive_interval": KEEPALIVE_S, **options})
        except asyncssh.PermissionDenied as error:
            who = options.get("username", getpass.getuser())
            raise self.failure(
                f"{where} does not let {who} in: {error.reason}. See that 'ssh {self.host}' works without a password, "
                "or give connect_options={'username': …, 'client_keys': […]}"
            ) from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise self.failure(
                f"whether {where} is who it says cannot be told: {error.reason}. Connect once by 'ssh {self.host}', "
                "which writes its key down, or give connect_options={'known_hosts': …} (None trusts any)"
            ) from error
        except asyncssh.Error as error:
            raise self.failure(f"no connection to {where} by ssh: {error.reason}") from error
        except FileNotFoundError as error:
            raise self.failure(f"connect_options for {self.host} name a file that is not there: {error}") from error
        except OSError as error:
            raise self.failure(
                f"no ssh server answers on {where}: {error}. Check the host's name, that sshd runs there, and "
                "connect_options={'port': …}"
            ) from error
        except (TypeError, ValueError) as error:
            raise self.failure(f"connect_options for {self.host} will not do: {error}") from error

    def _advice(self, words: str) -> str:
        if "No module named" in words and "windrow" in words:
            return f". Install windrow for {self.remote_python} on {self.host}, or give remote_python="
        if "exited with code 127" in words or "exited with code 126" in words:
            return f". There is no {self.remote_python} on {self.host} to run: give remote_python="
        return ""

    def _hear(self, data: bytes, lines: list[bytes]) -> None:
        for line in lines:
            forward.stderr.log(logger, logging.WARNING, f"{self.host}: {line.decode(errors='replace')}")


class SSHScheduler(_OverSSH):
    """A scheduler on a machine that ssh reaches.

    Parameters
    ----------
    host
        The machine.
    connect_options
        Keywords of ``asyncssh.connect``.
    scheduler_options
        Keywords of `Scheduler`: plain values, which travel as JSON.
    remote_python
        The interpreter there; by default of the same path as this one.
    timeout
        How many seconds its start may take.
    certificates
        Its `Security`, which goes through the connection.

    Examples
    --------
    >>> async with SSHScheduler("node1") as scheduler:  # doctest: +SKIP
    ...     print(scheduler.address)
    """

    def __init__(
        self,
        host: str,
        connect_options: Mapping[str, Any] | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        remote_python: str | None = None,
        timeout: float = START_S,
        certificates: tls.Security | None = None,
    ) -> None:
        super().__init__(None, None, host, connect_options, remote_python, timeout)
        self.scheduler_options = checked_plain({"port": 0, **(scheduler_options or {})}, "scheduler_options")
        self.secret = secrets.new_secret()
        self.security = certificates

    async def start(self) -> None:
        """Start the process, and wait until the scheduler listens."""
        await super().start()
        if self.address is not None:
            secrets.remember(self.address, self.secret, self.security)  # for the workers that are started from here

    def _order(self) -> Order:
        options = {**self.scheduler_options, "secret": self.secret.hex()}
        if self.security is not None:
            options["security"] = self.security.to_record()
        return Order({"scheduler": {"cls": "windrow.Scheduler", "options": options}}, config=configured())


class SSHWorker(_OverSSH):
    """Workers on a machine that ssh reaches: one, or several under one name.

    Parameters
    ----------
    scheduler
        The scheduler's address.
    host
        The machine.
    connect_options
        Keywords of ``asyncssh.connect``.
    worker_options
        Keywords of ``worker_class``: plain values, which travel as JSON; and ``n_workers``. Several workers share the
        machine's cores, unless ``nthreads`` says how many each has.
    worker_class
        A class, or its dotted name.
    name
        The worker's name; of several, its beginning: ``name-0``, ``name-1``, …
    remote_python
        The interpreter there; by default of the same path as this one.
    timeout
        How many seconds its start may take.

    Examples
    --------
    >>> async with SSHWorker("tcp://10.0.0.1:8786", "node2", name=0) as worker:  # doctest: +SKIP
    ...     await worker.finished()
    """

    failure = WorkerStartError

    def __init__(
        self,
        scheduler: str,
        host: str,
        connect_options: Mapping[str, Any] | None = None,
        worker_options: Mapping[str, Any] | None = None,
        worker_class: str | type = "windrow.Nanny",
        name: Any = None,
        remote_python: str | None = None,
        timeout: float = START_S,
    ) -> None:
        super().__init__(scheduler, checked_plain(name, "name"), host, connect_options, remote_python, timeout)
        options, self.n_workers = _split_options(worker_options)
        self.worker_options = options
        self.worker_class = dotted(worker_class, "worker_class")

    def _order(self) -> Order:
        assert self.scheduler is not None
        secret = secrets.secret_for(self.scheduler)
        names = [self.name] if self.n_workers == 1 else [f"{self.name}{suffix}" for suffix in _suffixes(self.n_workers)]
        parties = {
            f"worker {name}": {"cls": self.worker_class, "options": {"name": name, **self.worker_options}}
            for name in names
        }
        return Order(parties, self.scheduler, secret.hex(), certificates_of(self.scheduler), configured())


def _split_options(options: Mapping[str, Any] | None) -> tuple[dict[str, Any], int]:
    """Return the keywords of each worker, and how many workers there are to be."""
    own = dict(options or {})
    n_workers = own.pop("n_workers", 1)
    if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
        raise ValueError(f"worker_options['n_workers'] must be an int of at least 1, not {n_workers!r}")
    return checked_plain(own, "worker_options"), n_workers


def _suffixes(n_workers: int) -> list[str]:
    return [f"-{number}" for number in range(n_workers)]


def SSHCluster(
    hosts: Sequence[str] | None = None,
    connect_options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    worker_options: Mapping[str, Any] | None = None,
    scheduler_options: Mapping[str, Any] | None = None,
    worker_class: str | type = "windrow.Nanny",
    remote_python: str | Sequence[str] | None = None,
    security: Any = None,
    **kwargs: Any,
) -> SpecCluster:
    """Start a cluster on machines that ssh reaches: the scheduler on the first, workers on each of the others.

    They end when this program does, or loses its connections. The machines need windrow, and what tasks import, in an
    interpreter at the same path as here (or ``remote_python``).

    Parameters
    ----------
    hosts
        The machines: the scheduler's, then one for each worker (or group of workers); a machine may be named again.
    connect_options
        Keywords of ``asyncssh.connect``, such as ``username``, ``client_keys``, ``port`` and ``known_hosts``; or a list
        of such, one for each host. What ``~/.ssh/config`` says of the hosts holds.
    worker_options
        Keywords of ``worker_class``, and ``n_workers``: how many on each host.
    scheduler_options
        Keywords of `Scheduler`, such as ``dashboard_address``. It listens for other machines, unless all hosts are this
        one, or ``host`` says where.
    worker_class
        What workers are made from, or its dotted name; by default nannies.
    remote_python
        The interpreter on the hosts, or a list, one for each host.
    security
        As in `LocalCluster`: where other machines can come connections are encrypted, unless this refuses it.
    **kwargs
        Keywords of `SpecCluster`, such as ``asynchronous`` and ``name``.

    Returns
    -------
    SpecCluster
        It scales: further workers go to the hosts in turn.

    Raises
    ------
    ValueError
        There are no hosts.
    RuntimeError
        A list has not one entry for each host. Or a host cannot be reached, or a process does not start there; the
        message says which, and why.
    TypeError
        An option cannot travel as JSON; the message names it.
    ImportError
        asyncssh is not installed.

    Examples
    --------
    >>> cluster = SSHCluster(["node1", "node2", "node3"], worker_options={"nthreads": 4})  # doctest: +SKIP
    """
    _check_old(kwargs)
    places = _checked_hosts(hosts)
    try:
        import asyncssh  # noqa: F401
    except ImportError as error:
        raise ImportError("SSHCluster needs asyncssh: pip install 'windrow[ssh]'") from error
    connecting = _one_for_each(connect_options, "connect_options", len(places))
    pythons = _one_for_each(remote_python, "remote_python", len(places))
    certificates = tls.checked("SSHCluster", security)
    options = _reachable(scheduler_options, places, certificates)
    if options["protocol"] == "tls":
        certificates = tls.with_certificates(certificates)
    scheduler = {
        "cls": SSHScheduler,
        "options": {
            "host": places[0],
            "connect_options": connecting[0],
            "scheduler_options": checked_plain(options, "scheduler_options"),
            "certificates": certificates,
            "remote_python": pythons[0],
        },
    }
    workers: dict[Hashable, Any] = {
        number: _worker_spec(place, connecting[number + 1], worker_options, worker_class, pythons[number + 1])
        for number, place in enumerate(places[1:])
    }
    kwargs.setdefault("name", "SSHCluster")
    return SSHSpecCluster(workers, scheduler, **kwargs)


class SSHSpecCluster(SpecCluster):
    """A cluster whose further workers go to the hosts in turn."""

    _kind = "SSHCluster"

    def __init__(self, workers: Mapping[Hashable, Any], scheduler: Any, **kwargs: Any) -> None:
        self._turns = list(workers.values())
        super().__init__(workers=workers, scheduler=scheduler, worker=self._turns[0] if workers else None, **kwargs)

    def new_worker_spec(self) -> dict[Any, Any]:
        """Return a name and the specification for a worker on the host whose turn it is."""
        (name,) = super().new_worker_spec()
        return {name: self._turns[name % len(self._turns)]}


def _worker_spec(host: str, connecting: Any, options: Any, worker_class: str | type, python: Any) -> dict[str, Any]:
    _, n_workers = _split_options(options)
    spec = {
        "cls": SSHWorker,
        "options": {
            "host": host,
            "connect_options": connecting,
            "worker_options": dict(options or {}),
            "worker_class": dotted(worker_class, "worker_class"),
            "remote_python": python,
        },
    }
    return {**spec, "group": _suffixes(n_workers)} if n_workers > 1 else spec


def _check_old(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        if name in _OLD:
            raise TypeError(f"SSHCluster has no argument {name!r} (any more): write {_OLD[name]}")


def _checked_hosts(hosts: Sequence[str] | None) -> list[str]:
    if isinstance(hosts, str) or not all(isinstance(host, str) and host for host in hosts or ()):
        raise TypeError(f"hosts must be a list of names of machines, not {hosts!r}")
    if not hosts:
        raise ValueError("hosts is empty: name at least one machine, for the scheduler; those after it are for workers")
    return list(hosts)


def _one_for_each(value: Any, what: str, n_hosts: int) -> list[Any]:
    if value is None or isinstance(value, str | Mapping):
        return [value] * n_hosts
    if len(value) != n_hosts:
        raise RuntimeError(f"{what} is a list of {len(value)}, and there are {n_hosts} hosts: give one for each")
    return list(value)


def _reachable(
    options: Mapping[str, Any] | None, hosts: Sequence[str], security: tls.Security | None
) -> dict[str, Any]:
    """Return the scheduler's options with where it listens: for other machines, where there are others."""
    chosen = dict(options or {})
    if not {"host", "interface"} & set(chosen):
        chosen["host"] = "127.0.0.1" if all(map(addressing.is_loopback, hosts)) else ""
    host, said = str(chosen.get("host", "")), chosen.get("protocol")
    scheme, named, bare = host.rpartition("://")
    wanted = listening.scheme_of(said, host)
    chosen["protocol"] = tls.chosen_scheme(wanted, bare, security, said=bool(said or named or scheme))
    if chosen["protocol"] == "tcp" and not addressing.is_loopback(bare):
        warnings.warn(UNENCRYPTED, UserWarning, stacklevel=3)
    return chosen
