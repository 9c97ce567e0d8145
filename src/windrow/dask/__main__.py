"""``python -m windrow.dask``: run a program for ``dask.distributed`` on windrow, as ``python`` would run it.

What lives here: the command line. What this file must never know: what the drop-in does.
"""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType

import windrow
from windrow.dask import install

USAGE = """\
usage: python -m windrow.dask script.py [arguments]
       python -m windrow.dask -m module [arguments]
       python -m windrow.dask -c code [arguments]

Runs a program as python does, with `distributed` and `dask.distributed` being windrow, for it and its workers.
"""


def main() -> None:
    """Read the command line, install the drop-in, and be the program."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    if arguments[0] in {"-V", "--version"}:
        print(f"windrow {windrow.__version__}")
        return
    first, rest = arguments[0], arguments[1:]
    if first in {"-m", "-c"} and not rest:
        sys.exit(f"python -m windrow.dask: {first} needs {'a module' if first == '-m' else 'code'}\n{USAGE}")
    if first not in {"-m", "-c"} and first.startswith("-"):
        sys.exit(f"python -m windrow.dask: there is no option {first}; options of python stand before -m\n{USAGE}")
    install()
    if first == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        sys.path[0] = ""
        _run(compile(rest[0], "<string>", "exec"), None)
    else:
        sys.argv[:] = arguments
        _run_file(first)


def _run_file(path: str) -> None:
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        del sys.path[0]
        runpy.run_path(path, run_name="__main__")
        return
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.exit(f"python -m windrow.dask: can't open file {path!r}: {error.strerror}")
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    _run(compile(source, path, "exec"), path)


def _run(code: object, path: str | None) -> None:
    """Run code as the main module, which stays there: what runs at exit may ask for it."""
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = __builtins__
    if path is not None:
        main.__file__ = path
    sys.modules["__main__"] = main
    exec(code, vars(main))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
