"""How the tests of the drop-in run programs, with and without an installed ``distributed``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIMIT_S = 60.0


def python(*arguments: str, path: Path | None = None, code: int = 0, **env: str) -> str:
    """Run Python, and return what it has written to stdout and stderr."""
    if path is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def dropped_in(*arguments: str, path: Path | None = None, code: int = 0, **env: str) -> str:
    """Run what follows ``python -m windrow.dask``."""
    return python("-m", "windrow.dask", *arguments, path=path, code=code, **env)


def pretend(path: Path) -> Path:
    """Write a package that looks like an installed ``distributed``; return what to put on the path."""
    package = path / "site" / "distributed"
    package.mkdir(parents=True)
    source = "__version__ = '2020.1.0'\n__all__ = ['Client']\nclass Client: theirs = True\n"
    (package / "__init__.py").write_text(source)
    (package / "utils.py").write_text("theirs = True\n")
    return package.parent
