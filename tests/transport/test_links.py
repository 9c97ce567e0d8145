"""The contract of a link: one suite that every transport passes."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

import numpy as np
import pytest

from windrow import config
from windrow.errors import WrongVersion
from windrow.transport import Link, handshake, tcp
from windrow.wire.messages import PROTOCOL_VERSION, Close, Message, Reply
from windrow.wire.payload import dumps, loads


def values(messages: list[Message]) -> list[object]:
    return [message.value for message in messages if isinstance(message, Reply)]


def test_batches_arrive_whole_and_in_order(network: Any) -> None:
    near, far = network.pair()
    sent = [[Reply(n, value=k) for k in range(n + 1)] for n in range(20)]
    for batch in sent:
        near.send(*batch)
    far.wait_for_messages(sum(map(len, sent)))
    assert far.batches == sent
    far.send(Close("back"))
    assert near.wait_for_messages(1) == [Close("back")]


def test_many_sends_in_one_turn(network: Any) -> None:
    near, far = network.pair()

    def send_many() -> None:
        for n in range(1_000):
            near.link.send([Reply(n)])

    near.do(send_many)
    assert [message.id for message in far.wait_for_messages(1_000)] == list(range(1_000))


def test_the_caller_may_use_its_list_again(network: Any) -> None:
    near, far = network.pair()

    def send_and_clear() -> None:
        outbox: list[Message] = [Close("x")]
        near.link.send(outbox)
        outbox.clear()

    near.do(send_and_clear)
    assert far.wait_for_messages(1) == [Close("x")]


def test_large_buffers_there_and_back(network: Any) -> None:
    near, far = network.pair()
    far.handler = lambda batch: far.link.send(batch)  # forwards what it received, as the scheduler does
    array = np.arange(500_000)
    near.send(Reply(1, blobs=[dumps(array), b"small"]), Close())
    reply, close = near.wait_for_messages(2)
    got = loads(reply.blobs[0])
    assert (got == array).all()
    assert got.flags.writeable
    got[0] = -1
    assert array[0] == 0
    assert (reply.blobs[1], close) == (b"small", Close())


def test_a_message_of_64_mib(network: Any) -> None:
    near, far = network.pair()
    array = np.arange(8 * 2**20)
    near.send(Reply(1, blobs=[dumps(array)]), Close("behind it"))
    reply, close = far.wait_for_messages(2)
    assert (loads(reply.blobs[0]) == array).all()
    assert close == Close("behind it")
    assert near.lost == far.lost == []


def test_loss_is_told_once_to_each_side(network: Any) -> None:
    near, far = network.pair()
    near.close()
    assert (near.wait_lost(), far.wait_lost()) == ("", "")
    for end in (near, far):
        end.close()
        end.do(lambda end=end: end.link.abort("again"))
        end.settle()
    assert (near.lost, far.lost) == ([""], [""])


def test_both_sides_close_at_once(network: Any) -> None:
    near, far = network.pair()
    near.close()
    far.close()
    assert (near.wait_lost(), far.wait_lost()) == ("", "")
    near.settle()
    far.settle()
    assert (near.lost, far.lost) == ([""], [""])


def test_close_delivers_what_was_sent(network: Any) -> None:
    near, far = network.pair()
    array = np.ones(2_000_000)

    def send_and_close() -> None:
        near.link.send([Reply(1, blobs=[dumps(array)])])
        near.link.send([Close("last")])
        near.link.close()

    near.do(send_and_close)
    assert far.wait_lost() == ""
    assert near.wait_lost() == ""
    assert far.batches[-1] == [Close("last")]
    assert len(far.batches) == 2


def test_close_delivers_although_the_other_side_keeps_sending(network: Any) -> None:
    near, far = network.pair()
    array = np.ones(500_000)

    def send_and_close() -> None:
        near.link.send([Reply(1, blobs=[dumps(array)]), Close("last")])
        near.link.close()

    # Both turns are queued before either loop gets to read: so much is unread at the side that closes.
    far.soon(far.link.send, [Reply(n, blobs=[dumps(array)]) for n in range(3)])
    near.do(send_and_close)
    assert far.wait_lost() == ""
    assert far.batches[-1][-1] == Close("last")


def test_nothing_is_sent_or_delivered_after_close(network: Any) -> None:
    near, far = network.pair()

    def close_and_send() -> None:
        near.link.close()
        near.link.send([Close("too late")])

    far.soon(far.link.send, [Close("crossing")])
    near.do(close_and_send)
    far.wait_lost()
    near.wait_lost()
    near.send(Close("much too late"))
    far.settle()
    assert far.batches == []
    assert near.lost == [""]


def test_nothing_is_delivered_before_the_owner_is_there(network: Any) -> None:
    sent = threading.Event()

    def accept(link: Link) -> None:
        link.on_batch = lambda batch: None
        link.send([Close("early")])
        link.close()
        sent.set()

    network.on_link = accept
    link = network.connect()
    network.wait_for(sent)
    near = network.near_end()
    near.settle()
    near.do(near.adopt, link)
    assert near.wait_lost() == ""
    assert near.batches == [[Close("early")]]


def test_a_failing_handler_costs_its_link_only(network: Any, caplog: pytest.LogCaptureFixture) -> None:
    good_near, good_far = network.pair()
    near, far = network.pair()

    def fail(batch: list[Message]) -> None:
        raise ZeroDivisionError("in the handler")

    far.handler = fail
    with caplog.at_level(logging.ERROR):
        near.send(Close("1"))
        assert "ZeroDivisionError" in far.wait_lost()
        assert near.wait_lost() != ""
    assert "in the handler" in caplog.text
    assert "Traceback" in caplog.text
    good_near.send(Close("still here"))
    assert good_far.wait_for_messages(1) == [Close("still here")]
    assert (len(near.lost), len(far.lost), far.batches) == (1, 1, [[Close("1")]])


def test_a_frame_beyond_the_limit_costs_its_link_only(
    network: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network.is_within_a_process:
        pytest.skip("nothing is encoded there, so that there are no frames")
    good_near, good_far = network.pair()
    size_bytes = config.size_bytes
    monkeypatch.setattr(config, "size_bytes", lambda key: 2**20 if key == "windrow.frame-limit" else size_bytes(key))
    near, far = network.pair()
    with caplog.at_level(logging.WARNING):
        near.send(Close("small"))
        far.wait_for_messages(1)
        near.send(Reply(1, blobs=[dumps(np.ones(2**17))]))  # a MiB, and its frame
        assert "the limit is 1048576 ('windrow.frame-limit')" in far.wait_lost()
        assert near.wait_lost() != ""
    assert "closing the connection to " in caplog.text
    good_near.send(Close("still here"))
    assert good_far.wait_for_messages(1) == [Close("still here")]
    assert (len(near.lost), len(far.lost), far.batches) == (1, 1, [[Close("small")]])


@pytest.mark.parametrize(("theirs", "side"), [(PROTOCOL_VERSION + 1, "there"), (PROTOCOL_VERSION - 1, "here")])
def test_another_version_is_refused_and_who_is_to_upgrade_is_said(
    network: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, theirs: int, side: str
) -> None:
    if network.is_within_a_process or network.is_simulated:
        pytest.skip("there is one version within a process, and nobody proves anything")
    good_near, good_far = network.pair()
    network.on_link = network.accepted.append
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(tcp, "connect_steps", functools.partial(handshake.connect_steps, version=theirs))
        words = f"speaks protocol {PROTOCOL_VERSION}, this process {theirs}: upgrade windrow {side}"
        with pytest.raises(WrongVersion, match=words):
            network.connect()
        near = network.near_end()
        near.settle()
    other = {"here": "there", "there": "here"}[side]
    assert f"speaks protocol {theirs}, this process {PROTOCOL_VERSION}: upgrade windrow {other}" in caplog.text
    assert network.accepted == []
    good_near.send(Close("still here"))
    good_far.wait_for_messages(1)


def test_a_failing_loss_handler_harms_nothing(network: Any, caplog: pytest.LogCaptureFixture) -> None:
    near, far = network.pair()

    def fail(reason: str) -> None:
        raise ZeroDivisionError("in the loss handler")

    near.do(lambda: setattr(near.link, "on_lost", fail))
    with caplog.at_level(logging.ERROR):
        near.close()
        far.wait_lost()
        near.settle()
        other_near, other_far = network.pair()
        other_near.send(Close())
        other_far.wait_for_messages(1)
    assert "in the loss handler" in caplog.text


def test_a_failing_listener_costs_that_connection_only(network: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail(link: Link) -> None:
        raise ZeroDivisionError("in on_link")

    network.on_link = fail
    with caplog.at_level(logging.ERROR):
        near = network.near_end()
        near.do(near.adopt, network.connect())
        assert near.wait_lost() != ""
    assert "in on_link" in caplog.text
    near, far = network.pair()
    near.send(Close())
    far.wait_for_messages(1)


def test_abort_gives_a_reason_to_both_sides(network: Any) -> None:
    near, far = network.pair()
    near.do(lambda: near.link.abort("enough"))
    assert near.wait_lost() == "enough"
    assert far.wait_lost() != ""


def test_what_arrives_before_a_link_breaks_is_the_beginning_of_what_was_sent(network: Any) -> None:
    near, far = network.pair()

    def send_and_break() -> None:
        for n in range(500):
            near.link.send([Reply(n, value=b"x" * 20_000), Reply(n)])
        near.link.abort("enough")

    near.do(send_and_break)
    assert far.wait_lost() != ""
    assert [[message.id for message in batch] for batch in far.batches] == [[n, n] for n in range(len(far.batches))]


def test_closing_the_listener_leaves_links_alone(network: Any) -> None:
    near, far = network.pair()
    far.do(network.listener.close)
    far.do(network.listener.close)  # again is harmless
    near.send(Close())
    far.wait_for_messages(1)
    near.close()
    assert far.wait_lost() == ""


def test_remote_and_address_are_addresses(network: Any) -> None:
    near, far = network.pair()
    scheme = network.address.partition("://")[0]
    assert near.link.remote == network.address
    assert far.link.remote.startswith("local://pid-" if far.link.is_local else f"{scheme}://")
    assert network.address in repr(near.link)
    assert network.address in repr(network.listener)
