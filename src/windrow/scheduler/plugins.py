"""Plugins in the scheduler's process: who is there, and when they are called.

What lives here: `SchedulerPlugins`. What this file must never know: how anything is decided; a hook cannot change what
it is told of.

The core notes what happens (news) while a plugin is there to hear of it. The shell has it told after each batch, when
what followed is on its way.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickletools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from windrow.plugins.base import SchedulerPlugin, name_of, overrides
from windrow.scheduler.news import Asked, Came, Left, Logged, Moved, Restarted
from windrow.scheduler.state import ERRED, MEMORY, State, WorkerRecord
from windrow.wire import failure
from windrow.wire.blobs import Blob
from windrow.wire.messages import Graph, Key, Submit, TaskOptions

if TYPE_CHECKING:
    from windrow.scheduler.facade import SchedulerView

logger = logging.getLogger("windrow.plugins")

CLOSE_S = 10.0
"""How long the plugins' ``before_close`` may take together, and their ``close``."""

_HOOKS = (
    *("update_graph", "restart", "transition", "log_event"),
    *("add_worker", "remove_worker", "add_client", "remove_client"),
)
"""Hooks that are told of news."""


class SchedulerPlugins(Mapping[str, Any]):
    """The scheduler's plugins, by name.

    Parameters
    ----------
    state
        What the core knows; its ``news`` are switched on while a plugin is there to hear of them.
    view
        What hooks are called with.
    """

    def __init__(self, state: State, view: SchedulerView) -> None:
        self.plugins: dict[str, Any] = {}
        self.recent: dict[Key, Any] = {}
        """Tasks of the news that are being told just now, which may be forgotten already."""
        self._state = state
        self._view = view
        self._hooks: dict[str, list[Callable[..., Any]]] = {}
        self._listener: Callable[[Any], None] | None = None
        self._numbers = itertools.count(1)
        self._background: set[asyncio.Future[Any]] = set()

    def __getitem__(self, name: str) -> Any:
        return self.plugins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plugins)

    def __len__(self) -> int:
        return len(self.plugins)

    def __repr__(self) -> str:
        return f"<SchedulerPlugins {', '.join(self.plugins) or 'none'}>"

    # ------------------------------------------------------------ who is there

    async def register(self, name: str, plugin: Any, idempotent: bool = False) -> None:
        """Start a plugin, and have it hear of all that happens from then on; what its start raises is raised."""
        if idempotent and name in self.plugins:
            return
        start = getattr(plugin, "start", None)
        if start is not None:
            result = start(self._view)
            if isinstance(result, Awaitable):
                await result
        self.add(plugin, name)

    def add(self, plugin: Any, name: str | None = None, idempotent: bool = False) -> None:
        """Have a plugin hear of all that happens from now on, in the place of one of the same name."""
        name = name_of(plugin) if name is None else name
        if not isinstance(plugin, SchedulerPlugin):
            raise TypeError(f"a plugin of the scheduler is a SchedulerPlugin, and {type(plugin).__name__} is none")
        if not (idempotent and name in self.plugins):
            self.plugins[name] = plugin
            self._arrange()

    def remove(self, name: str) -> None:
        """Have a plugin hear nothing any more; ValueError if there is none of that name."""
        if name not in self.plugins:
            there = ", ".join(repr(other) for other in self.plugins) or "none"
            raise ValueError(f"there is no scheduler plugin {name!r}; registered are: {there}")
        del self.plugins[name]
        self._arrange()

    def listen(self, listener: Callable[[Any], None] | None) -> None:
        """Have a function called with all news but moves of tasks, before the hooks; None: no more."""
        if listener is not self._listener:
            self._listener = listener
            self._arrange()

    def _arrange(self) -> None:
        present = list(self.plugins.values())
        self._hooks = {hook: [getattr(each, hook) for each in present if overrides(each, hook)] for hook in _HOOKS}
        state = self._state
        keepers = [each for each in present if overrides(each, "valid_workers_downscaling")]
        state.may_go = self._may_go if keepers else None
        if not any(self._hooks.values()) and self._listener is None:
            state.news = state.moves = None
            return
        if state.news is None:
            state.news = []
        state.moves = state.news if self._hooks["transition"] else None

    # ------------------------------------------------------------ what happens

    def tell(self) -> None:
        """Call the hooks for what has happened since the last time, in order."""
        news = self._state.news
        if not news:
            return
        told = list(news)
        news.clear()
        stimulus = f"batch-{next(self._numbers)}"
        self.recent = {event.key: event.task for event in told if type(event) is Moved}
        for event in told:
            if self._listener is not None:
                self._listener(event)
            _TELL[type(event)](self, event, stimulus)
        self.recent = {}

    def call(self, hook_name: str, *args: Any, **kwargs: Any) -> None:
        """Call one hook of all plugins that have it; what they raise is logged."""
        for hook in self._hooks.get(hook_name, ()):
            try:
                result = hook(*args, **kwargs)
            except Exception:
                logger.exception("the %s hook of plugin %r failed", hook_name, getattr(hook, "__self__", hook))
                continue
            if isinstance(result, Awaitable):
                self._await(result, hook_name)

    def _await(self, awaitable: Awaitable[Any], hook_name: str) -> None:
        future = asyncio.ensure_future(failure.caught(awaitable))
        self._background.add(future)

        def done(future: asyncio.Future[tuple[Any, BaseException | None]]) -> None:
            self._background.discard(future)
            if not future.cancelled() and (error := future.result()[1]) is not None:
                logger.error("a %s hook failed", hook_name, exc_info=error)

        future.add_done_callback(done)

    def _moved(self, event: Moved, stimulus: str) -> None:
        facts: dict[str, Any] = {"stimulus_id": stimulus}
        if event.worker is not None:
            facts["worker"] = event.worker
        task = event.task
        if event.finish == MEMORY:
            stop = time.time()
            facts["nbytes"] = event.nbytes
            facts["typename"] = typename(task.value, task.value_type)
            facts["metadata"] = {}
            if event.seconds is not None:
                facts["startstops"] = [{"action": "compute", "start": stop - event.seconds, "stop": stop}]
        elif event.finish == ERRED and task.failure is not None:
            facts["exception_text"] = task.failure.text
            facts["cause"] = task.failure.root
        self.call("transition", event.key, event.start, event.finish, **facts)

    def _asked(self, event: Asked, stimulus: str) -> None:
        if self._hooks["update_graph"]:
            message = event.message
            self.call(
                "update_graph",
                self._view,
                client=event.client,
                keys=set(event.wanted),
                tasks=list(message.keys),
                annotations=_annotations(message),
                priority={
                    key: (0.0 - options.priority, index) for index, (key, options) in enumerate(_asked_for(message))
                },
                dependencies=self._dependencies(message.keys),
                stimulus_id=stimulus,
            )

    def _dependencies(self, keys: list[Key]) -> dict[Key, set[Key]]:
        tasks = self._state.tasks
        return {key: {source.key for source in tasks[key].inputs} for key in keys if key in tasks}

    def _came(self, event: Came, stimulus: str) -> None:
        self.call(f"add_{event.kind}", self._view, event.id)

    def _left(self, event: Left, stimulus: str) -> None:
        facts = {"stimulus_id": stimulus} if event.kind == "worker" else {}
        self.call(f"remove_{event.kind}", self._view, event.id, **facts)

    def _restarted(self, event: Restarted, stimulus: str) -> None:
        self.call("restart", self._view)

    def _logged(self, event: Logged, stimulus: str) -> None:
        for topic in event.topics:
            self.call("log_event", topic, event.event)

    # ------------------------------------------------------------ questions, and the end

    def valid_workers_downscaling(self, workers: list[Any]) -> list[Any]:
        """Return those of the workers that all plugins let go."""
        for name, plugin in list(self.plugins.items()):
            try:
                workers = list(plugin.valid_workers_downscaling(self._view, workers))
            except Exception:
                logger.exception("the valid_workers_downscaling hook of plugin %r failed", name)
        return workers

    def _may_go(self, workers: list[WorkerRecord]) -> list[WorkerRecord]:
        views = {worker.address: worker for worker in workers}
        allowed = self.valid_workers_downscaling([self._view.workers[address] for address in views])
        return [views[view.address] for view in allowed if view.address in views]

    async def end(self, hook_name: str) -> None:
        """Call ``before_close`` or ``close`` of all plugins; what goes wrong is logged."""
        for name, plugin in list(self.plugins.items()):
            try:
                async with asyncio.timeout(CLOSE_S):
                    _, error = await failure.caught(getattr(plugin, hook_name)())
            except Exception as failed:  # a plain function that raises, or TimeoutError
                error = failed
            if error is not None:
                logger.error("the %s hook of plugin %r failed", hook_name, name, exc_info=error)


_TELL: dict[type, Callable[[SchedulerPlugins, Any, str], None]] = {
    Moved: SchedulerPlugins._moved,
    Asked: SchedulerPlugins._asked,
    Came: SchedulerPlugins._came,
    Left: SchedulerPlugins._left,
    Restarted: SchedulerPlugins._restarted,
    Logged: SchedulerPlugins._logged,
}


# ---------------------------------------------------------------- what was asked for


def _asked_for(message: Submit | Graph) -> list[tuple[Key, Submit | TaskOptions]]:
    """Return each key with its options."""
    if isinstance(message, Submit):
        return [(key, message) for key in message.keys]
    chosen = message.option or [0] * len(message.keys)
    return [(key, message.options[which]) for key, which in zip(message.keys, chosen, strict=True)]


_ASKED = ("priority", "retries", "workers", "allow_other_workers", "resources")


def _annotations(message: Submit | Graph) -> dict[str, dict[Key, Any]]:
    annotations: dict[str, dict[Key, Any]] = {}
    for key, options in _asked_for(message):
        for name in _ASKED:
            value = getattr(options, name)
            if value:
                annotations.setdefault(name, {})[key] = value
    return annotations


# ---------------------------------------------------------------- types of values that nobody loads

_PLAIN = {
    "NONE": "NoneType",
    **dict.fromkeys(("NEWTRUE", "NEWFALSE"), "bool"),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4"), "int"),
    "BINFLOAT": "float",
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), "str"),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), "bytes"),
    "EMPTY_LIST": "list",
    "EMPTY_DICT": "dict",
    "EMPTY_SET": "set",
    "EMPTY_TUPLE": "tuple",
}
"""Types of what is made by one operation."""
_FILLED = {
    **dict.fromkeys(("APPEND", "APPENDS"), "list"),
    **dict.fromkeys(("SETITEM", "SETITEMS"), "dict"),
    "ADDITEMS": "set",
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), "tuple"),
}
"""Types of what these operations end, where it began as one of these."""
_SILENT = ("PROTO", "FRAME", "MEMOIZE", "STOP")
_LOOKED_AT_BYTES = 1024


def typename(value: Blob | None, value_type: bytes | None) -> str | None:
    """Return the name of a value's type, read off its pickle, or that of its type; None where that does not show.

    Examples
    --------
    >>> import pickle
    >>> typename(pickle.dumps(1.5), None), typename(pickle.dumps([1]), None)
    ('float', 'list')
    >>> typename(None, pickle.dumps(asyncio.Queue))
    'asyncio.queues.Queue'
    """
    pickled = value if value_type is None else value_type
    if not pickled:
        return None
    if type(pickled) is not bytes or len(pickled) > _LOOKED_AT_BYTES:
        return None
    steps = [(opcode.name, said) for opcode, said, _ in pickletools.genops(pickled) if opcode.name not in _SILENT]
    names = [name for name, _ in steps]
    if len(names) > 2 and names[2] == "STACK_GLOBAL" and (value_type is not None or "NEWOBJ" in names):
        return f"{steps[0][1]}.{steps[1][1]}"
    if len(names) == 1:
        return _PLAIN.get(names[0])
    filled = _FILLED.get(names[-1])
    return filled if filled == "tuple" or filled == _PLAIN.get(names[0]) else None
