"""``get_task_metadata``: what became of the tasks of a block of code.

What lives here: the context manager. What this file must never know: how the scheduler calls plugins.
"""

from __future__ import annotations

import os
from typing import Any

from windrow.client.in_task import get_client
from windrow.keys import Key
from windrow.plugins.collect import CollectTaskMetadata

__all__ = ["get_task_metadata"]


class get_task_metadata:  # lower case: it is used like a function
    """Collect what is known of the tasks that finish or err within a ``with`` block, of whichever client.

    Attributes
    ----------
    metadata : dict of str to dict
        For each key: ``worker`` (address), ``nbytes``, ``typename`` and ``startstops`` (seconds since the epoch), as
        far as they are known. Empty until the block ends.
    state : dict of str to str
        For each key ``"memory"`` or ``"erred"``.

    Examples
    --------
    >>> with get_task_metadata() as tasks:  # doctest: +SKIP
    ...     client.submit(abs, -1).result()
    >>> tasks.state  # doctest: +SKIP
    {'abs-8d10e2b1': 'memory'}
    """

    def __init__(self) -> None:
        self.name = f"task-metadata-{os.urandom(8).hex()}"
        self.metadata: dict[Key, dict[str, Any]] = {}
        self.state: dict[Key, str] = {}

    def __enter__(self) -> get_task_metadata:
        self._client: Any = get_client()
        self._client.register_plugin(CollectTaskMetadata(self.name), self.name)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._take(self._client.run_on_scheduler(_noted, self.name))
        self._client.unregister_scheduler_plugin(self.name)

    async def __aenter__(self) -> get_task_metadata:
        self._client = get_client()
        await self._client.register_plugin(CollectTaskMetadata(self.name), self.name)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._take(await self._client.run_on_scheduler(_noted, self.name))
        await self._client.unregister_scheduler_plugin(self.name)

    def _take(self, noted: tuple[dict[Key, dict[str, Any]], dict[Key, str]]) -> None:
        self.metadata, self.state = noted


def _noted(name: str, dask_scheduler: Any) -> tuple[Any, Any]:
    plugin = dask_scheduler.plugins[name]
    return plugin.metadata, plugin.state
