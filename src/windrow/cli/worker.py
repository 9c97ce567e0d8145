"""``windrow worker``: workers that join a scheduler, until a signal, the scheduler, or their lifetime ends them.

What lives here: the command's options, what of `Nanny` and `Worker` they mean, and what is said when they run. What
this file must never know: what a worker does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

import windrow
from windrow.cli import arguments
from windrow.cli.arguments import Contradiction

__all__ = ["worker"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[SCHEDULER] [PRELOAD_ARGV]...")
@click.option("--tls-ca-file", default=None, metavar="FILE", help="TLS: whose signature certificates need (PEM).")
@click.option("--tls-cert", default=None, metavar="FILE", help="TLS: the certificate of this worker (PEM).")
@click.option("--tls-key", default=None, metavar="FILE", help="TLS: its key, if that is not in the same file.")
@click.option("--worker-port", default=None, metavar="PORT", help="A port, or a range 9000:9010 that workers share.")
@click.option("--nanny-port", default=None, metavar="PORT", help="Without effect: nannies do not listen.")
@click.option("--dashboard-address", default=":0", show_default=True, help="Where each worker shows itself.")
@click.option("--dashboard/--no-dashboard", default=True, help="Whether they do.")
@click.option("--dashboard-prefix", default=None, help="What is before the paths of its pages.")
@click.option("--listen-address", default=None, metavar="URI", help="Where the worker listens: tcp://0.0.0.0:9000.")
@click.option("--contact-address", default=None, metavar="URI", help="By what others reach it, if that differs.")
@click.option("--host", default=None, help="Where to listen; by default what the scheduler is reached from.")
@click.option("--interface", default=None, help="Listen on a network interface, such as eth0, in place of a host.")
@click.option("--protocol", default=None, help="As the scheduler's, tcp or tls; by default just that.")
@click.option("--nthreads", type=int, default=0, help="Threads of each worker; by default they share the cores.")
@click.option("--nworkers", default=None, metavar="N", help="How many; -1: one a core; auto. 1 by default.")
@click.option("--name", default=None, help="The worker's name; of several NAME-0, NAME-1, …")
@click.option(
    "--memory-limit",
    callback=arguments.memory_text,
    default="auto",
    show_default=True,
    help="Of each: '4 GiB', 0.5, auto, or 0: none.",
)
@click.option("--nanny/--no-nanny", default=True, help="Whether a worker is a process that is watched and restarted.")
@click.option("--pid-file", default="", metavar="FILE", help="Write the process's id there.")
@click.option("--local-directory", default=None, metavar="DIR", help="Where workers make directories of their own.")
@click.option("--resources", default=None, metavar="TEXT", help="What each offers, such as 'GPU=2 MEM=10e9'.")
@click.option("--scheduler-file", default=None, metavar="FILE", help="Address and secret are there, or will be.")
@click.option("--secret-file", default=None, metavar="FILE", help="The cluster's secret is there.")
@click.option(
    "--death-timeout",
    callback=arguments.time_text,
    default=None,
    metavar="TIME",
    help="End if the scheduler is not found in this time.",
)
@click.option(
    "--lifetime",
    callback=arguments.time_text,
    default=None,
    metavar="TIME",
    help="Hand over and end after so long, such as '1 hour'.",
)
@click.option(
    "--lifetime-stagger",
    callback=arguments.time_text,
    default=None,
    metavar="TIME",
    help="By how much at most that is varied.",
)
@click.option("--lifetime-restart/--no-lifetime-restart", default=None, help="Whether another is started then.")
@click.option("--worker-class", default=None, metavar="NAME", help="The dotted name of a class of your own.")
@click.option("--preload", multiple=True, metavar="MODULE", help="Load a module, file or URL there (repeatable).")
@click.option("--preload-nanny", multiple=True, metavar="MODULE", help="Load it into the nanny (repeatable).")
@click.option("--scheduler-sni", default=None, help="Without effect: hosts' names are not checked.")
@click.version_option(windrow.__version__, prog_name="windrow worker")
@click.pass_context
def worker(ctx: click.Context, /, args: tuple[str, ...], **options: Any) -> None:
    """Start workers that join the scheduler at SCHEDULER; they wait for it, if it is not there yet.

    \b
    Examples:
      windrow worker tcp://127.0.0.1:8786
      windrow worker --scheduler-file ~/shared/cluster.json --nworkers auto
      windrow worker tcp://head:8786 --secret-file /run/secrets/windrow --nworkers 2 --nthreads 4
      windrow worker tcp://127.0.0.1:8786 --resources "GPU=2" --memory-limit 8GiB --name gpu

    Ctrl-C and SIGTERM: they end the tasks that run, hand over what they hold, and go; a second one ends them at
    once. The secret of a scheduler of the same user on this machine is found; of another it is in the scheduler
    file, or the secret file. What no option takes goes to a preload whose dask_setup is a click command.
    """
    from windrow.cli import serving

    security = serving.security_of(options, "worker")
    pid_path = options.pop("pid_file")
    orders = [{**order, **security} for order in _orders(ctx.command, args, options)]
    tell = ctx.obj or _tell  # who starts this command from code may have words of its own for workers that run
    raise SystemExit(serving.run(lambda: _serve(orders, options["nanny"], options["worker_class"], tell), pid_path))


# ---------------------------------------------------------------- from options to keywords


def _orders(command: click.Command, args: Sequence[str], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the keywords for each worker."""
    from windrow import config, system

    kinds = ("worker", "nanny") if options["nanny"] else ("worker",)
    preloads = [*options["preload"], *options["preload_nanny"]]
    configured = any(config.get(f"distributed.{kind}.preload", []) for kind in kinds)
    scheduler, argv = arguments.split(command, args, takes_scheduler=True, has_preloads=bool(preloads or configured))
    count, nthreads = arguments.worker_counts(options["nworkers"], options["nthreads"], system.cpu_count())
    _check_together(options, count)
    shared = {**_place(scheduler, options), **_shared(options, argv), "nthreads": nthreads}
    ports = arguments.shared_ports(options["worker_port"], count, "--worker-port")
    names = arguments.names(options["name"], count)
    port = "worker_port" if options["nanny"] else "port"
    return [
        {**shared, **({} if name is None else {"name": name}), **({port: own} if own else {})}
        for name, own in zip(names, ports, strict=True)
    ]


def _check_together(options: Mapping[str, Any], count: int) -> None:
    """Refuse options that do not go together."""
    if options["contact_address"] and not options["listen_address"]:
        raise Contradiction("--contact-address needs --listen-address: where the worker listens itself")
    if options["listen_address"]:
        for name in ("host", "interface", "worker_port"):
            if options[name]:
                raise Contradiction(
                    f"--listen-address and --{name.replace('_', '-')} say the same thing twice: give one of them"
                )
        if count > 1:
            raise Contradiction(
                f"--listen-address is the address of one worker, and --nworkers asks for {count}: use --host and "
                "--worker-port FIRST:LAST"
            )
    if options["host"] and options["interface"]:
        raise Contradiction("--host and --interface say the same thing twice: give one of them")
    if not options["nanny"]:
        if count > 1:
            raise Contradiction(
                f"--no-nanny has one worker in this process, and --nworkers asks for {count}: leave --no-nanny out, or "
                "start the command several times"
            )
        for name in ("preload_nanny", "lifetime_restart"):
            if options[name]:
                raise Contradiction(f"--{name.replace('_', '-')} needs a nanny: leave --no-nanny out")
    if options["nanny_port"]:
        click.echo("windrow worker: --nanny-port has no effect: nannies do not listen", err=True)


def _place(scheduler: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that say where the scheduler is, and what its secret is."""
    from windrow import config
    from windrow.cli import serving

    file = options["scheduler_file"]
    if scheduler and file:
        raise Contradiction(f"{scheduler} and --scheduler-file {file} both say where the scheduler is: give one")
    if not scheduler and not file and not config.get("scheduler-address", None):
        raise Contradiction(
            "which scheduler? Give its address (windrow worker tcp://127.0.0.1:8786) or --scheduler-file FILE, or "
            "configure scheduler-address (DASK_SCHEDULER_ADDRESS)"
        )
    secret = serving.secret_of(options["secret_file"]) if options["secret_file"] else None
    found = {"scheduler_ip": scheduler, "scheduler_file": file, "secret": secret}
    return {name: value for name, value in found.items() if value is not None}


def _shared(options: Mapping[str, Any], argv: list[str]) -> dict[str, Any]:
    """Return the keywords that all workers of the command have."""
    given: dict[str, Any] = {
        name: options[name]
        for name in (
            "host",
            "interface",
            "protocol",
            "listen_address",
            "contact_address",
            "memory_limit",
            "local_directory",
            "death_timeout",
            "lifetime",
            "lifetime_stagger",
            "lifetime_restart",
        )
    }
    given["resources"] = arguments.resources(options["resources"])
    given["preload"] = list(options["preload"]) or None
    given["preload_argv"] = argv or None
    if options["preload_nanny"]:
        given["preload_nanny"] = list(options["preload_nanny"])
        given["preload_nanny_argv"] = argv or None
    if options["dashboard"]:
        given["dashboard_address"] = options["dashboard_address"]
        given["http_prefix"] = options["dashboard_prefix"]
    return {name: value for name, value in given.items() if value is not None}


# ---------------------------------------------------------------- from keywords to workers


async def _serve(
    orders: list[dict[str, Any]], nanny: bool, worker_class: str | None, tell: Callable[[Sequence[Any]], None]
) -> int:
    from windrow.cli import serving

    return await serving.serve("windrow worker", lambda: _make(orders, nanny, worker_class), tell)


def _make(orders: list[dict[str, Any]], nanny: bool, worker_class: str | None) -> list[Any]:
    from windrow.deploy import party

    if nanny:
        from windrow.deploy.nanny import Nanny

        own: dict[str, Any] = {} if worker_class is None else {"worker_class": party.resolve(worker_class)}
        return [Nanny(**keywords, **own) for keywords in orders]
    make = party.resolve(worker_class or "windrow.Worker")
    return [make(**keywords) for keywords in orders]


def _tell(parties: Sequence[Any]) -> None:
    for one in parties:
        address = getattr(one, "worker_address", "") or one.address
        name = address if one.name in (None, "") else one.name
        scheduler = getattr(one, "scheduler_addr", "") or one.scheduler_address
        threads = "1 thread" if one.nthreads == 1 else f"{one.nthreads} threads"
        where = "" if name == address else f" at {address}"
        click.echo(f"Worker {name}{where}, {threads}, of the scheduler at {scheduler}")
