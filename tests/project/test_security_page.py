"""The page on security names tests that are there, and settings that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from windrow import config

TESTS = re.compile(r"`(test_\w+)`")
SETTINGS = re.compile(r"`((?:windrow|distributed)\.[\w.-]+)")
FUNCTION = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "security.md").read_text()


@pytest.fixture(scope="module")
def tests(root: Path) -> set[str]:
    """Every test function that there is."""
    return {name for path in (root / "tests").rglob("test_*.py") for name in FUNCTION.findall(path.read_text())}


def threats(page: str) -> list[str]:
    rows = page.partition("## Who is kept out")[2].partition("\n## ")[0].splitlines()
    return [row for row in rows if row.startswith("| ")][1:]


def test_every_threat_names_a_test(page: str) -> None:
    found = threats(page)
    assert len(found) > 20
    assert [row for row in found if not TESTS.search(row)] == []


def test_every_test_that_is_named_is_there(page: str, tests: set[str]) -> None:
    named = set(TESTS.findall(page))
    assert len(named) > 30
    assert named - tests == set()


def test_settings_that_are_named_are_there(page: str) -> None:
    known = set(config.DEFAULTS) | {"windrow.errors.NotAllowed"}
    named = {name.rstrip(".") for name in SETTINGS.findall(page)}
    assert len(named) > 3
    assert {name for name in named if not any(each.startswith(name) for each in known)} == set()


@pytest.mark.parametrize("module", ["src/windrow/wire/permissions.py"])
def test_the_page_leads_to_the_table(page: str, root: Path, module: str) -> None:
    assert module in page
    assert (root / module).is_file()
