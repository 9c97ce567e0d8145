"""``windrow ssh``: how its options are understood; what it does is tested with `SSHCluster`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from windrow.cli import ssh
from windrow.cli.main import main


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command would start: hosts, settings."""
    found: list[Any] = []

    def run(hosts: list[str], settings: dict[str, Any]) -> int:
        found.extend([hosts, settings])
        return 0

    monkeypatch.setattr(ssh, "_run", run)
    return found


def test_the_scheduler_is_on_the_first_machine(asked: list[Any]) -> None:
    assert CliRunner().invoke(main, ["ssh", "a", "b"]).exit_code == 0
    hosts, settings = asked
    assert hosts == ["a", "a", "b"]
    assert settings == {
        "connect_options": {},
        "worker_options": {"n_workers": 1, "memory_limit": "auto"},
        "scheduler_options": {"port": 8786},
        "worker_class": "windrow.Nanny",
        "remote_python": None,
        "security": None,
    }


def test_options(asked: list[Any], tmp_path: Path) -> None:
    hostfile = tmp_path / "hosts"
    hostfile.write_text("b\n# not this one\n\nc\n")
    connecting = ["--ssh-username", "me", "--ssh-port", "2222", "--ssh-private-key", "/key"]
    working = ["--nworkers", "2", "--nthreads", "3", "--memory-limit", "1GiB", "--local-directory", "/scratch"]
    arguments = [
        *connecting,
        *working,
        "--scheduler",
        "head",
        "--hostfile",
        str(hostfile),
        "--remote-python",
        "/p",
        "a",
    ]
    assert CliRunner().invoke(main, ["ssh", *arguments]).exit_code == 0
    hosts, settings = asked
    assert hosts == ["head", "a", "b", "c"]
    assert settings["connect_options"] == {"username": "me", "port": 2222, "client_keys": ["/key"]}
    assert settings["worker_options"] == {
        "n_workers": 2,
        "nthreads": 3,
        "memory_limit": "1GiB",
        "local_directory": "/scratch",
    }
    assert settings["remote_python"] == "/p"


def test_no_machines(asked: list[Any]) -> None:
    result = CliRunner().invoke(main, ["ssh"])
    assert result.exit_code == 2
    assert "name the machines" in result.output
    assert asked == []
