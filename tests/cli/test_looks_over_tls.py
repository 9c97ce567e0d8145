"""``windrow explain`` and ``windrow top`` of a scheduler that speaks TLS, by its scheduler file or a token's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_help import Terminals

from windrow import Client
from windrow.cli.main import main
from windrow.observe import source


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_explain_and_top_take_scheduler_files_with_certificates(
    terminals: Terminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FRESH_S", 0.05)
    own, watch = str(tmp_path / "own.json"), str(tmp_path / "watch.json")
    _, address = terminals.scheduler("--protocol", "tls", "--scheduler-file", own)
    assert address.startswith("tls://")
    terminals.worker("--scheduler-file", own, "--name", "alice", "--nthreads", "1")
    assert run("token", "watch", "--scheduler-file", own, "--output", watch).exit_code == 0
    with Client(scheduler_file=own, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)
        never = client.submit(abs, -1, key="never", resources={"GPU": 1})
        done = client.submit(abs, -2, key="done")
        assert done.result(timeout=20) == 2
        for file in (own, watch):
            told = run("explain", "never", "--scheduler-file", file)
            assert told.exit_code == 0, told.output
            assert "of 1 worker none has GPU" in told.output
            facts = json.loads(run("explain", "--json", "done", "--scheduler-file", file).output)
            assert facts["state"] == "memory"
            top = run("top", "--once", "--scheduler-file", file)
            assert top.exit_code == 0, top.output
            assert address in top.output
            assert "alice" in top.output
        plain = run("top", "--once", address.replace("tls://", "tcp://"))
        assert plain.exit_code == 1
        assert f"this listener speaks TLS: use {address}" in plain.output
        del never
