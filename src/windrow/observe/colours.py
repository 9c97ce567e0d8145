"""Colours: of states, of activities, and of prefixes, which have the same everywhere.

What lives here: a palette that people tell apart who see colours differently (Paul Tol's "bright" and "light" schemes,
without red and orange, which mean something here), and what each colour means. What this file must never know: what is
drawn.
"""

from __future__ import annotations

import zlib

__all__ = ["ACTIVITIES", "PALETTE", "STATES", "of_prefix"]

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

STATES = {
    "released": "#a3adb8",
    "waiting": "#b79ad0",
    "queued": "#ddcc77",
    "processing": "#2f9e5b",
    "memory": "#4477aa",
    "erred": "#cc3311",
}

ACTIVITIES = {"transfer": "#cc3311", "disk": "#ee7733", "deserialize": "#8b96a5"}
"""What threads do beside computing."""


def of_prefix(prefix: str) -> str:
    """Return the colour of a prefix, which depends on its name alone.

    Examples
    --------
    >>> of_prefix("sum") == of_prefix("sum"), of_prefix("sum") in PALETTE
    (True, True)
    """
    return PALETTE[zlib.crc32(prefix.encode()) % len(PALETTE)]
