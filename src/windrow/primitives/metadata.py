"""Metadata: a dict on the scheduler, of dicts however deep, for whatever parties of a cluster want to tell each other.

What lives here: the scheduler's service, and the requests to it. What this file must never know: what the data means.

It lives as long as the scheduler: a client's end and a restart leave it alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from windrow.keys import from_plain
from windrow.primitives import plain
from windrow.primitives.service import Desk, Question, Service
from windrow.wire.blobs import Blob

__all__ = ["GetMetadata", "Metadata", "SetMetadata"]


class GetMetadata(Struct, tag="get", array_like=True):
    """Answer: ``[value]`` at the end of a path, or ``[]`` where there is none. A step is a key as JSON has it."""

    path: list[Any]


class SetMetadata(Struct, tag="set", array_like=True):
    """Put a value at the end of a path; dicts on the way are made where there are none."""

    path: list[Any]
    value: Any


class Metadata(Service):
    """Keeps the dict."""

    name = "metadata"
    requests: ClassVar[Any] = GetMetadata | SetMetadata

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.data: dict[Any, Any] = {}

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer at once."""
        path = [from_plain(step) for step in request.path]
        if isinstance(request, GetMetadata):
            question.answer(self._find(path))
        else:
            self._put(path, request.value)
            question.answer()

    def _find(self, path: list[Any]) -> list[Any]:
        found: Any = self.data
        for step in path:
            if not isinstance(found, dict) or step not in found:
                return []
            found = found[step]
        # A copy: what is there may change before an asker in this process has looked at it.
        return [plain.checked(found)]

    def _put(self, path: list[Any], value: Any) -> None:
        *way, last = path
        place = self.data
        for depth, step in enumerate(way):
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                raise TypeError(
                    f"metadata cannot be put at {path!r}: at {way[: depth + 1]!r} there is a {type(inner).__name__}, "
                    "and no dict. Set that to a dict first, or take another path."
                )
            place = inner
        place[last] = value
