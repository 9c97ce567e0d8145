"""``windrow.observe``: the process that answers on a dashboard's sockets, started when somebody comes.

What lives here: how it starts, and ends. What this file must never know: what is shown.

It reads one line of JSON from its standard input (its sockets, the scheduler's address, the secret); the rest of that
pipe is its lifeline. It ends with the scheduler, with whoever started it, or, unless it is to be ready at any time,
when nobody has asked for anything for a while; whoever comes then has another one started.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from windrow import config, offspring
from windrow.observe.ahead import Pace

if TYPE_CHECKING:
    from windrow.observe.app import Site
    from windrow.observe.house import House

IDLE_S = 600.0
"""It ends when nobody has asked for anything for so long."""


def main() -> None:
    """Read the options, then answer until the scheduler, the lifeline or the interest ends."""
    options: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's program, which then closes its cluster
    lifeline = offspring.take_lifeline()
    offspring.die_with(options["parent_pid"])
    ends = (lifeline, lambda: None)
    threading.Thread(target=offspring.watch_lifeline, args=ends, name="lifeline", daemon=True).start()
    ahead = bool(options.get("ahead"))
    """Whether nobody has come yet."""
    if ahead and find_spec("bokeh") is None:  # then there is nothing that takes long
        return
    asyncio.run(_serve(options, Pace(options["sockets"]) if ahead else None))


async def _serve(options: dict[str, Any], pace: Pace | None) -> None:
    with pace or nullcontext():
        server, site = await _open(options)
    source, loop = site.source, asyncio.get_running_loop()
    if options.get("ready") and site.stage is not None:
        site.stage.get_ready(Pace())
    while not source.ended.done() and (
        options.get("ready") or site.listeners or loop.time() - site.last_asked_s < IDLE_S
    ):
        await asyncio.wait([source.ended], timeout=IDLE_S)
    server.stop()  # who comes from here on waits in the sockets, for the next process
    source.close()


async def _open(options: dict[str, Any]) -> tuple[House, Site]:
    """Begin to answer."""
    from windrow.observe import scenes
    from windrow.observe.app import Site, make_app
    from windrow.observe.house import House
    from windrow.observe.source import Source

    if options.get("certificates"):
        from windrow import security, tls

        security.remember(options["address"], None, tls.Security.from_record(options["certificates"]))
    config.adopt(config.nested(options.get("settings", {})))
    held = bytes.fromhex(options["secret"])
    source = await Source.connect(options["address"], held)
    site = Site(source, options["prefix"], options["token"], options["port"], held)
    if options["party"] == "scheduler":
        scenes.furnish(site, source, options["parent_pid"])
    sockets = [socket.socket(fileno=fd) for fd in options["sockets"]]
    for sock in sockets:
        os.set_inheritable(sock.fileno(), False)
    server = House(make_app(site, options["party"]))
    server.add_sockets(sockets)
    return server, site


if __name__ == "__main__":
    main()
