"""Pages of a dashboard, held open by websockets from a process of its own, as browsers would hold them.

What lives here: what a browser does with a page but for drawing it: it asks for a session, pulls the document, and
takes what comes. What this module must never know: why.

    python -m benchmarks.visitors http://127.0.0.1:8787 status tasks graph workers profile

It prints a line when all pages are open, and goes when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect


async def hold(root: str, page: str, opened: asyncio.Event) -> None:
    """Open a page, and take what comes."""
    answer = await AsyncHTTPClient().fetch(f"{root}/{page}/session", request_timeout=60)
    where = f"{root.replace('http', 'ws', 1)}/{page}/ws"
    socket = await websocket_connect(
        where, subprotocols=["bokeh", json.loads(answer.body)["token"]], max_message_size=1 << 28
    )
    while "ACK" not in str(await socket.read_message()):  # before that, nobody listens
        pass
    for part in ({"msgid": "1", "msgtype": "PULL-DOC-REQ"}, {}, {}):
        await socket.write_message(json.dumps(part))
    while (fragment := await socket.read_message()) is not None:
        if "PULL-DOC-REPLY" in str(fragment[:200]):
            opened.set()
    raise SystemExit(f"{page}: the websocket was closed")


async def main(root: str, pages: list[str]) -> None:
    """Hold the pages open until the standard input ends."""
    opened = [asyncio.Event() for _ in pages]
    held = [asyncio.ensure_future(hold(root, page, event)) for page, event in zip(pages, opened, strict=True)]
    opening = asyncio.gather(*(event.wait() for event in opened))
    await asyncio.wait([opening, *held], return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        raise SystemExit("a page could not be opened")
    print("open", flush=True)
    await asyncio.wait(
        [asyncio.ensure_future(asyncio.to_thread(sys.stdin.read)), *held], return_when=asyncio.FIRST_COMPLETED
    )
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
