"""Installations: on the scheduler, then for every worker, one at a time, and no package index is asked here."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
from plugin_help import until

from windrow import Client, CondaInstall, InstallPlugin, LocalCluster, PipInstall
from windrow.plugins import install

PIP = """\
import pathlib, sys
log = pathlib.Path({log!r})
with log.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
print("words of the installer")
sys.exit({code})
"""


@pytest.fixture
def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip that only notes how it was called."""
    return _fake_pip(tmp_path, monkeypatch, 0)


def _fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    log = tmp_path / "calls"
    log.touch()
    home = tmp_path / "fake"
    home.mkdir()
    (home / "pip.py").write_text(PIP.format(log=str(log), code=code))
    monkeypatch.setenv("PYTHONPATH", str(home))
    return log


def test_pip_is_called_once_for_one_installation(fake_pip: Path, runtime_directory: Path) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        plugin = PipInstall(["one", "two"], pip_options=["--upgrade"])
        assert plugin.packages == ["one", "two"]
        assert client.register_plugin(plugin) is None
        cluster.scale(3)
        client.wait_for_workers(3)
        assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins)) == [plugin.name]
    assert fake_pip.read_text() == "install --upgrade one two\n"


def test_the_function_may_do_anything(tmp_path: Path, client: Client) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "installed_here.py").write_text("VALUE = 3\n")
    target = tmp_path / "target"
    client.register_plugin(InstallPlugin(lambda: shutil.copytree(source, target, dirs_exist_ok=True), False))
    assert (target / "installed_here.py").is_file()


def test_the_words_of_a_pip_that_fails_are_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    _fake_pip(tmp_path, monkeypatch, 7)
    with pytest.raises(RuntimeError, match=r"(?s)install thing failed with exit code 7.*words of the installer"):
        client.register_plugin(PipInstall(["thing"]))
    assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins)) == []


def test_conda_is_called_with_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime_directory: Path
) -> None:
    log = tmp_path / "calls"
    program = tmp_path / "conda"
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
        client.register_plugin(CondaInstall(["thing"], conda_options=["--update-deps"]))
    assert log.read_text() == "install --yes --update-deps thing\n"


def test_a_conda_that_is_not_there_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="conda could not be started"):
        client.register_plugin(CondaInstall(["thing"]))


def test_the_function_is_called_on_the_scheduler_and_on_each_worker(tmp_path: Path, processes: LocalCluster) -> None:
    with Client(processes) as client:
        client.register_plugin(InstallPlugin(Note(str(tmp_path / "pids")), restart_workers=False))
        [worker] = client.run(os.getpid).values()
    assert (tmp_path / "pids").read_text().split() == [str(os.getpid()), str(worker)]


def test_with_restart_the_function_is_called_by_nannies(tmp_path: Path, processes: LocalCluster) -> None:
    with Client(processes) as client:
        [before] = client.run(os.getpid).values()
        plugin = InstallPlugin(Note(str(tmp_path / "pids")), restart_workers=True)
        client.register_plugin(plugin)
        assert list(client.run(os.getpid).values()) != [before]
        assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.nanny_plugins)) == [plugin.name]
        client.register_plugin(plugin)  # idempotent
    assert (tmp_path / "pids").read_text().split() == [str(os.getpid())] * 2


class Note:
    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> None:
        with open(self.path, "a") as file:
            file.write(f"{os.getpid()}\n")


def test_one_installs_at_a_time(runtime_directory: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    gate = threading.Event()

    def body() -> None:
        inside.append(1)
        most.append(len(inside))
        gate.wait(0.05)
        inside.pop()

    threads = [threading.Thread(target=install._install, args=(body,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_wrong_arguments_err_at_once() -> None:
    with pytest.raises(TypeError, match="packages must be a list"):
        PipInstall("numpy")
    with pytest.raises(TypeError, match="install_fn must be a function"):
        InstallPlugin(3, False)  # type: ignore[arg-type]
    plugin = InstallPlugin(print, True)
    assert plugin.idempotent
    assert plugin.restart_workers
    assert plugin.name != InstallPlugin(print, True).name


def test_the_end_of_the_cluster_leaves_what_is_installed() -> None:
    assert asyncio.run(InstallPlugin(print, True).close()) is None  # type: ignore[func-returns-value]


def test_what_was_installed_is_found_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finders of modules remember what was not there; an installation has them look again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError):
        importlib.import_module("installed_late")
    (tmp_path / "installed_late.py").write_text("")
    installer = install._Installer("pip", [])
    monkeypatch.setattr(installer, "_run", lambda: None)
    installer()
    assert importlib.import_module("installed_late") is sys.modules.pop("installed_late")


def test_the_lock_is_let_go_after_an_error(runtime_directory: Path) -> None:
    def fails() -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        install._install(fails)
    done = threading.Event()
    threading.Thread(target=install._install, args=(done.set,), daemon=True).start()
    until(done.is_set)
