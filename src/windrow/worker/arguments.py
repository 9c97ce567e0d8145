"""The arguments of `Worker`, checked at the call.

What lives here: what each may be, and what it stands for. What this file must never know: what a worker does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from windrow import addressing, config, listening, schemes, system, tls
from windrow.plugins.scratch import new_path

_AS_ITS_SCHEDULER = tls.Security(require_encryption=False)
"""Whether a worker's connections are encrypted is decided where its scheduler is started."""


def scheduler_address(ip: object, port: object, file: object) -> str:
    """Return the scheduler's address; "" where a file is to say it."""
    if file is not None:
        if ip is not None:
            raise ValueError(f"scheduler_ip={ip!r} and scheduler_file={file!r} both name a scheduler; give one of them")
        return ""
    if ip is None:
        ip = config.get("scheduler-address")
    if ip is None:
        raise ValueError(
            "no scheduler is known to this worker: give its address (Worker('tcp://127.0.0.1:8786')) or "
            "scheduler_file=, or configure 'scheduler-address' (DASK_SCHEDULER_ADDRESS)"
        )
    if not isinstance(ip, str):
        ip = getattr(ip, "scheduler_address", None) or getattr(ip, "address", ip)  # a cluster, or a scheduler
    if not isinstance(ip, str):
        raise TypeError(f"the scheduler's address must be a str such as 'tcp://127.0.0.1:8786', not {ip!r}")
    if port is not None:
        scheme, location = addressing.split_address(ip)
        ip = addressing.join_address(scheme, addressing.join_host_port(location, int(str(port))))
    return addressing.normalize(ip)


def thread_count(nthreads: object) -> int:
    """Return how many threads; by default as many as there are cores.

    Examples
    --------
    >>> thread_count(2)
    2
    """
    if nthreads is None or nthreads == 0:
        return system.cpu_count()
    if isinstance(nthreads, bool) or not isinstance(nthreads, int) or nthreads < 0:
        raise ValueError(f"nthreads must be a number of threads, or None, not {nthreads!r}")
    return nthreads


def checked_name(name: object) -> str | int:
    """Return a worker's name; "" for that which is its address, once it has one.

    Examples
    --------
    >>> checked_name(None), checked_name("1"), checked_name(1)
    ('', '1', 1)
    """
    if name is None:
        return ""
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise TypeError(f"name must be a str or an int, not {name!r}")
    return name


def listens(
    listen_address: str | None,
    host: str | None,
    port: Any,
    interface: str | None,
    protocol: str | None,
    scheduler: str,
    security: tls.Security | None = None,
) -> list[str]:
    """Return the addresses to try; none where nothing is said, or its scheduler is in this process alone.

    Raises
    ------
    RuntimeError
        The scheduler, or the worker, would be without the encryption that is required.
    """
    if listen_address is not None:
        if host is not None or interface is not None or port not in (None, 0):
            raise ValueError(f"listen_address={listen_address!r} says all that host, port and interface say")
        host = listen_address
    near = scheduler.startswith("inproc://")
    if security is not None and security.require_encryption and scheduler.startswith("tcp://"):
        raise RuntimeError(f"encryption is required ({security!r}), and the scheduler at {scheduler} has none")
    if near != (listening.scheme_of(protocol, host) == "inproc") and (protocol is not None or not near):
        raise ValueError(f"protocol={protocol!r} does not reach the scheduler at {scheduler}; leave it out")
    if near or (host is None and interface is None and port in (None, 0)):
        return []
    if scheduler and not schemes.has_ports(addressing.split_address(scheduler)[0]):
        return [listen_address] if listen_address is not None else []
    away = addressing.split_host_port(addressing.split_address(scheduler)[1])[0] if scheduler else "localhost"
    default = listening.own_host(away)
    scheme = addressing.split_address(scheduler)[0] if scheduler else "tcp"
    found = listening.choose(host, port, interface, None, default_host=default, security=_AS_ITS_SCHEDULER)
    return [addressing.join_address(scheme, addressing.split_address(each)[1]) for each in found]


def shown_host(listens: list[str]) -> str:
    """Return the host on which it shows itself.

    Examples
    --------
    >>> shown_host(["tcp://10.0.0.1:0"]), shown_host(["local://name"]), shown_host([])
    ('10.0.0.1', '127.0.0.1', '127.0.0.1')
    """
    scheme, location = addressing.split_address(listens[0]) if listens else ("inproc", "")
    return addressing.split_host_port(location)[0] if schemes.has_ports(scheme) else "127.0.0.1"


def checked_resources(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Return what is offered, checked; by default what is configured."""
    offered: Any = config.get("distributed.worker.resources") if resources is None else resources
    found: dict[str, float] = {}
    for name, quantity in dict(offered or {}).items():
        if isinstance(quantity, bool) or not isinstance(quantity, int | float) or not quantity >= 0:
            raise ValueError(f"resources: the worker cannot have {quantity!r} of {name!r}; a number from 0 is needed")
        found[str(name)] = float(quantity)
    return found


def own_directory(parent: str | os.PathLike[str] | None) -> str:
    """Return where a worker's own directory will be."""
    return new_path("worker", "" if parent is None else os.fspath(parent))


def check_times(kwargs: Mapping[str, Any]) -> None:
    """Refuse times among a worker's keywords that are none, before a process is started to say so.

    Examples
    --------
    >>> check_times({"lifetime": "1 hour", "lifetime_stagger": "5 minutes", "name": "x"})
    >>> check_times({"lifetime": "abc"})
    Traceback (most recent call last):
    ValueError: lifetime='abc' will not do: 'abc' is no time; write it as in 10s, 500ms, 5 minutes
    """
    given = {name: kwargs[name] for name in ("lifetime", "lifetime_stagger") if kwargs.get(name) is not None}
    for name, value in given.items():
        try:
            config.parse_timedelta(value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r} will not do: {error}") from None
    if "lifetime" in given:
        life_s(given["lifetime"], given.get("lifetime_stagger"))


def life_s(lifetime: str | float | None, stagger: str | float | None) -> float | None:
    """Return how long it lives, in seconds, with a random stagger; None: until it is closed."""
    duration: Any = config.get("distributed.worker.lifetime.duration") if lifetime is None else lifetime
    if duration is None:
        return None
    spread: Any = config.get("distributed.worker.lifetime.stagger") if stagger is None else stagger
    spread_s = config.parse_timedelta(spread)
    seconds = config.parse_timedelta(duration)
    if not 0 <= spread_s <= seconds:
        raise ValueError(f"lifetime_stagger={spread!r} must be a time from 0 to the lifetime, {duration!r}")
    import random

    return seconds + random.uniform(-spread_s, spread_s)


def refuse_executor(executor: object) -> None:
    """Refuse to run tasks elsewhere than in the worker's own threads."""
    if executor is not None and executor != "default":
        raise NotImplementedError(
            f"Worker(executor={executor!r}) is not in this version of windrow, whose workers run tasks in threads of "
            "their own: a task that is to run in another executor submits to that, and returns what it gets"
        )
