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
      windrow explain train-7
      windrow explain train-7 tcp://127.0.0.1:8786
      windrow explain "('x-1f2e', 0)" --scheduler-file ~/shared/cluster.json
      windrow explain --worker gpu-0 tcp://127.0.0.1:8786
      windrow explain --all tcp://127.0.0.1:8786

    ADDRESS is the scheduler's; without it, what is configured as scheduler-address (DASK_SCHEDULER_ADDRESS), or the one
    that this user runs on this machine. The exit code is 0 if there is such a task or worker, else 1.
    """
    import asyncio

    from windrow.cli import finding

    if options["worker"] is not None or options["everything"]:
        if address is not None or (options["worker"] is not None and options["everything"]):
            raise Contradiction("a KEY, --worker and --all each say what is to be explained: give one of them")
        key, address = None, key
    elif key is None:
        raise Contradiction("what is to be explained? Give a task's key, --worker NAME, or --all")
    where = "?"
    try:
        where, secret = finding.place(address, options["scheduler_file"], options["secret_file"])
        facts = asyncio.run(_ask(where, secret, key, options["worker"], options["timeout"]))
    except (OSError, ValueError) as error:  # TimeoutError among them
        click.echo(f"windrow explain: {error or f'the scheduler at {where} does not answer'}", err=True)
        raise SystemExit(1) from None
    is_unknown = "unknown" in (facts.get("state"), facts.get("status"))
    text = json.dumps(facts, indent=2, default=str) if options["as_json"] else "\n".join(facts["text"])
    click.echo(text, err=is_unknown and not options["as_json"])
    raise SystemExit(1 if is_unknown else 0)


async def _ask(where: str, secret: bytes, key: str | None, worker: str | None, timeout_s: float) -> dict[str, Any]:
    import asyncio
    import os

    from windrow import transport
    from windrow.transport.asker import Asker
    from windrow.wire.messages import HelloObserver
    from windrow.wire.requests import Explain

    asker = Asker(await transport.connect(where, secret=secret, timeout_s=timeout_s))
    try:
        asker.say(HelloObserver(f"explain-{os.getpid()}"))
        async with asyncio.timeout(ANSWER_S):
            reply = await asker.ask(Explain(None if key is None else [key], worker))
    finally:
        asker.link.close()
    facts: dict[str, Any] = reply.value
    return facts
