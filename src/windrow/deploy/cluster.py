"""What every kind of cluster offers: a name, a scheduler to ask, facts, logs and looks.

What lives here: `Cluster`. What this file must never know: how the parties are started; a subclass does that in `_open`
and undoes it in `_shut`.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from windrow import config, security, tls, transport
from windrow.client import options
from windrow.client.options import Duration
from windrow.deploy import controls, gathered_logs, views
from windrow.deploy.adaptive import Adaptive
from windrow.deploy.controls import Controls
from windrow.deploy.life import Life
from windrow.deploy.rounds import Rounds
from windrow.deploy.views import Log, Logs
from windrow.errors import WorkerStartTimeoutError
from windrow.node import Status
from windrow.primitives.metadata import Metadata, SetMetadata
from windrow.primitives.topics import Subscribe, Topics
from windrow.transport import Link
from windrow.transport.asker import Asker
from windrow.wire.messages import HelloClient, Message, Topic
from windrow.wire.requests import Ask, Identity, Request

if TYPE_CHECKING:
    from windrow.client.client import Client

logger = logging.getLogger("windrow.deploy")

NOWHERE = "<not connected>"
"""The scheduler's address while there is none."""

POLL_S = 0.05
"""How often a scheduler elsewhere is asked who is there, while somebody waits for a change."""

MANAGER_INFO = "cluster-manager-info"
"""Where the scheduler's metadata say which cluster it is of."""


class Cluster(Life):
    """Base of cluster managers.

    A subclass starts its parties in `_open`, where it sets ``scheduler_address`` and ``secret``, ends them in `_shut`,
    and calls `_begin` at the end of its constructor. What can be scaled has `scale`, `plan` and `requested`.

    Parameters
    ----------
    asynchronous
        Belong to the running event loop: ``await`` it, or use ``async with``. Else it has a loop in a thread of its
        own, and its methods block.
    loop
        A `LoopThread`, or an event loop that runs in another thread, to use in place of one of its own.
    quiet
        Whether what the manager logs of itself (`_log`) is kept for `get_logs` only, and not printed.
    name
        By default eight random hexadecimal digits.
    scheduler_sync_interval
        How often a scheduler in another process is asked what is new, in seconds or as "1s".

    Examples
    --------
    >>> class Attached(Cluster):
    ...     def __init__(self, address, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.scheduler_address = address
    ...         self._begin()
    >>> Attached("tcp://127.0.0.1:8786")  # doctest: +SKIP
    Attached(8a41c2f0, 'tcp://127.0.0.1:8786', workers=2, threads=4, memory=15.50 GiB)
    """

    _kind = ""
    """What it shows itself as: the function that users call, where that is no class; else the class."""

    def __init__(
        self,
        asynchronous: bool = False,
        loop: Any = None,
        quiet: bool = False,
        name: str | None = None,
        scheduler_sync_interval: Duration = 1,
    ) -> None:
        interval_s = options.seconds(scheduler_sync_interval, "scheduler_sync_interval")
        super().__init__(asynchronous, loop, _checked_name(name) or uuid.uuid4().hex[:8])
        self.quiet = quiet
        self.scheduler_address = NOWHERE
        self.secret: bytes | None = None
        self.security: tls.Security | None = getattr(self, "security", None)
        self.scheduler_comm: Any = None
        """Whom to ask: ``await scheduler_comm.ask(request)``; None while there is nobody."""
        self.periodic_callbacks: dict[str, Rounds] = {"scheduler-info": Rounds(self._look_again, interval_s or 1.0)}
        self._info: dict[str, Any] = _nobody()
        self._said: list[tuple[datetime, str]] = []
        self._epitaphs: dict[str, str] = {}
        """How workers ended whose end somebody here saw, by address."""
        self._watching: set[asyncio.Future[None]] = set()
        self._adaptive: Adaptive | None = None
        self._adaptive_options: dict[str, Any] = {}
        self._controls: Controls | None = None
        """Its widget, once a notebook has shown it."""
        self._looking = False
        self._stale = False

    # ------------------------------------------------------------ for subclasses

    async def _open(self) -> None:
        """Start the parties; set ``scheduler_address`` and ``secret``."""
        if self.scheduler_address == NOWHERE and self.scheduler_comm is None:
            raise NotImplementedError("a kind of cluster starts its parties in _open, and sets scheduler_address")

    async def _opened(self) -> None:
        if self.scheduler_comm is None:
            self.scheduler_comm = await self._reach_scheduler()
        await self._look()

    def _on_running(self) -> None:
        if not self._is_near:
            self.periodic_callbacks["scheduler-info"].start()
        self._announce()

    def _on_closing(self) -> None:
        if self._adaptive is not None:
            self._adaptive.stop("the cluster closes")
        for rounds in self.periodic_callbacks.values():
            rounds.cancel()

    def _on_closed(self) -> None:
        if isinstance(self.scheduler_comm, Asker):
            self.scheduler_comm.link.close()
        self._on_change()

    async def connect_inproc(self) -> Link:
        """Return a new link to the scheduler (on the loop)."""
        address, secret = self.scheduler_address, self.secret
        if not secret and not address.startswith("inproc://"):
            secret = security.secret_for(address)
        patience_s = config.seconds("windrow.client.reconnect-timeout")
        return await transport.connect(address, secret=secret, patience_s=patience_s, certificates=self.security)

    def _log(self, text: str) -> None:
        """Have a line in the cluster's own log, which is printed too unless the cluster is ``quiet``."""
        self._note(text)
        if not self.quiet:
            builtins.print(text)

    def _note(self, text: str) -> None:
        """Have a line in the cluster's own log that is printed elsewhere, or not at all."""
        self._said.append((datetime.now(), text))

    # ------------------------------------------------------------ facts

    @property
    def name(self) -> str:
        """The cluster's name; a new one is told to the scheduler."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = _checked_name(name) or self._name
        if self.status is Status.running and self._loop is not None:
            self._loop.call_soon_threadsafe(self._announce)

    @property
    def _is_near(self) -> bool:
        """Whether the scheduler is in this process, so that what it says of itself is there without asking."""
        return False

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's description of itself and its workers."""
        return self._info if self.status is Status.running else _nobody()

    @property
    def dashboard_link(self) -> str:
        """Where to look at the cluster; "" while it has no dashboard."""
        return str(self.scheduler_info.get("dashboard_link") or "")

    @property
    def observed(self) -> set[Any]:
        """Names of the workers that the scheduler knows."""
        return {worker["name"] for worker in self._present().values()}

    @property
    def requested(self) -> set[Any]:
        """Names of the workers that were started."""
        raise NotImplementedError(f"{type(self).__name__} does not start workers")

    @property
    def plan(self) -> set[Any]:
        """Names of the workers that are wanted."""
        raise NotImplementedError(f"{type(self).__name__} does not start workers")

    def scale(self, n: int = 0) -> Any:
        """Have ``n`` workers, where a kind of cluster can do that."""
        raise NotImplementedError(f"{type(self).__name__} cannot scale: its workers are started by somebody else")

    def adapt(self, Adaptive: Callable[..., Any] = Adaptive, **kwargs: Any) -> Any:
        """Scale with the load from now on, until the cluster closes or the result's ``stop()`` is called.

        A second call takes the place of the first; what it does not say stays as it was.

        Parameters
        ----------
        Adaptive
            What does it.
        **kwargs
            Its arguments; see `windrow.Adaptive`.

        Examples
        --------
        >>> cluster.adapt(minimum=1, maximum=10)  # doctest: +SKIP
        """
        options = {**self._adaptive_options, **kwargs}
        adaptive = Adaptive(self, **options)
        if self._adaptive is not None:
            self._adaptive.stop("another takes its place")
        self._adaptive, self._adaptive_options = adaptive, options
        return adaptive

    def get_client(self) -> Client:
        """Return the current client, if it is one of this cluster, else a new one."""
        from windrow.client import current
        from windrow.client.client import Client

        try:
            found = current.current()
        except ValueError:
            return Client(self, asynchronous=self._asynchronous)
        of_this = found.cluster is self or found._connection.address == self.scheduler_address
        return found if of_this else Client(self, asynchronous=self._asynchronous)

    # ------------------------------------------------------------ what the scheduler says

    def _present(self) -> dict[str, dict[str, Any]]:
        """Return what is known of the workers now, by address."""
        workers: dict[str, dict[str, Any]] = self._info["workers"]
        return workers

    async def _reach_scheduler(self) -> Any:
        asker = Asker(await self.connect_inproc(), self._hear)
        asker.say(HelloClient(f"Cluster-{self.name}"))
        await asker.ask(Ask(Topics.name, Subscribe(["scheduler"])))
        return asker

    def _hear(self, message: Message) -> None:
        if type(message) is Topic:  # a worker has come or gone
            self._in_background(self._look_again())

    async def _look(self) -> None:
        """Learn what the scheduler says; while it does not answer, what it said last stays."""
        before = self._present().keys()
        try:
            self._info = (await self._ask(Identity())).value
        except ConnectionError as error:
            self._info = {**self._info, "workers": {}}
            logger.debug("cluster %s: its scheduler is gone: %s", self.name, error)
        if before != self._present().keys():
            self._on_change()

    async def _look_again(self) -> None:
        """Look now, or once more when the look that is under way is answered."""
        self._stale = True
        if self._looking:
            return
        self._looking = True
        try:
            if isinstance(self.scheduler_comm, Asker) and self.scheduler_comm.ended.done():
                self.scheduler_comm = await self._reach_scheduler()
            while self._stale:
                self._stale = False
                await self._look()
        except OSError as error:  # it is still away; the next round tries again
            logger.debug("cluster %s: its scheduler cannot be reached: %s", self.name, error)
        finally:
            self._looking = False

    async def _ask(self, request: Request) -> Any:
        return await self.scheduler_comm.ask(request)

    def _announce(self) -> None:
        """Have the scheduler's metadata say which cluster this is, for clients that came by its address."""
        told = {"name": self.name, "type": self._kind or type(self).__name__}
        self._in_background(self._ask(Ask(Metadata.name, SetMetadata([MANAGER_INFO], told))))

    def _on_change(self) -> None:
        """A party has joined or left."""
        for event in self._watching:
            if not event.done():
                event.set_result(None)
        self._watching.clear()
        if self._controls is not None:
            self._controls.refresh()

    async def _changed(self, timeout_s: float | None) -> None:
        """Wait until a party has joined or left, or the time is up."""
        event = asyncio.get_running_loop().create_future()
        self._watching.add(event)
        limit_s = timeout_s if self._is_near else min(POLL_S, POLL_S if timeout_s is None else timeout_s)
        await asyncio.wait([event], timeout=limit_s)
        self._watching.discard(event)
        if not self._is_near:
            await self._look()

    def wait_for_workers(self, n_workers: int, timeout: Duration = None) -> Any:
        """Wait until so many workers run.

        Raises
        ------
        WorkerStartTimeoutError
            They do not, after ``timeout``.
        """
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
            raise ValueError(f"n_workers must be a whole number above 0, not {n_workers!r}")
        return self._either(self._wait_for_workers(n_workers, options.seconds(timeout)))

    async def _wait_for_workers(self, n_workers: int, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        limit = None if timeout_s is None else loop.time() + timeout_s
        while (present := self._count_running()) < n_workers:
            if self.status is not Status.running:
                raise RuntimeError(f"cluster {self.name} is {self.status}, with {present} of {n_workers} workers there")
            left = None if limit is None else limit - loop.time()
            if left is not None and left <= 0:
                raise WorkerStartTimeoutError(f"{present} of {n_workers} workers are there after {timeout_s:g} s")
            await self._changed(left)

    def _count_running(self) -> int:
        return sum(worker["status"] in ("running", "paused") for worker in self._present().values())

    # ------------------------------------------------------------ logs

    def get_logs(self, cluster: bool = True, scheduler: bool = True, workers: bool | list[str] = True) -> Any:
        """Return the logs of the parties, newest line first: {"Cluster": …, "Scheduler": …, worker's address: …}.

        Of parties that have ended, and of a closed cluster, what is known: how they ended, and their last words.

        Parameters
        ----------
        cluster, scheduler
            Whether to have the manager's own, and the scheduler's.
        workers
            Whether to have those of the workers; or the addresses of some.
        """
        if isinstance(workers, str):
            raise TypeError(f"workers must be True, False or a list of addresses, not the text {workers!r}")
        if self.status in (Status.closing, Status.closed, Status.failed) and not self.asynchronous:
            return self._kept_logs(bool(cluster), bool(scheduler), workers)  # its loop may have ended
        return self._either(self._get_logs(bool(cluster), bool(scheduler), workers))

    async def _get_logs(self, cluster: bool, scheduler: bool, workers: bool | list[str]) -> Logs:
        if self.status in (Status.closing, Status.closed, Status.failed):
            return self._kept_logs(cluster, scheduler, workers)
        found = self._kept_logs(cluster, False, workers)
        if scheduler:
            try:
                found["Scheduler"] = gathered_logs.as_log(await self._scheduler_logs())
            except OSError as error:
                found["Scheduler"] = Log(f"(no logs: {self._scheduler_epitaph() or error})")
        if workers:
            if not self._is_near:
                await self._look()
            addresses = list(self._present()) if workers is True else list(workers)
            found.update(await gathered_logs.of_workers(self._ask, addresses))
        return found

    def _kept_logs(self, cluster: bool, scheduler: bool, workers: bool | list[str]) -> Logs:
        """Return what is known without asking anybody."""
        found = Logs()
        if cluster:
            lines = [f"{when:%Y-%m-%d %H:%M:%S} - {text}" for when, text in reversed(self._said)]
            found["Cluster"] = Log("\n".join(lines))
        if scheduler:
            found["Scheduler"] = Log(f"(no logs: {self._scheduler_epitaph() or f'the cluster is {self.status}'})")
        for address, words in self._epitaphs.items():
            if workers is True or (workers and address in workers):
                found[address] = Log(f"(no logs: {words})")
        return found

    def _scheduler_epitaph(self) -> str:
        """Say how the scheduler ended; "" where nobody here saw it."""
        return ""

    async def _scheduler_logs(self) -> list[tuple[str, str]]:
        return await gathered_logs.of_scheduler(self._ask)

    # ------------------------------------------------------------ looks

    def _more_rows(self) -> dict[str, str]:
        """Return further rows for the table in notebooks."""
        return {}

    def __repr__(self) -> str:
        workers = self.scheduler_info["workers"]
        return views.as_text(self._kind or type(self).__name__, self.name, self.scheduler_address, self.status, workers)

    def _repr_html_(self) -> str:
        return views.as_html(
            self._kind or type(self).__name__,
            self.name,
            self.scheduler_address,
            self.status,
            self.dashboard_link,
            self._more_rows(),
            self.scheduler_info,
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Return the widget that a notebook shows in place of the table, where there is one."""
        if self._controls is None:
            self._controls = controls.for_notebook(self, type(self).scale is not Cluster.scale)
        if self._controls is None:
            return {}
        view: dict[str, Any] = self._controls.widget._repr_mimebundle_()
        return {**view, "text/plain": repr(self), "text/html": self._repr_html_()}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Cluster) and other.name == self.name

    def __hash__(self) -> int:
        return id(self)


def _nobody() -> dict[str, Any]:
    return {"type": "Scheduler", "workers": {}}


def _checked_name(name: object) -> str | None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    return name
