"""Progress in each of its forms, letter by letter."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from windrow.client import bars, displays
from windrow.client.displays import LogLines, Notebook, PlainBar, Screen, Terminal
from windrow.client.tally import Picture, Row

LOAD = Row("load", 60, 0, 4, 36, 0)
FIT = Row("fit", 20, 3, 2, 75, 0, "ValueError: <no> data")

HALF = Picture((LOAD, FIT), 10.0, 8.3)
OVER = Picture((Row("load", 100, 0, 0, 0, 0), Row("fit", 95, 3, 0, 0, 2, "ValueError: <no> data")), 25.0, None, True)
GOOD = Picture((Row("inc", 10, 0, 0, 0, 0),), 2.0, None, True)


def test_a_log_gets_a_line_every_few_seconds_and_at_the_end() -> None:
    stream = io.StringIO()
    lines = LogLines(stream)
    for second in range(1, 13):
        lines.show(HALF._replace(elapsed_s=float(second)))
    lines.end(OVER)
    lines.close()
    assert stream.getvalue() == (
        "progress: 41 %, 83 of 200, 3 failed; 8.3/s, 14.1 s left\n"
        "progress: 41 %, 83 of 200, 3 failed; 8.3/s, 14.1 s left\n"
        "progress: 100 %, 200 of 200, 3 failed, 2 cancelled; in 25.0 s, 8.0/s\n"
        "fit: 3 failed, the first with ValueError: <no> data\n"
    )


def test_a_terminal_without_rich_has_one_line_written_over() -> None:
    stream = io.StringIO()
    bar = PlainBar(stream, 20)
    bar.show(HALF)
    bar.end(GOOD)
    bar.close()
    bar.close()
    half = "[########!           ] 41 % 83 of 200, 3 failed; 8.3/s, 14.1 s left"
    whole = "[####################] 100 % 10 of 10; in 2.0 s, 5.0/s"
    assert stream.getvalue() == f"\r{half}\r{whole.ljust(len(half))}\n"


def test_errors_stand_under_a_plain_bar() -> None:
    stream = io.StringIO()
    bar = PlainBar(stream, 10)
    bar.end(OVER)
    bar.close()
    assert stream.getvalue().endswith("8.0/s\nfit: 3 failed, the first with ValueError: <no> data\n")


@pytest.fixture
def rich_console() -> Any:
    rich = pytest.importorskip("rich.console")
    return rich.Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None, legacy_windows=False)


def drawn(console: Any, picture: Picture, multi: bool = True) -> list[str]:
    console.print(displays.drawing(picture, 20, multi))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_terminal_has_a_bar_for_each_group(rich_console: Any) -> None:
    assert drawn(rich_console, HALF) == [
        "load ━━━━━━━━━━━━╸━━━━━━━ 60 % 60 of 100".replace("╸━━━━━━━", "        ").replace(
            "         60", "         60"
        ),
        "fit  ━━━━╸                23 % 23 of 100, 3 failed",
        "8.3/s, 14.1 s left",
        "fit: 3 failed, the first with ValueError: <no> data",
    ]


def test_a_terminal_may_have_one_bar_for_all(rich_console: Any) -> None:
    lines = drawn(rich_console, OVER, multi=False)
    assert lines == [
        "all ━━━━━━━━━━━━━━━━━━━━ 100 % 200 of 200, 3 failed, 2 cancelled",
        "in 25.0 s, 8.0/s",
        "fit: 3 failed, the first with ValueError: <no> data",
    ]


def test_several_bars_share_a_terminal(rich_console: Any) -> None:
    screen = Screen(rich_console)
    first, second = Terminal(screen, 10, True), Terminal(screen, 10, True)
    first.show(HALF)
    second.show(GOOD._replace(is_over=False))
    first.end(OVER)
    first.close()
    second.end(GOOD)
    second.close()
    second.close()
    text = rich_console.file.getvalue()
    assert screen._live is None, "the terminal is the program's again"
    assert text.rindex("fit: 3 failed") < text.rindex("inc "), "what ended first stays above"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is hidden once, and shown again"


def test_more_rows_than_fit_are_one() -> None:
    picture = Picture(tuple([Row(f"r{number}", number, 0, 0, 0, 0) for number in range(100)]), 1.0, None)
    rows = bars.shown(picture, multi=True)
    assert len(rows) == bars.ROWS_MAX
    assert rows[0][0] == "r99"
    assert rows[-1][0] == "71 others"
    assert sum(row.total for _, row in rows) == sum(range(100))


HTML = (
    '<div class="windrow-progress"><table style="border:none;width:100%;max-width:60em"><tbody>'
    '<tr><td style="text-align:left;white-space:nowrap">fit</td><td style="width:50%"><div role="progressbar" '
    'aria-valuenow="23" aria-valuemax="100" style="display:flex;border:1px solid #999;min-width:8em">'
    '<div title="done" style="width:20.00%;background:#0072b2;height:1em"></div>'
    '<div title="erred" style="width:3.00%;background:#d55e00;height:1em"></div>'
    '<div title="processing" style="width:2.00%;background:#56b4e9;height:1em"></div></div></td>'
    '<td style="text-align:left;white-space:nowrap">23 %, 23 of 100, 3 failed</td></tr></tbody></table>'
    '<div>2.0/s, 38.5 s left</div><div style="color:#d55e00">'
    "fit: 3 failed, the first with ValueError: &lt;no&gt; data</div></div>"
)


def test_a_notebook_gets_html() -> None:
    assert bars.as_html(Picture((FIT,), 10.0, 2.0)) == HTML


def test_a_notebook_with_ipywidgets_has_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    widgets = pytest.importorskip("ipywidgets")
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    notebook = Notebook(multi=True)
    notebook.place()
    notebook.show(Picture((FIT,), 10.0, 2.0))
    [widget] = shown
    assert isinstance(widget, widgets.HTML)
    assert widget.value == HTML
    notebook.place()
    assert shown[1].value == HTML, "another cell shows what is known"


def test_a_notebook_without_ipywidgets_has_a_display_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    updates: list[str] = []

    class Handle:
        def update(self, thing: Any) -> None:
            updates.append(thing.data)

    monkeypatch.setattr("IPython.display.display", lambda thing, display_id: Handle())
    notebook = Notebook(multi=True)
    notebook.place()
    notebook.end(Picture((FIT,), 10.0, 2.0))
    assert updates == [HTML]


class Stream(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("stream", "has_rich", "term", "kind"),
    [
        (Stream(True), True, "xterm", Terminal),
        (Stream(True), False, "xterm", PlainBar),
        (Stream(True), True, "dumb", LogLines),
        (Stream(False), True, "xterm", LogLines),
        (None, True, "xterm", LogLines),
    ],
)
def test_stderr_has_what_suits_it(
    stream: Any, has_rich: bool, term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    if not has_rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(displays, "_screen", None)
    assert type(displays.for_stderr(40, True)) is kind
