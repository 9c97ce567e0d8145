"""Colours of states; those of prefixes and activities are `windrow.drawing.colours`.

What lives here: a colour a state, which people tell apart who see colours differently. What this file must never know:
what is drawn.
"""

from __future__ import annotations

from windrow.drawing.colours import ACTIVITIES, PALETTE, of_prefix

__all__ = ["ACTIVITIES", "PALETTE", "STATES", "of_prefix"]

STATES = {
    "released": "#a3adb8",
    "waiting": "#b79ad0",
    "queued": "#ddcc77",
    "processing": "#2f9e5b",
    "memory": "#4477aa",
    "erred": "#cc3311",
}
