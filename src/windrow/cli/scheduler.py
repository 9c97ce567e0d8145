"""``windrow scheduler``: a scheduler in this process, until a signal, a client or idleness ends it.

What lives here: the command's options, what of `Scheduler` they mean, and what is said when it runs. What this file
must never know: what a scheduler does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

import windrow
from windrow.cli import arguments

__all__ = ["scheduler"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[PRELOAD_ARGV]...")
@click.option("--host", default=None, help="Where to listen: a name, number or URI; loopback by default. 0.0.0.0: all.")
@click.option("--port", default=None, help="The port, or one for each protocol; 8786 by default, 0: any.")
@click.option("--interface", default=None, help="Listen on a network interface, such as eth0, in place of a host.")
@click.option("--protocol", default=None, help="tcp or tls; tls where other machines can come.")
@click.option("--tls-ca-file", default=None, metavar="FILE", help="TLS: whose signature certificates need (PEM).")
@click.option("--tls-cert", default=None, metavar="FILE", help="TLS: the certificate of this scheduler (PEM).")
@click.option("--tls-key", default=None, metavar="FILE", help="TLS: its key, if that is not in the same file.")
@click.option("--insecure", is_flag=True, help="Do not encrypt what goes to and from other machines.")
@click.option("--dashboard-address", default=":8787", show_default=True, help="Where the dashboard listens.")
@click.option("--dashboard/--no-dashboard", default=True, help="Whether there is one.")
@click.option("--dashboard-prefix", default=None, help="What is before the paths of its pages.")
@click.option("--jupyter/--no-jupyter", default=False, help="Not in windrow: start Jupyter by itself.")
@click.option("--show/--no-show", default=None, hidden=True)
@click.option("--use-xheaders", type=bool, default=None, hidden=True)
@click.option("--pid-file", default="", metavar="FILE", help="Write the process's id there.")
@click.option("--scheduler-file", default=None, metavar="FILE", help="Write address and secret there, for this user.")
@click.option("--secret-file", default=None, metavar="FILE", help="The secret is there; if it is not, it is made.")
@click.option("--preload", multiple=True, metavar="MODULE", help="Load a module, file or URL (repeatable).")
@click.option(
    "--idle-timeout",
    callback=arguments.time_text,
    default=None,
    metavar="TIME",
    help="End when nothing was done for so long ('1 hour').",
)
@click.version_option(windrow.__version__, prog_name="windrow scheduler")
@click.pass_context
def scheduler(ctx: click.Context, /, args: tuple[str, ...], **options: Any) -> None:
    """Start a scheduler; it runs until Ctrl-C, SIGTERM, a client's shutdown(), or --idle-timeout.

    \b
    Examples:
      windrow scheduler
      windrow scheduler --port 0 --scheduler-file cluster.json
      windrow scheduler --host 0.0.0.0 --scheduler-file ~/shared/cluster.json
      windrow scheduler --interface eth0 --secret-file /run/secrets/windrow

    Workers join it (windrow worker ADDRESS), and programs use it (Client(ADDRESS)), by the address that is printed.
    Those of the same user on the same machine find the cluster's secret by themselves; others need the scheduler
    file, or the secret file. Where other machines can come, connections are encrypted, with certificates made for
    the occasion unless --tls-… names others; those, the scheduler file has too. --insecure refuses that. What no
    option takes goes to a preload whose dask_setup is a click command.
    """
    from windrow.cli import serving

    security = serving.security_of(options, "scheduler")
    pid_path = options.pop("pid_file")
    keywords = {**_keywords(ctx.command, args, options), **security}
    raise SystemExit(serving.run(lambda: _serve(keywords), pid_path))


def _keywords(command: click.Command, args: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords for `Scheduler`."""
    from windrow import config
    from windrow.cli import serving

    preload = list(options["preload"])
    configured = config.get("distributed.scheduler.preload", [])
    _, argv = arguments.split(command, args, takes_scheduler=False, has_preloads=bool(preload or configured))
    for name in ("show", "use_xheaders"):
        if options[name] is not None:
            click.echo(f"windrow scheduler: --{name.replace('_', '-')} has no effect", err=True)
    serving.check_scheduler_file(options["scheduler_file"])
    given = {
        "host": arguments.as_list(options["host"]),
        "interface": arguments.as_list(options["interface"]),
        "protocol": arguments.as_list(options["protocol"]),
        "scheduler_file": options["scheduler_file"],
        "secret": serving.secret_of(options["secret_file"], create=True),
        "preload": preload or None,
        "preload_argv": argv or None,
        "idle_timeout": options["idle_timeout"],
        "http_prefix": options["dashboard_prefix"],
        "jupyter": options["jupyter"] or None,
    }
    return {
        **{name: value for name, value in given.items() if value is not None},
        "port": _port(options["port"], options["host"]),
        "dashboard_address": options["dashboard_address"],
        "dashboard": options["dashboard"],
    }


def _port(text: str | None, host: str | None) -> int | list[int] | None:
    """Return the port, or ports; None where it is the usual one, or the host names one."""
    if text is None:
        return None
    try:
        ports = [int(part) for part in text.split(",")]
    except ValueError:
        ports = [-1]
    if any(not 0 <= port < 65536 for port in ports):
        raise click.BadParameter(f"{text!r} is no port: a number up to 65535 is one, and 0: any", param_hint="--port")
    return ports if len(ports) > 1 else ports[0]


async def _serve(keywords: dict[str, Any]) -> int:
    from windrow.cli import serving
    from windrow.scheduler.scheduler import Scheduler

    return await serving.serve(
        "windrow scheduler", lambda: [Scheduler(**keywords)], lambda parties: _tell(parties[0], keywords)
    )


def _tell(party: Any, keywords: dict[str, Any]) -> None:
    from windrow import addressing, schemes

    address, file = party.address, keywords.get("scheduler_file")
    click.echo(f"Scheduler at {address}")
    if party.dashboard.link:
        click.echo(f"Dashboard at {party.dashboard.link}")
    if file:
        click.echo(f"Scheduler file {os.path.abspath(file)}: address and secret, for whoever can read it")
    click.echo("Processes of this user on this machine find the secret by themselves:")
    click.echo(f'    windrow worker {address}        Client("{address}")')
    scheme, location = addressing.split_address(address)
    if not schemes.has_ports(scheme):
        click.echo("Ctrl-C ends it.")
        return
    if addressing.is_loopback(addressing.split_host_port(location)[0]):
        click.echo("Other machines cannot reach it; --host 0.0.0.0 or --interface would let them. Ctrl-C ends it.")
        return
    if file:
        click.echo("Others need the scheduler file, from a shared disk or copied there:")
        click.echo(f'    windrow worker --scheduler-file {file}        Client(scheduler_file="{file}")')
    elif "secret" in keywords:
        click.echo("Others need the secret file:")
        click.echo(f"    windrow worker {address} --secret-file FILE        DASK_WINDROW__SECRET_FILE=FILE python …")
    else:
        click.echo("Others need its secret, by --scheduler-file or --secret-file: start it with one of them.")
    if party.security is not None and party.security.is_shared and not file:
        click.echo("Others need its certificates too, which --scheduler-file would write.")
    click.echo("Ctrl-C ends it.")
    if not address.startswith("tls://"):
        click.echo(
            f"windrow scheduler: other machines can reach {address}. What they send is authenticated, but not "
            "encrypted, as you have said: use it on a network that you trust",
            err=True,
        )
