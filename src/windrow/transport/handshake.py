"""The handshake of a connection: both sides prove what they hold of the cluster, before anything is decoded.

What lives here: the exchange as two generators that never touch a socket, so that every step can be tested as bytes.
What this file must never know: sockets, event loops, messages.

All fields have a fixed size, and a side never accepts more than the exchange calls for::

    listener  -> connector   magic, version, nonce
    connector -> listener    magic, version, then role, nonce, HMAC(key, "windrow connector" + what was exchanged)
    listener  -> connector   0 and HMAC(key, "windrow listener" + what was exchanged)
                             or 1 (secret), 2 (version), 3 (other), a length, and a reason in UTF-8

The key is that of the role which the connector claims (`windrow.roles`): the secret itself, or what its token holds.
Who only looks whether somebody is there says so, by the version 0, and goes (`KNOCK`); that is no refusal.
What was exchanged is the role, both nonces, the version, and the *binding*: what an encrypted connection has of its own
and both its ends know. So a proof is good for one connection, one direction and one role.

A generator yields what is to be sent now and how many bytes it needs next, is sent exactly those, and returns the last
bytes to send, with the role. It raises when one side refuses the other.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias

from windrow.errors import ConnectionRefused, WrongSecret, WrongVersion
from windrow.roles import Role, key_of, split
from windrow.wire.messages import PROTOCOL_VERSION

__all__ = [
    "GREETING_BYTES",
    "KNOCK",
    "MAGIC",
    "Knocked",
    "Proved",
    "Steps",
    "accept_steps",
    "connect_steps",
    "refuse_steps",
]

MAGIC = b"windrow\n"
REASON_BYTES_MAX = 200

_NONCE_BYTES = 32
_PROOF_BYTES = 32
_HEAD_BYTES = len(MAGIC) + 2
GREETING_BYTES = _HEAD_BYTES + _NONCE_BYTES
"""What a listener says first."""
KNOCK = MAGIC + bytes(2)
_CLAIM_BYTES = 1 + _NONCE_BYTES + _PROOF_BYTES
_WELCOME, _WRONG_SECRET, _WRONG_VERSION, _OTHER = range(4)


class Knocked(ConnectionRefused):
    """Somebody has looked whether a listener is there, and wants no more."""


class Proved(NamedTuple):
    """How an exchange has ended well."""

    reply: bytes
    """The last bytes to send."""
    role: Role
    """What the connector may do."""


Steps: TypeAlias = Generator[tuple[bytes, int], bytes, Proved]


def accept_steps(
    secret: bytes,
    remote: str,
    *,
    binding: bytes = b"",
    version: int = PROTOCOL_VERSION,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Steps:
    """Return the listener's side of the exchange.

    Parameters
    ----------
    secret
        The cluster's; the tokens of all roles follow from it.
    remote
        The other side, for errors.
    binding
        What the encrypted connection has of its own.
    version, random_bytes
        For tests.

    Examples
    --------
    >>> hello, need_bytes = next(accept_steps(b"secret", "here"))
    >>> hello[:8], need_bytes
    (b'windrow\\n', 10)
    """
    own_version = version.to_bytes(2, "little")
    nonce = random_bytes(_NONCE_BYTES)
    head = yield MAGIC + own_version + nonce, _HEAD_BYTES
    if head[: len(MAGIC)] != MAGIC:
        yield _refusal(_OTHER, "this is a windrow listener, and you do not speak its protocol"), 0
        raise ConnectionRefused(f"{remote} does not speak windrow's protocol: it sent {head!r}")
    if head == KNOCK:
        raise Knocked(f"{remote} has looked whether somebody is here")
    theirs = int.from_bytes(head[len(MAGIC) :], "little")
    if theirs != version:
        yield _refusal(_WRONG_VERSION, f"protocol {version} is spoken here"), 0
        raise WrongVersion(f"{remote} speaks protocol {theirs}, this process {version}: {_advice(theirs, version)}")
    claim = yield b"", _CLAIM_BYTES
    if claim[0] not in list(Role):
        yield _refusal(_OTHER, "there is no such role"), 0
        raise ConnectionRefused(f"{remote} claims the role {claim[0]}, which there is not")
    role = Role(claim[0])
    key = key_of(secret, role)
    exchanged = bytes([role]) + nonce + claim[1 : 1 + _NONCE_BYTES] + own_version + binding
    if not hmac.compare_digest(claim[1 + _NONCE_BYTES :], _proof(key, b"windrow connector", exchanged)):
        yield _refusal(_WRONG_SECRET, "wrong secret"), 0
        raise WrongSecret(f"{remote} does not hold this cluster's {_held(role)}")
    return Proved(bytes([_WELCOME]) + _proof(key, b"windrow listener", exchanged), role)


def refuse_steps(remote: str, reason: str) -> Steps:
    """Return the side of a listener that takes nobody, and says why.

    Examples
    --------
    >>> hello, need_bytes = next(refuse_steps("there", "full"))
    >>> hello[:8], need_bytes
    (b'windrow\\n', 10)
    """
    head = yield MAGIC + PROTOCOL_VERSION.to_bytes(2, "little") + os.urandom(_NONCE_BYTES), _HEAD_BYTES
    if head == KNOCK:
        raise Knocked(f"{remote} has looked whether somebody is here")
    if head[: len(MAGIC)] == MAGIC:
        yield b"", _CLAIM_BYTES
    yield _refusal(_OTHER, reason), 0
    raise ConnectionRefused(f"{remote} was turned away: {reason}")


def connect_steps(
    secret: bytes,
    remote: str,
    *,
    binding: bytes = b"",
    version: int = PROTOCOL_VERSION,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Steps:
    """Return the connector's side of the exchange.

    Parameters
    ----------
    secret
        The cluster's secret, or a token, whose role is claimed then.
    remote, binding, version, random_bytes
        As for `accept_steps`.

    Examples
    --------
    >>> next(connect_steps(b"s", "here"))
    (b'', 10)
    """
    own_version = version.to_bytes(2, "little")
    head = yield b"", _HEAD_BYTES
    if head[: len(MAGIC)] != MAGIC:
        raise ConnectionRefused(
            f"what listens on {remote} is no windrow scheduler or worker: its first bytes are {head!r}. "
            "Check host and port"
        )
    theirs = int.from_bytes(head[len(MAGIC) :], "little")
    if theirs != version:
        yield MAGIC + own_version, 0  # the listener's log is to tell our version too
        raise WrongVersion(
            f"the other side at {remote} speaks protocol {theirs}, this process {version}: {_advice(theirs, version)}"
        )
    their_nonce = yield b"", _NONCE_BYTES
    nonce = random_bytes(_NONCE_BYTES)
    role, key = split(secret)
    exchanged = bytes([role]) + their_nonce + nonce + own_version + binding
    claim = bytes([role]) + nonce + _proof(key, b"windrow connector", exchanged)
    [status] = yield MAGIC + own_version + claim, 1
    if status == _WELCOME:
        proof = yield b"", _PROOF_BYTES
        if not hmac.compare_digest(proof, _proof(key, b"windrow listener", exchanged)):
            raise WrongSecret(
                f"what listens on {remote} has not proved that it holds the cluster's {_held(role)}: it is another "
                "cluster, or no windrow at all. Nothing was sent to it"
            )
        return Proved(b"", role)
    [length] = yield b"", 1
    reason = (yield b"", length).decode("utf-8", "replace") if length else "no reason given"
    if status == _WRONG_SECRET:
        raise WrongSecret(
            f"{remote} refuses this process: wrong {_held(role)}. Pass the {_held(role)} of that cluster (secret=…), "
            "or run as the user who started it"
        )
    if status == _WRONG_VERSION:
        raise WrongVersion(f"{remote} refuses this process, which speaks protocol {version}: {reason}")
    raise ConnectionRefused(f"{remote} refuses this process: {reason}")


def _proof(key: bytes, side: bytes, exchanged: bytes) -> bytes:
    return hmac.digest(key, side + exchanged, hashlib.sha256)


def _held(role: Role) -> str:
    return "secret" if role is Role.ADMINISTER else f"{role} token"


def _refusal(status: int, reason: str) -> bytes:
    text = reason.encode()[:REASON_BYTES_MAX]
    return bytes([status, len(text)]) + text


def _advice(theirs: int, ours: int) -> str:
    return "upgrade windrow here" if theirs > ours else "upgrade windrow there"
