"""Where progress is shown: a terminal, a notebook, or a log.

What lives here: a class for each. What this file must never know: what is counted, and how.

Each takes pictures with ``show``, the last one with ``end``, and is closed with ``close`` in any case; all from one
thread. ``interval_s`` says how often it wants one.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any, Protocol, TextIO

from windrow.client import bars
from windrow.client.tally import Picture

LOG_EVERY_S = 5.0
"""A log gets a line no more often than this, and one at the end."""


class Display(Protocol):
    """Shows pictures."""

    interval_s: float

    def show(self, picture: Picture) -> None:
        """Show how it stands."""

    def end(self, picture: Picture) -> None:
        """Show how it has ended."""

    def close(self) -> None:
        """Leave things in good order, however it has ended; again is harmless."""


class LogLines:
    """Plain lines, few of them, where nobody watches.

    Parameters
    ----------
    stream
        Where they go; None: stderr, as it is then.

    Examples
    --------
    >>> from windrow.client.tally import Row
    >>> lines = LogLines(sys.stdout)
    >>> lines.end(Picture((Row("inc", 5, 0, 0, 0, 0),), 2.0, None, is_over=True))
    progress: 100 %, 5 of 5; in 2.0 s, 2.5/s
    """

    interval_s = 0.5

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._last_s = 0.0

    def show(self, picture: Picture) -> None:
        """Write a line, if it is time."""
        if picture.elapsed_s - self._last_s >= LOG_EVERY_S:
            self._last_s = picture.elapsed_s
            self._say(bars.line(picture))

    def end(self, picture: Picture) -> None:
        """Write the last line, and what went wrong."""
        self._say("\n".join([bars.line(picture), *bars.errors(picture)]))

    def close(self) -> None:
        """Do nothing."""

    def _say(self, text: str) -> None:
        stream = self._stream or sys.stderr
        if stream is None:  # a program without a terminal may have none
            return
        stream.write(f"{text}\n")
        stream.flush()


class PlainBar:
    """One line that is written over and over, on a terminal where `rich` is not installed.

    Parameters
    ----------
    stream, width
        The terminal, and how long the bar is.
    """

    interval_s = 0.1

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._length = 0

    def show(self, picture: Picture) -> None:
        """Write it over."""
        whole = picture.whole
        line = f"{bars.bar(whole, self._width)} {bars.percent(whole)} {bars.counts(whole)}; {bars.timing(picture)}"
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def end(self, picture: Picture) -> None:
        """Write it for the last time, and what went wrong under it."""
        self.show(picture)
        for words in bars.errors(picture):
            self._stream.write(f"\n{words}")

    def close(self) -> None:
        """End the line."""
        if self._length:
            self._stream.write("\n")
            self._stream.flush()
            self._length = 0


class Screen:
    """The part of a terminal where bars live: all that are shown at a time, one under the other.

    Parameters
    ----------
    console
        A console of `rich`.
    """

    def __init__(self, console: Any) -> None:
        self.console = console
        self._lock = threading.Lock()
        self._shown: dict[object, Any] = {}
        self._live: Any = None

    def put(self, owner: object, drawing: Any) -> None:
        """Show a drawing in the place of its owner's last one."""
        from rich.live import Live

        with self._lock:
            self._shown[owner] = drawing
            if self._live is None:
                self._live = Live(console=self.console, auto_refresh=False)
                self._live.start()
            self._draw()

    def leave(self, owner: object) -> None:
        """Leave the owner's last drawing where it is, above those that go on."""
        with self._lock:
            drawing = self._shown.pop(owner, None)
            if drawing is None:
                return
            if self._shown:
                self.console.print(drawing)
                self._draw()
                return
            self._live.update(drawing, refresh=True)
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        from rich.console import Group

        self._live.update(Group(*self._shown.values()), refresh=True)


_screen: Screen | None = None
_screens = threading.Lock()


def the_screen() -> Screen:
    """Return the terminal's, made at its first use."""
    global _screen
    from rich.console import Console

    with _screens:
        if _screen is None or _screen.console.file is not sys.stderr:
            _screen = Screen(Console(stderr=True))
        return _screen


class Terminal:
    """Bars on a terminal, one a row, drawn by `rich`.

    Parameters
    ----------
    screen, width, multi
        Where; how long bars are; whether each row has one.
    """

    interval_s = 0.1

    def __init__(self, screen: Screen, width: int, multi: bool) -> None:
        self._screen = screen
        self._width = width
        self._multi = multi

    def show(self, picture: Picture) -> None:
        """Draw it anew."""
        self._screen.put(self, drawing(picture, self._width, self._multi))

    def end(self, picture: Picture) -> None:
        """Draw it for the last time."""
        self.show(picture)

    def close(self) -> None:
        """Leave what is drawn."""
        self._screen.leave(self)


def drawing(picture: Picture, width: int, multi: bool) -> Any:
    """Return bars for `rich` to draw, with the timing and the errors under them."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column(width=width)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, row in bars.shown(picture, multi):
        table.add_row(
            Text(name),
            ProgressBar(
                total=row.total or 1,
                completed=row.ended if row.total else 1,
                width=width,
                complete_style=_style("erred" if row.erred else "done"),
                finished_style=_style("erred" if row.erred else "done"),
            ),
            bars.percent(row),
            Text(bars.counts(row), style=_style("erred") if row.erred else ""),
        )
    said = [Text(words, style=_style("erred")) for words in bars.errors(picture)]
    return Group(table, Text(bars.timing(picture)), *said)


def _style(kind: str) -> str:
    return bars.COLOURS[kind]


class Notebook:
    """Shows pictures in the output of a notebook's cell: in a widget where ipywidgets is there, else as HTML.

    Parameters
    ----------
    multi
        Whether each row has a bar.
    """

    interval_s = 0.25

    def __init__(self, multi: bool) -> None:
        self._multi = multi
        self._places: list[Any] = []
        self._text = ""

    def place(self) -> None:
        """Show it in the output of the cell that runs now, from now on."""
        there: Any = importlib.import_module("IPython.display")
        try:
            widgets: Any = importlib.import_module("ipywidgets")
        except ImportError:
            handle = there.display(there.HTML(self._text), display_id=True)
            self._places.append(lambda text: handle.update(there.HTML(text)))
        else:
            widget = widgets.HTML(self._text)
            there.display(widget)
            self._places.append(lambda text: setattr(widget, "value", text))

    def show(self, picture: Picture) -> None:
        """Write it over."""
        self._text = bars.as_html(picture, self._multi)
        for put in self._places:
            put(self._text)

    def end(self, picture: Picture) -> None:
        """Write it for the last time."""
        self.show(picture)

    def close(self) -> None:
        """Do nothing."""


def in_kernel() -> bool:
    """Say whether this runs in a notebook's kernel.

    Examples
    --------
    >>> in_kernel()
    False
    """
    shell = sys.modules.get("IPython")
    return bool(shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None)


def for_stderr(width: int, multi: bool) -> Display:
    """Return what suits stderr: bars for a terminal, lines for anything else."""
    stream = sys.stderr
    try:
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is none, or it is closed
        is_terminal = False
    if not is_terminal:
        return LogLines()
    try:
        screen = the_screen()
    except ImportError:
        return PlainBar(stream, width)
    return Terminal(screen, width, multi)
