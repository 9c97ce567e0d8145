"""Links that outlive their connections; what they have in common with others is in `test_links`."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from windrow import config, system, transport
from windrow.roles import Role, token
from windrow.transport import lasting
from windrow.transport.lasting import Dialler, LastingLink
from windrow.wire.blobs import Attached, Buffer
from windrow.wire.messages import Close, Reply, Resume

LIMIT_S = 10.0
SECRET = b"s" * 32


def until(end: Any, happens: Callable[[], object]) -> None:
    """Wait for what nothing announces, while an end's loop goes on."""
    limit_s = time.monotonic() + LIMIT_S
    while not end.do(happens):
        assert time.monotonic() < limit_s, "it does not happen"
        end.settle()


def cut(end: Any) -> None:
    """Break the connection under a link, as somebody on the way would: neither side has done it."""
    until(end, lambda: not end.link.is_cut)
    end.do(lambda: end.link._connection._transport.abort())


def follow(end: Any) -> list[str]:
    """Return the list that will say what happens to a link."""
    news: list[str] = []
    end.do(lambda: setattr(end.link, "on_cut", lambda reason: news.append("cut")))
    end.do(lambda: setattr(end.link, "on_resumed", lambda: news.append("resumed")))
    return news


def ids(end: Any) -> list[int]:
    return [message.id for batch in end.batches for message in batch if isinstance(message, Reply)]


@pytest.mark.parametrize("who", ["near", "far"])
def test_nothing_is_lost_and_nothing_comes_twice(lasting_network: Any, who: str) -> None:
    near, far = lasting_network.pair()
    news = [follow(near), follow(far)]
    sent = {"near": 0, "far": 0}

    def send(end: Any, name: str, count: int) -> None:
        def many() -> None:
            for _ in range(count):
                end.link.send([Reply(sent[name]), Reply(sent[name] + 1, blobs=[Attached([Buffer(bytes(200_000))])])])
                sent[name] += 2

        end.do(many)

    for _ in range(5):
        send(near, "near", 10)
        send(far, "far", 10)
        cut(near if who == "near" else far)
        send(near, "near", 3)
    near.wait_until(lambda: len(ids(near)) >= sent["far"])
    far.wait_until(lambda: len(ids(far)) >= sent["near"])
    assert ids(near) == list(range(sent["far"]))
    assert ids(far) == list(range(sent["near"]))
    assert near.lost == far.lost == []
    for each in news:
        assert each.count("resumed") >= 1
    near.close()
    assert (near.wait_lost(), far.wait_lost()) == ("", "")


def test_what_has_arrived_is_let_go(lasting_network: Any) -> None:
    near, far = lasting_network.pair()
    near.send(Reply(1, blobs=[Attached([Buffer(bytes(3_000_000))])]))
    far.wait_for_messages(1)
    replay = near.link._replay
    until(near, lambda: replay.can_go_on(1) and not replay.can_go_on(0))


def test_nobody_comes_back_in_time(lasting_network: Any, caplog: pytest.LogCaptureFixture) -> None:
    lasting_network.patience_s = 0.3
    near, far = lasting_network.pair()
    far.do(lasting_network.listener.close)
    with caplog.at_level(logging.WARNING):
        cut(near)
        reason = near.wait_lost()
    assert "tried again for 0.3 s in vain" in reason
    assert far.lost == [], "its owner says how long it is waited for"
    far.close()
    assert far.wait_lost() == ""


def test_a_session_that_was_given_up_is_refused(lasting_network: Any) -> None:
    near, far = lasting_network.pair()
    gave_up: list[str] = []

    def give_up(reason: str) -> None:
        gave_up.append(reason)
        far.link.close()

    far.do(lambda: setattr(far.link, "on_cut", give_up))
    cut(far)
    assert "does not know the session any more" in near.wait_lost()
    assert near.link.refused
    assert gave_up


def test_a_session_that_nobody_began_is_refused(lasting_network: Any) -> None:
    async def main() -> list[Any]:
        link = await transport.connect(lasting_network.address, secret=SECRET)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        link.on_batch = answer.set_result
        link.send([Resume("no such", 7)])
        return await answer

    [close] = lasting_network.near.run(main(), LIMIT_S)
    assert isinstance(close, Close)


@pytest.mark.parametrize("lost", ["the first word", "its answer"])
def test_a_cut_before_the_session_is_known_on_both_sides(lasting_network: Any, lost: str) -> None:
    near, far = lasting_network.near_end(), lasting_network.far_end()
    lasting_network.on_link = far.adopt
    link = lasting_network.connect()

    def cut_at_once() -> None:
        near.adopt(link)
        link.send([Close("a")])
        if lost == "the first word":
            link._connection._transport.abort()
        else:
            link._connection.on_batch = lambda batch: link._connection._transport.abort()

    near.do(cut_at_once)
    assert far.wait_for_messages(1) == [Close("a")]
    far.send(Close("b"))
    assert near.wait_for_messages(1) == [Close("b")]
    near.send(Close("c"))
    assert far.wait_for_messages(2) == [Close("a"), Close("c")]


def test_close_during_a_cut_is_at_once(lasting_network: Any) -> None:
    near, far = lasting_network.pair()
    far.do(lasting_network.listener.close)
    cut(near)
    until(near, lambda: near.link.is_cut)
    near.close()
    assert near.wait_lost() == ""
    far.close()
    assert far.wait_lost() == ""


def gate(end: Any) -> Callable[[], None]:
    """Have a link that dials wait before each attempt; return what lets it go on."""
    opened: list[asyncio.Event] = []

    def hold() -> None:
        dial, event = end.link._dial, asyncio.Event()

        async def held(timeout_s: float) -> Any:
            await event.wait()
            return await dial(timeout_s)

        end.link._dial = held
        opened.append(event)

    end.do(hold)
    return lambda: end.do(opened[0].set)


def test_who_closes_during_a_cut_is_heard_when_the_way_is_free_again(lasting_network: Any) -> None:
    near, far = lasting_network.pair()
    near.send(Reply(1))
    far.wait_for_messages(1)
    let_through = gate(near)
    cut(near)
    until(near, lambda: near.link.is_cut)
    near.do(lambda: (near.link.send([Close("I am off")]), near.link.close()))
    assert near.wait_lost() == ""  # at once: its owner waits for nobody
    assert far.lost == []
    let_through()
    assert far.wait_lost() == ""  # long before its patience is over
    assert [message for batch in far.batches for message in batch][1:] == [Close("I am off")]


def test_last_words_are_not_tried_for_ever(lasting_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "PARTING_S", 0.1)
    near, far = lasting_network.pair()
    far.do(lasting_network.listener.close)
    cut(near)
    until(near, lambda: near.link.is_cut)
    near.do(lambda: (near.link.send([Close("I am off")]), near.link.close()))
    until(near, lambda: not lasting._partings)
    far.close()


def test_the_side_that_breaks_off_means_it(lasting_network: Any) -> None:
    near, far = lasting_network.pair()
    far.do(lambda: far.link.abort("enough"))
    assert far.wait_lost() == "enough"
    assert near.wait_lost() == "the other side broke off"


def test_a_silent_connection_is_replaced(lasting_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = config.seconds
    monkeypatch.setattr(config, "seconds", lambda key: 0.03 if key == "windrow.sign-of-life" else seconds(key))
    near, far = lasting_network.pair()
    news = follow(near)

    def swallow() -> None:  # what arrives is as if it had not, and nothing leaves
        connection: Any = far.link._connection
        connection._on_batch = lambda batch: None
        connection.send = lambda messages: None

    far.do(swallow)
    near.send(Close("a"))
    far.send(Close("b"))
    assert far.wait_for_messages(1) == [Close("a")]
    assert near.wait_for_messages(1) == [Close("b")]
    assert news == ["cut", "resumed"]


def test_signs_of_life_keep_an_idle_link(lasting_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "SILENT_BEATS", 20)
    seconds = config.seconds
    monkeypatch.setattr(config, "seconds", lambda key: 0.01 if key == "windrow.sign-of-life" else seconds(key))
    lasting_network.reception._beat_s = 0.01
    near, far = lasting_network.pair()
    news = follow(near)
    link: Any = near.link
    beats = []
    near.do(lambda: setattr(link, "beat", lambda: (LastingLink.beat(link), beats.append(link._missing))))
    until(near, lambda: len(beats) > 40)
    assert max(beats) < 20
    assert news == far.lost == []


def test_a_large_frame_on_its_way_is_a_sign_of_life(lasting_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = config.seconds
    monkeypatch.setattr(config, "seconds", lambda key: 0.01 if key == "windrow.sign-of-life" else seconds(key))
    lasting_network.reception._beat_s = 60.0  # all that arrives is a part of the frame
    near, far = lasting_network.pair()
    news = follow(near)
    link: Any = near.link
    beats: list[int] = []
    arrives = True

    def beat() -> None:
        LastingLink.beat(link)
        beats.append(link._missing)
        link._connection.received_bytes += arrives

    near.do(lambda: setattr(link, "beat", beat))
    until(near, lambda: len(beats) > 10 * lasting.SILENT_BEATS)
    assert max(beats[lasting.SILENT_BEATS :]) == 0
    assert news == far.lost == []
    arrives = False  # it hangs in the middle
    until(near, lambda: news == ["cut", "resumed"])


def test_a_process_of_this_machine_that_has_ended_is_not_waited_for(lasting_network: Any) -> None:
    source = (
        "import asyncio, sys\nfrom windrow import transport\n"
        "async def main():\n"
        f"    link = await transport.connect({lasting_network.address!r}, secret={SECRET!r}, patience_s=60)\n"
        "    link.on_batch = print\n"
        "    print('up', flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    far = lasting_network.far_end()
    lasting_network.on_link = far.adopt
    program = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    until(far, lambda: hasattr(far, "link") and far.link._process)
    program.kill()  # and not waited for: a zombie has ended too
    assert "without a goodbye" in far.wait_lost() or "reset" in far.lost[0]
    program.wait()
    program.stdout.close()


def test_marks_of_processes() -> None:
    own = system.process_mark(os.getpid())
    if not own:
        pytest.skip("this system does not tell processes from each other")
    boot, namespace, pid, started = own.split()
    assert not system.has_ended(own)
    assert system.has_ended(f"{boot} {namespace} {pid} {int(started) - 1}"), "another had this number before"
    assert not system.has_ended(f"other {namespace} 1 1"), "another machine"
    assert not system.has_ended("")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = system.process_mark(child.pid)
    assert not system.has_ended(mark)
    child.communicate()
    assert system.has_ended(mark)


def test_no_link_is_made_lasting_inside_a_process(network: Any) -> None:
    near, _ = network.pair()
    assert isinstance(near.link, Dialler) == bool(network.patience_s)


def test_a_session_is_resumed_by_its_own_role_alone(lasting_network: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has come to know its name has not come to have its token."""
    near, far = lasting_network.pair()
    news = follow(far)
    submit = token(SECRET, Role.SUBMIT)
    other = lasting_network.near_end()

    async def connect() -> None:
        other.adopt(await transport.connect(lasting_network.address, secret=submit))

    lasting_network.near.run(connect(), LIMIT_S)
    assert other.link.role is Role.SUBMIT
    with caplog.at_level(logging.WARNING):
        other.send(Resume(near.link.id, 0))
        [answer] = other.wait_for_messages(1)
    assert isinstance(answer, Close)
    assert "wants to go on with a session of the role administer, and has submit" in caplog.text
    near.send(Close("still here"))
    assert far.wait_for_messages(1) == [Close("still here")]
    assert news == []
