"""A plugin that notes what becomes of tasks, for ``get_task_metadata``.

What lives here: `CollectTaskMetadata`. What this file must never know: clients.
"""

from __future__ import annotations

from typing import Any

from windrow.keys import Key
from windrow.plugins.base import SchedulerPlugin

__all__ = ["CollectTaskMetadata"]

FACTS = ("worker", "nbytes", "typename", "startstops")


class CollectTaskMetadata(SchedulerPlugin):
    """Notes each task that finishes or errs while it is there.

    Examples
    --------
    >>> plugin = CollectTaskMetadata("mine")
    >>> plugin.transition("x", "processing", "memory", stimulus_id="", worker="tcp://w", nbytes=8)
    >>> plugin.metadata, plugin.state
    ({'x': {'worker': 'tcp://w', 'nbytes': 8}}, {'x': 'memory'})
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata: dict[Key, dict[str, Any]] = {}
        self.state: dict[Key, str] = {}

    def transition(self, key: Key, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any) -> None:
        """Note what became of a task."""
        if finish in ("memory", "erred"):
            facts = {name: kwargs[name] for name in FACTS if kwargs.get(name) is not None}
            self.metadata[key] = {**kwargs.get("metadata", {}), **facts}
            self.state[key] = finish
