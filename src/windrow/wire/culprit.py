"""Which part of an object cannot be pickled, and by what path it hangs on the object.

What lives here: the search, for error messages only. What this file must never know: what the object was to be used
for.

Two steps. A pickler that notes whatever it is asked to reduce fails; the last thing it noted is the culprit (a lock, a
generator) or what its reduction was made of. Then a walk from the object, breadth first and so by the shortest path,
looks for that very thing.
"""

from __future__ import annotations

import copyreg
import functools
import io
import sys
import types
from collections import deque
from collections.abc import Iterator
from itertools import islice

__all__ = ["find"]

_NODES_MAX = 10_000
"""Most objects that a walk looks at; beyond, the answer names the container that it got to."""
_NOTED_MAX = 200
_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, range, types.ModuleType)


def find(obj: object, what: str) -> str:
    """Return path and type of the smallest part of an object that cannot be pickled.

    Parameters
    ----------
    obj
        The object. A pair ``(args tuple, kwargs dict)`` or a triple ``(function, args, kwargs)`` is a call, whose
        parts are named ``function``, ``args`` and ``kwargs``.
    what
        The name of any other object, with which the path begins.

    Examples
    --------
    >>> import threading
    >>> find({"a": [1, threading.Lock()]}, "data")
    "data['a'][1]: _thread.lock"
    >>> find((({"x": (i for i in ())},), {}), "data")
    "args[0]['x']: generator"
    """
    noted, words = _note_failure(obj)
    if not words:
        return f"{what}: {_type_name(obj)}"
    roots = _roots(obj, what)
    paths = _walk(roots, {id(thing) for thing in noted})
    if noted:
        culprit = noted[-1]
        path = paths.get(id(culprit))
        if path is not None:
            return f"{path}: {_type_name(culprit)}"
        # The culprit was made by some reduction: name the nearest thing before it that hangs on the object.
        for thing in reversed(noted):
            path = paths.get(id(thing))
            if path is not None and not issubclass(type(thing), type) and _note_failure(thing)[1]:
                return f"{path} (in its reduced form): {_type_name(culprit)}"
        return f"{what} (somewhere inside): {_type_name(culprit)}"
    return f"{what}: {_type_name(obj)}"


def _note_failure(obj: object) -> tuple[list[object], str]:
    """Pickle an object to nowhere; return the last things that the pickler had to reduce, and the error's words."""
    import cloudpickle

    noted: deque[object] = deque(maxlen=_NOTED_MAX)

    class Noting(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, thing: object) -> object:
            noted.append(thing)
            return super().reducer_override(thing)

    try:
        Noting(io.BytesIO(), protocol=5, buffer_callback=lambda buffer: None).dump(obj)
    except Exception as error:  # a reduction may raise anything; that it does is what we came for
        return list(noted), str(error) or type(error).__name__
    return [], ""


def _roots(obj: object, what: str) -> list[tuple[str, object]]:
    if type(obj) is tuple and len(obj) >= 2 and type(obj[-1]) is dict and type(obj[-2]) is tuple:
        if len(obj) == 2:
            return [("args", obj[0]), ("kwargs", obj[1])]
        if len(obj) == 3:
            return [("function", obj[0]), ("args", obj[1]), ("kwargs", obj[2])]
    return [(what, obj)]


def _walk(roots: list[tuple[str, object]], wanted: set[int]) -> dict[int, str]:
    """Return the shortest path to each wanted identity that can be reached from the roots."""
    paths: dict[int, str] = {}
    # Whatever was looked at stays alive till the end: a temporary's identity must not come up again.
    seen: dict[int, object] = {}
    queue = deque(roots)
    while queue and len(seen) < _NODES_MAX:
        path, obj = queue.popleft()
        if id(obj) in seen:
            continue
        seen[id(obj)] = obj
        if id(obj) in wanted:
            paths[id(obj)] = path
        queue.extend((path + step, part) for step, part in islice(_safely(_parts(obj)), _NODES_MAX))
    return paths


def _safely(parts: Iterator[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """Stop where looking at an object runs code of its class that raises."""
    try:
        yield from parts
    except Exception:  # an object's own attribute or reduction; what has come out before it is all there is to see
        return


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of an object that its pickle holds, with the step that leads to each."""
    if isinstance(obj, _ATOMS):
        return
    if isinstance(obj, dict):
        for key, value in list(obj.items()):
            yield f"[{_short(key)}]", value
            if not isinstance(key, _ATOMS):
                yield f".keys(): {_short(key)}", key
    elif isinstance(obj, (list, tuple, deque)):
        for index, value in enumerate(list(obj)):
            yield f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in list(obj):
            yield f"{{{_short(value)}}}", value
    elif isinstance(obj, types.FunctionType):
        if _goes_by_value(obj):
            yield from _function_parts(obj)
        return
    elif isinstance(obj, type):
        if _goes_by_value(obj):
            for name, value in list(vars(obj).items()):
                yield f".{name}", value
        return
    elif isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
        return
    elif isinstance(obj, functools.partial):
        yield ".func", obj.func
        for index, value in enumerate(obj.args):
            yield f".args[{index}]", value
        for name, value in obj.keywords.items():
            yield f".keywords[{name!r}]", value
    elif isinstance(obj, (staticmethod, classmethod)):
        yield "", obj.__func__
        return
    elif isinstance(obj, property):
        yield from ((f".{name}", getattr(obj, name)) for name in ("fget", "fset", "fdel"))
        return
    elif isinstance(obj, types.CellType):
        yield "", obj.cell_contents
        return
    yield from _state_parts(obj)


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".__closure__[{name!r}]", cell.cell_contents
        except ValueError:  # an empty cell: its variable has no value yet
            continue
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            yield f".__globals__[{name!r}]", function.__globals__[name]
    for index, value in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{index}]", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{name!r}]", value
    for name, value in function.__dict__.items():
        yield f".{name}", value


def _global_names(code: types.CodeType) -> set[str]:
    """Return the names that a function's code, or the code inside it, may look up in its module."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _goes_by_value(thing: types.FunctionType | type) -> bool:
    """Whether a function or class is not found under its name in a module, so that its contents are pickled."""
    if isinstance(thing, type) and thing.__module__ == "builtins":
        return False
    module = sys.modules.get(thing.__module__ or "")
    if module is None or module.__name__ in {"__main__", "__mp_main__"}:
        return True
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is not None and cloudpickle._is_registered_pickle_by_value(module):
        return True
    found: object = module
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not thing


def _state_parts(obj: object) -> Iterator[tuple[str, object]]:
    """Yield attributes first, whose steps read best, and then whatever else the object's reduction consists of."""
    yield "", type(obj)
    attributes = getattr(obj, "__dict__", None)
    if isinstance(attributes, dict):
        for name, value in list(attributes.items()):
            yield f".{name}", value
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else list(slots):
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{cls.__name__.lstrip('_')}{name}"
            if name not in {"__dict__", "__weakref__"} and hasattr(obj, name):
                yield f".{name}", getattr(obj, name)
    if isinstance(obj, (dict, list, tuple, set, frozenset)) and type(obj).__module__ == "builtins":
        return
    reduce = copyreg.dispatch_table.get(type(obj))
    reduced = reduce(obj) if reduce is not None else obj.__reduce_ex__(5)
    if not isinstance(reduced, tuple):
        return
    for index, part in enumerate(reduced[1:3], 1):
        for item in part if index == 2 and isinstance(part, tuple) else (part,):
            if isinstance(item, dict):
                for name, value in item.items():
                    yield f".{name}" if isinstance(name, str) else f"[{_short(name)}]", value
            elif isinstance(item, tuple):
                for value in item:
                    yield ".__reduce__()", value
            else:
                yield ".__reduce__()", item


def _short(value: object) -> str:
    """Return a repr that fits in a path."""
    try:
        text = repr(value)
    except Exception as error:  # a class's own repr; the path is worth more than its words
        return f"<{_type_name(value)}: repr raised {type(error).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _type_name(obj: object) -> str:
    cls = type(obj)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
