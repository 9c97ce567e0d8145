"""Hosts that go without a word: two network namespaces stand for them, and the cable between them is pulled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transport_bench import Network, Stopped, network_of

from windrow import config
from windrow.transport import liveness
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.messages import Reply

LIMIT_S = 3
"""After so long a host that does not answer is gone."""

PARTY = Path(__file__).with_name("half_open_party.py")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Hosts:
    """Two hosts with a cable between them."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self.names = (f"windrow-{mark}-a", f"windrow-{mark}-b")
        self.cables = (f"w{mark}a", f"w{mark}b")
        self.parties: list[subprocess.Popen[str]] = []
        for name in self.names:
            ip("netns", "add", name)
        one, other = self.cables
        ip("link", "add", one, "netns", self.names[0], "type", "veth", "peer", "name", other, "netns", self.names[1])
        for number, (name, cable) in enumerate(zip(self.names, self.cables, strict=True), 1):
            ip("-n", name, "addr", "add", f"10.203.7.{number}/30", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")

    def start(self, host: int, *words: str) -> subprocess.Popen[str]:
        """Start a party on a host; it says what happens, line by line."""
        command = ["ip", "netns", "exec", self.names[host], sys.executable, str(PARTY), *words]
        environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{LIMIT_S}s"}
        party = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.parties.append(party)
        return party

    def pull(self) -> None:
        ip("-n", self.names[1], "link", "set", self.cables[1], "down")

    def close(self) -> None:
        for party in self.parties:
            party.kill()
            party.communicate()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux, iproute2 and root")
    made = Hosts.__new__(Hosts)
    try:
        made.__init__()  # type: ignore[misc]
    except subprocess.CalledProcessError as error:
        made.close()
        pytest.skip(f"no network namespaces can be made here: {error.stderr.strip()}")
    yield made
    made.close()


def said(party: subprocess.Popen[str], word: str) -> list[str]:
    """Return what a party says, from the line on that begins with this word."""
    assert party.stdout is not None
    for line in party.stdout:
        if line.startswith(word):
            return line.split(maxsplit=2)
    raise AssertionError(f"it has ended, and did not say {word!r}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["idle", "small", "large"])
def test_a_host_that_goes_without_a_word_is_noticed(hosts: Hosts, what: str) -> None:
    """Whether nothing is under way to it, or a few words, or more than the network takes."""
    listener = hosts.start(1, "listen", "10.203.7.2")
    _, address, _ = [*said(listener, "listens"), ""]
    dialler = hosts.start(0, "dial", address, what)
    said(dialler, "connected")
    hosts.pull()
    dialler_lost = said(dialler, "lost")
    assert LIMIT_S - 1 < float(dialler_lost[1]) < 3 * LIMIT_S + 3
    if what != "idle":
        assert f"its host has not answered for {LIMIT_S} s" in dialler_lost[2]
    listener_lost = said(listener, "lost")  # which has nothing to say: the system's probes find it out
    assert listener_lost[2].startswith("the connection broke")


@pytest.fixture(params=["tcp-apart", "tcp-asyncio-apart", "tls-apart"])
def plain_apart(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from network_of(request.param)


def test_who_is_stopped_on_a_host_that_answers_is_waited_for(
    plain_apart: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is full, and the system probes it; a stopped process is busy, and not gone."""
    seconds = config.seconds
    monkeypatch.setattr(config, "seconds", lambda key: 0.3 if key == "distributed.comm.timeouts.tcp" else seconds(key))
    looks: list[bool] = []
    is_gone = liveness.is_gone

    def look(sock: socket.socket, limit_s: float) -> bool:
        looks.append(is_gone(sock, limit_s))
        return looks[-1]

    monkeypatch.setattr(liveness, "is_gone", look)
    near, far = plain_apart.pair()
    with Stopped(near):
        far.send(Reply(1, blobs=[Attached([Buffer(bytes(30_000_000))])]))
        seen = len(looks)
        far.until(lambda: len(looks) > seen + 20)  # for two seconds, more than six times the limit
    near.wait_for_messages(1)
    assert near.lost == far.lost == []
    assert not any(looks)


class FakeSocket:
    """Stands for a socket of which the system says this."""

    def __init__(self, info: bytes | OSError) -> None:
        self.info = info

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        if isinstance(self.info, OSError):
            raise self.info
        return self.info[:size]


def told(repetitions: int, probes: int, silent_ms: int) -> Any:
    info = bytearray(104)
    info[2], info[3] = repetitions, probes
    info[56:60] = silent_ms.to_bytes(4, sys.byteorder)
    return FakeSocket(bytes(info))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")
@pytest.mark.parametrize(
    ("sock", "gone"),
    [
        (told(0, 0, 60_000), False),  # nothing is under way: an idle connection
        (told(2, 0, 60_000), False),
        (told(3, 0, 29_000), False),
        (told(3, 0, 30_000), True),
        (told(0, 3, 30_000), True),  # its window is closed, and its host answers no probe
        (FakeSocket(OSError("it has ended")), False),
        (FakeSocket(b"short"), False),
    ],
)
def test_who_is_gone(sock: Any, gone: bool) -> None:
    assert liveness.is_gone(sock, 30.0) is gone
