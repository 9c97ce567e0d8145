"""The application behind a dashboard's address: its paths, who may see them, and how they answer.

What lives here: routes, the check of the token, JSON. What this file must never know: where facts come from
(`source`), what the tables of people's pages hold (`pages`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from windrow import roles
from windrow.observe import figures, metrics
from windrow.observe.source import Source

if TYPE_CHECKING:
    from windrow.observe.stage import Stage

__all__ = ["Answer", "Site", "make_app"]

HERE = Path(__file__).parent

CONTENT_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'"


class Site:
    """What all answers share.

    Parameters
    ----------
    source
        Where facts come from.
    prefix
        Before all paths; "" or such as ``"/foo"``.
    token
        What a visitor must show; "" for nothing.
    port
        The port of the link; names the cookie, as a browser does not tell the ports of a host apart.
    watch
        The cluster's watch token, which may be shown in place of the link's, as may any of a higher role.
    """

    def __init__(
        self, source: Source, prefix: str = "", token: str = "", port: int | None = None, watch: bytes = b""
    ) -> None:
        self.watch = watch
        self.source = source
        self.prefix = prefix
        self.token = token
        self.cookie = f"windrow-{port}"
        self.last_asked_s = asyncio.get_running_loop().time()
        self.listeners = 0
        """How many connections stay open, and are told what happens."""
        self.paths: list[str] = []
        """All paths that are whole."""
        self.pages: Sequence[tuple[str, str]] = ()
        """Paths and names of the pages that all pages lead to."""
        self.more: Sequence[tuple[str, str]] = ()
        """Those that stand behind them, in a list that opens."""
        self.stage: Stage | None = None
        """Where documents of Bokeh live; None without it."""

    @property
    def escaped_prefix(self) -> str:
        """The prefix, as a part of a pattern."""
        return re.escape(self.prefix)

    def touch(self) -> None:
        """Note that somebody looks."""
        self.last_asked_s = asyncio.get_running_loop().time()


class Answer(RequestHandler):
    """Base of all answers: lets in who may, and says no in plain words."""

    site: Site

    def initialize(self, site: Site) -> None:
        """Take what all answers share."""
        self.site = site

    def set_default_headers(self) -> None:
        """Have browsers guess nothing, keep nothing, and tell nobody where they came from: the token may be there."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", CONTENT_POLICY)
        self.clear_header("Server")

    def prepare(self) -> Awaitable[None] | None:
        """Let in who has the token, by link, cookie or header; remember it in a cookie."""
        site = self.site
        site.touch()
        if site.token:
            shown = self.get_query_argument("token", "")
            named = any(map(self._is_token, (shown, self.get_cookie(site.cookie) or "", self._bearer())))
            if not named and not self._may_watch():
                raise HTTPError(401, reason="Unauthorized")
            if self._is_token(shown):
                self.set_cookie(site.cookie, shown, path=f"{site.prefix}/", httponly=True, samesite="Lax")
        return None

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self.site.token.encode())

    def _may_watch(self) -> bool:
        """Say whether the header has a token of the cluster's from which its watch token follows."""
        try:
            watch = roles.token(roles.from_text(self._bearer()), roles.Role.WATCH)
        except ValueError:
            return False
        return bool(self.site.watch) and hmac.compare_digest(watch, self.site.watch)

    def _bearer(self) -> str:
        kind, _, value = self.request.headers.get("Authorization", "").partition(" ")
        return value.strip() if kind.lower() == "bearer" else ""

    @property
    def is_inside(self) -> bool:
        """Whether the path is below the prefix."""
        return self.request.path.startswith(f"{self.site.prefix}/")

    @property
    def root(self) -> str:
        """The way from this page to the top, whatever proxy is in between."""
        return "../" * (self.request.path.removeprefix(self.site.prefix).count("/") - 1) or "./"

    async def head(self, *args: str) -> None:
        """Answer as `get` does; tornado leaves the body out."""
        await self.get(*args)  # type: ignore[misc]

    def go(self, path: str) -> None:
        """Send the browser to another of our paths, relative to this one."""
        query = f"?{self.request.query}" if self.request.query else ""
        self.set_status(302)
        self.set_header("Location", self.root + path + query)

    def write_json(self, value: object) -> None:
        """Answer with JSON; what it has no form for is text."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(json.dumps(value, default=str))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Have only defects logged, and not what visitors get wrong or a scheduler that has gone."""
        if not isinstance(value, HTTPError | TimeoutError | ConnectionError):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say in plain words what is wrong, and what to do."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        error = (kwargs.get("exc_info") or (None, None))[1]
        if status_code == 401:
            words = (
                "This dashboard asks for a token: use the whole link, as cluster.dashboard_link or the log gives it."
            )
        elif status_code == 404:
            detail = (isinstance(error, HTTPError) and error.log_message) or "there is no such page"
            detail = detail.replace("%%", "%")  # tornado doubles it, for its log
            top = self.root if self.is_inside else f"{self.root}{self.site.prefix.strip('/')}/"
            words = f"{detail}; all that there is stands in {top}sitemap.json"
        elif isinstance(error, TimeoutError | ConnectionError):
            self.set_status(503)
            words = f"The scheduler does not answer: {error or 'it may be busy'}. Try again."
        else:
            words = f"{status_code}: {self._reason}"
        self.finish(words + "\n")


class Health(Answer):
    """``/health``: anybody may ask, as it tells nothing else."""

    def prepare(self) -> None:
        """Let everybody in."""

    async def get(self) -> None:
        """Answer ``ok``."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write("ok")


class Root(Answer):
    """``/``."""

    async def get(self) -> None:
        """Lead to the status page."""
        self.go("status")


class Counts(Answer):
    """``/json/counts.json``."""

    async def get(self) -> None:
        """Answer with counts of all things."""
        snapshot, desired = await asyncio.gather(self.site.source.snapshot(), self.site.source.desired())
        self.write_json({**figures.counts(snapshot), "desired_workers": desired})


class Status(Answer):
    """``/json/status.json``."""

    async def get(self) -> None:
        """Answer with what the status page draws."""
        self.write_json(figures.status(await self.site.source.snapshot()))


class TheIdentity(Answer):
    """``/json/identity.json``."""

    async def get(self) -> None:
        """Answer with the scheduler's description of itself and its workers."""
        identity = dict((await self.site.source.snapshot()).identity)
        identity.pop("dashboard_link", None)  # the token is nothing to be passed on by whoever reads this
        self.write_json(identity)


class Index(Answer):
    """``/json/index.html``."""

    async def get(self) -> None:
        """Answer with links to the rest of its directory."""
        names = [path.removeprefix("/json/") for path in self.site.paths if path.endswith(".json")]
        links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in names if "/" not in name)
        self.write(f'<!DOCTYPE html><html lang="en"><title>JSON</title><ul>{links}</ul></html>')


class Metrics(Answer):
    """``/metrics``."""

    async def get(self) -> None:
        """Answer with figures for Prometheus."""
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        if not metrics.is_there():
            self.set_status(501)
            self.write(metrics.MISSING)
        else:
            self.write(await self.text())

    async def text(self) -> str:
        """Return them."""
        source = self.site.source
        return metrics.text(*await asyncio.gather(source.snapshot(), source.tallies(), source.desired()))


class Sitemap(Answer):
    """``/sitemap.json``."""

    async def get(self) -> None:
        """Answer with all paths."""
        self.write_json({"paths": self.site.paths})


class Bare(Answer):
    """The prefix, without a slash behind it."""

    async def get(self) -> None:
        """Lead to the status page."""
        self.go(f"{self.request.path.rpartition('/')[2]}/status")


class NotFound(Answer):
    """Any other path; who has no token does not learn which there are."""

    async def get(self) -> None:
        """Lead to the path without a slash at its end, or say that there is none."""
        path, slash = self.request.path.removeprefix(self.site.prefix)[:-1], self.request.path[-1:]
        if not (self.is_inside and slash == "/" and path in self.site.paths):
            raise HTTPError(404)
        self.go(path.removeprefix("/"))


EVERYWHERE: dict[str, type[RequestHandler]] = {
    "/": Root,
    "/health": Health,
    "/sitemap.json": Sitemap,
}

SCHEDULER: dict[str, type[RequestHandler]] = {
    "/json/counts.json": Counts,
    "/json/index.html": Index,
    "/json/identity.json": TheIdentity,
    "/json/status.json": Status,
    "/metrics": Metrics,
}


def make_app(site: Site, party: str = "scheduler") -> Application:
    """Return the application of a scheduler's dashboard, or of a worker's."""
    from windrow.observe import absent, api, eventstream, pages, scenes, worker

    if party == "worker":
        routes, site.pages = {**EVERYWHERE, **worker.ROUTES}, worker.PAGES
    else:
        routes = {**EVERYWHERE, **SCHEDULER, **pages.ROUTES, **scenes.ROUTES, **eventstream.ROUTES, **api.ROUTES}
        site.pages, site.more = (pages.PAGES, ()) if site.stage is None else (scenes.MENU, scenes.MORE)
    site.paths = sorted(path for path in routes if "(" not in path)
    if party != "worker":
        routes |= absent.ROUTES
    prefix = site.escaped_prefix
    table: list[Any] = [(prefix + path, handler, {"site": site}) for path, handler in routes.items()]
    if site.prefix:
        table.append((prefix, Bare, {"site": site}))
    files = {"path": os.fspath(HERE / "static")}
    table.append((rf"{prefix}/statics/(.*)", StaticFileHandler, files))
    application = Application(
        table,
        default_handler_class=NotFound,
        default_handler_args={"site": site},
        template_path=os.fspath(HERE / "templates"),
        log_function=lambda handler: None,
    )
    scenes.equip(application, site)
    return application
