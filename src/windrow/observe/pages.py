"""Pages for people: the status page, and tables of workers, tasks, errors and logs.

What lives here: which facts a page has. What this file must never know: how they look (`templates`, `static`).
"""

from __future__ import annotations

import ast
import time
from typing import Any
from urllib.parse import quote, urlencode

from tornado.web import HTTPError, RequestHandler

from windrow.keys import Key, from_plain, is_key, label
from windrow.observe import figures
from windrow.observe.app import Answer
from windrow.wire.requests import Explain, Facts, Processing, RecentLogs, WorkerFacts

__all__ = ["PAGES", "ROUTES", "Page"]

LOG_RECORDS = 200
SCHEMES = ("light", "dark")
"""Those that a page may be asked to have, whatever the browser prefers."""
KEYS_MAX = 200
"""So many keys are in one list."""


class Page(Answer):
    """Base of pages in HTML."""

    def show(self, template: str, title: str, **facts: Any) -> None:
        """Fill a template in."""
        scheme = self.get_query_argument("scheme", "")
        kept = {"token": self.get_query_argument("token", ""), "scheme": scheme if scheme in SCHEMES else ""}
        query = urlencode({name: value for name, value in kept.items() if value})
        self.render(
            template,
            title=title,
            pages=self.site.pages,
            more=self.site.more,
            here=self.request.path.removeprefix(self.site.prefix).strip("/"),
            root=self.root,
            query=f"?{query}" if query else "",
            scheme=kept["scheme"],
            bytes_text=figures.bytes_text,
            path_of=_path_of,
            **{"bare": False, **facts},
        )


def _path_of(thing: str) -> str:
    """Return an address or key as a part of a path."""
    return quote(thing, safe="")


class Info(Answer):
    """``/info``."""

    async def get(self) -> None:
        """Lead to the workers."""
        self.go("info/main/workers.html")


class Workers(Page):
    """``/info/main/workers.html``."""

    async def get(self) -> None:
        """Answer with a row a worker."""
        snapshot = await self.site.source.snapshot()
        self.show("workers.html", "Workers", workers=figures.worker_rows(snapshot), now=time.time())


class Exceptions(Page):
    """``/info/main/exceptions.html``."""

    async def get(self) -> None:
        """Answer with the tasks that have raised."""
        snapshot = await self.site.source.snapshot()
        self.show("exceptions.html", "Exceptions", erred=snapshot.overview["erred"])


class Logs(Page):
    """``/info/main/logs.html``."""

    async def get(self) -> None:
        """Answer with the scheduler's log."""
        [records] = await self.site.source.ask(RecentLogs(LOG_RECORDS))
        self.show("logs.html", "Logs of the scheduler", records=records)


class Worker(Page):
    """``/info/worker/ADDRESS.html``."""

    async def get(self, address: str) -> None:
        """Answer with what is known of a worker."""
        snapshot = await self.site.source.snapshot()
        row = next((row for row in figures.worker_rows(snapshot) if row["address"] == address), None)
        if row is None:
            raise HTTPError(404, f"there is no worker {address!r}")
        [processing] = await self.site.source.ask(Processing([address]))
        keys = [label(from_plain(key)) for key in processing.get(address, ())]
        self.show("worker.html", f"Worker {row['name']}", worker=row, keys=keys[:KEYS_MAX], now=time.time())


class Task(Page):
    """``/info/task/KEY.html``."""

    async def get(self, text: str) -> None:
        """Answer with what is known of a task."""
        for key in _keys(text):
            [found] = await self.site.source.ask(Facts([key]))
            if found:
                facts = found[0][1]
                for name in ("dependencies", "dependents"):
                    facts[name] = [label(from_plain(other)) for other in facts[name][:KEYS_MAX]]
                if facts["erred_on"] is not None:
                    facts["erred_on"] = label(from_plain(facts["erred_on"]))
                self.show("task.html", f"Task {text}", facts=facts, text=text)
                return
        [told] = await self.site.source.ask(Explain([text]))  # a page that lists tasks may be older than their end
        self.set_status(404)
        self.show("task_gone.html", f"Task {text}", text=text, sentences=told["text"])


class Clients(Page):
    """``/info/main/clients.html``."""

    async def get(self) -> None:
        """Answer with a row a client."""
        overview = (await self.site.source.snapshot()).overview
        self.show("clients.html", "Clients", clients=overview["client_rows"], count=overview["clients"])


class OfWorker(Page):
    """Base of pages of what a worker says of itself."""

    async def told(self, address: str) -> dict[str, Any]:
        """Return what it says; if there is no such worker, the page is not there."""
        [told] = await self.site.source.ask(WorkerFacts(address))
        if told is None:
            raise HTTPError(404, f"there is no worker {address!r}")
        return dict(told)


class WorkerLogs(OfWorker):
    """``/info/logs/ADDRESS.html``."""

    async def get(self, address: str) -> None:
        """Answer with a worker's log."""
        told = await self.told(address)
        self.show("logs.html", f"Logs of worker {told['identity']['name']}", records=told["logs"])


class WorkerStacks(OfWorker):
    """``/info/call-stacks/ADDRESS.html``."""

    async def get(self, address: str) -> None:
        """Answer with where all tasks of a worker are in their code."""
        told = await self.told(address)
        self.show("stacks.html", f"Call stacks of worker {told['identity']['name']}", stacks=told["stacks"])


class TaskStack(OfWorker):
    """``/info/call-stack/KEY.html``."""

    async def get(self, text: str) -> None:
        """Answer with where a task is in its code."""
        for key in _keys(text):
            [found] = await self.site.source.ask(Facts([key], ["processing_on"]))
            if not found:
                continue
            address = found[0][1]["processing_on"]
            told = {} if address is None else await self.told(address)
            stacks = [stack for stack in told.get("stacks", ()) if stack[0] == label(key)]
            self.show("stacks.html", f"Call stack of task {text}", stacks=stacks)
            return
        raise HTTPError(404, f"the scheduler knows no task {text!r}")


class Explanation(Page):
    """``/explain/KEY``."""

    async def get(self, text: str) -> None:
        """Answer with why a task is as it is."""
        [told] = await self.site.source.ask(Explain([text]))
        self.show("explain.html", f"Why {text}", text=text, sentences=told["text"])


def _keys(text: str) -> list[Key]:
    """Return the keys that a text may stand for: itself, or what it is the text of.

    Examples
    --------
    >>> _keys("inc-1"), _keys("('x', 0)")
    (['inc-1'], ["('x', 0)", ('x', 0)])
    """
    try:
        meant = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # a plain key
        return [text]
    return [text, meant] if is_key(meant) and not isinstance(meant, str) else [text]


PAGES = (
    ("status", "Status"),
    ("info/main/workers.html", "Workers"),
    ("info/main/clients.html", "Clients"),
    ("info/main/exceptions.html", "Exceptions"),
    ("info/main/logs.html", "Logs"),
)

ROUTES: dict[str, type[RequestHandler]] = {
    "/info": Info,
    "/info/": Info,
    "/info/main/workers.html": Workers,
    "/info/main/clients.html": Clients,
    "/info/main/exceptions.html": Exceptions,
    "/info/main/logs.html": Logs,
    r"/info/worker/(.+)\.html": Worker,
    r"/info/task/(.+)\.html": Task,
    r"/info/logs/(.+)\.html": WorkerLogs,
    r"/info/call-stacks/(.+)\.html": WorkerStacks,
    r"/explain/(.+)": Explanation,
    r"/info/call-stack/(.+)\.html": TaskStack,
}
"""Paths, and what answers on them."""
