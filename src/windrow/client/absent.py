"""Names that programs for Dask use, and that this version lacks: so that the error says so.

What lives here: the names, by what they are looked up on, and the words. What this file must never know: anything that
is there. (The names missing from the package itself are in ``windrow/__init__.py``, beside those that it has: they are
looked up before anything is imported.)

A name that is added to windrow leaves its table: `lacking` refuses one that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from windrow.client.options import ABSENT

T = TypeVar("T")

CLIENT = frozenset(
    [
        "benchmark_hardware",
        "connection_args",
        "register_scheduler_plugin",
        "register_worker_plugin",
        "rpc",
    ]
)
"""Methods and attributes of a client."""


class Absent:
    """Stands in a class for a name that it lacks: every lookup is an AttributeError that says so, and hasattr is False.

    A ``__getattr__`` would do the same, but makes each lookup of what is there three times as slow.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        words = f"{owner.__name__}.{self._name} {ABSENT}"
        raise AttributeError(words, name=self._name, obj=owner if instance is None else instance)


def lacking(names: Iterable[str]) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that puts an `Absent` in the place of each name.

    Examples
    --------
    >>> @lacking(["fly"])
    ... class Penguin: ...
    >>> Penguin().fly()
    Traceback (most recent call last):
        ...
    AttributeError: Penguin.fly is not in this version of windrow
    """

    def mark(cls: type[T]) -> type[T]:
        for name in names:
            there = any(name in vars(base) for base in cls.__mro__)
            assert not there, f"{cls.__name__}.{name} is there: take it off the list of absent names"
            setattr(cls, name, Absent(name))
        return cls

    return mark
