"""Schemes of addresses: which there are, and what is behind each.

What lives here: the table, `register`, and the look-up of what installed packages add. What this file must never know:
links, what a transport does.

A package adds a scheme by an entry point of the group ``windrow.transports``: its name is the scheme, and it leads to a
module, or another object, with ``connect`` and ``listen`` (`windrow.transport.base.Backend`). Nothing is looked up, and
no package is loaded, before an address with that scheme is used.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "backend", "has_ports", "is_known", "known", "new_location", "register"]

logger = logging.getLogger(__name__)

GROUP = "windrow.transports"
"""The entry points of packages that add one."""

ELSEWHERE = "distributed.comm.backends"
"""Those of packages that add one to dask.distributed."""

_OWN: dict[str, Any] = {
    "inproc": "windrow.transport.inproc",
    "local": "windrow.transport.local",
    "tcp": "windrow.transport.tcp",
    "tls": "windrow.transport.tls",
}
_PORTLESS = {"inproc", "local"}
_backends: dict[str, Any] = dict(_OWN)
"""A module's name until its first use."""


def register(scheme: str, backend: Any) -> None:
    """Add a scheme in this process, or put another backend behind it.

    Parameters
    ----------
    scheme
        What stands before ``://``.
    backend
        An object with ``connect`` and ``listen``, or the name of a module that has them, imported at its first use.

    Examples
    --------
    >>> register("tcp", "windrow.transport.tcp")
    """
    _backends[scheme.lower()] = backend


def known() -> list[str]:
    """Return all schemes that there are here, sorted.

    Examples
    --------
    >>> {"inproc", "tcp", "tls"} <= set(known())
    True
    """
    return sorted({*_backends, *(point.name for point in _points(GROUP))})


def is_known(scheme: str) -> bool:
    """Whether there is such a scheme.

    Examples
    --------
    >>> is_known("tcp"), is_known("carrier-pigeon")
    (True, False)
    """
    return scheme in _backends or bool(_points(GROUP, scheme))


def backend(scheme: str) -> Any:
    """Return what is behind a scheme.

    Raises
    ------
    ValueError
        There is no such scheme, and the message names those that there are; or the package that adds it is broken.

    Examples
    --------
    >>> backend("inproc").__name__
    'windrow.transport.inproc'
    """
    found = _backends.get(scheme)
    if found is None:
        found = _backends[scheme] = _from_package(scheme)
    if isinstance(found, str):
        found = _backends[scheme] = importlib.import_module(found)
    return found


def has_ports(scheme: str) -> bool:
    """Whether what follows a scheme is a host and a port.

    Examples
    --------
    >>> has_ports("tcp"), has_ports("inproc")
    (True, False)
    """
    if scheme in _OWN and _backends[scheme] is _OWN[scheme]:
        return scheme not in _PORTLESS
    return bool(getattr(backend(scheme), "HAS_PORTS", True))


def new_location(scheme: str) -> str:
    """Return where a party may listen that was told no more than the scheme.

    Examples
    --------
    >>> new_location("tcp")
    '127.0.0.1:0'
    """
    if has_ports(scheme):
        return "127.0.0.1:0"
    return str(backend(scheme).new_location())


def _points(group: str, scheme: str | None = None) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    found = entry_points(group=group) if scheme is None else entry_points(group=group, name=scheme)
    return sorted(found, key=_package)


def _package(point: EntryPoint) -> str:
    return "" if point.dist is None else point.dist.name


def _from_package(scheme: str) -> Any:
    points = _points(GROUP, scheme)
    if not points:
        raise ValueError(
            f"unknown scheme {scheme}://; known are {', '.join(f'{each}://' for each in known())}{_hint(scheme)}"
        )
    if points[1:]:
        others = ", ".join(map(_package, points[1:]))
        logger.warning("%s:// is that of the package %s; %s would add it too", scheme, _package(points[0]), others)
    point = points[0]
    what = f"the package {_package(point)!r}, which adds {scheme}:// ({GROUP}: {point.value}),"
    try:
        found = point.load()
    except Exception as error:  # whatever another's module raises while it is imported
        raise ValueError(
            f"{what} cannot be loaded: {type(error).__name__}: {error}. Mend or remove it, or use another scheme"
        ) from error
    missing = [name for name in ("connect", "listen") if not callable(getattr(found, name, None))]
    if missing:
        raise ValueError(
            f"{what} has no {' and no '.join(missing)}: it is no transport of windrow (docs/transports.md)"
        )
    return found


def _hint(scheme: str) -> str:
    points = _points(ELSEWHERE, scheme)
    if not points:
        return ""
    return (
        f". The package {_package(points[0])!r} adds it to dask.distributed, whose transports are not windrow's; one "
        f"for windrow is an entry point of {GROUP!r}"
    )
