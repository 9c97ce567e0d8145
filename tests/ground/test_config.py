"""The user's configuration is found wherever dask finds it, and dask is left alone while there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask.config
import pytest

from windrow import config

SCRIPT = "import sys; from windrow import config; print(config.get({key!r}), 'dask' in sys.modules)"


def in_fresh_process(tmp_path: Path, key: str = "windrow.inline-limit", **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    environment |= {"HOME": str(tmp_path), **variables}
    command = [sys.executable, "-c", SCRIPT.format(key=key)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.rsplit(" ", 1)


def test_dask_is_not_imported_while_nothing_is_configured(tmp_path: Path) -> None:
    directory = tmp_path / ".config" / "dask"
    directory.mkdir(parents=True)
    (directory / "dask.yaml").write_text("# temporary-directory: null\n\n  # x: 1\n")  # as dask itself leaves it
    assert in_fresh_process(tmp_path) == ["16 KiB", "False\n"]


def test_environment(tmp_path: Path) -> None:
    assert in_fresh_process(tmp_path, DASK_WINDROW__INLINE_LIMIT="7 KiB") == ["7 KiB", "True\n"]


def test_file(tmp_path: Path) -> None:
    directory = tmp_path / ".config" / "dask"
    directory.mkdir(parents=True)
    (directory / "mine.yaml").write_text("windrow:\n  inline-limit: 8 KiB\n")
    assert in_fresh_process(tmp_path) == ["8 KiB", "True\n"]


def test_directory_by_variable(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("windrow:\n  inline-limit: 9 KiB\n")
    assert in_fresh_process(tmp_path, DASK_CONFIG=str(tmp_path)) == ["9 KiB", "True\n"]


def test_what_the_program_sets_counts_at_once() -> None:
    with dask.config.set({"windrow.inline-limit": "1 KiB"}):
        assert config.get("windrow.inline-limit") == "1 KiB"
        assert config.size_bytes("windrow.inline-limit") == 1024
    assert config.size_bytes("windrow.inline-limit") == 16384


def test_a_key_outside_the_table_needs_a_default() -> None:
    assert config.get("windrow.nonsense", 3) == 3
    with pytest.raises(KeyError):
        config.get("windrow.nonsense")


def test_a_given_default_goes_before_the_tables() -> None:
    assert config.get("windrow.inline-limit", 5) == 5


@pytest.mark.parametrize("key", config.DEFAULTS)
def test_every_setting_has_a_meaning(key: str) -> None:
    assert config.DEFAULTS[key].meaning
    assert config.get(key) == config.DEFAULTS[key].default


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10s", 10),
        ("500ms", 0.5),
        ("5 minutes", 300),
        ("1.5h", 5400),
        (3, 3),
        ("7", 7),
        ("1e-3s", 1e-3),
        ("2 d", 172800),
    ],
)
def test_times(text: float | str, value: float) -> None:
    assert config.parse_timedelta(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("100 MB", 10**8), ("4GiB", 2**32), ("1kiB", 1024), ("5e3", 5000), (10, 10), ("1.5 kB", 1500), ("MiB", 2**20)],
)
def test_sizes(text: float | str, value: int) -> None:
    assert config.parse_bytes(text) == value


@pytest.mark.parametrize("text", ["ten seconds", "5 parsecs", "1.2.3s", "--5s"])
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no time; write it as in 10s"):
        config.parse_timedelta(text)


@pytest.mark.parametrize("value", [None, True, [1]])
def test_times_and_sizes_of_wrong_types(value: object) -> None:
    with pytest.raises(TypeError, match="a size is a number or a str"):
        config.parse_bytes(value)  # type: ignore[arg-type]


def test_a_setting_of_a_wrong_type_is_named() -> None:
    with dask.config.set({"windrow.handshake-timeout": ["x"]}):
        with pytest.raises(TypeError, match=r"windrow\.handshake-timeout"):
            config.seconds("windrow.handshake-timeout")
    with dask.config.set({"windrow.frame-limit": None}), pytest.raises(TypeError, match=r"windrow\.frame-limit"):
        config.size_bytes("windrow.frame-limit")
