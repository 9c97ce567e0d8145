"""Keys: the names of tasks, as users give them and see them.

What lives here: which keys there are, and their forms as bytes and text. What this file must never know: tasks.

A key is a string, a number, or a tuple of keys (Dask's collections name the chunks of an array ``("x-1f2e", 0, 3)``).
"""

from __future__ import annotations

from typing import Any, NewType, TypeAlias

__all__ = ["DEPTH_MAX", "Key", "TaskId", "as_bytes", "checked", "from_plain", "is_key", "label", "prefix", "prefix_of"]

_Scalar: TypeAlias = str | int | float
_Key3: TypeAlias = _Scalar | tuple[_Scalar, ...]
_Key2: TypeAlias = _Scalar | tuple[_Key3, ...]
Key: TypeAlias = _Scalar | tuple[_Key2, ...]

TaskId = NewType("TaskId", int)
"""What a task is called between scheduler and workers: the number of its key."""

DEPTH_MAX = 3
"""Tuples within a tuple within a tuple: no deeper, as a decoder has to know where a key ends."""


def checked(key: object, argument: str = "key") -> Key:
    """Return a key as it is to be used; numbers of numpy become Python's.

    Raises
    ------
    TypeError
        It is no string, number or tuple of these.
    ValueError
        It is empty, NaN, too deep, or holds what cannot be written as UTF-8.

    Examples
    --------
    >>> checked(("x", 0, 1))
    ('x', 0, 1)
    """
    kind = type(key)
    if kind is str:
        if not key:
            raise ValueError(f"{argument} must not be empty: leave it out to have one made from function and arguments")
        _check_text(key, argument)  # type: ignore[arg-type]
        return key  # type: ignore[return-value]
    if kind is tuple:
        if not key:
            raise ValueError(f"{argument} must not be the empty tuple")
        parts: Key = tuple([_part(part, argument, key, DEPTH_MAX - 1) for part in key])  # type: ignore[attr-defined]
        return parts
    scalar: Key = _scalar(key, argument, key)
    return scalar


def _part(part: object, argument: str, whole: object, depth: int) -> Any:
    kind = type(part)
    if kind is int or kind is bool:
        return _whole(part, argument, whole)
    if kind is str:
        _check_text(part, argument)  # type: ignore[arg-type]
        return part
    if isinstance(part, tuple):
        if not depth:
            raise ValueError(f"{argument} must not nest tuples deeper than {DEPTH_MAX}, and {whole!r} does")
        return tuple([_part(inner, argument, whole, depth - 1) for inner in part])
    return _scalar(part, argument, whole)


def _scalar(key: object, argument: str, whole: object) -> Any:
    if isinstance(key, str):
        text = str(key)
        _check_text(text, argument)
        return text
    if isinstance(key, int) and not isinstance(key, bool):
        return _whole(key, argument, whole)
    if isinstance(key, float):
        if key != key:
            raise ValueError(f"{argument} must not be NaN, which equals nothing, not even itself")
        return float(key)
    if isinstance(key, tuple):
        return checked(tuple(key), argument)
    item = getattr(key, "item", None)
    if callable(item) and not isinstance(key, bool) and getattr(key, "shape", None) == ():  # a scalar of numpy
        plain = item()
        if type(plain) in (int, float, str):
            return plain
    where = "" if key is whole else f", which {whole!r} holds"
    raise TypeError(f"{argument} must be a string, a number or a tuple of these, not {type(key).__name__}{where}")


def _whole(number: Any, argument: str, whole: object) -> int:
    if isinstance(number, bool):
        raise TypeError(f"{argument} must be a string, a number or a tuple of these, not bool: {whole!r}")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{argument} must hold numbers of 64 bits, and {whole!r} does not")
    return int(number)


def _check_text(text: str, argument: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{argument} must be text, and {text!r} has lone surrogates in it") from None


def is_key(obj: object) -> bool:
    """Whether `checked` takes this.

    Examples
    --------
    >>> is_key(("x", 1)), is_key(b"x")
    (True, False)
    """
    try:
        checked(obj)
    except (TypeError, ValueError):
        return False
    return True


def as_bytes(key: Key) -> bytes:
    """Return bytes that are equal only for equal keys, to hash.

    Examples
    --------
    >>> as_bytes("x"), as_bytes(("x", 1))
    (b'x', b"\\x00('x', 1)")
    """
    return key.encode() if type(key) is str else b"\0" + repr(key).encode()


def label(key: Key) -> str:
    """Return a key as text, for names of things that are strings.

    Examples
    --------
    >>> label("x"), label(("x", 1))
    ('x', "('x', 1)")
    """
    return key if type(key) is str else repr(key)


def from_plain(key: Any) -> Key:
    """Return a key out of decoded plain data, where tuples are lists.

    Examples
    --------
    >>> from_plain(["x", [1, 2]])
    ('x', (1, 2))
    """
    if type(key) is list or type(key) is tuple:
        parts: Any = tuple([from_plain(part) for part in key])
        return parts  # type: ignore[no-any-return]
    return key  # type: ignore[no-any-return]


def prefix_of(key: Key) -> str:
    """Return what keys of one kind begin with: the words before one with a digit in it.

    Examples
    --------
    >>> prefix_of(("sum-aggregate-40c5474a", 0, 1)), prefix_of("inc-1"), prefix_of("x1"), prefix_of(7)
    ('sum-aggregate', 'inc', 'x1', '7')
    """
    first = key
    while type(first) is tuple:
        first = first[0]
    words = str(first).split("-")
    count = next((place for place, word in enumerate(words[1:], 1) if any(map(str.isdigit, word))), len(words))
    return "-".join(words[:count])


def prefix(key: Key, function: str = "") -> str:
    """Return the kind of task that a key belongs to: its function's name, if known, or else what its key begins with.

    The chunks of a collection are called after the collection, whatever their functions.

    Examples
    --------
    >>> prefix("inc-8d10e2b1", "inc"), prefix(("sum-40c5474a", 0), "apply"), prefix("load-1")
    ('inc', 'sum', 'load')
    """
    return function if function and type(key) is not tuple else prefix_of(key)
