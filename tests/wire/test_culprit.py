"""The path to the part that cannot be pickled, for known offenders in known places."""

from __future__ import annotations

import functools
import io
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from windrow.wire import culprit


class Holder:
    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)

    def method(self) -> None:
        """Do nothing."""


class Slotted:
    __slots__ = ("__private", "lock")

    def __init__(self, lock: object, private: object = None) -> None:
        self.lock = lock
        self.__private = private


class Reduced:
    """Reduces to an object that it makes on the way."""

    def __reduce__(self) -> tuple[object, ...]:
        return Holder, (threading.Lock(),)


class Stateful:
    def __getstate__(self) -> dict[str, object]:
        return {"made": [lock]}


class Nasty:
    """Raises at whatever is done to it."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    """Do nothing."""


def closing_over(thing: object) -> Callable[[], object]:
    return lambda: thing


def with_default(thing: object) -> Callable[..., object]:
    return lambda x=thing, *, y=1: (x, y)


def cyclic(thing: object) -> list[object]:
    ring: list[object] = []
    ring += [ring, {"ring": ring, "end": thing}]
    return ring


lock = threading.Lock()

OFFENDERS: list[tuple[str, Callable[[], object], str]] = [
    ("lock", lambda: ((lock,), {}), "args[0]: _thread.lock"),
    ("keyword", lambda: ((1,), {"x": lock}), "kwargs['x']: _thread.lock"),
    ("attribute", lambda: ((Holder(lock=lock),), {}), "args[0].lock: _thread.lock"),
    ("generator", lambda: ((0, {"x": [1, 2, 3, generator()]}), {}), "args[1]['x'][3]: generator"),
    ("file", lambda: ((io.BufferedReader(io.BytesIO()),), {}), "args[0]: _io.BufferedReader"),
    ("thread-local", lambda: ([threading.local()], {}), "value[0][0]: _thread._local"),
    ("closure", lambda: ((closing_over(lock),), {}), "args[0].__closure__['thing']: _thread.lock"),
    ("default", lambda: with_default(lock), "value.__defaults__[0]: _thread.lock"),
    (
        "deep in a closure",
        lambda: closing_over([closing_over({1: lock})]),
        "value.__closure__['thing'][0].__closure__['thing'][1]: _thread.lock",
    ),
    ("nested", lambda: {"a": {"b": ({"c": lock},)}}, "value['a']['b'][0]['c']: _thread.lock"),
    ("slot", lambda: [Slotted(lock)], "value[0].lock: _thread.lock"),
    ("private slot", lambda: [Slotted(1, lock)], "value[0]._Slotted__private: _thread.lock"),
    ("list in attribute", lambda: Holder(parts=[1, Holder(inner=lock)]), "value.parts[1].inner: _thread.lock"),
    ("partial", lambda: functools.partial(print, 1, lock), "value.args[1]: _thread.lock"),
    ("partial keyword", lambda: functools.partial(print, end=lock), "value.keywords['end']: _thread.lock"),
    ("method", lambda: Holder(lock=lock).method, "value.__self__.lock: _thread.lock"),
    ("cycle", lambda: cyclic(lock), "value[1]['end']: _thread.lock"),
    ("tuple in a set", lambda: {(1, lock)}, f"value{{{repr((1, lock))[:37]}...}}[1]: _thread.lock"),
    ("function of a call", lambda: (closing_over(lock), (), {}), "function.__closure__['thing']: _thread.lock"),
    ("state", lambda: [Stateful()], "value[0].made[0]: _thread.lock"),
    ("itself", lambda: lock, "value: _thread.lock"),
]


@pytest.mark.parametrize(("make", "path"), [case[1:] for case in OFFENDERS], ids=[case[0] for case in OFFENDERS])
def test_path(make: Callable[[], object], path: str) -> None:
    found = culprit.find(make(), "value")
    assert found == path


def test_socket_and_database() -> None:
    with socket.socket() as endpoint:
        assert culprit.find([endpoint], "value") == "value[0]: socket.socket"
    database = sqlite3.connect(":memory:")
    assert culprit.find({"db": database}, "value") == "value['db']: sqlite3.Connection"
    database.close()


def test_coroutine() -> None:
    waiting = coroutine()
    assert culprit.find([waiting], "value") == "value[0]: coroutine"
    waiting.close()


def test_what_a_reduction_makes_is_told_with_its_maker() -> None:
    assert culprit.find([1, Reduced()], "value") == "value[1] (in its reduced form): _thread.lock"


def test_globals_of_a_function_that_goes_by_value() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "guard": lock}
    exec("def guarded():\n    return [guard for _ in ()]", namespace)
    assert culprit.find(namespace["guarded"], "value") == "value.__globals__['guard']: _thread.lock"


def test_class_that_goes_by_value() -> None:
    class Local:
        shared = lock

    assert culprit.find([Local()], "value") == "value[0].shared: _thread.lock"


def test_functions_by_name_are_not_looked_into() -> None:
    def uses() -> object:
        return coroutine, lock  # the lock by this function's own globals, though another's come first

    assert culprit.find([generator, test_path, uses], "value").endswith("_thread.lock")


def test_nasty_objects_do_no_harm() -> None:
    assert culprit.find([Nasty()], "value").endswith(".Nasty")
    assert culprit.find({1: Nasty(), 2: lock}, "value").startswith("value[1]: ")
    assert culprit.find([{"x": 1}, lock, Nasty()], "value") == "value[1]: _thread.lock"


def test_work_is_bounded() -> None:
    many: list[object] = [[n] for n in range(30_000)]
    assert culprit.find([*many, lock], "value") == "value (somewhere inside): _thread.lock"
    assert culprit.find([lock, *many], "value") == "value[0]: _thread.lock"


def test_what_can_be_pickled_is_named_as_a_whole() -> None:
    assert culprit.find([1], "value") == "value: list"
