"""The tree that these tests look at."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name: str) -> ModuleType:
    """Import a script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(f"windrow_tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shape() -> ModuleType:
    return load_tool("shape")


@pytest.fixture(scope="session")
def api_coverage() -> ModuleType:
    return load_tool("api_coverage")


@pytest.fixture(scope="session")
def life_cycle() -> ModuleType:
    return load_tool("life_cycle")


@pytest.fixture(scope="session")
def message_table() -> ModuleType:
    return load_tool("message_table")
