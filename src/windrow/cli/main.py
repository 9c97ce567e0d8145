"""The command ``windrow``: which sub-commands there are, and where each is at home.

What lives here: the group, and the table of its commands. What this file must never know: what any of them does; none
is imported before it is asked for, so that ``windrow --help`` is quick.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

import windrow

__all__ = ["COMMANDS", "Home", "load", "main"]


class Home(NamedTuple):
    """Where a command is, and its line in the help of all."""

    module: str
    """Its `click.Command` has the command's own name there."""
    help: str


COMMANDS: dict[str, Home] = {
    "scheduler": Home("windrow.cli.scheduler", "Start a scheduler."),
    "worker": Home("windrow.cli.worker", "Start workers that join a scheduler."),
    "spec": Home("windrow.cli.spec", "Run parties from a specification."),
    "ssh": Home("windrow.cli.ssh", "Start a cluster on machines that ssh reaches."),
    "token": Home("windrow.cli.token", "Print a token for who may only watch, or submit."),
    "explain": Home("windrow.cli.explain", "Say why a task waits, or was run again."),
    "top": Home("windrow.cli.top", "Watch a cluster's workers and tasks in this terminal."),
    "demo": Home("windrow.cli.demo", "Start a cluster here, and see it at work."),
}
"""The commands, in the order in which the help shows them."""


def load(name: str) -> click.Command:
    """Return a command, imported now.

    Examples
    --------
    >>> load("scheduler").name
    'scheduler'
    """
    command = getattr(importlib.import_module(COMMANDS[name].module), name)
    assert isinstance(command, click.Command)
    return command


class _Lazy(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.help) for name, home in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(windrow.__version__, prog_name="windrow")
def main() -> None:
    """A task engine for Python: schedulers, workers and clusters from the command line."""
