"""What tasks have printed and logged: ``Future.logs`` and ``Client.get_task_logs``.

What lives here: the method, and the question behind both. What this file must never know: where it is kept, and how it
came there.
"""

from __future__ import annotations

from typing import Any

from windrow.client.base import Base
from windrow.client.future import Future, futures_of
from windrow.keys import Key, checked
from windrow.primitives.output import GetOutput, Line
from windrow.wire import messages as m

SERVICE = "output"


class OutputMethods(Base):
    """What a client does with what tasks say."""

    def get_task_logs(self, keys: Any) -> Any:
        """Return what tasks have printed and logged, by key: tuples of lines, oldest first; see also `Future.logs`.

        Parameters
        ----------
        keys
            A key, a list of keys, or futures and collections of Dask, which stand for their keys.

        Returns
        -------
        dict[Key, tuple[Line, ...]]
            Each line has a ``time`` (seconds since the epoch), a ``source`` ("stdout", "stderr", or a log record's
            level), the ``text`` and the ``worker``'s address. An awaitable of it on an asynchronous client.

        Examples
        --------
        >>> future = client.submit(print, "hello")  # doctest: +SKIP
        >>> client.get_task_logs([future])[future.key][0].text  # doctest: +SKIP
        'hello'
        """
        chosen = _keys_of(keys)

        def by_key(reply: m.Reply | None) -> dict[Key, tuple[Line, ...]]:
            return {key: lines for key, (lines, _) in zip(chosen, said_in(reply), strict=True)}

        return self.consult(SERVICE, GetOutput(chosen), then=by_key)


def said_in(reply: m.Reply | None) -> list[tuple[tuple[Line, ...], int]]:
    """Return the lines that a reply holds for each key, and how many more there were."""
    assert reply is not None, "nobody takes this question back"
    return [(tuple([Line(*line) for line in lines]), dropped) for dropped, lines in reply.value]


def _keys_of(keys: Any) -> list[Key]:
    if isinstance(keys, str | int | float | tuple):
        return [checked(keys)]
    if isinstance(keys, list | set | frozenset) and not any(isinstance(each, Future) for each in keys):
        found = [future.key for future in futures_of(keys)]
        return found or [checked(key) for key in keys]
    return [future.key for future in futures_of(keys)]
