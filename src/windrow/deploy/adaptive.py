"""Adaptive scaling: a cluster grows with the work that could run, and shrinks when workers have long been idle.

What lives here: `Adaptive`: rounds in which the scheduler is asked, a decision made (policy), the cluster scaled. What
this file must never know: how the scheduler estimates work (scheduler.scaling), how workers are started or stopped.

Growth is asked for at once. A worker goes only after it was proposed in ``wait_count`` rounds on end, when others hold
what it alone held, and if it has not got work meanwhile. A round that fails is logged, and the next one goes on.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from math import inf
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from windrow import config
from windrow.deploy.policy import AdaptivePolicy, Recommendation
from windrow.deploy.rounds import Rounds
from windrow.wire.requests import AdaptiveTarget, Retire, WorkersToClose

__all__ = ["Adaptive"]

logger = logging.getLogger("windrow.adaptive")

RECOVERED = 10
"""After so many good rounds the next failure is told in full again."""

ENDED = ("closing", "closed", "failed", "stopping", "stopped")
"""States of a cluster in which nothing is scaled any more."""


class Adaptive:
    """Scales a cluster with its load, until it is stopped or the cluster closes.

    ``cluster.adapt(minimum=1, maximum=10)`` makes one.

    Parameters
    ----------
    cluster
        It has ``plan``, ``requested`` and ``observed`` (sets of names), ``scale(n)``, ``scale_down(names)``,
        ``scheduler_comm``, ``scheduler_info`` and ``status``. Its methods are called on its event loop.
    interval
        The time between rounds, as a number of seconds or as ``"1s"``; 0 or None of the configuration: no rounds but
        those that `adapt` is called for.
    minimum, maximum
        The fewest and the most workers.
    wait_count
        In how many rounds on end a worker must be idle before it goes.
    target_duration
        The time in which all that could run is to be done: more workers are asked for while it would take longer.
    worker_key
        A function of a worker's facts (``address``, ``name``, ``host``, …), or the name of one: workers of the same
        result go together.
    **kwargs
        ``memory_ratio``: how many times what is stored the memory of those that stay must be (2).

    By default what ``distributed.adaptive.*`` says.

    Examples
    --------
    >>> from windrow import LocalCluster
    >>> with LocalCluster(n_workers=0, processes=False) as cluster:
    ...     adaptive = cluster.adapt(minimum=1, maximum=2, interval="20ms")
    ...     cluster.wait_for_workers(1, timeout=10)
    """

    def __init__(
        self,
        cluster: Any,
        interval: str | float | None = None,
        minimum: int | None = None,
        maximum: float | None = None,
        wait_count: int | None = None,
        target_duration: str | float | None = None,
        worker_key: Callable[[Any], Hashable] | str | None = None,
        **kwargs: Any,
    ) -> None:
        self.cluster = cluster
        self.interval_s = _interval_s(interval)
        self.policy = AdaptivePolicy()
        self.target_duration = 0.0
        self.worker_key: Callable[[Any], Hashable] | str | None = None
        self.memory_ratio: float | None = None
        self.update(
            minimum=_configured("minimum", minimum),
            maximum=_configured("maximum", maximum),
            wait_count=_configured("wait-count", wait_count),
            target_duration=_configured("target-duration", target_duration),
            worker_key=worker_key,
            **kwargs,
        )
        self.log: deque[tuple[float, Recommendation]] = deque(maxlen=10_000)
        """When something was recommended, in seconds since the epoch, and what."""
        self.state = "starting" if self.interval_s else "inactive"
        self.periodic_callback: Rounds | None = None
        self._deciding = False
        self._leaving: set[Hashable] = set()
        """Those that are being retired and closed just now."""
        self._emptied: set[Hashable] = set()
        """Those that have retired; the cluster is to close them."""
        self._failures = 0
        self._good_rounds = 0
        if self.interval_s:
            thread = getattr(cluster, "loop_thread", None)
            self._loop = asyncio.get_running_loop() if thread is None else thread.loop
            self.periodic_callback = Rounds(self.adapt, self.interval_s)
            self._loop.call_soon_threadsafe(self._begin)

    def __repr__(self) -> str:
        limits = f"minimum={self.minimum} maximum={self.maximum}"
        return f"<{type(self).__name__} {self.state} {limits} workers={len(self.plan)}>"

    # ------------------------------------------------------------ knobs

    def update(self, **knobs: Any) -> None:
        """Change ``minimum``, ``maximum``, ``wait_count``, ``target_duration``, ``worker_key`` or ``memory_ratio``.

        Raises
        ------
        TypeError
            There is no such knob.
        ValueError
            A value will not do; none is changed.
        """
        if unknown := [name for name in knobs if name not in _KNOBS]:
            raise TypeError(
                f"Adaptive has no {', '.join(map(repr, unknown))}; beside interval= it has {', '.join(_KNOBS)}"
            )
        checked = {name: _KNOBS[name](value) for name, value in knobs.items()}
        minimum, maximum = (checked.get(name, getattr(self.policy, name)) for name in ("minimum", "maximum"))
        if minimum > maximum:
            raise ValueError(f"minimum={minimum} is more than maximum={maximum}")
        for name, value in checked.items():
            setattr(self.policy if hasattr(self.policy, name) else self, name, value)

    @property
    def minimum(self) -> int:
        """The fewest workers."""
        return self.policy.minimum

    @property
    def maximum(self) -> float:
        """The most workers."""
        return self.policy.maximum

    @property
    def wait_count(self) -> int:
        """In how many rounds on end a worker must be idle before it goes."""
        return self.policy.wait_count

    @property
    def close_counts(self) -> dict[Hashable, int]:
        """In how many rounds on end each worker was proposed, by name."""
        return self.policy.close_counts

    # ------------------------------------------------------------ the cluster

    @property
    def plan(self) -> set[Any]:
        """Names of the workers that are to be there."""
        return set(self.cluster.plan) if self.cluster is not None else set()

    @property
    def requested(self) -> set[Any]:
        """Names of the workers that were started."""
        return set(self.cluster.requested)

    @property
    def observed(self) -> set[Any]:
        """Names of the workers that have come."""
        return set(self.cluster.observed)

    async def _ask(self, request: Any) -> Any:
        if self.cluster.scheduler_comm is None:
            raise RuntimeError("the cluster is not connected to its scheduler")
        return (await self.cluster.scheduler_comm.ask(request)).value

    # ------------------------------------------------------------ one round

    async def target(self) -> int:
        """Return how many workers the work asks for."""
        request = AdaptiveTarget(self.target_duration, _threads_per_worker(self.cluster), self.memory_ratio)
        return int(await self._ask(request))

    async def safe_target(self) -> int:
        """Return how many of those are allowed."""
        return self.policy.clamp(await self.target())

    async def workers_to_close(self, target: int) -> list[Any]:
        """Return the names of workers that can be missed if there are to be ``target``.

        Those that work are among them only where there are more than ``maximum``.
        """
        groups = self._groups() if self.worker_key is not None else {}
        request = WorkersToClose(target=target, groups=groups, idle_only=not self._is_beyond())
        return [name for _, name in await self._ask(request)]

    async def recommendations(self, target: int) -> Recommendation:
        """Return what is to be done if there are to be ``target`` workers: this counts as a round."""
        plan = self.plan - self._leaving - self._emptied
        observed = self.observed
        proposed: list[Any] = []
        target = self.policy.clamp(target)
        if len(plan) - len(self.policy.absent(target, plan, observed)) > target:
            proposed = await self.workers_to_close(target)
        return self.policy.recommend(target, plan=plan, observed=observed, proposed=proposed)

    async def scale_up(self, n: int) -> None:
        """Have the cluster start workers until there are ``n``."""
        await _finished(self.cluster.scale(n))

    async def scale_down(self, workers: Iterable[Any]) -> None:
        """Have others hold what these workers alone hold, and the cluster close those that can go."""
        names = list(workers)
        gone = await self._retire(names)
        self._emptied.update(gone)
        if gone:
            await _finished(self.cluster.scale_down(gone))
        self._emptied.difference_update(gone)

    async def adapt(self) -> None:
        """Play one round: ask, decide, scale. What goes wrong is logged; no two rounds decide at the same time."""
        status = self._status()
        if status in ENDED:
            self.stop("the cluster has closed")
        if status != "running" or self._deciding:
            return
        self._deciding = True
        try:
            recommendation = await self._decide()
        except Exception as error:
            self._tell(error)
            return
        finally:
            self._deciding = False
        names = recommendation.get("workers", ())
        self._leaving.update(names)  # while these retire, the next rounds go on without them
        try:
            await self._close(names)
            self._good_rounds += 1
        except Exception as error:
            self._tell(error)
        finally:
            self._leaving.difference_update(names)

    async def _decide(self) -> Recommendation:
        recommendation = await self.recommendations(await self.safe_target())
        if recommendation["status"] != "same":
            self.log.append((time.time(), recommendation))
        if recommendation["status"] == "up":
            going = self.plan & (self._leaving | self._emptied)
            await self.scale_up(recommendation["n"] + len(going))
            if self.policy.vain:
                logger.warning(
                    "adaptive scaling: workers that were started have gone without having joined, %d times on end; the "
                    "next attempt follows after %d rounds. Why they go stands in their logs (cluster.get_logs())",
                    self.policy.vain,
                    self.policy.vain_rounds,
                )
        return recommendation

    async def _close(self, names: Collection[Hashable]) -> None:
        again = (self._emptied & self.plan) - self._leaving
        self._emptied &= self.plan | self._leaving
        if again:  # the cluster could not close them the last time
            await _finished(self.cluster.scale_down(list(again)))
            self._emptied -= again
        if names:
            await self.scale_down(names)

    async def _retire(self, names: list[Any]) -> list[Any]:
        """Have workers retire; return the names of those that may be closed."""
        addresses = {address: name for address, name in self._addresses().items() if name in names}
        gone: set[Any] = set()
        if addresses:
            idle_only = not self._is_beyond(names)
            answer = await self._ask(Retire(list(addresses), close=False, idle_only=idle_only))
            gone = {addresses[address] for address in answer}
        stay = set(addresses.values()) - gone
        self.policy.refused(stay)
        return [name for name in names if name not in stay]

    def _is_beyond(self, leaving_now: Collection[Hashable] = ()) -> bool:
        return len(self.plan - self._leaving.difference(leaving_now) - self._emptied) > self.maximum

    def _addresses(self) -> dict[str, Any]:
        workers: Mapping[str, Any] = self.cluster.scheduler_info["workers"]
        return {address: facts["name"] for address, facts in workers.items()}

    def _groups(self) -> dict[str, int]:
        key = attrgetter(self.worker_key) if isinstance(self.worker_key, str) else self.worker_key
        assert key is not None
        numbers: dict[Hashable, int] = {}
        workers: Mapping[str, Any] = self.cluster.scheduler_info["workers"]
        return {
            address: numbers.setdefault(key(SimpleNamespace(**{**facts, "address": address})), len(numbers))
            for address, facts in workers.items()
        }

    def _tell(self, error: Exception) -> None:
        """Log that a round failed: in full the first time, then less and less often, until all is well for a while."""
        if self._good_rounds >= RECOVERED:
            self._failures = 0
        self._failures += 1
        self._good_rounds = 0
        if self._failures & (self._failures - 1):
            return
        logger.warning(
            "adaptive scaling: a round failed (%s: %s); %d so far. The next one tries again in %g s. If that goes on, "
            "see whether cluster.scale works by itself, or call adaptive.stop()",
            type(error).__name__,
            error,
            self._failures,
            self.interval_s,
            exc_info=error if self._failures == 1 else None,
        )

    # ------------------------------------------------------------ life

    def _begin(self) -> None:
        if self.state == "starting" and self.periodic_callback is not None:
            self.state = "running"
            self.periodic_callback.start()

    def stop(self, reason: str = "unknown") -> None:
        """Play no more rounds; again is harmless. Workers stay as they are."""
        if self.state in ("stopped", "inactive"):
            return
        self.state = "stopped"
        logger.info("adaptive scaling stops: %s", reason)
        rounds = self.periodic_callback
        if rounds is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(rounds.cancel if self._status() in ENDED else rounds.stop)

    def _status(self) -> str:
        status = self.cluster.status
        return str(getattr(status, "name", status))


async def _finished(result: Any) -> None:
    """Wait for what a method of the cluster has returned, if it is something to wait for."""
    if inspect.isawaitable(result):
        await result


def _threads_per_worker(cluster: Any) -> int:
    """Return how many threads a new worker has, where the cluster can tell."""
    ask = getattr(cluster, "_threads_per_worker", None)
    try:
        return max(1, int(ask())) if ask is not None else 1
    except ValueError:  # it cannot
        return 1


# ---------------------------------------------------------------- arguments


def _configured(name: str, given: Any) -> Any:
    return config.get(f"distributed.adaptive.{name}") if given is None else given


def _interval_s(interval: Any) -> float:
    value = _configured("interval", interval)
    seconds = config.parse_timedelta(value) if value else 0.0
    if not 0 <= seconds < inf:
        raise ValueError(f"interval must be a time such as '1s', or 0, not {interval!r}")
    return seconds


def _checked_count(name: str, least: int, infinite: bool = False) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if infinite and isinstance(value, str) and value.strip().lower() in ("inf", ".inf"):
            value = inf  # as a configuration file may say it
        if infinite and value == inf:
            return inf
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            kinds = "an int or math.inf" if infinite else "an int"
            raise ValueError(f"{name} must be {kinds} of at least {least}, not {value!r}")
        return value

    return check


def _checked_duration(value: Any) -> float:
    seconds = config.parse_timedelta(value)
    if not 0 < seconds < inf:
        raise ValueError(f"target_duration must be a time above 0 such as '5s', not {value!r}")
    return seconds


def _checked_key(value: Any) -> Any:
    if value is None or isinstance(value, str) or callable(value):
        return value
    raise TypeError(f"worker_key must be a function of a worker or the name of one of its facts, not {value!r}")


def _checked_ratio(value: Any) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
        raise ValueError(f"memory_ratio must be a number, 0 or more, not {value!r}")
    return None if value is None else float(value)


_KNOBS: dict[str, Callable[[Any], Any]] = {
    "minimum": _checked_count("minimum", 0),
    "maximum": _checked_count("maximum", 0, infinite=True),
    "wait_count": _checked_count("wait_count", 1),
    "target_duration": _checked_duration,
    "worker_key": _checked_key,
    "memory_ratio": _checked_ratio,
}
