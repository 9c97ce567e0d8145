"""The options of ``submit`` and ``map``: checked at the call, in the caller's line.

What lives here: `Options` (what travels in a Submit), and the checks that name the argument at fault. What this file
must never know: sessions and futures.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from msgspec import Struct, structs

from windrow.wire.messages import TaskOptions

Workers: TypeAlias = str | int | Collection[str | int] | None
Duration: TypeAlias = float | str | timedelta | None

LIFT = 2.0**-10
"""What a task's priority is above that of the task which submitted it."""

ABSENT = "is not in this version of windrow"

FIFO_TIMEOUT = "100 ms"
"""The default of ``fifo_timeout``, which is checked and not used."""


class Options(Struct, frozen=True):
    """What a task may ask of the scheduler, beside its function and arguments."""

    priority: float = 0.0
    retries: int = 0
    workers: tuple[str, ...] | None = None
    allow_other_workers: bool = False
    resources: tuple[tuple[str, float], ...] = ()
    actor: bool = False

    def on_the_wire(self) -> TaskOptions:
        """Return what a Graph says of it."""
        workers = None if self.workers is None else list(self.workers)
        return TaskOptions(
            self.priority, self.retries, workers, self.allow_other_workers, dict(self.resources), self.actor
        )


DEFAULT = Options()


class NoDefault:
    """The type of `NO_DEFAULT`."""

    def __repr__(self) -> str:
        return "no_default"


NO_DEFAULT: Any = NoDefault()
"""Stands for an argument that was not given, where None means something."""


def checked(
    priority: float = 0,
    retries: int | None = None,
    workers: Workers = None,
    allow_other_workers: bool | None = False,
    resources: Mapping[str, float] | None = None,
    actor: object = False,
    pure: object = True,
    fifo_timeout: Duration = FIFO_TIMEOUT,
) -> Options:
    """Options from arguments of ``submit``; TypeError, ValueError or NotImplementedError name the argument.

    Examples
    --------
    >>> checked(priority=2, workers="alice").workers
    ('alice',)
    """
    if (
        priority == 0
        and not retries
        and workers is None
        and resources is None
        and allow_other_workers is False
        and not actor
        and (pure is True or pure is False)
        and fifo_timeout is FIFO_TIMEOUT
        and type(priority) is int
        and (retries is None or type(retries) is int)
    ):
        return DEFAULT
    if not isinstance(pure, bool):
        raise TypeError(f"pure must be True or False, not {pure!r}")
    seconds(fifo_timeout, "fifo_timeout")
    if not isinstance(actor, bool):
        raise TypeError(f"actor must be True or False, not {actor!r}")
    if allow_other_workers is not None and not isinstance(allow_other_workers, bool):
        raise TypeError(f"allow_other_workers must be True or False, not {allow_other_workers!r}")
    if allow_other_workers and workers is None:
        raise ValueError("allow_other_workers=True says what to do when none of workers= is there: give workers= too")
    return Options(
        priority=_priority(priority),
        retries=_retries(retries),
        workers=None if workers is None else tuple(worker_names(workers)),
        allow_other_workers=bool(allow_other_workers),
        resources=checked_resources(resources),
        actor=actor,
    )


def lifted(options: Options, parent: float) -> Options:
    """Options of a task that another one submits: before what was submitted from outside at the same priority.

    The deeper the earlier, so that what was begun is finished before more is begun.

    Examples
    --------
    >>> lifted(DEFAULT, parent=0.0).priority
    0.0009765625
    """
    depth = parent - round(parent)
    return structs.replace(options, priority=options.priority + depth + LIFT)


def checked_resources(value: object) -> tuple[tuple[str, float], ...]:
    """Names and quantities of resources, in the order of names.

    Examples
    --------
    >>> checked_resources({"GPU": 1})
    (('GPU', 1.0),)
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise TypeError(f"resources must be a dict such as {{'GPU': 1}}, not {type(value).__name__}")
    for name, quantity in value.items():
        if not isinstance(name, str):
            raise TypeError(f"resources must have names of resources as keys, not {name!r}")
        if isinstance(quantity, bool) or not isinstance(quantity, numbers.Real) or not float(quantity) >= 0:
            raise ValueError(f"resources[{name!r}] must be a quantity, 0 or more, not {quantity!r}")
    return tuple(sorted((name, float(quantity)) for name, quantity in value.items()))


def _priority(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"priority must be a number, not {type(value).__name__}")
    if math.isnan(number := float(value)):
        raise ValueError("priority must be a number that can be compared, not NaN")
    return number


def _retries(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"retries must be a whole number, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"retries must be 0 or more, not {value}")
    return int(value)


def worker_names(workers: Workers, argument: str = "workers") -> list[str]:
    """Addresses, names or hosts of workers, as strings.

    Examples
    --------
    >>> worker_names([0, "tcp://127.0.0.1:4000"])
    ['0', 'tcp://127.0.0.1:4000']
    """
    items = [workers] if isinstance(workers, str | int) else workers
    if items is None or not isinstance(items, Collection) or isinstance(items, bytes | dict):
        raise TypeError(f"{argument} must be an address, a name or a list of these, not {type(workers).__name__}")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise TypeError(f"{argument} must hold addresses or names of workers, not {item!r}")
    return [str(item) for item in items]


def seconds(value: Duration, argument: str = "timeout") -> float | None:
    """A duration in seconds: a number, a timedelta, or words such as ``"500 ms"``; None stays None.

    Examples
    --------
    >>> seconds(2)
    2.0
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        from windrow.config import parse_timedelta

        try:
            return float(parse_timedelta(value))
        except ValueError as error:
            raise ValueError(f"{argument}: {error}") from None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} must be seconds, a timedelta or a string such as '5 s', not {value!r}")
    if math.isnan(number := float(value)):
        raise ValueError(f"{argument} must be a number of seconds, not NaN")
    return number
