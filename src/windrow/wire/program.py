"""Programs: many calls in one task, as data that is pickled once for all tasks of the same shape.

What lives here: `Program`, which runs its steps on a worker, and the small functions that steps and lowered tasks call.
What this file must never know: graphs, keys, Dask (of which an object may come along in arguments, and be called).

Dask fuses chains of tasks into one that carries a little graph, and evaluates that graph anew each time. The graphs of
one layer differ only in what their tasks refer to and in constants. So the shape goes to the worker as a function, and
each task brings its inputs and constants as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeAlias

__all__ = ["Program", "Step", "as_dict", "as_frozenset", "as_list", "as_set", "as_tuple", "evaluate", "identity"]

Step: TypeAlias = tuple[Callable[..., Any], tuple[int, ...], tuple[str, ...]]
"""A function, the places of its arguments, and the names of the last of these, which go by keyword.

Places from 0 on are arguments of the program; -1 is the result of the first step, -2 of the second, and so on.
"""


class Program:
    """A function made of steps.

    Parameters
    ----------
    name
        What tasks that run it are called.
    steps
        In the order in which they run.
    result
        The place of what is returned.

    Examples
    --------
    The double of a sum, with the sum's start by keyword:

    >>> import operator
    >>> double = Program("double", [(sum, (0, 1), ("start",)), (operator.mul, (-1, 2), ())], -2)
    >>> double([1, 2], 10, 2)
    26
    """

    __slots__ = ("__name__", "_result", "_run", "_steps")

    def __init__(self, name: str, steps: Sequence[Step], result: int) -> None:
        self.__name__ = name
        self._steps = tuple(steps)
        self._result = result
        self._run = _with_ends(self._steps, result)

    def __call__(self, *values: Any) -> Any:
        """Run the steps."""
        run = self._run
        # Results of steps fill the list from its end, which is what negative places mean.
        at: list[Any] = [*values, *[None] * len(run)]
        place = -1
        for function, places, names, ended in run:
            arguments = [at[argument] for argument in places]
            for argument in ended:
                at[argument] = None
            if names:
                words = dict(zip(names, arguments[-len(names) :], strict=True))
                del arguments[-len(names) :]
                at[place] = function(*arguments, **words)
                del words
            else:
                at[place] = function(*arguments)
            place -= 1
            del arguments  # so that a result goes as soon as its last user has run
        return at[self._result]

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.__name__, self._steps, self._result)

    def __repr__(self) -> str:
        return f"<Program {self.__name__!r} of {len(self._steps)} steps>"


def _with_ends(
    steps: tuple[Step, ...], result: int
) -> list[tuple[Callable[..., Any], tuple[int, ...], tuple[str, ...], tuple[int, ...]]]:
    """Steps, each with the places of earlier results that nobody uses after it."""
    kept = {result}
    run = []
    for function, places, names in reversed(steps):
        ended = tuple({place for place in places if place < 0 and place not in kept})
        kept.update(ended)
        run.append((function, places, names, ended))
    run.reverse()
    return run


class Node(Protocol):
    """A task of Dask's own making: called with the values it refers to, by key."""

    def __call__(self, values: dict[Any, Any], /) -> Any:
        """Evaluate it."""


def evaluate(node: Node, keys: Sequence[Hashable], *values: Any) -> Any:
    """Let a node of a Dask graph evaluate itself: slower than a `Program`, and right for any node.

    Examples
    --------
    >>> evaluate(lambda values: values["x"] + 1, ["x"], 2)
    3
    """
    return node(dict(zip(keys, values, strict=True)))


def identity(value: Any) -> Any:
    """Return the value: the function of tasks that only hold or rename one.

    Examples
    --------
    >>> identity(1)
    1
    """
    return value


def as_list(*parts: Any) -> list[Any]:
    """Return a list of the parts.

    Examples
    --------
    >>> as_list(1, 2)
    [1, 2]
    """
    return list(parts)


def as_tuple(*parts: Any) -> tuple[Any, ...]:
    """Return a tuple of the parts.

    Examples
    --------
    >>> as_tuple(1, 2)
    (1, 2)
    """
    return parts


def as_set(*parts: Any) -> set[Any]:
    """Return a set of the parts.

    Examples
    --------
    >>> as_set(1, 1)
    {1}
    """
    return set(parts)


def as_frozenset(*parts: Any) -> frozenset[Any]:
    """Return a frozenset of the parts.

    Examples
    --------
    >>> as_frozenset(1, 1)
    frozenset({1})
    """
    return frozenset(parts)


def as_dict(*parts: Any) -> dict[Any, Any]:
    """Return a dictionary of keys and values in turn.

    Examples
    --------
    >>> as_dict("a", 1, "b", 2)
    {'a': 1, 'b': 2}
    """
    return dict(zip(parts[::2], parts[1::2], strict=True))
