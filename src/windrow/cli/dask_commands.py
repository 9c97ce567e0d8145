"""windrow's commands beneath Dask's own command, ``dask``, which finds them by entry points.

What lives here: each command by its name, as ``windrow.cli.dask_commands:scheduler`` asks for it. What this file must
never know: what any of them does.

Where another distribution brings a command of the same name to ``dask`` (dask.distributed does), that one keeps it, and
windrow's is ``dask windrow-scheduler``: whoever has both installed gets what they had before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

GROUP = "dask_cli"
PREFIX = "windrow-"


def __getattr__(name: str) -> click.Command:
    import copy

    from windrow.cli.main import COMMANDS, load

    if name not in COMMANDS:
        raise AttributeError(f"windrow has no command {name!r}")
    command = copy.copy(load(name))
    command.name = PREFIX + name if is_taken(name) else name
    return command


def is_taken(name: str) -> bool:
    """Whether another distribution brings ``dask`` a command of this name.

    Examples
    --------
    >>> is_taken("no-such-command")
    False
    """
    from importlib.metadata import entry_points

    return any(each.module != __name__ for each in entry_points(group=GROUP, name=name))
