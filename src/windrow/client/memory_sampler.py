"""``MemorySampler``: how much memory a cluster took, run by run, to compare.

What lives here: `MemorySampler`, and `Samples`, which reports have too. What this file must never know: how memory is
measured. It is the client that asks, so that it takes no more than the right to look.
"""

from __future__ import annotations

import importlib.util
import os
from asyncio import TimerHandle
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from windrow.client import calls, options
from windrow.client.in_task import get_client
from windrow.client.session import Question, Session
from windrow.client.waiting import Steps
from windrow.errors import ClosedClientError
from windrow.scheduler.memory_state import MEASURES
from windrow.wire import messages as m
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.client import Client

__all__ = ["MemorySampler", "Samples", "Sampling"]

Sample: TypeAlias = tuple[float, dict[str, int]]
"""A time in seconds since the epoch, and bytes by measure."""

SAMPLES_MAX = 100_000
"""When there are so many, every other one goes, and the next ones are twice as far apart."""

NEEDS_PANDAS = "pandas makes tables of the samples, and is not installed here: pip install pandas"
NEEDS_MATPLOTLIB = "matplotlib draws the samples, and is not installed here: pip install matplotlib"

GIB = 2**30


class MemorySampler:
    """Samples the memory that all workers together take, for as long as a block of code runs.

    Attributes
    ----------
    samples : dict of str to list of tuple
        For each label: (seconds since the epoch, bytes), as far as its block has ended.

    Examples
    --------
    >>> sampler = MemorySampler()  # doctest: +SKIP
    >>> with sampler.sample("with spilling"):  # doctest: +SKIP
    ...     x.compute()
    >>> sampler.to_pandas(align=True).max()  # doctest: +SKIP
    with spilling    5.2e9
    """

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[float, int]]] = {}

    def __repr__(self) -> str:
        return f"<MemorySampler {', '.join(f'{label}: {len(taken)}' for label, taken in self.samples.items())}>"

    def sample(
        self,
        label: str | None = None,
        *,
        client: Client | None = None,
        measure: str = "process",
        interval: float = 0.5,
    ) -> Sampling:
        """Return a context manager (``with`` or ``async with``) that samples while its block runs.

        Parameters
        ----------
        label
            What the samples are known by; by default a random one.
        client
            Whose cluster; by default that of the current client.
        measure
            What is measured: ``process`` (what the system says), ``optimistic``, ``managed``, ``managed_total``,
            ``spilled``, ``unmanaged``, ``unmanaged_old`` or ``unmanaged_recent``.
        interval
            How often, in seconds. Workers measure themselves once a second.
        """
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, not {measure!r}")
        seconds = options.seconds(interval, "interval")
        if seconds is None or not seconds > 0:
            raise ValueError(f"interval must be a time above 0, not {interval!r}")
        return Sampling(self, os.urandom(4).hex() if label is None else label, client, measure, seconds)

    def to_pandas(self, *, align: bool = False) -> Any:
        """Return a table: a column a label, a row a time.

        With ``align`` times are counted from the beginning of each block, so that runs can be compared.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(NEEDS_PANDAS, name="pandas") from error
        columns = {}
        for label, taken in self.samples.items():
            times = pandas.to_datetime([time for time, _ in taken], unit="s")
            column = pandas.Series([size for _, size in taken], index=times, dtype="int64")
            column = column[~column.index.duplicated(keep="last")]
            columns[label] = column.set_axis(column.index - column.index[0]) if align and len(column) else column
        return pandas.DataFrame(columns)

    def plot(self, *, align: bool = False, **kwargs: Any) -> Any:
        """Draw the samples with pandas, in GiB over time; ``kwargs`` are for ``DataFrame.plot``."""
        table = self.to_pandas(align=align) / GIB
        if "backend" not in kwargs and importlib.util.find_spec("matplotlib") is None:
            raise ImportError(NEEDS_MATPLOTLIB, name="matplotlib")
        gaps = {} if align else {"xlabel": "time"}
        return table.interpolate().plot(**{"ylabel": "cluster memory (GiB)", **gaps, **kwargs})


class Sampling:
    """A block of code during which memory is sampled."""

    def __init__(
        self, sampler: MemorySampler, label: str, client: Client | None, measure: str, interval_s: float
    ) -> None:
        self._sampler = sampler
        self._label = label
        self._measure = measure
        self._client: Any = client or get_client()
        self._samples = Samples(self._client.session, interval_s)

    def __enter__(self) -> MemorySampler:
        self._run(False, self._samples.begin())
        return self._sampler

    def __exit__(self, *exc_info: object) -> None:
        self._keep(self._run(False, self._samples.end()))

    async def __aenter__(self) -> MemorySampler:
        await self._run(True, self._samples.begin())
        return self._sampler

    async def __aexit__(self, *exc_info: object) -> None:
        self._keep(await self._run(True, self._samples.end()))

    def _run(self, is_async: bool, steps: Steps[Any]) -> Any:
        return self._client.run_block(steps, "sampler.sample", is_async)

    def _keep(self, samples: list[Sample]) -> None:
        self._sampler.samples[self._label] = [(time_s, taken[self._measure]) for time_s, taken in samples]


class Samples:
    """What a scheduler says of memory, asked every now and then, from `begin` to `end`.

    Parameters
    ----------
    session
        Whose scheduler.
    interval_s
        How often.
    """

    def __init__(self, session: Session, interval_s: float) -> None:
        self._session = session
        self._interval_s = interval_s
        self._taken: list[Sample] = []
        self._timer: TimerHandle | None = None
        self._is_over = False

    def begin(self) -> Steps[None]:
        """Take the first sample, and have the loop take others."""
        yield from self._take()
        self._in_loop(self._wait)

    def end(self) -> Steps[list[Sample]]:
        """Take the last sample; return all."""
        self._is_over = True
        self._in_loop(self._stop)
        yield from self._take()
        return sorted(self._taken, key=itemgetter(0))

    def _take(self) -> Steps[None]:
        reply = yield from calls.ask(self._session, r.Memory())
        self._keep(reply)

    def _keep(self, reply: m.Reply) -> None:
        time_s, taken = reply.value
        if len(self._taken) >= SAMPLES_MAX:
            self._taken = self._taken[::2]
            self._interval_s *= 2
        self._taken.append((time_s, taken))

    def _in_loop(self, do: Callable[[], None]) -> None:
        assert self._session.loop is not None
        try:
            self._session.loop.call_soon_threadsafe(do)
        except RuntimeError:  # it is closed; the question that follows says why there is no answer
            self._is_over = True

    # ------------------------------------------------------------ in the loop

    def _wait(self) -> None:
        if not self._is_over:
            assert self._session.loop is not None
            self._timer = self._session.loop.call_later(self._interval_s, self._ask)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self) -> None:
        try:
            question = self._session.ask(r.Memory())
        except ClosedClientError:  # `end` says so
            return
        question.attach(lambda: self._in_loop(lambda: self._hear(question)))

    def _hear(self, question: Question) -> None:
        reply = question.reply
        if reply is not None and reply.error is None and not self._is_over:
            self._keep(reply)
            self._wait()
