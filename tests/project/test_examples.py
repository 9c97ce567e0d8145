"""The examples run as they stand, without a terminal."""

import re
import subprocess
import sys
from pathlib import Path


def test_word_count_counts(root: Path) -> None:
    command = [sys.executable, "examples/word_count.py", "30"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Counting names in 30 files" in done.stdout
    assert "59 of 59 tasks" in done.stdout
    assert len(re.findall(r"^ +[\d,]+  [A-Za-z_]\w*$", done.stdout, re.MULTILINE)) == 10
    assert re.search(r"59 tasks in .* s: [\d,]+ tasks a second", done.stdout)


def test_word_count_agrees_with_counting_here(root: Path) -> None:
    command = [sys.executable, "examples/word_count.py", "5"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=50)
    names = re.search(r"([\d,]+) names, ([\d,]+) different", done.stdout)
    assert names

    source = (root / "examples" / "word_count.py").read_text().partition("with Client() as client:")[0]
    scope: dict[str, object] = {"__name__": "word_count"}
    arguments, sys.argv = sys.argv, ["word_count.py", "5"]
    try:
        exec(compile(source, "word_count.py", "exec"), scope)
    finally:
        sys.argv = arguments
    counts = [scope["count_names"](path) for path in scope["files"]]  # type: ignore[operator,attr-defined]
    total = sum(counts[1:], counts[0])
    assert (total.total(), len(total)) == tuple(int(group.replace(",", "")) for group in names.groups())
