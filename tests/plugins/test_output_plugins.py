"""What workers log and print reaches clients; and workers that die at random."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from typing import Any

import pytest
from plugin_help import until

from windrow import Client, LocalCluster
from windrow.plugins import ForwardLoggingPlugin, ForwardOutput, KillWorker
from windrow.primitives import topics


def log_there(level: int, text: str, *args: object) -> None:
    logging.getLogger("forwarded.here").log(level, text, *args)


def log_error() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("forwarded").exception("oh no")


def test_log_records_are_sent_as_they_were(process_client: Client) -> None:
    client = process_client
    client.register_plugin(ForwardLoggingPlugin("forwarded", logging.WARNING, "logs"), name="logs")
    client.submit(log_there, logging.WARNING, "%s bottles", 3).result()
    client.submit(log_there, logging.INFO, "too low").result()
    client.submit(log_error).result()
    until(lambda: len(client.get_events("logs")) == 2)
    first, second = (logging.makeLogRecord(event) for _, event in client.get_events("logs"))
    assert (first.name, first.levelno, first.getMessage()) == ("forwarded.here", logging.WARNING, "3 bottles")
    assert first.funcName == "log_there"
    assert "ZeroDivisionError" in str(second.exc_text)
    client.unregister_worker_plugin("logs")
    client.submit(log_there, logging.ERROR, "nobody hears it").result()
    assert list(client.run(lambda: logging.getLogger("forwarded").handlers).values()) == [[]]


def test_a_plugin_that_listens_travels_without_its_ear() -> None:
    plugin = ForwardLoggingPlugin("x", 10, "t")
    plugin.setup(None)
    try:
        assert pickle.loads(pickle.dumps(plugin)).handler is None
    finally:
        plugin.teardown(None)


def test_lines_are_sent_to_clients(process_client: Client) -> None:
    client = process_client
    client.register_plugin(ForwardOutput())
    client.submit(say, "hello ", "out", "to you\nand more").result()
    client.submit(say, "", "err", "oops\n").result()
    until(lambda: len(client.get_events("print")) == 2)
    events = [event for _, event in client.get_events("print")]
    assert [(event["args"], event["file"], event["end"]) for event in events] == [
        (["hello to you"], 1, "\n"),
        (["oops"], 2, "\n"),
    ]
    client.unregister_worker_plugin("forward-output")
    assert list(client.run(lambda: type(sys.stdout).__module__).values()) == ["windrow.worker.output"]


def say(start: str, where: str, text: str) -> None:
    stream = sys.stdout if where == "out" else sys.stderr
    stream.writelines([start])
    stream.write(text)
    stream.flush()


@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_a_killed_worker_is_followed_by_another(mode: Any, processes: LocalCluster) -> None:
    with Client(processes) as client:
        [pid] = client.run(os.getpid).values()
        client.register_plugin(KillWorker(delay=0.01, mode=mode), name="chaos")
        until(lambda: processes.workers[0].pid != pid, "its nanny has started another")
        client.unregister_worker_plugin("chaos")


def test_a_mode_that_is_none_errs_at_once() -> None:
    with pytest.raises(ValueError, match="mode must be"):
        KillWorker(mode="poison")  # type: ignore[arg-type]
    assert KillWorker("2 minutes").delay == 120.0


def test_a_worker_in_this_process_has_nothing_to_forward() -> None:
    before = sys.stdout
    with Client(n_workers=1, processes=False) as client:
        client.register_plugin(ForwardOutput())
        assert sys.stdout is before, "what it would forward, clients print; and so on"


class Listening:
    """A worker, as far as a plugin of this kind knows it."""

    address = "tcp://w"

    def __init__(self, echoes: bool) -> None:
        self.echoes = echoes
        self.events: list[str] = []
        self.loop = self

    def call_soon_threadsafe(self, log_event: Any, topic: str, event: Any) -> None:
        log_event(topic, event)

    def log_event(self, topic: str, event: Any) -> None:
        self.events.append(event["args"][0])


@pytest.mark.parametrize("echoes", [True, False])
def test_lines_appear_here_only_if_no_client_has_this_terminal(
    echoes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, worker = ForwardOutput(), Listening(echoes)
    plugin.setup(worker)
    try:
        print("hello")
        topics.telling.now = True
        print("told already")
    finally:
        topics.telling.now = False
        plugin.teardown(worker)
    assert worker.events == ["hello"]
    assert capsys.readouterr().out == ("hello\ntold already\n" if echoes else "")
