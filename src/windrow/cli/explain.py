"""``windrow explain``: why a task waits, or a worker has no work, asked from a terminal.

What lives here: the command, and its one question. What this file must never know: how causes are found, or worded.
"""

from __future__ import annotations

import json
from typing import Any

import click

from windrow.cli.arguments import Contradiction

__all__ = ["explain"]

ANSWER_S = 30.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("key", required=False)
@click.argument("address", required=False)
@click.option("--scheduler-file", default=None, metavar="FILE", help="Address and secret are there.")
@click.option("--secret-file", default=None, metavar="FILE", help="The cluster's secret is there.")
@click.option("--worker", default=None, metavar="NAME", help="In place of a task: a worker, by name or address.")
@click.option("--all", "everything", is_flag=True, help="In place of a task: all that cannot go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON; the sentences are under text.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to try to connect.")
def explain(key: str | None, address: str | None, **options: Any) -> None:
    """Say why the task KEY waits, is where it is, or was run again, and what its time went on.

    \b
    Examples:
      windrow explain train-7 tcp://127.0.0.1:8786
      windrow explain "('x-1f2e', 0)" --scheduler-file ~/shared/cluster.json
      windrow explain --worker gpu-0 tcp://127.0.0.1:8786
      windrow explain --all tcp://127.0.0.1:8786

    ADDRESS is the scheduler's; without it, what is configured as scheduler-address (DASK_SCHEDULER_ADDRESS). The
    exit code is 0 if there is such a task or worker, else 1.
    """
    import asyncio

    if options["worker"] is not None or options["everything"]:
        if address is not None or (options["worker"] is not None and options["everything"]):
            raise Contradiction("a KEY, --worker and --all each say what is to be explained: give one of them")
        key, address = None, key
    elif key is None:
        raise Contradiction("what is to be explained? Give a task's key, --worker NAME, or --all")
    where, secret = _place(address, options["scheduler_file"], options["secret_file"])
    try:
        facts = asyncio.run(_ask(where, secret, key, options["worker"], options["timeout"]))
    except (OSError, ValueError) as error:  # TimeoutError among them
        click.echo(f"windrow explain: {error or f'the scheduler at {where} does not answer'}", err=True)
        raise SystemExit(1) from None
    click.echo(json.dumps(facts, indent=2, default=str) if options["as_json"] else "\n".join(facts["text"]))
    raise SystemExit(1 if "unknown" in (facts.get("state"), facts.get("status")) else 0)


def _place(address: str | None, file: str | None, secret_file: str | None) -> tuple[str, bytes | None]:
    """Return where the scheduler is, and its secret where that is told."""
    from windrow import config, scheduler_file
    from windrow.cli import serving

    if address is not None and file is not None:
        raise Contradiction(f"{address} and --scheduler-file {file} both say where the scheduler is: give one")
    secret = serving.secret_of(secret_file) if secret_file else None
    if file is not None:
        found = scheduler_file.read(file)
        if found is None:
            raise Contradiction(f"--scheduler-file {file}: there is no such file, or no whole one")
        return found[0], secret or found[1]
    where = address or config.get("scheduler-address", None)
    if not isinstance(where, str):
        raise Contradiction(
            "which scheduler? Give its address (windrow explain KEY tcp://127.0.0.1:8786) or --scheduler-file FILE, or "
            "configure scheduler-address (DASK_SCHEDULER_ADDRESS)"
        )
    return where, secret


async def _ask(
    where: str, secret: bytes | None, key: str | None, worker: str | None, timeout_s: float
) -> dict[str, Any]:
    import asyncio
    import os

    from windrow import security, transport
    from windrow.addressing import normalize
    from windrow.transport.asker import Asker
    from windrow.wire.messages import Explain, HelloObserver

    address = normalize(where)
    known = secret or security.secret_for(address)
    asker = Asker(await transport.connect(address, secret=known, timeout_s=timeout_s))
    try:
        asker.say(HelloObserver(f"explain-{os.getpid()}"))
        async with asyncio.timeout(ANSWER_S):
            reply = await asker.ask(Explain(None if key is None else [key], worker))
    finally:
        asker.link.close()
    facts: dict[str, Any] = reply.value
    return facts
