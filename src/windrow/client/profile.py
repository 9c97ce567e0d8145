"""Steps that ask what tasks, or event loops, spend their time on.

What lives here: the question, and the merging of what workers answer. What this file must never know: how stacks are
sampled, how a profile is drawn.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windrow import sampling
from windrow.client import calls
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

__all__ = ["by_party", "decoded", "merged"]


def by_party(session: Session, request: r.Profile) -> Steps[dict[str, sampling.Tree]]:
    """Trees by address; those that leave meanwhile are left out."""
    if request.workers is not None:
        request.workers = list((yield from calls.chosen_workers(session, request.workers)))
    reply = yield from calls.ask(session, request)
    return {address: decoded(blob) for address, blob in zip(reply.value, reply.blobs, strict=True) if blob is not None}


def decoded(blob: Blob) -> sampling.Tree:
    """Return the tree of one answer."""
    assert isinstance(blob, bytes)
    plain, _, _ = msgspec.msgpack.decode(blob)
    return sampling.from_plain(plain)


def merged(session: Session, request: r.Profile, merge_workers: bool) -> Steps[dict[str, Any]]:
    """A profile as people know it; with ``merge_workers=False`` one for each worker, by address."""
    trees = yield from by_party(session, request)
    if not merge_workers:
        return {address: sampling.described(tree) for address, tree in trees.items()}
    total = sampling.new_tree()
    for tree in trees.values():
        sampling.merge(total, tree)
    return sampling.described(total)
