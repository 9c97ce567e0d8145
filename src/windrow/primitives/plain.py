"""Plain data: what events and metadata are made of, and what travels in a message without being pickled.

What lives here: `checked`, which every value passes at the call that brings it. What this file must never know: what
the data is for.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DEPTH_MAX", "checked"]

DEPTH_MAX = 64
"""Lists in lists in lists: no deeper."""


class _Alien(Exception):
    """Something is no plain data; ``path`` leads to it, last step first."""

    def __init__(self, words: str, kind: type[Exception] = TypeError) -> None:
        self.words = words
        self.kind = kind
        self.path: list[str] = []


def checked(value: object, argument: str = "msg") -> Any:
    """Return a copy of plain data, as its receiver will have it: tuples are lists, numbers are Python's own.

    Parameters
    ----------
    value
        None, a number, text, bytes, or lists, tuples and dicts of these.
    argument
        What it is, for the error.

    Raises
    ------
    TypeError
        A part of it is anything else; the message names that part.
    ValueError
        A part of it cannot be written down: a number of more than 64 bits, text with lone surrogates, a list in itself.

    Examples
    --------
    >>> checked({"size": (1, 2)})
    {'size': [1, 2]}
    >>> checked({"size": [1, {2}]})
    Traceback (most recent call last):
        ...
    TypeError: msg must be plain data (None, numbers, text, bytes, and lists and dicts of these), and msg['size'][1] \
is a set
    """
    try:
        return _copied(value, DEPTH_MAX)
    except _Alien as alien:
        place = argument + "".join(reversed(alien.path))
        raise alien.kind(
            f"{argument} must be plain data (None, numbers, text, bytes, and lists and dicts of these), "
            f"and {place} {alien.words}"
        ) from None


def _copied(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is bytes:
        return value
    if kind is str:
        return _text(value)
    if kind is int:
        return _whole(value)
    if not depth:
        raise _Alien("nests too deep, or holds itself", ValueError)
    if isinstance(value, list | tuple):
        return [_part(item, f"[{index}]", depth) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {_name(key): _part(item, f"[{key!r}]", depth) for key, item in value.items()}
    return _subclass(value)


def _part(value: object, step: str, depth: int) -> Any:
    try:
        return _copied(value, depth - 1)
    except _Alien as alien:
        alien.path.append(step)
        raise


def _name(key: Any) -> Any:
    """Return a dict's key: a scalar, or a tuple of such."""
    if type(key) is tuple:
        return tuple([_name(part) for part in key])
    if key is None or isinstance(key, bool | str | int | float | bytes):
        return _copied(key, 0) if type(key) in (str, int) else _subclass(key)
    raise _Alien(f"has a key that is {_indefinite(type(key))}: {key!r}")


def _subclass(value: Any) -> Any:
    """Return a value of a class that is, at heart, one of Python's own: an IntEnum, a scalar of numpy, a bytearray."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():  # a scalar of numpy
        plain = item()
        if type(plain) in (bool, int, float, str, bytes):
            return _copied(plain, 0)
    raise _Alien(f"is {_indefinite(type(value))}")


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Alien("has lone surrogates in it", ValueError) from None
    return text


def _whole(number: int) -> int:
    if not -(2**63) <= number < 2**64:
        raise _Alien("has more than 64 bits", ValueError)
    return number


def _indefinite(kind: type) -> str:
    name = kind.__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
