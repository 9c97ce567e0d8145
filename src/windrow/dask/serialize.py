"""Serialisation, as ``distributed.protocol`` lets libraries extend it.

What lives here: registers of how types become bytes, and what they mean here: how such objects are pickled. What this
file must never know: how windrow sends pickles.

A type that is registered is pickled by its own function wherever an object of it occurs, together with the functions
registered for it, so that nothing need be registered on workers.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Iterable
from typing import Any

from dask.utils import Dispatch

from windrow.dask import pickles
from windrow.when_imported import when_imported

__all__ = [
    "Serialize",
    "Serialized",
    "dask_deserialize",
    "dask_serialize",
    "deserialize",
    "deserialize_bytes",
    "dumps",
    "loads",
    "nested_deserialize",
    "register_generic",
    "register_serialization",
    "register_serialization_lazy",
    "serialize",
    "serialize_bytelist",
    "serialize_bytes",
    "to_serialize",
]

Header = dict[str, Any]
Frames = list[Any]


class _Register(Dispatch):
    """A dispatch on types, whose types are pickled accordingly."""

    def register(self, type: Any, func: Any = None) -> Any:
        """Say how objects of a type, or of several, are treated; without a function, as a decorator."""
        if func is None:
            return lambda function: self.register(type, function)
        for each in type if isinstance(type, tuple) else (type,):
            super().register(each, func)  # type: ignore[no-untyped-call]
            if self is dask_serialize and each is not object:
                copyreg.pickle(each, _reduce)
        return func

    def register_lazy(self, toplevel: str, func: Any = None) -> Any:
        """Call a function, which registers more, once a package is imported."""
        if func is None:
            return lambda function: self.register_lazy(toplevel, function)
        when_imported(toplevel, lambda module: func())
        return func


dask_serialize: Any = _Register("dask_serialize")  # type: ignore[no-untyped-call]
dask_deserialize: Any = _Register("dask_deserialize")  # type: ignore[no-untyped-call]


def _reduce(obj: Any) -> tuple[Any, ...]:
    kind = type(obj)
    header, frames = dask_serialize(obj)
    buffers = [pickle.PickleBuffer(frame) for frame in frames]
    return _restore, (kind, dask_serialize.dispatch(kind), dask_deserialize.dispatch(kind), header, buffers)


def _restore(kind: type, dump: Callable[..., Any], load: Callable[..., Any], header: Header, frames: Frames) -> Any:
    if kind not in dask_serialize._lookup:  # a worker, whose results of this type travel in the same way
        register_serialization(kind, dump, load)
    return load(header, [memoryview(frame) for frame in frames])


def register_serialization(cls: Any, serialize: Callable[..., Any], deserialize: Callable[..., Any]) -> None:
    """Say how objects of a class become a header and frames, and how these become an object again.

    Examples
    --------
    >>> class Point:
    ...     def __init__(self, x): self.x = x
    >>> register_serialization(Point, lambda p: ({"x": p.x}, []), lambda header, frames: Point(header["x"]))
    >>> deserialize(*serialize(Point(3))).x
    3
    """
    if isinstance(cls, str):
        raise TypeError(f"cls must be a class, not its name {cls!r}: import it, or use register_serialization_lazy")
    dask_deserialize.register(cls, deserialize)
    dask_serialize.register(cls, serialize)


def register_serialization_lazy(toplevel: str, func: Callable[[], object]) -> None:
    """Call a function, which registers classes of a package, once that is imported.

    Examples
    --------
    >>> register_serialization_lazy("math", lambda: print("now"))
    now
    """
    dask_serialize.register_lazy(toplevel, func)


def register_generic(
    cls: Any,
    serializer_name: str = "dask",
    serialize_func: Callable[..., Any] | None = None,
    deserialize_func: Callable[..., Any] | None = None,
) -> None:
    """Have objects of a class travel by their attributes, each serialised on its own.

    Examples
    --------
    >>> class Pair:
    ...     def __init__(self, a, b): self.a, self.b = a, b
    >>> register_generic(Pair)
    >>> deserialize(*serialize(Pair(1, 2))).b
    2
    """

    def dump(obj: Any) -> tuple[Header, Frames]:
        header, frames = serialize(vars(obj))
        return {"attributes": header, "type": pickles.dumps(type(obj))}, frames

    def load(header: Header, frames: Frames) -> Any:
        kind = pickles.loads(header["type"])
        obj = kind.__new__(kind)
        vars(obj).update(deserialize(header["attributes"], frames))
        return obj

    register_serialization(cls, dump, load)


def serialize(
    x: Any,
    serializers: Iterable[str] | None = None,
    on_error: str = "message",
    context: Any = None,
    iterate_collection: bool | None = None,
) -> tuple[Header, Frames]:
    """Return an object as a header and frames of bytes: by the function registered for its type, else pickled.

    Parameters
    ----------
    x
        The object.
    serializers
        Which of ``"dask"`` (what is registered) and ``"pickle"`` may be used.
    on_error, context, iterate_collection
        Accepted for the sake of existing programs; what fails raises a TypeError.

    Examples
    --------
    >>> header, frames = serialize({"x": 1})
    >>> deserialize(header, frames)
    {'x': 1}
    """
    if isinstance(x, Serialized):
        return x.header, x.frames
    if isinstance(x, Serialize):
        x = x.data
    allowed = ("dask", "pickle") if serializers is None else tuple(serializers)
    kind = type(x)
    if "dask" in allowed and kind in dask_serialize._lookup:
        header, frames = dask_serialize(x)
        return {"serializer": "dask", "type-serialized": pickles.dumps(kind), "sub-header": header}, list(frames)
    if "pickle" not in allowed:
        raise TypeError(f"{kind.__name__} is registered with none of {', '.join(allowed)}")
    buffers: list[pickle.PickleBuffer] = []
    try:
        frame = pickles.dumps(x, buffer_callback=buffers.append)
    except Exception as error:  # any class's own reduction may raise anything
        raise TypeError(f"a {kind.__name__} cannot be serialised: {error}") from error
    return {"serializer": "pickle"}, [frame, *(buffer.raw() for buffer in buffers)]


def deserialize(header: Header, frames: Frames, deserializers: Iterable[str] | None = None) -> Any:
    """Return the object of a header and frames.

    Examples
    --------
    >>> deserialize(*serialize([1, 2]))
    [1, 2]
    """
    name = header.get("serializer", "pickle")
    if deserializers is not None and name not in deserializers:
        raise TypeError(f"this was made by {name!r}, and only {', '.join(deserializers)} may be used")
    if name == "dask":
        load = dask_deserialize.dispatch(pickles.loads(header["type-serialized"]))
        return load(header["sub-header"], frames)
    return pickles.loads(frames[0], buffers=frames[1:])


_deserialize = deserialize


def serialize_bytelist(x: Any, **kwargs: Any) -> list[Any]:
    """Return an object as a list of frames, the first of which is its header.

    Examples
    --------
    >>> deserialize_bytes(b"".join(serialize_bytelist([1]))) == [1]
    True
    """
    header, frames = serialize(x, **kwargs)
    plain = [bytes(frame) for frame in frames]
    head = pickle.dumps((header, [len(frame) for frame in plain]))
    return [len(head).to_bytes(8, "little"), head, *plain]


def serialize_bytes(x: Any, **kwargs: Any) -> bytes:
    """Return an object as bytes.

    Examples
    --------
    >>> deserialize_bytes(serialize_bytes({"x": 1}))
    {'x': 1}
    """
    return b"".join(serialize_bytelist(x, **kwargs))


def deserialize_bytes(b: bytes) -> Any:
    """Return the object of what `serialize_bytes` has made.

    Examples
    --------
    >>> deserialize_bytes(serialize_bytes((1, 2)))
    (1, 2)
    """
    view = memoryview(b)
    end = 8 + int.from_bytes(view[:8], "little")
    header, lengths = pickle.loads(view[8:end])
    frames = []
    for length in lengths:
        frames.append(view[end : end + length])
        end += length
    return deserialize(header, frames)


def dumps(msg: Any, serializers: Iterable[str] | None = None, **others: object) -> Frames:
    """Return a message, of whatever it is made, as a list of frames; large buffers in it are not copied.

    Examples
    --------
    >>> loads(dumps({"op": "add", "data": [to_serialize(1)]}))
    {'op': 'add', 'data': [1]}
    """
    header, frames = serialize(msg, serializers)
    return [pickle.dumps(header), *frames]


def loads(frames: Frames, deserialize: bool = True, deserializers: Iterable[str] | None = None) -> Any:
    """Return the message of such frames; without ``deserialize``, what is marked in it stays marked.

    Examples
    --------
    >>> loads(dumps([to_serialize(1)]), deserialize=False)
    [<Serialize: 1>]
    """
    message = _deserialize(pickle.loads(frames[0]), list(frames[1:]), deserializers)
    return nested_deserialize(message) if deserialize else message


class Serialize:
    """Marks an object that is to be serialised as a whole within a message.

    Examples
    --------
    >>> Serialize([1]).data
    [1]
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Serialize) and bool(other.data == self.data)

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"<Serialize: {self.data!r}>"


to_serialize = Serialize


class Serialized:
    """An object as header and frames, not made again yet.

    Examples
    --------
    >>> Serialized(*serialize([1])).deserialize()
    [1]
    """

    def __init__(self, header: Header, frames: Frames) -> None:
        self.header = header
        self.frames = frames

    def deserialize(self) -> Any:
        """Return the object."""
        return deserialize(self.header, self.frames)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Serialized) and (self.header, self.frames) == (other.header, other.frames)

    __hash__ = None  # type: ignore[assignment]


def nested_deserialize(x: Any) -> Any:
    """Return containers with what is marked in them made again.

    Examples
    --------
    >>> nested_deserialize({"a": [to_serialize(1)]})
    {'a': [1]}
    """
    if isinstance(x, Serialize):
        return x.data
    if isinstance(x, Serialized):
        return x.deserialize()
    if isinstance(x, dict):
        return {key: nested_deserialize(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(map(nested_deserialize, x))
    return x
