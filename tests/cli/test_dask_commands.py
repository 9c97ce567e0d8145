"""windrow's commands beneath Dask's own command."""

from __future__ import annotations

import importlib.metadata
import tomllib
import warnings
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import click
import dask.cli
import pytest
from click.testing import CliRunner

from windrow.cli import dask_commands

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
OURS = [
    EntryPoint(name, value, "dask_cli")
    for name, value in tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["dask_cli"].items()
]
THEIRS = EntryPoint("scheduler", "their.module:main", "dask_cli")


def group(monkeypatch: pytest.MonkeyPatch, installed: list[EntryPoint]) -> click.Group:
    """Return what ``dask`` would be where these are installed, and ours are loaded."""

    def entry_points(**wanted: str) -> EntryPoints:
        return EntryPoints(installed).select(**wanted)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    found = click.Group("dask")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in OURS:
            dask.cli._register_command_ep(found, each)
    return found


def test_dask_has_our_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    found = group(monkeypatch, OURS)
    assert sorted(found.commands) == ["scheduler", "spec", "ssh", "worker"]
    for name in found.commands:
        result: Any = CliRunner().invoke(found, [name, "--help"])
        assert result.exit_code == 0
        assert f"Usage: dask {name}" in result.output
        assert "Examples:" in result.output


def test_what_dask_distributed_has_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = group(monkeypatch, [*OURS, THEIRS])
    assert sorted(found.commands) == ["spec", "ssh", "windrow-scheduler", "worker"]
    assert CliRunner().invoke(found, ["windrow-scheduler", "--help"]).exit_code == 0


def test_a_command_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no command 'schedular'"):
        dask_commands.__getattr__("schedular")
