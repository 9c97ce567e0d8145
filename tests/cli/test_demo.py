"""``windrow demo``."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner

from windrow.cli.main import main


def test_demo() -> None:
    result: Any = CliRunner().invoke(main, ["demo", "--tasks", "100"])
    assert result.exit_code == 0, result.output
    assert "A scheduler and 2 workers" in result.output
    assert "Dashboard: http://127.0.0.1:" in result.output
    assert "100 tasks, gathered" in result.output
    assert "all done: their sum is 328,350" in result.output
