"""What who connects may do, and the tokens that prove it: watch, submit, administer.

What lives here: the roles, and how the token of a lesser role is derived from the cluster's secret. What this file must
never know: how a token is proved (`transport.handshake`), and what a role may say (`wire.permissions`).

A token is a key that follows from that of the next higher role, and from nothing else. So a listener needs the secret
alone to check any of them; who holds one can make those of lesser roles, to hand them on, and none of a higher one.
"""

from __future__ import annotations

import enum
import hashlib
import hmac

__all__ = ["Role", "from_text", "key_of", "seed_of_names", "split", "to_text", "token"]

KEY_BYTES = 32


class Role(enum.IntEnum):
    """What somebody may do; each role may do what those below it may.

    Examples
    --------
    >>> Role.WATCH < Role.SUBMIT < Role.ADMINISTER
    True
    >>> print(Role.SUBMIT)
    submit
    """

    WATCH = 1
    """Ask what there is, and change nothing."""
    SUBMIT = 2
    """Have tasks run, and use what tasks and clients share."""
    ADMINISTER = 3
    """Everything. Its token is the cluster's secret; workers and nannies hold it."""

    def __str__(self) -> str:
        return self.name.lower()


_MARKS = {role: f"windrow-{role}:".encode() for role in (Role.WATCH, Role.SUBMIT)}
"""How tokens begin, so that a holder of one knows which role to claim."""


def token(held: bytes, role: Role) -> bytes:
    """Return the token of a role, made from the cluster's secret or from the token of a higher role.

    Raises
    ------
    ValueError
        What is held is of a lesser role.

    Examples
    --------
    >>> secret = b"s" * 32
    >>> token(token(secret, Role.SUBMIT), Role.WATCH) == token(secret, Role.WATCH)
    True
    >>> token(secret, Role.ADMINISTER) == secret
    True
    >>> token(token(secret, Role.WATCH), Role.SUBMIT)
    Traceback (most recent call last):
    ValueError: a watch token makes no submit token: that takes the cluster's secret, or a token of that role
    """
    own, key = split(held)
    if role > own:
        raise ValueError(
            f"a {own} token makes no {role} token: that takes the cluster's secret, or a token of that role"
        )
    return _MARKS.get(role, b"") + _derived(key, own, role)


def key_of(secret: bytes, role: Role) -> bytes:
    """Return what a role proves that it holds, as a listener derives it from the cluster's secret.

    Examples
    --------
    >>> split(token(b"s" * 32, Role.WATCH)) == (Role.WATCH, key_of(b"s" * 32, Role.WATCH))
    True
    """
    return _derived(secret, Role.ADMINISTER, role)


def seed_of_names(held: bytes) -> int:
    """Return the seed of names of contents: the same for all who may submit, and known to nobody else.

    Parameters
    ----------
    held
        The cluster's secret, or a token to submit.

    Examples
    --------
    >>> secret = b"s" * 32
    >>> seed_of_names(secret) == seed_of_names(token(secret, Role.SUBMIT)) != seed_of_names(b"t" * 32)
    True
    """
    _, key = split(token(held, Role.SUBMIT))
    return int.from_bytes(hmac.digest(key, b"windrow names of contents", hashlib.sha256)[:8], "little")


def split(held: bytes) -> tuple[Role, bytes]:
    """Return the role of a token or secret, and its key.

    Examples
    --------
    >>> split(b"s" * 32)[0], split(token(b"s" * 32, Role.WATCH))[0]
    (<Role.ADMINISTER: 3>, <Role.WATCH: 1>)
    """
    for role, mark in _MARKS.items():
        if held.startswith(mark) and len(held) == len(mark) + KEY_BYTES:
            return role, held[len(mark) :]
    return Role.ADMINISTER, held


def to_text(held: bytes) -> str:
    """Return a secret or token as text for files and people.

    Examples
    --------
    >>> to_text(b"secret")
    '736563726574'
    >>> to_text(token(b"s" * 32, Role.WATCH))[:12]
    'watch:5e24ce'
    """
    role, key = split(held)
    return key.hex() if role is Role.ADMINISTER else f"{role}:{key.hex()}"


def from_text(text: str) -> bytes:
    """Return the secret or token that a text is.

    Raises
    ------
    ValueError
        It is none; the message does not repeat it.

    Examples
    --------
    >>> from_text("736563726574")
    b'secret'
    >>> from_text("watch:00")
    Traceback (most recent call last):
    ValueError: this is neither a secret (hexadecimal digits) nor a token (watch:… or submit:…)
    """
    word, separator, digits = text.strip().rpartition(":")
    try:
        key = bytes.fromhex(digits)
    except ValueError:  # its words would show a part of the secret
        key = b""
    if not separator and key:
        return key
    for role, mark in _MARKS.items():
        if separator and word == str(role) and len(key) == KEY_BYTES:
            return mark + key
    raise ValueError("this is neither a secret (hexadecimal digits) nor a token (watch:… or submit:…)")


def _derived(key: bytes, own: Role, role: Role) -> bytes:
    for lower in range(own - 1, role - 1, -1):
        key = hmac.digest(key, f"windrow role {Role(lower)}".encode(), hashlib.sha256)
    return key
