"""What an attacker has: raw sockets, handshakes of his own, frames of any content, and a canary."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windrow.transport.handshake import connect_steps
from windrow.wire.framing import FrameEncoder
from windrow.wire.messages import Message

LIMIT_S = 15.0


class Bomb:
    """The canary: leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def until(happens: Callable[[], object], what: str = "", limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that nothing announces."""
    end_s = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end_s, f"not within {limit_s:g} s: {what or happens}"
        time.sleep(0.002)


def raw(address: str) -> socket.socket:
    """Connect, and say nothing."""
    host, _, port = address.partition("://")[2].rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def receive(endpoint: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = endpoint.recv(count - len(data))
        assert part, "the other side has hung up"
        data += part
    return data


def shake(endpoint: socket.socket, secret: bytes, binding: bytes = b"") -> bytes:
    """Shake hands as well as one can with this secret, and return what was said; raise what a refusal does."""
    steps, said = connect_steps(secret, "the target", binding=binding), b""
    reply, need_bytes = next(steps)
    try:
        while True:
            said += reply
            if reply:
                endpoint.sendall(reply)
            reply, need_bytes = steps.send(receive(endpoint, need_bytes))
    except StopIteration:
        return said


def shaken(address: str, secret: bytes) -> socket.socket:
    """Return a socket that has passed the handshake with a secret or token."""
    endpoint = raw(address)
    shake(endpoint, secret)
    return endpoint


def frame(*messages: Message) -> bytes:
    return b"".join(bytes(piece) for piece in FrameEncoder().encode(list(messages)))


def until_closed(endpoint: socket.socket) -> bytes:
    """Return what the other side still says, until it closes; it is to do so by itself."""
    data = b""
    try:
        while part := endpoint.recv(65536):
            data += part
    except ConnectionResetError:
        pass  # closed, with bytes of ours unread
    endpoint.close()
    return data


def rss_bytes(pid: int | None = None) -> int:
    """Return how much memory a process has just now."""
    pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Said:
    """What workers log, which arrives on this process's stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.text = ""
        self._capsys = capsys

    def read(self) -> str:
        self.text += self._capsys.readouterr().err
        return self.text

    def until(self, words: str) -> None:
        until(lambda: words in self.read(), f"{words!r} on stderr")
