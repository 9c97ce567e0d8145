"""Files and folders of the user's program, brought to where its functions run.

What lives here: `UploadFile`, `SchedulerUploadFile`, `UploadDirectory`, and how a file that has arrived is imported.
What this file must never know: how bytes travel.

A file is written into its party's own directory, which is the first place where that process looks for modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import pkgutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from windrow.plugins.base import SchedulerPlugin, WorkerPlugin

__all__ = ["SchedulerUploadFile", "UploadDirectory", "UploadFile", "import_file", "is_bytecode", "receive_file"]

logger = logging.getLogger("windrow.plugins")

ARCHIVES = (".egg", ".zip", ".pyz")


class _Upload:
    """A file as it was when this was made."""

    name = "upload_file"

    def __init__(self, filepath: str | os.PathLike[str], load: bool = True) -> None:
        path = Path(filepath)
        self.filename = path.name
        self.load = load
        self.data = path.read_bytes()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filename!r} ({len(self.data)} bytes)>"


class UploadFile(_Upload, WorkerPlugin):
    """Brings a file to all workers, and imports it there.

    Parameters
    ----------
    filepath
        A module (``.py``), an archive of modules (``.zip``, ``.egg``, ``.pyz``), or any other file, which is only put
        into ``worker.local_directory``.
    load
        Import it at once; a module that is there already is loaded anew.

    Raises
    ------
    OSError
        It cannot be read.

    Examples
    --------
    >>> client.register_plugin(UploadFile("helpers.py"))  # doctest: +SKIP
    """

    def setup(self, worker: Any) -> None:
        """Write it, and import it."""
        receive_file(worker, self.filename, self.data, self.load)


class SchedulerUploadFile(_Upload, SchedulerPlugin):
    """Brings a file to the scheduler, and imports it there; as `UploadFile` does for workers.

    Examples
    --------
    >>> client.register_plugin(SchedulerUploadFile("plugin_classes.py"))  # doctest: +SKIP
    """

    async def start(self, scheduler: Any) -> None:
        """Write it, and import it."""
        receive_file(scheduler, self.filename, self.data, self.load)


def receive_file(party: Any, filename: str, data: bytes, load: bool) -> None:
    """Write a file into a party's directory, whole or not at all, and import it if that is asked for."""
    path = os.path.join(party.local_directory, os.path.basename(filename))
    partial = f"{path}.{os.getpid()}.part"
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, path)
    if load:
        import_file(path)
    forget = getattr(party, "forget_functions", None)
    if forget is not None:  # they may be of the module as it was
        forget()


def import_file(path: str) -> list[Any]:
    """Import what a file holds, anew if it was imported before; return the modules.

    Parameters
    ----------
    path
        A ``.py`` file in a folder where modules are looked for, or an archive; of any other nothing is imported.
    """
    stem, extension = os.path.splitext(os.path.basename(path))
    names: list[str] = []
    if extension == ".py":
        names = [stem]
        stale = importlib.util.cache_from_source(path)
        if os.path.exists(stale):  # a change within a second, of the same length, looks like none
            os.remove(stale)
    elif extension in ARCHIVES:
        if path not in sys.path:
            sys.path.insert(0, path)
        sys.path_importer_cache.pop(path, None)
        inside = path + os.sep
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(inside):
                del sys.modules[name]
        names = [module.name for module in pkgutil.iter_modules([path])]
    if not names:
        logger.warning("%s holds nothing to import: it is no .py file, and no archive with modules in it", path)
    importlib.invalidate_caches()
    return [_import_anew(name) for name in names]


def _import_anew(name: str) -> Any:
    module = sys.modules.get(name)
    return importlib.import_module(name) if module is None else importlib.reload(module)


# ---------------------------------------------------------------- folders

SKIPPED_FOLDERS = (".git", ".github", ".pytest_cache", "tests", "docs")


def is_bytecode(filename: str) -> bool:
    """Whether a file is compiled Python.

    Examples
    --------
    >>> is_bytecode("a/b.pyc")
    True
    """
    return os.path.splitext(filename)[1] == ".pyc"


class UploadDirectory(SchedulerPlugin):
    """Brings a folder to workers, to the scheduler, or to both.

    It arrives under its own name in ``local_directory`` there. The files are those that are there when this is made.

    Parameters
    ----------
    path
        The folder.
    restart_workers
        Start workers afresh when it has arrived.
    update_path
        Make what is in the folder importable: put it on ``sys.path``. (The folder itself is importable as a package.)
    skip_words
        Leave out what has one of these in its path below the folder.
    skip
        Leave out the files of whose names one of these functions says True.
    mode
        ``"workers"``, ``"scheduler"`` or ``"all"``.

    Raises
    ------
    NotADirectoryError
        There is no such folder.
    ValueError
        ``mode`` is none of the three.

    Examples
    --------
    >>> client.register_plugin(UploadDirectory("my_package", mode="all"))  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        restart_workers: bool = False,
        update_path: bool = False,
        skip_words: Iterable[str] = SKIPPED_FOLDERS,
        skip: Iterable[Callable[[str], bool]] = (is_bytecode,),
        mode: Literal["all", "scheduler", "workers"] = "workers",
    ) -> None:
        if mode not in ("all", "scheduler", "workers"):
            raise ValueError(f"mode must be 'all', 'scheduler' or 'workers', not {mode!r}")
        folder = Path(path).expanduser().resolve()
        if not folder.is_dir():
            raise NotADirectoryError(f"UploadDirectory takes a folder, and {str(folder)!r} is none")
        self.name = f"upload-directory-{folder.name}"
        self.folder = folder.name
        self.restart_workers = restart_workers
        self.update_path = update_path
        self.mode = mode
        self.data = _zipped(folder, tuple(skip_words), tuple(skip))

    async def start(self, scheduler: Any) -> None:
        """Unpack it here, and hand it on, as ``mode`` says."""
        if self.mode in ("all", "scheduler"):
            _unpack(scheduler, self.folder, self.data, self.update_path)
        if self.mode in ("all", "workers"):
            plugin = _Folder(self.folder, self.data, self.update_path)
            await scheduler.register_worker_plugin(plugin=plugin, name=self.name)
            if self.restart_workers:
                await scheduler.restart_workers()


class _Folder(WorkerPlugin):
    """Unpacks a folder on a worker."""

    def __init__(self, folder: str, data: bytes, update_path: bool) -> None:
        self.folder = folder
        self.data = data
        self.update_path = update_path

    def setup(self, worker: Any) -> None:
        _unpack(worker, self.folder, self.data, self.update_path)


def _zipped(folder: Path, skip_words: tuple[str, ...], skip: tuple[Callable[[str], bool], ...]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            inside = path.relative_to(folder)
            if not any(word in inside.parts for word in skip_words) and not any(
                left_out(str(path)) for left_out in skip
            ):
                archive.write(path, inside)
    return file.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _unpack(party: Any, folder: str, data: bytes, update_path: bool) -> None:
    path = os.path.join(party.local_directory, folder)
    os.makedirs(path, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(path)
    if update_path and path not in sys.path:
        sys.path.insert(0, path)
    importlib.invalidate_caches()
