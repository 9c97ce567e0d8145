"""Methods of `Client` that tell what threads did, and what they spent their time on.

What lives here: their signatures and checks; the work is done in ``stream`` and ``profile``. What this file must never
know: connections.
"""

from __future__ import annotations

import os
import time
from typing import Any

from windrow.client import options, profile, stream
from windrow.client.base import Base
from windrow.client.options import Workers
from windrow.client.waiting import Steps
from windrow.drawing import figures, flame
from windrow.wire import requests as r

__all__ = ["RecordedMethods"]


class RecordedMethods(Base):
    """What a client can tell of what was run."""

    def get_task_stream(
        self,
        start: float | str | None = None,
        stop: float | str | None = None,
        count: int | None = None,
        plot: bool | str = False,
        filename: str | os.PathLike[str] = "task-stream.html",
        bokeh_resources: Any = None,
    ) -> Any:
        """Return what threads did, a record for each attempt; it is noted from the first call on.

        What is noted is kept for an hour after the last call, 100,000 rows of it
        (``distributed.scheduler.dashboard.tasks.task-stream-length``).

        Parameters
        ----------
        start, stop
            Only what ended after, and began before: seconds since the epoch, or how long ago (``"10 s"``).
        count
            Only so many, the latest.
        plot
            True: a pair of the records and a figure, which takes Bokeh; ``"save"``: and write it to a file.
        filename, bokeh_resources
            Of that file; by default all that it needs is in it.

        Returns
        -------
        list of dict
            ``key``, ``worker`` (address), ``thread``, ``status`` (``"OK"`` or ``"error"``), ``nbytes`` and ``typename``
            of the result, and ``startstops``: for what (``"transfer"``, ``"disk-read"``, ``"deserialize"``,
            ``"compute"``), from when to when, in seconds since the epoch by one clock.

        Examples
        --------
        >>> client.get_task_stream(count=1)  # doctest: +SKIP
        [{'key': 'inc-8d10e2b1', 'worker': 'tcp://127.0.0.1:40123', 'typename': 'int', …}]
        """
        stream.checked_plot(plot)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise ValueError(f"count must be a number of tasks or None, not {count!r}")
        stream.when(start, 0.0), stream.when(stop, 0.0)
        steps = _task_stream(stream.rows(self.session, 0), (start, stop, count), plot, filename, bokeh_resources)
        return self.run_steps(steps, self._timeout_s, "get_task_stream")

    def profile(
        self,
        key: str | None = None,
        start: float | str | None = None,
        stop: float | str | None = None,
        workers: Workers = None,
        merge_workers: bool = True,
        plot: bool | str = False,
        filename: str | os.PathLike[str] | None = None,
        server: bool = False,
        scheduler: bool = False,
    ) -> Any:
        """Return what tasks spent their time on, by samples of their stacks every 10 ms.

        Parameters
        ----------
        key
            Only tasks of one kind: what their keys begin with, such as ``"inc"``.
        start, stop
            Only what ran between: seconds since the epoch, or how long ago (``"10 s"``).
        workers
            Only on these.
        merge_workers
            False: a profile for each worker, by address.
        plot
            True: a pair of the profile and a figure, which takes Bokeh; ``"save"``: and write it to a file.
        filename
            Of that file, by default ``dask-profile.html``; with a name it is written.
        server
            Of the workers' event loops, instead of their tasks.
        scheduler
            Of the scheduler's event loop, which is looked at from the first call on.

        Returns
        -------
        dict
            A tree: ``count`` (samples), ``description`` (``name``, ``filename``, ``line_number``, ``line``),
            ``identifier``, and ``children`` by identifier.

        Examples
        --------
        >>> client.profile("inc")["count"]  # doctest: +SKIP
        17
        """
        plot = "save" if filename is not None and plot is not False else plot or ("save" if filename else False)
        stream.checked_plot(plot)
        if plot and not merge_workers:
            raise ValueError("one figure shows one profile: leave plot out, or merge_workers=False")
        now_s = time.time()
        names = None if workers is None else options.worker_names(workers)
        request = r.Profile(
            None if key is None else str(key),
            stream.when(start, now_s),
            stream.when(stop, now_s),
            names,
            bool(server),
            bool(scheduler),
        )
        steps = profile.merged(self.session, request, merge_workers)
        return self.run_steps(_profile(steps, plot, filename or "dask-profile.html"), self._timeout_s, "profile")


def _task_stream(
    steps: Steps[stream.Rows],
    choice: tuple[Any, Any, int | None],
    plot: bool | str,
    filename: str | os.PathLike[str],
    resources: Any,
) -> Steps[Any]:
    found = yield from steps
    found = stream.chosen(found, *choice)
    records = stream.records(found)
    if not plot:
        return records
    figure = stream.figure(found)
    if plot == "save":
        figures.save(figure, filename, "Task Stream", resources)
    return records, figure


def _profile(steps: Steps[dict[str, Any]], plot: bool | str, filename: str | os.PathLike[str]) -> Steps[Any]:
    state = yield from steps
    if not plot:
        return state
    figure = figures.flame(flame.boxes_of(state))
    if plot == "save":
        figures.save(figure, filename, "Profile")
    return state, figure
