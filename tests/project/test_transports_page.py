"""docs/transports.md says what is true: its example is the one under test, its settings and schemes exist."""

from __future__ import annotations

import re
from pathlib import Path

from windrow import config, schemes


def test_the_example_is_the_one_that_passes_the_suite(root: Path) -> None:
    page = (root / "docs/transports.md").read_text()
    example = (root / "examples/path_transport.py").read_text()
    [shown] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert shown == example[example.index("HAS_PORTS") :]
    assert f'[project.entry-points."{schemes.GROUP}"]' in page
    assert f'[project.entry-points."{schemes.GROUP}"]' in example


def test_settings_and_schemes_exist(root: Path) -> None:
    page = (root / "docs/transports.md").read_text()
    named = set(re.findall(r"`(windrow\.[a-z]+-[a-z-]+)", page))
    assert named >= {"windrow.local-sockets", "windrow.backlog-limit", "windrow.stall-timeout"}
    assert named <= set(config.DEFAULTS)
    assert set(re.findall(r"^\| `(\w+)://", page, re.MULTILINE)) == set(schemes._OWN)
