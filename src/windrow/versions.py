"""Which versions of what a process has: to compare client, scheduler and workers.

What lives here: `versions`, which each process answers for itself, and the comparison. What this file must never know:
how the answers are got.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["PACKAGES", "VersionMismatchWarning", "differences", "versions"]

PACKAGES = (
    "windrow",
    "cloudpickle",
    "dask",
    "msgspec",
    "tblib",
    "numpy",
    "pandas",
    "pyarrow",
)
"""Those whose versions matter to what is sent from process to process, beside the interpreter's."""


class VersionMismatchWarning(Warning):
    """Client, scheduler and workers have different versions of a package."""


def versions(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return this process's system (``host``) and its versions (``packages``; None for what is not installed).

    Parameters
    ----------
    packages
        Names to look at beside `PACKAGES`.

    Examples
    --------
    >>> found = versions(["no-such-package"])
    >>> found["packages"]["python"].count("."), found["packages"]["no-such-package"]
    (2, None)
    """
    import platform

    host = {
        "python": platform.python_version(),
        "python-bits": 64 if sys.maxsize > 2**32 else 32,
        "OS": platform.system(),
        "OS-release": platform.release(),
        "machine": platform.machine(),
        "byteorder": sys.byteorder,
        "LC_ALL": os.environ.get("LC_ALL", "None"),
        "LANG": os.environ.get("LANG", "None"),
    }
    names = dict.fromkeys([*PACKAGES, *packages])
    return {"host": host, "packages": {"python": host["python"], **{name: _version(name) for name in names}}}


def _version(name: str) -> str | None:
    from importlib import metadata

    module = sys.modules.get(name)
    found = getattr(module, "__version__", None)
    if isinstance(found, str):  # what runs, and not what has been installed since
        return found
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def differences(parties: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str | None]]:
    """Return the packages of which parties have different versions: {package: {party: version}}.

    Examples
    --------
    >>> differences({"client": {"packages": {"dask": "1"}}, "scheduler": {"packages": {"dask": "2"}}})
    {'dask': {'client': '1', 'scheduler': '2'}}
    """
    names = dict.fromkeys(name for found in parties.values() for name in found["packages"])
    table = {name: {party: found["packages"].get(name) for party, found in parties.items()} for name in names}
    return {name: row for name, row in table.items() if len(set(row.values())) > 1}
