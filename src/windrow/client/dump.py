"""The state of a cluster, written to a file.

What lives here: formats, names of files, and the writing, here or in the scheduler's process. What this file must never
know: what the state consists of.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from windrow.client import facts
from windrow.client.session import Session
from windrow.client.waiting import Steps

SUFFIXES = {"msgpack": ".msgpack.gz", "yaml": ".yaml"}


def checked_format(format: object) -> str:
    """Return a format that there is, or ValueError."""
    if format not in SUFFIXES:
        raise ValueError(f"format must be one of {', '.join(map(repr, SUFFIXES))}, not {format!r}")
    return str(format)


def dump(
    session: Session,
    filename: str,
    from_scheduler: bool,
    exclude: Collection[str],
    format: str,
    storage_options: dict[str, Any],
) -> Steps[None]:
    """Gather the state of a cluster and write it."""
    state = yield from facts.everything(session, exclude)
    suffix = SUFFIXES[format]
    url = filename if filename.endswith(suffix) else filename + suffix
    data = encoded(state, format)
    if from_scheduler:
        yield from facts.on_scheduler(session, write, url, data, storage_options)
    else:
        write(url, data, storage_options)


def encoded(state: dict[str, Any], format: str) -> bytes:
    """Return the content of the file.

    Examples
    --------
    >>> encoded({"versions": {"client": None}}, "yaml")
    b'versions:\\n  client: null\\n'
    """
    if format == "yaml":
        import yaml

        text: str = yaml.safe_dump(state, sort_keys=False)
        return text.encode()
    import gzip

    import msgspec

    return gzip.compress(msgspec.msgpack.encode(state))


def write(url: str, data: bytes, storage_options: dict[str, Any]) -> None:
    """Write a file: a path, or a URL that fsspec knows."""
    import fsspec

    with fsspec.open(url, "wb", **storage_options) as file:
        file.write(data)
