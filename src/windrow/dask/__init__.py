"""Programs written for ``dask.distributed``, unchanged: its names mean windrow, in this process and its workers.

::

    python -m windrow.dask script.py
    python -m windrow.dask -m pytest tests
    %load_ext windrow.dask

What lives here: `install` and its opposite. What this file must never know: which names there are (``table``), and how
modules are made of them (``finder``).

An installed ``distributed`` is neither used nor touched, and there need not be one.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import ModuleType
from typing import Any

from windrow import startup
from windrow.dask.finder import FINDER, is_ours, is_theirs
from windrow.when_imported import when_imported

__all__ = ["install", "is_installed", "load_ipython_extension", "uninstall", "unload_ipython_extension"]

STARTUP = "windrow.dask:install"
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "path")
"""Stands on the path of child processes, so that they begin with the same names; see the package there."""

PREFIX = "WINDROW_DASK_PREFIX"
"""The environment variable that says for which Python that is meant."""

_set_aside: dict[str, ModuleType] = {}
"""Modules of an installed ``distributed`` that had been imported before."""

_former: dict[str, str | None] = {}
"""Environment variables as they were before."""


def install() -> None:
    """Have ``distributed``, ``dask.distributed`` and their modules mean windrow from here on; again is harmless.

    Call it before anything imports ``distributed``: what has been taken from an installed one before stays what it is,
    and a warning says so. Workers of clusters that are made afterwards, and child processes, follow.

    Examples
    --------
    >>> install()
    >>> from dask.distributed import Client
    >>> Client.__module__
    'windrow.client.client'
    >>> uninstall()
    """
    if FINDER in sys.meta_path:
        return
    theirs = {name: module for name, module in list(sys.modules.items()) if is_theirs(name) and not is_ours(module)}
    if "distributed" in theirs and not _is_doorway(theirs["distributed"]):
        version = getattr(theirs["distributed"], "__version__", "of unknown version")
        warnings.warn(
            f"distributed {version} was imported before windrow.dask.install(): what has been taken from it stays "
            "what it is, and does not go together with windrow's. Call install() before all other imports, or run the "
            "program with: python -m windrow.dask",
            RuntimeWarning,
            stacklevel=2,
        )
    for name, module in theirs.items():
        if not _is_being_imported(module):
            _set_aside[name] = sys.modules.pop(name)
    path: list[Any] = sys.meta_path
    path.insert(0, FINDER)
    startup.add(STARTUP)
    when_imported("windrow.client.client", _choose_futures)
    when_imported("dask.utils", _choose_locks)
    _set_environment({"PYTHONPATH": _with_path(os.environ.get("PYTHONPATH", "")), PREFIX: sys.prefix})
    _have_dask_look_again()


def uninstall() -> None:
    """Give the names back; what has been taken from windrow stays what it is, and so do workers that are there.

    Examples
    --------
    >>> uninstall()
    >>> is_installed()
    False
    """
    if FINDER not in sys.meta_path:
        return
    sys.meta_path.remove(FINDER)
    startup.drop(STARTUP)
    if "windrow.client.client" in sys.modules:
        _choose_futures(sys.modules["windrow.client.client"])
    if "dask.utils" in sys.modules:
        _choose_locks(sys.modules["dask.utils"])
    for name in [name for name, module in sys.modules.items() if is_theirs(name) and is_ours(module)]:
        del sys.modules[name]
    sys.modules.update(_set_aside)
    _set_aside.clear()
    _set_environment(_former)
    _former.clear()
    _have_dask_look_again()


def is_installed() -> bool:
    """Whether the names mean windrow here.

    Examples
    --------
    >>> is_installed()
    False
    """
    return FINDER in sys.meta_path


def load_ipython_extension(ipython: Any) -> None:
    """Do as `install`: what ``%load_ext windrow.dask`` calls.

    Examples
    --------
    >>> load_ipython_extension(None)
    >>> unload_ipython_extension(None)
    """
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """Do as `uninstall`: what ``%unload_ext windrow.dask`` calls.

    Examples
    --------
    >>> unload_ipython_extension(None)
    """
    uninstall()


def _choose_futures(client_module: Any) -> None:
    """Have clients hand out futures that take attributes of the program's own, or not any more."""
    from windrow.client.future import Future

    if is_installed():
        from windrow.dask.future import OpenFuture

        client_module.Client.future_class = OpenFuture
    else:
        client_module.Client.future_class = Future


def _choose_locks(utils: ModuleType) -> None:
    """Have copies of Dask's own locks be one object in each process, or not any more."""
    from windrow.dask import locks

    if is_installed():
        locks.share(utils)
    else:
        locks.leave(utils)


def _have_dask_look_again() -> None:
    """Have Dask forget what it has found under the names, or that it has found nothing."""
    base = sys.modules.get("dask.base")
    if base is not None and hasattr(base, "_DISTRIBUTED_AVAILABLE"):
        vars(base).update(_DISTRIBUTED_AVAILABLE=None, _DistributedClient=None, _get_distributed_client=None)
    package = sys.modules.get("dask")
    if package is not None:
        module = sys.modules.get("dask.distributed")
        if module is not None:
            vars(package)["distributed"] = module
        else:
            vars(package).pop("distributed", None)


def _is_doorway(module: ModuleType) -> bool:
    """Whether it is our own package in PATH, by which a child process comes here."""
    return os.path.dirname(os.path.dirname(getattr(module, "__file__", None) or "")) == PATH


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def _with_path(path: str) -> str:
    entries = [entry for entry in path.split(os.pathsep) if entry and entry != PATH]
    return os.pathsep.join([PATH, *entries])


def _set_environment(values: dict[str, str | None] | dict[str, str]) -> None:
    for name, value in values.items():
        _former.setdefault(name, os.environ.get(name))
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
