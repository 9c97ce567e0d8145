"""Programs as users write them: no main guard, however the interpreter is started; what they print, and no more."""

from __future__ import annotations

import code
from pathlib import Path

import pytest
from process_help import run_python

EXAMPLE = """\
from windrow import Client, LocalCluster, as_completed, wait

client = Client(n_workers=2, threads_per_worker=1)
squares = client.map(lambda x: x ** 2, range(1000))
total = client.submit(sum, squares)
print(total.result())
"""

MAIN = """\
from windrow import Client

class Point:
    def __init__(self, x):
        self.x = x

class Lost(Exception):
    pass

offset = 5

def shift(point):
    return Point(point.x + offset)

def lose(point):
    raise Lost(point.x)

client = Client(n_workers=1, threads_per_worker=1)
point = client.submit(lambda a, b: Point(a.x + b.x), client.submit(shift, Point(1)), Point(10)).result()
print(type(point) is Point, point.x)
error = client.submit(lose, point).exception()
print(type(error) is Lost, error)
"""


def write(directory: Path, source: str, name: str = "script.py") -> str:
    path = directory / name
    path.write_text(source)
    return str(path)


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    assert run_python(write(tmp_path, EXAMPLE)) == ("332833500\n", "")


def test_a_program_on_the_command_line() -> None:
    assert run_python("-c", EXAMPLE) == ("332833500\n", "")


def test_a_program_on_standard_input() -> None:
    assert run_python("-", text=EXAMPLE) == ("332833500\n", "")


def test_the_interactive_interpreter() -> None:
    out, err = run_python("-iq", text=EXAMPLE)
    assert out == "332833500\n"
    assert set(err.split()) == {">>>"}


def test_a_console_inside_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    console = code.InteractiveInterpreter({"__name__": "__console__"})
    for line in EXAMPLE.splitlines():
        console.runsource(line)
    console.runsource("client.close()")
    assert capsys.readouterr() == ("332833500\n", "")


def test_classes_functions_and_globals_of_the_script_travel(tmp_path: Path) -> None:
    assert run_python(write(tmp_path, MAIN)) == ("True 16\nTrue 16\n", "")


def test_modules_beside_the_script_are_found_by_workers(tmp_path: Path) -> None:
    script = tmp_path / "script"
    elsewhere = tmp_path / "elsewhere"
    script.mkdir()
    elsewhere.mkdir()
    write(script, "def where(): return __file__", "beside.py")
    write(elsewhere, "raise ImportError('a module of the current directory stands before the library')", "types.py")
    path = write(
        script,
        "import beside\nfrom windrow import Client\n"
        "print(Client(n_workers=1, threads_per_worker=1).submit(beside.where).result())",
    )
    assert run_python(path, cwd=elsewhere) == (f"{script / 'beside.py'}\n", "")


def test_this_windrow_is_found_by_workers_however_the_program_found_it(tmp_path: Path) -> None:
    import windrow

    home = Path(windrow.__file__).parents[1]
    (tmp_path / "windrow").symlink_to(home / "windrow")
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport windrow\n"
        "def where():\n    import windrow; return windrow.__file__\n"
        "print(windrow.Client(n_workers=1, threads_per_worker=1).submit(where).result() == windrow.__file__)"
    )
    assert run_python("-c", source) == ("True\n", "")


def test_what_tasks_print_is_seen() -> None:
    source = (
        "from windrow import Client\nimport os, sys\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "def talk():\n    print('out'); print('err', file=sys.stderr)\n"
        "client.submit(talk).result()\nclient.close()"
    )
    assert run_python("-c", source) == ("out\n", "err\n")


def test_tasks_have_an_empty_standard_input() -> None:
    source = (
        "from windrow import Client\nimport subprocess, sys\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "print(repr(client.submit(lambda: sys.stdin.read() + subprocess.check_output('cat', text=True)).result()))"
    )
    assert run_python("-c", source, text="") == ("''\n", "")


@pytest.mark.parametrize(
    "ending", ["client.close()", "client.shutdown()", "del client", "", "client.close(); client.close()"]
)
def test_every_end_is_a_quiet_one(ending: str) -> None:
    source = (
        "from windrow import Client\nimport time\n"
        "client = Client(n_workers=1, threads_per_worker=1)\n"
        "future = client.submit(time.sleep, 100)\nmany = client.map(abs, range(100))\n"
    )
    assert run_python("-c", source + ending) == ("", "")


def test_threads_instead_of_processes_end_quietly() -> None:
    source = (
        "from windrow import Client\nimport time\n"
        "client = Client(processes=False)\n"
        "print(client.submit(sum, client.map(lambda x: x ** 2, range(1000))).result())\n"
        "future = client.submit(time.sleep, 100)"
    )
    assert run_python("-c", source) == ("332833500\n", "")
