"""Datasets: values under a name, for every client of a scheduler, beyond the end of the one that has published them.

What lives here: the scheduler's service, and the requests to it. What this file must never know: what a dataset is; it
is a pickle here, and the keys of the results that it refers to, which are held while it is published.

The names survive a restart of the cluster, as everything does that is not a task's; the results do not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from windrow.errors import FutureCancelledError
from windrow.keys import Key, from_plain, label
from windrow.primitives.service import Desk, Question, Service
from windrow.wire.blobs import Blob

__all__ = ["Datasets", "Fetch", "ListNames", "Publish", "Unpublish"]


class Publish(Struct, tag="publish", array_like=True):
    """Publish values, all or none: names, the keys that each refers to by position, and a blob each beside this."""

    names: list[Any]
    keys: list[list[Any]]
    override: bool = False


class ListNames(Struct, tag="list", array_like=True):
    """Answer: the names."""


class Fetch(Struct, tag="fetch", array_like=True):
    """Answer: the keys of each that is there, None for others; and their blobs."""

    names: list[Any]


class Unpublish(Struct, tag="unpublish", array_like=True):
    """Publish these no more; names that are not there are passed over."""

    names: list[Any]


class Datasets(Service):
    """Keeps what is published."""

    name = "datasets"
    requests: ClassVar[Any] = Publish | ListNames | Fetch | Unpublish

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.published: dict[Key, tuple[Blob, list[Key]]] = {}

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer at once."""
        if isinstance(request, ListNames):
            question.answer(list(self.published))
            return
        names = [from_plain(name) for name in request.names]
        if isinstance(request, Publish):
            keys = [[from_plain(key) for key in column] for column in request.keys]
            self._publish(dict(zip(names, zip(blobs, keys, strict=True), strict=True)), request.override)
            question.answer()
        elif isinstance(request, Fetch):
            found = [self.published.get(name) for name in names]
            question.answer([entry and entry[1] for entry in found], [entry[0] for entry in found if entry])
        else:
            for name in names:
                self._drop(name)
            question.answer()

    def _publish(self, entries: dict[Key, tuple[Blob, list[Key]]], override: bool) -> None:
        there = [name for name in entries if name in self.published]
        if there and not override:
            raise KeyError(f"datasets of these names are there already: {there}; override=True replaces them")
        # Held under another name first: what it refers to may be what the one before it refers to, and no other.
        owner = "publishing"
        wanted = dict.fromkeys(key for _, keys in entries.values() for key in keys)
        held: list[Key] = []
        try:
            for key in wanted:
                if not self.desk.hold(owner, key):
                    raise FutureCancelledError(key, "the dataset refers to it, and the scheduler knows it no more")
                held.append(key)
            for name, (blob, keys) in entries.items():
                self._drop(name)
                self.published[name] = blob, keys
                for key in keys:
                    self.desk.hold(_owner(name), key)
        finally:
            for key in held:
                self.desk.let_go(owner, key)

    def _drop(self, name: Key) -> None:
        _, keys = self.published.pop(name, (b"", []))
        for key in keys:
            self.desk.let_go(_owner(name), key)


def _owner(name: Key) -> str:
    return f"published-{label(name)}"
