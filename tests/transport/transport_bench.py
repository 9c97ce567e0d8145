"""All transports, each on the loops it has to work on, behind one way to drive them from a test."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import pytest

from windrow import runtime, schemes, transport
from windrow.runtime import LoopThread
from windrow.testing.links import SimulatedNetwork
from windrow.testing.loop import VirtualLoop
from windrow.testing.network import Clock
from windrow.tls import Security
from windrow.transport import Link, Listener, unix
from windrow.transport.lasting import Reception
from windrow.wire.messages import Message

T = TypeVar("T")

SECRET = b"s" * 32
LIMIT_S = 10.0

CERTIFICATES = Security.temporary()


class VirtualThread:
    """Stands for a loop's thread where time is virtual: it goes on only while a test waits for something."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(Clock())

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        return self.loop.run(coroutine, timeout_s)

    def stop(self) -> None:
        self.loop.close()


class End:
    """One end of a connection as its owner sees it; every call is safe from the test's thread."""

    def __init__(self, thread: LoopThread | VirtualThread) -> None:
        self.thread = thread
        self.link: Link
        self.batches: list[list[Message]] = []
        self.lost: list[str] = []
        self.handler: Callable[[list[Message]], None] = lambda batch: None
        self.limit_s = LIMIT_S
        self._news = threading.Condition()

    def adopt(self, link: Link) -> None:
        """Become the owner of a link; on its loop."""
        self.link = link
        link.on_lost = self._on_lost
        link.on_batch = self._on_batch

    def do(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function on this end's loop, and wait for it."""

        async def call() -> T:
            return function(*arguments)

        return self.thread.run(call(), self.limit_s)

    def send(self, *messages: Message) -> None:
        self.do(lambda: self.link.send(list(messages)))

    def close(self) -> None:
        self.do(lambda: self.link.close())

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called on this end's loop, and do not wait for it."""
        self.thread.loop.call_soon_threadsafe(function, *arguments)

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened that comes with a batch, or with the loss."""
        if isinstance(self.thread, VirtualThread):
            self.thread.loop.run_until(happened, self.limit_s)
            return
        with self._news:
            assert self._news.wait_for(happened, self.limit_s), f"batches: {len(self.batches)}, lost: {self.lost}"

    def until(self, happens: Callable[[], object]) -> None:
        """Wait for what nothing announces, while this end's loop goes on; it is looked at there."""
        if isinstance(self.thread, VirtualThread):
            self.thread.loop.run(self._until(happens), self.limit_s)
            return
        limit_s = time.monotonic() + self.limit_s
        while not self.do(happens):
            assert time.monotonic() < limit_s, "it does not happen"
            self.settle()

    async def _until(self, happens: Callable[[], object]) -> None:
        while not happens():
            await asyncio.sleep(0.01)  # of virtual time

    def wait_for_messages(self, count: int) -> list[Message]:
        self.wait_until(lambda: sum(map(len, self.batches)) >= count)
        return [message for batch in self.batches for message in batch]

    def wait_lost(self) -> str:
        self.wait_until(lambda: self.lost)
        return self.lost[0]

    def settle(self) -> None:
        """Let whatever is due on this loop run."""
        for _ in range(5):
            self.do(lambda: None)

    def _on_batch(self, batch: list[Message]) -> None:
        try:
            self.handler(batch)
        finally:
            with self._news:
                self.batches.append(batch)
                self._news.notify_all()

    def _on_lost(self, reason: str) -> None:
        with self._news:
            self.lost.append(reason)
            self._news.notify_all()


class Stopped:
    """Stops an end's loop, as SIGSTOP would, until the block is left."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._go = threading.Event()
        self._stands = threading.Event()
        link: Any = end.link
        self._simulated = getattr(link, "_connection", link)

    def __enter__(self) -> None:
        if isinstance(self._end.thread, VirtualThread):
            self._simulated.stop()
            return

        def stand() -> None:
            self._stands.set()
            self._go.wait(LIMIT_S)

        self._end.thread.loop.call_soon_threadsafe(stand)
        assert self._stands.wait(LIMIT_S)

    def __exit__(self, *error: object) -> None:
        if isinstance(self._end.thread, VirtualThread):
            self._simulated.go_on()
        self._go.set()


class Network:
    """One listener, and any number of connections to it."""

    def __init__(
        self,
        scheme: str,
        near: LoopThread | VirtualThread,
        far: LoopThread | VirtualThread,
        patience_s: float = 0.0,
    ) -> None:
        self.near, self.far = near, far
        self.patience_s = patience_s
        self.accepted: list[Link] = []
        self.on_link: Callable[[Link], None] = self.accepted.append
        location = "127.0.0.1:0" if schemes.has_ports(scheme) else schemes.new_location(scheme)
        self.reception = Reception(lambda link: self.on_link(link))
        accept = self.reception.accept if patience_s else lambda link: self.on_link(link)
        self.certificates = CERTIFICATES if scheme == "tls" else None
        listening = transport.listen(f"{scheme}://{location}", accept, secret=SECRET, certificates=self.certificates)
        self.listener: Listener = far.run(listening, LIMIT_S)

    @property
    def is_within_a_process(self) -> bool:
        return self.address.startswith("inproc://")

    @property
    def is_simulated(self) -> bool:
        return self.address.startswith("sim://")

    @property
    def address(self) -> str:
        return self.listener.address

    def wait_for(self, event: threading.Event) -> None:
        """Wait for what a handler on a loop sets."""
        if isinstance(self.far, VirtualThread):
            self.far.loop.run_until(event.is_set, LIMIT_S)
        assert event.wait(LIMIT_S)

    def near_end(self) -> End:
        """Return an end on the near loop that has no link yet."""
        return End(self.near)

    def far_end(self) -> End:
        """Return an end on the far loop that has no link yet."""
        return End(self.far)

    def connect(self) -> Link:
        """Connect and leave the link as it is: on the near loop, with no owner yet."""
        return self.near.run(self._connect(), LIMIT_S)

    async def _connect(self) -> Link:
        return await transport.connect(
            self.address, secret=SECRET, patience_s=self.patience_s, certificates=self.certificates
        )

    def pair(self) -> tuple[End, End]:
        """Return two owned ends of a new connection."""
        near, far = self.near_end(), self.far_end()
        is_there = threading.Event()

        def accept(link: Link) -> None:
            far.adopt(link)
            is_there.set()

        self.on_link = accept

        async def connect() -> None:
            near.adopt(await self._connect())

        self.near.run(connect(), LIMIT_S)
        self.wait_for(is_there)
        return near, far


@functools.cache
def path_transport() -> ModuleType:
    """Return the transport of the examples, which stands for those of other packages."""
    path = Path(__file__).parents[2] / "examples" / "path_transport.py"
    spec = importlib.util.spec_from_file_location("path_transport", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Kind(NamedTuple):
    """A transport, and the loops on which it has to work."""

    scheme: str
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    two_loops: bool = False
    patience_s: float = 0.0
    is_nearby: bool = False
    """Whether unix sockets stand beside tcp ones."""
    is_virtual: bool = False
    """Whether its network is simulated, and its time that of a clock which a test turns."""


KINDS = {
    "tcp": Kind("tcp"),
    "tcp-asyncio": Kind("tcp", asyncio.new_event_loop),
    "nearby": Kind("tcp", is_nearby=True),
    "nearby-asyncio": Kind("tcp", asyncio.new_event_loop, is_nearby=True),
    "local": Kind("local"),
    "tls": Kind("tls"),
    "tls-asyncio": Kind("tls", asyncio.new_event_loop),
    "third-party": Kind("path"),
    "third-party-asyncio": Kind("path", asyncio.new_event_loop),
    "inproc": Kind("inproc"),
    "inproc-two-loops": Kind("inproc", two_loops=True),
    "lasting": Kind("tcp", patience_s=LIMIT_S),
    "lasting-nearby": Kind("tcp", patience_s=LIMIT_S, is_nearby=True),
    "lasting-third-party": Kind("path", patience_s=LIMIT_S),
    "lasting-tls": Kind("tls", patience_s=LIMIT_S),
    "lasting-asyncio": Kind("tcp", asyncio.new_event_loop, patience_s=LIMIT_S),
    "simulated": Kind("sim", is_virtual=True),
    "lasting-simulated": Kind("sim", is_virtual=True, patience_s=LIMIT_S),
}


APART = {
    f"{name}-apart": kind._replace(two_loops=True)
    for name, kind in KINDS.items()
    if not name.startswith("inproc") and not kind.is_virtual
}
"""Those of which one side may be stopped while the other goes on."""


def network_of(kind: str) -> Iterator[Network]:
    scheme, make_loop, two_loops, patience_s, is_nearby, is_virtual = {**KINDS, **APART}[kind]
    near: LoopThread | VirtualThread
    far: LoopThread | VirtualThread
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unix, "is_on", lambda: is_nearby)
        patch.setattr(schemes, "_backends", {**schemes._backends, "path": path_transport()})
        if make_loop is not None:
            patch.setattr(runtime, "new_loop", make_loop)
        if is_virtual:
            near = far = VirtualThread()
            schemes.register(scheme, SimulatedNetwork(near.loop.clock, Random(kind)))
        else:
            near = LoopThread("near")
            far = LoopThread("far") if two_loops else near
        network = Network(scheme, near, far, patience_s)
        yield network
        far.run(_call(network.listener.close), LIMIT_S)
        far.run(_call(network.reception.close), LIMIT_S)
        near.stop()
        far.stop()


async def _call(function: Callable[[], None]) -> None:
    function()
