"""Secrets are found by their user, and by nobody else."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from windrow import scheduler_file, security
from windrow.errors import WrongSecret

SECRET = bytes(range(32))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "windrow"


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_secrets_differ() -> None:
    assert len({security.new_secret() for _ in range(10)}) == 10
    assert len(security.new_secret()) == security.SECRET_BYTES == 32


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "localhost:8786", "tcp://localhost:8786"])
def test_what_is_published_is_found(directory: Path, address: str) -> None:
    security.publish("tcp://127.0.0.1:8786", SECRET, name="mine")
    assert security.lookup(address) == SECRET
    assert security.secret_for(address) == SECRET
    assert security.lookup("tcp://127.0.0.1:8787") is None
    assert security.lookup("tcp://10.0.0.1:8786") is None


def test_files_and_directory_are_private(directory: Path) -> None:
    old = os.umask(0)
    try:
        path = security.publish("tcp://127.0.0.1:1", SECRET)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert os.listdir(directory) == [path.name]  # no draft is left


def test_facts_are_written_down(directory: Path) -> None:
    path = security.publish("tcp://127.0.0.1:1", SECRET, name="mine")
    record = json.loads(path.read_text())
    assert (record["name"], record["address"], record["pid"]) == ("mine", "tcp://127.0.0.1:1", os.getpid())


def test_publishing_again_replaces(directory: Path) -> None:
    security.publish("tcp://127.0.0.1:1", b"old")
    security.publish("tcp://127.0.0.1:1", SECRET)
    assert security.lookup("tcp://127.0.0.1:1") == SECRET


def test_withdraw(directory: Path) -> None:
    path = security.publish("tcp://127.0.0.1:1", SECRET)
    security.withdraw(path)
    assert security.lookup("tcp://127.0.0.1:1") is None
    security.withdraw(path)  # again is harmless


def test_withdraw_leaves_the_record_of_another_process(directory: Path) -> None:
    path = security.publish("tcp://127.0.0.1:1", SECRET)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "pid": os.getppid()}))
    security.withdraw(path)
    assert path.exists()


def test_records_of_dead_processes_are_removed(directory: Path) -> None:
    path = security.publish("tcp://127.0.0.1:1", SECRET)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "pid": dead_pid()}))
    elsewhere = directory / "2-elsewhere.json"
    elsewhere.write_text(json.dumps({**record, "pid": dead_pid(), "host": "another container"}))
    (directory / "3-broken.json").write_text("{")
    other = security.publish("tcp://127.0.0.1:4", SECRET)
    assert sorted(os.listdir(directory)) == [elsewhere.name, "3-broken.json", other.name]


def test_no_secret_comes_with_advice(directory: Path) -> None:
    with pytest.raises(WrongSecret, match=r"tcp://10.0.0.1:1 is known to this user: pass secret=…, run as"):
        security.secret_for("tcp://10.0.0.1:1")
    assert not directory.exists()  # looking makes nothing


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"secret": "xyz"}', '{"secret": 1}', "\0"])
def test_a_broken_record_is_none(directory: Path, text: str) -> None:
    path = security.publish("tcp://127.0.0.1:1", SECRET)
    path.write_text(text)
    assert security.lookup("tcp://127.0.0.1:1") is None


def test_a_directory_open_to_others_is_refused(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    directory.chmod(0o750)
    for use in (lambda: security.publish("tcp://h:1", SECRET), lambda: security.lookup("tcp://h:1")):
        with pytest.raises(PermissionError, match="chmod 700"):
            use()


def test_a_directory_of_someone_else_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: directory.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="no directory of this user"):
        security.runtime_directory()


def test_a_link_or_file_in_its_place_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="no directory of this user"):
        security.lookup("tcp://h:1")


def test_without_a_runtime_directory_the_temporary_one_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert security.runtime_directory() == tmp_path / f"windrow-{os.getuid()}"


def test_names_cannot_leave_the_directory(directory: Path) -> None:
    assert security.publish("inproc://x:../../etc/passwd", SECRET).parent == directory
    assert security.publish("tcp://[fe80::1]:5", SECRET).parent == directory


def test_a_name_of_this_machine_will_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    numbers = {"node7": "10.0.0.7", "me": "127.0.1.1"}

    def resolve(host: str, port: int, *_: object) -> list[object]:
        if host not in numbers:
            raise socket.gaierror(f"{host} is not known")
        return [(None, None, None, None, (numbers[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    security.publish("tcp://10.0.0.7:8786", SECRET)
    assert security.lookup("tcp://node7:8786") == SECRET
    assert security.lookup("tcp://node8:8786") is None
    assert security.lookup("tcp://me:8786") is None
    security.publish("tcp://127.0.0.1:8786", SECRET)
    assert security.lookup("tcp://me:8786") == SECRET


def test_a_file_is_made_once_and_for_its_user(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    old = os.umask(0)
    try:
        secret = security.from_file(path, create=True)
    finally:
        os.umask(old)
    assert len(secret) == security.SECRET_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert security.from_file(path, create=True) == security.from_file(path) == secret
    assert list(tmp_path.iterdir()) == [path], "no draft is left"


@pytest.mark.parametrize("text", ["", "swordfish", "ab" * 15, "0x" + "ab" * 32])
def test_a_file_without_a_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ValueError, match="holds no secret") as caught:
        security.from_file(path)
    assert not text or text not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        security.from_file(tmp_path / "secret")


def test_the_configured_file_is_asked_last(directory: Path, tmp_path: Path) -> None:
    import dask.config

    path = tmp_path / "secret"
    own = security.from_file(path, create=True)
    with dask.config.set({"windrow.secret-file": str(path)}):
        assert security.secret_for("tcp://head:8786") == own
        security.publish("tcp://127.0.0.1:8786", SECRET)
        assert security.secret_for("tcp://127.0.0.1:8786") == SECRET
    with pytest.raises(WrongSecret):
        security.secret_for("tcp://head:8786")


def test_what_is_published_counts_before_what_was_remembered_of_the_last_at_this_address() -> None:
    security.remember("tcp://127.0.0.1:8790", b"old")
    assert security.secret_for("tcp://127.0.0.1:8790") == b"old"
    security.publish("tcp://127.0.0.1:8790", SECRET)
    assert security.secret_for("tcp://127.0.0.1:8790") == SECRET


@pytest.mark.parametrize("what", ["scheduler file", "secret file", "runtime directory"])
def test_another_user_is_told_what_he_lacks(
    what: str, tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so that the system's answer is played."""
    address = "tcp://127.0.0.1:8786"
    if what == "runtime directory":  # of his own, where another's schedulers have published nothing
        with pytest.raises(WrongSecret, match="is known to this user: pass secret="):
            security.secret_for(address)
        return
    path = tmp_path / "file"
    scheduler_file.write(path, address, SECRET)

    def denied(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    read = scheduler_file.read if what == "scheduler file" else security.from_file
    with pytest.raises(PermissionError, match=rf"the {what} .* is not for this user to read.*windrow token submit"):
        read(path)


def test_scheduler_files_are_private_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.touch(mode=0o666)
    old = os.umask(0)
    try:
        scheduler_file.write(path, "tcp://127.0.0.1:8786", SECRET)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
