"""The cores are deaf and blind: no input or output, clock, randomness or threads."""

import ast
import configparser
from pathlib import Path
from types import ModuleType

import pytest

CORES = [
    "scheduler/state.py",
    "scheduler/transitions.py",
    "scheduler/placement.py",
    "scheduler/balance.py",
    "scheduler/core.py",
    "scheduler/invariants.py",
    "worker/state.py",
    "worker/core.py",
    "worker/store.py",
]


@pytest.mark.parametrize("place", CORES)
def test_core_module_is_there_and_is_looked_at(place: str, root: Path, shape: ModuleType) -> None:
    assert (root / "src" / "windrow" / place).is_file()
    assert place in shape.CORES


def test_cores_are_deaf_and_blind(root: Path, shape: ModuleType) -> None:
    package = root / "src" / "windrow"
    found = {place: shape.impurities(ast.parse((package / place).read_text())) for place in shape.CORES}
    assert {place: why for place, why in found.items() if why} == {}, "move these to the shell"


def test_every_module_that_a_core_imports_is_a_core_or_below(root: Path, shape: ModuleType) -> None:
    package = root / "src" / "windrow"
    below = (
        "windrow.wire",
        "windrow.errors",
        "windrow.runqueue",
        "windrow.keys",
        "windrow.account",
        "windrow.causes",
        "windrow.explanation",
        "windrow.primitives",
    )
    cores = {"windrow." + place.removesuffix(".py").replace("/", ".") for place in shape.CORES}
    for place in shape.CORES:
        for node in ast.walk(ast.parse((package / place).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("windrow"):
                named = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                assert named & cores or str(node.module).startswith(below) or node.module == "windrow", place


def test_services_are_deaf_and_blind_too(root: Path, shape: ModuleType) -> None:
    """Both sides of a primitive stand in one file: the scheduler's may not use what the other one imports."""
    seen = 0
    for path in (root / "src" / "windrow" / "primitives").glob("*.py"):
        tree = ast.parse(path.read_text())
        impure = {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom) and shape.impurities(ast.Module([node], []))
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Service" for base in node.bases):
                seen += 1
                used = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} & impure
                assert not used, f"{path.name}: {node.name} uses {used}"
    assert seen >= 8


@pytest.mark.parametrize("place", ["worker/state.py", "scheduler/core.py"])
def test_import_contract_names_the_cores(place: str, root: Path) -> None:
    contract = configparser.ConfigParser()
    contract.read(root / ".importlinter")
    listed = contract["importlinter:contract:pure-cores"]["source_modules"].split()
    assert "windrow." + place.removesuffix(".py").replace("/", ".") in listed


@pytest.mark.parametrize(
    "text",
    ["import time", "from os import path", "import os.path", "async def f(): pass", "def f():\n    import random"],
)
def test_an_impure_module_is_found_out(text: str, shape: ModuleType) -> None:
    assert shape.impurities(ast.parse(text))


def test_a_pure_module_passes(shape: ModuleType) -> None:
    assert shape.impurities(ast.parse("from collections import deque\nfrom windrow.wire.messages import Run")) == []
