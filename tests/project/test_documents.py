"""The documents say what is true: commands exist, links lead somewhere, generated parts are fresh."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/task-life-cycle.md",
    "docs/dashboard.md",
    "docs/explain.md",
    "docs/clusters.md",
    "docs/output.md",
    "docs/transports.md",
    "docs/progress.md",
]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""The environment without what an outer make would tell an inner one."""

MAKE = re.compile(r"(?:`|\$ )make ([a-z]+)")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
SOURCE = re.compile(r"`((?:src/windrow|benchmarks|tools|examples|tests|docs)/[\w/.-]+\.\w+)`")
MODULE = re.compile(r"python -m ([\w.]+)")


def targets(root: Path) -> set[str]:
    """Every target of the Makefile that a user calls."""
    phony = re.search(r"^\.PHONY: (.+)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert phony
    return set(phony[1].split())


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_the_page_exist(page: str, root: Path) -> None:
    named = set(MAKE.findall((root / page).read_text()))
    assert named <= targets(root)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_for_newcomers_name_commands(page: str, root: Path) -> None:
    assert {"demo", "test"} <= set(MAKE.findall((root / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_on_the_page_exist(page: str, root: Path) -> None:
    text = (root / page).read_text()
    local = [link for link, _ in LINK.findall(text) if "://" not in link]
    missing = [link for link in local if not (root / page).parent.joinpath(link).exists()]
    missing += [name for name in SOURCE.findall(text) if not (root / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_anchors_on_the_page_exist(page: str, root: Path) -> None:
    for link, anchor in LINK.findall((root / page).read_text()):
        if anchor and "://" not in link:
            target = (root / page).parent / link
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in slugs


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_modules_to_run_exist(page: str, root: Path) -> None:
    for module in MODULE.findall((root / page).read_text()):
        path = (root if module.startswith("benchmarks") else root / "src") / module.replace(".", "/")
        known = path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        assert known or module == "pytest", f"{page} says python -m {module}"


@pytest.mark.parametrize("target", ["help", "demo", "test", "lint", "format", "seeds", "bench", "docs", "shape"])
def test_makefile_knows_the_target(target: str, root: Path) -> None:
    assert target in targets(root)
    done = subprocess.run(["make", "--dry-run", target], cwd=root, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_names_every_target(root: Path) -> None:
    done = subprocess.run(["make", "--silent", "help"], cwd=root, env=CLEAN, capture_output=True, text=True, check=True)
    assert targets(root) - {"help"} == {line.split()[1] for line in done.stdout.splitlines()}


def test_gate_runs_lint_and_tests(root: Path) -> None:
    gate = root / ".ci" / "run"
    assert os.access(gate, os.X_OK)
    text = gate.read_text()
    assert text.index("make --no-print-directory lint") < text.index("make --no-print-directory --silent test")


def gate_with(root: Path, tmp_path: Path, lint: str, test: str) -> subprocess.CompletedProcess[str]:
    """Run the gate in a tree whose two targets do only this."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((root / ".ci" / "run").read_text())
    (tmp_path / "Makefile").write_text(f"lint:\n\t@{lint}\ntest:\n\t@{test}\n")
    gate = tmp_path / ".ci" / "run"
    return subprocess.run(["bash", str(gate)], env=CLEAN, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    ("lint", "test", "passes"),
    [("true", "echo 1 passed", True), ("false", "echo 1 passed", False), ("true", "echo 1 failed; exit 1", False)],
)
def test_gate_fails_with_either_and_ends_with_the_closing_line(
    lint: str, test: str, passes: bool, root: Path, tmp_path: Path
) -> None:
    done = gate_with(root, tmp_path, lint, test)
    assert (done.returncode == 0) is passes
    assert done.stdout.splitlines()[-1] == test.removeprefix("echo ").removesuffix("; exit 1")


def test_life_cycle_page_is_fresh(root: Path, life_cycle: ModuleType) -> None:
    assert (root / "docs" / "task-life-cycle.md").read_text() == life_cycle.page(), "run: make docs"


def test_message_table_is_fresh(root: Path, message_table: ModuleType) -> None:
    page = (root / "docs" / "architecture.md").read_text()
    assert page == message_table.updated(page), "run: make docs"


def test_message_table_refuses_a_page_without_marks(message_table: ModuleType) -> None:
    with pytest.raises(SystemExit, match="marks"):
        message_table.updated("no table here")


def test_every_state_is_on_the_life_cycle_page(life_cycle: ModuleType) -> None:
    from windrow.scheduler import state

    assert list(life_cycle.meanings()) == list(state.STATES)


def test_shape_measures_what_is_there(tmp_path: Path, shape: ModuleType) -> None:
    (tmp_path / "module.py").write_text(
        "class Thing:\n    def __init__(self, a, b): self.a = a\n    def long(self) -> int:\n"
        "        if self.a and self.b or self.c:\n            return 1\n        return 2\n"
    )
    found = shape.measure(tmp_path)
    assert found.modules == [(6, "module.py")]
    assert found.bodies[0] == (3, "module.py:Thing.long")
    assert found.branches[0] == (4, "module.py:Thing.long")
    assert found.constructors == [(2, "module.py:Thing.__init__")]
    assert found.unannotated == ["module.py:Thing.__init__"]
    assert found.undocumented == ["module.py:Thing", "module.py:Thing.long"]
    assert found.uncharted == ["module.py"]


def test_shape_tool_runs_on_the_tree(root: Path) -> None:
    done = subprocess.run([sys.executable, "tools/shape.py"], cwd=root, capture_output=True, text=True, check=True)
    assert "Largest modules" in done.stdout
