"""Something to do when a module is imported, whenever that is: without importing it, and without waiting for it.

What lives here: `when_imported`. What this file must never know: which modules, and what is done.

Dask takes 0.1 s to import and many programs never do; but a client that is the default is to be what Dask computes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["when_imported"]

_callbacks: dict[str, list[Callable[[ModuleType], object]]] = {}


def when_imported(name: str, callback: Callable[[ModuleType], object]) -> None:
    """Call back with a module once it has been imported: now, if it has been already.

    The package that it is in may not be done with its import.

    Examples
    --------
    >>> when_imported("math", lambda module: print(module.__name__))
    math
    """
    if name in sys.modules:
        callback(sys.modules[name])
        return
    path: list[Any] = sys.meta_path
    if _FINDER not in path:
        path.insert(0, _FINDER)
    _callbacks.setdefault(name, []).append(callback)


class _Finder:  # not a MetaPathFinder: importlib.abc takes longer to import than this whole package
    """Finds nothing itself: it wraps the loader of what others find."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that somebody waits for, by asking the other finders."""
        if fullname not in _callbacks:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    wrapped: Any = _Loader(spec.loader, fullname)
                    spec.loader = wrapped
                return spec
        return None


class _Loader:
    """A loader that calls back after the module is there; all else is the wrapped one's."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module, as the wrapped loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, put its own loader back, and call back."""
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        for callback in _callbacks.pop(self._name, []):
            callback(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_FINDER = _Finder()
