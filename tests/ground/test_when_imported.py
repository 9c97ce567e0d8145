"""Something to do when a module is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(program: str, path: Path) -> str:
    """Run a program that can import the modules in a directory."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(path)!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HOOK = "from windrow.when_imported import when_imported\n"


def test_what_is_there_already_calls_at_once(tmp_path: Path) -> None:
    assert run(HOOK + "when_imported('sys', lambda module: print(module.__name__))", tmp_path) == "sys\n"


def test_a_later_import_calls_once_and_the_module_is_whole(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("x = 1\nprint('executed')\ny = 2\n")
    program = HOOK + (
        "when_imported('late', lambda module: print('called', module.x, module.y))\n"
        "when_imported('late', lambda module: print('and again'))\n"
        "print('before')\nimport late\nimport late, importlib\nimportlib.reload(late)\n"
        "print(type(late.__loader__).__name__, type(late.__spec__.loader).__name__)"
    )
    said = run(program, tmp_path).split("\n")
    assert said[:5] == ["before", "executed", "called 1 2", "and again", "executed"]
    assert said[5] == "SourceFileLoader SourceFileLoader"


def test_a_module_within_a_package(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("from pack import part\nready = True\n")
    (tmp_path / "pack" / "part.py").write_text("z = 3\n")
    program = (
        HOOK + "when_imported('pack.part', lambda module: print('called', module.z))\nimport pack\nprint(pack.ready)"
    )
    assert run(program, tmp_path) == "called 3\nTrue\n"


def test_a_module_that_is_not_there_is_missed_as_ever(tmp_path: Path) -> None:
    program = HOOK + (
        "when_imported('nowhere', print)\n"
        "try:\n    import nowhere\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    assert run(program, tmp_path) == "No module named 'nowhere'\n"


def test_a_module_that_fails_calls_nobody_and_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\nif not os.environ.get('MENDED'): raise RuntimeError('no')\n")
    program = HOOK + (
        "when_imported('broken', lambda module: print('called'))\nimport os\n"
        "try:\n    import broken\nexcept RuntimeError as error:\n    print(error)\n"
        "os.environ['MENDED'] = '1'\nimport broken"
    )
    assert run(program, tmp_path) == "no\ncalled\n"


def test_resources_of_a_hooked_module_are_found(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").write_text("")
    (tmp_path / "kit" / "data.txt").write_text("content")
    program = HOOK + (
        "when_imported('kit', lambda module: None)\nimport kit, importlib.resources\n"
        "print(importlib.resources.files('kit').joinpath('data.txt').read_text())"
    )
    assert run(program, tmp_path) == "content\n"
