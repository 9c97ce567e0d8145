"""`windrow token`: what it makes, and that clients can use it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from windrow import Client, roles, scheduler_file, security
from windrow.cli.main import main
from windrow.errors import NotAllowed
from windrow.roles import Role

SECRET = b"s" * 32


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


@pytest.fixture
def file(tmp_path: Path, runtime: Path) -> Path:
    path = tmp_path / "cluster.json"
    scheduler_file.write(path, "tcp://10.0.0.1:8786", SECRET, name="mine")
    return path


@pytest.mark.parametrize("role", list(Role), ids=str)
def test_the_token_of_an_address(runtime: Path, role: Role) -> None:
    published = security.publish("tcp://127.0.0.1:9", SECRET)
    try:
        result = run(str(role), "tcp://127.0.0.1:9")
    finally:
        security.withdraw(published)
    assert result.exit_code == 0
    assert roles.from_text(result.output.strip()) == roles.token(SECRET, role)


def test_a_scheduler_file_for_a_role(file: Path, tmp_path: Path) -> None:
    submit, watch = tmp_path / "submit.json", tmp_path / "watch.json"
    watch.touch(mode=0o644)
    assert run("submit", "--scheduler-file", str(file), "--output", str(submit)).exit_code == 0
    assert run("watch", "--scheduler-file", str(submit), "--output", str(watch)).exit_code == 0
    assert scheduler_file.read(submit) == ("tcp://10.0.0.1:8786", roles.token(SECRET, Role.SUBMIT))
    assert scheduler_file.read(watch) == ("tcp://10.0.0.1:8786", roles.token(SECRET, Role.WATCH))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (submit, watch)} == {0o600}
    assert SECRET.hex() not in submit.read_text() + watch.read_text()
    assert json.loads(submit.read_text())["name"] == "mine"
    assert json.loads(run("submit", "--scheduler-file", str(file)).output)["secret"].startswith("submit:")


def test_a_scheduler_file_of_an_address(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = tmp_path / "submit.json"
    published = security.publish("tcp://127.0.0.1:9", SECRET)
    monkeypatch.setattr(security, "published", lambda: ["tcp://127.0.0.1:9"])
    try:
        assert run("submit", "tcp://127.0.0.1:9", "--output", str(submit)).exit_code == 0
        of_the_only_one = run("watch").output.strip()
    finally:
        security.withdraw(published)
    assert scheduler_file.read(submit) == ("tcp://127.0.0.1:9", roles.token(SECRET, Role.SUBMIT))
    assert stat.S_IMODE(submit.stat().st_mode) == 0o600
    assert roles.from_text(of_the_only_one) == roles.token(SECRET, Role.WATCH)


def test_a_lesser_token_makes_no_higher_one(file: Path, tmp_path: Path) -> None:
    watch = tmp_path / "watch.json"
    run("watch", "--scheduler-file", str(file), "--output", str(watch))
    result = run("submit", "--scheduler-file", str(watch), "--output", str(tmp_path / "more.json"))
    assert result.exit_code == 1
    assert "a watch token makes no submit token" in result.output
    assert not (tmp_path / "more.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["submit", "tcp://127.0.0.1:9", "--scheduler-file", "x"], 2, "SCHEDULER or --scheduler-file"),
        (["own", "tcp://127.0.0.1:9"], 2, "'watch', 'submit', 'administer'"),
        (["submit", "tcp://127.0.0.1:9"], 1, "nobody answers at tcp://127.0.0.1:9"),
        (["submit", "--scheduler-file", "/no/such/file"], 1, "there is no scheduler file"),
    ],
)
def test_what_it_cannot_do(runtime: Path, arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert words in result.output


def test_clients_use_tokens_in_every_form(
    runtime: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run("submit", address).output.strip()
    file = tmp_path / "token"
    file.write_text(text)
    whole = tmp_path / "cluster.json"
    scheduler_file.write(whole, address, security.secret_for(address))
    of_role = tmp_path / "submit.json"
    run("submit", "--scheduler-file", str(whole), "--output", str(of_role))
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))  # where nothing is published
    import dask

    with dask.config.set({"windrow.secret-file": str(file)}):
        refused = r"^To shut the cluster down \(Shutdown\) takes the role administer"
        for client in (Client(address, secret=text), Client(scheduler_file=str(of_role)), Client(address)):
            with client, pytest.raises(NotAllowed, match=refused):
                client.shutdown()
