"""The three kinds of plugins, and how one is told from another.

What lives here: `SchedulerPlugin`, `WorkerPlugin`, `NannyPlugin`: hooks that do nothing until a subclass overrides
them. What this file must never know: when hooks are called.

Any hook may be a coroutine function where its docstring says so. ``name`` is the name under which a plugin is
registered, if it is not given at the call; a plugin that comes under the name of another takes its place, unless it is
``idempotent``: then it is left where it was.
"""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

from windrow.keys import Key

__all__ = ["Kind", "NannyPlugin", "SchedulerPlugin", "WorkerPlugin", "kind_of", "name_of", "overrides"]

Kind: TypeAlias = Literal["scheduler", "worker", "nanny"]


class SchedulerPlugin:
    """Called in the scheduler's process, on its event loop, when something happens there.

    What has happened is told in order, after the scheduler has done all that follows from a batch of messages, and has
    sent it on its way. So a slow hook makes nothing wrong; but the loop waits for it, and so does all that comes next:
    what takes long belongs into a thread, or into a coroutine. By the time of the call the scheduler may be further
    than what is told: a task may have moved on, or be forgotten by it already.

    What a hook raises is logged, and otherwise ignored; only what `start` raises is raised by ``register_plugin``.

    Examples
    --------
    >>> class Counter(SchedulerPlugin):
    ...     name = "counter"
    ...
    ...     async def start(self, scheduler):
    ...         self.finished = 0
    ...
    ...     def transition(self, key, start, finish, *args, stimulus_id, **kwargs):
    ...         self.finished += finish == "memory"
    >>> client.register_plugin(Counter())  # doctest: +SKIP
    """

    idempotent = False

    async def start(self, scheduler: Any) -> None:
        """Begin: called once, before all else. The only hook whose exceptions are passed on."""

    async def before_close(self) -> None:
        """Do what needs the cluster: the scheduler is about to close, and everybody is still there."""

    async def close(self) -> None:
        """End: the scheduler has closed its connections."""

    def update_graph(
        self,
        scheduler: Any,
        *,
        client: str,
        keys: set[Key],
        tasks: list[Key],
        annotations: dict[str, dict[Key, Any]],
        priority: dict[Key, tuple[int | float, ...]],
        stimulus_id: str,
        **kwargs: Any,
    ) -> None:
        """Learn of tasks that a client has sent.

        Parameters
        ----------
        scheduler
            The scheduler.
        client
            The client's id.
        keys
            Those whose results it wants.
        tasks
            All of them.
        annotations
            What was asked for, by kind (``"retries"``, ``"workers"``, ``"resources"``, …) and key.
        priority
            The order in which they run: the lowest first.
        stimulus_id
            The same for all that followed from one batch of messages.
        **kwargs
            ``dependencies``: the keys that each task needs.
        """

    def restart(self, scheduler: Any) -> None:
        """Learn that the scheduler has forgotten all tasks (``Client.restart``)."""

    def transition(self, key: Key, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any) -> None:
        """Learn that a task has gone from one state to another.

        With ``kwargs``, as far as it is known: ``worker`` (the address), ``nbytes``, ``typename`` and ``startstops`` of
        a task that has finished; ``exception_text`` of one that has erred. A hook must not move tasks itself.
        """

    def add_worker(self, scheduler: Any, worker: str) -> Any:
        """Learn that a worker has joined, by its address; may be a coroutine function."""

    def remove_worker(self, scheduler: Any, worker: str, *, stimulus_id: str, **kwargs: Any) -> Any:
        """Learn that a worker is gone, by its address; may be a coroutine function."""

    def add_client(self, scheduler: Any, client: str) -> None:
        """Learn that a client has connected, by its id."""

    def remove_client(self, scheduler: Any, client: str) -> None:
        """Learn that a client is gone, by its id."""

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Return those of the workers that may be closed when there are to be fewer."""
        return workers

    def log_event(self, topic: str, msg: Any) -> None:
        """Learn of an event, for each of its topics."""


class WorkerPlugin:
    """Called on workers: on all that are there, and on each that comes later before it is given its first task.

    In a process of its own a worker calls plain hooks on its main thread, which its event loop shares: signals can be
    set there, and tasks go on meanwhile. A worker in the scheduler's process calls them in a thread. Coroutine
    functions run on the worker's event loop.

    Examples
    --------
    >>> class Model(WorkerPlugin):
    ...     name = "model"
    ...
    ...     def setup(self, worker):
    ...         worker.model = [1, 2, 3]
    >>> client.register_plugin(Model())  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': {'status': 'OK'}}
    """

    idempotent = False

    def setup(self, worker: Any) -> Any:
        """Begin on a worker; may be a coroutine function.

        What it raises is raised by ``register_plugin``. A worker that comes later, where it raises, does not start.
        """

    def teardown(self, worker: Any) -> Any:
        """End: the plugin is unregistered, or replaced, or its worker closes; may be a coroutine function.

        A process that is killed, as ``Client.restart`` does, has no time for it.
        """

    def transition(self, key: Key, start: str, finish: str, **kwargs: Any) -> None:
        """Learn that a task has gone from one state to another on this worker, soon after that.

        The states: released, waiting (for inputs), ready, executing, memory, error.
        """


class NannyPlugin:
    """Called where nannies are, which start the worker processes: once for each worker, and again for those to come.

    Plain hooks are called in a thread, as a nanny may share its process with the scheduler. With ``restart = True`` the
    worker is started afresh after `setup`. A new nanny sets its plugins up before it starts its first worker.

    Examples
    --------
    >>> class Verbose(NannyPlugin):
    ...     restart = True
    ...
    ...     def setup(self, nanny):
    ...         nanny.env["MY_LOG_LEVEL"] = "debug"
    >>> client.register_plugin(Verbose())  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': {'status': 'OK'}}
    """

    idempotent = False
    restart = False

    def setup(self, nanny: Any) -> Any:
        """Begin on a nanny; may be a coroutine function. What it raises is raised by ``register_plugin``."""

    def teardown(self, nanny: Any) -> Any:
        """End: the plugin is unregistered, or replaced, or the nanny closes; may be a coroutine function."""


_KINDS: dict[type, Kind] = {SchedulerPlugin: "scheduler", WorkerPlugin: "worker", NannyPlugin: "nanny"}


def kind_of(plugin: object) -> Kind:
    """Return where a plugin goes.

    Raises
    ------
    TypeError
        It is of none of the kinds, or a class.

    Examples
    --------
    >>> kind_of(WorkerPlugin())
    'worker'
    """
    if isinstance(plugin, type):
        raise TypeError(
            f"a plugin is an object of a class, and {plugin.__name__} is the class: write {plugin.__name__}()"
        )
    for base, kind in _KINDS.items():
        if isinstance(plugin, base):
            return kind
    raise TypeError(
        f"a plugin is a SchedulerPlugin, WorkerPlugin or NannyPlugin by inheritance; {type(plugin).__name__} is none"
    )


def name_of(plugin: object) -> str:
    """Return the name that a plugin has, or one made up of its class and a random number.

    Examples
    --------
    >>> name_of(WorkerPlugin()).rpartition("-")[0]
    'WorkerPlugin'
    """
    name = getattr(plugin, "name", None)
    return f"{type(plugin).__name__}-{os.urandom(16).hex()}" if name is None else str(name)


def overrides(plugin: object, hook: str) -> bool:
    """Whether a plugin has a hook of its own.

    Examples
    --------
    >>> overrides(WorkerPlugin(), "transition")
    False
    """
    base = next(base for base in _KINDS if isinstance(plugin, base))
    own = getattr(plugin, hook, None)
    return own is not None and getattr(own, "__func__", own) is not getattr(base, hook, None)
