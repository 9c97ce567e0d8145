"""Write docs/task-life-cycle.md from the scheduler's transition table.

    python tools/life_cycle.py docs/task-life-cycle.md     # rewrite the page
    python tools/life_cycle.py                             # print it

What lives here: the drawing. What the states and moves mean stands where they are defined: the comment beside each
state, and the first line of each move's docstring. A test compares the page with what this tool makes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from windrow.scheduler import state as states
from windrow.scheduler.transitions import TRANSITIONS

STATE_LINE = re.compile(r'^[A-Z_]+: Final = "(?P<name>\w+)"\s+# (?P<meaning>.+)$', re.MULTILINE)

HEAD = """\
# The life of a task

This page is made by `make docs` (`tools/life_cycle.py`) from the table `TRANSITIONS` in
[`scheduler/transitions.py`](../src/windrow/scheduler/transitions.py); a test fails when the two differ. A task is in
exactly one state, and moves only along an edge of this table; a pair that is not in it is a defect of the scheduler,
and asserted.
"""

TAIL = """\
There are no cancelled, stolen or resumed states. Each assignment to a worker has an *attempt number*; to cancel, to
take back or to reassign is to forget an attempt, and whatever still arrives about a forgotten one is dropped on sight,
on both sides (see [architecture](architecture.md#attempts)).
"""


def meanings() -> dict[str, str]:
    """Each state and the comment beside its definition, in the order of the source."""
    found = {match["name"]: match["meaning"] for match in STATE_LINE.finditer(inspect.getsource(states))}
    missing = {state for pair in TRANSITIONS for state in pair} - set(found)
    if missing:
        raise SystemExit(f"give each state a comment on its line in scheduler/state.py: {', '.join(sorted(missing))}")
    return found


def summary(move: Callable[..., Any]) -> str:
    """The first line of a move's docstring."""
    text = inspect.getdoc(move)
    if not text:
        raise SystemExit(f"give {move.__name__} in scheduler/transitions.py a docstring: it is its entry on the page")
    return text.partition("\n")[0].replace("``", "`")


def diagram(known: list[str]) -> str:
    """The table as a state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {known[0]}"]
    lines += [f"    {start} --> {to}: {move.__name__}" for (start, to), move in TRANSITIONS.items()]
    ends = [state for state in known if not any(start == state for start, _ in TRANSITIONS)]
    lines += [f"    {state} --> [*]" for state in ends]
    return "\n".join([*lines, "```"])


def matrix(known: list[str]) -> str:
    """From which state (rows) there is a way to which (columns)."""
    lines = ["| from \\ to | " + " | ".join(known) + " |", "|---|" + ":-:|" * len(known)]
    for start in known:
        cells = ["●" if (start, to) in TRANSITIONS else "" for to in known]
        lines.append(f"| **{start}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    described = meanings()
    known = list(described)
    state_rows = "\n".join(f"| `{state}` | {meaning} |" for state, meaning in described.items())
    move_rows = "\n".join(
        f"| {start} | {to} | `{move.__name__}` | {summary(move)} |" for (start, to), move in TRANSITIONS.items()
    )
    parts = [
        HEAD,
        f"## States\n\n| state | meaning |\n|---|---|\n{state_rows}\n",
        f"## Moves\n\n{diagram(known)}\n",
        f"{matrix(known)}\n",
        f"| from | to | function | what it does |\n|---|---|---|---|\n{move_rows}\n",
        TAIL,
    ]
    return "\n".join(parts)


def main() -> None:
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
