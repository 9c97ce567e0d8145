"""Values on disk: they come back as they were, take no more room than they may, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from windrow.errors import PickleError
from windrow.wire import payload
from windrow.worker import compression
from windrow.worker.spill import Disk, MaxSpillExceeded, is_full
from windrow.worker.store import LostValueError, Packed

MB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(lambda: str(tmp_path))


def files(tmp_path: Path) -> list[str]:
    directory = tmp_path / "spilled"
    return os.listdir(directory) if directory.exists() else []


@pytest.mark.parametrize("codec", [None, "zlib", "lz4", "zstd"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        {"small": [1, 2, 3]},
        "x" * 200_000,
        np.arange(100_000).reshape(100, 1000),
        np.asfortranarray(np.arange(100_000).reshape(100, 1000)),
        np.random.default_rng(1).random(2 * MB),
        [np.zeros(MB), np.ones(3), {"deep": np.arange(MB)}],
        bytearray(MB),
    ],
    ids=["none", "small", "text", "array", "fortran", "random", "several", "bytearray"],
)
def test_values_come_back(value: Any, codec: str | None, tmp_path: Path) -> None:
    if codec in ("lz4", "zstd"):
        pytest.importorskip({"lz4": "lz4.frame", "zstd": "zstandard"}[codec])
    disk = Disk(lambda: str(tmp_path), codec=compression.codec(codec))
    spilled = disk.write(value, 100)
    for loaded in (spilled.load(), payload.loads(spilled.pack())):
        np.testing.assert_equal(loaded, value)


def test_what_is_read_back_can_be_written_to_and_is_nobody_elses(disk: Disk) -> None:
    spilled = disk.write(np.zeros(MB), 8 * MB)
    first: Any = spilled.load()
    first[:] = 7
    second: Any = spilled.load()
    assert second.sum() == 0


def test_values_that_came_packed_are_written_as_they_are(disk: Disk) -> None:
    class Unloadable:
        def __reduce__(self) -> Any:
            return _refuse, ()

    spilled = disk.write(Packed(payload.dumps([Unloadable(), np.ones(MB)])), 8 * MB)
    assert payload.nbytes(spilled.pack()) > 8 * MB
    with pytest.raises(RuntimeError, match="nobody asked"):
        spilled.load()


def _refuse() -> None:
    raise RuntimeError("nobody asked for this")


@pytest.mark.parametrize("codec", [None, "zlib"])
def test_buffers_are_written_without_a_copy(codec: str | None, tmp_path: Path) -> None:
    disk = Disk(lambda: str(tmp_path), codec=compression.codec(codec))
    value = np.zeros(8 * MB)
    value[::1000] = 1
    tracemalloc.start()
    try:
        spilled = disk.write(value, value.nbytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < value.nbytes / 4
    assert (spilled.stored < value.nbytes / 10) == (codec is not None)


def test_a_file_ends_with_its_marker(disk: Disk, tmp_path: Path) -> None:
    spilled = disk.write(np.zeros(MB), 8 * MB)
    other = disk.write("x" * 2000, 2000)
    assert len(files(tmp_path)) == 2
    assert disk.used > 8 * MB
    del spilled
    assert len(files(tmp_path)) == 1
    assert 2000 <= disk.used < 3000
    del other
    assert disk.used == 0


def test_files_are_for_this_user_alone(disk: Disk, tmp_path: Path) -> None:
    spilled = disk.write("x" * 2000, 2000)
    assert stat.S_IMODE(os.stat(spilled.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "spilled").st_mode) == 0o700


@pytest.mark.parametrize("codec", [None, "zlib"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_file_that_was_harmed_is_said_to_be(harm: str, codec: str | None, tmp_path: Path) -> None:
    disk = Disk(lambda: str(tmp_path), codec=compression.codec(codec))
    spilled = disk.write(np.zeros(MB), 8 * MB)
    if harm == "cut":
        os.truncate(spilled.path, spilled.stored // 2)
    else:
        os.unlink(spilled.path)
    with pytest.raises(LostValueError, match="cannot be read back"):
        spilled.load()
    with pytest.raises(LostValueError, match=spilled.path):
        spilled.pack()


def test_what_cannot_be_pickled_leaves_no_file(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="generator"):
        disk.write([(x for x in "abc")], 100)
    assert files(tmp_path) == []


def test_the_limit_is_kept(tmp_path: Path) -> None:
    disk = Disk(lambda: str(tmp_path), limit=10 * MB)
    first = disk.write(np.zeros(MB), 8 * MB)
    assert disk.room < 2 * MB
    with pytest.raises(MaxSpillExceeded, match="do not fit"):
        disk.write(np.zeros(MB), 8 * MB)
    del first
    second = disk.write(np.zeros(MB), 8 * MB)
    assert disk.used == second.stored == os.stat(second.path).st_size <= disk.limit  # type: ignore[operator]


def test_a_full_disk_leaves_no_half_file(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = os.write

    def fill(fd: int, data: Any) -> int:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "no space left on device")
        written.append(write(fd, data[:1000]))
        return written[-1]

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(OSError, match="no space") as caught:
        disk.write(np.zeros(MB), 8 * MB)
    assert is_full(caught.value)
    assert files(tmp_path) == []
    assert disk.used == 0


def test_a_system_that_takes_little_at_a_time(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100_001]))
    np.testing.assert_equal(disk.write(np.arange(MB), 8 * MB).load(), np.arange(MB))


def test_the_directory_is_made_for_the_first_value(tmp_path: Path) -> None:
    asked: list[int] = []

    def find() -> str:
        asked.append(1)
        return str(tmp_path)

    disk = Disk(find)
    assert not asked
    kept = [disk.write("x", 50), disk.write("y", 50)]
    assert [spilled.load() for spilled in kept] == ["x", "y"]
    assert len(asked) == 1


def test_nothing_is_written_after_the_end(disk: Disk, tmp_path: Path) -> None:
    spilled = disk.write("x", 50)
    disk.close()
    with pytest.raises(OSError, match="the worker ends"):
        disk.write("y", 50)
    assert spilled.load() == "x"
    del spilled
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["zip", "lz5"])
def test_unknown_codecs_are_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(ValueError, match="auto, zlib, zstd, lz4"):
        compression.codec(name)


def test_a_codec_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert compression.codec("auto") is None
    with pytest.raises(ValueError, match="needs the package lz4"):
        compression.codec("lz4")
