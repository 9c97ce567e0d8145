"""Files and folders that arrive where functions run, and are found there."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_help import until

from windrow import Client, LocalCluster, UploadDirectory, UploadFile
from windrow.plugins import SchedulerUploadFile
from windrow.plugins.files import import_file
from windrow.plugins.scratch import Scratch, new_path


@pytest.fixture(autouse=True)
def modules_go() -> Iterator[None]:
    """Uploads reach the scheduler, which is in this process."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("uploaded"):
            del sys.modules[name]
    sys.path[:] = path


def write(path: Path, value: int) -> Path:
    path.write_text(f"VALUE = {value}\n\n\ndef value():\n    return VALUE\n")
    return path


def value_of(name: str) -> Any:
    return importlib.import_module(name).value()


def test_a_module_reaches_all_and_is_new_when_it_comes_again(
    processes: LocalCluster, process_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = process_client
    path = write(tmp_path / "uploaded_once.py", 1)
    [address] = client.scheduler_info()["workers"]
    assert client.upload_file(str(path)) == {address: {"status": "OK"}}
    monkeypatch.syspath_prepend(str(tmp_path))
    from uploaded_once import value  # type: ignore[import-not-found]

    assert client.submit(value, pure=False).result() == 1
    assert client.run_on_scheduler(value_of, "uploaded_once") == 1
    write(path, 2)
    client.upload_file(path)
    assert client.submit(value, pure=False).result() == 2, "the function of before is loaded anew"
    processes.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(value_of, "uploaded_once").values()) == [2, 2]
    client.restart()
    assert list(client.run(value_of, "uploaded_once").values()) == [2, 2]


def test_two_files_are_there_side_by_side_on_later_workers(
    threads: LocalCluster, client: Client, tmp_path: Path
) -> None:
    for number in (1, 2):
        client.upload_file(write(tmp_path / f"uploaded_{number}.py", number))
    threads.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(files).values()) == [["uploaded_1.py", "uploaded_2.py"]] * 2


def files(dask_worker: Any) -> list[str]:
    return sorted(name for name in os.listdir(dask_worker.local_directory) if not name.startswith("__"))


@pytest.mark.parametrize("extension", [".zip", ".egg", ".pyz"])
def test_an_archive_is_imported_and_is_new_when_it_comes_again(
    process_client: Client, tmp_path: Path, extension: str
) -> None:
    path = tmp_path / f"archive{extension}"
    for number in (1, 2):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("uploaded_package/__init__.py", "from uploaded_package.inner import value\n")
            archive.writestr("uploaded_package/inner.py", f"def value():\n    return {number}\n")
        process_client.upload_file(path)
        assert process_client.submit(value_of, "uploaded_package", pure=False).result() == number


def test_a_file_of_another_kind_is_put_beside(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("1 2 3")
    client.upload_file(path, load=False)
    assert list(client.run(files).values()) == [["table.txt"]]


def test_without_load_nothing_is_imported(process_client: Client, tmp_path: Path) -> None:
    process_client.upload_file(write(tmp_path / "uploaded_later.py", 1), load=False)
    loaded = process_client.run(lambda: "uploaded_later" in sys.modules)
    assert list(loaded.values()) == [False]
    assert list(process_client.run(value_of, "uploaded_later").values()) == [1]


def test_what_the_import_raises_is_raised(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "uploaded_broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        client.upload_file(path)


def test_a_file_that_is_not_there_errs_at_the_call(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_file(tmp_path / "nothing.py")


def test_the_plugins_by_themselves(client: Client, tmp_path: Path) -> None:
    path = write(tmp_path / "uploaded_alone.py", 3)
    plugin = UploadFile(path)
    assert plugin.name == "upload_file"
    client.register_plugin(plugin)
    assert list(client.run(value_of, "uploaded_alone").values()) == [3]
    write(path, 4)
    client.register_plugin(SchedulerUploadFile(path))
    assert client.run_on_scheduler(value_of, "uploaded_alone") == 4


def test_an_asynchronous_client_awaits_the_upload(runtime_directory: object, tmp_path: Path) -> None:
    path = write(tmp_path / "uploaded_async.py", 5)

    async def scenario() -> None:
        async with (
            LocalCluster(n_workers=1, processes=False, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            await client.upload_file(path)
            assert await client.submit(value_of, "uploaded_async") == 5

    asyncio.run(scenario())


def test_the_directory_of_a_worker_goes_with_it(
    processes: LocalCluster, process_client: Client, tmp_path: Path
) -> None:
    process_client.upload_file(write(tmp_path / "uploaded_dir.py", 1))
    [directory] = process_client.run(lambda dask_worker: dask_worker.local_directory).values()
    assert os.path.isdir(directory)
    [described] = process_client.scheduler_info()["workers"].values()
    assert described["local_directory"] == directory
    processes.scale(0)
    until(lambda: not os.path.exists(directory), "it is removed")


# ---------------------------------------------------------------- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "uploaded_folder"
    (folder / "tests").mkdir(parents=True)
    write(folder / "uploaded_inside.py", 7)
    (folder / "__init__.py").write_text("")
    (folder / "data.txt").write_text("data")
    (folder / "old.pyc").write_text("")
    (folder / "tests" / "test_it.py").write_text("")
    return folder


def below(path: str) -> list[str]:
    return sorted(str(each.relative_to(path)) for each in Path(path).rglob("*") if "__pycache__" not in each.parts)


def folder_on(dask_worker: Any) -> list[str]:
    return below(os.path.join(dask_worker.local_directory, "uploaded_folder"))


def test_a_folder_reaches_present_and_later_workers(threads: LocalCluster, client: Client, folder: Path) -> None:
    client.register_plugin(UploadDirectory(folder, update_path=True))
    threads.scale(2)
    client.wait_for_workers(2)
    assert list(client.run(folder_on).values()) == [["__init__.py", "data.txt", "uploaded_inside.py"]] * 2
    assert list(client.run(value_of, "uploaded_inside").values()) == [7, 7]
    assert list(client.run(value_of, "uploaded_folder.uploaded_inside").values()) == [7, 7]


def test_a_folder_reaches_the_scheduler_alone(client: Client, folder: Path) -> None:
    client.register_plugin(UploadDirectory(folder, mode="scheduler", skip_words=(), skip=()))
    found = client.run_on_scheduler(
        lambda dask_scheduler: below(os.path.join(dask_scheduler.local_directory, "uploaded_folder"))
    )
    assert "old.pyc" in found
    assert os.path.join("tests", "test_it.py") in found
    assert client.run_on_scheduler(lambda dask_scheduler: dict(dask_scheduler.worker_plugins)) == {}


def test_workers_are_started_afresh_if_that_is_asked_for(process_client: Client, folder: Path) -> None:
    [pid] = process_client.run(os.getpid).values()
    process_client.register_plugin(UploadDirectory(folder, restart_workers=True, mode="all"))
    until(lambda: list(process_client.run(os.getpid).values()) not in ([], [pid]), "another process is there")
    assert list(process_client.run(folder_on).values()) == [["__init__.py", "data.txt", "uploaded_inside.py"]]


def test_wrong_arguments_err_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode must be"):
        UploadDirectory(tmp_path, mode="everywhere")  # type: ignore[arg-type]
    with pytest.raises(NotADirectoryError):
        UploadDirectory(tmp_path / "nothing")
    assert UploadDirectory(tmp_path).name == f"upload-directory-{tmp_path.name}"


# ---------------------------------------------------------------- the parts


def test_a_plugin_needs_no_more_of_its_party_than_a_directory(folder: Path, tmp_path: Path) -> None:
    party = SimpleNamespace(local_directory=str(tmp_path / "home"))
    os.mkdir(party.local_directory)
    path = write(tmp_path / "uploaded_here.py", 1)
    UploadFile(path, load=False).setup(party)
    assert (tmp_path / "home" / "uploaded_here.py").read_bytes() == path.read_bytes()
    write(path, 2)
    asyncio.run(SchedulerUploadFile(path, load=False).start(party))
    asyncio.run(UploadDirectory(folder, mode="scheduler").start(party))
    assert (tmp_path / "home" / "uploaded_here.py").read_bytes() == path.read_bytes()
    assert below(f"{party.local_directory}/uploaded_folder") == ["__init__.py", "data.txt", "uploaded_inside.py"]


def test_what_holds_no_module_is_not_imported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("")
    assert import_file(str(path)) == []
    assert "holds nothing to import" in caplog.text


def test_a_scratch_directory_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    scratch = Scratch(new_path("x", str(tmp_path)), importable=True)
    assert list(tmp_path.iterdir()) == []
    path = scratch.path
    assert path == scratch.path == scratch.planned == sys.path[0]
    assert os.stat(path).st_mode & 0o777 == 0o700
    (Path(path) / "file").write_text("")
    scratch.remove()
    scratch.remove()
    assert list(tmp_path.iterdir()) == []
    assert path not in sys.path


def test_a_path_that_somebody_has_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Scratch(str(tmp_path)).path  # noqa: B018
