"""How the names of ``distributed`` are found: modules that are made of a table, each name looked up at its first use.

What lives here: the finder that stands before all others while the drop-in is installed, and its loader. What this file
must never know: any one name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["FINDER", "is_ours", "is_theirs", "part_of"]

PACKAGES = ("distributed", "dask.distributed")


def part_of(fullname: str) -> str | None:
    """Return a module's name within the package; "" is the package itself, None a module of somebody else's.

    Examples
    --------
    >>> part_of("distributed.utils"), part_of("dask.distributed"), part_of("dask.array")
    ('utils', '', None)
    """
    if not fullname.startswith(PACKAGES):
        return None
    for package in PACKAGES:
        if fullname == package:
            return ""
        if fullname.startswith(f"{package}."):
            return fullname[len(package) + 1 :]
    return None


def is_theirs(fullname: str) -> bool:
    """Whether a module's name is one of those that the drop-in answers to.

    Examples
    --------
    >>> is_theirs("distributed.utils"), is_theirs("distributed_something")
    (True, False)
    """
    return part_of(fullname) is not None


def is_ours(module: ModuleType) -> bool:
    """Whether a module was made here.

    Examples
    --------
    >>> import math
    >>> is_ours(math)
    False
    """
    return isinstance(getattr(module, "__loader__", None), _Loader)


class _Finder:  # not a MetaPathFinder: importlib.abc takes longer to import than this package
    """Finds the modules of the table, and says of others under these names that they are not there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module."""
        part = part_of(fullname)
        if part is None:
            return None
        from windrow.dask import table

        if part not in table.MODULES:
            raise ModuleNotFoundError(table.no_module(fullname, part), name=fullname)
        loader: Any = _LOADER
        return ModuleSpec(fullname, loader, origin="windrow", is_package=part not in table.COMMANDS)


class _Loader:
    """Makes the modules."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave the making of the module to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module: with what looks its names up."""
        from windrow.dask import table

        part = part_of(module.__name__)
        assert part is not None
        names = table.MODULES[part]
        vars(module).update(
            __doc__=f"windrow's own, in the place of {module.__name__}.",
            __all__=sorted(name for name in names if not name.startswith("_") and name not in table.UNSTARRED),
            __getattr__=_looking_up(module, part),
            __dir__=lambda: sorted({*vars(module), *names}),
        )

    def get_code(self, fullname: str) -> CodeType | None:
        """Return what ``python -m`` runs; None where there is nothing to run."""
        from windrow.dask import table

        source = table.COMMANDS.get(part_of(fullname) or "")
        return None if source is None else compile(source, f"<{fullname}>", "exec")


def _looking_up(module: ModuleType, part: str) -> Callable[[str], object]:
    from windrow.dask import table

    names = table.MODULES[part]

    def look_up(name: str) -> object:
        within = f"{part}.{name}" if part else name
        value: object
        if name in names:
            home, _, attribute = names[name].partition(":")
            value = importlib.import_module(home)
            if attribute:
                value = getattr(value, attribute)
        elif within in table.MODULES and not name.startswith("__"):
            value = importlib.import_module(f"{PACKAGES[0]}.{within}")
        else:
            words = table.no_name(module.__name__, part, name)
            # `from distributed import X` asks here first, and has words of its own in place of an AttributeError's.
            if sys._getframe(1).f_code.co_name == "_handle_fromlist" and not name.startswith("__"):
                raise ImportError(words, name=module.__name__)
            raise AttributeError(words, name=name, obj=module)
        setattr(module, name, value)
        return value

    return look_up


_LOADER = _Loader()

FINDER = _Finder()
"""The one that is put before all others."""
