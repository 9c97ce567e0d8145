"""Decoders of what others say or write: whatever it is, they raise what their callers reckon with, and nothing else."""

from __future__ import annotations

import random
import typing
from typing import Any

import msgspec
import pytest
from decoders import DECODERS, encoded, examples, framed, frames, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from windrow.errors import ProtocolError
from windrow.roles import Role
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import Unexpected
from windrow.wire import messages as m
from windrow.wire import requests as r
from windrow.wire.framing import FrameParser
from windrow.wire.permissions import needed

SEEDS = seeds()


def test_every_decoder_has_good_examples() -> None:
    assert SEEDS.keys() == DECODERS.keys()
    assert len(examples()) == len(typing.get_args(m.Message)) - 1 + len(typing.get_args(r.Request))


@pytest.mark.parametrize("message", examples(), ids=lambda message: type(message).__name__)
def test_good_examples_are_good(message: m.Message) -> None:
    [[back]] = FrameParser().feed(encoded(message))
    assert type(back) is type(message)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_noise_and_spoilt_examples(name: str, data: st.DataObject) -> None:
    decoder = DECODERS[name]
    noise = st.binary(max_size=200)
    decoder(data.draw(noise))
    good = bytearray(data.draw(st.sampled_from(SEEDS[name])))
    for where, change in data.draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=4)):
        good[where % len(good)] ^= change
    cut = data.draw(st.integers(0, len(good)))
    decoder(bytes(good))
    decoder(bytes(good[:cut]))
    decoder(bytes(good[:cut]) + data.draw(noise) + bytes(good[cut:]))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("scheduler file", b"[" * 100_000),
        ("scheduler file", b"\xff\xfe{}"),
        ("scheduler file", b'{"address": "tcp://127.0.0.1:1", "secret": "zz"}'),
        ("scheduler file", b'{"address": "tcp://127.0.0.1:1", "tls": {"tls_ca_file": 5, "tls_min_version": "x"}}'),
        ("published", b"[" * 100_000),
        ("published", b"\xff\xfe{}"),
        ("published", b'{"secret": "5f", "tls": {"tls_min_version": "x"}}'),
        ("secret file", b"\xff" * 100),
        ("address", b"tcp://host:" + b"9" * 10_000),
        ("batch", b"\xff\xdd\xff\xff\xff\xff"),
        ("batch", b"\xff\x91\x93\x02\x01" + b"\x91" * 100_000),
    ],
)
def test_what_is_deep_or_long_or_of_another_kind(name: str, data: bytes) -> None:
    DECODERS[name](data)


simple = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
values = st.recursive(
    simple | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 220), st.lists(values, max_size=12))
def test_messages_of_wrong_fields(tag: int, fields: list[object]) -> None:

    for batch in ([[tag, *fields]], [[1, 1, [tag, *fields]]]):
        try:
            frames(framed(msgspec.msgpack.encode(batch), []))
        except ProtocolError:
            pass  # the one thing allowed


def spoilt(rng: random.Random, value: Any) -> Any:
    """Return a message of the same type that makes less sense."""
    if isinstance(value, msgspec.Struct):
        return type(value)(*[spoilt(rng, getattr(value, name)) for name in value.__struct_fields__])
    if isinstance(value, list):
        return [spoilt(rng, each) for each in value] * rng.choice([0, 1, 1, 1, 2])
    if isinstance(value, dict):
        return {key: spoilt(rng, each) for key, each in value.items()}
    choices: dict[type, list[Any]] = {
        str: ["a", "b", "text", value],
        bytes: [b"f", b"bytes", value],
        int: [-1, 0, 1, 2, 2**40, value],
        float: [0.0, -1.0, float("nan"), float("inf"), 1e300, value],
        bool: [True, False],
        type(None): [None, None, [], ["a"]],
    }
    return rng.choice(choices.get(type(value), [value]))


def test_clients_that_say_anything_leave_the_scheduler_whole() -> None:
    """What a token to submit may say, in any order, spoilt: it is refused, or done; the scheduler's state adds up."""
    said = [message for message in examples() if needed(message) <= Role.SUBMIT]
    done = 0
    for seed in range(60):
        rng, core = random.Random(seed), SchedulerCore()
        core.join(m.HelloWorker("tcp://w", "w", 1), 0.0)
        peers = [core.join(m.HelloClient(name), 0.0) for name in ("a", "b")]
        for step in range(30):
            who = rng.randrange(2)
            try:
                [[message]] = FrameParser().feed(encoded(spoilt(rng, rng.choice(said))))
                core.receive(peers[who], [message], 0.1 * step)
                done += 1
            except (ProtocolError, TypeError, OverflowError):  # no message, which no peer could send
                continue
            except Unexpected as refusal:
                core.lost(peers[who], str(refusal), 0.1 * step)
                peers[who] = core.join(m.HelloClient("ab"[who]), 0.1 * step)
            core.flush()
            check_invariants(core.state)
    assert done > 500
