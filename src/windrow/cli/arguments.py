"""What people write on a command line, made into what parties take.

What lives here: ports, resources, names, numbers of workers, the split between a scheduler's address and arguments for
preloads. What this file must never know: files, processes, event loops.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

__all__ = ["Contradiction", "as_list", "names", "resources", "shared_ports", "split", "worker_counts"]


class Contradiction(click.UsageError):
    """Options that do not go together, or that say too little; exit code 1."""

    exit_code = 1


def time_text(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return a time as it is written, for an option's callback; one that is none is an error of usage.

    Examples
    --------
    >>> time_text(click.Context(click.Command("x")), click.Option(["--lifetime"]), "1 hour")
    '1 hour'
    """
    if text is not None:
        from windrow import config

        _checked(config.parse_timedelta, text, ctx, parameter)
    return text


def memory_text(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """Return a memory limit as it is written, for an option's callback; one that is none is an error of usage.

    Examples
    --------
    >>> memory_text(click.Context(click.Command("x")), click.Option(["--memory-limit"]), "4 GiB")
    '4 GiB'
    """
    if text is not None:
        from windrow import system

        _checked(lambda limit: system.parse_memory_limit(limit, 1), text, ctx, parameter)
    return text


def _checked(parse: Callable[[str], object], text: str, ctx: click.Context, parameter: click.Parameter) -> None:
    try:
        parse(text)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


def worker_counts(nworkers: str | None, nthreads: int, cores: int) -> tuple[int, int]:
    """Return how many workers, and threads in each.

    Parameters
    ----------
    nworkers
        A number; a negative one counts from the cores (-1: as many as there are); "auto": cores are shared out well;
        None: 1.
    nthreads
        Threads of each; 0: the cores, shared out.
    cores
        How many there are.

    Raises
    ------
    click.BadParameter
        One of them is no such number.

    Examples
    --------
    >>> worker_counts(None, 0, 8), worker_counts("-1", 0, 8), worker_counts("auto", 0, 8), worker_counts("auto", 4, 8)
    ((1, 8), (8, 1), (4, 2), (2, 4))
    """
    if nthreads < 0:
        raise click.BadParameter(f"{nthreads} is no number of threads", param_hint="--nthreads")
    if nworkers is not None and nworkers.strip().lower() == "auto":
        if nthreads:
            return max(1, cores // nthreads), nthreads
        from windrow import system

        return system.nprocesses_nthreads(cores)
    try:
        count = 1 if nworkers is None else int(nworkers)
    except ValueError:
        count = 0
    if count < 0:
        count += cores + 1
    if count < 1:
        raise click.BadParameter(
            f"{nworkers!r} is no number of workers: write 1 or more, auto, or -1 for as many as there are cores "
            f"({cores} here)",
            param_hint="--nworkers",
        )
    return count, nthreads or max(1, cores // count)


def names(name: str | None, count: int) -> list[str | int | None]:
    """Return a name for each worker; None where it is to be the worker's address.

    Examples
    --------
    >>> names("a", 2), names("7", 1), names(None, 1)
    (['a-0', 'a-1'], [7], [None])
    """
    if not name:
        return [None] * count
    if count > 1:
        return [f"{name}-{number}" for number in range(count)]
    return [int(name) if name.isascii() and name.isdigit() else name]


def resources(text: str | None) -> dict[str, float] | None:
    """Return what a worker offers; None where nothing is said.

    Raises
    ------
    click.BadParameter
        It is not of the form ``GPU=2 MEM=10e9``.

    Examples
    --------
    >>> resources("GPU=2 MEM=10e9"), resources("GPU=1,DISK=0.5"), resources(None)
    ({'GPU': 2.0, 'MEM': 10000000000.0}, {'GPU': 1.0, 'DISK': 0.5}, None)
    """
    if text is None:
        return None
    found = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        try:
            quantity = float(number)
        except ValueError:
            quantity = -1.0
        if not name or not 0 <= quantity < float("inf"):
            raise click.BadParameter(
                f"{part!r} is no name and quantity; resources are like 'GPU=2 MEM=10e9'", param_hint="--resources"
            )
        found[name] = quantity
    return found


def shared_ports(text: str | None, count: int, option: str) -> list[int | list[int]]:
    """Return the port of each worker, or those among which it may choose; 0: any.

    Raises
    ------
    click.BadParameter
        It is no port, and no range.
    Contradiction
        There are more workers than ports.

    Examples
    --------
    >>> shared_ports("9000:9004", 2, "--worker-port"), shared_ports("9000", 1, "--worker-port")
    ([[9000, 9002, 9004], [9001, 9003]], [9000])
    >>> shared_ports(None, 2, "--worker-port")
    [0, 0]
    """
    if text is None or text.strip() in {"", "0"}:
        return [0] * count
    first, colon, last = text.partition(":")
    try:
        start, end = int(first), int(last if colon else first)
    except ValueError:
        start, end = 0, 0
    if not 0 < start <= end < 65536:
        raise click.BadParameter(f"{text!r} is no port, and no range of them such as 9000:9010", param_hint=option)
    ports = range(start, end + 1)
    if len(ports) < count:
        raise Contradiction(
            f"{option} {text} names {len(ports)} {'port' if len(ports) == 1 else 'ports'} for {count} workers: give a "
            f"range with one for each, such as {start}:{min(65535, start + count - 1)}, or leave it out"
        )
    shares = [list(ports[number::count]) for number in range(count)]
    return [share[0] if len(share) == 1 else share for share in shares]


def as_list(text: str | None) -> str | list[str] | None:
    """Return what has commas as a list.

    Examples
    --------
    >>> as_list("tcp"), as_list("tcp,ws"), as_list(None)
    ('tcp', ['tcp', 'ws'], None)
    """
    if text is None or "," not in text:
        return text
    return [part.strip() for part in text.split(",")]


def split(
    command: click.Command, args: Sequence[str], takes_scheduler: bool, has_preloads: bool
) -> tuple[str | None, list[str]]:
    """Return a scheduler's address and the arguments for preloads, out of what no option of the command has taken.

    Raises
    ------
    click.NoSuchOption, click.UsageError
        There is something left, and no preload that could take it.

    Examples
    --------
    >>> split(click.Command("worker"), ["tcp://127.0.0.1:8786", "--size", "3"], True, has_preloads=True)
    ('tcp://127.0.0.1:8786', ['--size', '3'])
    """
    rest = list(args)
    scheduler = rest.pop(0) if takes_scheduler and rest and not rest[0].startswith("-") else None
    if rest and not has_preloads:
        raise _left_over(command, rest[0])
    return scheduler, rest


def _left_over(command: click.Command, word: str) -> click.UsageError:
    if not word.startswith("-"):
        return click.UsageError(f"{shlex.quote(word)} is one argument too many: there is no --preload to take it")
    name = word.partition("=")[0]
    options: Iterable[Any] = command.params
    known = [own for each in options for own in (*each.opts, *each.secondary_opts) if own.startswith("-")]
    return click.NoSuchOption(name, possibilities=difflib.get_close_matches(name, known, n=2))
