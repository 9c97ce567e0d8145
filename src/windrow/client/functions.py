"""Functions on their way to workers: pickled as seldom as is safe, named by a hash, declared once.

What lives here: `Function`, `Functions` (function object to `Function`), `Declared` (which of them the scheduler
knows). What this file must never know: tasks, keys of tasks, futures.

Pickling by reference is cheap, so it is done at each submit, and is right by construction. Pickling by value (lambdas,
closures, whatever is in ``__main__``) costs a hundred times as much; its result is kept with a *fingerprint*: all
that went into it, compared by identity. Something mutable in there (a list in a closure, say) means no fingerprint,
and pickling anew each time, since nothing tells when it changes.
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

    def __init__(self, name: str, code: m.Blob) -> None:
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
        self._by_id: dict[int, tuple[weakref.ref[Any], Fingerprint, Function]] = {}

    def find(self, func: Callable[..., Any]) -> Function:
        """The `Function` for ``func`` as it is now; PickleError if it cannot travel."""
        known = self._by_id.get(id(func))
        if known is not None and known[0]() is func and known[1].holds(func):
            return known[2]
        if not _goes_by_value(func):
            return self._from_code(func)
        fingerprint = Fingerprint.take(func)
        function = self._from_code(func)
        if fingerprint is not None:
            by_id, number = self._by_id, id(func)
            if len(by_id) >= REMEMBERED_MAX:
                by_id.clear()
            by_id[number] = (weakref.ref(func, lambda ref: by_id.pop(number, None)), fingerprint, function)
        return function

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

    __slots__ = ("_cells", "_functions", "_names", "_root")

    def __init__(self, root: object) -> None:
        self._root: object = root
        self._functions: list[tuple[Any, object, object, object, int]] = []
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

    def holds(self, func: object) -> bool:
        """Whether ``func``, of which this was taken, is still made of the same parts."""
        for other, code, defaults, keyword_defaults, attributes in self._functions:
            one: Any = func if other is _ITSELF else other
            if (
                one.__code__ is not code
                or one.__defaults__ is not defaults
                or one.__kwdefaults__ is not keyword_defaults
                or len(one.__dict__) != attributes
            ):
                return False
        for mapping, name, value in self._names:
            now = mapping.get(name, _ABSENT)
            if now is not value and not (value is _ITSELF and now is func):
                return False
        for cell, value in self._cells:
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
        itself = _ITSELF if func is self._root else func
        if any(known[0] is itself for known in self._functions):
            return
        code = func.__code__
        # Its name and annotations are in the pickle too, but do not change what the function computes.
        self._functions.append((itself, code, func.__defaults__, func.__kwdefaults__, len(func.__dict__)))
        self._visit(func.__defaults__)
        self._take_names(func.__kwdefaults__ or {}, list(func.__kwdefaults__ or ()))
        self._take_names(func.__dict__, list(func.__dict__))
        for cell in func.__closure__ or ():
            content = _content(cell)
            self._cells.append((cell, _ITSELF if content is self._root else content))
            if content is not _ABSENT:
                self._visit(content)
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
