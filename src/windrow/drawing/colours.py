"""Colours: of what threads do, and of prefixes, which have the same everywhere.

What lives here: a palette that people tell apart who see colours differently (Paul Tol's "bright" and "light" schemes,
without red and orange, which mean something here), and what each colour means. What this file must never know: what is
drawn.
"""

from __future__ import annotations

import zlib

__all__ = ["ACTIVITIES", "ERRED", "PALETTE", "of_prefix"]

PALETTE = (
    "#4477aa",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#44bb99",
    "#999933",
    "#8877dd",
    "#77aadd",
    "#cc88bb",
    "#bbcc33",
    "#557799",
)

ACTIVITIES = {"transfer": "#cc3311", "disk": "#ee7733", "deserialize": "#8b96a5"}
"""What threads do beside computing."""

ERRED = "#000000"
"""An attempt that has raised."""


def of_prefix(prefix: str) -> str:
    """Return the colour of a prefix, which depends on its name alone.

    Examples
    --------
    >>> of_prefix("sum") == of_prefix("sum"), of_prefix("sum") in PALETTE
    (True, True)
    """
    return PALETTE[zlib.crc32(prefix.encode()) % len(PALETTE)]
