"""``span``: names for the tasks that are made within a block of code.

What lives here: the context manager. What this file must never know: what anybody does with spans.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["span"]


@contextmanager
def span(*tags: str) -> Iterator[str]:
    """Tag what is made within a ``with`` block; blocks nest.

    The tags stand among Dask's annotations, as ``span={"name": tags, "ids": ids}``, outermost first: on the layers of
    collections that are built in the block, and in ``dask.get_annotations()``.

    Parameters
    ----------
    *tags
        Names, each one span inside of the one before it.

    Yields
    ------
    str
        The id of the innermost span.

    Raises
    ------
    ValueError
        There is no tag.
    TypeError
        A tag is no string.

    Examples
    --------
    >>> import dask
    >>> with span("load"), span("parse"):
    ...     dask.get_annotations()["span"]["name"]
    ('load', 'parse')
    """
    if not tags:
        raise ValueError("span needs a tag: span('load')")
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"tags of spans must be strings, not {tag!r}")
    from dask.base import annotate, get_annotations

    around = get_annotations().get("span") or {"name": (), "ids": ()}
    ids = tuple(str(uuid.uuid4()) for _ in tags)
    with annotate(span={"name": (*around["name"], *tags), "ids": (*around["ids"], *ids)}):
        yield ids[-1]
