"""Methods of `Client` for plugins, for files that workers import, and for workers that are to start afresh.

What lives here: their signatures and checks, and the steps behind them. What this file must never know: what a plugin
does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from windrow.client import calls, options
from windrow.client.base import Base
from windrow.client.options import Duration
from windrow.client.session import Session
from windrow.client.waiting import Steps, paused
from windrow.plugins.base import Kind, WorkerPlugin, kind_of, name_of
from windrow.wire import payload
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

POLL_S = 0.02

Restarted = Literal["OK", "timed out"]


class PluginMethods(Base):
    """What a client does with plugins."""

    def register_plugin(self, plugin: Any, name: str | None = None) -> Any:
        """Bring a plugin to where it is called: the scheduler, all workers, or all nannies.

        Those of workers and nannies are set up on each that comes later too, before its first task.

        Parameters
        ----------
        plugin
            A `SchedulerPlugin`, `WorkerPlugin` or `NannyPlugin`. It is pickled; each party has a copy of its own.
        name
            Its name; by default ``plugin.name``, or one made up. Another of that name is torn down, and this takes its
            place; a plugin with ``idempotent = True`` leaves the other where it is.

        Returns
        -------
        dict or None
            ``{address: {"status": "OK"}}``, by worker; None for a plugin of the scheduler.

        Raises
        ------
        TypeError
            It is none of the three, or a class.
        Exception
            What its ``setup`` or ``start`` has raised. Then it is registered nowhere.

        Examples
        --------
        >>> client.register_plugin(PipInstall(["scikit-learn"]))  # doctest: +SKIP
        """
        return self._run_plugin_steps(_register(self.session, *_pickled(plugin, name)))

    def unregister_worker_plugin(self, name: str, nanny: bool | None = None) -> Any:
        """Tear a plugin of workers down, or of nannies with ``nanny=True``; ValueError if there is none of the name.

        Returns ``{address: {"status": "OK"}}``, by worker.
        """
        steps = _unregister(self.session, "nanny" if nanny else "worker", name)
        return self._run_plugin_steps(steps)

    def unregister_scheduler_plugin(self, name: str) -> Any:
        """Have a plugin of the scheduler called no more; ValueError if there is none of the name."""
        return self._run_plugin_steps(_unregister(self.session, "scheduler", name))

    def register_worker_callbacks(self, setup: Callable[..., Any] | None = None) -> Any:
        """Run a function on every worker, and on each that comes later before its first task.

        A parameter ``dask_worker`` receives the worker. Returns ``{address: {"status": "OK"}}``.
        """
        if not callable(setup):
            raise TypeError(f"setup must be a function, not {type(setup).__name__}")
        return self.register_plugin(_Callback(setup))

    def upload_file(self, filename: str | os.PathLike[str], load: bool = True) -> Any:
        """Bring a file to the scheduler and to all workers, those to come too, where it can be imported.

        Parameters
        ----------
        filename
            A module (``.py``), or an archive of modules (``.zip``, ``.egg``, ``.pyz``). Any other file is only put into
            each worker's ``local_directory``. One that was uploaded before under the same name is replaced.
        load
            Import it at once, anew if it was imported before.

        Returns
        -------
        dict
            ``{address: {"status": "OK"}}``.

        Raises
        ------
        OSError
            It cannot be read.
        Exception
            What its import has raised.

        Examples
        --------
        >>> client.upload_file("helpers.py")  # doctest: +SKIP
        {'tcp://127.0.0.1:40001': {'status': 'OK'}}
        """
        from windrow.plugins.files import SchedulerUploadFile, UploadFile

        name = f"upload-file-{os.path.basename(filename)}"
        return self._run_plugin_steps(
            _both(
                _register(self.session, *_pickled(SchedulerUploadFile(filename, load), name)),
                _register(self.session, *_pickled(UploadFile(filename, load), name)),
            )
        )

    def restart_workers(self, workers: list[str | int], timeout: Duration = None, raise_for_error: bool = True) -> Any:
        """Start some workers afresh, by their nannies; what they ran is run again, and what they held is made again.

        Parameters
        ----------
        workers
            Addresses or names.
        timeout
            How long to wait until they have joined again; by default four times the client's.
        raise_for_error
            Raise TimeoutError when the time is over; else the result says so.

        Returns
        -------
        dict
            ``"OK"`` or ``"timed out"``, by what was given.

        Raises
        ------
        ValueError
            There is no such worker, or it has no nanny, which alone could start it.
        """
        names = options.worker_names(workers)
        limit_s = options.seconds(timeout)
        limit_s = 4 * self._timeout_s if limit_s is None else limit_s
        given = dict(zip(names, workers if isinstance(workers, list | tuple | set) else [workers], strict=False))
        return self._run_plugin_steps(_restart_workers(self.session, given, limit_s, raise_for_error))

    def _run_plugin_steps(self, steps: Steps[Any]) -> Any:
        # Without a time limit: an installation may take long, and what it comes to must not be missed.
        return self.run_steps(steps, None, "plugins")


class _Callback(WorkerPlugin):
    """Calls a function on each worker."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def setup(self, worker: Any) -> Any:
        from windrow.plugins.calling import takes

        return self.function(dask_worker=worker) if takes(self.function, "dask_worker") else self.function()


def _pickled(plugin: object, name: str | None) -> tuple[Kind, str, Blob, bool]:
    kind = kind_of(plugin)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, not {type(name).__name__}")
    name = name_of(plugin) if name is None else name
    return kind, name, payload.dumps(plugin, f"The plugin {name!r}"), bool(getattr(plugin, "idempotent", False))


def _register(session: Session, kind: Kind, name: str, blob: Blob, idempotent: bool) -> Steps[Any]:
    from windrow.plugins.held import outcomes

    done, error = outcomes((yield from calls.ask(session, r.RegisterPlugin(kind, name, blob, idempotent))))
    if error is not None:
        if kind != "scheduler":
            yield from calls.ask(session, r.UnregisterPlugin(kind, name))
        raise error
    return done if kind != "scheduler" else None


def _unregister(session: Session, kind: Kind, name: str) -> Steps[Any]:
    from windrow.plugins.held import outcomes

    done, error = outcomes((yield from calls.ask(session, r.UnregisterPlugin(kind, name))))
    if error is not None:
        raise error
    return done if kind != "scheduler" else None


def _both(first: Steps[Any], second: Steps[Any]) -> Steps[Any]:
    yield from first
    return (yield from second)


def _restart_workers(
    session: Session, given: dict[str, Any], limit_s: float, strict: bool
) -> Steps[dict[Any, Restarted]]:
    """Ask for it, then look until each nanny's worker is another process."""
    chosen = yield from calls.chosen_workers(session, list(given))
    alone = [address for address, worker in chosen.items() if not worker["nanny"]]
    if alone:
        raise ValueError(f"only a nanny can start a worker afresh, and these have none: {', '.join(alone)}")
    assert session.loop is not None
    until = session.loop.time() + limit_s
    yield from calls.ask(session, r.RestartWorkers(list(chosen)))
    waiting = {worker["nanny"]: address for address, worker in chosen.items()}
    while waiting and session.loop.time() < until:
        yield from paused(session, POLL_S)
        identity = yield from calls.ask_value(session, r.Identity())
        for worker in identity["workers"].values():
            address = waiting.get(worker["nanny"])
            if address is not None and worker["pid"] != chosen[address]["pid"]:
                del waiting[worker["nanny"]]
    if waiting and strict:
        late = ", ".join(waiting.values())
        raise TimeoutError(
            f"these workers have not joined again within {limit_s:g} s: {late}. Their nannies go on trying."
        )
    return {asked: "timed out" if _is_among(name, waiting.values(), chosen) else "OK" for name, asked in given.items()}


def _is_among(name: str, addresses: Any, workers: dict[str, Any]) -> bool:
    return any(name in (address, str(workers[address]["name"]), workers[address]["host"]) for address in addresses)
