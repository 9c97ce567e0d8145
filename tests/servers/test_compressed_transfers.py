"""Values between workers on different hosts are compressed, where that is asked for and where it pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.config
import numpy as np
import pytest

from windrow import Client, Scheduler, Worker, addressing

Live = Callable[[Any], Any]

EVEN, NOISE = "even", "noise"
BYTES = 8_000_000


def make(kind: str) -> Any:
    return np.zeros(BYTES // 8) if kind == EVEN else np.frombuffer(np.random.default_rng(3).bytes(BYTES), "u1")


def total(array: Any) -> float:
    return float(array.sum())


@pytest.mark.parametrize(
    ("setting", "is_here", "kind", "is_smaller"),
    [
        ("zlib", False, EVEN, True),
        ("zstd", False, EVEN, True),
        ("auto", False, EVEN, True),
        ("zlib", False, NOISE, False),  # a sample says so
        ("zlib", True, EVEN, False),  # never on one host
        (False, False, EVEN, False),
    ],
)
def test_what_is_sent(
    live: Live, setting: Any, is_here: bool, kind: str, is_smaller: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addressing, "is_here", lambda host: is_here)
    settings = {"distributed.comm.compression": setting, "windrow.shared-memory.enabled": False}

    async def main() -> None:
        async with Scheduler() as scheduler, Worker(scheduler.address) as left, Worker(scheduler.address) as right:
            async with Client(scheduler.address, asynchronous=True) as client:
                made = client.submit(make, kind, workers=[left.address])
                found = await client.submit(total, made, workers=[right.address])
                assert found == total(make(kind))
                assert left.outgoing.sent == 1
                assert (left.outgoing.sent_bytes < BYTES / 20) == is_smaller
                assert is_smaller or left.outgoing.sent_bytes >= BYTES

    with dask.config.set(settings):
        live(main())


def test_an_unknown_codec_is_refused(live: Live) -> None:
    async def main() -> None:
        async with Scheduler() as scheduler:
            with pytest.raises(ValueError, match=r"comm\.compression='snappy' is none that is known: auto, zlib"):
                Worker(scheduler.address)

    with dask.config.set({"distributed.comm.compression": "snappy"}):
        live(main())
