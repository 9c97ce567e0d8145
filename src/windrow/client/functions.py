"""Functions on their way to workers: pickled as seldom as is safe, named by a hash, declared once.

What lives here: `Function`, `Functions` (function object to `Function`), `Declared` (which of them the scheduler
knows). What this file must never know: tasks, keys of tasks, futures.

Pickling by reference is cheap, so it is done at each submit, and is right by construction; for a function of a module
it is enough to see that the module still names it. Pickling by value (lambdas, closures, whatever is in ``__main__``)
costs a hundred times as much; its result is kept with a *fingerprint*: all that went into it, compared by identity.
Something mutable in there (a list in a closure, say) means no fingerprint, and pickling anew each time, since nothing
tells when it changes.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol

from windrow.errors import PickleError
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire.blobs import Blob

DECLARED_MAX = 1000
"""Functions that the scheduler is asked to remember for one client."""

REMEMBERED_MAX = 1000
"""Functions whose `Function` is kept here, of either kind."""

NAME_MAX = 64


class Hasher(Protocol):
    """As much of a hashlib object as is used here."""

    def copy(self) -> Hasher:
        """An independent hasher of the same state."""

    def update(self, data: Any, /) -> None:
        """Feed bytes."""

    def hexdigest(self) -> str:
        """The hash so far, as text."""


class Function:
    """A pickled function: what a Declare says, and where keys of its tasks start from."""

    __slots__ = ("code", "digest", "hasher", "name", "what")

    def __init__(self, name: str, code: Blob) -> None:
        hasher = blake2b(digest_size=16)
        payload.digest(code, hasher)
        self.digest = hasher.digest()
        self.name = name
        self.what = f"An argument of {name!r}"
        self.code = code
        self.hasher: Hasher = blake2b(self.digest, digest_size=16)


def name_of(func: object) -> str:
    """What tasks of this function are called.

    Examples
    --------
    >>> name_of(partial(sorted, reverse=True))
    'sorted'
    >>> name_of(lambda: None)
    'lambda'
    """
    while isinstance(func, partial):
        func = func.func
    name = getattr(func, "__name__", None)
    if not isinstance(name, str):
        name = type(func).__name__
    return name.strip("<>")[:NAME_MAX] or "function"


class Functions:
    """From function objects to `Function`; one for each client.

    Examples
    --------
    >>> functions = Functions()
    >>> functions.find(sorted) is functions.find(sorted)
    True
    """

    def __init__(self) -> None:
        self._by_code: dict[bytes, Function] = {}
        self._by_module: dict[int, tuple[Any, types.ModuleType, Function]] = {}
        self._by_id: dict[int, tuple[weakref.ref[Any], Fingerprint, Function]] = {}
        # By the id of a code object, which the fingerprint keeps alive: for a lambda that a loop makes anew each time.
        self._by_line: dict[int, tuple[Fingerprint, Function]] = {}

    def find(self, func: Callable[..., Any]) -> Function:
        """The `Function` for ``func`` as it is now; PickleError if it cannot travel."""
        named = self._by_module.get(id(func))
        if named is not None and not _by_value_modules():
            namesake, module, function = named
            name = func.__name__
            if namesake is func and sys.modules.get(module.__name__) is module and module.__dict__.get(name) is func:
                return function
        known = self._by_id.get(id(func))
        if known is not None and known[0]() is func and known[1].holds(func):
            return known[2]
        if type(func) is types.FunctionType:
            sibling = self._by_line.get(id(func.__code__))
            if sibling is not None and sibling[0].holds(func):
                return sibling[1]
        if not _goes_by_value(func):
            function = self._from_code(func)
            self._remember_name(func, function)
            return function
        fingerprint = Fingerprint.take(func)
        function = self._from_code(func)
        if fingerprint is not None:
            self._remember(func, fingerprint, function)
        return function

    def _remember(self, func: Any, fingerprint: Fingerprint, function: Function) -> None:
        by_id, by_line, number = self._by_id, self._by_line, id(func)
        if len(by_id) >= REMEMBERED_MAX or len(by_line) >= REMEMBERED_MAX:
            by_id.clear()
            by_line.clear()
        by_id[number] = (weakref.ref(func, lambda ref: by_id.pop(number, None)), fingerprint, function)
        if type(func) is types.FunctionType and not func.__dict__:
            by_line[id(func.__code__)] = (fingerprint, function)

    def _remember_name(self, func: Any, function: Function) -> None:
        """Keep what a module names: a plain function on its top level."""
        if type(func) not in (types.FunctionType, types.BuiltinFunctionType) or func.__qualname__ != func.__name__:
            return
        module = sys.modules.get(func.__module__ or "")
        if module is not None and module.__dict__.get(func.__name__) is func:
            if len(self._by_module) >= REMEMBERED_MAX:
                self._by_module.clear()
            self._by_module[id(func)] = (func, module, function)

    def _from_code(self, func: Callable[..., Any]) -> Function:
        try:
            code = payload.dumps(func)
        except PickleError as error:
            raise PickleError(f"The function {name_of(func)!r}", error.culprit, error.cause) from error.__cause__
        if type(code) is not bytes:
            return Function(name_of(func), code)
        by_code = self._by_code
        function = by_code.get(code)
        if function is None:
            if len(by_code) >= REMEMBERED_MAX:
                by_code.clear()
            function = by_code[code] = Function(name_of(func), code)
        return function


class Declared:
    """Which functions the scheduler has been told of, least recently used first."""

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}
        self._last: Function | None = None

    def declare(self, function: Function, out: list[m.Message]) -> None:
        """Append what must precede a Submit of this function."""
        if function is self._last:
            return
        digests = self._digests
        if function.digest in digests:
            del digests[function.digest]
        else:
            out.append(m.Declare(function.digest, function.name, function.code))
            if len(digests) >= DECLARED_MAX:
                oldest = next(iter(digests))
                del digests[oldest]
                out.append(m.Undeclare([oldest]))
        digests[function.digest] = None
        self._last = function


# ---------------------------------------------------------------- fingerprints

_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes, type(Ellipsis)))
_MAIN = frozenset(("__main__", "__mp_main__"))
_ABSENT = object()
_ITSELF = object()


class Fingerprint:
    """All that a by-value pickle of a function is made of, to compare by identity later.

    It holds whatever can be exchanged: the parts of each function involved, the contents of cells, and what names
    stand for. All these are immutable themselves, or functions whose parts are here too. The function itself is not
    held, so that it can be collected.
    """

    __slots__ = ("_cells", "_functions", "_names", "_own", "_root")

    def __init__(self, root: object) -> None:
        self._root: object = root
        self._own = _Parts(root) if type(root) is types.FunctionType else None
        self._functions: list[tuple[types.FunctionType, _Parts]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        self._names: list[tuple[Mapping[str, object], str, object]] = []

    @classmethod
    def take(cls, func: object) -> Fingerprint | None:
        """The fingerprint of a function or partial; None when something in it may change in place."""
        made = cls(func)
        try:
            made._visit(func)
        except _Mutable:
            return None
        made._root = None
        return made

    def holds(self, func: Any) -> bool:
        """Whether ``func`` is made of these parts: the function of which this was taken, or another from its line."""
        own = self._own
        if own is not None and not own.are_of(func):
            return False
        for other, parts in self._functions:
            if not parts.are_of(other):
                return False
        for mapping, name, value in self._names:
            now = mapping.get(name, _ABSENT)
            if now is not value and not (value is _ITSELF and now is func):
                return False
        for place, (cell, value) in enumerate(self._cells):
            if own is not None and place < own.cells:  # they come first, and another function has others
                cell = func.__closure__[place]
            now = _content(cell)
            if now is not value and not (value is _ITSELF and now is func):
                return False
        return True

    def _visit(self, obj: Any) -> None:
        """Take in what ``obj`` is made of; raise _Mutable at what may change in place."""
        kind = type(obj)
        if kind is types.FunctionType:
            if not _is_importable(obj):
                self._visit_function(obj)
        elif kind is tuple:
            for part in obj:
                self._visit(part)
        elif kind is partial:
            # Its parts can only be exchanged as a whole (by __setstate__, which nobody calls on one that is in use).
            self._visit(obj.func)
            self._visit(obj.args)
            self._take_names(obj.keywords, list(obj.keywords))
            if obj.__dict__:
                raise _Mutable
        elif kind not in _ATOMS and not _is_fixed(obj, kind):
            raise _Mutable

    def _visit_function(self, func: types.FunctionType) -> None:
        if func is self._root:
            if self._functions or self._cells or self._names:
                return  # it refers to itself
        elif any(known is func for known, _ in self._functions):
            return
        else:
            self._functions.append((func, _Parts(func)))
        code = func.__code__
        contents = [(cell, _content(cell)) for cell in func.__closure__ or ()]
        self._cells.extend((cell, _ITSELF if content is self._root else content) for cell, content in contents)
        for _, content in contents:
            if content is not _ABSENT:
                self._visit(content)
        self._visit(func.__defaults__)
        self._take_names(func.__kwdefaults__ or {}, list(func.__kwdefaults__ or ()))
        self._take_names(func.__dict__, list(func.__dict__))
        names = list(dict.fromkeys(_names(code)))
        self._take_names(func.__globals__, names)
        for name in names:
            value = func.__globals__.get(name)
            if type(value) is types.ModuleType and hasattr(value, "__path__"):
                # cloudpickle imports those submodules along that are loaded at the time of pickling.
                submodules = (f"{value.__name__}.{part}" for part in names)
                self._names.extend((sys.modules, part, sys.modules.get(part, _ABSENT)) for part in submodules)

    def _take_names(self, mapping: Mapping[str, object], names: list[str]) -> None:
        for name in names:
            value = mapping.get(name, _ABSENT)
            self._names.append((mapping, name, _ITSELF if value is self._root else value))
            if value is not _ABSENT:
                self._visit(value)


class _Parts:
    """What a function object itself consists of, beside the contents of its cells."""

    __slots__ = ("attributes", "cells", "code", "defaults", "keyword_defaults", "name", "variables")

    def __init__(self, func: types.FunctionType) -> None:
        self.code = func.__code__
        self.name = func.__name__
        self.defaults = func.__defaults__
        self.keyword_defaults = func.__kwdefaults__
        self.variables = func.__globals__
        self.attributes = len(func.__dict__)
        self.cells = len(func.__closure__ or ())

    def are_of(self, func: Any) -> bool:
        """Whether ``func`` consists of the same."""
        defaults = func.__defaults__
        return (
            func.__code__ is self.code
            and (defaults is self.defaults or _same(defaults, self.defaults))
            and func.__kwdefaults__ is self.keyword_defaults
            and func.__globals__ is self.variables
            and len(func.__dict__) == self.attributes
            and func.__name__ == self.name
        )


def _same(left: tuple[object, ...] | None, right: tuple[object, ...] | None) -> bool:
    return bool(left and right and len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True)))


class _Mutable(Exception):
    """Something that may change in place without notice."""


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _ABSENT


def _goes_by_value(func: object) -> bool:
    """Whether a pickle of ``func`` may hold code, rather than only a name to import."""
    if isinstance(func, partial):
        return True
    return isinstance(func, types.FunctionType) and not _is_importable(func)


def _is_importable(obj: Any) -> bool:
    module_name = getattr(obj, "__module__", None)
    if not isinstance(module_name, str) or module_name in _MAIN or _by_value_modules():
        return False
    found: Any = sys.modules.get(module_name)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def _by_value_modules() -> bool:
    """Whether some modules were registered to travel by value (then nothing is taken for importable)."""
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return cloudpickle is not None and bool(getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", None))


def _is_fixed(obj: Any, kind: type) -> bool:
    """Modules, importable classes, and functions of modules that are written in C."""
    if kind is types.ModuleType:
        return sys.modules.get(obj.__name__) is obj
    if kind is types.BuiltinFunctionType:
        return obj.__self__ is None or type(obj.__self__) is types.ModuleType
    return isinstance(obj, type) and _is_importable(obj)


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that the code, or code nested in it, may look up among its globals (attribute names too: harmless)."""
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            yield from _names(constant)
