"""Versions of what processes have, and where they differ."""

from __future__ import annotations

import platform
import sys
from types import ModuleType

import pytest

import windrow
from windrow.versions import differences, versions


def test_versions_are_those_of_this_process() -> None:
    found = versions(["pip", "no-such-package"])
    assert found["host"]["python"] == platform.python_version()
    packages = found["packages"]
    assert packages["python"] == platform.python_version()
    assert packages["windrow"] == windrow.__version__
    assert packages["pip"]
    assert packages["no-such-package"] is None


def test_what_is_imported_counts_and_not_what_was_installed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pip")
    module.__version__ = "0.0.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pip", module)
    assert versions(["pip"])["packages"]["pip"] == "0.0.1"


def test_only_what_differs_is_told() -> None:
    old = {"packages": {"dask": "1", "numpy": "2"}}
    new = {"packages": {"dask": "2", "numpy": "2", "extra": "1"}}
    assert differences({"client": old, "w": new}) == {
        "dask": {"client": "1", "w": "2"},
        "extra": {"client": None, "w": "1"},
    }
    assert differences({"client": old, "w": old}) == {}
