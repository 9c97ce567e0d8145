"""Packages, installed where the cluster runs.

What lives here: `InstallPlugin`, and `PipInstall` and `CondaInstall` on top of it. What this file must never know:
which worker shares a machine with which: a lock in a file sees to that one of them installs at a time.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from windrow.plugins.base import NannyPlugin, SchedulerPlugin, WorkerPlugin

__all__ = ["CondaInstall", "InstallPlugin", "PipInstall"]

logger = logging.getLogger("windrow.plugins")


class InstallPlugin(SchedulerPlugin):
    """Runs a function that installs something: on the scheduler, then for every worker, one at a time on a machine.

    Parameters
    ----------
    install_fn
        The function; it takes nothing, and must not mind to be called where all is installed already.
    restart_workers
        Call it in nannies, and start workers afresh after it: for what a running process would not notice.

    Examples
    --------
    >>> client.register_plugin(InstallPlugin(build_my_extension, restart_workers=False))  # doctest: +SKIP
    """

    idempotent = True

    def __init__(self, install_fn: Callable[[], None], restart_workers: bool) -> None:
        if not callable(install_fn):
            raise TypeError(f"install_fn must be a function, not {type(install_fn).__name__}")
        self.install_fn = install_fn
        self.restart_workers = restart_workers
        self.name = f"{type(self).__name__}-{uuid.uuid4().hex}"

    async def start(self, scheduler: Any) -> None:
        """Install on the scheduler, then have it installed for workers, present and to come."""
        await asyncio.to_thread(_install, self.install_fn)
        if self.restart_workers:
            await scheduler.register_nanny_plugin(plugin=_OnNanny(self.install_fn), name=self.name, idempotent=True)
        else:
            await scheduler.register_worker_plugin(plugin=_OnWorker(self.install_fn), name=self.name, idempotent=True)

    async def close(self) -> None:
        """End; what is installed stays."""


class _OnWorker(WorkerPlugin):
    """Installs on a worker, while its loop goes on."""

    def __init__(self, install_fn: Callable[[], None]) -> None:
        self.install_fn = install_fn

    async def setup(self, worker: Any) -> None:
        await asyncio.to_thread(_install, self.install_fn)


class _OnNanny(NannyPlugin):
    """Installs for a worker that is then started afresh."""

    restart = True

    def __init__(self, install_fn: Callable[[], None]) -> None:
        self.install_fn = install_fn

    async def setup(self, nanny: Any) -> None:
        await asyncio.to_thread(_install, self.install_fn)


class PipInstall(InstallPlugin):
    """Installs packages with pip, once for each Python installation that the cluster runs on.

    Parameters
    ----------
    packages
        What to install, as on pip's command line.
    pip_options
        Further options, such as ``["--upgrade"]``.
    restart_workers
        Start workers afresh when all is installed.

    Raises
    ------
    RuntimeError
        At the registration: pip has failed; the message holds its last words.

    Examples
    --------
    >>> client.register_plugin(PipInstall(packages=["scikit-learn"], pip_options=["--upgrade"]))  # doctest: +SKIP
    """

    def __init__(
        self, packages: Sequence[str], pip_options: Sequence[str] | None = None, restart_workers: bool = False
    ) -> None:
        arguments = ["-m", "pip", "install", *(pip_options or ()), *_listed(packages)]
        super().__init__(_Installer("pip", arguments), restart_workers)
        self.packages = list(packages)


class CondaInstall(InstallPlugin):
    """Installs packages with conda, once for each Python installation that the cluster runs on.

    Parameters
    ----------
    packages
        What to install, as on conda's command line.
    conda_options
        Further options, such as ``["--update-deps"]``.
    restart_workers
        Start workers afresh when all is installed.

    Raises
    ------
    RuntimeError
        At the registration: there is no conda, or it has failed; the message holds its last words.

    Examples
    --------
    >>> plugin = CondaInstall(packages=["scikit-learn"], conda_options=["--update-deps"])
    >>> client.register_plugin(plugin)  # doctest: +SKIP
    """

    def __init__(
        self, packages: Sequence[str], conda_options: Sequence[str] | None = None, restart_workers: bool = False
    ) -> None:
        arguments = ["install", "--yes", *(conda_options or ()), *_listed(packages)]
        super().__init__(_Installer("conda", arguments), restart_workers)
        self.packages = list(packages)


def _listed(packages: Sequence[str]) -> list[str]:
    if isinstance(packages, str) or not all(isinstance(package, str) for package in packages):
        raise TypeError(f"packages must be a list of strings, not {packages!r}")
    return list(packages)


class _Installer:
    """Calls pip or conda, unless it has done so already for this Python installation."""

    def __init__(self, program: str, arguments: list[str]) -> None:
        self.program = program
        self.arguments = arguments
        self.id = uuid.uuid4().hex

    def __call__(self) -> None:
        done = _place(f"{self.id}-{blake2b(sys.prefix.encode(), digest_size=8).hexdigest()}")
        if not os.path.exists(done):
            self._run()
            with open(done, "w", encoding="utf-8"):
                pass
        importlib.invalidate_caches()

    def _run(self) -> None:
        command = [sys.executable, *self.arguments] if self.program == "pip" else [self.program, *self.arguments]
        logger.info("%s installs: %s", self.program, " ".join(command))
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
        except OSError as error:
            raise RuntimeError(f"{self.program} could not be started: {error}; is it installed there?") from error
        if ended.returncode:
            words = ended.stdout.decode(errors="replace").strip()[-2000:]
            raise RuntimeError(
                f"{' '.join(command)} failed with exit code {ended.returncode}. Its last words:\n{words}"
            )


# ---------------------------------------------------------------- one at a time


def _install(install_fn: Callable[[], None]) -> None:
    with _alone():
        install_fn()


def _place(name: str) -> str:
    """Return a path in a directory of this user's, on this machine."""
    from windrow import security

    folder = os.path.join(security.runtime_directory(), "installs")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, name)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep all other installations of this user's on this machine waiting."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with open(_place("lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
