"""``windrow spec``: parties from a specification, in this process, until they have ended or a signal arrives.

What lives here: the command's options, and where the specification comes from. What this file must never know: what the
parties do (`deploy.party` makes and runs them).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import IO, Any

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("args", nargs=-1)
@click.option("--spec", "text", default="", metavar="JSON", help="The specification itself.")
@click.option(
    "--spec-file",
    "file",
    type=click.File("r", encoding="utf-8"),
    default=None,
    help="A file, YAML or JSON, that holds it; - is the standard input.",
)
def spec(args: tuple[str, ...], text: str, file: IO[str] | None) -> None:
    """Run parties from a specification, until they have all ended or a signal arrives.

    A specification is {"cls": dotted name, "opts": {keyword: value}}, or several such by labels of your own. ARGS are
    the first arguments of each: for workers, the scheduler's address.

    \b
    Examples:
      windrow spec --spec '{"cls": "windrow.Scheduler", "opts": {"port": 8786}}'
      windrow spec --spec '{"cls": "windrow.Nanny", "opts": {"nthreads": 2}}' tcp://127.0.0.1:8786
      windrow spec --spec-file workers.yaml tcp://127.0.0.1:8786

    What a specification holds of secrets belongs into a file or the standard input: every user of a machine can read
    its command lines.
    """
    from windrow.deploy import party

    if bool(text) == (file is not None):
        raise click.UsageError("give the specification with --spec or with --spec-file, one of them")
    try:
        specification = party.checked(_read(text or (file.read() if file is not None else "")))
        for one in specification.values():
            party.resolve(one["cls"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if text and (label := _with_secret(specification)):
        raise click.UsageError(
            f"{label} has a secret, which every user of this machine can read on a command line: use --spec-file"
        )
    sys.exit(_run(specification, args))


def _read(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError as not_json:
        import yaml

        try:
            found: object = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ValueError(f"the specification is neither JSON ({not_json}) nor YAML") from None
        return found


def _with_secret(specification: Mapping[str, Mapping[str, Any]]) -> str | None:
    return next((label for label, one in specification.items() if one["options"].get("secret")), None)


def _run(specification: Mapping[str, Mapping[str, Any]], args: tuple[str, ...]) -> int:
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(_serve(specification, args))
    return uvloop.run(_serve(specification, args))


async def _serve(specification: Mapping[str, Mapping[str, Any]], args: tuple[str, ...]) -> int:
    import asyncio

    from windrow.deploy import party

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopping.is_set():  # the second time: at once
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        parties = party.make(specification, args)
        await party.run(parties, stopping, lambda: _tell(parties))
    except Exception as error:
        click.echo(f"windrow spec: {type(error).__name__}: {error}", err=True)
        return 1
    if not stopping.is_set():
        for label, reason in party.reasons(parties).items():
            click.echo(f"windrow spec: {label} has ended: {reason}", err=True)
    return 0


def _tell(parties: Mapping[str, Any]) -> None:
    from windrow.deploy import party

    for label, one in parties.items():
        click.echo(f"{label}: {type(one).__name__} at {party.address_of(one)}")
    sys.stdout.flush()
