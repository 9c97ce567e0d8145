"""`progress`: how far futures are, shown until they are done.

What lives here: the function, and what it does at each tick. What this file must never know: how it looks, where tasks
run.

Of its own futures a client knows all that is shown. What these are made of, the scheduler is asked for a few times a
second (`windrow.scheduler.following`), and not at all where there is nothing of that kind. No task is told of anything.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from windrow.client import displays
from windrow.client.entry import Latch
from windrow.client.future import Future, futures_of, given_futures, graph_of
from windrow.client.options import seconds
from windrow.client.tally import Pace, Picture, Tally
from windrow.client.waiting import Steps, block, entries_of
from windrow.errors import ClosedClientError
from windrow.keys import Key, from_plain, prefix_of
from windrow.scheduler.following import Follow, Following, Leave, Look
from windrow.wire import messages as m
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.session import Question, Session

__all__ = ["progress"]

log = logging.getLogger("windrow.client")

ASK_EVERY_S = 0.25

FOLLOWED_MAX = 20_000
"""Of more futures than these what they are made of is not asked for: collections have few futures, and many inputs."""

WIDTH = 40

_numbers = itertools.count(1)


def progress(
    *futures: Any,
    notebook: bool | None = None,
    multi: bool = True,
    complete: bool = True,
    group_by: str | Callable[[Key], str] = "prefix",
    **kwargs: Any,
) -> Any:
    """Show how far futures are, and what they are made of, until they are done.

    In a terminal bars, on stderr; where stderr is no terminal, a line every few seconds; in a notebook an object that
    shows itself in the cell's output, and goes on while other cells run. Errors are shown as they come, and not
    raised. Ctrl-C ends the display alone.

    Parameters
    ----------
    *futures
        Futures, collections of Dask that are computed or persisted, and lists, tuples, sets and dicts of these.
    notebook
        Whether this is a notebook; None: find out.
    multi
        Whether each group has a bar of its own.
    complete
        Whether tasks count that are done already.
    group_by
        ``"prefix"``, or a function that makes a group's name of a key.
    interval
        How often to draw; by default ten times a second in a terminal.
    width
        How long bars are, in characters.

    Returns
    -------
    None
        When all are done; an awaitable on an asynchronous client. In a notebook: an object, at once.

    Raises
    ------
    ValueError
        ``group_by`` is neither.
    TypeError
        Something among them is no future, or a collection that is not on the cluster.

    Examples
    --------
    >>> from windrow import Client
    >>> with Client(n_workers=1, processes=False) as client:
    ...     futures = client.map(str, range(10))
    ...     progress(futures)
    """
    group = _group(kwargs.pop("func", None) or group_by)
    interval_s = seconds(kwargs.pop("interval", None), "interval")
    width = kwargs.pop("width", WIDTH)
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width must be a number of characters above 0, not {width!r}")
    for name in ("loop", "start", "scheduler"):
        kwargs.pop(name, None)
    if kwargs:
        raise TypeError(f"progress takes no argument {next(iter(kwargs))!r}; it takes interval and width")
    given = _given(futures)
    if not given:
        return None
    client = given[0].bound()
    if displays.in_kernel() if notebook is None else notebook:
        return NotebookProgress(client.session, given, group, complete, displays.Notebook(multi), interval_s)
    display = displays.for_stderr(width, multi)
    return client.run_steps(
        watch(client.session, given, group, complete, display, interval_s), None, "progress", at_once=True
    )


def _given(given: tuple[Any, ...]) -> list[Future]:
    """Return the futures in what was given, each once; TypeError at what has none to show."""
    found: dict[int, Future] = {}
    for each in given:
        if graph_of(each) and not futures_of(each):
            name = type(each).__name__
            raise TypeError(
                f"progress shows what is on the cluster, and this {name} is not: persist or compute it first, as in "
                "x = client.persist(x); progress(x)"
            )
        found.update((id(future), future) for future in given_futures(each, "what progress shows"))
    return list(found.values())


def _group(group_by: Any) -> Callable[[Key], str] | None:
    """Return what makes the name of a group; None for prefixes, which the scheduler knows as well."""
    if group_by == "prefix":
        return None
    if group_by == "spans":
        raise NotImplementedError(
            "group_by='spans' is not in this version of windrow: take 'prefix', or a function that names a key's group"
        )
    if not callable(group_by):
        raise ValueError(f"group_by must be 'prefix', 'spans', or a function of a key, not {group_by!r}")
    return lambda key: str(group_by(key))


def watch(
    session: Session,
    futures: list[Future],
    group: Callable[[Key], str] | None,
    complete: bool,
    display: displays.Display,
    interval_s: float | None = None,
) -> Steps[None]:
    """Show how it stands at each tick, until all futures are done; steps as of `windrow.client.waiting`.

    The futures are kept meanwhile: without one a task is dropped, and never done.
    """
    entries = entries_of(session, futures)
    tally = Tally(entries, group or prefix_of, complete)
    inputs = Inputs(session, tally.keys, group, complete)
    pace, began_s = Pace(), monotonic()
    ticks = Ticks(session, display.interval_s if interval_s is None else interval_s)
    latch = session.latch(entries)
    if latch is not None:
        latch.attach(ticks.open_now)
    try:
        while latch is not None and not latch.opened:
            tally.step()
            inputs.look()
            rows, elapsed_s = tally.rows(inputs.rows), monotonic() - began_s
            rate = pace.rate(Picture(rows, 0.0, None).whole.ended, elapsed_s)
            display.show(Picture(rows, elapsed_s, rate))
            yield ticks.next()
        tally.finish()
        whole = Picture(tally.rows({}), 0.0, None).whole
        is_good = not whole.erred and not whole.dropped
        if not is_good or inputs.lacks_names:
            yield from inputs.last_look()
        if is_good:
            inputs.all_done()
        display.end(Picture(tally.rows(inputs.rows), monotonic() - began_s, None, is_over=True))
    finally:
        if latch is not None and not latch.opened:
            session.unlatch(latch, entries)
        inputs.leave()
        display.close()


class Ticks:
    """Latches that open after a while, or as soon as there is no more to wait for.

    Parameters
    ----------
    session
        Whose loop has the clock.
    interval_s
        How long a tick is.
    """

    def __init__(self, session: Session, interval_s: float) -> None:
        self._loop: Any = session.loop
        self._interval_s = interval_s
        self._tick = Latch(1)
        self._is_over = False

    def next(self) -> Latch:
        """Return the next one."""
        tick = self._tick = Latch(1)
        self._call(lambda: self._loop.call_later(self._interval_s, tick.open))
        if self._is_over:
            self.open_now()
        return tick

    def open_now(self) -> None:
        """Open this one, and those that come; from any thread, under any lock."""
        self._is_over = True
        self._call(self._tick.open)

    def _call(self, do: Callable[[], object]) -> None:
        """Have the loop do something, so that no two threads open a latch at a time."""
        try:
            self._loop.call_soon_threadsafe(do)
        except RuntimeError:  # the loop is closed: nothing goes on any more
            self._tick.open()


class Inputs:
    """What the scheduler says of what leads to some keys.

    Parameters
    ----------
    session
        Who asks.
    keys, group, complete
        As of `progress`.
    """

    def __init__(self, session: Session, keys: list[Key], group: Callable[[Key], str] | None, complete: bool) -> None:
        self.rows: dict[str, list[int]] = {}
        self._session = session
        self._group = group
        self._number = next(_numbers)
        self._is_followed = 0 < len(keys) <= FOLLOWED_MAX
        self._names: list[str] = []
        self._asked_s = 0.0
        self._question: Question | None = None
        if self._is_followed:
            self._ask(Follow(self._number, keys, complete, group is not None))

    def _ask(self, request: Follow | Look | Leave) -> None:
        self._asked_s = monotonic()
        try:
            self._question = self._session.ask(r.Ask(Following.name, request))
        except ClosedClientError:  # the futures' entries say why
            self._question, self._is_followed = None, False

    def look(self) -> None:
        """Take an answer that is there, and ask again if it is time."""
        if not self._is_followed:
            return
        if self._question is not None and self._question.opened:
            self._hear(self._question.reply)
        if self._is_followed and self._question is None and monotonic() - self._asked_s >= ASK_EVERY_S:
            self._ask(Look(self._number, self._names))

    def _hear(self, reply: m.Reply | None) -> None:
        self._question = None
        if reply is None or reply.error is not None or reply.value is None:
            log.debug("the scheduler does not say how far inputs are: %r", reply)
            self._is_followed = False
            return
        self.rows = {name: list(row) for name, row in reply.value["rows"].items()}
        unnamed = [from_plain(key) for key in reply.value["unnamed"]]
        self._names = [self._group(key) for key in unnamed] if self._group is not None else []
        if reply.value["walked"] and not self.rows:  # nothing leads there
            self.leave()

    @property
    def lacks_names(self) -> bool:
        """Whether some rows' names are not known to the scheduler yet."""
        return bool(self._names)

    def last_look(self) -> Steps[None]:
        """Ask once more, and wait for the answer."""
        if self._is_followed:
            if self._question is not None:
                yield self._question
                self._hear(self._question.reply)
            if self._is_followed:
                self._ask(Look(self._number, self._names))
            if self._question is not None:
                yield self._question
                self._hear(self._question.reply)

    def all_done(self) -> None:
        """Take note that all has gone well: so did what led there."""
        self.rows = {name: [sum(row), 0, 0, 0, 0] for name, row in self.rows.items()}

    def leave(self) -> None:
        """Ask no more."""
        if self._is_followed:
            if self._question is not None:
                self._session.drop_question(self._question)
            self._ask(Leave(self._number))
            self._is_followed = False


class NotebookProgress:
    """Shows itself in the output of a notebook's cell, and goes on from then.

    Parameters
    ----------
    session, futures, group, complete, display, interval_s
        As of `watch`.
    """

    def __init__(
        self,
        session: Session,
        futures: list[Future],
        group: Callable[[Key], str] | None,
        complete: bool,
        display: displays.Notebook,
        interval_s: float | None,
    ) -> None:
        self._display = display
        self._steps = watch(session, futures, group, complete, display, interval_s)
        self._thread: threading.Thread | None = None

    def _ipython_display_(self, **kwargs: Any) -> None:
        self._display.place()
        if self._thread is None:
            self._thread = threading.Thread(
                target=block, args=(self._steps, None, "progress"), name="windrow-progress", daemon=True
            )
            self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the display is at its end."""
        if self._thread is not None:
            self._thread.join(timeout)
