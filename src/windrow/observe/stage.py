"""Pages with plots: documents of Bokeh, on the dashboard's own server, and fed by its own source.

What lives here: how Bokeh is loaded, how a document is made for whoever opens a page, how it is kept up to date, and
how it is let go. What this file must never know: what is on a page (`plots`), what it looks like around its plots.

Who may open a document is decided where the page's session is asked for, as for any other path. The answer holds a
token that is signed, with a secret of this process, and the websocket asks for no more than that: so it needs no
cookie, and works in a frame of another site's and behind any proxy. A script of another site's cannot read the answer.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.observe import patches
from windrow.observe.ahead import Pace
from windrow.observe.feed import Feed
from windrow.observe.plots.catalogue import PAGES, PLOTS, page_of
from windrow.observe.plots.plot import Facts, Frames, Page, Plot
from windrow.observe.spare import Spare

if TYPE_CHECKING:
    from bokeh.document import Document
    from bokeh.server.tornado import BokehTornado

    from windrow.observe.plots.draw import Drawing

__all__ = ["BOKEH", "Installed", "Stage", "find_bokeh", "socket_handler"]

PERIOD_MS = 1000
CHOOSER = "profile-times"
"""The plot in which a range of time is chosen."""
UNUSED_S = 10.0
"""How long a document lives that nobody looks at (any more)."""
CHECK_MS = 2000
TOKEN_S = 300
"""For how long the token of a session lets its websocket in."""
OLDEST = (3, 4)
"""The oldest Bokeh that will do."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A Bokeh that is installed: its version, and where BokehJS is."""

    version: str
    scripts: Path


def find_bokeh() -> Installed | None:
    """Return which Bokeh is installed, without importing it; None if none will do."""
    spec = find_spec("bokeh")
    if spec is None or not spec.submodule_search_locations:
        return None
    found = version("bokeh")
    if tuple(map(int, found.split(".")[:2])) < OLDEST:
        return None
    return Installed(found, Path(spec.submodule_search_locations[0]) / "server" / "static" / "js")


BOKEH = find_bokeh()


class Stage:
    """Where documents live.

    Parameters
    ----------
    feed
        The facts that they show.
    touch
        Called once a second while somebody looks.

    Examples
    --------
    >>> stage = Stage(feed, touch=lambda: None)  # doctest: +SKIP
    >>> await stage.open(page, "dark")  # doctest: +SKIP
    {'token': '…', 'roots': {'progress': 'p1001'}}
    """

    def __init__(self, feed: Feed, touch: Callable[[], None]) -> None:
        self._feed = feed
        self._touch = touch
        self._loading: asyncio.Task[BokehTornado] | None = None
        self._pace: Pace | None = None
        self._turns = patches.Turns(Spare(), PERIOD_MS / 1e3)
        self._opened: dict[str, Facts] = {}
        self._frames: dict[str, tuple[list[Any], Frames]] = {}
        self.on_loaded: Callable[[BokehTornado], None] = lambda host: None
        """Called once Bokeh is loaded."""

    @property
    def documents(self) -> int:
        """How many documents there are."""
        loaded = self._loading.result() if self._loading is not None and self._loading.done() else None
        return 0 if loaded is None else sum(len(list(each.sessions)) for each in loaded.applications.values())

    def get_ready(self, pace: Pace) -> None:
        """Have Bokeh loaded before somebody comes, as slowly as that; once somebody does, at once."""
        if self._loading is None:
            self._pace = pace
            self._loading = asyncio.get_running_loop().create_task(self._load())

    def load(self) -> asyncio.Task[BokehTornado]:
        """Have Bokeh loaded, in a thread; it takes most of a second, once."""
        if self._pace is not None:
            self._pace.hurry()
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
        return self._loading

    async def _load(self) -> BokehTornado:
        await asyncio.to_thread(_import if self._pace is None else partial(_rehearse, self._pace))
        from bokeh.application import Application
        from bokeh.application.handlers.function import FunctionHandler
        from tornado.ioloop import IOLoop

        host = patches.gathering()(
            {"/": Application(FunctionHandler(self._make))},
            secret_key=secrets.token_bytes(32),
            sign_sessions=True,
            extra_websocket_origins=["*"],
            unused_session_lifetime_milliseconds=int(UNUSED_S * 1000),
            check_unused_sessions_milliseconds=CHECK_MS,
        )
        host.initialize(IOLoop.current())
        host.start()
        self.on_loaded(host)
        return host

    async def close(self) -> None:
        """Let all documents go."""
        if self._loading is not None:
            host = await self._loading
            host.stop(wait=False)

    async def open(self, page: Page, scheme: str) -> dict[str, Any]:
        """Make a document for a page; return the token that its websocket asks for, and the ids of the roots."""
        from bokeh.util.token import generate_jwt_token, generate_session_id

        host = await self.load()
        facts = await self._feed.facts(_needs(page))
        session_id = generate_session_id(secret_key=host.secret_key, signed=True)
        payload = {"page": page.path, "scheme": scheme}
        token = generate_jwt_token(session_id, host.secret_key, signed=True, extra_payload=payload, expiration=TOKEN_S)
        self._opened[session_id] = facts
        try:
            session = await host.applications["/"].create_session_if_needed(session_id, None, token)
        finally:
            del self._opened[session_id]
        return {"token": token, "roots": {str(root.name): root.id for root in session.document.roots}}

    def _make(self, document: Document) -> None:
        """Fill a new document; that of a late websocket, whose document was let go, has its facts a moment later."""
        from windrow.observe.plots.draw import Drawing, theme

        context: Any = document.session_context
        page, scheme = page_of(context.token_payload["page"]), context.token_payload["scheme"]
        assert page is not None
        facts = self._opened.get(str(context.id))
        document.theme = theme(scheme)
        document.title = f"windrow: {page.title}"
        document.config.notifications = None
        document.config.reconnect_session = False
        drawings = [Drawing(PLOTS[name], scheme) for name in page.in_view]
        for drawing in drawings:
            if facts is not None:
                drawing.show(self._columns(drawing.plot, facts))
        scene = Scene(page, drawings)
        with document.models.freeze():
            for root in [root for drawing in drawings for root in drawing.roots]:
                document.add_root(root)
        document.add_periodic_callback(_unlocked(partial(self._tick, document, scene)), PERIOD_MS)

    async def _tick(self, document: Document, scene: Scene) -> None:
        self._touch()
        if not self._turns.is_due(time.monotonic() - scene.shown_s):
            return
        scene.shown_s = time.monotonic()
        try:
            facts = await self._feed.facts(_needs(scene.page))
            if scene.range is not None and scene.profile is None:
                scene.profile = await self._feed.profile(*scene.range)
        except (TimeoutError, ConnectionError):  # it is busy; or has ended, and with it this process, as the page says
            return
        if document.session_context is not None:
            document.add_next_tick_callback(partial(self._show, scene, facts))

    def _show(self, scene: Scene, facts: Facts) -> None:
        for drawing in scene.drawings:
            if scene.range is None or drawing.plot.needs != ("profile",):
                drawing.show(self._columns(drawing.plot, facts))
            elif drawing.plot.name != CHOOSER and scene.profile is not None:
                drawing.show(drawing.plot.frames({"profile": scene.profile}))

    def _columns(self, plot: Plot, facts: Facts) -> Frames:
        """Return the columns of a plot; however many documents show it, they are made once."""
        basis = [facts[name] for name in plot.needs]
        known = self._frames.get(plot.name)
        if known is not None and all(old is new for old, new in zip(known[0], basis, strict=True)):
            return known[1]
        frames = plot.frames(facts)
        self._frames[plot.name] = (basis, frames)
        return frames


class Scene:
    """What one document shows.

    Parameters
    ----------
    page, drawings
        Its page, and the plots on it.

    Attributes
    ----------
    range : tuple or None
        From when to when its profile is, in seconds since the epoch, if that was chosen.
    profile
        That profile, once it is there.
    shown_s : float
        When facts were last asked for.
    """

    def __init__(self, page: Page, drawings: list[Drawing]) -> None:
        self.page = page
        self.drawings = drawings
        self.range: tuple[float, float] | None = None
        self.profile: Any = None
        self.shown_s = -math.inf
        for drawing in drawings:
            drawing.on_range = self._choose

    def _choose(self, start: float | None, stop: float | None) -> None:
        self.profile, self.shown_s = None, -math.inf
        self.range = None if start is None or stop is None else (start / 1e3, stop / 1e3)


def _needs(page: Page) -> list[str]:
    """Return what a page is made of, and its further tabs, too: what is kept of it goes back as far."""
    return list(dict.fromkeys(need for name in page.plots for need in PLOTS[name].needs))


def _unlocked(callback: Any) -> Any:
    from bokeh.document import without_document_lock

    async def tick() -> None:
        await callback()

    return without_document_lock(tick)


def _import() -> None:
    """Import all of Bokeh that the first page needs."""
    import bokeh.application.handlers.function
    import bokeh.server.tornado
    import bokeh.util.token  # noqa: F401

    import windrow.observe.plots.draw  # noqa: F401


def _rehearse(pace: Pace) -> None:
    """Import it slowly, and make a document that nobody sees: what Bokeh looks up for the first one, it knows then."""
    with pace:
        _import()
        from bokeh.document import Document

        from windrow.observe.plots.draw import Drawing, theme

        document = Document()
        document.theme = theme("light")
        with document.models.freeze():
            for plot in (PLOTS[name] for name in PAGES["status"].in_view):
                if pace.is_hurried:  # the first one is now made for somebody
                    return
                for root in Drawing(plot).roots:
                    document.add_root(root)
                pace.rest()
        document.to_json()


def socket_handler() -> type[Any]:
    """Return what answers on the path of a page's websocket; to be called once Bokeh is loaded."""
    from bokeh.server.views.ws import WSHandler

    class Socket(WSHandler):
        def __init__(self, application: Any, request: Any, host: BokehTornado) -> None:
            context = host.applications["/"]
            super().__init__(host, request, application_context=context, bokeh_websocket_path="/ws")

        def open(self, *args: str, **kwargs: str) -> Any:
            # A message is several frames: each but the first would wait for an acknowledgment, which browsers delay.
            self.set_nodelay(True)
            return super().open()

    return Socket
