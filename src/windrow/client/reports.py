"""Methods of `Client` that report on the cluster: versions, logs, sizes, stacks, states; and `Client.scheduler`.

What lives here: their signatures and checks; the work is done in ``facts`` and ``dump``. What this file must never
know: connections, messages.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from windrow import keys as keys_
from windrow import logs, roles, security
from windrow.client import dump, facts
from windrow.client.base import Base
from windrow.client.future import futures_of, given_futures
from windrow.client.options import Workers, worker_names
from windrow.client.proxy import SchedulerProxy
from windrow.client.waiting import Steps
from windrow.keys import Key


class ReportMethods(Base):
    """What a client can tell of its cluster."""

    @property
    def scheduler(self) -> SchedulerProxy:
        """The scheduler, to ask by name: ``await client.scheduler.who_has(keys=[…])``."""
        return SchedulerProxy(self)

    @property
    def scheduler_comm(self) -> SchedulerProxy:
        """The same as ``scheduler``."""
        return self.scheduler

    def _report(self, steps: Steps[Any], what: str) -> Any:
        return self.run_steps(steps, self._timeout_s, what)

    def get_versions(self, check: bool = False, packages: Iterable[str] | None = None) -> Any:
        """Return the versions of what client, scheduler and workers run on.

        Parameters
        ----------
        check
            Warn (`VersionMismatchWarning`) if they differ.
        packages
            Names to look at beside those that matter to windrow.

        Returns
        -------
        dict
            ``{"scheduler": …, "workers": {address: …}, "client": …}``, each of ``{"host": …, "packages": …}``.
        """
        if isinstance(packages, str):
            raise TypeError(f"packages must be a list of names, not the text {packages!r}")
        return self._report(facts.all_versions(self.session, list(packages or ()), check), "get_versions")

    # ---------------------------------------------------------------- logs

    def get_scheduler_logs(self, n: int | None = None) -> Any:
        """Return the last ``n`` log records of the scheduler, newest first, as (level, text); all that it remembers.

        Each process remembers what its loggers ``windrow`` and ``distributed``, and those below them, let through: by
        Python's default warnings and errors. How many is ``distributed.admin.log-length``.
        """
        return self._report(facts.scheduler_logs(self.session, _checked_count(n)), "get_scheduler_logs")

    def get_worker_logs(self, n: int | None = None, workers: Workers = None, nanny: bool = False) -> Any:
        """Return the last log records of workers, by address (with ``nanny``, of their nannies).

        See `get_scheduler_logs`. Workers in one process share their records.
        """
        if nanny:
            client: Any = self
            return client.run(logs.recent, "nanny", _checked_count(n), workers=workers, nanny=True)
        names = None if workers is None else worker_names(workers)
        return self._report(facts.worker_logs(self.session, _checked_count(n), names), "get_worker_logs")

    # ---------------------------------------------------------------- tasks

    def nbytes(self, keys: Any = None, summary: bool = True, **kwargs: Any) -> Any:
        """Return how many bytes results take, by what their keys begin with; with ``summary=False`` by key.

        ``keys`` are keys, futures or collections; by default all that there are.
        """
        return self._report(facts.nbytes(self.session, _keys_of(keys), bool(summary)), "nbytes")

    def call_stack(self, futures: Any = None, keys: Any = None) -> Any:
        """Return where running tasks are in their code: {address: {key: [frame as text, outermost first]}}.

        Of ``futures`` (or collections) or ``keys``; by default of all that run. Tasks that do not run just now are left
        out.
        """
        wanted = _keys_of(keys)
        if futures is not None:
            wanted = [*(wanted or []), *(future.key for future in given_futures(futures, "futures"))]
        return self._report(facts.call_stacks(self.session, wanted), "call_stack")

    def story(self, *keys_or_stimuli: Any, on_error: str = "raise") -> Any:
        """Return where tasks stand: a list of (who says so, key, state, facts), of the scheduler and then of workers.

        Nothing is written down while tasks move, which is what makes moving them cheap: so this is what is known now,
        and not the way that led there.

        Parameters
        ----------
        *keys_or_stimuli
            Keys or futures.
        on_error
            Accepted for the sake of existing programs: ``"raise"`` or ``"ignore"``.
        """
        if on_error not in ("raise", "ignore"):
            raise ValueError(f"on_error must be 'raise' or 'ignore', not {on_error!r}")
        return self._report(facts.story(self.session, _keys_of(list(keys_or_stimuli)) or []), "story")

    # ---------------------------------------------------------------- files

    def dump_cluster_state(
        self,
        filename: str = "dask-cluster-dump",
        write_from_scheduler: bool | None = None,
        exclude: Collection[str] = (),
        format: str = "msgpack",
        **storage_options: Any,
    ) -> Any:
        """Write all that is known of the cluster's tasks and workers to a file, for a look at it later.

        Parameters
        ----------
        filename
            A path, or a URL for fsspec; ``.msgpack.gz`` or ``.yaml`` is added.
        write_from_scheduler
            Whether the scheduler's process writes it; by default if it is a URL.
        exclude
            Facts of tasks to leave out, such as ``"error"``.
        format
            ``"msgpack"`` or ``"yaml"``.
        **storage_options
            For fsspec.
        """
        name = os.fspath(filename)
        if isinstance(exclude, str):
            raise TypeError(f"exclude must be a collection of names, not the text {exclude!r}")
        there = "://" in name if write_from_scheduler is None else bool(write_from_scheduler)
        steps = dump.dump(self.session, name, there, exclude, dump.checked_format(format), storage_options)
        return self._report(steps, "dump_cluster_state")

    def write_scheduler_file(self, scheduler_file: str) -> None:
        """Write a file for ``Client(scheduler_file=…)``: where the scheduler is, and this client's secret or token.

        The file is for its owner's eyes only. ValueError if this client itself has come by such a file.
        """
        import json

        client: Any = self
        connection = client._connection
        if connection.scheduler_file is not None:
            raise ValueError(f"this client has its scheduler from {connection.scheduler_file!r}, which is that file")
        record = dict(client.scheduler_info())
        secret = connection.secret
        if secret:
            record["secret"] = roles.to_text(secret)
        certificates = connection.certificates or security.certificates_for(str(record["address"]))
        if certificates is not None:
            record["tls"] = certificates.to_record(private=certificates.is_shared)
        descriptor = os.open(os.fspath(scheduler_file), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # of a file that was there already, too
            json.dump(record, file, indent=2)


def _checked_count(n: object) -> int | None:
    if n is None:
        return None
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be a number of records or None, not {n!r}")
    return n


def _keys_of(given: Any) -> list[Key] | None:
    """Return the keys that are meant by keys, futures and collections, mixed."""
    if given is None:
        return None
    if keys_.is_key(given):
        return [keys_.checked(given)]
    found: list[Key] = []
    for item in given if isinstance(given, list | set | frozenset) else [given]:
        if keys_.is_key(item):
            found.append(keys_.checked(item))
        else:
            futures = futures_of(item)
            if not futures and not hasattr(item, "__dask_graph__"):
                raise TypeError(f"keys must be keys, futures or collections, not {type(item).__name__}: {item!r}")
            found += [future.key for future in futures]
    return found
