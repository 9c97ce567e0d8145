"""A process remembers its last log records, and nothing else changes for them."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from windrow import logs


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> logs.Memory:
    memory = logs.Memory(3)
    monkeypatch.setattr(logs, "_memory", memory)
    return memory


def record(memory: logs.Memory, name: str, text: str, level: int = logging.WARNING) -> None:
    memory.handle(logging.LogRecord(name, level, "f.py", 1, text, None, None))


def test_the_last_records_of_a_party_newest_first(memory: logs.Memory) -> None:
    record(memory, "windrow.worker", "dropped, as only three are kept")
    record(memory, "windrow.worker", "first")
    record(memory, "windrow.scheduler", "else")
    record(memory, "distributed.worker.memory", "second", logging.ERROR)
    found = logs.recent("worker")
    assert [level for level, _ in found] == ["ERROR", "WARNING"]
    assert [text.rpartition(" - ")[2] for _, text in found] == ["second", "first"]
    assert logs.recent("worker", 1) == found[:1]
    assert len(logs.recent("scheduler")) == 1
    assert logs.recent("nanny") == []


def test_a_record_that_cannot_be_formatted_harms_nobody(memory: logs.Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    memory.handle(logging.LogRecord("windrow.worker", logging.INFO, "f.py", 1, "%d", ("x",), None))
    assert logs.recent("worker") == []


@pytest.mark.parametrize(
    ("setup", "times"),
    [
        ("", 1),
        ("logging.basicConfig()", 1),
        ("logging.getLogger('windrow.worker').addHandler(logging.NullHandler())", 0),
    ],
)
def test_a_warning_still_appears_on_stderr_as_often_as_without(setup: str, times: int) -> None:
    program = (
        f"import logging; from windrow import logs; logs.remember(); logs.remember(); {setup}\n"
        "logging.getLogger('windrow.worker').warning('look here')\n"
        "logging.getLogger('windrow.worker').info('not here')\n"
        "assert [level for level, _ in logs.recent('worker')] == ['WARNING']"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.count("look here") == times
    assert "not here" not in done.stderr
