"""Values on their way to other hosts: compressed where it pays, and the same again on the other side."""

from __future__ import annotations

import numpy as np
import pytest

from windrow.wire.blobs import Attached, Blob, Buffer
from windrow.wire.payload import dumps, loads, nbytes
from windrow.worker import compression
from windrow.worker.squeezing import expand, squeeze


@pytest.fixture(params=["zlib", "lz4", "zstd"])
def codec(request: pytest.FixtureRequest) -> compression.Codec:
    found = compression.codec(request.param)
    assert found is not None
    return found


def test_what_becomes_smaller_is_compressed_and_is_the_same_again(codec: compression.Codec) -> None:
    even, noise = np.arange(500_000) // 1000, np.random.default_rng(7).bytes(300_000)
    blobs: list[Blob | None] = [dumps(even), None, b"small", dumps(np.frombuffer(noise, "u1")), dumps([even, noise])]
    facts, squeezed = squeeze(blobs, codec)
    assert [bool(sizes) for sizes in facts] == [True, False, False, False, True]
    assert squeezed[1:4] == blobs[1:4], "what does not become smaller is left as it is"
    first = squeezed[0]
    assert first is not None
    assert nbytes(first) < 0.3 * even.nbytes
    again = expand(squeezed, facts, codec)
    assert again[0] is not None
    found = loads(again[0])
    assert (found == even).all()  # type: ignore[attr-defined]
    found[0] = -1  # type: ignore[index]  # it owns its memory
    assert again[4] is not None
    left, right = loads(again[4])  # type: ignore[misc]
    assert (left == even).all()
    assert right == noise


def test_where_nothing_pays_nothing_is_said(codec: compression.Codec) -> None:
    noise = dumps(np.frombuffer(np.random.default_rng(7).bytes(300_000), "u1"))
    assert squeeze([noise, b"small"], codec) == ([], [noise, b"small"])


@pytest.mark.parametrize("wrong", ["shorter", "longer", "other bytes", "other buffers"])
def test_what_is_not_what_was_said_is_no_value(codec: compression.Codec, wrong: str) -> None:
    _, squeezed = squeeze([Attached([Buffer(bytes(100_000))])], codec)
    if wrong == "other bytes":
        squeezed = [Attached([Buffer(b"\xff" * 1_000)])]
    sizes = {"shorter": [99_999], "longer": [100_001], "other bytes": [100_000], "other buffers": [100_000, 7]}
    assert expand(squeezed, [sizes[wrong]], codec) == [None]
