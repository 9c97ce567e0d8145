"""A cluster in a notebook: its table, and fields to scale it by, where ipywidgets is installed.

What lives here: `Controls`, and `for_notebook`. What this file must never know: how a cluster scales.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from windrow.client import displays

if TYPE_CHECKING:
    from windrow.deploy.cluster import Cluster

__all__ = ["Controls", "for_notebook"]


class Controls:
    """A widget that shows a cluster, follows it, and has buttons to scale it.

    Parameters
    ----------
    cluster
        Which one.
    can_scale
        Whether to have these buttons.

    Attributes
    ----------
    widget : ipywidgets.VBox
        What is displayed.
    """

    def __init__(self, cluster: Cluster, can_scale: bool) -> None:
        kit: Any = importlib.import_module("ipywidgets")
        self._cluster = cluster
        self.table = kit.HTML(cluster._repr_html_())
        self.said = kit.HTML("")
        self.count = _number(kit, "Workers", len(cluster.plan) if can_scale else 0)
        self.minimum, self.maximum = _number(kit, "Minimum", 0), _number(kit, "Maximum", max(1, self.count.value))
        self.scale = kit.Button(description="Scale", tooltip="have so many workers")
        self.adapt = kit.Button(description="Adapt", tooltip="have as many as the work asks for, within these limits")
        self.scale.on_click(lambda _: self._do(self._scale, self.count.value))
        self.adapt.on_click(lambda _: self._do(self._adapt, self.minimum.value, self.maximum.value))
        rows = [kit.HBox([self.count, self.scale]), kit.HBox([self.minimum, self.maximum, self.adapt]), self.said]
        self.widget = kit.VBox([self.table, *rows] if can_scale else [self.table])

    def __repr__(self) -> str:
        return f"<Controls of {self._cluster!r}>"

    def refresh(self) -> None:
        """Show the cluster as it is now."""
        text = self._cluster._repr_html_()
        if text != self.table.value:
            self.table.value = text

    def _do(self, what: Callable[..., Any], *numbers: int) -> None:
        """Do what a button is for, so that the notebook goes on meanwhile; say what is wrong with it."""
        self.said.value = ""
        if self._cluster.asynchronous:
            task = asyncio.ensure_future(self._told(what, *numbers))
            task.add_done_callback(lambda done: done.exception())
        else:
            threading.Thread(target=asyncio.run, args=(self._told(what, *numbers),), daemon=True).start()

    async def _told(self, what: Callable[..., Any], *numbers: int) -> None:
        try:
            result = what(*numbers)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self.said.value = f"<span>{escape(f'{type(error).__name__}: {error}')}</span>"
        self.refresh()

    def _scale(self, n: int) -> Any:
        adaptive = self._cluster._adaptive
        if adaptive is not None:
            adaptive.stop("a number of workers was asked for")
        return self._cluster.scale(n)

    def _adapt(self, minimum: int, maximum: int) -> None:
        self._cluster.adapt(minimum=minimum, maximum=maximum)


def _number(kit: Any, name: str, value: int) -> Any:
    return kit.BoundedIntText(value, min=0, max=1_000_000, description=name, layout=kit.Layout(width="170px"))


def for_notebook(cluster: Cluster, can_scale: bool) -> Controls | None:
    """Return the controls of a cluster; None where nobody would see them, or ipywidgets is not installed.

    Examples
    --------
    >>> for_notebook(object(), True) is None  # this is no notebook
    True
    """
    if not displays.in_kernel():
        return None
    try:
        return Controls(cluster, can_scale)
    except ImportError:
        return None
