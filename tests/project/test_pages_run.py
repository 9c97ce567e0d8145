"""The examples on some pages run as programs, and print what the page says they do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = {
    f"{page}-{number}": example
    for page in ("clusters", "output", "progress")
    for number, example in enumerate(
        re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    )
}
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def like(said: str) -> str:
    """Return a pattern for what is said to be printed: ports and random names are others each time."""
    return re.sub(r"8a41c2f0|:\\?\d{4,5}\b", lambda found: r":\d+" if ":" in found[0] else r"\w{8}", re.escape(said))


def test_these_pages_have_examples() -> None:
    assert {"clusters-0", "output-0", "progress-0"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_prints_what_the_page_says(name: str, tmp_path: Path) -> None:
    example = EXAMPLES[name]
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines, said = done.stdout.splitlines(), SAID.findall(example)
    assert len(lines) == len(said) > 0
    for line, expected in zip(lines, said, strict=True):
        assert re.fullmatch(like(expected), line), f"{line!r} is not {expected!r}"
