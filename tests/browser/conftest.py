"""These tests open pages in a browser, which is no part of Python: they run where they are asked for."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--browser``, ``--screenshots`` and ``--tasks``."""
    parser.addoption("--browser", action="store_true", help="open the dashboard's pages in a browser")
    parser.addoption("--screenshots", metavar="FOLDER", help="write pictures of the main pages, with --browser")
    parser.addoption("--tasks", default=100_000, type=int, help="how many tasks a crowded cluster has")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this directory out of the suite."""
    return None if config.getoption("--browser", False) else True
