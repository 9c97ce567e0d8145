"""``python -m distributed.cli.dask_worker`` and its like, as job scripts of other libraries call them.

What lives here: the way to windrow's own commands. What this file must never know: their options.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from windrow.cli.main import main as group
from windrow.deploy.party import checked, make
from windrow.deploy.specification import Spec

__all__ = ["run_spec", "scheduler", "spec", "ssh", "worker"]


def scheduler() -> NoReturn:
    """Be ``windrow scheduler``.

    Examples
    --------
    >>> scheduler()  # doctest: +SKIP
    """
    _be("scheduler")


def worker() -> NoReturn:
    """Be ``windrow worker``.

    Examples
    --------
    >>> worker()  # doctest: +SKIP
    """
    _be("worker", _tell_workers)


def spec() -> NoReturn:
    """Be ``windrow spec``.

    Examples
    --------
    >>> spec()  # doctest: +SKIP
    """
    _be("spec")


def ssh() -> NoReturn:
    """Be ``windrow ssh``.

    Examples
    --------
    >>> ssh()  # doctest: +SKIP
    """
    _be("ssh")


def _be(command: str, tell: Callable[[Sequence[Any]], None] | None = None) -> NoReturn:
    group.main([command, *sys.argv[1:]], prog_name="windrow", obj=tell)
    raise SystemExit(0)


def _tell_workers(parties: Sequence[Any]) -> None:
    """Say that workers run, on stderr: starters of jobs wait for the first two words of it."""
    for one in parties:
        scheduler = getattr(one, "scheduler_addr", "") or one.scheduler_address
        print(f"Registered to: {scheduler}", file=sys.stderr, flush=True)


async def run_spec(spec: dict[str, Spec], *args: Any) -> dict[str, Any]:
    """Start the parties of a specification on the running loop, and return them by name.

    Examples
    --------
    >>> await run_spec({"w": {"cls": "distributed.Worker", "options": {}}}, address)  # doctest: +SKIP
    """
    import asyncio

    parties = make(checked(spec), args)
    await asyncio.gather(*parties.values())
    return parties
