"""Values in shared memory: what goes there, what comes out, and what happens when it is gone."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from typing import Any

import dask.config
import msgspec
import numpy as np
import pandas as pd
import pytest

from windrow import memfd, segments
from windrow.memfd import SegmentError
from windrow.wire import payload, sharing
from windrow.wire.blobs import Attached, Blob, Shared
from windrow.wire.framing import FrameEncoder, FrameParser
from windrow.wire.messages import Reply

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")


@pytest.fixture(autouse=True)
def low_threshold() -> Iterator[None]:
    """Share what is not too small to have large buffers at all."""
    with dask.config.set({"windrow.shared-memory.threshold": "64 KiB"}):
        yield


def shared(value: object) -> Shared:
    blob = sharing.share(payload.dumps(value, borrow=True))
    assert blob is not None, "it does not pay"
    return blob


def over_the_wire(blob: Blob) -> Any:
    """As it comes out at the other end of a connection."""
    pieces = FrameEncoder().encode([Reply(1, blobs=[blob])])
    [[reply]] = [batch for piece in [b"".join(pieces)] for batch in FrameParser().feed(piece)]
    assert type(reply) is Reply
    return reply.blobs[0]


VALUES: dict[str, Any] = {
    "array": np.arange(50_000.0),
    "fortran": np.asfortranarray(np.arange(60_000.0).reshape(200, 300)),
    "dict of arrays": {name: np.full(30_000, n) for n, name in enumerate("abc")},
    "with empty ones": [np.empty(0), np.arange(20_000), np.empty((0, 5)), b""],
    "several kinds": (np.arange(100_000, dtype="u1"), "text", np.arange(10_000, dtype="c16"), None),
    "records": np.zeros(9_000, dtype=[("x", "f8"), ("y", "i4")]),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_comes_out_is_what_went_in(name: str) -> None:
    value = VALUES[name]
    found: Any = payload.loads(over_the_wire(shared(value)))
    np.testing.assert_equal(found, value)
    if isinstance(value, np.ndarray):
        assert found.flags.f_contiguous == value.flags.f_contiguous
        assert found.dtype == value.dtype
        assert found.ctypes.data % memfd.ALIGN_BYTES == 0


def test_a_frame_of_pandas_comes_out() -> None:
    frame = pd.DataFrame({"x": np.arange(20_000), "y": np.arange(20_000) / 2, "z": np.arange(20_000) % 2 == 0})
    found: Any = payload.loads(over_the_wire(shared(frame)))
    pd.testing.assert_frame_equal(found, frame)
    found.loc[0, "x"] = 99
    assert frame.loc[0, "x"] == 0


def test_arrays_can_be_written_to_and_nobody_else_sees_it() -> None:
    value = np.arange(50_000.0)
    blob = shared(value)
    first: Any = payload.loads(over_the_wire(blob))
    first[:] = -1
    second: Any = payload.loads(over_the_wire(blob))
    again: Any = payload.loads(blob)
    assert second[5] == again[5] == value[5] == 5.0
    assert second.flags.writeable


def test_an_array_that_could_not_be_written_to_still_cannot() -> None:
    value = np.arange(50_000.0)
    value.flags.writeable = False
    found: Any = payload.loads(over_the_wire(shared(value)))
    assert not found.flags.writeable
    assert found[7] == 7.0


def test_what_the_object_becomes_later_does_not_matter() -> None:
    value = np.zeros(50_000)
    blob = shared(value)
    value[:] = 1
    found: Any = payload.loads(over_the_wire(blob))
    assert found.sum() == 0


def test_small_values_and_those_that_are_mostly_pickle_are_sent() -> None:
    assert sharing.share(payload.dumps(5)) is None
    assert sharing.share(payload.dumps(np.arange(1_000.0))) is None
    assert sharing.share(payload.dumps(b"x" * 10**6)) is None
    texts = [f"text {number}" for number in range(20_000)]
    assert sharing.share(payload.dumps([texts, np.arange(20_000.0)])) is None
    assert sharing.share(payload.dumps([texts, np.arange(10**6)])) is not None  # which has much the larger part in it


def test_the_threshold_is_a_setting() -> None:
    blob = payload.dumps(np.arange(50_000.0))
    with dask.config.set({"windrow.shared-memory.threshold": "1 MB"}):
        assert not sharing.pays(blob)
    assert sharing.pays(blob)


def test_what_is_held_stays_when_its_owner_lets_go() -> None:
    blob = shared(np.arange(50_000.0))
    came = over_the_wire(blob)
    assert sharing.attached(came)
    del blob
    gc.collect()
    segments.give_back()
    for _ in range(3):  # which would use the segment again
        shared(np.zeros(50_000))
    found: Any = payload.loads(came)
    assert found[7] == 7.0


def test_what_came_too_late_is_not_taken() -> None:
    came = over_the_wire(shared(np.arange(50_000.0)))
    other = shared(np.zeros(50_000))
    assert not sharing.attached(came)
    with pytest.raises(SegmentError):
        payload.loads(came)
    del other


@pytest.mark.parametrize("lengths", [[], [-4096, 100], [100, -1], [2**63 - 1, 2**62]])
def test_lengths_that_cannot_be_are_refused(lengths: list[int]) -> None:
    blob = shared(np.arange(50_000.0))
    assert not sharing.attached(Shared(blob.pid, blob.fd, blob.inode, blob.generation, lengths))


@pytest.mark.parametrize("numbers", [(0, 0, 0, 0), (1, 0, 2, 1), (-1, -1, -1, -1), (2**62, 2**62, 2**62, 2**62)])
def test_numbers_of_a_foolish_peer_open_nothing(numbers: tuple[int, int, int, int]) -> None:
    assert not sharing.attached(Shared(*numbers, [10, 100_000]))


def test_it_goes_elsewhere_as_plain_bytes() -> None:
    value = {"x": np.arange(50_000.0)}
    plain = over_the_wire(sharing.plain(shared(value)))
    assert type(plain) is Attached
    found: Any = payload.loads(plain)
    np.testing.assert_equal(found, value)


def test_its_size_is_that_of_its_pieces() -> None:
    value = np.arange(50_000.0)
    assert payload.nbytes(shared(value)) == payload.nbytes(payload.dumps(value))


def test_what_keeps_it_does_not_travel() -> None:
    blob = shared(np.arange(50_000.0))
    assert len(msgspec.msgpack.encode(blob)) < 60
    assert "held" not in over_the_wire(blob).__dict__


def test_arguments_are_kept_where_whoever_runs_them_can_map_them() -> None:
    value = np.arange(50_000.0)
    near = sharing.keep(payload.dumps(value, borrow=True), near=True)
    assert type(near) is Shared
    far = sharing.keep(payload.dumps(value, borrow=True), near=False)
    value[:] = -1.0
    for kept in (near, far):
        np.testing.assert_equal(payload.loads(kept), np.arange(50_000.0))
    assert type(far) is Attached
    assert sharing.keep(b"small", near=True) == b"small"
    with dask.config.set({"windrow.shared-memory.enabled": False}):
        assert type(sharing.keep(payload.dumps(value, borrow=True), near=True)) is Attached


def test_the_digest_of_a_value_is_the_same_in_shared_memory() -> None:
    def of(blob: Blob, seed: int | None) -> str:
        hasher = hashlib.sha256()
        payload.digest(blob, hasher, seed)
        return hasher.hexdigest()

    value = (np.arange(200_000.0), [sum, "x"], np.arange(30_000))
    for seed in (None, 5):
        assert of(shared(value), seed) == of(payload.dumps(value), seed)
