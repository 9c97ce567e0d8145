"""What workers write is passed on in order, and nobody waits for whoever reads it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from windrow.deploy import forward
from windrow.deploy.forward import Forwarder


class Pipe:
    """A pipe in the place of this program's stderr."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.stream = io.TextIOWrapper(io.FileIO(self.writer, "w"), write_through=True)

    def fill(self) -> int:
        """Write until it is full; return how many bytes that took."""
        os.set_blocking(self.writer, False)
        count = 0
        try:
            while True:
                count += os.write(self.writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)
        return count

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += os.read(self.reader, count - len(data))
        return data

    def close(self) -> None:
        self.stream.close()
        os.close(self.reader)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    pipe = Pipe()
    # Not in `sys` itself: pytest puts its own there again before the test begins.
    monkeypatch.setattr(forward, "sys", SimpleNamespace(stderr=pipe.stream, __stderr__=pipe.stream))
    yield pipe
    pipe.close()


def until(happens: Callable[[], object], limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.002)


def drained(forwarder: Forwarder, timeout_s: float = 5.0) -> bool:
    return asyncio.run(forwarder.drained(timeout_s))


def test_the_order_is_kept(pipe: Pipe) -> None:
    forwarder = Forwarder()
    for number in range(1000):
        forwarder.write(b"%03d" % number)
    assert pipe.read(3000) == b"".join(b"%03d" % number for number in range(1000))
    assert drained(forwarder)


def test_nobody_waits_for_a_reader(pipe: Pipe) -> None:
    forwarder = Forwarder()
    filled = pipe.fill()
    forwarder.write(b"late")
    assert not drained(forwarder, timeout_s=0.02)
    pipe.read(filled)
    assert pipe.read(4) == b"late"
    assert drained(forwarder)


def test_what_finds_the_queue_full_is_left_out_with_a_note_in_its_place(pipe: Pipe) -> None:
    forwarder = Forwarder(limit_bytes=10)
    filled = pipe.fill()
    forwarder.write(b"one")
    until(lambda: not forwarder._waiting)  # the thread has it, and waits
    forwarder.write(b"two" * 3)
    forwarder.write(b"out")
    forwarder.write(b"out")
    pipe.read(filled)
    note = b"\n[windrow: 6 bytes of workers' stderr are left out here: they came too fast]\n"
    assert pipe.read(12 + len(note)) == b"onetwotwotwo" + note
    forwarder.write(b"three")
    assert pipe.read(5) == b"three"
    assert drained(forwarder)


def test_a_pipe_that_does_not_block(pipe: Pipe) -> None:
    forwarder = Forwarder()
    filled = pipe.fill()
    os.set_blocking(pipe.writer, False)
    forwarder.write(b"late")
    assert not drained(forwarder, timeout_s=0.02)
    pipe.read(filled)
    assert pipe.read(4) == b"late"
    assert drained(forwarder)


def test_what_the_user_has_put_in_the_place_of_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise ZeroDivisionError

    forwarder = Forwarder()
    for stream in (None, Broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        forwarder.write(b"lost")
        assert drained(forwarder)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    forwarder.write("grün".encode())
    assert drained(forwarder)
    assert stream.getvalue() == "grün"


def test_logs_come_after_what_was_written_before(caplog: pytest.LogCaptureFixture, pipe: Pipe) -> None:
    forwarder = Forwarder()
    filled = pipe.fill()
    forwarder.write(b"last words")
    forwarder.log(logging.getLogger("windrow.nanny"), logging.WARNING, "it died: 100 %s")
    assert not drained(forwarder, timeout_s=0.02)
    assert caplog.text == ""
    pipe.read(filled)
    assert drained(forwarder)
    assert "it died: 100 %s" in caplog.text


def test_the_thread_ends_when_there_is_nothing_to_do(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "LINGER_S", 0.01)
    before = threading.active_count()
    forwarder = Forwarder()
    for _ in range(2):
        forwarder.write(b"x")
        assert pipe.read(1) == b"x"
        until(lambda: threading.active_count() == before)
