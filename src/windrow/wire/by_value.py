"""Pickling by value: what workers cannot import goes with its code, and code with the file that it is from.

What lives here: `Pickler`, cloudpickle's with a reduction of its own for code. What this file must never know: blobs,
futures, when pickling by value is right (`payload` knows).

cloudpickle of today leaves the names of files out, so that a cell of a notebook makes the same pickle in each session;
tracebacks and profiles of such code then name no file and show no line. Here the names precede all else in the stream,
as a list that the rest refers to: they arrive, and a digest can leave them out (`payload.without_files`).
"""

from __future__ import annotations

import io
import operator
import pickle
import types
from collections.abc import Callable
from typing import Any

import cloudpickle

__all__ = ["Pickler", "dumps"]

_FILENAME_AT = 10
"""The place of the file's name among the arguments of `types.CodeType`."""

_tables: list[dict[type, Any]] = cloudpickle.Pickler.dispatch_table.maps
_reduce_code = cloudpickle.Pickler.dispatch_table[types.CodeType]


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles one object by value.

    Examples
    --------
    >>> code = compile("1 + 1", "sums.py", "eval")
    >>> pickle.loads(Pickler().stream(code)).co_filename
    'sums.py'
    """

    def __init__(self, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> None:
        self._file = io.BytesIO()
        files = self._files = _Files()
        # One dictionary is searched in a tenth of the time that a chain takes. The reduction holds the files, not the
        # pickler: no cycle keeps what was pickled alive.
        table: dict[type, Any] = {}
        self.dispatch_table = table
        for mapping in reversed(_tables):
            table.update(mapping)
        table[types.CodeType] = files.reduce
        table[_Place] = _reduce_place
        super().__init__(self._file, protocol=5, buffer_callback=buffer_callback)

    def stream(self, obj: object) -> bytes:
        """Return the pickle, which `pickle.loads` reads; once only."""
        # The list, still empty, gets the first place in the memo; it is written again in full when the names are known.
        super().dump(self._files.names)
        self._file.seek(0)
        self._file.truncate()
        super().dump(obj)
        return self._files.head() + self._file.getvalue()


def dumps(obj: object, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Pickle an object by value.

    Examples
    --------
    >>> pickle.loads(dumps(lambda: 3))()
    3
    """
    return Pickler(buffer_callback).stream(obj)


class _Files:
    """The files from which code was pickled, in the order in which they came up."""

    __slots__ = ("_places", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._places: dict[str, _Place] = {}

    def reduce(self, code: types.CodeType) -> tuple[object, ...]:
        """As cloudpickle does, with a place in the list where the name would be."""
        make, arguments, *more = _reduce_code(code)
        place = self._places.get(code.co_filename)
        if place is None:
            place = self._places[code.co_filename] = _Place(self.names, len(self.names))
            self.names.append(code.co_filename)
        return make, (*arguments[:_FILENAME_AT], place, *arguments[_FILENAME_AT + 1 :]), *more

    def head(self) -> bytes:
        """The pickle of the list, its end replaced such that another pickle may follow with the same memo."""
        words = [name.encode("utf-8", "surrogatepass") for name in self.names]
        items = b"".join(pickle.BINUNICODE + len(word).to_bytes(4, "little") + word for word in words)
        return b"\x80\x05" + pickle.EMPTY_LIST + pickle.MEMOIZE + pickle.MARK + items + pickle.APPENDS + pickle.POP


class _Place:
    """Pickles as what is at a place of a list."""

    __slots__ = ("names", "place")

    def __init__(self, names: list[str], place: int) -> None:
        self.names = names
        self.place = place


def _reduce_place(place: _Place) -> tuple[object, ...]:
    return operator.getitem, (place.names, place.place)
