"""Parties in a process of their own: from a specification to their end.

What lives here: `checked` and `make` (a specification into parties), `run` (their life), and `main`, which a cluster
manager calls in a process that it has started, here or on another machine. What this file must never know: who that is.

Such a process reads one line of JSON from its standard input, its `Order`; the rest of that pipe is its lifeline: when
it ends, the parties close, and so does the process. To the descriptor ``status_fd`` it writes a line of JSON (`Said`)
when its parties run, or cannot. Nothing secret is ever on the command line or in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from windrow import addressing, offspring, schemes, security, startup, system, tls
from windrow.deploy import specification as specifications
from windrow.node import Server
from windrow.runtime import new_loop

__all__ = ["Order", "Said", "address_of", "checked", "main", "make", "reasons", "resolve", "run"]

END_S = 5.0
"""How long the parties may take to close when the lifeline has ended."""


class Order(Struct):
    """What a process is told."""

    parties: dict[str, dict[str, Any]]
    """``{label: {"cls": a dotted name, "options": its keywords}}``."""
    scheduler: str | None = None
    """The scheduler's address, which is the first argument of each; None for a scheduler."""
    secret: str = ""
    """The cluster's, in hexadecimal."""
    certificates: dict[str, Any] | None = None
    """With which the scheduler is reached over TLS: `Security.to_record`."""
    config: dict[str, Any] = {}
    """What is configured where the order comes from."""
    path: list[str] = []
    """Where to import from, in that order, before the process's own places."""
    startup: list[str] = msgspec.field(default_factory=startup.calls)
    """What to call before anything else; see `windrow.startup`."""
    parent_pid: int | None = None
    """With which process to end; None: the lifeline is all."""
    status_fd: int = 1
    """Where to say what has become of it. On descriptor 1 it is alone: what is printed goes to stderr."""


class Said(Struct):
    """What a process says of its parties."""

    addresses: dict[str, str] = {}
    """Where they listen, by label; they run."""
    error: str = ""
    """Why they do not run."""


# ---------------------------------------------------------------- a specification into parties


def checked(specification: object) -> dict[str, dict[str, Any]]:
    """Return a specification in one form, ``{label: {"cls": …, "options": {…}}}``.

    Parameters
    ----------
    specification
        A mapping of labels to ``{"cls": …, "opts": {…}}`` (or ``"options"``), or one of these.

    Raises
    ------
    ValueError
        It is of another form; the message says where.

    Examples
    --------
    >>> checked({"cls": "windrow.Scheduler", "opts": {"port": 0}})
    {'Scheduler': {'cls': 'windrow.Scheduler', 'options': {'port': 0}}}
    """
    if not isinstance(specification, Mapping) or not specification:
        raise ValueError(f'a specification is like {{"cls": "windrow.Worker", "opts": {{}}}}, not {specification!r}')
    if "cls" in specification:
        return {str(specification["cls"]).rpartition(".")[2]: _checked_one("it", specification)}
    return {str(label): _checked_one(repr(label), one) for label, one in specification.items()}


def _checked_one(label: str, one: object) -> dict[str, Any]:
    if not isinstance(one, Mapping) or "cls" not in one:
        raise ValueError(f'in a specification, {label} must have "cls" and may have "opts"; it is {one!r}')
    if unknown := sorted(set(one) - {"cls", "opts", "options"}):
        raise ValueError(
            f'in a specification, {label} may have "cls" and "opts"; it has {", ".join(map(repr, unknown))}'
        )
    options = one.get("opts") or one.get("options") or {}
    if not isinstance(options, Mapping):
        raise ValueError(f'in a specification, the "opts" of {label} are keywords by name, not {options!r}')
    return {"cls": one["cls"], "options": dict(options)}


def resolve(name: object) -> Any:
    """Return the class of a dotted name; windrow's own where the name is that of its model in Dask.

    Raises
    ------
    ValueError
        There is none of that name.

    Examples
    --------
    >>> resolve("distributed.Nanny").__module__
    'windrow.deploy.nanny'
    """
    try:
        return specifications.resolve(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f'"cls" is {name!r}, which cannot be imported ({error}); it is like "windrow.Worker"'
        ) from error


def make(specification: Mapping[str, Mapping[str, Any]], args: Sequence[Any]) -> dict[str, Any]:
    """Make the parties of a checked specification, on the running loop, each with these first arguments."""
    classes = {label: resolve(one["cls"]) for label, one in specification.items()}
    return {label: cls(*args, **_options(specification[label]["options"])) for label, cls in classes.items()}


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    secret = options.get("secret")
    return {**options, "secret": bytes.fromhex(secret)} if isinstance(secret, str) else dict(options)


# ---------------------------------------------------------------- their life


async def run(
    parties: Mapping[str, Any], stopping: asyncio.Event, on_started: Callable[[], None] = lambda: None
) -> None:
    """Start parties, wait until all have ended or ``stopping`` is set, and close them.

    Raises
    ------
    Exception
        What one of them has raised at its start.
    """
    for party in filter(_is_scheduler, parties.values()):
        if party.on_shutdown is None:
            party.on_shutdown = stopping.set
    living = asyncio.ensure_future(_live(parties, on_started))
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([living, stopped], return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
    finally:
        living.cancel()
        stopped.cancel()
        await asyncio.wait([living, stopped])
        # Whoever depends on others goes first, and quietly.
        order = sorted(parties.values(), key=_is_scheduler)
        for party in order:
            if hasattr(party, "expect_end"):
                party.expect_end()
        for party in order:
            await party.close()


def _is_scheduler(party: Any) -> bool:
    return hasattr(party, "on_shutdown")  # its class is not asked for: workers need not import it


async def _live(parties: Mapping[str, Any], on_started: Callable[[], None]) -> None:
    await asyncio.gather(*parties.values())
    on_started()
    await asyncio.gather(*(party.finished() for party in parties.values()))


def reasons(parties: Mapping[str, Any]) -> dict[str, Any]:
    """Return why parties have ended, by label, of those that have a reason: words, or an exception."""
    found = {}
    for label, party in parties.items():
        if isinstance(party, Server) and party.ended.done() and not party.ended.cancelled():
            found[label] = party.ended.exception() or party.ended.result()
    return {label: reason for label, reason in found.items() if reason}


def address_of(party: Any) -> str:
    """Return a party's address; a nanny's is that of its worker."""
    return str(getattr(party, "worker_address", "") or getattr(party, "address", ""))


# ---------------------------------------------------------------- a process of a cluster manager's


def main() -> None:
    """Read the order, then be its parties until they end, or the lifeline does."""
    order = msgspec.convert(json.loads(sys.stdin.buffer.readline()), Order)  # infinite numbers and all
    system.raise_open_files()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's program, which then closes its cluster
    lifeline = offspring.take_lifeline()
    if order.parent_pid is not None:
        offspring.die_with(order.parent_pid)
    status_fd = _own_status(order.status_fd)
    import faulthandler

    faulthandler.enable(all_threads=False)
    sys.path[:] = [*order.path, *(entry for entry in sys.path if entry not in order.path)]
    code = 1
    try:
        startup.run(order.startup)
        _configure(order.config)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            code = runner.run(_serve(order, lifeline, status_fd))
    except BaseException as error:
        _say(status_fd, Said(error=_in_words(error)))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            continue
    os._exit(code)  # a thread may still be in a task, and nothing of it is wanted


def _own_status(fd: int) -> int:
    """Return where to write the status, which no child has, and nobody prints on."""
    if fd == 1:
        fd = os.dup(1)
        os.dup2(2, 1)
    os.set_inheritable(fd, False)
    return fd


def _configure(settings: dict[str, Any]) -> None:
    if settings:
        import dask.config

        dask.config.update(dask.config.config, settings, priority="new")


async def _serve(order: Order, lifeline: int, status_fd: int) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def end() -> None:
        try:
            loop.call_soon_threadsafe(stopping.set)
        except RuntimeError:  # the loop is closed: nearly there
            pass
        ended.wait(END_S)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)

    ended = threading.Event()
    threading.Thread(target=offspring.watch_lifeline, args=(lifeline, end), name="lifeline", daemon=True).start()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    args = []
    if order.scheduler is not None:
        certificates = None if order.certificates is None else tls.Security.from_record(order.certificates)
        security.remember(order.scheduler, bytes.fromhex(order.secret), certificates)
        args.append(order.scheduler)
        _within_reach(order)
        _share(order)
    parties = make(order.parties, args)
    await run(
        parties,
        stopping,
        lambda: _say(status_fd, Said({label: address_of(party) for label, party in parties.items()})),
    )
    for label, reason in reasons(parties).items():
        if not stopping.is_set():
            sys.stderr.write(f"windrow: {label} has ended: {reason}\n")
    return 0


def _within_reach(order: Order) -> None:
    """Have workers of a scheduler on another machine listen where it, and others, can reach them."""
    scheme, location = addressing.split_address(str(order.scheduler))
    if not schemes.has_ports(scheme):
        return
    host, _ = addressing.split_host_port(location)
    if addressing.is_loopback(host):
        return
    for one in order.parties.values():
        if not {"host", "interface", "listen_address"} & set(one["options"]):
            one["options"]["host"] = addressing.own_ip(host)


def _share(order: Order) -> None:
    """Have several workers share the cores, and with them the memory."""
    if len(order.parties) > 1:
        threads = max(1, system.cpu_count() // len(order.parties))
        for one in order.parties.values():
            one["options"].setdefault("nthreads", threads)


def _say(status_fd: int, said: Said) -> None:
    try:
        os.write(status_fd, msgspec.json.encode(said) + b"\n")
    except OSError:  # nobody listens any more, and the lifeline has told
        return


def _in_words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, RuntimeError | OSError | ValueError):
        return text
    return text if text.startswith(type(error).__name__) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    main()
