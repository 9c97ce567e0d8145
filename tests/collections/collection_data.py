"""Tables, arrays and files for the tests of this directory: from the standard library's own data, or from a seed."""

from __future__ import annotations

import calendar
import html.entities
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd

MODULES = ("bisect", "calendar", "heapq", "shlex", "string", "textwrap")


def sources() -> dict[str, list[str]]:
    """Return the lines of some modules of the standard library."""
    return {name: inspect.getsource(importlib.import_module(name)).splitlines()[:300] for name in MODULES}


def words() -> pd.DataFrame:
    """Return a row for each word of those modules; thousands of rows, hundreds of words, six modules."""
    rows = [
        (module, number, column, word)
        for module, lines in sources().items()
        for number, line in enumerate(lines, 1)
        for column, word in enumerate(re.findall(r"[A-Za-z_]\w*", line))
    ]
    table = pd.DataFrame(rows, columns=["module", "line", "column", "word"])
    return table.assign(length=table.word.str.len(), share=table.line / (1.0 + table.column))


def days() -> pd.DataFrame:
    """Return a year and a half in steps of six hours: facts of the calendar, and a curve with gaps and seeded noise."""
    index = pd.date_range("2024-01-01", "2025-06-30", freq="6h", name="time")
    rng = np.random.default_rng(20_240_101)
    curve = np.sin(np.arange(len(index)) / 100) + rng.normal(scale=0.1, size=len(index))
    curve[rng.random(len(index)) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "curve": curve,
            "weekday": [calendar.day_name[moment.weekday()] for moment in index],
            "month": index.month.to_numpy(),
            "length": [calendar.monthrange(moment.year, moment.month)[1] for moment in index],
        },
        index=index,
    )


def entities() -> pd.DataFrame:
    """Return the named characters of HTML, in no order of their code points."""
    table = html.entities.name2codepoint
    frame = pd.DataFrame({"name": list(table), "codepoint": list(table.values())})
    return frame.assign(block=frame.codepoint // 256)


def vocabulary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each different word of `words`: what it starts with, and whether it is a module's name."""
    different = pd.Series(sorted(set(table.word)), name="word")
    return pd.DataFrame({"word": different, "initial": different.str[0], "is_module": different.isin(MODULES)})


def write_csv(directory: Path, table: pd.DataFrame) -> str:
    """Write a file of words for each module; return the pattern of their names."""
    for module, rows in table.groupby("module"):
        rows.to_csv(directory / f"{module}.csv", index=False)
    return str(directory / "*.csv")


def write_parquet(directory: Path, table: pd.DataFrame) -> str:
    """Write a file for each quarter of the table; return their directory."""
    quarter = -(-len(table) // 4)
    for number in range(4):
        table.iloc[number * quarter : (number + 1) * quarter].to_parquet(directory / f"part.{number}.parquet")
    return str(directory)


def write_texts(directory: Path) -> str:
    """Write the modules' lines as text; return the pattern of the files' names."""
    for module, lines in sources().items():
        (directory / f"{module}.txt").write_text("\n".join(lines) + "\n")
    return str(directory / "*.txt")


def grid() -> np.ndarray:
    """Return a matrix of 60 rows and 48 columns."""
    return np.random.default_rng(60_48).normal(size=(60, 48))


def cube() -> np.ndarray:
    """Return small whole numbers in three dimensions."""
    return np.random.default_rng(3).integers(-50, 50, size=(12, 10, 8))
