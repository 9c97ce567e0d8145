"""Imports at a pace that nobody feels: they rest, they are slow where others work, and are not where somebody waits."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from windrow.observe import ahead, spare
from windrow.observe.ahead import Pace


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three modules, of which each takes some milliseconds."""
    monkeypatch.setattr(ahead, "STEP_S", 0.001)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [f"slow_to_import_{number}" for number in range(3)]
    work = "import time\nend = time.thread_time() + 0.003\nwhile time.thread_time() < end:\n    pass\n"
    for name in names:
        (tmp_path / f"{name}.py").write_text(work)
        monkeypatch.delitem(sys.modules, name, raising=False)
    return names


def rested_s(names: list[str], monkeypatch: pytest.MonkeyPatch, idle_processors: float) -> float:
    """For how long the imports rest on a machine of which so much is idle."""
    monkeypatch.setattr(spare, "LOOK_S", 0.0)
    monkeypatch.setattr(spare, "_idle_s", lambda: idle_processors * time.monotonic())
    with Pace() as pace:
        for name in names:
            importlib.import_module(name)
    assert pace not in sys.meta_path
    return pace.rested_s


def test_imports_rest_as_long_as_they_work_where_a_processor_is_idle(
    modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0.006 <= rested_s(modules, monkeypatch, idle_processors=1.0) < 0.15


def test_they_take_two_percent_of_a_processor_where_none_is(
    modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rested_s(modules, monkeypatch, idle_processors=0.2) >= 2 * 49 * 0.003


def test_other_threads_do_not_rest(modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BUSY_RESTS", 1e6)
    with Pace() as pace:
        thread = threading.Thread(target=lambda: [importlib.import_module(name) for name in modules])
        thread.start()
        thread.join(20.0)
    assert not thread.is_alive()
    assert pace.rested_s == 0.0


def test_whoever_comes_ends_all_rest(modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BUSY_RESTS", 1e6)
    pace = Pace()
    threading.Timer(0.05, pace.hurry).start()
    with pace:
        for name in modules:
            importlib.import_module(name)
    assert pace.is_hurried
    assert pace.rested_s < 20.0


def test_whoever_waits_at_the_door_does_too(modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BUSY_RESTS", 1e6)
    with socket.create_server(("127.0.0.1", 0)) as door, socket.create_connection(door.getsockname()):
        with Pace([door.fileno()]) as pace:
            for name in modules:
                importlib.import_module(name)
        assert pace.is_hurried
        assert pace.rested_s < 20.0
