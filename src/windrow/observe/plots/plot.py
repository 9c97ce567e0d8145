"""`Plot`: what one plot is, said in data: its name, its words, the facts that it needs, and how these become columns.

What lives here: `Plot`, the kinds of plots, and the frames that they are filled with. What this file must never know:
Bokeh (`draw` makes figures of these), the scheduler, and any single plot.

A plot's frames are columns under a name each. All that is drawn, hovered over or clicked is in them:

``boxes``
    left, right, bottom, top, color, alpha, hatch, label, detail, link. Bars, streams, flames and maps are boxes.
``texts``
    x, y, text.
``ticks``
    at, text: what stands at the vertical axis.
``lines``
    time (milliseconds since the epoch), and a column a line.
``nodes``, ``edges``
    x, y, color, shape, size, label, detail, link; and xs, ys.
``rows``
    A column a column of a table, and ``link``, where a row leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from windrow.drawing import boxes as drawn

__all__ = [
    *("BOXES", "Boxes", "Columns", "Facts", "Frames", "Kind", "Lines", "Network", "Page", "Plot", "Rows"),
    *("add_box", "boxes"),
]

Columns: TypeAlias = drawn.Columns
Frames: TypeAlias = dict[str, Columns]
Facts: TypeAlias = Mapping[str, Any]
"""What is known, by the names of `windrow.observe.feed.ASKED`."""

Unit: TypeAlias = Literal["", "bytes", "bytes/s", "count", "percent", "seconds", "time", "share"]


@dataclass(frozen=True, slots=True)
class Boxes:
    """A figure of boxes: bars, streams, flames, maps."""

    x: Unit = ""
    x_label: str = ""
    y_label: str = ""
    hatched: bool = False
    """Whether some boxes are hatched: dear where there are many, as each gets a picture of its own at each change."""
    texts: Literal["", "beside", "inside"] = ""
    """Whether there are texts in it, and where."""
    flipped: bool = False
    """Whether it is read from the top down."""
    stream: str = ""
    """Where its boxes are a stream: the setting that says how many are shown. Its frame is ``stream``: ``first`` (the
    number of the first box) and ``boxes``, of each chunk."""
    follow_s: float = 0.0
    """Where it is a stream: so much time is in view, the latest."""
    gesture: Literal["", "select", "zoom"] = ""
    """What else can be done: choose a range (`Drawing.on_range`), or look closer at a box by a click on it."""
    tools: str = ""
    """In which directions it can be moved: "x", "xy", or "" for a figure that stands still."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A figure of lines over time."""

    unit: Unit
    label: str
    series: tuple[tuple[str, str, str], ...]
    """Column, what it is, colour."""


@dataclass(frozen=True, slots=True)
class Network:
    """A figure of nodes and edges."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: column, heading, and the form of its cells (text, words, number, bytes, percent, ago, seconds, long)."""

    columns: tuple[tuple[str, str, str], ...]


Kind: TypeAlias = Boxes | Lines | Network | Rows


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Attributes
    ----------
    name
        Its path is ``/individual-{name}``.
    title, note
        Words above it: what it is; what it shows, and in which unit.
    needs
        The facts that it is made of.
    frames
        Makes its columns of them; pure.
    kind
        What is drawn.
    legend
        Colours and what they mean.
    height
        Of the figure, in rem; 0 for as high as the window lets it.
    """

    name: str
    title: str
    note: str
    needs: tuple[str, ...]
    frames: Callable[[Facts], Frames]
    kind: Kind
    legend: tuple[tuple[str, str], ...] = ()
    height: float = 15.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path, its title, and rows of plots; several in one place are tabs."""

    path: str
    title: str
    places: tuple[tuple[str, ...], ...] = field(default=())
    wide: frozenset[int] = frozenset()
    """Numbers of the places that are as wide as the page."""

    @property
    def plots(self) -> Sequence[str]:
        """The names of all plots, in order."""
        return [name for place in self.places for name in place]

    @property
    def in_view(self) -> Sequence[str]:
        """The names of those in view when the page opens; further tabs are opened as pages of their own."""
        return [place[0] for place in self.places]


BOXES = (*drawn.BOXES, "hatch", "link")
"""The columns of boxes: those of any picture, and what a page has beside."""


def boxes() -> Columns:
    """Return columns of boxes, without any yet."""
    return {name: [] for name in BOXES}


def add_box(
    columns: Columns,
    x: tuple[float, float],
    y: tuple[float, float],
    color: str,
    label: str,
    detail: str,
    link: str = "",
    alpha: float = 1.0,
    hatch: str = " ",
) -> None:
    """Add one box.

    Examples
    --------
    >>> found = boxes()
    >>> add_box(found, (0, 1), (0, 1), "#4477aa", "inc", "1 s")
    >>> found["right"], found["label"]
    ([1], ['inc'])
    """
    drawn.add(columns, x, y, color, label, detail, alpha)
    columns["hatch"].append(hatch)
    columns["link"].append(link)
