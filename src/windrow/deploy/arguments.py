"""The arguments of `LocalCluster`, checked at the call.

What lives here: what each may be, and the keywords that programs written for Dask pass along and that mean nothing
here. What this file must never know: how anything is started.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from windrow import addressing, config, system
from windrow.client import options
from windrow.client.options import ABSENT
from windrow.dashboard import address as dashboard


def _is_none(value: object) -> bool:
    return value is None


def _is_none_or_flag(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_none_or_empty(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and not value)


def _is_interval(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


HARMLESS: dict[str, Callable[[object], bool]] = {
    "blocked_handlers": _is_none,
    "interface": _is_none,
    "local_directory": _is_none,
    "loop": _is_none,
    "scheduler_kwargs": _is_none,
    "scheduler_sync_interval": _is_interval,  # what it would pace is always up to date here
    "security": lambda value: value is None or value is False,
    "services": _is_none_or_empty,
    "start": _is_none_or_flag,  # without an effect in Dask too
    "worker_class": _is_none,
    "worker_services": _is_none_or_empty,
}
"""Further keywords, and which of their values mean nothing here."""

OTHERS = (*HARMLESS, "diagnostics_port", "ip", "protocol", "service_kwargs", "worker_dashboard_address")


def absent(name: str, value: object) -> NotImplementedError:
    """Return the error for an argument that asks for what is not there yet."""
    return NotImplementedError(f"{name}={value!r} {ABSENT}; leave {name} out")


def check_others(others: Mapping[str, Any], callee: Callable[..., object]) -> None:
    """Refuse keywords that nobody knows, and values that ask for what is not in this version.

    Raises
    ------
    TypeError
        Unknown keywords; the message has the nearest known ones.
    NotImplementedError
        A known keyword asks for something.

    Examples
    --------
    >>> check_others({"loop": None, "security": False}, print)
    """
    if unknown := [name for name in others if name not in OTHERS]:
        known = [name for name in inspect.signature(callee).parameters if name not in {"self", "others"}]
        near = {name: difflib.get_close_matches(name, [*known, *OTHERS], n=1) for name in unknown}
        hints = [f"{name!r}" + (f" (did you mean {near[name][0]!r}?)" if near[name] else "") for name in unknown]
        raise TypeError(f"LocalCluster has no argument {', '.join(hints)}; its arguments are {', '.join(known)}")
    for name, value in others.items():
        if name in HARMLESS and not HARMLESS[name](value):
            raise absent(name, value)


def check_kinds(
    n_workers: object, threads_per_worker: object, processes: object, scheduler_port: object, env: object
) -> None:
    """Refuse arguments of the wrong kind, by name."""
    for value, what, least in ((n_workers, "n_workers", 0), (threads_per_worker, "threads_per_worker", 1)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f"{what} must be an int of at least {least}, or None, not {value!r}")
    if not _is_none_or_flag(processes):
        raise TypeError(f"processes must be True, False or None, not {processes!r}")
    if env is not None and not isinstance(env, Mapping):
        raise TypeError(f"env must be a dict of environment variables, not {env!r}")
    if isinstance(scheduler_port, bool) or not isinstance(scheduler_port, int) or not 0 <= scheduler_port < 65536:
        raise ValueError(f"scheduler_port must be a port's number (0: any that is free), not {scheduler_port!r}")


def checked_resources(resources: object) -> dict[str, float]:
    """Return what each worker offers beside its threads; by default what ``distributed.worker.resources`` says.

    Examples
    --------
    >>> checked_resources({"GPU": 2})
    {'GPU': 2.0}
    """
    if resources is None:
        resources = config.get("distributed.worker.resources")
    return dict(options.checked_resources(resources))


def chosen_host(host: object, others: Mapping[str, Any], processes: bool, scheduler_port: int) -> str | None:
    """Return where to listen for other processes, None for nowhere; ``host``, ``ip`` and ``protocol`` say.

    Examples
    --------
    >>> chosen_host(None, {"protocol": "tcp://"}, processes=True, scheduler_port=0)
    '127.0.0.1'
    """
    ip = others.get("ip")
    if ip is not None:
        warnings.warn("ip= is an old name of host=: write host=", DeprecationWarning, stacklevel=3)
        if host is not None and host != ip:
            raise ValueError(f"host={host!r} and ip={ip!r} (its old name) differ; give host= alone")
        host = ip
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a string, not {host!r}")
    protocol = others.get("protocol")
    if protocol is not None and not isinstance(protocol, str):
        raise TypeError(f"protocol must be a string such as 'tcp', or None, not {protocol!r}")
    listens = processes or scheduler_port != 0
    if protocol is not None and protocol.removesuffix("://") != ("tcp" if listens else "inproc"):
        where = "worker processes" if processes else "a scheduler_port" if listens else "processes=False"
        raise NotImplementedError(f"protocol={protocol!r} with {where} {ABSENT}; leave protocol out")
    if not listens:
        return None
    host = host or "127.0.0.1"
    if not addressing.is_loopback(host):
        warnings.warn(
            f"host={host!r}: other machines can reach this cluster. What they send is authenticated, but not "
            "encrypted in this version of windrow: use it on a network that you trust",
            UserWarning,
            stacklevel=3,
        )
    return host


def chosen_dashboard(address: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scheduler's keywords about its dashboard; ``diagnostics_port`` and ``service_kwargs`` may say more.

    Examples
    --------
    >>> chosen_dashboard(":8787", {"service_kwargs": {"dashboard": {"prefix": "/foo"}}})
    {'dashboard_address': ':8787', 'http_prefix': '/foo'}
    """
    port = others.get("diagnostics_port")
    if port is not None:
        warnings.warn("diagnostics_port= is an old name of dashboard_address=", DeprecationWarning, stacklevel=3)
        if address != ":8787" and address != port:
            raise ValueError(f"dashboard_address={address!r} and diagnostics_port={port!r} (its old name) differ")
        address = port
    dashboard.parse(address)
    return {"dashboard_address": address, "http_prefix": dashboard.prefix_from(others.get("service_kwargs"))}


def worker_dashboard(others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the workers' keywords about dashboards of their own: none by default.

    Examples
    --------
    >>> worker_dashboard({}), worker_dashboard({"worker_dashboard_address": ":0"})
    ({}, {'dashboard_address': ':0'})
    """
    address = others.get("worker_dashboard_address")
    dashboard.parse(address)
    return {} if address is None else {"dashboard_address": address}


def memory_limit_bytes(memory_limit: str | float | None, n_workers: int, nthreads: int) -> int:
    """Return a worker's limit of memory, 0 for none.

    Examples
    --------
    >>> memory_limit_bytes("1 MiB", n_workers=2, nthreads=1)
    1048576
    """
    if memory_limit == "auto":
        return system.memory_limit_bytes() // max(1, n_workers)
    try:
        return system.parse_memory_limit(memory_limit, nthreads) or 0
    except (ValueError, OverflowError) as error:
        raise ValueError(f"memory_limit={memory_limit!r} will not do: {error}") from None
