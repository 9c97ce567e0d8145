"""The dashboard of one worker: what it does, where its tasks are in their code, what it has logged.

What lives here: its paths and pages. What this file must never know: how a worker finds these facts.
"""

from __future__ import annotations

from tornado.web import RequestHandler

from windrow.observe import app, metrics
from windrow.observe.app import Answer
from windrow.observe.pages import Page

__all__ = ["PAGES", "ROUTES"]


class StatusPage(Page):
    """``/status``."""

    async def get(self) -> None:
        """Answer with all that the worker says of itself."""
        told = await self.site.source.worker()
        self.show("worker_status.html", f"Worker {told['identity']['name']}", **told)


class Status(Answer):
    """``/json/status.json``."""

    async def get(self) -> None:
        """Answer with the same, for programs."""
        self.write_json(await self.site.source.worker())


class Metrics(app.Metrics):
    """``/metrics``."""

    async def text(self) -> str:
        """Return the worker's figures."""
        return metrics.worker_text(await self.site.source.worker())


PAGES = (("status", "Status"),)

ROUTES: dict[str, type[RequestHandler]] = {
    "/json/status.json": Status,
    "/metrics": Metrics,
    "/status": StatusPage,
}
"""Paths of a worker's dashboard, beside those that every one has."""
