"""One side of a connection between two hosts, for `test_half_open`: says what happens, line by line."""

from __future__ import annotations

import asyncio
import sys
import time

from windrow import transport
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.messages import Close, Reply

SECRET = b"s" * 32


async def listen(host: str) -> None:
    ended = asyncio.get_running_loop().create_future()

    def accept(link: transport.Link) -> None:
        link.on_lost = lambda reason: ended.set_result(reason)
        link.on_batch = lambda batch: None

    listener = await transport.listen(f"tcp://{host}:0", accept, secret=SECRET)
    print("listens", listener.address, flush=True)
    print("lost", 0, await ended, flush=True)


async def dial(address: str, what: str) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    link = await transport.connect(address, secret=SECRET)
    link.on_lost = lambda reason: ended.set_result(reason)
    link.on_batch = lambda batch: None
    began_s = time.monotonic()
    print("connected", flush=True)

    def say() -> None:
        if ended.done():
            return
        if what == "small":
            link.send([Close("x")])
        elif not link.is_congested:
            link.send([Reply(1, blobs=[Attached([Buffer(bytes(10_000_000))])])])
        loop.call_later(0.1, say)

    if what != "idle":
        say()
    reason = await ended
    print("lost", time.monotonic() - began_s, reason, flush=True)


asyncio.run(listen(sys.argv[2]) if sys.argv[1] == "listen" else dial(*sys.argv[2:]))
