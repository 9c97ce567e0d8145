"""How progress looks: a line of text, a bar of characters, HTML.

What lives here: functions that make text of a `Picture`. What this file must never know: where it is shown, and when.
"""

from __future__ import annotations

import html

from windrow.client.tally import Picture, Row

ROWS_MAX = 30
"""So many rows are shown; the others are one."""

COLOURS = {"done": "#0072b2", "erred": "#d55e00", "processing": "#56b4e9", "dropped": "#999999"}
"""Told apart by the colour-blind as well."""


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> duration(0.42), duration(75.2), duration(7300)
    ('0.4 s', '1:15', '2:01:40')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def pace(rate: float) -> str:
    """Return a rate in words.

    Examples
    --------
    >>> pace(12_345.6), pace(3.21), pace(0.05)
    ('12,346/s', '3.2/s', '3.0/min')
    """
    if rate >= 100:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 0.5 else f"{rate * 60:.1f}/min"


def percent(row: Row) -> str:
    """Return how much has ended, rounded down, so that 100 % means all.

    Examples
    --------
    >>> percent(Row("", 999, 0, 1, 0, 0)), percent(Row("", 0, 0, 0, 0, 0))
    ('99 %', '100 %')
    """
    return f"{100 * row.ended // row.total if row.total else 100} %"


def counts(row: Row) -> str:
    """Return what has ended of how many, and what did not go well.

    Examples
    --------
    >>> counts(Row("", 5, 2, 1, 1000, 0))
    '7 of 1,008, 2 failed'
    """
    failed = f", {row.erred:,} failed" if row.erred else ""
    dropped = f", {row.dropped:,} cancelled" if row.dropped else ""
    return f"{row.ended:,} of {row.total:,}{failed}{dropped}"


def timing(picture: Picture) -> str:
    """Return how fast it goes on and how long it takes; when it is over, how long it took.

    Examples
    --------
    >>> timing(Picture((Row("inc", 5, 0, 0, 10, 0),), 1.0, 5.0))
    '5.0/s, 2.0 s left'
    """
    if picture.is_over:
        whole = picture.whole
        return f"in {duration(picture.elapsed_s)}" + (
            f", {pace(whole.ended / picture.elapsed_s)}" if picture.elapsed_s > 0.05 and whole.ended else ""
        )
    left_s = picture.left_s
    said = [] if picture.rate is None else [pace(picture.rate)]
    said.append(duration(picture.elapsed_s) + " so far" if left_s is None else duration(left_s) + " left")
    return ", ".join(said)


def line(picture: Picture) -> str:
    """Return all of it on one line, for a log.

    Examples
    --------
    >>> line(Picture((Row("inc", 5, 1, 0, 10, 0),), 1.0, 5.0))
    'progress: 37 %, 6 of 16, 1 failed; 5.0/s, 2.0 s left'
    """
    whole = picture.whole
    return f"progress: {percent(whole)}, {counts(whole)}; {timing(picture)}"


def errors(picture: Picture) -> list[str]:
    """Return a line for each row with errors: how many, and what the first one said.

    Examples
    --------
    >>> errors(Picture((Row("inc", 5, 2, 0, 0, 0, "ValueError: no"),), 1.0, None))
    ['inc: 2 failed, the first with ValueError: no']
    """
    return [
        f"{row.name}: {row.erred:,} failed" + (f", the first with {row.message}" if row.message else "")
        for row in picture.rows
        if row.erred
    ]


def bar(row: Row, width: int) -> str:
    """Return a bar of characters.

    Examples
    --------
    >>> bar(Row("", 5, 1, 0, 4, 0), 10)
    '[#####!    ]'
    """
    total = row.total or 1
    done, failed = row.done * width // total, -(-row.erred * width // total)
    done = min(done, width - failed)
    return f"[{'#' * done}{'!' * failed}{' ' * (width - done - failed)}]"


def shown(picture: Picture, multi: bool) -> list[tuple[str, Row]]:
    """Return the rows to show with their names; the whole alone, if it is to be one bar, or there is but one row."""
    rows = [(row.name or "tasks", row) for row in picture.rows]
    if not multi:
        return [("all" if len(rows) != 1 else rows[0][0], picture.whole)]
    if len(rows) > ROWS_MAX:
        rows.sort(key=lambda named: -named[1].total)
        others = Picture(tuple([row for _, row in rows[ROWS_MAX - 1 :]]), 0.0, None).whole
        rows = [*rows[: ROWS_MAX - 1], (f"{len(rows) - ROWS_MAX + 1} others", others)]
    return rows


def text(picture: Picture, width: int = 40, multi: bool = True) -> str:
    """Return bars of characters, a line each, and the errors under them.

    Examples
    --------
    >>> print(text(Picture((Row("inc", 5, 0, 0, 5, 0), Row("sum", 0, 0, 0, 1, 0)), 1.0, 5.0), 10))
    inc [#####     ]  50 % 5 of 10
    sum [          ]   0 % 0 of 1
    5.0/s, 1.2 s left
    """
    rows = shown(picture, multi)
    broad = max(len(name) for name, _ in rows)
    bars = [f"{name:<{broad}} {bar(row, width)} {percent(row):>5} {counts(row)}" for name, row in rows]
    return "\n".join([*bars, timing(picture), *errors(picture)])


def as_html(picture: Picture, multi: bool = True) -> str:
    """Return the same as HTML, which needs nothing but itself."""
    rows = "".join(_html_row(name, row) for name, row in shown(picture, multi))
    said = "".join(f'<div style="color:{COLOURS["erred"]}">{html.escape(words)}</div>' for words in errors(picture))
    return (
        f'<div class="windrow-progress"><table style="border:none;width:100%;max-width:60em"><tbody>{rows}</tbody>'
        f"</table><div>{html.escape(timing(picture))}</div>{said}</div>"
    )


def _html_row(name: str, row: Row) -> str:
    total = row.total or 1
    parts = "".join(
        f'<div title="{kind}" style="width:{100 * count / total:.2f}%;background:{COLOURS[kind]};height:1em"></div>'
        for kind, count in (
            ("done", row.done),
            ("erred", row.erred),
            ("dropped", row.dropped),
            ("processing", row.processing),
        )
        if count
    )
    return (
        f'<tr><td style="text-align:left;white-space:nowrap">{html.escape(name)}</td>'
        f'<td style="width:50%"><div role="progressbar" aria-valuenow="{row.ended}" aria-valuemax="{row.total}" '
        f'style="display:flex;border:1px solid #999;min-width:8em">{parts}</div></td>'
        f'<td style="text-align:left;white-space:nowrap">{percent(row)}, {html.escape(counts(row))}</td></tr>'
    )
