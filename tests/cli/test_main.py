"""The command `windrow`, before any of its sub-commands."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import windrow
from windrow.cli.main import COMMANDS, main


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from windrow.cli.main import COMMANDS, main\n"
        "text = CliRunner().invoke(main, ['--help']).output\n"
        "assert all(f'{name} ' in text for name in COMMANDS), text\n"
        "found = [home.module for home in COMMANDS.values() if home.module in sys.modules]\n"
        "assert not found, found\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    command = getattr(importlib.import_module(COMMANDS[name].module), name)
    assert isinstance(command, click.Command)
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["no-such-command"])
    assert result.exit_code == 2
    assert "no-such-command" in result.output


@pytest.mark.parametrize("arguments", [[], ["scheduler"], ["worker"]])
def test_version(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--version"])
    assert result.exit_code == 0
    assert windrow.__version__ in result.output
