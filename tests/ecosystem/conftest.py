"""These tests need libraries of the ``ecosystem`` extra, and minutes: they run where they are asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "browser"))  # how a browser is run is known there


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--ecosystem``."""
    parser.addoption("--ecosystem", action="store_true", help="run other libraries' quickstarts")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this directory out of the suite."""
    return None if config.getoption("--ecosystem", False) else True
