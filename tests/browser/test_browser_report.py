"""A browser draws all figures of a report, from the file alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from windrow import sampling
from windrow.drawing import report
from windrow.wire.activity import COMPUTE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_draws_all_figures_of_a_report(tmp_path: Path) -> None:
    tree = sampling.new_tree()
    sampling.add(tree, [("f", "a.py", 1)])
    columns = ["keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes"]
    rows = dict(zip(columns, ([each] for each in ("</script>", "f", "int", 0, COMPUTE, 7, 1e9, 0.5, 28)), strict=True))
    page = report.render(
        report.Report(
            when="now",
            seconds=1.0,
            code="x",
            rows={**rows, "addresses": ["tcp://a"]},
            profiles={"Worker Profile (compute)": sampling.described(tree)},
            series={"Memory": ("bytes", {"process": ([1e9, 1e9 + 1], [1.0, 2.0])})},
            workers=[],
            facts=[],
            logs=[],
        )
    )
    (tmp_path / "report.html").write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    shown = subprocess.run(
        [str(CHROMIUM), *options, "--virtual-time-budget=30000", "--dump-dom", f"file://{tmp_path}/report.html"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    drawn = re.findall(r"<div id=.figure-(\d).><div[^>]*class=.bk-Figure", shown)
    assert sorted(drawn) == ["0", "1", "2"]
