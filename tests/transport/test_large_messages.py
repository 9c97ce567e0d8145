"""Messages beyond what fits into 31 and 32 bits; they run where they are asked for (``--large``)."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from transport_bench import Network, network_of

from windrow.wire.messages import Close, Reply
from windrow.wire.payload import dumps, loads

LIMIT_S = 300.0

GIB = 2**30


@pytest.fixture(params=["tcp", "nearby", "tls", "lasting", "tcp-asyncio", "third-party"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    if not request.config.getoption("--large", False):
        pytest.skip("takes twice 4 GiB of memory: pytest --large")
    yield from network_of(request.param)
    gc.collect()  # both ends refer to each other, and to what has arrived


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 3 * GIB, 2**32, 2**32 + 1])
def test_a_large_message_arrives(network: Network, size: int) -> None:
    near, far = network.pair()
    near.limit_s = far.limit_s = LIMIT_S
    array = np.zeros(size, dtype="u1")  # of which only the pages that are written to take up room
    marks = [0, 1, GIB, 2**31 - 1, 2**31, 2**31 + 1, 3 * GIB - 1, 3 * GIB, 2**32 - 1, 2**32, size - 1]
    for number, mark in enumerate(marks):
        if mark < size:
            array[mark] = number + 1
    near.send(Reply(1, blobs=[dumps(array, borrow=True)]), Close("with it"))
    near.send(Close("behind it"))
    reply, *others = far.wait_for_messages(3)
    assert others == [Close("with it"), Close("behind it")]
    assert isinstance(reply, Reply)
    assert reply.blobs[0] is not None
    got = loads(reply.blobs[0])
    assert len(got) == size
    assert [got[mark] for mark in marks if mark < size] == [array[mark] for mark in marks if mark < size]
    assert np.count_nonzero(got) == np.count_nonzero(array)
    assert near.lost == far.lost == []
