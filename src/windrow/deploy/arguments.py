"""The arguments of `LocalCluster`, checked at the call and turned into what its parties take.

What lives here: what each may be, which go together, and what follows from those that are left out. What this file must
never know: how anything is started.
"""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any, NamedTuple

from windrow import addressing, config, listening, schemes, system, tls
from windrow.client import options
from windrow.client.options import ABSENT
from windrow.dashboard import address as dashboard
from windrow.deploy.specification import resolve

LOOPBACK = "127.0.0.1"

UNENCRYPTED = (
    "other machines can reach this cluster. What they send is authenticated, but not encrypted, as you have said: use "
    "it on a network that you trust"
)


def absent(name: str, value: object) -> NotImplementedError:
    """Return the error for an argument that asks for what is not there yet."""
    return NotImplementedError(f"{name}={value!r} {ABSENT}; leave {name} out")


def apart(first: str, first_value: object, second: str, second_value: object, why: str) -> ValueError:
    """Return the error for two arguments that make no sense together.

    Examples
    --------
    >>> apart("processes", False, "env", {}, "threads share it")
    ValueError('processes=False and env={} do not go together: threads share it')
    """
    return ValueError(f"{first}={first_value!r} and {second}={second_value!r} do not go together: {why}")


def check_empty(**given: object) -> None:
    """Refuse arguments that ask for what is not there yet; None and what is empty asks for nothing."""
    for name, value in given.items():
        if value is not None and value != {}:
            raise absent(name, value)


# ---------------------------------------------------------------- keywords for the parties


def keywords_of(cls: Any, last: type = object) -> set[str] | None:
    """Return the keywords that a class takes, with those that it passes on to its bases (``last`` takes no more).

    None: any, as nobody says what becomes of those that are passed on.

    Examples
    --------
    >>> class Base:
    ...     def __init__(self, *, size=1): ...
    >>> class Own(Base):
    ...     def __init__(self, colour="red", **kwargs): ...
    >>> sorted(keywords_of(Own))
    ['colour', 'size']
    """
    found: set[str] = set()
    for base in cls.__mro__ if isinstance(cls, type) else ():
        own = vars(base).get("__init__")
        if own is None or base is object:
            continue
        parameters = list(inspect.signature(own).parameters.values())[1:]
        found |= {each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
        if base is last or not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return found
    return None


class Kind(NamedTuple):
    """What workers are made of."""

    processes: bool
    cls: Any
    """The class that the cluster makes."""
    inner: Any
    """The class of the worker itself, where a nanny makes it; None: the nanny's own choice."""


def chosen_kind(processes: object, worker_class: Any, nanny: type, worker: type) -> Kind:
    """Return whether workers are processes, and of which classes they are.

    Parameters
    ----------
    processes, worker_class
        As `LocalCluster` has them.
    nanny, worker
        The classes by default.
    """
    if processes is not None and not isinstance(processes, bool):
        raise TypeError(f"processes must be True, False or None, not {processes!r}")
    cls = resolve(worker_class)
    if cls is not None and not isinstance(cls, type):
        raise TypeError(f"worker_class must be a class, or the dotted name of one, not {worker_class!r}")
    is_nanny = cls is not None and issubclass(cls, nanny)
    if processes is False and is_nanny:
        raise apart("processes", False, "worker_class", worker_class, "a nanny's worker is a process")
    if processes is None:
        processes = cls is None or is_nanny
    if cls is None:
        return Kind(processes, nanny if processes else worker, None)
    if processes and issubclass(cls, worker):
        return Kind(True, nanny, cls)
    return Kind(processes, cls, None)


def worker_keywords(kind: Kind, nanny: type, worker: type) -> set[str] | None:
    """Return the keywords that workers of a kind take; None: any. A nanny passes on what it does not take itself."""
    if not issubclass(kind.cls, nanny):
        return keywords_of(kind.cls, worker)
    own, inner = keywords_of(kind.cls, nanny), keywords_of(kind.inner or worker, worker)
    return None if own is None or inner is None else own | inner


# ---------------------------------------------------------------- how many, how large


def check_counts(n_workers: object, threads_per_worker: object, scheduler_port: object) -> None:
    """Refuse numbers of the wrong kind, by name."""
    for value, what, least in ((n_workers, "n_workers", 0), (threads_per_worker, "threads_per_worker", 1)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f"{what} must be an int of at least {least}, or None, not {value!r}")
    if isinstance(scheduler_port, bool) or not isinstance(scheduler_port, int) or not 0 <= scheduler_port < 65536:
        raise ValueError(f"scheduler_port must be a port's number (0: any that is free), not {scheduler_port!r}")


def split(n_workers: int | None, threads: int | None, processes: bool) -> tuple[int, int]:
    """Return how many workers of how many threads share the machine's cores.

    Examples
    --------
    >>> split(3, 2, processes=True)
    (3, 2)
    """
    cores = system.cpu_count()
    if n_workers is None and threads is None:
        return system.nprocesses_nthreads(cores) if processes else (1, cores)
    if n_workers is None:
        assert threads is not None
        return (max(1, cores // threads) if processes else 1), threads
    if threads is None:
        return n_workers, max(1, math.ceil(cores / n_workers)) if n_workers else cores
    return n_workers, threads


def memory_limit_bytes(
    memory_limit: str | float | None, n_workers: int, nthreads: int, are_processes: bool = True
) -> int:
    """Return a worker's limit of memory, 0 for none; too little for a process is refused.

    Examples
    --------
    >>> memory_limit_bytes("64 MiB", n_workers=2, nthreads=1)
    67108864
    """
    if memory_limit == "auto":
        return system.memory_limit_bytes() // max(1, n_workers)
    try:
        found = system.parse_memory_limit(memory_limit, nthreads) or 0
    except (ValueError, OverflowError) as error:
        raise ValueError(f"memory_limit={memory_limit!r} will not do: {error}") from None
    if are_processes:
        system.check_room(memory_limit, found)
    return found


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


# ---------------------------------------------------------------- where to listen


class Place(NamedTuple):
    """Where parties listen."""

    protocol: str
    """inproc or tcp."""
    host: str
    """For tcp."""


def old_name(old: str, value: Any, new: str, new_value: Any, default: Any) -> Any:
    """Return what an argument means that may have been given under its old name too.

    Examples
    --------
    >>> old_name("ip", None, "host", "127.0.0.1", default=None)
    '127.0.0.1'
    """
    if value is None:
        return new_value
    warnings.warn(f"{old}= is an old name of {new}=: write {new}=", DeprecationWarning, stacklevel=3)
    if new_value not in (default, value):
        raise ValueError(f"{new}={new_value!r} and {old}={value!r} (its old name) differ; give {new}= alone")
    return value


def chosen_dashboard(address: Any, service_kwargs: Any) -> dict[str, Any]:
    """Return the scheduler's keywords about its dashboard.

    Examples
    --------
    >>> chosen_dashboard(":8787", {"dashboard": {"prefix": "/foo"}})
    {'dashboard_address': ':8787', 'http_prefix': '/foo'}
    """
    dashboard.parse(address)
    return {"dashboard_address": address, "http_prefix": dashboard.prefix_from(service_kwargs)}


def worker_dashboard(address: Any) -> dict[str, Any]:
    """Return the workers' keywords about dashboards of their own: none by default.

    Examples
    --------
    >>> worker_dashboard(None), worker_dashboard(":0")
    ({}, {'dashboard_address': ':0'})
    """
    dashboard.parse(address)
    return {} if address is None else {"dashboard_address": address}


def chosen_place(
    host: Any,
    protocol: Any,
    interface: Any,
    processes: bool,
    scheduler_port: int,
    security: tls.Security | None = None,
) -> Place:
    """Return where to listen, by what is said of it and what follows for the rest.

    Examples
    --------
    >>> chosen_place(None, "tcp://", None, processes=True, scheduler_port=0)
    Place(protocol='tcp', host='127.0.0.1')
    >>> chosen_place("", None, None, processes=True, scheduler_port=0)  # everywhere
    Place(protocol='tls', host='')
    >>> chosen_place(None, None, None, processes=False, scheduler_port=0).protocol
    'inproc'
    """
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a string, not {host!r}")
    scheme, bare = _split_host(host)
    wanted = _checked_protocol(protocol)
    if wanted and scheme and wanted != scheme:
        raise apart("protocol", protocol, "host", host, "they name two protocols")
    said = wanted or scheme
    requires = security is not None and security.require_encryption
    chosen = said or ("tcp" if processes or scheduler_port or requires else "inproc")
    if interface is not None:
        if host is not None:
            raise apart("interface", interface, "host", host, "each says where to listen")
        bare = listening.interface_ip(interface)
    if chosen == "inproc":
        _check_inproc(processes, scheduler_port, interface, protocol if wanted else host)
        return Place("inproc", LOOPBACK)
    where = bare if bare or host == "" else LOOPBACK
    chosen = tls.chosen_scheme(chosen, where, security, said=bool(said))
    if chosen == "tcp" and not addressing.is_loopback(where):
        argument = f"host={host!r}" if host is not None else f"interface={interface!r}"
        warnings.warn(f"{argument}: {UNENCRYPTED}", UserWarning, stacklevel=3)
    return Place(chosen, where)


def _split_host(host: str | None) -> tuple[str, str]:
    """Return the protocol that a host names, and the host itself."""
    if not host:
        return "", host or ""
    scheme, separator, bare = host.rpartition("://")
    if bare.startswith("[") and bare.endswith("]"):  # as a number of IPv6 stands in addresses
        bare = bare[1:-1]
    return (_checked_protocol(scheme) if separator else "", bare)


def _checked_protocol(protocol: Any) -> str:
    """Return a protocol without its ``://``; "" for None."""
    if protocol is None:
        return ""
    if not isinstance(protocol, str):
        raise TypeError(f"protocol must be a string such as 'tcp', or None, not {protocol!r}")
    scheme = protocol.removesuffix("://").lower()
    if not schemes.is_known(scheme):
        there = ", ".join(f"{each}://" for each in schemes.known())
        raise ValueError(f"there is no protocol {protocol!r}; there are {there}")
    return scheme


def _check_inproc(processes: bool, scheduler_port: int, interface: object, said: object) -> None:
    """Refuse what cannot be where nobody listens for other processes."""
    if said is None and interface is None:
        return
    name, value = ("protocol", said) if said is not None else ("processes", processes)
    if processes:
        raise apart(name, value, "processes", processes, "inproc:// is within one process")
    if scheduler_port:
        raise apart(name, value, "scheduler_port", scheduler_port, "inproc:// has no ports")
    if interface is not None:
        raise apart(name, value, "interface", interface, "nothing listens on a network; add protocol='tcp://'")
