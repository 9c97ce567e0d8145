"""Pages with plots, over HTTP: the page around them, and the session that its script asks for.

What lives here: routes and handlers. What this file must never know: what a plot holds (`plots`), how documents live
(`stage`).

A page is sent at once, before Bokeh is loaded here, so that the browser reads its script meanwhile. The script asks for
the page's session, which is a path below that of the page, as the websocket's is: so no path is ever written out, and
whatever a proxy has put before it is kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from windrow.observe import pages
from windrow.observe.app import Answer, Site
from windrow.observe.feed import Feed
from windrow.observe.plots.catalogue import PAGES, PLOTS, individual_plots, page_of
from windrow.observe.plots.plot import Lines, Page, Plot, Rows
from windrow.observe.source import Source
from windrow.observe.stage import BOKEH, Stage, socket_handler

__all__ = ["MENU", "MORE", "ROUTES", "equip", "furnish", "legend_style"]

POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""Bokeh sets styles by script, and saves a plot as an image; it needs nothing from elsewhere, and may be framed."""

PLAIN = {"workers": "info/main/workers.html", "exceptions": "info/main/exceptions.html", "logs": "info/main/logs.html"}
"""Where the same facts are as HTML, for who has no Bokeh."""


class PlotPage(pages.Page):
    """A page with plots."""

    @property
    def page(self) -> Page:
        """The page of this path."""
        found = page_of(self.path)
        if found is None:
            raise HTTPError(404)
        return found

    @property
    def path(self) -> str:
        """This path, without what is before all of them."""
        return self.request.path.removeprefix(self.site.prefix).strip("/").removesuffix("/session")

    async def get(self) -> None:
        """Answer with the page; its script asks for the rest."""
        page, stage = self.page, self.site.stage
        if stage is None:
            self._show_plain(page)
            return
        stage.load()
        self.set_header("Content-Security-Policy", POLICY)
        self.show(
            "plots.html",
            page.title,
            page=page,
            path=self.path,
            places=[[PLOTS[name] for name in place] for place in page.places],
            wide=page.wide,
            bare=self.path.startswith("individual-"),
            table_of=_table_of,
            legend_of=_legend_of,
            swatch=legend_style,
            version=BOKEH.version if BOKEH is not None else "",
        )

    def _show_plain(self, page: Page) -> None:
        if page.path == "status":
            self.show("status.html", "Status")
        elif page.path in PLAIN:
            self.go(PLAIN[page.path])
        else:
            self.show("without_bokeh.html", page.title)


class Session(PlotPage):
    """``…/session``: a document for who opens the page."""

    async def get(self) -> None:
        """Answer with the token that the websocket asks for, and the ids of the plots."""
        if self.site.stage is None:
            raise HTTPError(404)
        scheme = "dark" if self.get_query_argument("scheme", "") == "dark" else "light"
        self.write_json(await self.site.stage.open(self.page, scheme))


class Plots(Answer):
    """``/individual-plots.json``."""

    async def get(self) -> None:
        """Answer with titles and paths of single plots; none without Bokeh."""
        self.write_json({} if self.site.stage is None else individual_plots())


class Script(StaticFileHandler):
    """BokehJS, from where Bokeh is installed; a path with its version is kept by browsers."""

    def set_extra_headers(self, path: str) -> None:
        """Have browsers guess nothing."""
        self.set_header("X-Content-Type-Options", "nosniff")


def legend_style(color: str) -> str:
    """Return the style of a sample of a colour in a legend.

    Examples
    --------
    >>> legend_style("#4477aa")
    'background:#4477aa'
    """
    if color == "prefix":
        return "background:linear-gradient(90deg,#4477aa 33%,#228833 33% 66%,#aa3377 66%)"
    if color == "hatch":
        return "background:repeating-linear-gradient(135deg,var(--soft) 0 1px,transparent 1px 4px)"
    return f"background:{color}"


def _legend_of(plot: Plot) -> Sequence[tuple[str, str]]:
    lines = plot.kind.series if isinstance(plot.kind, Lines) and len(plot.kind.series) > 1 else ()
    return [*plot.legend, *((color, words) for _, words, color in lines)]


def _table_of(plot: Plot) -> tuple[tuple[str, str, str], ...] | None:
    return plot.kind.columns if isinstance(plot.kind, Rows) else None


def furnish(site: Site, source: Source, pid: int) -> None:
    """Give a site a stage, if there is a Bokeh; before its application is made."""
    if BOKEH is not None:
        site.stage = Stage(Feed(source, pid), site.touch)


def equip(application: Any, site: Site) -> None:
    """Have an application answer what pages with plots ask for beside themselves."""
    if site.stage is None or BOKEH is None:
        return
    files = {"path": os.fspath(BOKEH.scripts)}
    application.add_handlers(r".*", [(rf"{site.escaped_prefix}/statics/bokeh/(bokeh\.min\.js)", Script, files)])
    site.stage.on_loaded = partial(_add_sockets, application, site)


def _add_sockets(application: Any, site: Site, host: Any) -> None:
    paths = "|".join(_PATHS)
    route = (rf"{site.escaped_prefix}/(?:{paths})/ws", socket_handler(), {"host": host})
    application.add_handlers(r".*", [route])


MENU = (
    ("status", "Status"),
    ("workers", "Workers"),
    *((path, page.title) for path, page in PAGES.items() if path not in ("status", "workers", "profile-server")),
    ("info/main/workers.html", "Info"),
)

MORE = tuple(sorted((f"individual-{name}", plot.title) for name, plot in PLOTS.items()))

_PATHS = (*PAGES, *(f"individual-{name}" for name in PLOTS))

ROUTES: dict[str, type[RequestHandler]] = {
    **{f"/{path}": PlotPage for path in _PATHS},
    "/individual-plots.json": Plots,
    r"/(?:" + "|".join(_PATHS) + r")/session": Session,
}
"""Paths of pages with plots."""
