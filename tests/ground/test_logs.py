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


def test_names_of_files_that_are_no_text_can_be_told_to_others(memory: logs.Memory) -> None:
    record(memory, "windrow.worker", "no such file: \udcff")
    [(_, text)] = logs.recent("worker")
    assert text.encode().endswith(b"no such file: \\udcff")


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


# ---------------------------------------------------------------- what happens once in a life


def test_what_happens_once_is_remembered_whatever_the_level(memory: logs.Memory) -> None:
    logger = logging.getLogger("windrow.scheduler")
    logs.tell(logger, "one", "%s is up", "it")
    logs.tell(logger, "two", "and so am I")
    record(memory, "windrow.scheduler", "for all")
    found = [(level, text.rpartition(" - ")[2]) for level, text in logs.recent("scheduler", own="one")]
    assert found == [("WARNING", "for all"), ("INFO", "it is up")]
    assert len(logs.recent("scheduler")) == 3


def test_what_happens_once_is_logged_where_the_program_wants_it(
    memory: logs.Memory, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("windrow.scheduler")
    logs.tell(logger, "one", "not wanted")
    with caplog.at_level(logging.INFO, "windrow"):
        logs.tell(logger, "one", "wanted")
    assert caplog.messages == ["wanted"]


# ---------------------------------------------------------------- what reaches the terminal


@pytest.mark.parametrize(
    ("level", "number"),
    [(None, None), (False, None), (0, None), (True, 30), (20, 20), ("error", 40), ("WARNING", 30)],
)
def test_levels(level: object, number: int | None) -> None:
    assert logs.checked_level(level) == number


@pytest.mark.parametrize("level", ["loud", 1.5, [30]])
def test_what_is_no_level(level: object) -> None:
    with pytest.raises(ValueError, match="is no level of logs; write it as"):
        logs.checked_level(level)


PROGRAM = """
import logging
from windrow import logs
logs.remember()
{setup}
logger = logging.getLogger("windrow.worker")
undo = logs.silence({level})
logger.warning("warned"); logger.error("erred"); logs.tell(logger, "", "told")
undo()
logger.warning("after")
"""


@pytest.mark.parametrize(
    ("setup", "level", "shown"),
    [
        ("", 20, ["warned", "erred", "told", "after"]),
        ("", 30, ["warned", "erred", "after"]),
        ("", 40, ["erred", "after"]),
        ("logging.getLogger('windrow').addHandler(logging.StreamHandler())", 40, ["erred", "after"]),
        ("logging.basicConfig(format='%(message)s')", 40, ["warned", "erred", "after"]),
    ],
    ids=["info", "warning", "error", "own handler", "root handler"],
)
def test_the_terminal_shows_no_more_than_is_wanted(setup: str, level: int, shown: list[str]) -> None:
    program = PROGRAM.format(setup=setup, level=level)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == shown


def test_the_last_wish_that_stands_decides_and_files_are_left_alone(tmp_path: object) -> None:
    logger = logging.getLogger("distributed")
    terminal, file = logging.StreamHandler(), logging.FileHandler(f"{tmp_path}/log")
    terminal.setLevel(5)
    for handler in (terminal, file):
        logger.addHandler(handler)
    try:
        first, second = logs.silence(40), logs.silence(20)
        assert terminal.level == 20
        first()
        assert terminal.level == 20
        third = logs.silence(50)
        assert terminal.level == 50
        third()
        third()
        assert terminal.level == 20
        second()
        assert terminal.level == 5
        assert file.level == logging.NOTSET
    finally:
        for handler in (terminal, file):
            logger.removeHandler(handler)
        file.close()
