"""The handshake as bytes: every step of both sides, and every refusal."""

from __future__ import annotations

import pytest

from windrow.errors import ConnectionRefused, WindrowError, WrongSecret, WrongVersion
from windrow.roles import Role, split, token
from windrow.transport.handshake import MAGIC, Proved, Steps, accept_steps, connect_steps
from windrow.wire.messages import PROTOCOL_VERSION


class Side:
    """Drives one side's steps with a stream of bytes."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.sent = b""
        self.received = b""
        self.need_bytes = 0
        self.result: WindrowError | None = None
        self.proved: Proved | None = None
        self.is_done = False
        self._take(lambda: next(steps))

    def receive(self, data: bytes) -> None:
        self.received += data
        while not self.is_done and len(self.received) >= self.need_bytes:
            head, self.received = self.received[: self.need_bytes], self.received[self.need_bytes :]
            self._take(lambda head=head: self.steps.send(head))

    def _take(self, step: object) -> None:
        try:
            reply, self.need_bytes = step()  # type: ignore[operator]
            self.sent += reply
        except StopIteration as end:
            self.proved = end.value
            self.sent += end.value.reply
            self.is_done = True
        except WindrowError as error:
            self.result = error
            self.is_done = True


def exchange(listener: Side, connector: Side) -> tuple[WindrowError | None, WindrowError | None]:
    """Carry bytes to and fro until both sides rest."""
    while listener.sent or connector.sent:
        data, listener.sent = listener.sent, b""
        connector.receive(data)
        data, connector.sent = connector.sent, b""
        listener.receive(data)
    return listener.result, connector.result


def test_same_secret() -> None:
    listener, connector = Side(accept_steps(b"s", "there")), Side(connect_steps(b"s", "here"))
    assert exchange(listener, connector) == (None, None)
    assert listener.is_done
    assert connector.is_done


def test_wrong_secret_is_told_to_both() -> None:
    mine, theirs = exchange(Side(accept_steps(b"s", "tcp://peer")), Side(connect_steps(b"x", "tcp://scheduler")))
    assert isinstance(mine, WrongSecret)
    assert "tcp://peer" in str(mine)
    assert isinstance(theirs, WrongSecret)
    assert "tcp://scheduler" in str(theirs)
    assert "secret=" in str(theirs)


@pytest.mark.parametrize(("here", "advice"), [(1, "upgrade windrow here"), (3, "upgrade windrow there")])
def test_wrong_version_says_which_to_upgrade(here: int, advice: str) -> None:
    listener = Side(accept_steps(b"s", "tcp://peer", version=2))
    connector = Side(connect_steps(b"s", "tcp://scheduler", version=here))
    mine, theirs = exchange(listener, connector)
    assert isinstance(mine, WrongVersion)
    assert isinstance(theirs, WrongVersion)
    assert f"tcp://scheduler speaks protocol 2, this process {here}: {advice}" in str(theirs)
    assert f"tcp://peer speaks protocol {here}, this process 2" in str(mine)


def test_an_impostor_without_the_secret_learns_nothing_and_is_refused() -> None:
    connector = Side(connect_steps(b"s", "tcp://impostor"))
    connector.receive(MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") + bytes(32))
    connector.receive(b"\x00" + bytes(32))
    assert isinstance(connector.result, WrongSecret)
    assert b"s" * 3 not in connector.sent


def test_a_proof_is_good_for_one_connection_and_one_role_only() -> None:
    listener, connector = Side(accept_steps(b"s", "there")), Side(connect_steps(b"s", "here"))
    connector.receive(listener.sent)
    recorded = connector.sent
    second = Side(accept_steps(b"s", "there"))
    second.receive(recorded)  # replayed to another connection
    assert isinstance(second.result, WrongSecret)
    mirror = Side(connect_steps(b"s", "here"))
    mirror.receive(listener.sent)
    own = mirror.sent[-32:]
    mirror.receive(b"\x00" + own)  # sent back to its maker
    assert isinstance(mirror.result, WrongSecret)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", b"\x80\x05\x95" + bytes(20), bytes(100)])
def test_a_peer_that_is_not_windrow_is_refused_by_its_first_bytes(noise: bytes) -> None:
    listener = Side(accept_steps(b"s", "tcp://peer"))
    listener.receive(noise)
    assert type(listener.result) is ConnectionRefused
    assert "tcp://peer" in str(listener.result)
    assert len(listener.sent) < 300


def test_a_listener_that_is_not_windrow() -> None:
    connector = Side(connect_steps(b"s", "tcp://mail"))
    connector.receive(b"220 mail.example.org ESMTP\r\n")
    assert type(connector.result) is ConnectionRefused
    assert "220 mail.e" in str(connector.result)
    assert connector.sent == b""


def test_a_refusal_for_another_reason_is_told() -> None:
    connector = Side(connect_steps(b"s", "tcp://full"))
    connector.receive(MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") + bytes(32))
    connector.receive(b"\x03\x08no room!")
    assert str(connector.result) == "tcp://full refuses this process: no room!"


def test_no_side_ever_asks_for_much() -> None:
    for side in (Side(accept_steps(b"s", "")), Side(connect_steps(b"s", ""))):
        asked = 0
        while not side.is_done:
            assert side.need_bytes <= 255
            asked += side.need_bytes
            side.receive(MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") if asked <= 10 else b"\xff" * side.need_bytes)
        assert asked < 400


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_each_role_proves_its_token(role: Role) -> None:
    listener, connector = Side(accept_steps(b"s" * 32, "there")), Side(connect_steps(token(b"s" * 32, role), "here"))
    assert exchange(listener, connector) == (None, None)
    assert listener.proved is not None
    assert connector.proved is not None
    assert listener.proved.role is connector.proved.role is role


@pytest.mark.parametrize("claimed", [Role.SUBMIT, Role.ADMINISTER], ids=str)
def test_a_token_does_not_prove_a_higher_role(claimed: Role) -> None:
    _, key = split(token(b"s" * 32, Role.WATCH))
    forged = key if claimed is Role.ADMINISTER else token(b"x" * 32, claimed)[:-32] + key
    assert split(forged) == (claimed, key)
    mine, theirs = exchange(Side(accept_steps(b"s" * 32, "tcp://peer")), Side(connect_steps(forged, "tcp://listener")))
    assert isinstance(mine, WrongSecret)
    assert str(mine).startswith("tcp://peer does not hold this cluster's")
    assert isinstance(theirs, WrongSecret)


def test_a_recorded_proof_is_not_good_for_another_role() -> None:
    listener, connector = Side(accept_steps(b"s" * 32, "")), Side(connect_steps(token(b"s" * 32, Role.WATCH), ""))
    connector.receive(listener.sent)
    claim = bytearray(connector.sent)
    assert claim[10] == Role.WATCH
    claim[10] = Role.ADMINISTER
    listener.receive(bytes(claim))
    assert isinstance(listener.result, WrongSecret)


@pytest.mark.parametrize("role", [0, 4, 255])
def test_a_role_that_there_is_not(role: int) -> None:
    listener = Side(accept_steps(b"s", "tcp://peer"))
    listener.receive(MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") + bytes([role]) + bytes(64))
    assert str(listener.result) == f"tcp://peer claims the role {role}, which there is not"


def test_a_proof_is_bound_to_its_encrypted_connection() -> None:
    """Who sits in between has two encrypted connections, and hands on what is said inside of them."""
    listener = Side(accept_steps(b"s", "", binding=b"one"))
    connector = Side(connect_steps(b"s", "", binding=b"other"))
    mine, theirs = exchange(listener, connector)
    assert isinstance(mine, WrongSecret)
    assert isinstance(theirs, WrongSecret)
