"""``windrow ssh``: a cluster on machines that ssh reaches, for as long as the command runs.

What lives here: the command's options, and what of `SSHCluster` they mean. What this file must never know: how a
machine is reached (`deploy.ssh`).
"""

from __future__ import annotations

import os
import signal
import warnings
from typing import IO, Any

import click

DEFAULT_PORT = 8786


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("hostnames", nargs=-1)
@click.option("--scheduler", default=None, metavar="HOST", help="The scheduler's machine; by default the first of all.")
@click.option("--scheduler-port", default=DEFAULT_PORT, show_default=True, help="Where the scheduler listens.")
@click.option("--nthreads", default=0, help="Threads of each worker; by default they share the machine's cores.")
@click.option("--nworkers", "--n-workers", default=1, show_default=True, help="Workers on each machine.")
@click.option("--hostfile", type=click.File("r"), default=None, help="A file with a machine's name on each line.")
@click.option("--ssh-username", default=None, help="Who to be there.")
@click.option("--ssh-port", default=None, type=int, help="Where sshd listens there.")
@click.option("--ssh-private-key", default=None, metavar="FILE", help="The key to prove it with.")
@click.option("--ssh-known-hosts", default=None, metavar="FILE", help="The keys of the machines.")
@click.option("--local-directory", default=None, help="Where workers put their directories.")
@click.option("--remote-python", default=None, help="The interpreter there; by default of the same path as here.")
@click.option("--memory-limit", default="auto", show_default=True, help="Of each worker: '4 GiB', 0.5, auto, 0: none.")
@click.option("--insecure", is_flag=True, help="Do not encrypt what goes between the machines.")
@click.option("--worker-class", default="windrow.Nanny", show_default=True, help="What workers are made from.")
def ssh(
    hostnames: tuple[str, ...],
    scheduler: str | None,
    hostfile: IO[str] | None,
    remote_python: str | None,
    worker_class: str,
    **options: Any,
) -> None:
    """Start a cluster on machines that ssh reaches, and end it with this command.

    The scheduler runs on the first of HOSTNAMES, workers on all of them.

    \b
    Examples:
      windrow ssh node1 node2 node3
      windrow ssh --hostfile machines.txt --nworkers 2 --nthreads 4
      windrow ssh --scheduler head node1 node2 --ssh-private-key ~/.ssh/cluster

    Programs of this user on this machine connect with Client("tcp://…"), by the address that is printed.
    """
    names = [*hostnames, *(line.strip() for line in hostfile or () if line.strip() and not line.startswith("#"))]
    if not names:
        raise click.UsageError("name the machines, or a file that does: windrow ssh node1 node2, or --hostfile")
    settings = {
        "connect_options": _connecting(options),
        "worker_options": _of_workers(options),
        "scheduler_options": {"port": options["scheduler_port"]},
        "worker_class": worker_class,
        "remote_python": remote_python,
        "security": False if options["insecure"] else None,
    }
    raise SystemExit(_run([scheduler or names[0], *names], settings))


def _connecting(options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "username": options["ssh_username"],
        "port": options["ssh_port"],
        "client_keys": [os.path.expanduser(options["ssh_private_key"])] if options["ssh_private_key"] else None,
        "known_hosts": options["ssh_known_hosts"],
    }
    return {name: value for name, value in given.items() if value is not None}


def _of_workers(options: dict[str, Any]) -> dict[str, Any]:
    given = {
        "n_workers": options["nworkers"],
        "nthreads": options["nthreads"] or None,
        "local_directory": options["local_directory"],
        "memory_limit": options["memory_limit"],
    }
    return {name: value for name, value in given.items() if value is not None}


def _run(hosts: list[str], settings: dict[str, Any]) -> int:
    import asyncio

    return asyncio.run(_serve(hosts, settings))


async def _serve(hosts: list[str], settings: dict[str, Any]) -> int:
    import asyncio

    from windrow import security
    from windrow.deploy.ssh import SSHCluster

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopping, number)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            cluster = SSHCluster(hosts, asynchronous=True, **settings)
        for warning in warned:
            click.echo(f"windrow ssh: {warning.message}", err=True)
        starting = asyncio.ensure_future(cluster)
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return 0
        starting.result()
    except Exception as error:
        click.echo(f"windrow ssh: {error}", err=True)
        return 1
    assert cluster.secret is not None
    published = security.publish(cluster.scheduler_address, cluster.secret, cluster.security, name=cluster.name)
    try:
        _tell(cluster)
        while not stopping.is_set() and cluster.status == "running":
            await asyncio.wait([stopped], timeout=1.0)
        return 0 if stopping.is_set() else 1
    finally:
        security.withdraw(published)
        await cluster.close()


def _stop(stopping: Any, number: int) -> None:
    if stopping.is_set():  # the second time: at once; the machines notice that the connections are gone
        os._exit(128 + number)
    stopping.set()


def _tell(cluster: Any) -> None:
    workers = cluster.scheduler_info["workers"].values()
    threads = sum(worker["nthreads"] for worker in workers)
    click.echo(f"Scheduler at {cluster.scheduler_address}, with {len(workers)} workers of {threads} threads together.")
    if cluster.dashboard_link:
        click.echo(f"Dashboard: {cluster.dashboard_link}")
    click.echo(f'Programs of this user connect with Client("{cluster.scheduler_address}"). Ctrl-C ends the cluster.')
