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
from collections.abc import Callable, Iterator
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
        self._by_object: weakref.WeakKeyDictionary[Any, tuple[list[object], Function]] = weakref.WeakKeyDictionary()

    def find(self, func: Callable[..., Any]) -> Function:
        """The `Function` for ``func`` as it is now; PickleError if it cannot travel."""
        if not _goes_by_value(func):
            return self._from_code(func)
        print_now = fingerprint(func)
        if print_now is None:
            return self._from_code(func)
        known = self._by_object.get(func)
        if known is not None and _same(known[0], print_now):
            return known[1]
        function = self._from_code(func)
        if len(self._by_object) >= REMEMBERED_MAX:
            self._by_object.clear()
        self._by_object[func] = (print_now, function)
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


def fingerprint(func: object) -> list[object] | None:
    """All that a by-value pickle of ``func`` is made of, to compare by identity; None when some of it is mutable."""
    found: list[object] = []
    try:
        _visit(func, found, set())
    except _Mutable:
        return None
    return found


class _Mutable(Exception):
    """Something that may change in place without notice."""


def _same(left: list[object], right: list[object]) -> bool:
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


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


def _visit(obj: Any, found: list[object], seen: set[int]) -> None:
    """Append ``obj`` and what it is made of; raise _Mutable at what may change in place."""
    kind = type(obj)
    if kind is types.FunctionType:
        if _is_importable(obj):
            found.append(obj)
        else:
            _visit_function(obj, found, seen)
    elif kind is tuple:
        found.append(obj)
        for part in obj:
            _visit(part, found, seen)
    elif kind is partial:
        if obj.__dict__:
            raise _Mutable
        found.append(obj.func)
        for part in (obj.func, *obj.args, *obj.keywords, *obj.keywords.values()):
            _visit(part, found, seen)
    elif kind in _ATOMS or _is_fixed(obj, kind):
        found.append(obj)
    else:
        raise _Mutable


def _is_fixed(obj: Any, kind: type) -> bool:
    """Modules, importable classes, and functions of modules that are written in C."""
    if kind is types.ModuleType:
        return sys.modules.get(obj.__name__) is obj
    if kind is types.BuiltinFunctionType:
        return obj.__self__ is None or type(obj.__self__) is types.ModuleType
    return isinstance(obj, type) and _is_importable(obj)


def _visit_function(func: types.FunctionType, found: list[object], seen: set[int]) -> None:
    code = func.__code__
    found.append(code)
    if id(func) in seen:
        return  # it refers to itself; a reference from here would keep it alive for good
    seen.add(id(func))
    # Its name and annotations are in the pickle too, but do not change what the function computes.
    for default in func.__defaults__ or ():
        _visit(default, found, seen)
    for named in (func.__kwdefaults__, func.__dict__):
        for name, value in (named or {}).items():
            found.append(name)
            _visit(value, found, seen)
    for cell in func.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # a cell that is not filled yet
            found.append(_ABSENT)
        else:
            _visit(content, found, seen)
    variables = func.__globals__
    names = list(_names(code))
    for name in names:
        value = variables.get(name, _ABSENT)
        if value is _ABSENT:
            found.append(_ABSENT)
            continue
        _visit(value, found, seen)
        if type(value) is types.ModuleType and hasattr(value, "__path__"):
            # cloudpickle imports those submodules along that are loaded at the time of pickling.
            found.extend(sys.modules.get(f"{value.__name__}.{part}") for part in names)


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that the code, or code nested in it, may look up among its globals (attribute names too: harmless)."""
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            yield from _names(constant)
