"""All that is decoded of what others say, as functions of bytes: what they may raise, and nothing else.

Hypothesis drives them in the suite (`test_attack_decoders`), and a fuzzer outside of it (``make fuzz``).
"""

from __future__ import annotations

import os
import struct
import tempfile
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from windrow import addressing, roles, scheduler_file, security, tls
from windrow.account import Account
from windrow.errors import ConnectionRefused, ProtocolError
from windrow.roles import Role
from windrow.transport.handshake import MAGIC, Steps, accept_steps, connect_steps, refuse_steps
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r
from windrow.wire.blobs import Attached, Blob, Buffer
from windrow.wire.framing import FrameEncoder, FrameParser
from windrow.wire.permissions import needed, what

SECRET = b"s" * 32
VERSION = m.PROTOCOL_VERSION.to_bytes(2, "little")
HANDSHAKE_BYTES_MAX = 400
"""More is never received of who has proved nothing."""


class Decoder(NamedTuple):
    """A function of bytes that somebody else has sent or written."""

    decode: Callable[[bytes], object]
    raises: tuple[type[Exception], ...]

    def __call__(self, data: bytes) -> None:
        try:
            self.decode(data)
        except self.raises:
            pass  # what its callers reckon with


# ---------------------------------------------------------------- frames and messages


def frames(data: bytes) -> list[list[m.Message]]:
    """Parse bytes, cut up in two places that the first ones name."""
    cuts = sorted(byte % (len(data) + 1) for byte in data[:2])
    parser = FrameParser(receive_bytes=512)
    batches: list[list[m.Message]] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        batches += parser.feed(data[start:end])
    return batches


def framed(batch: bytes, buffers: list[bytes]) -> bytes:
    """Return a frame whose lengths are right, whatever is in it."""
    lengths = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    total = len(lengths) + len(batch) + sum(map(len, buffers))
    return struct.pack("<QII", total, len(batch), len(buffers)) + lengths + batch + b"".join(buffers)


def batch(data: bytes) -> None:
    """Decode a batch of messages; look at them as a gate does, and at what payloads they describe."""
    buffers = [data[:3], b""] if data[:1] < b"\x80" else []
    for messages in FrameParser(receive_bytes=4096).feed(framed(data[1:] or b"\xc0", buffers)):
        for message in messages:
            assert needed(message) in Role
            assert what(message)
            for blob in blobs_in(message):
                assert payload.nbytes(blob) >= 0


def blobs_in(value: object) -> Iterator[Blob]:
    if isinstance(value, Attached):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from blobs_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from blobs_in(each)


# ---------------------------------------------------------------- the handshake


def drive(steps: Steps, data: bytes) -> None:
    """Give a side of the handshake what it asks for, until it is over or the bytes are."""
    asked = 0
    try:
        _, need_bytes = next(steps)
        while need_bytes <= len(data):
            asked += need_bytes
            assert asked <= HANDSHAKE_BYTES_MAX
            given, data = data[:need_bytes], data[need_bytes:]
            _, need_bytes = steps.send(given)
    except StopIteration:
        raise AssertionError("somebody has proved what he cannot have proved") from None
    finally:
        steps.close()


def listening(data: bytes) -> None:
    drive(accept_steps(SECRET, "there"), data)


def listening_from_the_claim(data: bytes) -> None:
    drive(accept_steps(SECRET, "there", binding=data[:3]), MAGIC + VERSION + data)


def connecting(data: bytes) -> None:
    drive(connect_steps(SECRET, "there"), data)


def connecting_from_the_answer(data: bytes) -> None:
    drive(connect_steps(roles.token(SECRET, Role.WATCH), "there"), MAGIC + VERSION + bytes(32) + data)


def refusing(data: bytes) -> None:
    drive(refuse_steps("there", "no room"), data)


# ---------------------------------------------------------------- what is written down

_directory = tempfile.mkdtemp(prefix="windrow-decoders-")
_file = Path(_directory) / "record"


def written_scheduler_file(data: bytes) -> None:
    _file.write_bytes(data)
    found = scheduler_file.read(_file)
    if found is not None:
        assert isinstance(found[0], str)
        assert found[1] is None or roles.split(found[1])


def written_secret(data: bytes) -> None:
    _file.write_bytes(data)
    assert len(security.from_file(_file)) >= security.SECRET_BYTES_MIN


def published(data: bytes) -> None:
    """Look a secret up where another process of this user has left something."""
    directory = Path(_directory) / "windrow"
    directory.mkdir(mode=0o700, exist_ok=True)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = _directory
    try:
        (directory / "8786-127.0.0.1.json").write_bytes(data)
        found = security.lookup("tcp://127.0.0.1:8786")
        assert found is None or isinstance(found, bytes)
        security.certificates_for("tcp://127.0.0.1:8786")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def token(data: bytes) -> None:
    held = roles.from_text(data.decode("utf-8", "replace"))
    assert roles.from_text(roles.to_text(held)) == held


def certificates(data: bytes) -> None:
    found = msgspec.json.decode(data)
    if isinstance(found, dict):
        tls.Security.from_record(found)


def address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    whole = addressing.normalize(text)
    assert addressing.normalize(whole) == whole
    host, port = addressing.split_host_port(addressing.split_address(text)[1], 0)
    assert addressing.split_host_port(addressing.join_host_port(host, port), 0) == (host, port)
    addressing.is_loopback(host)


DECODERS: dict[str, Decoder] = {
    "frames": Decoder(frames, (ProtocolError,)),
    "batch": Decoder(batch, (ProtocolError,)),
    "listening": Decoder(listening, (ConnectionRefused,)),
    "listening from the claim": Decoder(listening_from_the_claim, (ConnectionRefused,)),
    "connecting": Decoder(connecting, (ConnectionRefused,)),
    "connecting from the answer": Decoder(connecting_from_the_answer, (ConnectionRefused,)),
    "refusing": Decoder(refusing, (ConnectionRefused,)),
    "scheduler file": Decoder(written_scheduler_file, (ValueError,)),
    "secret file": Decoder(written_secret, (ValueError,)),
    "published": Decoder(published, ()),
    "token": Decoder(token, (ValueError,)),
    "certificates": Decoder(certificates, (ValueError, TypeError)),
    "address": Decoder(address, (ValueError,)),
}


# ---------------------------------------------------------------- good examples, to be spoilt


def example(kind: Any) -> Any:
    """Return some value of a type that stands in a message."""
    if isinstance(kind, typing.NewType):
        return example(kind.__supertype__)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return example(next(each for each in arguments if each is not type(None)))
    if origin is list:
        return [example(arguments[0])] * 2
    if origin is tuple:
        return tuple(example(each) for each in arguments if each is not Ellipsis)
    if origin is dict:
        return {example(arguments[0]): example(arguments[1])}
    if kind is Account:
        return Account(exit_code=1, said="why")
    if kind is Buffer:
        return Buffer(b"buffer")
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{name: example(hints[name]) for name in kind.__struct_fields__})
    plain: dict[Any, object] = {bytes: b"bytes", str: "text", int: 7, float: 0.5, bool: True, type(None): None}
    return plain.get(kind, ["anything", {"x": None}])


def examples() -> list[m.Message]:
    """Return a message of each type, and a question with each request."""
    said = [example(kind) for kind in typing.get_args(m.Message) if kind is not m.Call]
    return said + [m.Call(1, example(kind)) for kind in typing.get_args(r.Request)]


def encoded(message: m.Message) -> bytes:
    return b"".join(bytes(piece) for piece in FrameEncoder().encode([message]))


def seeds() -> dict[str, list[bytes]]:
    """Return good inputs of each decoder that has some."""
    whole = [encoded(message) for message in examples()]
    index = msgspec.msgpack.Encoder(enc_hook=lambda buffer: 0)
    record = b'{"address": "tcp://127.0.0.1:8786", "secret": "submit:%s", "tls": {"tls_ciphers": "x"}}' % (b"5f" * 32)
    return {
        "frames": whole,
        "batch": [b"\x00" + index.encode([message]) for message in examples()],
        "listening": [MAGIC + VERSION + bytes([3]) + bytes(64)],
        "listening from the claim": [bytes([role]) + bytes(64) for role in (1, 2, 3, 4)],
        "connecting": [MAGIC + VERSION + bytes(65)],
        "connecting from the answer": [b"\x00" + bytes(32), b"\x01\x0cwrong secret", b"\x03\x00"],
        "refusing": [MAGIC + VERSION + bytes(65)],
        "scheduler file": [record],
        "secret file": [b"5f" * 32 + b"\n", b"watch:" + b"5f" * 32],
        "published": [record],
        "token": [b"submit:" + b"5f" * 32, b"5f" * 32],
        "certificates": [b'{"tls_ca_file": "/x", "require_encryption": true, "tls_min_version": 771}'],
        "address": [b"tcp://127.0.0.1:8786", b"[::1]:80", b"LOCALHOST:0", b"inproc://x"],
    }
