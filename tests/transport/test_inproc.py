"""What is special about links inside a process."""

from __future__ import annotations

import asyncio

import pytest

from windrow import transport
from windrow.runtime import LoopThread
from windrow.transport.inproc import pair
from windrow.wire.messages import Close, Message


class CountingLoop:
    """Stands for the other side's loop: counts wake-ups, and runs what is due when told."""

    def __init__(self) -> None:
        self.due: list[object] = []
        self.is_dead = False

    def call_soon_threadsafe(self, function: object) -> None:
        if self.is_dead:
            raise RuntimeError("Event loop is closed")
        self.due.append(function)

    call_soon = call_soon_threadsafe

    def run(self) -> None:
        while self.due:
            self.due.pop(0)()  # type: ignore[operator]


def test_many_sends_wake_the_other_loop_once() -> None:
    here, there = CountingLoop(), CountingLoop()
    near, far = pair(here, there)  # type: ignore[arg-type]
    got: list[Message] = []
    far.on_batch = got.extend
    there.run()
    for round_number in range(2):
        for n in range(100):
            near.send([Close(str(n))])
        assert len(there.due) == 1
        there.run()
        assert len(got) == 100 * (round_number + 1)


def test_message_objects_are_handed_over() -> None:
    loop = CountingLoop()
    near, far = pair(loop, loop)  # type: ignore[arg-type]
    message, got = Close("x"), []
    far.on_batch = got.extend  # type: ignore[assignment]
    near.send([message])
    loop.run()
    assert got[0] is message


def test_a_closed_loop_on_the_other_side_is_a_loss() -> None:
    here, there = CountingLoop(), CountingLoop()
    near, far = pair(here, there)  # type: ignore[arg-type]
    lost: list[str] = []
    near.on_lost = lost.append
    near.on_batch = far.on_batch = lambda batch: None
    there.run()
    there.is_dead = True
    near.send([Close()])
    near.send([Close()])
    here.run()
    assert lost == ["the other side's event loop is closed"]


def test_a_name_is_one_listeners() -> None:
    async def main() -> None:
        listener = await transport.listen("inproc://twice", print, secret=None)
        with pytest.raises(OSError, match="taken"):
            await transport.listen("inproc://twice", print, secret=None)
        listener.close()
        (await transport.listen("inproc://twice", print, secret=None)).close()

    asyncio.run(main())


def test_a_listener_of_a_dead_loop_does_not_hold_its_name() -> None:
    thread = LoopThread()
    thread.run(transport.listen("inproc://dead", print, secret=None))
    thread.stop()

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError, match="nobody listens"):
            await transport.connect("inproc://dead", secret=None)
        (await transport.listen("inproc://dead", print, secret=None)).close()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["ws://127.0.0.1:1", "nonsense://x"])
def test_an_unknown_scheme_names_the_known_ones(address: str) -> None:
    with pytest.raises(ValueError, match="inproc://, local://, tcp://, tls://"):
        asyncio.run(transport.connect(address, secret=None))
    with pytest.raises(ValueError, match="inproc://, local://, tcp://, tls://"):
        asyncio.run(transport.listen(address, print, secret=None))
