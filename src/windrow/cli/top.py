"""``windrow top``: a cluster's workers and tasks in a terminal, drawn anew every second.

What lives here: the command's options, and its keys. What this file must never know: how it looks
(`observe.terminal`), which cluster is meant (`cli.finding`), and how the scheduler is asked (`observe.source`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from windrow.observe.source import Source

__all__ = ["top"]

ORDERS = ("name", "cpu", "memory", "tasks", "stored")
KEYS = {order[0]: order for order in ORDERS}
HINT = "q ends; sort by n(ame), c(pu), m(emory), t(asks), s(tored)"
FIRST_S = 5.0
"""How long ``--once`` waits for figures that take a while."""
LINES = 9
"""What is not a row of a table."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scheduler", required=False)
@click.option("--scheduler-file", default=None, metavar="FILE", help="Address and secret are there.")
@click.option("--secret-file", default=None, metavar="FILE", help="The cluster's secret, or a token, is there.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="Seconds.")
@click.option(
    "--sort", type=click.Choice(ORDERS), default="name", show_default=True, help="What workers are sorted by."
)
@click.option("--rows", type=click.IntRange(min=1), default=None, help="Workers and prefixes shown at the most.")
@click.option("--once", is_flag=True, help="Print one picture, and end; as where the output is no terminal.")
def top(scheduler: str | None, **options: Any) -> None:
    """Watch the cluster of SCHEDULER: who works, with how much memory, and what becomes of its tasks.

    \b
    Examples:
      windrow top
      windrow top tcp://127.0.0.1:8786 --sort memory
      windrow top --scheduler-file cluster.json --once

    Without SCHEDULER it is the one that this user runs on this machine. It only looks: a watch token is enough. It ends
    with q, with Ctrl-C, or with the scheduler. Needs rich: pip install "windrow[terminal]".
    """
    if importlib.util.find_spec("rich") is None:
        raise SystemExit("windrow top: it draws with rich, which is not there: pip install 'windrow[terminal]'")
    from windrow.cli import finding
    from windrow.errors import WindrowError

    try:
        address, secret = finding.place(scheduler, options["scheduler_file"], options["secret_file"])
        asyncio.run(_look(address, secret, options))
    except KeyboardInterrupt:
        return
    except (OSError, ValueError, WindrowError) as error:  # TimeoutError and ConnectionError among them
        raise SystemExit(f"windrow top: {error}") from None


async def _look(address: str, secret: bytes, options: dict[str, Any]) -> None:
    from rich.console import Console

    from windrow import roles
    from windrow.observe.source import Source

    source = await Source.connect(address, roles.token(secret, roles.Role.WATCH))
    try:
        console = Console()
        if options["once"] or not console.is_terminal:
            await _print(source, console, options)
        else:
            await _watch(source, console, options)
    finally:
        source.close()


async def _print(source: Source, console: Any, options: dict[str, Any]) -> None:
    from windrow.observe import figures, terminal

    drawn = figures.status(await source.snapshot())
    loop = asyncio.get_running_loop()
    end_s = loop.time() + FIRST_S
    while loop.time() < end_s and (drawn["counted_ago"] is None or any(row["cpu"] is None for row in drawn["workers"])):
        await asyncio.sleep(0.1)
        drawn = figures.status(await source.snapshot())
    console.print(terminal.picture(drawn, options["sort"], options["rows"] or terminal.ROWS))


async def _watch(source: Source, console: Any, options: dict[str, Any]) -> None:
    from rich.live import Live

    from windrow.observe import figures, terminal

    order = options["sort"]
    async with _keys() as keys:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not source.ended.done():
                drawn = figures.status(await source.snapshot())
                rows = options["rows"] or max(3, (console.height - LINES) // 2)
                live.update(terminal.picture(drawn, order, rows, HINT), refresh=True)
                key = await _key(keys, source, options["interval"])
                if key == "q":
                    return
                order = KEYS.get(key, order)
    raise ConnectionError(f"the scheduler has gone: {source.ended.result()}")


async def _key(keys: asyncio.Queue[str], source: Source, seconds: float) -> str:
    """Return the next key, or "" when the time is over or the scheduler has gone."""
    getting = asyncio.ensure_future(keys.get())
    await asyncio.wait([getting, source.ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if getting.done():
        return getting.result()
    getting.cancel()
    return ""


@contextlib.asynccontextmanager
async def _keys() -> AsyncIterator[asyncio.Queue[str]]:
    """Take keys one by one while the context lasts; none where nobody types."""
    keys: asyncio.Queue[str] = asyncio.Queue()
    try:
        import termios
        import tty
    except ImportError:  # not a POSIX system: Ctrl-C is the key that is left
        yield keys
        return
    if not sys.stdin.isatty():
        yield keys
        return
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def take() -> None:
        for key in os.read(descriptor, 64).decode(errors="replace").lower():
            keys.put_nowait(key)

    loop.add_reader(descriptor, take)
    try:
        yield keys
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
