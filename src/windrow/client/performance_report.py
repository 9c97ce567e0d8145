"""``performance_report``: one file that tells what a cluster did during a block of code.

What lives here: the context manager, and the steps that gather what goes into the report. What this file must never
know: how it looks (`windrow.drawing.report`).
"""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from windrow import sampling
from windrow.client import calls, dump, facts, profile, stream
from windrow.client.in_task import get_client
from windrow.client.memory_sampler import Samples
from windrow.client.waiting import Steps
from windrow.drawing import report
from windrow.wire import requests as r

__all__ = ["performance_report"]

MEASURES = ("process", "managed", "spilled")
INTERVAL_S = 0.5

PROFILES = {
    "Worker Profile (compute)": (False, False),
    "Worker Profile (administrative)": (True, False),
    "Scheduler Profile (administrative)": (False, True),
}


class performance_report:  # lower case: it is used like a function
    """Write an HTML file about what the current client's cluster does within a ``with`` (or ``async with``) block.

    It has a summary, the task stream, profiles of tasks and of event loops, transfers, memory over time, the
    scheduler's logs, and the program's text; all that it needs to be read is in it. While the block runs, each task is
    noted, which costs about 3 µs a task.

    Parameters
    ----------
    filename
        A path, or a URL for fsspec.
    stacklevel
        Whose text is shown: 1 is who writes ``with``, 2 who calls that, and so on.
    mode
        Where the file has BokehJS from: ``"inline"`` (the default), or ``"cdn"``. Without Bokeh the figures are plain
        pictures.
    storage_options
        For fsspec.

    Examples
    --------
    >>> with performance_report("run.html"):  # doctest: +SKIP
    ...     x.compute()
    """

    def __init__(
        self,
        filename: str | os.PathLike[str] = "dask-report.html",
        stacklevel: int = 1,
        mode: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if mode not in (None, "inline", "cdn"):
            raise ValueError(f"mode must be 'inline' or 'cdn', not {mode!r}")
        if not isinstance(filename, str | os.PathLike):
            raise TypeError(f"filename must be a path or a URL, not {filename!r}")
        self.filename = os.fspath(filename)
        self.mode = mode
        self.stacklevel = stacklevel
        self.storage_options = dict(storage_options or {})
        self._lease = f"report-{os.urandom(8).hex()}"
        self._code = ""

    def __enter__(self) -> performance_report:
        self._code = _text_of(sys._getframe(self.stacklevel))
        self._client: Any = get_client()
        self._since, self._begun_s = self._run(False, self._begin())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._write(self._run(False, self._gather()))

    async def __aenter__(self) -> performance_report:
        self._code = _text_of(sys._getframe(self.stacklevel))
        self._client = get_client()
        self._since, self._begun_s = await self._run(True, self._begin())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._write(await self._run(True, self._gather()))

    def _run(self, is_async: bool, steps: Steps[Any]) -> Any:
        return self._client.run_block(steps, "performance_report", is_async)

    def _begin(self) -> Steps[tuple[int, float]]:
        session = self._client.session
        self._samples = Samples(session, INTERVAL_S)
        yield from self._samples.begin()
        yield from calls.ask(session, r.Profile(scheduler=True))
        begun = yield from stream.begin(session, self._lease)
        return begun

    def _gather(self) -> Steps[report.Report]:
        session = self._client.session
        samples = yield from self._samples.end()
        rows = yield from stream.end(session, self._since, self._lease)
        profiles = {}
        for name, (server, scheduler) in PROFILES.items():
            request = r.Profile(start=self._begun_s, server=server, scheduler=scheduler)
            trees = yield from profile.by_party(session, request)
            total = sampling.new_tree()
            for tree in trees.values():
                sampling.merge(total, tree)
            profiles[name] = sampling.described(total)
        identity = yield from calls.ask_value(session, r.Identity())
        logs = yield from facts.scheduler_logs(session, report.LOGS_MAX)
        versions = yield from facts.all_versions(session, (), False)
        times = [time_s for time_s, _ in samples]
        memory = {name: (times, [float(taken[name]) for _, taken in samples]) for name in MEASURES}
        return report.Report(
            when=f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self._begun_s))}, {self._client!r}",
            seconds=rows["now"] - self._begun_s,
            code=self._code,
            rows=rows,
            lost=max(0, rows["first"] - self._since),
            profiles=profiles,
            series={"Memory of all workers": ("bytes", memory)},
            workers=[_worker(address, each) for address, each in identity["workers"].items()],
            facts=_versions(versions["scheduler"]),
            logs=[(level, text) for level, text in logs],
        )

    def _write(self, gathered: report.Report) -> None:
        dump.write(self.filename, report.render(gathered, self.mode).encode(), self.storage_options)


def _worker(address: str, worker: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": worker["name"],
        "address": address,
        "host": worker["host"],
        "nthreads": worker["nthreads"],
        "memory": int(worker["metrics"].get("memory", 0)),
        "memory_limit": worker["memory_limit"],
    }


def _versions(party: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = {**party["host"], **party["packages"]}
    return [(str(name), str(value)) for name, value in known.items() if value]


def _text_of(frame: FrameType) -> str:
    """Return the text of the function or the file that a frame is in; "" where there is none."""
    try:
        return inspect.getsource(frame)
    except (OSError, TypeError):
        return ""
