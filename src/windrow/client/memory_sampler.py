"""``MemorySampler``: how much memory a cluster took, run by run, to compare.

What lives here: `MemorySampler`. What this file must never know: how memory is measured.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

from windrow.client import options
from windrow.client.in_task import get_client
from windrow.plugins.sampled import MEASURES, SampleMemory

if TYPE_CHECKING:
    from windrow.client.client import Client

__all__ = ["MemorySampler", "Sampling"]

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
        seconds = options.seconds(interval)
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
        self._client: Any = client or get_client()
        self._plugin = SampleMemory(f"memory-{os.urandom(8).hex()}", (measure,), interval_s)

    def __enter__(self) -> MemorySampler:
        self._client.register_plugin(self._plugin, self._plugin.name)
        return self._sampler

    def __exit__(self, *exc_info: object) -> None:
        self._keep(self._client.run_on_scheduler(stop, self._plugin.name))

    async def __aenter__(self) -> MemorySampler:
        await self._client.register_plugin(self._plugin, self._plugin.name)
        return self._sampler

    async def __aexit__(self, *exc_info: object) -> None:
        self._keep(await self._client.run_on_scheduler(stop, self._plugin.name))

    def _keep(self, samples: list[tuple[float, tuple[int, ...]]]) -> None:
        self._sampler.samples[self._label] = [(time, sizes[0]) for time, sizes in samples]


def stop(name: str, dask_scheduler: Any) -> list[tuple[float, tuple[int, ...]]]:
    """End a plugin, on the scheduler; return what it has sampled."""
    samples: list[tuple[float, tuple[int, ...]]] = dask_scheduler.plugins[name].stop()
    dask_scheduler.remove_plugin(name)
    return samples
