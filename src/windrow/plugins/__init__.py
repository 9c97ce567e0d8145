"""Plugins: code of the user's that the scheduler, workers or nannies call when something happens there.

What lives here: the base classes, the built-in plugins, and how a party sets plugins up and tears them down. What this
file must never know: clients, schedulers, workers and nannies; plugins are handed the one that they are on.

`Client.register_plugin` brings one to its place. Each name is imported at its first use: workers start without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.plugins.base import NannyPlugin, SchedulerPlugin, WorkerPlugin
    from windrow.plugins.chaos import KillWorker
    from windrow.plugins.files import SchedulerUploadFile, UploadDirectory, UploadFile
    from windrow.plugins.install import CondaInstall, InstallPlugin, PipInstall
    from windrow.plugins.output import ForwardLoggingPlugin, ForwardOutput
    from windrow.plugins.settings import Environ

_HOMES = {
    "CondaInstall": "windrow.plugins.install",
    "Environ": "windrow.plugins.settings",
    "ForwardLoggingPlugin": "windrow.plugins.output",
    "ForwardOutput": "windrow.plugins.output",
    "InstallPlugin": "windrow.plugins.install",
    "KillWorker": "windrow.plugins.chaos",
    "NannyPlugin": "windrow.plugins.base",
    "PipInstall": "windrow.plugins.install",
    "SchedulerPlugin": "windrow.plugins.base",
    "SchedulerUploadFile": "windrow.plugins.files",
    "UploadDirectory": "windrow.plugins.files",
    "UploadFile": "windrow.plugins.files",
    "WorkerPlugin": "windrow.plugins.base",
}

__all__ = [
    "CondaInstall",
    "Environ",
    "ForwardLoggingPlugin",
    "ForwardOutput",
    "InstallPlugin",
    "KillWorker",
    "NannyPlugin",
    "PipInstall",
    "SchedulerPlugin",
    "SchedulerUploadFile",
    "UploadDirectory",
    "UploadFile",
    "WorkerPlugin",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'windrow.plugins' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
