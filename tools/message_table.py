"""Write the table of messages in docs/architecture.md from wire/messages.py and wire/requests.py.

    python tools/message_table.py docs/architecture.md     # replace the table between the two marks
    python tools/message_table.py                          # print it

What lives here: the table's layout. Who sends a message is read from the unions in wire/messages.py, what it says from
the first line of its docstring. A test compares the page with what this tool makes.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import get_args

from windrow.wire import messages
from windrow.wire import requests as r

MARKS = ("<!-- messages: written by tools/message_table.py -->", "<!-- end of messages -->")

WAYS = {
    "client → scheduler": messages.FromClient,
    "scheduler → client": messages.ToClient,
    "scheduler → worker": messages.ToWorker,
    "worker → scheduler": messages.FromWorker,
    "nanny → scheduler": messages.FromNanny,
    "scheduler → nanny": messages.ToNanny,
}


def first_line(kind: type) -> str:
    """What a message says, in a line."""
    text = inspect.getdoc(kind)
    if not text:
        raise SystemExit(f"give {kind.__name__} a docstring: it is its entry in the table")
    return text.partition("\n")[0].replace("``", "`")


def table() -> str:
    """Every message by tag, then the requests that travel inside a `Call`."""
    kinds = sorted(get_args(messages.Message), key=lambda kind: kind.__struct_config__.tag)
    lines = ["| tag | message | goes | says |", "|---:|---|---|---|"]
    for kind in kinds:
        ways = [way for way, union in WAYS.items() if kind in get_args(union)]
        goes = "either way" if kind in {messages.Call, messages.Reply, messages.Close} else ", ".join(ways)
        goes = "a link's own" if kind in get_args(messages.OfLinks) else goes
        lines.append(f"| {kind.__struct_config__.tag} | `{kind.__name__}` | {goes} | {first_line(kind)} |")
    for kind in sorted(get_args(r.Request), key=lambda kind: kind.__struct_config__.tag):
        lines.append(f"| {kind.__struct_config__.tag} | `{kind.__name__}` | in a `Call` | {first_line(kind)} |")
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with the table of today."""
    before, opening, rest = page.partition(MARKS[0])
    _, closing, after = rest.partition(MARKS[1])
    if not (opening and closing):
        raise SystemExit(f"the page lacks the marks {MARKS}; put them where the table is to stand")
    return f"{before}{opening}\n{table()}\n{closing}{after}"


def main() -> None:
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
